//! `mason get`: what there is, as a table, as JSON, or as manifests.

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use mason_core::record::Phase;
use serde::Serialize;

use super::ask::Asker;
use super::exit::Exit;
use super::nodes;
use super::out;
use super::signals::Signals;
use super::table::Table;
use super::text::plain_lines;
use crate::api::client::Path;
use crate::api::wire::{Summary, Text};
use crate::when::ago;

/// List what there is
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Of what kind: all, jobs, services, crons, workflows, nodes, configs, secrets
    #[arg(value_enum, default_value_t = Kind::All)]
    kind: Kind,
    /// This one alone
    name: Option<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Those whose labels fit, as app=web,tier!=cache
    #[arg(long, short, value_name = "SELECTOR")]
    label: Option<String>,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// And again whenever something changes
    #[arg(long, short)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    All,
    #[value(aliases = ["job"])]
    Jobs,
    #[value(aliases = ["service", "deploy", "deployment", "deployments"])]
    Services,
    #[value(aliases = ["cron", "cronjob", "cronjobs"])]
    Crons,
    #[value(aliases = ["workflow", "wf"])]
    Workflows,
    #[value(aliases = ["node"])]
    Nodes,
    #[value(aliases = ["config", "configmap", "configmaps"])]
    Configs,
    #[value(aliases = ["secret"])]
    Secrets,
}

/// In which form a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// For people, with more columns
    Wide,
    /// For programs
    Json,
    /// Manifests, to be edited and applied
    Yaml,
    /// KIND/NAME, a line each
    Name,
}

pub(super) async fn run(args: GetArgs, asker: &Asker) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let mut shown = String::new();
    loop {
        let text = look(&args, asker).await?;
        if text != shown {
            out::raw(text.as_bytes());
            shown = text;
        }
        if !args.watch {
            return Ok(Exit::DONE);
        }
        // News of anything: its event comes when the copy of the server has it.
        tokio::select! {
            news = change(asker, &args) => news?,
            _ = signals.next() => return Ok(Exit::INTERRUPTED),
        }
    }
}

/// Until something happens.
async fn change(asker: &Asker, args: &GetArgs) -> Result<()> {
    let namespace = (!args.all_namespaces && args.kind != Kind::Nodes).then_some(&asker.namespace);
    let health: crate::api::wire::Health = asker.client.get(Path::of(&["health"])).await?;
    let path = Path::of(&["events"]).with("follow", true).with("after", health.revision);
    let mut lines = asker.client.lines(path.with_some("namespace", namespace)).await?;
    lines.next::<serde_json::Value>().await?;
    Ok(())
}

async fn look(args: &GetArgs, asker: &Asker) -> Result<String> {
    match args.kind {
        Kind::Nodes => nodes::list(asker, args.name.as_deref(), args.output).await,
        Kind::Configs => texts(args, asker, "configs").await,
        Kind::Secrets => texts(args, asker, "secrets").await,
        Kind::All | Kind::Jobs | Kind::Services | Kind::Crons | Kind::Workflows => {
            objects(args, asker).await
        }
    }
}

async fn objects(args: &GetArgs, asker: &Asker) -> Result<String> {
    let kind = match args.kind {
        Kind::Jobs => Some("job"),
        Kind::Services => Some("service"),
        Kind::Crons => Some("cron"),
        Kind::Workflows => Some("workflow"),
        _ => None,
    };
    let namespace = (!args.all_namespaces).then_some(&asker.namespace);
    let path = Path::of(&["objects"]).with_some("namespace", namespace);
    let path = path.with_some("kind", kind).with_some("label", args.label.as_ref());
    let mut all: Vec<Summary> = asker.client.get(path).await?;
    if let Some(name) = &args.name {
        all.retain(|one| &*one.key.name == name.as_str());
        if all.is_empty() {
            // Says so in the server's words, with its status.
            asker.detail(name).await?;
            bail!("{name} is of another kind");
        }
    }
    match args.output {
        Output::Json => json(&all),
        Output::Name => {
            Ok(all.iter().map(|one| format!("{}/{}\n", one.kind, one.key.name)).collect())
        }
        Output::Yaml => manifests(&all, asker).await,
        Output::Table | Output::Wide => Ok(table(&all, args)),
    }
}

async fn manifests(all: &[Summary], asker: &Asker) -> Result<String> {
    let mut text = String::new();
    for one in all {
        let asker = Asker { namespace: one.key.namespace.to_string(), ..asker.clone() };
        let detail = asker.detail(&one.key.name).await?;
        if !text.is_empty() {
            text += "---\n";
        }
        text += &plain_lines(&detail.manifest);
    }
    Ok(text)
}

fn table(all: &[Summary], args: &GetArgs) -> String {
    let is_wide = args.output == Output::Wide;
    let mut heads = vec!["NAME", "KIND", "PHASE", "READY", "DONE", "FAILED", "AGE", "MESSAGE"];
    if args.all_namespaces {
        heads.insert(0, "NAMESPACE");
    }
    if is_wide {
        heads.extend(["OWNER", "LABELS"]);
    }
    let mut table = Table::new(&heads);
    for one in all {
        let mut cells = vec![
            one.key.name.to_string(),
            one.kind.clone(),
            phase(one.phase).to_owned(),
            format!("{}/{}", one.ready, one.wanted.max(one.bound + one.due)),
            one.counts.succeeded.to_string(),
            (one.counts.failed + one.counts.cancelled).to_string(),
            ago(one.created_at),
            one.message.clone(),
        ];
        if args.all_namespaces {
            cells.insert(0, one.key.namespace.to_string());
        }
        if is_wide {
            cells.push(one.owner.as_ref().map(ToString::to_string).unwrap_or_default());
            let labels = one.labels.iter().map(|(key, value)| format!("{key}={value}"));
            cells.push(labels.collect::<Vec<_>>().join(","));
        }
        table.row(cells);
    }
    if table.is_empty() {
        return "nothing is there\n".to_owned();
    }
    table.text(true)
}

/// As a word.
pub(super) fn phase(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "New",
        Some(Phase::Waiting) => "Waiting",
        Some(Phase::Active) => "Active",
        Some(Phase::Suspended) => "Suspended",
        Some(Phase::Stopping) => "Stopping",
        Some(Phase::Succeeded) => "Succeeded",
        Some(Phase::Failed) => "Failed",
        Some(Phase::Skipped) => "Skipped",
    }
}

async fn texts(args: &GetArgs, asker: &Asker, family: &str) -> Result<String> {
    let namespace = (!args.all_namespaces).then_some(&asker.namespace);
    let path = Path::of(&[family]).with_some("namespace", namespace);
    let mut all: Vec<Text> = asker.client.get(path).await?;
    if let Some(name) = &args.name {
        all.retain(|one| &*one.key.name == name.as_str());
        if all.is_empty() {
            bail!("there is no {} {name}", family.trim_end_matches('s'));
        }
    }
    match args.output {
        Output::Json => return json(&all),
        Output::Yaml => bail!("{family} are not printed: -o json names their keys"),
        Output::Name => {
            let family = family.trim_end_matches('s');
            return Ok(all.iter().map(|one| format!("{family}/{}\n", one.key.name)).collect());
        }
        Output::Table | Output::Wide => {}
    }
    let mut table = Table::new(&["NAMESPACE", "NAME", "TYPE", "KEYS"]);
    for one in &all {
        let (namespace, name) = (one.key.namespace.to_string(), one.key.name.to_string());
        table.row([namespace, name, one.kind.clone(), one.keys.join(",")]);
    }
    Ok(table.text(true))
}

/// For programs.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context("as JSON")? + "\n")
}
