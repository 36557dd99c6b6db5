//! Until when a client waits for its call.
//!
//! gRPC lets a client say how long it will wait, in the header `grpc-timeout`: at most eight digits
//! and a unit (gRPC over HTTP/2, "Timeout").
//!
//! ```text
//!   grpc-timeout: 50m        50 milliseconds        H hours  M minutes  S seconds
//!                 └┴─┘                              m milliseconds  u microseconds  n nanoseconds
//! ```
//!
//! A call that says nothing costs one look for the header. One that does gets a place on the
//! runtime's wheel of timers, once it has to wait; what is still in a queue when its time has
//! passed is not done at all. A command that was proposed is done all the same, as it would be in
//! etcd: only the answer comes to nothing.
//!
//! What is wrong with a timeout is said in the words of gRPC in Go.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use tonic::Status;

/// The header.
pub(crate) const HEADER: &str = "grpc-timeout";
/// Digits and unit.
const LENGTH_MAX: usize = 9;
/// Who waits for longer than this waits as long as it takes.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Until when the sender of these headers waits; `None` is for ever.
///
/// # Errors
///
/// If that cannot be understood.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let timeout = parse(value)
        .map_err(|reason| Status::internal(format!("malformed grpc-timeout: {reason}")))?;
    Ok(Some(timeout).filter(|timeout| *timeout < FAR).map(|timeout| Instant::now() + timeout))
}

/// Reads a header's value.
pub(crate) fn parse(value: &HeaderValue) -> Result<Duration, String> {
    let text = String::from_utf8_lossy(value.as_bytes());
    if text.len() < 2 {
        return Err(format!("transport: timeout string is too short: {text:?}"));
    }
    if text.len() > LENGTH_MAX {
        return Err(format!("transport: timeout string is too long: {text:?}"));
    }
    let unit = text.chars().next_back().expect("there are two bytes");
    let digits = &text[..text.len() - unit.len_utf8()];
    let nanos: u64 = match unit {
        'H' => 3600 * 1_000_000_000,
        'M' => 60 * 1_000_000_000,
        'S' => 1_000_000_000,
        'm' => 1_000_000,
        'u' => 1_000,
        'n' => 1,
        _ => return Err(format!("transport: timeout unit is not recognized: {text:?}")),
    };
    // Go reads a sign as well, and a time that has passed is one.
    let count: i64 = digits
        .parse()
        .map_err(|_| format!("strconv.ParseInt: parsing {digits:?}: invalid syntax"))?;
    let count = u64::try_from(count).unwrap_or(0);
    Ok(Duration::from_nanos(count.saturating_mul(nanos)))
}

/// The answer to a call whose time has passed.
pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Duration, &str>) {
        let parsed = parse(&HeaderValue::from_str(text).unwrap());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{text:?}");
    }

    // Go's clients pick the unit by the length of the time; none may be read as another.
    #[test]
    fn timeouts_are_read_in_every_unit() {
        check("1H", Ok(Duration::from_secs(3600)));
        check("2M", Ok(Duration::from_secs(120)));
        check("3S", Ok(Duration::from_secs(3)));
        check("50m", Ok(Duration::from_millis(50)));
        check("7u", Ok(Duration::from_micros(7)));
        check("99999999n", Ok(Duration::from_nanos(99_999_999)));
        check("0n", Ok(Duration::ZERO));
        check("-1S", Ok(Duration::ZERO));
    }

    // A client whose deadline was taken for none would wait for ever.
    #[test]
    fn what_is_no_timeout_is_refused_in_gos_words() {
        check("S", Err("transport: timeout string is too short: \"S\""));
        check("999999999n", Err("transport: timeout string is too long: \"999999999n\""));
        check("10x", Err("transport: timeout unit is not recognized: \"10x\""));
        check("1.5S", Err("strconv.ParseInt: parsing \"1.5\": invalid syntax"));
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers).unwrap(), None);
        headers.insert(HEADER, HeaderValue::from_static("10x"));
        assert_eq!(of(&headers).unwrap_err().code(), tonic::Code::Internal);
        headers.insert(HEADER, HeaderValue::from_static("99999999H"));
        assert_eq!(of(&headers).unwrap(), None, "eleven thousand years are no deadline");
    }
}
