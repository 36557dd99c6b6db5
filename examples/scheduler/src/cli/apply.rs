//! `mason apply` and `mason plan`: manifests, from files to the server.

use std::fs;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use mason_core::manifest::TEXT_BYTES_MAX;

use super::exit::{Exit, complain};
use super::object::NamespaceArg;
use super::text::{plain, plain_lines};
use crate::api::client::{Client, Path};
use crate::api::wire::{Applied, AppliedObject, Apply, Difference, Outcome, Planned};

/// Take in manifests: mason's own, Kubernetes' or Argo's
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A file, a folder of them, or - for standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Ignore what is not supported, with a warning
    #[arg(long)]
    lenient: bool,
}

impl ApplyArgs {
    /// What was read, each with where it is from.
    fn texts(&self) -> Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        for file in &self.files {
            if file.as_os_str() == "-" {
                let mut text = String::new();
                let most = TEXT_BYTES_MAX as u64 + 1;
                let read = std::io::stdin().take(most).read_to_string(&mut text);
                read.context("standard input")?;
                texts.push(("standard input".to_owned(), text));
            } else if file.is_dir() {
                for file in manifests(file)? {
                    texts.push(read(&file)?);
                }
            } else {
                texts.push(read(file)?);
            }
        }
        Ok(texts)
    }

    fn body(&self, text: String) -> Apply {
        Apply { text, namespace: self.namespace.namespace.clone(), lenient: self.lenient }
    }
}

/// The manifests of a folder, by name.
fn manifests(folder: &FilePath) -> Result<Vec<PathBuf>> {
    let context = || folder.display().to_string();
    let entries = fs::read_dir(folder).with_context(context)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let is_one =
            path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if is_one && path.is_file() {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "there is no manifest in {}", folder.display());
    files.sort();
    Ok(files)
}

fn read(file: &FilePath) -> Result<(String, String)> {
    let name = file.display().to_string();
    let bytes = fs::metadata(file).with_context(|| name.clone())?.len();
    if bytes > TEXT_BYTES_MAX as u64 {
        bail!("{name}: larger than {TEXT_BYTES_MAX} bytes");
    }
    Ok((name.clone(), fs::read_to_string(file).context(name)?))
}

pub(super) async fn apply(client: &Client, args: ApplyArgs) -> Result<Exit> {
    for (from, text) in args.texts()? {
        let applied = client.post::<_, Applied>(Path::of(&["apply"]), &args.body(text)).await;
        for object in applied.context(from)?.objects {
            warn(&object);
            let AppliedObject { kind, key, outcome, .. } = object;
            let outcome = match outcome {
                Outcome::Created => "created",
                Outcome::Changed => "changed",
                Outcome::Unchanged => "unchanged",
            };
            println!("{kind}/{} {outcome}{}", plain(&key.name), elsewhere(&key.namespace));
        }
    }
    Ok(Exit::DONE)
}

fn elsewhere(namespace: &str) -> String {
    if namespace == "default" { String::new() } else { format!(" in {}", plain(namespace)) }
}

fn warn(object: &AppliedObject) {
    for warning in &object.warnings {
        eprintln!("mason: {}/{}: {}", object.kind, plain(&object.key.name), plain(warning));
    }
}

/// Says what an apply would do: 0 nothing, 1 something, 2 it cannot be said.
pub(super) async fn plan(client: &Client, args: ApplyArgs) -> Result<Exit> {
    match planned(client, &args).await {
        Ok(false) => Ok(Exit::DONE),
        Ok(true) => Ok(Exit(1)),
        Err(error) => {
            complain(&error);
            Ok(Exit(2))
        }
    }
}

async fn planned(client: &Client, args: &ApplyArgs) -> Result<bool> {
    let mut changes = false;
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for (from, text) in args.texts()? {
        let planned = client.post::<_, Planned>(Path::of(&["plan"]), &args.body(text)).await;
        for one in planned.context(from)?.objects {
            warn(&one.object);
            let AppliedObject { kind, key, outcome, .. } = &one.object;
            let (sign, what) = match outcome {
                Outcome::Created => ('+', "would be created"),
                Outcome::Changed => ('~', "would be changed"),
                Outcome::Unchanged => (' ', "is so already"),
            };
            changes |= *outcome != Outcome::Unchanged;
            let where_ = elsewhere(&key.namespace);
            println!("{sign} {kind}/{} {what}{where_}", plain(&key.name));
            for change in &one.changes {
                print!("{}", lines_of(change, colours));
            }
            for place in &one.placements {
                println!("    {} on {}", place.count, plain(place.node.as_str()));
            }
            if let Some(waits) = &one.waits {
                print!("{}", plain_lines(&waits.to_string()));
            }
        }
    }
    Ok(changes)
}

fn lines_of(change: &Difference, colours: bool) -> String {
    let line = |sign: char, colour: &str, value: &Option<String>| match value {
        None => String::new(),
        Some(value) => {
            let text = format!("    {sign} {}: {}", plain(&change.path), plain(value));
            if colours { format!("\x1b[{colour}m{text}\x1b[0m\n") } else { text + "\n" }
        }
    };
    line('-', "31", &change.before) + &line('+', "32", &change.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of a manifest is shown where a terminal obeys: only our own colours may act.
    #[test]
    fn a_difference_shows_both_sides_and_obeys_none() {
        let change = Difference {
            path: "task.image".into(),
            before: Some("\"a\x1b[2J\"".into()),
            after: Some("\"b\"".into()),
        };
        let expected = "    - task.image: \"a\\u{1b}[2J\"\n    + task.image: \"b\"\n";
        assert_eq!(lines_of(&change, false), expected);
        assert_eq!(lines_of(&change, true).matches('\x1b').count(), 4);
    }
}
