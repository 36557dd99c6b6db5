//! Spans of time as Go writes them: `300ms`, `1.5h`, `1h15m`.
//!
//! etcd's flags take this form, so ours do. Units are ns, us, ms, s, m and h; a bare `0` needs
//! none.

use std::time::Duration;

/// Reads a Go duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = number * unit_seconds(&rest[..unit]).ok_or_else(invalid)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = &rest[unit..];
    }
    Ok(total)
}

/// A span of time as Go prints it: `1m0s`, `1.5s`, `300ms`.
pub(crate) fn go_text(span: Duration) -> String {
    let nanos = span.as_nanos();
    let (unit, nanos_a_unit) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let whole = nanos / nanos_a_unit;
    let digits = nanos_a_unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % nanos_a_unit);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    match (unit, whole) {
        ("s", 60..3600) => format!("{}m{}{fraction}s", whole / 60, whole % 60),
        ("s", 3600..) => {
            format!("{}h{}m{}{fraction}s", whole / 3600, whole / 60 % 60, whole % 60)
        }
        _ => format!("{whole}{fraction}{unit}"),
    }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" | "μs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Manifests carry every one of these forms.
    #[test]
    fn go_durations_are_read() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        };
        check("0", 0);
        check("100ms", 100);
        check("5s", 5_000);
        check("1h15m", 4_500_000);
        check("1.5h", 5_400_000);
    }

    // Tools that read the log of etcd know these forms.
    #[test]
    fn durations_are_printed_as_go_does() {
        let check = |text: &str| assert_eq!(go_text(parse(text).unwrap()), text);
        for text in ["1m0s", "1h0m0s", "2h3m4.5s", "1.5s", "300ms", "1.25ms", "7µs", "9ns"] {
            check(text);
        }
        assert_eq!(go_text(Duration::ZERO), "0s");
    }

    // A number without a unit is the commonest mistake, and Go refuses it.
    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "5parsecs", "1e999h", "..s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
