//! Figures and times in the words of the pages.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A number of bytes with its unit: three digits that matter, powers of 1024.
pub fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{} B", count.max(0));
    }
    let mut value = as_float(count) / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", UNITS[unit])
}

/// A count with thin groups of three digits.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0 { format!("−{text}") } else { text }
}

/// How long something took.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s => {
            let minutes = (s / 60.0).floor();
            format!("{minutes:.0} min {:.0} s", (s - minutes * 60.0).floor())
        }
    }
}

/// A moment: how far from now, and exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// Such as `5 min ago` or `in 3 d`.
    pub relative: String,
    /// RFC 3339, UTC.
    pub exact: String,
}

impl When {
    /// A moment as seen now.
    pub fn new(at: OffsetDateTime, now: OffsetDateTime) -> Self {
        When { relative: relative((at - now).whole_seconds()), exact: rfc3339(at) }
    }
}

/// A moment, exactly.
pub fn rfc3339(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let whole = at.replace_microsecond(at.microsecond() / 1000 * 1000).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

fn relative(seconds: i64) -> String {
    let distance = seconds.unsigned_abs();
    let nearest = |unit: u64| (distance + unit / 2) / unit;
    let text = match distance {
        0..60 => return if seconds <= 0 { "just now".into() } else { "in a moment".into() },
        60..3_600 => format!("{} min", nearest(60)),
        3_600..172_800 => format!("{} h", nearest(3_600)),
        _ => format!("{} d", nearest(86_400)),
    };
    if seconds < 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// Counts of bytes and people never need more digits than this keeps.
#[allow(clippy::cast_precision_loss)]
pub fn as_float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits() {
        for (number, text) in [
            (-1, "0 B"),
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024 + 512, "10.5 KiB"),
            (2_147_483_648, "2 GiB"),
            (100 << 20, "100 MiB"),
            (1 << 20, "1 MiB"),
            (i64::MAX, "8192 PiB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn counts_are_grouped_by_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
            (-5_000, "−5\u{202f}000"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (number, text) in [
            (0, "just now"),
            (-59, "just now"),
            (-60, "1 min ago"),
            (-7_200, "2 h ago"),
            (-172_800, "2 d ago"),
            (30, "in a moment"),
            (604_800, "in 7 d"),
            (604_799, "in 7 d"),
        ] {
            assert_eq!(relative(number), text);
        }
        for (number, text) in [(0.25, "250 ms"), (1.25, "1.2 s"), (59.0, "59.0 s"), (61.0, "1 min 1 s")] {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn exact_times_are_utc_to_the_millisecond() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_800_000_000_123_456_789).unwrap();
        assert_eq!(rfc3339(at), "2027-01-15T08:00:00.123Z");
    }
}
