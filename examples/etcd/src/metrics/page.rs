//! Prometheus' text format, version 0.0.4.
//!
//! ```text
//!   # HELP etcd_server_has_leader Whether there is a leader.
//!   # TYPE etcd_server_has_leader gauge
//!   etcd_server_has_leader 1
//! ```
//!
//! Written by hand: the client library at hand speaks OpenMetrics, which renames counters, while
//! etcd's names are what dashboards look for.

use std::fmt::{Display, Write};

use super::histogram::{Buckets, Histogram};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Grows, and starts over with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times, sorted.
    Histogram,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A metric of one number.
    pub(crate) fn number(&mut self, name: &str, help: &str, kind: Kind, value: impl Display) {
        self.labeled(name, help, kind, &[], value);
    }

    /// A metric of one number with labels.
    pub(crate) fn labeled(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.head(name, help, kind);
        self.sample(name, labels, value);
    }

    /// Begins a metric; its samples follow.
    pub(crate) fn head(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A histogram without labels.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, Kind::Histogram);
        self.buckets(name, &[], &histogram.read());
    }

    /// The numbers of one histogram of the metric that was begun last. The buckets of Prometheus
    /// hold what is in those below as well, and the count is that of the last, so that they agree
    /// whatever is observed meanwhile.
    pub(crate) fn buckets(&mut self, name: &str, labels: &[(&str, &str)], buckets: &Buckets) {
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (bound, count) in &buckets.buckets {
            below += count;
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, below);
        }
        self.sample(&format!("{name}_sum"), labels, buckets.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, below);
    }

    /// One number of the metric that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            self.write(format_args!("{separator}{label}=\""));
            for character in text.chars() {
                match character {
                    '"' => self.0.push_str("\\\""),
                    '\\' => self.0.push_str("\\\\"),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
            separator = ',';
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    /// The page's text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A scraper drops the whole page for one line that it cannot read.
    #[test]
    fn lines_have_prometheus_shape() {
        let mut page = Page::default();
        page.number("up", "Whether.", Kind::Gauge, 1);
        page.labeled("calls_total", "How many.", Kind::Counter, &[("a", "b"), ("c", "d")], 2.5);
        let expected = "# HELP up Whether.\n# TYPE up gauge\nup 1\n\
            # HELP calls_total How many.\n# TYPE calls_total counter\n\
            calls_total{a=\"b\",c=\"d\"} 2.5\n";
        assert_eq!(page.into_text(), expected);
    }

    // A client may say that its version is anything.
    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("a", &[("b", "x\"y\\z\n")], 1);
        assert_eq!(page.into_text(), "a{b=\"x\\\"y\\\\z\\n\"} 1\n");
    }
}
