//! Times, as people read them.

use jiff::Timestamp;
use mason_core::manifest::quantity::format_span;
use mason_core::types::UnixMs;

use crate::server::unix_now;

/// How long ago, in one or two units.
pub(crate) fn ago(at: UnixMs) -> String {
    span(unix_now().saturating_sub(at))
}

/// A span, in its two largest units at most.
pub(crate) fn span(ms: u64) -> String {
    let unit = match ms {
        0..1_000 => 1,
        1_000..60_000 => return format!("{}.{}s", ms / 1_000, ms / 100 % 10),
        60_000..3_600_000 => 1_000,
        3_600_000..86_400_000 => 60_000,
        _ => 3_600_000,
    };
    format_span(ms / unit * unit)
}

/// The time of day by UTC, with what is below a second.
pub(crate) fn clock(at: UnixMs) -> String {
    timestamp(at).strftime("%H:%M:%S%.3f").to_string()
}

/// Date and time by UTC.
pub(crate) fn stamp(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Date and time by UTC in a sentence: `2026-11-29 18:43:11 UTC`.
pub(crate) fn date(at: UnixMs) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn timestamp(at: UnixMs) -> Timestamp {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times are compared with those of other logs.
    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(stamp(951_782_400_007), "2000-02-29T00:00:00.007Z");
        assert_eq!(clock(86_399_999), "23:59:59.999");
        assert_eq!(date(1_709_251_199_999), "2024-02-29 23:59:59 UTC");
        assert!(stamp(u64::MAX).starts_with("9999-"), "{}", stamp(u64::MAX));
    }

    /// Ages are read at a glance: two units at most.
    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, expected) in [
            (12, "12ms"),
            (1_240, "1.2s"),
            (61_500, "1m1s"),
            (3_725_000, "1h2m"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(span(ms), expected);
        }
    }
}
