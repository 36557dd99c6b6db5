//! `mason secret` and `mason config`: text that tasks are given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::agent::pair;
use super::exit::Exit;
use super::object::NamespaceArg;
use super::table::Table;
use super::text::plain;
use crate::api::client::{Client, Path};
use crate::api::wire::{Applied, Apply, Changed, NewSecret, Text};

/// A name, and what is kept under it
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it is called
    name: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// A value; others on this machine can see it while this runs
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    from_literal: Vec<(String, String)>,
    /// A file's bytes, under its name or another
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
}

/// A name
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Which
    name: String,
    #[command(flatten)]
    namespace: NamespaceArg,
}

/// What is done
#[derive(Debug, Subcommand)]
pub(super) enum Texts {
    /// Make one, or put another in its place
    Create(CreateArgs),
    /// List them, and the names of their keys
    List(NamespaceArg),
    /// Remove one
    Delete(NameArgs),
}

impl CreateArgs {
    fn values(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let literals = self.from_literal.iter().cloned();
        let mut all: Vec<(String, Vec<u8>)> =
            literals.map(|(key, value)| (key, value.into_bytes())).collect();
        for given in &self.from_file {
            let (key, path) = match given.split_once('=') {
                Some((key, path)) => (key.to_owned(), PathBuf::from(path)),
                None => {
                    let path = PathBuf::from(given);
                    let name = path.file_name().and_then(|name| name.to_str());
                    (name.context("--from-file: that has no name")?.to_owned(), path)
                }
            };
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            all.push((key, bytes));
        }
        ensure!(!all.is_empty(), "nothing is in it: --from-literal or --from-file");
        let mut values = BTreeMap::new();
        for (key, bytes) in all {
            if values.insert(key.clone(), bytes).is_some() {
                bail!("{key} is given twice");
            }
        }
        Ok(values)
    }
}

pub(super) async fn secret(client: &Client, texts: Texts) -> Result<Exit> {
    let Texts::Create(args) = texts else { return others(client, texts, "secrets").await };
    let values = args.values()?.into_iter();
    let data = values.map(|(key, bytes)| (key, STANDARD.encode(bytes))).collect();
    let body = NewSecret { kind: "Opaque".to_owned(), data };
    let path = Path::of(&["secrets", &args.namespace.namespace, &args.name]);
    let _: Changed = client.json(Method::PUT, path, Some(&body)).await?;
    println!("secret/{} is sealed", plain(&args.name));
    Ok(Exit::DONE)
}

pub(super) async fn config(client: &Client, texts: Texts) -> Result<Exit> {
    let Texts::Create(args) = texts else { return others(client, texts, "configs").await };
    let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, bytes) in args.values()? {
        match String::from_utf8(bytes) {
            Ok(text) => drop(data.insert(key, text)),
            Err(error) => drop(binary.insert(key, STANDARD.encode(error.into_bytes()))),
        }
    }
    let text = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": args.name },
        "data": data, "binaryData": binary,
    });
    let namespace = args.namespace.namespace.clone();
    let body = Apply { text: text.to_string(), namespace, lenient: false };
    let _: Applied = client.post(Path::of(&["apply"]), &body).await?;
    println!("config/{} is there", plain(&args.name));
    Ok(Exit::DONE)
}

async fn others(client: &Client, texts: Texts, which: &str) -> Result<Exit> {
    match texts {
        Texts::Create(_) => bail!("made by its own kind"),
        Texts::List(NamespaceArg { namespace }) => {
            let path = Path::of(&[which]).with("namespace", namespace);
            let mut table = Table::new(&["NAME", "TYPE", "KEYS"]);
            for Text { key, kind, keys } in client.get::<Vec<Text>>(path).await? {
                table.row([key.name.to_string(), kind, keys.join(", ")]);
            }
            print!("{}", table.text(true));
        }
        Texts::Delete(args) => {
            let path = Path::of(&[which, &args.namespace.namespace, &args.name]);
            let _: Changed = client.json::<(), _>(Method::DELETE, path, None).await?;
            println!("{} is gone", plain(&args.name));
        }
    }
    Ok(Exit::DONE)
}
