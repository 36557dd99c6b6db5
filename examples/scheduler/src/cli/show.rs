//! `mason status` and `mason describe`: one object, as a tree, or with all that is known of it.

use anyhow::Result;
use clap::Args;
use mason_core::record::TaskWait;
use mason_core::types::JobKey;

use super::clock;
use super::events;
use super::exit::Exit;
use super::get::phase_of;
use super::object::{ObjectArg, detail};
use super::text::{plain, plain_lines};
use crate::api::client::Client;
use crate::api::wire::{Detail, TaskView};

/// Tasks of one object that are shown in a tree.
const TASKS_MAX: usize = 20;
/// How deep a tree goes.
const DEPTH_MAX: usize = 4;

/// Which object
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    object: ObjectArg,
}

/// Prints an object and what it made as a tree.
pub(super) async fn status(client: &Client, args: ShowArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    for line in tree(client, &named.key).await? {
        println!("{line}");
    }
    Ok(Exit::DONE)
}

async fn tree(client: &Client, key: &JobKey) -> Result<Vec<String>> {
    let (mut lines, mut waiting) = (Vec::new(), vec![(key.clone(), 0_usize)]);
    while let Some((key, depth)) = waiting.pop() {
        let seen = match detail(client, &key, None).await {
            // It went while the tree was drawn.
            Err(error) if error.is_not_found() && depth > 0 => continue,
            seen => seen?,
        };
        let indent = "  ".repeat(depth);
        lines.push(format!("{indent}{}", head(&seen)));
        for view in seen.tasks.iter().take(TASKS_MAX) {
            lines.push(format!("{indent}  {}", task(view)));
        }
        let rest = seen.tasks.len().saturating_sub(TASKS_MAX);
        let rest = rest + usize::try_from(seen.tasks_left_out).unwrap_or(0);
        if rest > 0 {
            lines.push(format!("{indent}  … and {rest} more tasks"));
        }
        if depth < DEPTH_MAX {
            let mut children = seen.children;
            children.sort_by_key(|child| std::cmp::Reverse((child.created_at, child.key.clone())));
            waiting.extend(children.into_iter().map(|child| (child.key, depth + 1)));
        }
    }
    Ok(lines)
}

fn head(seen: &Detail) -> String {
    let it = &seen.summary;
    let phase = phase_of(it);
    let sign = sign_of(&phase.to_lowercase());
    let message = plain(&it.message);
    format!("{sign} {}/{}  {phase}  {message}", it.kind, plain(&it.key.name)).trim_end().to_owned()
}

fn sign_of(word: &str) -> char {
    match word {
        "succeeded" => '✔',
        "failed" => '✘',
        "cancelled" | "skipped" => '○',
        "active" | "running" => '●',
        _ => '◌',
    }
}

/// A task in a line: where, how far, how it ended.
fn task(view: &TaskView) -> String {
    let last = view.past.as_ref();
    if let (Some(mark), Some(past)) = (&view.mark, last) {
        let exit = match past.exit.code {
            Some(code) => format!("exit {code}"),
            None => format!("{:?}: {}", past.exit.reason, plain(&past.exit.message)),
        };
        let took = past.exit.started_at.map(|at| past.exit.finished_at.saturating_sub(at));
        let took = took.map(|ms| format!("  {}.{}s", ms / 1000, ms % 1000 / 100));
        let (sign, node) = (sign_of(mark), plain(past.node.as_str()));
        let attempt =
            if past.attempt > 1 { format!("  attempt {}", past.attempt) } else { String::new() };
        return format!(
            "{sign} {}  {node}  {exit}{}{attempt}",
            view.index,
            took.unwrap_or_default()
        );
    }
    if let Some(mark) = &view.mark {
        return format!("{} {}  {mark}", sign_of(mark), view.index);
    }
    let Some(record) = &view.task else { return format!("◌ {}  waits", view.index) };
    match &record.wait {
        TaskWait::Due { .. } => format!("◌ {}  waits, attempt {}", view.index, record.attempt),
        TaskWait::Bound { node, .. } => {
            let phase = view.seen.as_ref().map(|seen| format!("{:?}", seen.phase).to_lowercase());
            let ready = view.seen.as_ref().is_some_and(|seen| seen.ready);
            let message = view.seen.as_ref().map(|seen| plain(&seen.message)).unwrap_or_default();
            format!(
                "● {}  {}  {}{}  {message}",
                view.index,
                plain(node.as_str()),
                phase.as_deref().unwrap_or("bound"),
                if ready { ", ready" } else { "" }
            )
            .trim_end()
            .to_owned()
        }
    }
}

/// Prints all that is known of an object.
pub(super) async fn describe(client: &Client, args: ShowArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    let seen = detail(client, &named.key, None).await?;
    println!("{}", head(&seen));
    println!("namespace   {}", plain(&named.key.namespace));
    println!("made        {}", clock::utc(seen.summary.created_at));
    if let Some(owner) = &seen.summary.owner {
        println!("made by     {}", plain(&owner.name));
    }
    for (label, value) in &seen.summary.labels {
        println!("label       {}={}", plain(label), plain(value));
    }
    for condition in seen.state.iter().flat_map(|state| &state.conditions) {
        let holds = if condition.holds { "yes" } else { "no" };
        println!("condition   {} {holds} ({})", plain(&condition.name), plain(&condition.reason));
    }
    println!("\nmanifest");
    for line in plain_lines(seen.manifest.trim_end()).lines() {
        println!("  {line}");
    }
    if !seen.tasks.is_empty() {
        println!("\ntasks");
        seen.tasks.iter().for_each(|view| println!("  {}", task(view)));
    }
    if !seen.children.is_empty() {
        println!("\nmade");
        for child in &seen.children {
            println!("  {}/{}  {}", child.kind, plain(&child.key.name), phase_of(child));
        }
    }
    println!("\nevents");
    events::print_of(client, &named.key).await?;
    Ok(Exit::DONE)
}
