//! Amounts and spans as people write them: `500m` of a core, `256Mi` of memory, `1h30m`.
//!
//! Amounts are Kubernetes': a decimal number and a suffix, of thousandths and thousands (`m`, `k`,
//! `M`, `G`, `T`, `P`, `E`), of powers of 1024 (`Ki` to `Ei`), or an exponent (`1e3`). They are
//! read as whole numbers all the way, never through a float, and rounded up, so that nobody is
//! given less than what they asked for. What a format prints reads back as the same amount.

use std::fmt::Write as _;

use crate::types::Ms;

/// Text that is no amount or span, and what one would look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no {what}: {why}", super::problem::shown(text))]
pub struct BadQuantity {
    /// What was given.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Longest span: a hundred years.
pub const SPAN_MAX: Ms = 100 * 365 * DAY;

const DAY: Ms = 24 * 60 * 60 * 1000;

const CPU: &str = "number of cores";
const BYTES: &str = "number of bytes";
const SPAN: &str = "span of time";

/// Thousandths of a core: `500m`, `1`, `0.5`.
///
/// # Errors
/// If it is none, is negative or too large.
pub fn parse_cpu(text: &str) -> Result<u32, BadQuantity> {
    let bad = |why| BadQuantity { text: text.to_owned(), what: CPU, why };
    let milli = amount(text, 3).map_err(|why| match why {
        Why::Shape => bad("write as 500m, 0.5 or 2"),
        Why::Negative => bad("it is negative"),
        Why::Large => bad("it is too large"),
    })?;
    // A fraction of a thousandth too many is still a core that nobody has.
    u32::try_from(milli).map_err(|_| bad("it is too large"))
}

/// Bytes: `256Mi`, `1Gi`, `1G`, `1e3`.
///
/// # Errors
/// If it is none, is negative or too large.
pub fn parse_bytes(text: &str) -> Result<u64, BadQuantity> {
    let bad = |why| BadQuantity { text: text.to_owned(), what: BYTES, why };
    let bytes = amount(text, 0).map_err(|why| match why {
        Why::Shape => bad("write as 256Mi, 1Gi, 1G or 1e9"),
        Why::Negative => bad("it is negative"),
        Why::Large => bad("it is too large"),
    })?;
    // Half of what fits: sums of two never overflow.
    u64::try_from(bytes)
        .ok()
        .filter(|&bytes| bytes <= i64::MAX as u64)
        .ok_or(bad("it is too large"))
}

/// Milliseconds: `500ms`, `2s`, `5m`, `1h30m`, `1d`.
///
/// # Errors
/// If it is none, is negative or longer than [`SPAN_MAX`].
pub fn parse_span(text: &str) -> Result<Ms, BadQuantity> {
    let bad = |why| BadQuantity { text: text.to_owned(), what: SPAN, why };
    if text == "0" {
        return Ok(0);
    }
    if text.starts_with('-') {
        return Err(bad("it is negative"));
    }
    let (mut rest, mut total) = (text, 0_u128);
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let Some(number) = number else {
            return Err(bad("its unit is missing; write as 500ms, 2s, 5m, 1h30m or 1d"));
        };
        let (digits, tail) = rest.split_at(number);
        let unit = tail.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let unit: u128 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY.into(),
            _ => return Err(bad("write as 500ms, 2s, 5m, 1h30m or 1d")),
        };
        let Ok((mantissa, part)) = decimal(digits) else {
            return Err(bad("write as 500ms, 2s, 5m, 1h30m or 1d"));
        };
        let span = mantissa.checked_mul(unit).and_then(|span| scale(span, -part));
        total = span.and_then(|span| total.checked_add(span)).ok_or(bad("it is too long"))?;
        rest = tail;
    }
    let total = u64::try_from(total).unwrap_or(u64::MAX);
    match (text.is_empty(), total <= SPAN_MAX) {
        (true, _) => Err(bad("it is empty")),
        (_, false) => Err(bad("it is longer than a hundred years")),
        _ => Ok(total),
    }
}

/// As [`parse_cpu`] reads it.
pub fn format_cpu(milli: u32) -> String {
    match milli % 1000 {
        0 => (milli / 1000).to_string(),
        _ => format!("{milli}m"),
    }
}

