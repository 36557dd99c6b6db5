//! `mason node`: nodes, and what operators do with them.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use mason_core::manifest::quantity::{format_bytes, format_cpu, parse_span};
use mason_core::record::TaintEffect;
use mason_core::types::Ms;

use super::exit::Exit;
use super::table::{Table, ago};
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Changed, NodeChange, NodeView};
use crate::server::unix_now;

/// One node
#[derive(Debug, Args)]
pub(super) struct One {
    /// Which
    node: String,
}

/// One node, and how long
#[derive(Debug, Args)]
pub(super) struct Within {
    /// Which
    node: String,
    /// How long its tasks may take to be gone: 2m
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    within: Option<Ms>,
}

/// One node, and something of it
#[derive(Debug, Args)]
pub(super) struct Marked {
    /// Which
    node: String,
    /// KEY=VALUE:EFFECT of a taint, KEY=VALUE of a label, KEY or KEY:EFFECT to take it away
    mark: String,
}

/// What is done
#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List them
    List,
    /// Show all that is known of one
    Describe(One),
    /// Place nothing new there
    Cordon(One),
    /// Place tasks there again
    Uncordon(One),
    /// Have its tasks go elsewhere
    Drain(Within),
    /// Take that back
    Undrain(One),
    /// It is taken away soon: what that ends does not use up retries
    Interrupt(Within),
    /// Keep tasks away, except those that tolerate it
    Taint(Marked),
    /// Take that back
    Untaint(Marked),
    /// Set a label, as example.com/disk=ssd; without `=` it is removed
    Label(Marked),
    /// Swear that it is off: what ran there starts elsewhere at once
    ConfirmDead(One),
    /// Remove what is known of one that is gone
    Forget(One),
}

pub(super) async fn run(client: &Client, node: Node) -> Result<Exit> {
    let none = NodeChange::default();
    let (id, verb, change) = match node {
        Node::List => return list(client).await,
        Node::Describe(one) => return describe(client, &one.node).await,
        Node::Cordon(one) => (one.node, "cordon", none),
        Node::Uncordon(one) => (one.node, "uncordon", none),
        Node::Undrain(one) => (one.node, "undrain", none),
        Node::ConfirmDead(one) => (one.node, "confirm-dead", none),
        Node::Forget(one) => (one.node, "forget", none),
        Node::Drain(it) => (it.node, "drain", NodeChange { within: it.within, ..none }),
        Node::Interrupt(it) => (it.node, "interrupt", NodeChange { within: it.within, ..none }),
        Node::Taint(it) => (it.node, "taint", mark(&it.mark)?),
        Node::Untaint(it) => (it.node, "untaint", NodeChange { value: None, ..mark(&it.mark)? }),
        Node::Label(it) => (it.node, "label", NodeChange { effect: None, ..mark(&it.mark)? }),
    };
    let changed: Changed = client.post(Path::of(&["nodes", &id, verb]), &change).await?;
    println!("{}", plain(&changed.message));
    Ok(Exit::DONE)
}

/// `key=value:effect`, of which all but the key may be missing.
fn mark(text: &str) -> Result<NodeChange> {
    let (rest, effect) = match text.rsplit_once(':') {
        Some((rest, effect)) => {
            let word = match effect {
                "NoSchedule" => "no-schedule",
                "PreferNoSchedule" => "prefer-no-schedule",
                "NoExecute" => "no-execute",
                word => word,
            };
            let effect = serde_json::from_value::<TaintEffect>(word.into()).with_context(|| {
                format!("`{effect}` is no effect: no-schedule, prefer-no-schedule, no-execute")
            });
            (rest, Some(effect?))
        }
        None => (text, None),
    };
    let (key, value) = match rest.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (rest, None),
    };
    Ok(NodeChange { within: None, key: key.to_owned(), value, effect })
}

fn state_of(node: &NodeView) -> String {
    let record = node.record.as_ref();
    let mut words = vec![if node.alive.is_some() { "alive" } else { "lost" }];
    let more = [
        (node.suspected, "suspected"),
        (record.is_some_and(|it| it.cordoned), "cordoned"),
        (record.is_some_and(|it| it.drain.is_some()), "draining"),
        (record.is_some_and(|it| it.confirmed_dead), "dead"),
    ];
    words.extend(more.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word));
    words.join(",")
}

pub(super) async fn list(client: &Client) -> Result<Exit> {
    let all: Vec<NodeView> = client.get(Path::of(&["nodes"])).await?;
    let now = unix_now();
    let mut table = Table::new(&["NODE", "STATE", "TASKS", "CPU", "MEMORY", "SINCE", "LABELS"]);
    for node in &all {
        let has = node.record.as_ref().map(|it| it.capacity).unwrap_or_default();
        let labels = node.record.iter().flat_map(|it| &it.labels);
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            node.id.to_string(),
            state_of(node),
            node.runs.len().to_string(),
            format!("{}/{}", format_cpu(node.used.cpu), format_cpu(has.cpu)),
            format!("{}/{}", format_bytes(node.used.memory), format_bytes(has.memory)),
            node.alive.as_ref().map(|it| ago(it.since, now)).unwrap_or_default(),
            labels.join(","),
        ]);
    }
    if table.is_empty() {
        eprintln!("mason: there is no node; start one with `mason agent`");
    } else {
        print!("{}", table.text(true));
    }
    Ok(Exit::DONE)
}

async fn describe(client: &Client, id: &str) -> Result<Exit> {
    let node: NodeView = client.get(Path::of(&["nodes", id])).await?;
    println!("{}  {}", plain(node.id.as_str()), state_of(&node));
    if let Some(alive) = &node.alive {
        println!("agent     {}, start {}", plain(&alive.address), alive.epoch);
    }
    if let Some(record) = &node.record {
        println!("runtimes  {}", plain(&record.runtimes.join(", ")));
        for (key, value) in &record.labels {
            println!("label     {}={}", plain(key), plain(value));
        }
        for taint in &record.taints {
            println!("taint     {}={} {:?}", plain(&taint.key), plain(&taint.value), taint.effect);
        }
    }
    let mut table = Table::new(&["RUN", "TASK", "ATTEMPT", "PHASE"]);
    for (run, record, seen) in &node.runs {
        let phase = seen.as_ref().map(|seen| format!("{:?}", seen.phase).to_lowercase());
        let phase = phase.unwrap_or_else(|| "bound".to_owned());
        table.row([run.to_string(), record.task.to_string(), record.attempt.to_string(), phase]);
    }
    if !table.is_empty() {
        print!("{}", table.text(true));
    }
    Ok(Exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taints are written as kubectl's users know them, too.
    #[test]
    fn taints_and_labels_are_read() {
        let taint = mark("gpu=yes:NoSchedule").unwrap();
        let expected = (String::from("gpu"), Some("yes".into()), Some(TaintEffect::NoSchedule));
        assert_eq!((taint.key, taint.value, taint.effect), expected);
        let label = mark("a/b=").unwrap();
        assert_eq!((label.value, label.effect), (Some(String::new()), None));
        assert_eq!(mark("a/b").unwrap().value, None);
        assert!(mark("a:Sometimes").is_err());
    }
}
