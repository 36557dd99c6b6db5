//! `mason node`: machines, and what their operators decide about them.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use mason_core::manifest::quantity::{format_bytes, format_cpu, parse_span};
use mason_core::record::{Taint, TaintEffect};

use super::ask::Asker;
use super::exit::Exit;
use super::get::{Output, json};
use super::out;
use super::table::Table;
use super::text::plain;
use crate::api::client::Path;
use crate::api::wire::{Changed, NodeChange, NodeView};
use crate::when::ago;

/// Look at nodes, and decide about them
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List them
    List {
        /// In which form
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// All that is known of one
    Describe {
        /// Which
        node: String,
    },
    /// Nothing new on it
    Cordon(One),
    /// Take that back
    Uncordon(One),
    /// Nothing new on it, and what is there goes elsewhere
    Drain {
        /// Which
        node: String,
        /// What is not gone by then is killed
        #[arg(long, value_name = "SPAN", value_parser = parse_span)]
        within: Option<u64>,
    },
    /// Take that back
    Undrain(One),
    /// It will be taken away: what is there goes elsewhere, and that uses up no retries
    Interrupt {
        /// Which
        node: String,
        /// When; in two minutes if not given
        #[arg(long = "in", value_name = "SPAN", value_parser = parse_span)]
        within: Option<u64>,
    },
    /// Keep tasks away that do not tolerate it: KEY[=VALUE]:EFFECT
    Taint {
        /// Which
        node: String,
        /// As gpu=yes:no-schedule; effects are no-schedule, prefer-no-schedule, no-execute
        #[arg(value_name = "TAINT")]
        taint: String,
    },
    /// Remove a taint: KEY[:EFFECT]
    Untaint {
        /// Which
        node: String,
        /// As gpu, or gpu:no-schedule
        #[arg(value_name = "TAINT")]
        taint: String,
    },
    /// Set labels, as team/owner=ml; remove them, as team/owner-
    Label {
        /// Which
        node: String,
        /// Which labels
        #[arg(required = true, value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Swear that the machine is off: what ran there may run elsewhere at once
    ConfirmDead(One),
    /// Remove one that is gone for good
    Forget(One),
}

/// One node.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Which
    node: String,
}

pub(super) async fn run(command: NodeCommand, asker: &Asker) -> Result<Exit> {
    let plain_change = NodeChange::default();
    match command {
        NodeCommand::List { output } => {
            out::raw(list(asker, None, output).await?.as_bytes());
        }
        NodeCommand::Describe { node } => describe(asker, &node).await?,
        NodeCommand::Cordon(one) => change(asker, &one.node, "cordon", &plain_change).await?,
        NodeCommand::Uncordon(one) => change(asker, &one.node, "uncordon", &plain_change).await?,
        NodeCommand::Drain { node, within } => {
            change(asker, &node, "drain", &NodeChange { within, ..plain_change }).await?;
        }
        NodeCommand::Undrain(one) => change(asker, &one.node, "undrain", &plain_change).await?,
        NodeCommand::Interrupt { node, within } => {
            change(asker, &node, "interrupt", &NodeChange { within, ..plain_change }).await?;
        }
        NodeCommand::Taint { node, taint } => {
            change(asker, &node, "taint", &parse_taint(&taint)?).await?;
        }
        NodeCommand::Untaint { node, taint } => {
            change(asker, &node, "untaint", &parse_untaint(&taint)?).await?;
        }
        NodeCommand::Label { node, labels } => {
            for label in &labels {
                change(asker, &node, "label", &parse_label(label)?).await?;
            }
        }
        NodeCommand::ConfirmDead(one) => {
            change(asker, &one.node, "confirm-dead", &plain_change).await?;
        }
        NodeCommand::Forget(one) => change(asker, &one.node, "forget", &plain_change).await?,
    }
    Ok(Exit::DONE)
}

async fn change(asker: &Asker, node: &str, verb: &str, body: &NodeChange) -> Result<()> {
    let changed: Changed = asker.client.post(Path::of(&["nodes", node, verb]), body).await?;
    let said = match changed.message.as_str() {
        "" => format!("{node}: {verb}"),
        message => format!("{node}: {message}"),
    };
    out::line(&plain(&said));
    Ok(())
}

fn effect(text: &str) -> Result<TaintEffect> {
    Ok(match text {
        "no-schedule" | "NoSchedule" => TaintEffect::NoSchedule,
        "prefer-no-schedule" | "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "no-execute" | "NoExecute" => TaintEffect::NoExecute,
        other => bail!("`{other}` is no effect: no-schedule, prefer-no-schedule, no-execute"),
    })
}

/// As `taint` takes it.
fn taint_text(taint: &Taint) -> String {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    };
    match taint.value.as_str() {
        "" => format!("{}:{effect}", taint.key),
        value => format!("{}={value}:{effect}", taint.key),
    }
}

fn parse_taint(text: &str) -> Result<NodeChange> {
    let Some((what, word)) = text.rsplit_once(':') else {
        bail!("write a taint as KEY=VALUE:EFFECT or KEY:EFFECT");
    };
    let (key, value) = match what.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (what, None),
    };
    let effect = Some(effect(word)?);
    Ok(NodeChange { key: key.to_owned(), value, effect, ..NodeChange::default() })
}

