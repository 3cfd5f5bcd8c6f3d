//! Minutes into the database.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::PgPool;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Minute, Minutes, Row, UsageBook};

/// Between samples, on the clock's multiples, so that a sample never straddles a minute.
const EVERY: Duration = Duration::from_secs(5);
/// A database that takes longer is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same when the gateway stops.
const LAST_PATIENCE: Duration = Duration::from_millis(700);
/// Rows in one statement.
const BATCH: usize = 1_000;
/// Rows that wait while the database is away: some 40 MB. A thousand busy clusters for three hours.
const ROOM: usize = 200_000;

/// Writes until `stop`, then once more when `closed` says that no connection is left.
pub async fn write_usage(mut writer: UsageWriter, stop: CancellationToken, closed: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = sleep(until_next_sample(SystemTime::now())) => writer.turn(PATIENCE).await,
            () = stop.cancelled() => {}
        }
    }
    closed.cancelled().await;
    writer.turn(LAST_PATIENCE).await;
}

/// The samples of one gateway.
#[derive(Debug)]
pub struct UsageWriter {
    name: String,
    pool: PgPool,
    book: Arc<UsageBook>,
    minutes: Minutes,
    started: Minute,
    sampled: SystemTime,
    adopted: bool,
    away: bool,
    waiting: Arc<AtomicU64>,
}

fn until_next_sample(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let every = EVERY.as_millis();
    let rest = every - since.as_millis() % every;
    Duration::from_millis(u64::try_from(rest).unwrap_or(0))
}

fn minute_of(time: SystemTime) -> Minute {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Minute::try_from(seconds / 60).unwrap_or(Minute::MAX)
}

impl UsageWriter {
    /// Nothing sampled yet. `waiting` shows how many rows wait for the database.
    pub fn new(name: String, pool: PgPool, book: Arc<UsageBook>, waiting: Arc<AtomicU64>) -> Self {
        let now = SystemTime::now();
        Self {
            name,
            pool,
            book,
            minutes: Minutes::new(ROOM),
            started: minute_of(now),
            sampled: now,
            adopted: false,
            away: false,
            waiting,
        }
    }

    /// Samples, and writes what changed.
    async fn turn(&mut self, patience: Duration) {
        // What happened since the last sample belongs to the minute of that sample.
        let since = std::mem::replace(&mut self.sampled, SystemTime::now());
        self.minutes.sample(minute_of(since), &self.book.sample());
        let outcome = timeout(patience, self.write()).await;
        self.waiting.store(self.minutes.waiting() as u64, Ordering::Relaxed);
        match outcome {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.away) {
                    info!(lost = self.minutes.dropped(), "usage is written again");
                }
            }
            Ok(Err(reason)) => self.note_away(&reason.to_string()),
            Err(_) => self.note_away("the database did not answer in time"),
        }
    }

    fn note_away(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.away, true) {
            warn!(reason, "usage cannot be written now and waits");
        }
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        if !self.adopted {
            self.adopt().await?;
            self.adopted = true;
        }
        loop {
            let rows = self.minutes.changed(BATCH);
            if rows.is_empty() {
                return Ok(());
            }
            write_rows(&self.pool, &self.name, &rows).await?;
            self.minutes.written(&rows);
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Takes over from a former process of the same name.
    async fn adopt(&mut self) -> Result<(), sqlx::Error> {
        let written = sqlx::query!(
            r#"SELECT cluster_id, (extract(epoch FROM minute) / 60)::bigint AS "minute!",
                      bytes_in, bytes_out, opened, refused
               FROM usage WHERE gateway = $1 AND minute >= to_timestamp($2::bigint * 60)"#,
            self.name,
            self.started,
        )
        .fetch_all(&self.pool)
        .await?;
        let left_open = sqlx::query_scalar!(
            "SELECT c.id FROM clusters c CROSS JOIN LATERAL (
               SELECT u.open FROM usage u WHERE u.cluster_id = c.id AND u.gateway = $1
               ORDER BY u.minute DESC LIMIT 1) last
             WHERE last.open <> 0",
            self.name,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in written {
            let figure = |n: i64| u64::try_from(n).unwrap_or(0);
            let figures = Row {
                bytes_in: figure(row.bytes_in),
                bytes_out: figure(row.bytes_out),
                opened: figure(row.opened),
                refused: figure(row.refused),
                open: 0,
            };
            self.minutes.adopt(row.minute, row.cluster_id, figures);
        }
        for cluster in left_open.into_iter().collect::<HashSet<Uuid>>() {
            self.minutes.touch(cluster);
        }
        Ok(())
    }
}

/// One statement for all rows. A cluster that was purged meanwhile takes its rows along.
async fn write_rows(pool: &PgPool, name: &str, rows: &[((Minute, Uuid), Row)]) -> Result<(), sqlx::Error> {
    let column = |figure: fn(&Row) -> u64| -> Vec<i64> {
        rows.iter().map(|(_, row)| i64::try_from(figure(row)).unwrap_or(i64::MAX)).collect()
    };
    let clusters: Vec<Uuid> = rows.iter().map(|((_, cluster), _)| *cluster).collect();
    let minutes: Vec<i64> = rows.iter().map(|((minute, _), _)| *minute).collect();
    sqlx::query!(
        "INSERT INTO usage (cluster_id, gateway, minute, bytes_in, bytes_out, opened, refused, open)
         SELECT n.cluster_id, $1, to_timestamp(n.minute * 60), n.bytes_in, n.bytes_out, n.opened, n.refused, n.open
         FROM UNNEST($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
              AS n (cluster_id, minute, bytes_in, bytes_out, opened, refused, open)
         WHERE EXISTS (SELECT id FROM clusters c WHERE c.id = n.cluster_id)
         ON CONFLICT (cluster_id, gateway, minute) DO UPDATE SET
           bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, opened = excluded.opened,
           refused = excluded.refused, open = excluded.open",
        name,
        &clusters,
        &minutes,
        &column(|row| row.bytes_in),
        &column(|row| row.bytes_out),
        &column(|row| row.opened),
        &column(|row| row.refused),
        &column(|row| row.open),
    )
    .execute(pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fall_on_the_clocks_multiples() {
        for (at_ms, wait_ms) in [(0, 5_000), (1, 4_999), (4_999, 1), (5_000, 5_000), (59_500, 500)] {
            let now = UNIX_EPOCH + Duration::from_millis(at_ms);
            assert_eq!(until_next_sample(now), Duration::from_millis(wait_ms), "{at_ms}");
        }
    }
}
