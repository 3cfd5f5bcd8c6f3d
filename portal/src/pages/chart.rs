//! The traffic of the last hour as a chart: paths for the eye, a table behind them.

use std::fmt::Write as _;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::db::usage::Minute;
use crate::show;

/// Minutes shown.
const MINUTES: usize = 60;
/// The chart's own units; the page stretches it.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The minute, UTC, such as 08:15.
    pub minute: String,
    /// Client to cluster.
    pub bytes_in: i64,
    /// Cluster to client.
    pub bytes_out: i64,
}

/// The last hour of one cluster or of several.
#[derive(Debug, Clone)]
pub struct Traffic {
    points: Vec<Point>,
}

impl Traffic {
    /// Puts minutes in their places; a minute without a row had no traffic.
    pub fn new(minutes: &[Minute], cluster: Option<Uuid>, now: OffsetDateTime) -> Self {
        let this_minute = now.unix_timestamp().div_euclid(60);
        let mut points: Vec<Point> = (0..MINUTES).rev().map(|back| empty_point(now, back)).collect();
        for row in minutes.iter().filter(|row| cluster.is_none_or(|id| id == row.cluster_id)) {
            let back = this_minute - row.minute.unix_timestamp().div_euclid(60);
            let slot = usize::try_from(back).ok().and_then(|back| MINUTES.checked_sub(back + 1));
            if let Some(point) = slot.and_then(|slot| points.get_mut(slot)) {
                point.bytes_in = point.bytes_in.saturating_add(row.bytes_in);
                point.bytes_out = point.bytes_out.saturating_add(row.bytes_out);
            }
        }
        Traffic { points }
    }

    /// Whether a byte moved at all.
    pub fn is_empty(&self) -> bool {
        self.most() == 0
    }

    /// The minutes with traffic, newest first, for the table.
    pub fn busy(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().rev().filter(|point| point.bytes_in + point.bytes_out > 0)
    }

    /// The top of the axis.
    pub fn top(&self) -> String {
        format!("{}/min", show::bytes(self.most()))
    }

    /// The whole hour, client to cluster.
    pub fn total_in(&self) -> String {
        show::bytes(self.points.iter().map(|point| point.bytes_in).sum())
    }

    /// The whole hour, cluster to client.
    pub fn total_out(&self) -> String {
        show::bytes(self.points.iter().map(|point| point.bytes_out).sum())
    }

    /// The last whole minute, client to cluster.
    pub fn last_in(&self) -> String {
        self.last(|point| point.bytes_in)
    }

    /// The last whole minute, cluster to client.
    pub fn last_out(&self) -> String {
        self.last(|point| point.bytes_out)
    }

    /// The line of bytes in.
    pub fn line_in(&self) -> String {
        self.line(|point| point.bytes_in)
    }

    /// The line of bytes out.
    pub fn line_out(&self) -> String {
        self.line(|point| point.bytes_out)
    }

    /// Both together, as an area.
    pub fn area(&self) -> String {
        let sum = |point: &Point| point.bytes_in.saturating_add(point.bytes_out);
        let most = self.points.iter().map(sum).max().unwrap_or(0);
        let line = draw(self.points.iter().map(sum), most);
        format!("{line}L{WIDTH:.1} {HEIGHT:.1}L0 {HEIGHT:.1}Z")
    }

    /// The minute that is running is not whole, so the one before it speaks, unless this one has more already.
    fn last(&self, value: impl Fn(&Point) -> i64) -> String {
        let bytes = self.points.iter().rev().take(2).map(value).max().unwrap_or(0);
        format!("{}/min", show::bytes(bytes))
    }

    fn line(&self, value: impl Fn(&Point) -> i64) -> String {
        draw(self.points.iter().map(value), self.most())
    }

    fn most(&self) -> i64 {
        self.points.iter().map(|point| point.bytes_in.max(point.bytes_out)).max().unwrap_or(0)
    }
}

fn empty_point(now: OffsetDateTime, back: usize) -> Point {
    let minute = now - Duration::minutes(i64::try_from(back).unwrap_or(0));
    Point { minute: format!("{:02}:{:02}", minute.hour(), minute.minute()), bytes_in: 0, bytes_out: 0 }
}

/// An SVG path over the whole width; the highest value touches the top, zero the bottom.
fn draw(values: impl ExactSizeIterator<Item = i64>, most: i64) -> String {
    let step = WIDTH / (show::as_float(i64::try_from(values.len()).unwrap_or(2)) - 1.0).max(1.0);
    let scale = (HEIGHT - 4.0) / show::as_float(most.max(1));
    let mut path = String::new();
    let mut x = 0.0;
    for value in values {
        let y = HEIGHT - 2.0 - show::as_float(value) * scale;
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{x:.1} {y:.1}");
        x += step;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + minute * 60).unwrap()
    }

    fn row(minute: i64, bytes_in: i64, bytes_out: i64) -> Minute {
        Minute { cluster_id: Uuid::from_u128(1), minute: at(minute), bytes_in, bytes_out }
    }

    #[test]
    fn minutes_fall_into_their_places_and_the_rest_is_zero() {
        let rows = [row(0, 10, 5), row(-59, 7, 0), row(-60, 99, 99), row(1, 99, 99)];
        let traffic = Traffic::new(&rows, None, at(0));
        assert_eq!(traffic.points.len(), MINUTES);
        assert_eq!((traffic.points[59].bytes_in, traffic.points[59].bytes_out), (10, 5));
        assert_eq!(traffic.points[0].bytes_in, 7);
        assert_eq!(traffic.busy().count(), 2);
        assert_eq!(traffic.total_in(), "17 B");
    }

    #[test]
    fn another_cluster_s_traffic_is_not_counted() {
        assert!(Traffic::new(&[row(0, 10, 5)], Some(Uuid::from_u128(2)), at(0)).is_empty());
        assert!(!Traffic::new(&[row(0, 10, 5)], Some(Uuid::from_u128(1)), at(0)).is_empty());
    }

    #[test]
    fn the_highest_value_touches_the_top_and_zero_the_bottom() {
        assert_eq!(draw([0, 5, 10].into_iter(), 10), "M0.0 58.0L150.0 30.0L300.0 2.0");
        assert_eq!(draw([0, 0].into_iter(), 0), "M0.0 58.0L300.0 58.0");
    }
}
