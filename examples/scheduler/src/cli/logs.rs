//! `mason logs`: what tasks print, over their attempts.

use anyhow::{Result, bail};
use clap::Args;
use mason_core::manifest::quantity::parse_span;
use mason_core::record::TaskWait;
use mason_core::types::RunId;

use super::ask::{Asker, Target, found};
use super::exit::Exit;
use super::follow::{Ask, Follower, Prefix, print};
use super::text::plain;
use crate::api::wire::{Detail, TaskView};
use crate::server::unix_now;

/// Print what a task has printed
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Whose: NAME, or NAME/INDEX
    #[arg(value_name = "NAME[/INDEX]")]
    target: Target,
    /// And what it prints from now on, over its attempts, until its end
    #[arg(long, short)]
    follow: bool,
    /// The last so many lines alone
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// What it printed in this time alone, as 10m
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    since: Option<u64>,
    /// All tasks, one after another; with --follow those that are under way, at once
    #[arg(long, conflicts_with = "tail")]
    all: bool,
    /// Begin each line with the time at which it was printed
    #[arg(long, short)]
    timestamps: bool,
}

pub(super) async fn run(args: LogsArgs, asker: &Asker) -> Result<Exit> {
    let target = asker.resolve(&args.target).await?;
    let detail = asker.detail(&target.name).await?;
    let (name, children) = (&target.name, &detail.children);
    if detail.tasks.is_empty() && !children.is_empty() {
        // Of a workflow or a cron, its jobs print.
        for child in children {
            let head = child.step.as_deref().unwrap_or(&child.key.name);
            let is_alone = children.len() == 1;
            print_all(&args, asker, &child.key.name, (head, is_alone)).await?;
        }
        return Ok(Exit::DONE);
    }
    if args.all {
        print_all(&args, asker, name, (name, true)).await?;
        return Ok(Exit::DONE);
    }
    let index = match target.index {
        Some(index) => index,
        None => match &detail.tasks[..] {
            [] => bail!("{name} has no task yet{}", why(&detail)),
            [one, ..] => one.index,
        },
    };
    one(&args, asker, name, index, None).await?;
    Ok(Exit::DONE)
}

fn why(detail: &Detail) -> String {
    let message = &detail.summary.message;
    if message.is_empty() { String::new() } else { format!(": {}", plain(message)) }
}

/// All tasks of an object, under this head; what is one alone needs none before its lines.
async fn print_all(
    args: &LogsArgs,
    asker: &Asker,
    name: &str,
    (head, is_alone): (&str, bool),
) -> Result<()> {
    let Some(detail) = found(asker.detail(name).await)? else { return Ok(()) };
    let indexes: Vec<u32> = detail.tasks.iter().map(|task| task.index).collect();
    let is_alone = is_alone && indexes.len() == 1;
    let logs = indexes.into_iter().map(|index| {
        let head = (!is_alone).then(|| format!("{head}/{index}"));
        one(args, asker, name, index, head)
    });
    if args.follow {
        futures_util::future::try_join_all(logs).await?;
    } else {
        for log in logs {
            log.await?;
        }
    }
    Ok(())
}

/// The log of one task: of its last attempt, and when it is followed of those that come.
async fn one(
    args: &LogsArgs,
    asker: &Asker,
    name: &str,
    index: u32,
    head: Option<String>,
) -> Result<()> {
    let prefix = Prefix { name: head, time: args.timestamps, ..Prefix::default() };
    let mut ask = Ask {
        tail: args.tail,
        since: args.since.map(|span| unix_now().saturating_sub(span)),
        follow: args.follow,
    };
    let mut detail = asker.detail(name).await?;
    let mut printed: Option<RunId> = None;
    loop {
        let task = detail.tasks.iter().find(|task| task.index == index);
        let run = task.and_then(run_of).filter(|run| printed.as_ref() != Some(run));
        if let Some(run) = run {
            let mut follower = Follower::new(&asker.client, &run, ask.clone());
            let mut first = follower.next().await;
            if args.follow && is_not_there(&first) {
                // It is bound, and has no log yet.
                first = Ok(None);
            } else {
                printed = Some(run.clone());
            }
            let mut next = first?;
            while let Some(event) = next {
                print(&event, &prefix)?;
                next = follower.next().await?;
            }
            // Only of the first attempt that is printed is anything left out.
            (ask.tail, ask.since) = (None, None);
        } else if !args.follow && task.is_none() {
            bail!("{name}/{index} has not run");
        }
        let is_over = detail.summary.phase.is_some_and(mason_core::record::Phase::is_final)
            || task.is_some_and(|task| task.mark.is_some());
        if !args.follow || is_over {
            return Ok(());
        }
        let Some(news) = found(asker.detail_after(name, detail.revision).await)? else {
            return Ok(());
        };
        detail = news;
    }
}

fn is_not_there<T>(asked: &Result<T>) -> bool {
    let error = asked.as_ref().err().and_then(|error| error.downcast_ref());
    error.is_some_and(crate::api::client::ClientError::is_not_found)
}

/// Its run, or the last it had.
fn run_of(task: &TaskView) -> Option<RunId> {
    match task.task.as_ref().map(|task| &task.wait) {
        Some(TaskWait::Bound { run, .. }) => Some(run.clone()),
        _ => task.past.as_ref().map(|past| past.run.clone()),
    }
}
