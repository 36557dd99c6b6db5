//! From samples to a table and a verdict.

use std::fmt;

use super::Sample;

/// The samples of one scenario: one pair a round.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Of etcd, in the order of the rounds.
    pub etcd: Vec<Sample>,
    /// Of ours, in the same order.
    pub ours: Vec<Sample>,
}

/// A figure to compare, and how to print it.
struct Metric {
    name: &'static str,
    decimals: usize,
    of: fn(&Sample) -> f64,
}

const THROUGHPUT: Metric =
    Metric { name: "requests/s", decimals: 0, of: |sample| sample.report.per_second };
const P50: Metric =
    Metric { name: "p50 ms", decimals: 3, of: |sample| sample.report.latency_us.p50 as f64 / 1e3 };
const P99: Metric =
    Metric { name: "p99 ms", decimals: 3, of: |sample| sample.report.latency_us.p99 as f64 / 1e3 };
const P999: Metric = Metric {
    name: "p99.9 ms",
    decimals: 3,
    of: |sample| sample.report.latency_us.p999 as f64 / 1e3,
};
const SERVER_CPU: Metric =
    Metric { name: "server CPU us/request", decimals: 1, of: |sample| sample.server_cpu_us };
const CLIENT_CPU: Metric = Metric {
    name: "client CPU us/request",
    decimals: 1,
    of: |sample| sample.report.client_cpu_us_per_request,
};
const PEAK_RSS: Metric = Metric {
    name: "peak RSS MiB",
    decimals: 0,
    of: |sample| sample.peak_rss_bytes as f64 / f64::from(1 << 20),
};

/// Least, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of one figure or more.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        assert!(!sorted.is_empty(), "a spread needs a figure");
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[half - 1], sorted[half])
        } else {
            sorted[half]
        };
        Spread { min: sorted[0], median, max: sorted[sorted.len() - 1] }
    }
}

impl Rounds {
    /// Ours divided by etcd, round by round.
    fn ratio(&self, metric: &Metric) -> Spread {
        assert_eq!(self.etcd.len(), self.ours.len(), "every round has two sides");
        let pairs = self.etcd.iter().zip(&self.ours);
        Spread::of(pairs.map(|(etcd, ours)| (metric.of)(ours) / (metric.of)(etcd)))
    }
}

/// What ours is to reach, as a ratio to etcd, and in which scenario.
#[derive(Clone, Copy, Debug)]
pub struct Goals {
    /// The scenario they are about.
    pub scenario: &'static str,
    /// CPU of the server per request: at most this.
    pub server_cpu_max: f64,
    /// Throughput: at least this.
    pub throughput_min: f64,
    /// The 99th percentile: at most this.
    pub p99_max: f64,
}

/// Whether one goal is met.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// It is.
    pub pass: bool,
    text: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.pass { "PASS" } else { "FAIL" }, self.text)
    }
}

/// Holds the medians against the goals; nothing if the scenario of the goals was not run.
#[must_use]
pub fn verdicts(all: &[Rounds], goals: &Goals) -> Vec<Verdict> {
    let Some(rounds) = all.iter().find(|rounds| rounds.scenario == goals.scenario) else {
        return Vec::new();
    };
    let at_most = |metric: Metric, bound: f64| {
        let ratio = rounds.ratio(&metric).median;
        let text = format!("{} {}: {ratio:.2}x, goal <= {bound:.2}x", goals.scenario, metric.name);
        Verdict { pass: ratio <= bound, text }
    };
    let ratio = rounds.ratio(&THROUGHPUT).median;
    let bound = goals.throughput_min;
    let throughput = Verdict {
        pass: ratio >= bound,
        text: format!("{} {}: {ratio:.2}x, goal >= {bound:.2}x", goals.scenario, THROUGHPUT.name),
    };
    vec![at_most(SERVER_CPU, goals.server_cpu_max), throughput, at_most(P99, goals.p99_max)]
}

/// A table for people and for Markdown alike.
#[must_use]
pub fn table(all: &[Rounds], etcd: &str, ours: &str) -> String {
    let heads = ["scenario", "median of", etcd, ours, "ours/etcd", "min..max"];
    let mut rows = vec![heads.map(str::to_owned)];
    for rounds in all {
        for metric in [THROUGHPUT, P50, P99, P999, SERVER_CPU, CLIENT_CPU, PEAK_RSS] {
            let median = |samples: &[Sample]| {
                let median = Spread::of(samples.iter().map(metric.of)).median;
                format!("{median:.*}", metric.decimals)
            };
            let ratio = rounds.ratio(&metric);
            rows.push([
                rounds.scenario.to_owned(),
                metric.name.to_owned(),
                median(&rounds.etcd),
                median(&rounds.ours),
                format!("{:.2}x", ratio.median),
                format!("{:.2}..{:.2}", ratio.min, ratio.max),
            ]);
        }
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    // Names to the left, figures to the right.
    rows.insert(1, std::array::from_fn(|column| rule(widths[column], column >= 2)));
    let mut table = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            table += &if column < 2 {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
        }
        table += "|\n";
    }
    table
}

fn rule(width: usize, to_the_right: bool) -> String {
    let dashes = "-".repeat(width - 1);
    if to_the_right { dashes + ":" } else { dashes + "-" }
}

#[cfg(test)]
mod tests;
