//! `mason wait`: until an object is as one wants it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use mason_core::control::service::ServiceProgress;
use mason_core::manifest::quantity::parse_span;
use mason_core::record::{Phase, Progress};

use super::ask::{Asker, Target, found};
use super::exit::Exit;
use super::out;
use super::text::plain;
use crate::api::wire::Detail;

/// Wait until something holds of an object: 0 if it does, 1 if it never will, 124 after the timeout
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Which
    name: Target,
    /// For what
    #[arg(long = "for", value_enum, default_value_t = Goal::Finished)]
    goal: Goal,
    /// At most so long, as 5m
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    timeout: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// It has done what it was for
    Succeeded,
    /// It has failed
    Failed,
    /// It has ended, in whatever way
    Finished,
    /// A task of it runs
    Running,
    /// All its tasks are ready
    Ready,
    /// It is not there any more
    Deleted,
}

/// Whether it is so, never will be, or may yet be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    Never(String),
    NotYet,
}

pub(super) async fn run(args: WaitArgs, asker: &Asker) -> Result<Exit> {
    let goal = args.goal;
    within(args.timeout, until(asker, &args.name.name, |detail| judge(goal, detail))).await
}

/// Waits until a service's last change is rolled out.
pub(super) async fn rollout(asker: &Asker, name: &str, timeout: Option<u64>) -> Result<Exit> {
    within(timeout, until(asker, name, judge_rollout)).await
}

async fn within(timeout: Option<u64>, wait: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let Some(span) = timeout else { return wait.await };
    match tokio::time::timeout(Duration::from_millis(span), wait).await {
        Ok(ended) => ended,
        Err(_) => {
            eprintln!("mason: it takes longer than that");
            Ok(Exit::LATE)
        }
    }
}

async fn until(
    asker: &Asker,
    name: &str,
    judge: impl Fn(Option<&Detail>) -> Result<Verdict>,
) -> Result<Exit> {
    let mut detail = found(asker.detail(name).await)?;
    loop {
        match judge(detail.as_ref())? {
            Verdict::Yes => return Ok(Exit::DONE),
            Verdict::Never(why) => {
                out::line(&plain(&format!("{name}: {why}")));
                return Ok(Exit::FAILED);
            }
            Verdict::NotYet => {}
        }
        let after = detail.context("there is nothing to wait for")?.revision;
        detail = found(asker.detail_after(name, after).await)?;
    }
}

fn judge(goal: Goal, detail: Option<&Detail>) -> Result<Verdict> {
    let Some(detail) = detail else {
        return match goal {
            Goal::Deleted => Ok(Verdict::Yes),
            _ => bail!("there is no such object"),
        };
    };
    let summary = &detail.summary;
    let ended = summary.phase.filter(|phase| phase.is_final());
    let reached = match goal {
        Goal::Succeeded => ended == Some(Phase::Succeeded),
        Goal::Failed => ended == Some(Phase::Failed),
        Goal::Finished => ended.is_some(),
        Goal::Running => summary.ready > 0 || detail.tasks.iter().any(|task| task.seen.is_some()),
        Goal::Ready => summary.ready > 0 && summary.ready >= summary.wanted,
        Goal::Deleted => false,
    };
    Ok(match ended {
        _ if reached => Verdict::Yes,
        Some(phase) if goal != Goal::Deleted => {
            let why = if summary.message.is_empty() { "" } else { ": " };
            Verdict::Never(format!("{phase:?}{why}{}", summary.message))
        }
        _ => Verdict::NotYet,
    })
}

fn judge_rollout(detail: Option<&Detail>) -> Result<Verdict> {
    let detail = detail.context("there is no such service")?;
    let Some(state) = &detail.state else { return Ok(Verdict::NotYet) };
    let Progress::Service(value) = &state.progress else {
        bail!("{} is no service", detail.summary.key.name);
    };
    let progress = ServiceProgress::read(value)?;
    if progress.asked.generation < detail.record.generation {
        return Ok(Verdict::NotYet);
    }
    if let Some(rollout) = &progress.rollout {
        return Ok(match rollout.back {
            true => Verdict::Never(format!("rolled back: {}", progress.note)),
            false => Verdict::NotYet,
        });
    }
    let newest = progress.revisions.iter().map(|revision| revision.number).max();
    if newest.is_some_and(|newest| newest > progress.target) && !progress.note.is_empty() {
        return Ok(Verdict::Never(progress.note));
    }
    judge(Goal::Ready, Some(detail))
}
