//! What one run has shown: figures with names, in the order in which a table shows them.

use std::fmt;

use crate::load::Report;

/// A kind of figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// With its unit, as in the table.
    pub name: &'static str,
    /// Digits behind the point.
    pub decimals: usize,
}

const fn metric(name: &'static str, decimals: usize) -> Metric {
    Metric { name, decimals }
}

pub(super) const THROUGHPUT: Metric = metric("requests/s", 0);
pub(super) const EVENTS: Metric = metric("events/s", 0);
pub(super) const PUTS: Metric = metric("puts/s", 0);
pub(super) const P50: Metric = metric("p50 ms", 3);
pub(super) const P99: Metric = metric("p99 ms", 3);
pub(super) const P999: Metric = metric("p99.9 ms", 3);
pub(super) const SERVER_CPU: Metric = metric("server CPU us/request", 1);
pub(super) const SERVER_CPU_EVENT: Metric = metric("server CPU us/event", 2);
pub(super) const CLIENT_CPU: Metric = metric("client CPU us/request", 1);
pub(super) const CLIENT_CPU_EVENT: Metric = metric("client CPU us/event", 2);
pub(super) const SERVER_CORES: Metric = metric("server cores busy", 2);
pub(super) const CLIENT_CORES: Metric = metric("client cores busy", 2);
pub(super) const PEAK_RSS: Metric = metric("peak RSS MiB", 0);
pub(super) const WRITTEN: Metric = metric("written B/request", 0);
pub(super) const DISK: Metric = metric("disk MiB", 0);
pub(super) const ON_DISK: Metric = metric("files MiB", 0);
pub(super) const START: Metric = metric("start ms", 0);
pub(super) const RSS: Metric = metric("RSS MiB", 0);
pub(super) const RSS_AFTER_RESTART: Metric = metric("RSS after restart MiB", 0);
pub(super) const RESTART: Metric = metric("SIGKILL to first read ms", 0);
pub(super) const RSS_ADDED: Metric = metric("added RSS MB", 0);
pub(super) const READ_SECONDS: Metric = metric("seconds for all", 2);
pub(super) const WORST_IDLE: Metric = metric("worst put, idle ms", 1);
pub(super) const WORST_COMPACTING: Metric = metric("worst put, compacting ms", 1);
pub(super) const WORST_DEFRAGMENTING: Metric = metric("worst put, defragmenting ms", 1);
pub(super) const WORST_ADDED: Metric = metric("worst put, added ms", 1);
pub(super) const COMPACTION: Metric = metric("compaction ms", 0);
pub(super) const DEFRAGMENTATION: Metric = metric("defragmentation ms", 0);
pub(super) const PUTS_ALONE: Metric = metric("puts/s, no watcher", 0);
pub(super) const PUTS_BESIDE: Metric = metric("puts/s, watcher behind", 0);
pub(super) const PUTS_KEPT: Metric = metric("puts/s, beside by alone", 3);
pub(super) const CATCH_UP: Metric = metric("watcher events/s", 0);
pub(super) const TAKEOVER_MEDIAN: Metric = metric("leader dead to next put ms", 0);
pub(super) const TAKEOVER_WORST: Metric = metric("the same, worst ms", 0);
pub(super) const FILL: Metric = metric("fill MB/s", 1);
pub(super) const WORST: Metric = metric("worst ms", 1);

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<(Metric, f64)>);

impl Sample {
    /// With one figure more.
    #[must_use]
    pub fn with(mut self, metric: Metric, figure: f64) -> Sample {
        self.0.push((metric, figure));
        self
    }

    /// One figure, if it was taken.
    #[must_use]
    pub fn of(&self, metric: Metric) -> Option<f64> {
        self.0.iter().find(|(found, _)| *found == metric).map(|(_, figure)| *figure)
    }

    /// What was taken, in its order.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> {
        self.0.iter().map(|(metric, _)| *metric)
    }

    /// Throughput, times and the client's share, from what `load` says.
    #[must_use]
    pub fn of_load(report: &Report, server_cpu_seconds: f64) -> Sample {
        let Report { requests, seconds, per_second, latency_us, .. } = *report;
        let server_us = server_cpu_seconds * 1e6 / requests as f64;
        let client_us = report.client_cpu_us_per_request;
        let (rate, server, client) = match report.workload.as_str() {
            "watch" => (EVENTS, SERVER_CPU_EVENT, CLIENT_CPU_EVENT),
            _ => (THROUGHPUT, SERVER_CPU, CLIENT_CPU),
        };
        let mut sample = Sample::default().with(rate, per_second);
        if report.puts_per_second > 0.0 {
            sample = sample.with(PUTS, report.puts_per_second);
        }
        sample
            .with(P50, millis(latency_us.p50))
            .with(P99, millis(latency_us.p99))
            .with(P999, millis(latency_us.p999))
            .with(server, server_us)
            .with(client, client_us)
            .with(SERVER_CORES, server_cpu_seconds / seconds)
            .with(CLIENT_CORES, client_us * requests as f64 / 1e6 / seconds)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (Metric { name, decimals }, figure)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {figure:.decimals$}")?;
        }
        Ok(())
    }
}

/// Milliseconds of microseconds.
pub(super) fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// Mebibytes of bytes.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
