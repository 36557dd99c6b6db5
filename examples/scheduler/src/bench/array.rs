//! An array on hollow nodes, bound through a real store by a real server.
//!
//! Three processes share the machine: the store, `mason server`, and all hollow nodes. What binds
//! cost is therefore less than what the machine spends: nodes claim and report while the rest is
//! still being bound, two transactions for each task beside its share of a bind.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mason_core::spec::{Job, Task};
use tokio::sync::mpsc;

use super::hollow::Progress;
use super::process::{Part, Usage};
use super::report::{Goal, Report};
use super::stage::{Site, Stage};

/// Binds a second that are asked for: of our store, and of etcd.
const OURS: f64 = 10_000.0;
const ETCD: f64 = 5_000.0;
/// Nothing happens for so long: it is given up.
const STALL: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    site: Site,
    /// Hollow nodes
    #[arg(long, default_value_t = 5_000)]
    nodes: u32,
    /// Nodes do not answer: what is bound to them stays as it is
    #[arg(long)]
    mute: bool,
    /// What runs ends at once
    #[arg(long, conflicts_with = "mute")]
    end: bool,
}

/// Binds a second.
#[derive(Debug, Args)]
pub(super) struct Binds {
    #[command(flatten)]
    common: Common,
    /// Tasks
    #[arg(long, default_value_t = 100_000)]
    tasks: u32,
}

/// A large array.
#[derive(Debug, Args)]
pub(super) struct Array {
    #[command(flatten)]
    common: Common,
    /// Tasks
    #[arg(long, default_value_t = 1_000_000)]
    tasks: u32,
}

impl Binds {
    pub(super) async fn run(&self, report: &mut Report) -> Result<()> {
        let Binds { common, tasks } = self;
        let found = measure(common, *tasks).await?;
        let rate = f64::from(*tasks) / found.bound.as_secs_f64().max(1e-3);
        let goal = if common.site.store == "etcd" { ETCD } else { OURS };
        report.figure(&common.title("binds", *tasks), rate, "/s", Goal::Least(goal));
        found.tell(report, *tasks);
        Ok(())
    }
}

impl Array {
    pub(super) async fn run(&self, report: &mut Report) -> Result<()> {
        let Array { common, tasks } = self;
        let found = measure(common, *tasks).await?;
        let title = common.title("array", *tasks);
        let seconds = found.bound.as_secs_f64();
        report.figure(&format!("{title}, all bound"), seconds, "s", Goal::Most(300.0));
        let memory = (found.server.memory_peak >> 20) as f64;
        let goal = Goal::Most(2048.0);
        report.figure(&format!("{title}, server's memory"), memory, "MiB", goal);
        found.tell(report, *tasks);
        Ok(())
    }
}

impl Common {
    fn title(&self, what: &str, tasks: u32) -> String {
        let how = match (self.mute, self.end) {
            (true, _) => ", mute",
            (_, true) => ", ending",
            _ => "",
        };
        format!("{what}: {tasks} on {}, {}{how}", self.nodes, self.site.store)
    }
}

/// What was found.
struct Found {
    /// From the job's key to the last bind that a node heard of.
    bound: Duration,
    /// From the job's key to the last report that was acknowledged; none if nobody reports.
    running: Option<Duration>,
    refused: u64,
    store: Usage,
    server: Usage,
    nodes: Usage,
}

impl Found {
    fn tell(&self, report: &mut Report, tasks: u32) {
        if let Some(running) = self.running {
            let (seconds, rate) =
                (running.as_secs_f64(), f64::from(tasks) / running.as_secs_f64().max(1e-3));
            report.note(format!(
                "all claimed and reported running after {seconds:.1} s: {rate:.0}/s"
            ));
        }
        if self.refused > 0 {
            report.note(format!("{} words of nodes were refused or lost", self.refused));
        }
        let all = [("server", self.server), ("store", self.store), ("nodes", self.nodes)];
        for (name, usage) in all {
            let each = usage.cpu.as_secs_f64() * 1e6 / f64::from(tasks);
            report.note(format!(
                "{name:<7} {each:>6.1} us of processor a task, {:>5} MiB, at most {:>5} MiB",
                usage.memory >> 20,
                usage.memory_peak >> 20,
            ));
        }
    }
}

async fn measure(common: &Common, tasks: u32) -> Result<Found> {
    let mut stage = Stage::set(&common.site).await?;
    let count = common.nodes.to_string();
    let mut words = vec!["bench", "hollow", "--store", &stage.url, "--prefix", &stage.prefix];
    words.extend(["--nodes", &count]);
    words.extend(common.mute.then_some("--mute"));
    words.extend(common.end.then_some("--end"));
    let folder = stage.folder.path();
    let mut nodes = Part::start("nodes", &stage.program, folder, &words, Stdio::piped())?;
    let mut lines = listen(&mut nodes)?;
    wait(&mut stage, &mut nodes, &mut lines, |it| it.ready).await?;
    let before = usages(&stage, &nodes);
    let (began, clock) = (Instant::now(), crate::store::now());
    let mut job = Job::single(Task::new("tiny", &["true"]));
    job.count = tasks;
    stage.submit("array", job).await?;
    let all = u64::from(tasks);
    let bound = wait(&mut stage, &mut nodes, &mut lines, |it| it.bound >= all).await?;
    let mut after = usages(&stage, &nodes);
    let mut running = None;
    let mut last = bound;
    if !common.mute {
        let is_over = |it: &Progress| it.started >= all && it.unsaid == 0;
        last = wait(&mut stage, &mut nodes, &mut lines, is_over).await?;
        running = Some(began.elapsed());
        after = usages(&stage, &nodes);
    }
    let [store, server, nodes] = std::array::from_fn(|at| {
        let cpu = after[at].cpu.saturating_sub(before[at].cpu);
        Usage { cpu, ..after[at] }
    });
    stage.strike().await?;
    let bound = Duration::from_millis(bound.last_at.saturating_sub(clock));
    Ok(Found { bound, running, refused: last.refused, store, server, nodes })
}

fn usages(stage: &Stage, nodes: &Part) -> [Usage; 3] {
    let store = stage.store_part.as_ref().map_or(Usage::default(), Part::usage);
    [store, stage.server.usage(), nodes.usage()]
}

/// What hollow nodes say, by a thread that reads it.
fn listen(nodes: &mut Part) -> Result<mpsc::Receiver<Progress>> {
    let out = nodes.child().stdout.take().context("their standard output")?;
    let (told, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let Ok(progress) = serde_json::from_str(&line) else { continue };
            if told.blocking_send(progress).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}

/// Waits until hollow nodes are so far; fails when a part ends, or nothing happens any more.
async fn wait(
    stage: &mut Stage,
    nodes: &mut Part,
    lines: &mut mpsc::Receiver<Progress>,
    is_there: impl Fn(&Progress) -> bool,
) -> Result<Progress> {
    let (mut moved, mut sum) = (Instant::now(), 0);
    loop {
        stage.check()?;
        nodes.check()?;
        let Ok(next) = tokio::time::timeout(STALL, lines.recv()).await else {
            bail!("hollow nodes say nothing for {STALL:?}");
        };
        let Some(it) = next else { continue };
        if is_there(&it) {
            return Ok(it);
        }
        let now = it.bound + it.started + it.unsaid;
        if now != sum {
            (moved, sum) = (Instant::now(), now);
        } else if moved.elapsed() > STALL {
            bail!("nothing happens any more: {it:?}");
        }
    }
}
