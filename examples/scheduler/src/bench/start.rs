//! From a job's key in the store to its container running, on one node, by real runc.
//!
//! One job at a time, each of one task whose image is there. Time is from before the job's key is
//! written until the report that its container runs is heard, so all of it is in: two watches,
//! binding, the agent's synced note, its claim, overlay and control groups, runc, and the report.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use mason_core::keys::Key;
use mason_core::record::{self, Phase, RunPhase, SeenRecord, StateRecord};
use mason_core::spec::{Job, Task};
use mason_core::types::JobKey;

use super::process::Part;
use super::report::{Goal, Report};
use super::stage::{Site, Stage};
use crate::store::{Change, Feed, Follow};

/// How long one job may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Jobs that come before: the image is unpacked, files are in memory.
const WARM: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    site: Site,
    /// Jobs
    #[arg(long, default_value_t = 50)]
    jobs: u32,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    ensure!(options.jobs > 0, "--jobs 0 measures nothing");
    let mut stage = Stage::set(&options.site).await?;
    let agent = stage.agent().await?;
    let mut feed = stage.store.follow(&stage.prefix);
    let mut times = Vec::new();
    let before = (stage.server.usage().cpu, agent.usage().cpu);
    for number in 0..options.jobs + WARM {
        let began = Instant::now();
        let key = stage.submit(&format!("start-{number}"), job("sleep 0.3")).await?;
        let ran = until(&mut feed, &stage, &key).await;
        let running = with_logs(ran, &stage, &agent)?.saturating_duration_since(began);
        if number >= WARM {
            times.push(running);
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let title = format!("submit to running, image warm, {}", options.site.store);
    report.figure(&format!("{title}: p50"), at(50), "ms", Goal::Most(120.0));
    report.figure(&format!("{title}: p99"), at(99), "ms", Goal::Most(300.0));
    report.note(format!(
        "{} jobs; fastest {:.1} ms, slowest {:.1} ms",
        times.len(),
        at(0),
        at(100)
    ));
    let count = f64::from(options.jobs + WARM);
    let each = |then: Duration, part: &Part| {
        part.usage().cpu.saturating_sub(then).as_secs_f64() * 1e3 / count
    };
    report.note(format!(
        "{:.1} ms of processor a job in the server, {:.1} ms in the agent (without runc)",
        each(before.0, &stage.server),
        each(before.1, &agent)
    ));
    drop(agent);
    stage.strike().await
}

/// A job of one task that runs a command in a shell.
pub(super) fn job(command: &str) -> Job {
    Job::single(Task::new("tiny", &["sh", "-c", command]))
}

/// When it was running; returns when it is over.
async fn until(feed: &mut Follow, stage: &Stage, key: &JobKey) -> Result<Instant> {
    let mut running = None;
    loop {
        let Ok(news) = tokio::time::timeout(PATIENCE, feed.next()).await else {
            bail!("job {key} takes more than {PATIENCE:?}");
        };
        let changes = match news.context("the store")? {
            Feed::Reset(_, all) => all.into_iter().map(Change::Put).collect(),
            Feed::Batch(_, changes) => changes,
        };
        for change in changes {
            let Change::Put(kv) = change else { continue };
            match stage.store.keys().parse(&kv.key) {
                Some(Key::Seen(..)) => {
                    let seen: SeenRecord = record::decode(&kv.key, &kv.value)?;
                    if seen.phase == RunPhase::Running && running.is_none() {
                        running = Some(Instant::now());
                    }
                }
                Some(Key::State(of)) if of == *key => {
                    let state: StateRecord = record::decode(&kv.key, &kv.value)?;
                    match state.phase {
                        Phase::Succeeded => return running.context("it ended unseen"),
                        phase if phase.is_final() => bail!("job {key} ended as {phase:?}"),
                        _ => {}
                    }
                }
                Some(Key::Result(_)) => {
                    let result: record::ResultRecord = record::decode(&kv.key, &kv.value)?;
                    let exit = result.exit;
                    ensure!(exit.is_success(), "a task ended as {exit:?}");
                }
                _ => {}
            }
        }
    }
}

/// An error, with what the parts wrote last.
pub(super) fn with_logs<T>(found: Result<T>, stage: &Stage, agent: &Part) -> Result<T> {
    let last = || format!("server: {}\nagent: {}", stage.server.last_words(), agent.last_words());
    found.with_context(last)
}
