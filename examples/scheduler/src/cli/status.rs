//! `mason status` and `mason describe`: an object as a tree, and all that is known of it.

use anyhow::Result;
use clap::Args;
use mason_core::record::{Exit as Ended, Reason, RunPhase, TaskWait};

use super::ask::{Asker, Target};
use super::exit::Exit;
use super::get::phase;
use super::out;
use super::text::{plain, plain_lines};
use crate::api::client::Path;
use crate::api::wire::{Detail, Event, Summary, TaskView};
use crate::server::chronicle::reason;
use crate::server::unix_now;
use crate::when::{ago, clock, span};

/// How many tasks a tree shows.
const TASKS_SHOWN: usize = 20;

/// Which object.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Which
    #[arg(value_name = "NAME")]
    target: Target,
}

pub(super) async fn status(args: StatusArgs, asker: &Asker) -> Result<Exit> {
    let target = asker.resolve(&args.target).await?;
    let detail = asker.detail(&target.name).await?;
    let mut text = String::new();
    text += &head(&detail.summary);
    match &detail.tree {
        // Its first line is the workflow itself, of which more is said above.
        Some(tree) => tree.lines().skip(1).for_each(|line| text += &format!("{}\n", plain(line))),
        None => tree(&detail, asker, &mut text).await?,
    }
    out::raw(text.as_bytes());
    Ok(Exit::DONE)
}

/// A summary in a line.
fn head(summary: &Summary) -> String {
    let counts = summary.counts;
    let mut line = format!("{} {}  {}", sign(summary), summary.key.name, phase(summary.phase));
    line += &format!("  {} ago", ago(summary.created_at));
    for (count, what) in [
        (summary.ready, "ready"),
        (summary.due, "waiting"),
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
    ] {
        if count > 0 {
            line += &format!("  {count} {what}");
        }
    }
    if !summary.message.is_empty() {
        line += &format!("  {}", summary.message);
    }
    plain(&line).into_owned() + "\n"
}

fn sign(summary: &Summary) -> char {
    use mason_core::record::Phase;
    match summary.phase {
        Some(Phase::Succeeded) => '✔',
        Some(Phase::Failed) => '✖',
        Some(Phase::Active | Phase::Stopping) => '●',
        _ => '○',
    }
}

async fn tree(detail: &Detail, asker: &Asker, text: &mut String) -> Result<()> {
    for (at, child) in detail.children.iter().enumerate() {
        let is_last = at + 1 == detail.children.len() && detail.tasks.is_empty();
        let (branch, below) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
        *text += &format!("{branch}{}", head(child));
        let asker = Asker { namespace: child.key.namespace.to_string(), ..asker.clone() };
        if let Some(child) = super::ask::found(asker.detail(&child.key.name).await)? {
            for line in tasks(&child) {
                *text += &format!("{below}{line}\n");
            }
        }
    }
    for line in tasks(detail) {
        *text += &format!("{line}\n");
    }
    Ok(())
}

fn tasks(detail: &Detail) -> Vec<String> {
    let shown = detail.tasks.iter().take(TASKS_SHOWN);
    let mut lines: Vec<String> = shown.map(|task| plain(&told(task)).into_owned()).collect();
    let rest = detail.tasks.len().saturating_sub(TASKS_SHOWN) + detail.tasks_left_out as usize;
    if rest > 0 {
        lines.push(format!("and {rest} more: mason describe {}", detail.summary.key.name));
    }
    let count = lines.len();
    for (at, line) in lines.iter_mut().enumerate() {
        *line = format!("{}{line}", if at + 1 == count { "└─" } else { "├─" });
    }
    lines
}

