//! `mason secret` and `mason config`: text that tasks are given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FsPath;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use http::Method;
use mason_core::record::VALUE_BYTES_MAX;
use serde_json::json;

use super::apply::said;
use super::ask::Asker;
use super::exit::Exit;
use super::out;
use super::table::Table;
use super::text::plain;
use crate::api::client::Path;
use crate::api::wire::{Applied, Apply, Changed, NewSecret, Text};

/// Secrets: sealed before they are stored, and never printed
#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Seal one, in the place of one of that name
    Create {
        /// What it is called; `generic` before it, as kubectl has it, means nothing more
        #[arg(num_args = 1..=2, value_names = ["generic", "NAME"], required = true)]
        words: Vec<String>,
        #[command(flatten)]
        from: From,
    },
    /// List their names and the names of their keys
    List,
    /// Remove some
    Delete {
        /// Which
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Config maps: text that tasks are given as variables and files
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Make one, or change the one of that name
    Create {
        /// What it is called
        name: String,
        #[command(flatten)]
        from: From,
    },
    /// List their names and the names of their keys
    List,
    /// Remove some
    Delete {
        /// Which
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What is in it.
#[derive(Debug, Args)]
pub(super) struct From {
    /// A key and its value. Who lists processes sees it: a file is safer for a secret
    #[arg(long = "from-literal", value_name = "KEY=VALUE", value_parser = super::agent::pair)]
    literals: Vec<(String, String)>,
    /// A file, under its name or under KEY
    #[arg(long = "from-file", value_name = "[KEY=]FILE")]
    files: Vec<String>,
}

impl From {
    fn read(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut data = BTreeMap::new();
        let mut add = |key: String, bytes: Vec<u8>| -> Result<()> {
            ensure!(bytes.len() <= VALUE_BYTES_MAX, "{key} is larger than {VALUE_BYTES_MAX} bytes");
            ensure!(data.insert(key.clone(), bytes).is_none(), "{key} is given twice");
            Ok(())
        };
        for (key, value) in &self.literals {
            add(key.clone(), value.clone().into_bytes())?;
        }
        for file in &self.files {
            let (key, path) = match file.split_once('=') {
                Some((key, path)) => (key.to_owned(), FsPath::new(path)),
                None => {
                    let path = FsPath::new(file);
                    let name = path.file_name().and_then(|name| name.to_str());
                    (name.with_context(|| format!("{file} has no name"))?.to_owned(), path)
                }
            };
            let context = || path.display().to_string();
            let size = fs::metadata(path).with_context(context)?.len();
            let is_small = size <= VALUE_BYTES_MAX as u64;
            ensure!(is_small, "{} is larger than {VALUE_BYTES_MAX} bytes", context());
            add(key, fs::read(path).with_context(context)?)?;
        }
        ensure!(!data.is_empty(), "nothing is in it: --from-literal, --from-file");
        Ok(data)
    }
}

pub(super) async fn secret(command: SecretCommand, asker: &Asker) -> Result<Exit> {
    match command {
        SecretCommand::Create { words, from } => {
            let name = match &words[..] {
                [name] => name,
                [kind, name] if kind == "generic" => name,
                _ => bail!("`{}` is no kind of secret that can be made: generic", words[0]),
            };
            let data = from.read()?.into_iter();
            let data = data.map(|(key, bytes)| (key, STANDARD.encode(bytes))).collect();
            let body = NewSecret { kind: "Opaque".to_owned(), data };
            let path = Path::of(&["secrets", &asker.namespace, name]);
            let _: Changed = asker.client.json(Method::PUT, path, Some(&body)).await?;
            out::line(&plain(&format!("secret/{name} sealed")));
        }
        SecretCommand::List => list(asker, "secrets").await?,
        SecretCommand::Delete { names } => delete(asker, "secrets", &names).await?,
    }
    Ok(Exit::DONE)
}

pub(super) async fn config(command: ConfigCommand, asker: &Asker) -> Result<Exit> {
    match command {
        ConfigCommand::Create { name, from } => create(asker, &name, &from).await?,
        ConfigCommand::List => list(asker, "configs").await?,
        ConfigCommand::Delete { names } => delete(asker, "configs", &names).await?,
    }
    Ok(Exit::DONE)
}

async fn create(asker: &Asker, name: &str, from: &From) -> Result<()> {
    let (mut data, mut binary) = (BTreeMap::new(), BTreeMap::new());
    for (key, bytes) in from.read()? {
        match String::from_utf8(bytes) {
            Ok(text) => drop(data.insert(key, text)),
            Err(error) => drop(binary.insert(key, STANDARD.encode(error.into_bytes()))),
        }
    }
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": data,
        "binaryData": binary,
    });
    let body =
        Apply { text: manifest.to_string(), namespace: asker.namespace.clone(), lenient: false };
    let applied: Applied = asker.client.post(Path::of(&["apply"]), &body).await?;
    let Some(made) = applied.objects.first() else { bail!("the server has taken nothing in") };
    out::line(&said(made));
    Ok(())
}

async fn list(asker: &Asker, family: &str) -> Result<()> {
    let path = Path::of(&[family]).with("namespace", &asker.namespace);
    let all: Vec<Text> = asker.client.get(path).await?;
    let mut table = Table::new(&["NAME", "TYPE", "KEYS"]);
    for one in &all {
        table.row([one.key.name.to_string(), one.kind.clone(), one.keys.join(",")]);
    }
    out::raw(table.text(true).as_bytes());
    Ok(())
}

async fn delete(asker: &Asker, family: &str, names: &[String]) -> Result<()> {
    for name in names {
        let path = Path::of(&[family, &asker.namespace, name]);
        let _: Changed = asker.client.json::<(), Changed>(Method::DELETE, path, None).await?;
        out::line(&plain(&format!("{name} is removed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that is given twice would hide one of its values.
    #[test]
    fn what_is_given_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        fs::write(&file, b"\xff").unwrap();
        let file = file.display().to_string();
        let from = |literals: &[(&str, &str)], files: &[&str]| From {
            literals: literals.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            files: files.iter().map(|it| (*it).to_owned()).collect(),
        };
        let data = from(&[("a", "b")], &[&file, &format!("k={file}")]).read().unwrap();
        assert_eq!(data.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "cert.pem", "k"]);
        assert!(from(&[("a", "b"), ("a", "c")], &[]).read().is_err());
        assert!(from(&[], &[]).read().is_err());
    }
}
