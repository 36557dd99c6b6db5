//! One run: a server, a load, and what both cost.

use std::{
    collections::HashMap,
    fmt, fs,
    fs::File,
    os::unix::fs::MetadataExt as _,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// In the table, and of its data directory.
    pub name: String,
    /// The server.
    pub program: PathBuf,
    /// Its flags, beyond those that every server gets.
    pub flags: Vec<String>,
}

/// Who of `count` contenders goes when in a round; rounds count from 0.
///
/// Everyone begins equally often. After each time that all have begun, the circle is walked the
/// other way, so that nobody always comes after the same one.
#[must_use]
pub fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|turn| (round + turn) % count).collect();
    if (round / count) % 2 == 1 {
        order[1..].reverse();
    }
    order
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
    /// What the server wrote to the disk per request, in bytes.
    pub written_bytes: f64,
    /// What the server's files took when it had ended, in bytes.
    pub disk_bytes: u64,
    /// How long the server took to start, in milliseconds.
    pub start_ms: f64,
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

/// Where the runs take place: a load generator, a directory on a disk.
#[derive(Debug)]
pub struct Arena {
    /// The `load` program.
    pub load: PathBuf,
    /// Holds all data; what is in it is the arena's own.
    pub dir: PathBuf,
    /// Factor to the length of every run.
    pub scale: f64,
    /// Keys of the large key space.
    pub many_keys: u64,
    /// What each contender last called its version, by its name.
    pub versions: HashMap<String, String>,
}

impl Arena {
    /// Runs the scenario once with one contender.
    ///
    /// # Errors
    /// If the server or the load fails, or any request did: a server that refuses work is not fast.
    pub async fn run(&mut self, scenario: &Scenario, contender: &Contender) -> Result<Sample> {
        let keys = scenario.keys(self.many_keys);
        let data_dir = match keys {
            None => self.dir.join(&contender.name),
            Some(keys) => self.filled(contender, keys).await?,
        };
        let server = Server::start(&contender.program, &contender.flags, &data_dir).await?;
        self.versions.insert(contender.name.clone(), server.version.clone());
        let warm_up = scenario.load(self.scale * WARM_UP, self.many_keys);
        self.load(&server, &warm_up).await?;
        syncfs(File::open(&self.dir)?)?;

        let (before, written_before) = (server.cpu_time()?, server.written_bytes()?);
        let report = self.load(&server, &scenario.load(self.scale, self.many_keys)).await?;
        sleep(AFTERMATH).await;
        let cpu = server.cpu_time()?.saturating_sub(before);
        let written = server.written_bytes()?.saturating_sub(written_before);
        let peak_rss_bytes = server.peak_rss_bytes()?;
        let start_ms = server.ready_after.as_secs_f64() * 1e3;
        server.stop().await?;
        let disk_bytes = disk_bytes(&data_dir)?;
        if keys.is_none() {
            fs::remove_dir_all(&data_dir)?;
        }
        let requests = report.requests as f64;
        let server_cpu_us = cpu.as_secs_f64() * 1e6 / requests;
        let written_bytes = written as f64 / requests;
        Ok(Sample { report, server_cpu_us, peak_rss_bytes, written_bytes, disk_bytes, start_ms })
    }

    /// The data directory with so many keys; made when it is first asked for.
    async fn filled(&self, contender: &Contender, keys: u64) -> Result<PathBuf> {
        let data_dir = self.dir.join(format!("{}-{keys}", contender.name));
        if data_dir.exists() {
            return Ok(data_dir);
        }
        let server = Server::start(&contender.program, &contender.flags, &data_dir).await?;
        let keys = keys.to_string();
        let put =
            ["put", "--clients=100", "--connections=10", "--total", &keys, "--key-space", &keys];
        self.load(&server, &put.map(str::to_owned)).await?;
        server.stop().await?;
        Ok(data_dir)
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

/// What the files below `folder` take on the disk, in bytes.
fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        // Blocks are of 512 bytes, whatever the file system's own are.
        sum += if found.is_dir() { disk_bytes(&entry.path())? } else { found.blocks() * 512 };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a machine that grows slower, whoever always goes second loses.
    #[test]
    fn everyone_begins_equally_often_and_runs_in_every_round() {
        for count in 1..5 {
            for round in 0..4 * count {
                let mut order = order(round, count);
                assert_eq!(order[0], round % count);
                order.sort_unstable();
                assert_eq!(order, (0..count).collect::<Vec<_>>());
            }
        }
        assert_eq!([order(0, 2), order(1, 2), order(2, 2)], [[0, 1], [1, 0], [0, 1]]);
        assert_eq!([order(1, 3), order(4, 3)], [[1, 2, 0], [1, 0, 2]]);
    }

    /// A table that is made large and never written takes no room.
    #[test]
    fn disk_bytes_are_those_of_blocks_in_use() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/full"), vec![7; 100_000]).unwrap();
        File::create(dir.path().join("hollow")).unwrap().set_len(1 << 30).unwrap();
        let found = disk_bytes(dir.path()).unwrap();
        assert!((100_000..200_000).contains(&found), "{found}");
    }
}