/// A task in a line.
fn told(task: &TaskView) -> String {
    let index = task.index;
    if let (Some(mark), Some(past)) = (&task.mark, &task.past) {
        let exit = &past.exit;
        let sign = if mark == "succeeded" { '✔' } else { '✖' };
        let took = exit.started_at.map(|at| exit.finished_at.saturating_sub(at));
        let took = took.map(|took| format!("  {}", span(took))).unwrap_or_default();
        let attempt = attempt_of(past.attempt);
        return format!("{sign} {index}  {}  {}{took}{attempt}", past.node, how(exit));
    }
    let Some(record) = &task.task else {
        return format!("○ {index}  {}", task.mark.as_deref().unwrap_or("has not begun"));
    };
    let attempt = attempt_of(record.attempt);
    // Until it runs, what people ask is why it did not before.
    let runs = task.seen.as_ref().is_some_and(|seen| seen.phase >= RunPhase::Running);
    let last = task.past.as_ref().filter(|_| !runs);
    let last = last.map(|past| format!("; before: {}", how(&past.exit))).unwrap_or_default();
    match &record.wait {
        TaskWait::Due { not_before } => {
            let waits = not_before.saturating_sub(unix_now());
            let what = match waits {
                0 => "waits for a place".to_owned(),
                waits => format!("is tried again in {}", span(waits)),
            };
            format!("○ {index}  {what}{attempt}{last}")
        }
        TaskWait::Bound { node, .. } => {
            let state = match &task.seen {
                None => "bound".to_owned(),
                Some(seen) => {
                    let word = match seen.phase {
                        RunPhase::Claimed => "claimed",
                        RunPhase::Pulling => "pulling its image",
                        RunPhase::Created => "starting",
                        RunPhase::Running if seen.ready => "ready",
                        RunPhase::Running => "running, not ready",
                        RunPhase::Stopping => "stopping",
                    };
                    format!("{word} for {}  {}", ago(seen.since), seen.message)
                }
            };
            format!("● {index}  {node}  {}{attempt}{last}", state.trim_end())
        }
    }
}

/// Of the second attempt and later.
fn attempt_of(attempt: u32) -> String {
    if attempt > 1 { format!("  attempt {attempt}") } else { String::new() }
}

/// How a run ended: its code, and why if not by itself.
fn how(exit: &Ended) -> String {
    let code = exit.code.map(|code| format!("exit {code}"));
    let why = (exit.reason != Reason::Exited).then(|| reason(exit.reason));
    let message = Some(exit.message.clone()).filter(|message| !message.is_empty());
    let words: Vec<String> = [code, why, message].into_iter().flatten().collect();
    words.join("  ")
}

pub(super) async fn describe(args: StatusArgs, asker: &Asker) -> Result<Exit> {
    let name = &asker.resolve(&args.target).await?.name;
    let detail = asker.detail(name).await?;
    let mut text = head(&detail.summary);
    if let Some(state) = &detail.state {
        for condition in &state.conditions {
            let holds = if condition.holds { "yes" } else { "no" };
            let since = ago(condition.since);
            let line = format!("  {}: {holds} ({}, for {since})", condition.name, condition.reason);
            text += &(plain(&line).into_owned() + "\n");
        }
    }
    text += "\nmanifest\n";
    plain_lines(&detail.manifest).lines().for_each(|line| text += &format!("  {line}\n"));
    if !detail.children.is_empty() {
        text += "\nmade\n";
        for child in &detail.children {
            let step = child.step.as_ref().map(|step| plain(&format!("{step}  ")).into_owned());
            text += &format!("  {}{}", step.unwrap_or_default(), head(child));
        }
    }
    if !detail.tasks.is_empty() {
        text += "\ntasks\n";
        for task in &detail.tasks {
            text += &format!("  {}\n", plain(&told(task)));
            if let Some(run) = task.past.as_ref().map(|past| &past.run) {
                text += &format!("      last run {run}\n");
            }
        }
        if detail.tasks_left_out > 0 {
            text += &format!("  and {} more\n", detail.tasks_left_out);
        }
    }
    let path = Path::of(&["events"]).with("namespace", &asker.namespace).with("name", name);
    let mut lines = asker.client.lines(path).await?;
    text += "\nevents\n";
    while let Some(event) = lines.next::<Event>().await? {
        text += &format!("  {}\n", event_line(&event, false));
    }
    out::raw(text.as_bytes());
    Ok(Exit::DONE)
}

/// An event in a line.
pub(super) fn event_line(event: &Event, with_name: bool) -> String {
    let whose = match (&event.job, event.index, &event.node) {
        (Some(job), Some(index), _) if with_name => format!("{job}/{index}"),
        (Some(job), None, _) if with_name => job.to_string(),
        (None, _, Some(node)) if with_name => format!("node {node}"),
        (Some(_), Some(index), _) => format!("/{index}"),
        _ => String::new(),
    };
    plain(&format!("{}  {whose}  {}  {}", clock(event.at), event.what, event.message)).into_owned()
}
