//! `mason logs`: what tasks print.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mason_core::manifest::quantity::parse_span;
use mason_core::types::{JobKey, Ms};
use tokio::task::JoinSet;

use super::exit::Exit;
use super::follow::{Follower, Wanted};
use super::object::{ObjectArg, detail};
use super::text::plain;
use crate::api::client::Client;
use crate::server::unix_now;

/// Tasks whose output is printed at once, at most.
const TASKS_MAX: usize = 64;

/// Print what tasks print
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    object: ObjectArg,
    /// Go on until they have ended, over retries and broken connections
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Begin with what was printed so long ago: 10m, 1h
    #[arg(long, value_name = "SPAN", value_parser = parse_span, conflicts_with = "tail")]
    since: Option<Ms>,
    /// Of all tasks, each line with its task's name before it
    #[arg(long)]
    all: bool,
    /// Each line with its time before it
    #[arg(long)]
    timestamps: bool,
}

pub(super) async fn run(client: &Client, args: LogsArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    let mut tasks = tasks_of(client, &named.key, args.follow).await?;
    if let Some(index) = named.index {
        tasks.retain(|(key, at)| *key == named.key && *at == index);
        if tasks.is_empty() {
            tasks.push((named.key.clone(), index));
        }
    }
    if !args.all && tasks.len() > 1 {
        let first = &tasks[0];
        eprintln!(
            "mason: {} has {} tasks; this is {}/{} (another by NAME/INDEX, all by --all)",
            plain(&named.key.name),
            tasks.len(),
            plain(&first.0.name),
            first.1
        );
        tasks.truncate(1);
    }
    if tasks.len() > TASKS_MAX {
        bail!("these are {} tasks, more than {TASKS_MAX}: name one", tasks.len());
    }
    if tasks.is_empty() {
        bail!("no task of {} has run yet; see `mason explain`", named.key);
    }
    let is_one = tasks.len() == 1;
    let mut all = JoinSet::new();
    for (key, index) in tasks {
        let wanted = Wanted {
            follow: args.follow,
            tail: args.tail,
            since: args.since.map(|span| unix_now().saturating_sub(span)),
            timestamps: args.timestamps,
            prefix: (!is_one).then(|| format!("{}/{index} | ", plain(&key.name))),
        };
        all.spawn(Follower { client: client.clone(), key, index, wanted }.print());
    }
    while let Some(printed) = all.join_next().await {
        printed.context("a log")??;
    }
    Ok(Exit::DONE)
}

/// The tasks of an object, and of what it made; of one that has none yet the first, if it is
/// waited for.
async fn tasks_of(client: &Client, key: &JobKey, follow: bool) -> Result<Vec<(JobKey, u32)>> {
    let (mut tasks, mut waiting) = (Vec::new(), vec![(key.clone(), 0)]);
    while let Some((key, depth)) = waiting.pop() {
        let mut seen = detail(client, &key, None).await?;
        while follow && depth == 0 && seen.tasks.is_empty() && seen.children.is_empty() {
            if seen.summary.phase.is_some_and(mason_core::record::Phase::is_final) {
                break;
            }
            if seen.summary.kind != "workflow" {
                return Ok(vec![(key, 0)]);
            }
            seen = detail(client, &key, Some(seen.revision)).await?;
        }
        let has_run =
            seen.tasks.iter().filter(|it| follow || it.run.is_some() || it.past.is_some());
        let indexes: Vec<u32> = has_run.map(|it| it.index).collect();
        let mut indexes = indexes;
        indexes.sort_unstable();
        tasks.extend(indexes.into_iter().map(|index| (key.clone(), index)));
        if depth < 3 {
            let mut children = seen.children;
            children.sort_by_key(|child| std::cmp::Reverse((child.created_at, child.key.clone())));
            waiting.extend(children.into_iter().map(|child| (child.key, depth + 1)));
        }
    }
    Ok(tasks)
}
