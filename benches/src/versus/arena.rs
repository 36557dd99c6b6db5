//! Where the runs take place: a load generator, a directory on a disk, stores that were filled.

use std::{
    collections::HashMap,
    fs,
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::syncfs;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    time::sleep,
};

use super::{Contender, profile::Recording, scenario::SECONDS_MIN};
use crate::{
    cluster::{Cluster, Plan},
    load::Report,
};

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

/// What all runs share.
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
    /// Bytes of the large database.
    pub big_bytes: u64,
    /// Print where the server spends its CPU under every load that is measured.
    pub profile: bool,
    /// What each contender last called its version, by its name.
    pub versions: HashMap<String, String>,
    /// Stores that were filled and are only read, by their names.
    filled: HashMap<String, Plan>,
}

impl Arena {
    /// An arena in `dir` whose loads are made by the program `load`.
    #[must_use]
    pub fn new(load: PathBuf, dir: PathBuf) -> Arena {
        Arena {
            load,
            dir,
            scale: 1.0,
            many_keys: 0,
            big_bytes: 0,
            profile: false,
            versions: HashMap::new(),
            filled: HashMap::new(),
        }
    }

    /// A cluster of so many members with nothing in it.
    pub(super) fn empty(&self, contender: &Contender, members: usize) -> Result<Plan> {
        let folder = self.dir.join(&contender.name);
        if folder.exists() {
            // Of a run that failed.
            fs::remove_dir_all(&folder)?;
        }
        Plan::new(&contender.program, &contender.flags, &folder, members)
    }

    /// A cluster with so many keys that will only be read; made when it is first asked for.
    pub(super) async fn filled(
        &mut self,
        contender: &Contender,
        members: usize,
        (keys, value_bytes): (u64, usize),
    ) -> Result<Plan> {
        let name = format!("{}-{members}-{keys}-{value_bytes}", contender.name);
        if let Some(plan) = self.filled.get(&name) {
            return Ok(plan.clone());
        }
        let folder = self.dir.join(&name);
        let plan = Plan::new(&contender.program, &contender.flags, &folder, members)?;
        let cluster = self.start(contender, &plan).await?;
        self.fill(&cluster, keys, keys, value_bytes).await?;
        cluster.stop().await?;
        self.filled.insert(name, plan.clone());
        Ok(plan)
    }

    /// Starts the cluster and notes its version.
    pub(super) async fn start(&mut self, contender: &Contender, plan: &Plan) -> Result<Cluster> {
        let cluster = plan.start().await?;
        self.versions.insert(contender.name.clone(), cluster.version());
        Ok(cluster)
    }

    /// An empty cluster of so many members, started.
    pub(super) async fn fresh(
        &mut self,
        contender: &Contender,
        members: usize,
    ) -> Result<(Plan, Cluster)> {
        let plan = self.empty(contender, members)?;
        let cluster = self.start(contender, &plan).await?;
        Ok((plan, cluster))
    }

    /// Stops a cluster and removes all that it had.
    pub(super) async fn discard(&self, plan: Plan, cluster: Cluster) -> Result<()> {
        cluster.stop().await?;
        Ok(fs::remove_dir_all(plan.folder())?)
    }

    /// How long a load goes on at this scale that takes so many seconds at most.
    pub(super) fn seconds(&self, most: f64) -> f64 {
        (most * self.scale.min(1.0)).max(SECONDS_MIN)
    }

    /// Makes so many puts over so many keys, in order.
    pub(super) async fn fill(
        &self,
        cluster: &Cluster,
        puts: u64,
        keys: u64,
        value_bytes: usize,
    ) -> Result<Report> {
        let put = format!(
            "put --clients 100 --connections 10 --total {puts} --key-space {keys} \
             --val-size {value_bytes}"
        );
        self.load(cluster, &words(&put)).await
    }

    /// Runs `load` and says what it cost the servers from its first request until `aftermath` after
    /// its last answer. If that was asked for, prints where they spent their CPU meanwhile.
    pub(super) async fn measured(
        &self,
        cluster: &Cluster,
        arguments: &[String],
        aftermath: Duration,
    ) -> Result<Cost> {
        let load = RunningLoad::start(&self.load, cluster, arguments).await?;
        let (cpu, written) = (cluster.cpu_time()?, cluster.written_bytes()?);
        let recording = self.record(cluster)?;
        let report = load.go().await?;
        sleep(aftermath).await;
        if let Some(recording) = recording {
            println!("load {}: {:.0}/s\n", arguments.join(" "), report.per_second);
            recording.print().await?;
        }
        Ok(Cost {
            report,
            cpu: cluster.cpu_time()?.saturating_sub(cpu),
            written_bytes: cluster.written_bytes()?.saturating_sub(written),
        })
    }

    /// Begins to note where the servers spend their CPU, if that was asked for.
    pub(super) fn record(&self, cluster: &Cluster) -> Result<Option<Recording>> {
        self.profile.then(|| Recording::start(&cluster.pids(), &self.dir)).transpose()
    }

    /// Runs `load`.
    ///
    /// # Errors
    /// If it fails, or any request did: a server that refuses work is not fast.
    pub(super) async fn load(&self, cluster: &Cluster, arguments: &[String]) -> Result<Report> {
        RunningLoad::start(&self.load, cluster, arguments).await?.go().await
    }

    /// Writes everything dirty back to the disk, so that nobody pays for what came before.
    pub(super) fn settle_disk(&self) -> Result<()> {
        Ok(syncfs(File::open(&self.dir)?)?)
    }
}

/// What a load cost the servers.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) report: Report,
    pub(super) cpu: Duration,
    pub(super) written_bytes: u64,
}

/// `load` in a process of its own, so that its CPU time is not the server's. It has its
/// connections, leases and watchers, and waits for the word.
#[derive(Debug)]
struct RunningLoad {
    child: Child,
    out: BufReader<ChildStdout>,
    command: String,
}

impl RunningLoad {
    async fn start(program: &Path, cluster: &Cluster, arguments: &[String]) -> Result<RunningLoad> {
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--json", "--wait", "--endpoint", &cluster.endpoints().join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The bar, if there is a terminal, and what went wrong.
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let command = format!("load {}", arguments.join(" "));
        let mut line = String::new();
        out.read_line(&mut line).await?;
        ensure!(line == "ready\n", "{command}: could not be set up");
        Ok(RunningLoad { child, out, command })
    }

    /// Gives the word and waits for the report.
    async fn go(mut self) -> Result<Report> {
        let mut word = self.child.stdin.take().context("its input is a pipe")?;
        word.write_all(b"go\n").await?;
        let mut text = String::new();
        self.out.read_to_string(&mut text).await?;
        let status = self.child.wait().await?;
        let command = self.command;
        let report: Report =
            serde_json::from_str(&text).with_context(|| format!("{command} ended: {status}"))?;
        ensure!(
            report.errors == 0 && report.requests > 0,
            "{command}: {} of {} requests failed, first: {}",
            report.errors,
            report.requests + report.errors,
            report.first_error.as_deref().unwrap_or("none was made")
        );
        Ok(report)
    }
}

/// What the files below `folder` take on the disk, in bytes.
pub(super) fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        // Blocks are of 512 bytes, whatever the file system's own are.
        sum += if found.is_dir() { disk_bytes(&entry.path())? } else { found.blocks() * 512 };
    }
    Ok(sum)
}

/// The words of a command.
pub(super) fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
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
