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

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Grows, and starts over with the process.
    Counter,
    /// Goes up and down.
    Gauge,
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
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One number of the metric that was begun last. Label values must need no escaping.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        let mut separator = '{';
        for (label, text) in labels {
            debug_assert!(!text.contains(['"', '\\', '\n']), "label values need no escaping");
            self.write(format_args!("{separator}{label}=\"{text}\""));
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
}