fn parse_untaint(text: &str) -> Result<NodeChange> {
    let text = text.trim_end_matches('-');
    let (key, effect) = match text.split_once(':') {
        Some((key, word)) => (key, Some(effect(word)?)),
        None => (text, None),
    };
    Ok(NodeChange { key: key.to_owned(), effect, ..NodeChange::default() })
}

fn parse_label(text: &str) -> Result<NodeChange> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) => {
            let value = Some(value.to_owned());
            Ok(NodeChange { key: key.to_owned(), value, ..NodeChange::default() })
        }
        (None, Some(key)) => Ok(NodeChange { key: key.to_owned(), ..NodeChange::default() }),
        (None, None) => bail!("write a label as KEY=VALUE, or KEY- to remove it"),
    }
}

/// Nodes as a table, or as JSON.
pub(super) async fn list(asker: &Asker, name: Option<&str>, output: Output) -> Result<String> {
    let all: Vec<NodeView> = match name {
        Some(name) => vec![asker.client.get(Path::of(&["nodes", name])).await?],
        None => asker.client.get(Path::of(&["nodes"])).await?,
    };
    match output {
        Output::Json => return json(&all),
        Output::Name => return Ok(all.iter().map(|one| format!("node/{}\n", one.id)).collect()),
        Output::Yaml => bail!("nodes are no manifests: -o json"),
        Output::Table | Output::Wide => {}
    }
    let mut heads = vec!["NAME", "STATE", "RUNS", "CPU", "MEMORY", "AGE"];
    if output == Output::Wide {
        heads.extend(["ADDRESS", "RUNTIMES", "LABELS", "TAINTS"]);
    }
    let mut table = Table::new(&heads);
    for one in &all {
        let record = one.record.clone().unwrap_or_default();
        let mut cells = vec![
            one.id.to_string(),
            state(one),
            one.runs.len().to_string(),
            format!("{}/{}", format_cpu(one.used.cpu), format_cpu(record.capacity.cpu)),
            format!("{}/{}", short(one.used.memory), short(record.capacity.memory)),
            one.alive.as_ref().map(|alive| ago(alive.since)).unwrap_or_default(),
        ];
        if output == Output::Wide {
            cells.push(one.alive.as_ref().map(|it| it.address.clone()).unwrap_or_default());
            cells.push(record.runtimes.join(","));
            let labels = record.labels.iter().map(|(key, value)| format!("{key}={value}"));
            cells.push(labels.collect::<Vec<_>>().join(","));
            cells.push(record.taints.iter().map(taint_text).collect::<Vec<_>>().join(","));
        }
        table.row(cells);
    }
    Ok(table.text(true))
}

/// Of bytes, so much as is read at a glance.
fn short(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib >= 10 << 10 { format!("{}Gi", mib >> 10) } else { format_bytes(mib << 20) }
}

fn state(node: &NodeView) -> String {
    let record = node.record.clone().unwrap_or_default();
    let mut words = vec![if node.alive.is_some() { "alive" } else { "lost" }];
    let drained =
        if record.drain.is_some_and(|it| it.interrupted) { "interrupted" } else { "drained" };
    for (holds, word) in [
        (node.suspected, "suspected"),
        (record.cordoned, "cordoned"),
        (record.drain.is_some(), drained),
        (record.confirmed_dead, "confirmed dead"),
        (record.interruptible, "interruptible"),
    ] {
        if holds {
            words.push(word);
        }
    }
    words.join(",")
}

async fn describe(asker: &Asker, name: &str) -> Result<()> {
    let view: NodeView = asker.client.get(Path::of(&["nodes", name])).await?;
    out::raw(list(asker, Some(name), Output::Wide).await?.as_bytes());
    let mut table = Table::new(&["RUN", "TASK", "ATTEMPT", "STATE", "AGE"]);
    for (run, record, seen) in &view.runs {
        let phase = seen.as_ref().map_or("bound".to_owned(), |seen| format!("{:?}", seen.phase));
        table.row([
            run.to_string(),
            record.task.to_string(),
            record.attempt.to_string(),
            phase,
            ago(record.bound_at),
        ]);
    }
    if !table.is_empty() {
        out::line("");
        out::raw(table.text(true).as_bytes());
    }
    for image in view.alive.iter().flat_map(|alive| &alive.images) {
        out::line(&plain(&format!("image  {}  {}", image.name, short(image.bytes))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taints are typed as Kubernetes' users type them.
    #[test]
    fn taints_and_labels_are_read_as_they_are_typed() {
        let taint = parse_taint("gpu=yes:NoSchedule").unwrap();
        assert_eq!((taint.key.as_str(), taint.value.as_deref()), ("gpu", Some("yes")));
        assert_eq!(taint.effect, Some(TaintEffect::NoSchedule));
        assert_eq!(parse_taint("gpu:no-execute").unwrap().value, None);
        for text in ["gpu=yes:NoSchedule", "gpu:PreferNoSchedule", "gpu:NoExecute"] {
            let NodeChange { key, value, effect, .. } = parse_taint(text).unwrap();
            let (value, effect) = (value.unwrap_or_default(), effect.unwrap());
            assert_eq!(taint_text(&Taint { key, value, effect }), text);
        }
        assert!(parse_taint("gpu").is_err() && parse_taint("gpu:never").is_err());
        assert_eq!(parse_untaint("gpu-").unwrap().key, "gpu");
        assert_eq!(parse_label("a/b-").unwrap().value, None);
        assert_eq!(parse_label("a/b=c=d").unwrap().value.as_deref(), Some("c=d"));
        assert!(parse_label("a").is_err());
    }
}