/// As [`parse_bytes`] reads it: with the largest suffix that leaves a whole number.
pub fn format_bytes(bytes: u64) -> String {
    let binary = [(60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    for (shift, suffix) in binary {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    let decimal = [(18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")];
    for (power, suffix) in decimal {
        let unit = 10_u64.pow(power);
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{suffix}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// As [`parse_span`] reads it.
pub fn format_span(span: Ms) -> String {
    let mut text = String::new();
    let mut rest = span;
    for (unit, suffix) in [(DAY, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if rest >= unit {
            write!(text, "{}{suffix}", rest / unit).expect("a string takes everything");
            rest %= unit;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

enum Why {
    Shape,
    Negative,
    Large,
}

/// An amount in units of `10^-power`, rounded up.
fn amount(text: &str, power: i32) -> Result<u128, Why> {
    let rest = text.strip_prefix('+').unwrap_or(text);
    if let Some(rest) = rest.strip_prefix('-') {
        // Minus what is no amount is no amount either.
        return amount(rest, power).and(Err(Why::Negative));
    }
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (digits, suffix) = rest.split_at(end.unwrap_or(rest.len()));
    let (mantissa, part) = decimal(digits)?;
    let (twos, tens) = match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, exponent(suffix)?),
    };
    let whole = mantissa.checked_mul(1 << twos).ok_or(Why::Large)?;
    scale(whole, tens - part + power).ok_or(Why::Large)
}

fn exponent(suffix: &str) -> Result<i32, Why> {
    let power = suffix.strip_prefix(['e', 'E']).ok_or(Why::Shape)?;
    let digits = power.strip_prefix(['-', '+']).unwrap_or(power);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Why::Shape);
    }
    // Beyond a few dozen it makes no difference which.
    Ok(power.parse().unwrap_or(1000).clamp(-1000, 1000))
}

/// `1.50` is 150 and 2: a whole number, and how many of its digits are behind the point.
fn decimal(digits: &str) -> Result<(u128, i32), Why> {
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return Err(Why::Shape);
    }
    let part = part.trim_end_matches('0');
    let all = format!("{whole}{part}");
    let all = all.trim_start_matches('0');
    if all.len() > 30 {
        return Err(Why::Large);
    }
    let mantissa = match all {
        "" => 0,
        all => all.parse().map_err(|_| Why::Shape)?,
    };
    Ok((mantissa, i32::try_from(part.len()).map_err(|_| Why::Large)?))
}

/// Times a power of ten, rounded up; none if it is too large.
fn scale(value: u128, power: i32) -> Option<u128> {
    let factor = 10_u128.checked_pow(power.unsigned_abs());
    match (value, power >= 0, factor) {
        (0, ..) => Some(0),
        (_, true, factor) => value.checked_mul(factor?),
        (_, false, Some(factor)) => Some(value.div_ceil(factor)),
        (_, false, None) => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are the amounts of other people's manifests: one that reads as another is an outage.
    #[test]
    fn amounts_are_those_of_kubernetes() {
        for (text, milli) in
            [("500m", 500), ("1", 1000), ("0.5", 500), ("2.5", 2500), ("1e3", 1_000_000), ("0", 0)]
        {
            assert_eq!(parse_cpu(text), Ok(milli), "{text}");
        }
        assert_eq!(parse_cpu("100u"), Ok(1), "it is rounded up");
        for (text, bytes) in [
            ("256Mi", 256 << 20),
            ("1Gi", 1 << 30),
            ("1G", 1_000_000_000),
            ("1e3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("1E3", 1000),
            ("1.5Ki", 1536),
            ("128974848000m", 128_974_848),
            ("0.1", 1),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    /// What a user mistypes must not become an amount, nor end the server.
    #[test]
    fn what_is_no_amount_is_refused() {
        let huge = "9".repeat(100_000);
        for text in [
            "",
            "-1",
            "x",
            "1x",
            "1.2.3",
            ".",
            "NaN",
            ".nan",
            "inf",
            "1e",
            "1e999999999999",
            "1 Gi",
            "18446744073709551616",
            "9Ei",
            "99999Ei",
            &huge,
            "1e-",
            "0x10",
            "１",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        for text in ["4294968", "-500m", "1e9", "500mm"] {
            assert!(parse_cpu(text).is_err(), "{text}");
        }
        assert!(parse_bytes("-1Mi").unwrap_err().to_string().contains("negative"));
    }

    /// Spans are written in as many ways as there are people.
    #[test]
    fn spans_add_up() {
        for (text, span) in [
            ("2s", 2000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", DAY),
            ("500ms", 500),
            ("1.5s", 1500),
            ("0", 0),
        ] {
            assert_eq!(parse_span(text), Ok(span), "{text}");
        }
        for text in ["", "5", "-1s", "1y", "s", "1h30", "1 h", "9999999d", "1..5s", "NaN"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    /// `mason get -o yaml | mason apply -f -` must change nothing.
    #[test]
    fn formats_read_back_as_the_same() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..10_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = seed >> (1 + round % 63);
            assert_eq!(parse_bytes(&format_bytes(value)), Ok(value));
            let milli = u32::try_from(seed >> 32).unwrap();
            assert_eq!(parse_cpu(&format_cpu(milli)), Ok(milli));
            let span = seed % SPAN_MAX;
            assert_eq!(parse_span(&format_span(span)), Ok(span));
        }
    }
}
