//! `mason events`: what happened; and `mason wait`: until something has.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use mason_core::manifest::quantity::parse_span;
use mason_core::record::Phase;
use mason_core::types::{JobKey, Ms};

use super::clock;
use super::exit::Exit;
use super::object::{NamespaceArg, ObjectArg, detail};
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Detail, Event};

/// Show what happened
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// To this object
    name: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// In every namespace, and to nodes
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Go on
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn run(client: &Client, args: EventsArgs) -> Result<Exit> {
    let namespace = (!args.all_namespaces).then_some(&args.namespace.namespace);
    let path = Path::of(&["events"]).with_some("namespace", namespace);
    let path = path.with_some("name", args.name.as_ref());
    let path = if args.follow { path.with("follow", true) } else { path };
    let mut lines = client.lines(path).await?;
    while let Some(event) = lines.next::<Event>().await? {
        println!("{}", line(&event));
    }
    Ok(Exit::DONE)
}

/// Those of one object.
pub(super) async fn print_of(client: &Client, key: &JobKey) -> Result<()> {
    let path = Path::of(&["events"]).with("namespace", &key.namespace).with("name", &key.name);
    let mut lines = client.lines(path).await?;
    while let Some(event) = lines.next::<Event>().await? {
        println!("  {}", line(&event));
    }
    Ok(())
}

fn line(event: &Event) -> String {
    let who = match (&event.job, event.index, &event.node) {
        (Some(job), Some(index), _) => format!("{}/{index}", job.name),
        (Some(job), None, _) => job.name.to_string(),
        (None, _, Some(node)) => format!("node {node}"),
        (None, _, None) => String::new(),
    };
    let (what, message) = (plain(&event.what), plain(&event.message));
    format!("{}  {:<10}  {}  {message}", clock::utc(event.at), what, plain(&who))
}

/// Wait until something holds
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    object: ObjectArg,
    /// For what
    #[arg(long = "for", value_enum)]
    what: What,
    /// How long at most: 30s, 5m
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "5m")]
    timeout: Ms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// All that it was for is done
    Succeeded,
    /// It has failed
    Failed,
    /// It has ended, in any way
    Finished,
    /// All replicas, or tasks, are ready
    Ready,
    /// It is gone
    Deleted,
}

pub(super) async fn wait(client: &Client, args: WaitArgs) -> Result<Exit> {
    let named = args.object.find(client).await?;
    let most = Duration::from_millis(args.timeout);
    match tokio::time::timeout(most, hold(client, &named.key, args.what)).await {
        Ok(exit) => exit,
        Err(_) => {
            eprintln!("mason: {} is not so after {} s", plain(&named.key.name), most.as_secs());
            Ok(Exit::LATE)
        }
    }
}

async fn hold(client: &Client, key: &JobKey, what: What) -> Result<Exit> {
    let mut after = None;
    loop {
        let seen = match detail(client, key, after).await {
            Err(error) if error.is_not_found() && what == What::Deleted => return Ok(Exit::DONE),
            Err(error) if error.is_passing() => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                continue;
            }
            seen => seen?,
        };
        if let Some(holds) = verdict(&seen, what) {
            if holds {
                return Ok(Exit::DONE);
            }
            bail!("{key} has ended otherwise: {:?}", seen.summary.phase);
        }
        after = Some(seen.revision);
    }
}

/// Whether it holds; none if it may yet.
fn verdict(seen: &Detail, what: What) -> Option<bool> {
    let summary = &seen.summary;
    let phase = summary.phase;
    let is_final = phase.is_some_and(Phase::is_final);
    let ended = |wanted| is_final.then_some(phase == Some(wanted));
    match what {
        What::Succeeded => ended(Phase::Succeeded),
        What::Failed => ended(Phase::Failed),
        What::Finished => is_final.then_some(true),
        What::Ready if summary.wanted > 0 && summary.ready >= summary.wanted => Some(true),
        What::Ready => is_final.then_some(false),
        What::Deleted => None,
    }
}
