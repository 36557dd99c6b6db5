//! `mason apply` and `mason plan`: manifests to a server.

use std::fs;
use std::io::Read as _;
use std::path::{Path as FsPath, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use mason_core::manifest::TEXT_BYTES_MAX;

use super::ask::Asker;
use super::exit::Exit;
use super::out;
use super::text::{plain, plain_lines};
use crate::api::client::Path;
use crate::api::wire::{Applied, AppliedObject, Apply, Outcome, Planned, PlannedObject};

/// Take manifests in
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    files: Files,
}

/// Show what an apply would do: 0 if nothing, 1 if something, 2 if it would be refused
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    files: Files,
}

/// Which manifests.
#[derive(Debug, Args)]
struct Files {
    /// A manifest, of mason, Kubernetes or Argo; a folder of them (.yaml, .yml, .json); - is
    /// standard input
    #[arg(long = "file", short, value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Ignore fields that are not supported, with a warning for each
    #[arg(long)]
    lenient: bool,
}

impl Files {
    /// Each file's text, with its name.
    fn read(&self) -> Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        for file in &self.files {
            if file == FsPath::new("-") {
                let mut text = String::new();
                let limit = TEXT_BYTES_MAX as u64 + 1;
                let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
                read.context("standard input")?;
                texts.push(("standard input".to_owned(), text));
                continue;
            }
            for path in expand(file)? {
                let name = path.display().to_string();
                let size = fs::metadata(&path).with_context(|| name.clone())?.len();
                ensure!(
                    size <= TEXT_BYTES_MAX as u64,
                    "{name} is larger than {TEXT_BYTES_MAX} bytes"
                );
                let text = fs::read_to_string(&path).with_context(|| name.clone())?;
                texts.push((name, text));
            }
        }
        Ok(texts)
    }

    fn body(&self, text: String, asker: &Asker) -> Apply {
        Apply { text, namespace: asker.namespace.clone(), lenient: self.lenient }
    }
}

/// A file, or those of a folder, by name.
fn expand(file: &FsPath) -> Result<Vec<PathBuf>> {
    let name = || file.display().to_string();
    if !fs::metadata(file).with_context(name)?.is_dir() {
        return Ok(vec![file.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(file).with_context(name)? {
        let path = entry.with_context(name)?.path();
        let ends = path.extension().and_then(|it| it.to_str());
        if matches!(ends, Some("yaml" | "yml" | "json")) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "there is no manifest in {}", name());
    Ok(found)
}

pub(super) async fn apply(args: ApplyArgs, asker: &Asker) -> Result<Exit> {
    for (name, text) in args.files.read()? {
        let body = args.files.body(text, asker);
        let applied: Result<Applied, _> = asker.client.post(Path::of(&["apply"]), &body).await;
        for object in applied.with_context(|| name.clone())?.objects {
            out::line(&said(&object));
            warn(&object);
        }
    }
    Ok(Exit::DONE)
}

pub(super) fn said(object: &AppliedObject) -> String {
    let what = match object.outcome {
        Outcome::Created => "created",
        Outcome::Changed => "changed",
        Outcome::Unchanged => "unchanged",
    };
    plain(&format!("{}/{} {what}", object.kind, object.key.name)).into_owned()
}

fn warn(object: &AppliedObject) {
    for warning in &object.warnings {
        eprintln!("  warning: {}", plain(warning));
    }
}

pub(super) async fn plan(args: PlanArgs, asker: &Asker) -> Result<Exit> {
    let mut changes = false;
    for (name, text) in args.files.read()? {
        let body = args.files.body(text, asker);
        let planned: Result<Planned, _> = asker.client.post(Path::of(&["plan"]), &body).await;
        for object in planned.with_context(|| name.clone())?.objects {
            changes |= object.object.outcome != Outcome::Unchanged;
            show(&object);
        }
    }
    Ok(if changes { Exit::FAILED } else { Exit::DONE })
}

fn show(planned: &PlannedObject) {
    let (sign, what) = match planned.object.outcome {
        Outcome::Created => ('+', "would be created"),
        Outcome::Changed => ('~', "would be changed"),
        Outcome::Unchanged => (' ', "is so already"),
    };
    let object = &planned.object;
    out::line(&plain(&format!("{sign} {}/{} {what}", object.kind, object.key.name)));
    if object.outcome == Outcome::Changed {
        for change in &planned.changes {
            let path = plain(&change.path).into_owned();
            for (sign, value) in [('-', &change.before), ('+', &change.after)] {
                if let Some(value) = value {
                    out::line(&format!("    {sign} {path}: {}", plain(value)));
                }
            }
        }
    }
    for placement in &planned.placements {
        let tasks = if placement.count == 1 { "task" } else { "tasks" };
        out::line(&plain(&format!("    {} {tasks} on {}", placement.count, placement.node)));
    }
    if let Some(waits) = &planned.waits {
        let text = plain_lines(&waits.to_string());
        text.lines().for_each(|line| out::line(&format!("    {line}")));
    }
    warn(object);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder is applied in an order that does not depend on the file system.
    #[test]
    fn a_folder_is_its_manifests_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(expand(folder.path()).unwrap_err().to_string().contains("no manifest"));
        for name in ["b.yml", "a.yaml", "c.json", "notes.md"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let found = expand(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["a.yaml", "b.yml", "c.json"]);
    }
}
