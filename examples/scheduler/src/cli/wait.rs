//! `mason wait`: until an object is as one wants it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use mason_core::control::service::ServiceProgress;
use mason_core::manifest::quantity::parse_span;
use mason_core::record::{Phase, Progress, RunPhase, SeenRecord};

use super::ask::{Asker, Target, found};
use super::exit::Exit;
use super::out;
use super::text::plain;
use crate::api::client::ClientError;
use crate::api::wire::{Detail, Summary};

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
    let target = asker.resolve(&args.name).await?;
    within(args.timeout, until(asker, &target.name, |detail| judge(goal, detail), |_| {})).await
}

/// Waits until a service's last change is rolled out, and says how far it is.
pub(super) async fn rollout(asker: &Asker, name: &str, timeout: Option<u64>) -> Result<Exit> {
    let mut told = String::new();
    let tell = |detail: &Detail| {
        let message = &detail.summary.message;
        if !message.is_empty() && *message != told {
            told.clone_from(message);
            out::line(&plain(&format!("{name}: {message}")));
        }
    };
    within(timeout, until(asker, name, judge_rollout, tell)).await
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
    mut tell: impl FnMut(&Detail),
) -> Result<Exit> {
    let mut detail = found(asker.detail(name).await)?;
    loop {
        detail.iter().for_each(&mut tell);
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
            _ => Err(ClientError::absent("there is no such object".to_owned()).into()),
        };
    };
    let summary = &detail.summary;
    let ended = summary.phase.filter(|phase| phase.is_final());
    let reached = match goal {
        Goal::Succeeded => ended == Some(Phase::Succeeded),
        Goal::Failed => ended == Some(Phase::Failed),
        Goal::Finished => ended.is_some(),
        Goal::Running => {
            let runs = |seen: &SeenRecord| seen.phase == RunPhase::Running;
            let any = detail.tasks.iter().any(|task| task.seen.as_ref().is_some_and(runs));
            any || detail.children.iter().any(|child| child.ready > 0)
        }
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
        let Summary { key, kind, .. } = &detail.summary;
        bail!("{} is a {kind}: only a service is rolled out", key.name);
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
