//! Containers a second, one after another for a while, and what they leave behind.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use mason_core::keys::Key;
use mason_core::record::{self, Phase, StateRecord};
use mason_core::types::JobKey;

use super::leaks::Traces;
use super::process::Part;
use super::report::{Goal, Report};
use super::stage::{NODE, Site, Stage};
use super::start::{job, with_logs};
use crate::store::{Change, Feed};

/// Nothing ends for so long: it is given up.
const STALL: Duration = Duration::from_secs(120);
/// How long what is left may take to go.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    site: Site,
    /// Containers
    #[arg(long, default_value_t = 2_000)]
    starts: u32,
    /// At once
    #[arg(long, default_value_t = 4)]
    at_once: u32,
}

pub(super) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(&options.site).await?;
    let agent = stage.agent().await?;
    // What is made once and kept is made before.
    let warm = churn(&stage, "warm", 40, options.at_once).await;
    with_logs(warm, &stage, &agent)?;
    let before = settled(&stage, &agent, None).await?;
    let cpu = (stage.server.usage().cpu, agent.usage().cpu);
    let took = churn(&stage, "churn", options.starts, options.at_once).await;
    let took = with_logs(took, &stage, &agent)?;
    stage.check()?;
    let rate = f64::from(options.starts) / took.as_secs_f64();
    let title = format!("{} containers, {} at once", options.starts, options.at_once);
    report.figure(&title, rate, "/s", Goal::Least(15.0));
    let each = |then: Duration, part: &Part| {
        part.usage().cpu.saturating_sub(then).as_secs_f64() * 1e3 / f64::from(options.starts)
    };
    report.note(format!(
        "{:.1} ms of processor each in the server, {:.1} ms in the agent (without runc)",
        each(cpu.0, &stage.server),
        each(cpu.1, &agent)
    ));
    settled(&stage, &agent, Some(&before)).await?.tell(&before, report);
    drop(agent);
    stage.strike().await
}

/// Counts what there is, when what was there before is all there is, or after a while.
async fn settled(stage: &Stage, agent: &Part, before: Option<&Traces>) -> Result<Traces> {
    let data = stage.data_dir();
    let began = Instant::now();
    let mut last = Traces::look(agent, &data, NODE)?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = Traces::look(agent, &data, NODE)?;
        let is_clean = now.is_clean(before.unwrap_or(&last));
        if began.elapsed() > SETTLE
            || is_clean && (before.is_some() || began.elapsed() > SETTLE / 5)
        {
            return Ok(now);
        }
        last = now;
    }
}

/// How long an array takes whose tasks end at once.
async fn churn(stage: &Stage, name: &str, starts: u32, at_once: u32) -> Result<Duration> {
    let mut feed = stage.store.follow(&format!("{}state/", stage.prefix));
    let began = Instant::now();
    let mut array = job("true");
    (array.count, array.parallelism) = (starts, at_once);
    let key: JobKey = stage.submit(name, array).await?;
    let most = STALL + Duration::from_secs(u64::from(starts));
    loop {
        let Ok(news) = tokio::time::timeout(most, feed.next()).await else {
            bail!("{starts} containers take more than {most:?}");
        };
        let changes = match news.context("the store")? {
            Feed::Reset(_, all) => all.into_iter().map(Change::Put).collect(),
            Feed::Batch(_, changes) => changes,
        };
        for change in changes {
            let Change::Put(kv) = change else { continue };
            if stage.store.keys().parse(&kv.key) != Some(Key::State(key.clone())) {
                continue;
            }
            let state: StateRecord = record::decode(&kv.key, &kv.value)?;
            if state.phase.is_final() {
                let took = began.elapsed();
                ensure!(state.phase == Phase::Succeeded, "{key} ended as {:?}", state.phase);
                return Ok(took);
            }
        }
    }
}
