//! `mason get`: what there is, as a table or for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use mason_core::types::JobKey;
use serde_json::Value;

use super::exit::Exit;
use super::nodes;
use super::object::{NamespaceArg, at, kind_of};
use super::table::{Table, ago};
use super::text::{plain, plain_lines};
use crate::api::client::{Client, Path};
use crate::api::wire::{Detail, Summary, Text};
use crate::server::unix_now;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Show what there is
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// all, jobs, services, crons, workflows, nodes, configs or secrets
    kind: String,
    /// One of them
    name: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// In every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// With such labels: k=v,k!=v,k in (a,b)
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    label: Option<String>,
    /// In which form
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    /// Go on, and print what changes
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

pub(super) async fn run(client: &Client, args: GetArgs) -> Result<Exit> {
    match args.kind.as_str() {
        "node" | "nodes" => return nodes::list(client).await,
        "config" | "configs" | "configmap" | "cm" => return texts(client, &args, "configs").await,
        "secret" | "secrets" => return texts(client, &args, "secrets").await,
        _ => {}
    }
    let kind = match args.kind.as_str() {
        "all" => None,
        word => match kind_of(word) {
            Some(kind) => Some(kind),
            None => bail!("`{word}` is no kind: all, jobs, services, crons, workflows, nodes, …"),
        },
    };
    let mut before = BTreeMap::new();
    loop {
        let found = find(client, &args, kind).await?;
        let changed: Vec<&Summary> =
            found.iter().filter(|it| before.get(&it.key) != Some(*it)).collect();
        if !changed.is_empty() || before.is_empty() {
            show(client, &changed, &args, before.is_empty()).await?;
        }
        if !args.watch {
            return Ok(Exit::DONE);
        }
        before = found.into_iter().map(|it| (it.key.clone(), it)).collect();
        tokio::time::sleep(WATCH).await;
    }
}

async fn find(client: &Client, args: &GetArgs, kind: Option<&str>) -> Result<Vec<Summary>> {
    let namespace = &args.namespace.namespace;
    if let Some(name) = &args.name {
        let detail: Detail = client.get(at(&JobKey::new(namespace, name))).await?;
        return Ok(vec![detail.summary]);
    }
    let namespace = (!args.all_namespaces).then_some(namespace);
    let path = Path::of(&["objects"]).with_some("namespace", namespace);
    let path = path.with_some("kind", kind).with_some("label", args.label.as_ref());
    let mut all: Vec<Summary> = client.get(path).await?;
    all.sort_by(|a, b| {
        (&a.key.namespace, a.created_at, &a.key.name).cmp(&(
            &b.key.namespace,
            b.created_at,
            &b.key.name,
        ))
    });
    Ok(all)
}

async fn show(client: &Client, found: &[&Summary], args: &GetArgs, is_first: bool) -> Result<()> {
    match args.output {
        Form::Json if args.name.is_some() => {
            let all: Value = client.get(at(&found[0].key)).await?;
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Form::Json => println!("{}", serde_json::to_string_pretty(found)?),
        Form::Yaml => {
            for (number, one) in found.iter().enumerate() {
                let detail: Detail = client.get(at(&one.key)).await?;
                if number > 0 {
                    println!("---");
                }
                println!("{}", plain_lines(detail.manifest.trim_end()));
            }
        }
        Form::Name => found.iter().for_each(|it| println!("{}/{}", it.kind, plain(&it.key.name))),
        Form::Table | Form::Wide => {
            if found.is_empty() {
                eprintln!("mason: there is nothing");
                return Ok(());
            }
            print!("{}", table(found, args.output == Form::Wide).text(is_first));
        }
    }
    Ok(())
}

pub(super) fn phase_of(summary: &Summary) -> String {
    let phase = summary.phase.map(|phase| format!("{phase:?}"));
    phase.unwrap_or_else(|| "New".to_owned())
}

/// How far it is, in a cell: ready replicas, or tasks that are done.
fn progress(it: &Summary) -> String {
    match it.kind.as_str() {
        "service" => format!("{}/{} ready", it.ready, it.wanted),
        "cron" => String::new(),
        _ if it.counts.failed > 0 => {
            format!("{}/{}, {} failed", it.counts.succeeded, it.wanted, it.counts.failed)
        }
        _ => format!("{}/{}", it.counts.succeeded, it.wanted),
    }
}

pub(super) fn table(found: &[&Summary], is_wide: bool) -> Table {
    let now = unix_now();
    let mut table = match is_wide {
        true => Table::new(&[
            "NAMESPACE",
            "KIND",
            "NAME",
            "PHASE",
            "DONE",
            "RUN",
            "DUE",
            "AGE",
            "OWNER",
            "MESSAGE",
        ]),
        false => Table::new(&["KIND", "NAME", "PHASE", "DONE", "AGE", "MESSAGE"]),
    };
    for it in found {
        let (kind, name) = (it.kind.clone(), it.key.name.to_string());
        let (phase, done, age) = (phase_of(it), progress(it), ago(it.created_at, now));
        let message = it.message.clone();
        if is_wide {
            let owner = it.owner.as_ref().map(|owner| owner.name.to_string()).unwrap_or_default();
            let namespace = it.key.namespace.to_string();
            let (bound, due) = (it.bound.to_string(), it.due.to_string());
            table.row([namespace, kind, name, phase, done, bound, due, age, owner, message]);
        } else {
            table.row([kind, name, phase, done, age, message]);
        }
    }
    table
}

/// Config maps or secrets: the names of their keys.
async fn texts(client: &Client, args: &GetArgs, which: &str) -> Result<Exit> {
    let namespace = (!args.all_namespaces).then_some(&args.namespace.namespace);
    let path = Path::of(&[which]).with_some("namespace", namespace);
    let mut all: Vec<Text> = client.get(path).await?;
    all.retain(|it| args.name.as_deref().is_none_or(|name| *it.key.name == *name));
    if args.name.is_some() && all.is_empty() {
        eprintln!("mason: there is no such thing");
        return Ok(Exit::NOT_FOUND);
    }
    if args.output == Form::Json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(Exit::DONE);
    }
    let mut table = Table::new(&["NAMESPACE", "NAME", "TYPE", "KEYS"]);
    for Text { key, kind, keys } in all {
        table.row([key.namespace.to_string(), key.name.to_string(), kind, keys.join(", ")]);
    }
    if !table.is_empty() {
        print!("{}", table.text(true));
    }
    Ok(Exit::DONE)
}
