//! `mason explain`, `mason events`, `mason health`: what a server tells.

use anyhow::Result;
use clap::Args;

use super::ask::{Asker, Target};
use super::exit::Exit;
use super::get::json;
use super::out;
use super::signals::Signals;
use super::status::event_line;
use super::text::{plain, plain_lines};
use crate::api::client::Path;
use crate::api::wire::{Event, Health};

/// Say why tasks are where they are, or why they wait and what would help
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Which: NAME, or NAME/INDEX
    #[arg(value_name = "NAME[/INDEX]")]
    target: Target,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// List what has happened
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// To this object alone
    name: Option<Target>,
    /// On this node alone
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// And what happens from now on
    #[arg(long, short)]
    follow: bool,
    /// For programs, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn explain(args: ExplainArgs, asker: &Asker) -> Result<Exit> {
    let target = asker.resolve(&args.target).await?;
    let told = asker.explain(&target).await?;
    if args.json {
        out::raw(json(&told)?.as_bytes());
        return Ok(Exit::DONE);
    }
    for one in told {
        let which =
            if one.indexes.is_empty() { String::new() } else { format!("/{}", one.indexes) };
        out::line(&plain(&format!("{}{which}  {}", target.name, one.state)));
        if let Some(placement) = one.placement {
            let text = plain_lines(&placement.to_string());
            text.lines().for_each(|line| out::line(&format!("  {line}")));
        }
    }
    Ok(Exit::DONE)
}

pub(super) async fn events(args: EventsArgs, asker: &Asker) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let is_all = args.all_namespaces || args.node.is_some();
    let name = match &args.name {
        Some(target) => Some(asker.resolve(target).await?.name),
        None => None,
    };
    let path = Path::of(&["events"])
        .with_some("namespace", (!is_all).then_some(&asker.namespace))
        .with_some("name", name.as_ref())
        .with_some("node", args.node.as_ref());
    let path = if args.follow { path.with("follow", true) } else { path };
    let mut lines = asker.client.lines(path).await?;
    loop {
        let event = tokio::select! {
            event = lines.next::<Event>() => event?,
            _ = signals.next() => return Ok(Exit::INTERRUPTED),
        };
        let Some(event) = event else { return Ok(Exit::DONE) };
        match args.json {
            true => out::line(&serde_json::to_string(&event)?),
            false => out::line(&event_line(&event, true)),
        }
    }
}

pub(super) async fn health(asker: &Asker) -> Result<Exit> {
    let health: Health = asker.client.get(Path::of(&["health"])).await?;
    let leader = health.leader.as_deref().unwrap_or("nobody");
    let leads = if health.leads { " (this server)" } else { "" };
    out::line(&format!("server    {} {}", asker.client.url(), plain(&health.version)));
    out::line(&format!("leader    {}{leads}", plain(leader)));
    out::line(&format!("revision  {}", health.revision));
    if let Some(why) = &health.store {
        out::line(&format!("store     {}", plain(why)));
    }
    for (key, why) in &health.bad {
        out::line(&plain(&format!("bad key   {key}: {why}")));
    }
    if health.store.is_some() {
        return Ok(Exit::NOBODY);
    }
    Ok(if health.leader.is_some() { Exit::DONE } else { Exit::FAILED })
}
