//! A span of time as Go writes it: `300ms`, `1.5h`, `1h15m`.
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

    // A number without a unit is the commonest mistake, and Go refuses it.
    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "5parsecs", "1e999h", "..s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
