//! The way to other members, and the clocks at its end.

use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How often a connection is made.
const TRIES: u32 = 10;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to a member.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) url: String,
    /// How long the slowest connection took to be made, which is one round trip.
    pub(super) round_trip: Option<Duration>,
    pub(super) count: u32,
    /// How far its clock is ahead of ours, if it tells.
    pub(super) clock_seconds: Option<i64>,
    pub(super) error: Option<String>,
}

/// Measures the way to `url`.
pub(super) async fn way(url: &str) -> Way {
    let mut way =
        Way { url: url.to_owned(), round_trip: None, count: 0, clock_seconds: None, error: None };
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let address = rest.trim_end_matches('/');
    for _ in 0..TRIES {
        let began = Instant::now();
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                way.round_trip = way.round_trip.max(Some(began.elapsed()));
                way.count += 1;
            }
            Ok(Err(error)) => {
                way.error = Some(error.to_string());
                return Way { round_trip: None, ..way };
            }
            Err(_) => {
                way.error = Some(format!("no answer within {PATIENCE:?}"));
                return Way { round_trip: None, ..way };
            }
        }
    }
    if scheme == "http" {
        let asked = timeout(PATIENCE, date_at(address)).await;
        way.clock_seconds = asked.ok().flatten();
    }
    way
}

/// How far the clock there is ahead, by the date of an answer.
async fn date_at(address: &str) -> Option<i64> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /version HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.ok()?;
    let text = String::from_utf8_lossy(&text);
    let date = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("date").then_some(value)
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(seconds_of(date.trim())? - i64::try_from(now).ok()?)
}

/// Seconds since 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    // Days since 1970, with years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let number = |text: &str| text.parse::<i64>().ok();
    Some(days * 86_400 + number(hour)? * 3600 + number(minute)? * 60 + number(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A clock that seems wrong by a day makes an operator set a right one.
    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds_of("Mon, 30 Nov 2026 06:00:00 GMT"), Some(1_796_018_400));
        assert_eq!(seconds_of("yesterday"), None);
    }
}
