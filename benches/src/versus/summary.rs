//! From samples to a table and a verdict.

use std::fmt;

use super::Sample;

/// The samples of one scenario: one of each contender a round.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Of each contender, in the order of the rounds. The first contender is what the others are
    /// compared with.
    pub samples: Vec<Vec<Sample>>,
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
        // Nothing of nothing (bytes written by a load that reads) is as much as nothing.
        let figure = |figure: f64| if figure.is_nan() { 1.0 } else { figure };
        let mut sorted: Vec<f64> = figures.into_iter().map(figure).collect();
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

const WRITTEN: Metric =
    Metric { name: "written B/request", decimals: 0, of: |sample| sample.written_bytes };
const DISK: Metric = Metric {
    name: "disk MiB",
    decimals: 0,
    of: |sample| sample.disk_bytes as f64 / f64::from(1 << 20),
};
const START: Metric = Metric { name: "start ms", decimals: 0, of: |sample| sample.start_ms };

/// Which figures a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figures {
    /// Throughput, times, CPU and memory.
    Serving,
    /// These, and what is written, what lies on the disk, and how long a start takes.
    ServingAndStoring,
}

impl Figures {
    fn metrics(self) -> &'static [Metric] {
        const ALL: [Metric; 10] =
            [THROUGHPUT, P50, P99, P999, SERVER_CPU, CLIENT_CPU, PEAK_RSS, WRITTEN, DISK, START];
        match self {
            Figures::Serving => &ALL[..7],
            Figures::ServingAndStoring => &ALL,
        }
    }
}

impl Rounds {
    /// Contender number `other` divided by the first, round by round.
    fn ratio(&self, other: usize, metric: &Metric) -> Spread {
        let (base, other) = (&self.samples[0], &self.samples[other]);
        assert_eq!(base.len(), other.len(), "every round has all contenders");
        let pairs = base.iter().zip(other);
        Spread::of(pairs.map(|(base, other)| (metric.of)(other) / (metric.of)(base)))
    }
}

/// What the second contender is to reach, as a ratio to the first, and in which scenario.
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
        let ratio = rounds.ratio(1, &metric).median;
        let text = format!("{} {}: {ratio:.2}x, goal <= {bound:.2}x", goals.scenario, metric.name);
        Verdict { pass: ratio <= bound, text }
    };
    let ratio = rounds.ratio(1, &THROUGHPUT).median;
    let bound = goals.throughput_min;
    let throughput = Verdict {
        pass: ratio >= bound,
        text: format!("{} {}: {ratio:.2}x, goal >= {bound:.2}x", goals.scenario, THROUGHPUT.name),
    };
    vec![at_most(SERVER_CPU, goals.server_cpu_max), throughput, at_most(P99, goals.p99_max)]
}

/// A table for people and for Markdown alike. `titles` name the contenders; the first word of a
/// title stands for all of it where two are divided.
#[must_use]
pub fn table(all: &[Rounds], titles: &[String], figures: Figures) -> String {
    let short = |title: &str| title.split(' ').next().unwrap_or_default().to_owned();
    let mut heads = vec!["scenario".to_owned(), "median of".to_owned(), titles[0].clone()];
    for title in &titles[1..] {
        let divided = format!("{}/{}", short(title), short(&titles[0]));
        heads.extend([title.clone(), divided, "min..max".to_owned()]);
    }
    let mut rows = vec![heads];
    for rounds in all {
        for metric in figures.metrics() {
            let median = |samples: &[Sample]| {
                let median = Spread::of(samples.iter().map(metric.of)).median;
                format!("{median:.*}", metric.decimals)
            };
            let base = median(&rounds.samples[0]);
            let mut row = vec![rounds.scenario.to_owned(), metric.name.to_owned(), base];
            for other in 1..titles.len() {
                let ratio = rounds.ratio(other, metric);
                row.push(median(&rounds.samples[other]));
                row.push(format!("{:.2}x", ratio.median));
                row.push(format!("{:.2}..{:.2}", ratio.min, ratio.max));
            }
            rows.push(row);
        }
    }
    lined_up(rows)
}

/// The rows, the first of which holds the heads, as one text: names to the left, figures to the
/// right.
fn lined_up(mut rows: Vec<Vec<String>>) -> String {
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let rules = widths.iter().enumerate().map(|(column, &width)| rule(width, column >= 2));
    rows.insert(1, rules.collect());
    let mut table = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
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
