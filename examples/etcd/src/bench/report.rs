//! What became of a load: for people, or as JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::histogram::Times;
use super::load::{Load, Seen};
use super::options::Kind;
use super::schedule::Schedule;

/// What became of a load.
#[derive(Debug)]
pub(super) struct Report {
    kind: Kind,
    clients: usize,
    connections: usize,
    key_size: usize,
    value_size: usize,
    rate: u64,
    /// From the first request to the last answer.
    took: Duration,
    times: Times,
    pub(super) errors: BTreeMap<String, u64>,
    /// For watches: puts, each of which all clients should see.
    pub(super) puts: Option<u64>,
    /// What the servers' processes have had of their processors.
    pub(super) cpu_seconds: Option<f64>,
}

impl Report {
    pub(super) fn new(load: &Load, schedule: &Schedule, seen: Seen) -> Report {
        let options = &load.options;
        let end = seen.last.unwrap_or_else(std::time::Instant::now);
        Report {
            kind: load.kind,
            clients: options.clients(),
            connections: load.remotes.len(),
            key_size: options.key_size,
            value_size: options.value_size,
            rate: options.rate,
            took: end.saturating_duration_since(schedule.start()),
            times: seen.times,
            errors: seen.errors,
            puts: None,
            cpu_seconds: None,
        }
    }

    /// Answers, or events, a second.
    fn per_second(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 { self.times.count() as f64 / seconds } else { 0.0 }
    }

    /// Prints it.
    ///
    /// # Errors
    /// If standard output refuses.
    pub(super) fn print(&self, json: bool) -> std::io::Result<()> {
        let text = if json { format!("{}\n", self.json()) } else { self.text() };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn text(&self) -> String {
        let Report { clients, connections, key_size, value_size, .. } = self;
        let (name, count) = (self.kind.name(), self.times.count());
        let pace =
            if self.rate > 0 { format!(", {}/s asked for", self.rate) } else { String::new() };
        let what = if self.puts.is_some() { "events" } else { "requests" };
        let mut text = format!(
            "{name}: {count} {what} in {:.2} s; {clients} clients, {connections} connections, keys \
             of {key_size} bytes, values of {value_size}{pace}\n",
            self.took.as_secs_f64()
        );
        let quantile = |thousandths| shown(self.times.quantile(thousandths));
        text += &format!(
            "  {:.1}/s   p50 {}  p90 {}  p99 {}  p99.9 {}  max {}\n",
            self.per_second(),
            quantile(500),
            quantile(900),
            quantile(990),
            quantile(999),
            shown(self.times.max())
        );
        if let Some(seconds) = self.cpu_seconds {
            let each = seconds * 1e6 / (count.max(1) as f64);
            let cores = seconds / self.took.as_secs_f64().max(1e-9);
            text += &format!("  server: {cores:.2} cores, {each:.1} us of processor each\n");
        }
        for (error, count) in &self.errors {
            text += &format!("  error: {count} times: {error}\n");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let quantile = |thousandths| micros(self.times.quantile(thousandths));
        serde_json::json!({
            "kind": self.kind.name(),
            "clients": self.clients,
            "connections": self.connections,
            "key_size": self.key_size,
            "value_size": self.value_size,
            "rate": self.rate,
            "seconds": self.took.as_secs_f64(),
            "count": self.times.count(),
            "puts": self.puts,
            "per_second": self.per_second(),
            "micros": {
                "p50": quantile(500),
                "p90": quantile(900),
                "p99": quantile(990),
                "p999": quantile(999),
                "max": micros(self.times.max()),
            },
            "errors": self.errors,
            "server_cpu_seconds": self.cpu_seconds,
        })
    }
}

/// A time, for people.
fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1e3 => format!("{micros:.0}us"),
        _ if micros < 1e6 => format!("{:.2}ms", micros / 1e3),
        _ => format!("{:.2}s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A figure without its unit is read wrongly.
    #[test]
    fn times_have_their_units() {
        assert_eq!(shown(Duration::from_micros(7)), "7us");
        assert_eq!(shown(Duration::from_micros(1250)), "1.25ms");
        assert_eq!(shown(Duration::from_millis(3456)), "3.46s");
    }
}
