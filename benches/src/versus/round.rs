//! One run: a server, a load, and what both cost.

use std::{
    collections::HashMap,
    fmt, fs,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::syncfs;
use tokio::{process::Command, time::sleep};

use super::Scenario;
use crate::{load::Report, server::Server};

/// The warm-up is this part of the load.
const WARM_UP: f64 = 0.1;

/// The server's CPU counts for this long after the last answer.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Real etcd.
    Etcd,
    /// The server of this project, or whatever stands in for it.
    Ours,
}

impl Side {
    /// Who goes first and who second in a round; rounds count from 0.
    #[must_use]
    pub fn order(round: usize) -> [Side; 2] {
        if round.is_multiple_of(2) { [Side::Etcd, Side::Ours] } else { [Side::Ours, Side::Etcd] }
    }

    fn name(self) -> &'static str {
        match self {
            Side::Etcd => "etcd",
            Side::Ours => "ours",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one run has shown.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The load's own report.
    pub report: Report,
    /// CPU time of the server per request, in microseconds.
    pub server_cpu_us: f64,
    /// Most memory the server had, in bytes.
    pub peak_rss_bytes: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.report.latency_us;
        write!(
            f,
            "{:>8.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms  p99.9 {:>8.3} ms  \
             server {:>8.1} us  client {:>6.1} us  RSS {:>5} MiB",
            self.report.per_second,
            times.p50 as f64 / 1e3,
            times.p99 as f64 / 1e3,
            times.p999 as f64 / 1e3,
            self.server_cpu_us,
            self.report.client_cpu_us_per_request,
            self.peak_rss_bytes >> 20
        )
    }
}

/// Where the runs take place: two programs, a load generator, a directory on a disk.
#[derive(Debug)]
pub struct Arena {
    /// The `load` program.
    pub load: PathBuf,
    /// Real etcd.
    pub etcd: PathBuf,
    /// Ours.
    pub ours: PathBuf,
    /// Holds all data; what is in it is the arena's own.
    pub dir: PathBuf,
    /// Factor to the length of every run.
    pub scale: f64,
    /// Keys of the large key space.
    pub many_keys: u64,
    /// What each side last called its version.
    pub versions: HashMap<Side, String>,
}

impl Arena {
    /// Runs the scenario once on one side.
    ///
    /// # Errors
    /// If the server or the load fails, or any request did: a server that refuses work is not fast.
    pub async fn run(&mut self, scenario: &Scenario, side: Side) -> Result<Sample> {
        let keys = scenario.keys(self.many_keys);
        let data_dir = match keys {
            None => self.dir.join(side.name()),
            Some(keys) => self.filled(side, keys).await?,
        };
        let server = Server::start(self.program(side), &data_dir).await?;
        self.versions.insert(side, server.version.clone());
        let warm_up = scenario.load(self.scale * WARM_UP, self.many_keys);
        self.load(&server, &warm_up).await?;
        syncfs(File::open(&self.dir)?)?;

        let before = server.cpu_time()?;
        let report = self.load(&server, &scenario.load(self.scale, self.many_keys)).await?;
        sleep(AFTERMATH).await;
        let cpu = server.cpu_time()?.saturating_sub(before);
        let peak_rss_bytes = server.peak_rss_bytes()?;
        server.stop().await?;
        if keys.is_none() {
            fs::remove_dir_all(&data_dir)?;
        }
        let server_cpu_us = cpu.as_secs_f64() * 1e6 / report.requests as f64;
        Ok(Sample { report, server_cpu_us, peak_rss_bytes })
    }

    /// The data directory with so many keys; made when it is first asked for.
    async fn filled(&self, side: Side, keys: u64) -> Result<PathBuf> {
        let data_dir = self.dir.join(format!("{side}-{keys}"));
        if data_dir.exists() {
            return Ok(data_dir);
        }
        let server = Server::start(self.program(side), &data_dir).await?;
        let keys = keys.to_string();
        let put =
            ["put", "--clients=100", "--connections=10", "--total", &keys, "--key-space", &keys];
        self.load(&server, &put.map(str::to_owned)).await?;
        server.stop().await?;
        Ok(data_dir)
    }

    fn program(&self, side: Side) -> &Path {
        match side {
            Side::Etcd => &self.etcd,
            Side::Ours => &self.ours,
        }
    }

    /// Runs `load` in a process of its own, so that its CPU time is not the server's.
    async fn load(&self, server: &Server, arguments: &[String]) -> Result<Report> {
        let output = Command::new(&self.load)
            .args(arguments)
            .args(["--json", "--endpoint", &server.endpoint])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // The bar, if there is a terminal, and what went wrong.
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.load.display()))?
            .wait_with_output()
            .await?;
        let report: Report = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("load {} ended: {}", arguments.join(" "), output.status))?;
        ensure!(
            report.errors == 0 && report.requests > 0,
            "load {}: {} of {} requests failed, first: {}",
            arguments.join(" "),
            report.errors,
            report.requests + report.errors,
            report.first_error.as_deref().unwrap_or("none was made")
        );
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a machine that grows slower, whoever always goes second loses.
    #[test]
    fn both_sides_begin_equally_often_and_both_run_in_every_round() {
        for round in 0..10 {
            let [first, second] = Side::order(round);
            assert_ne!(first, second);
            assert_eq!(Side::order(round + 1), [second, first]);
        }
    }
}
