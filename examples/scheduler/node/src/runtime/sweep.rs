//! Finds what nobody knows any more, and removes it.
//!
//! Five kinds of things can be left by a run: its control groups, its keeper with its socket,
//! mounts, network namespaces with a name, and its folder. All of them have the name of the run in
//! their path, below the node's own folder and its own control group, so two agents on one machine
//! never sweep each other's. What the OCI runtime notes and what a keeper mounts are in the
//! keeper's own namespace, and cannot be left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mason_core::types::RunId;

use super::groups::Mount;
use super::{Error, Runner, keeper, settle};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Of which run.
    pub run: RunId,
    /// What.
    pub kind: LeftoverKind,
    /// Where.
    pub path: PathBuf,
    /// Why it is still there, if it is.
    pub error: Option<String>,
}

/// What can be left by a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftoverKind {
    /// A control group, with whatever runs in it.
    ControlGroup,
    /// A keeper that lives, or the socket of one that does not.
    Keeper,
    /// A mount.
    Mount,
    /// A network namespace with a name.
    NetworkNamespace,
    /// The folder of a run.
    Folder,
}

impl Runner {
    /// Removes all that belongs to runs which are not `known`: kills, unmounts, deletes. What it
    /// found, in a fixed order.
    ///
    /// # Errors
    /// The machine refuses to be looked at. What cannot be removed is told with what was found.
    pub fn sweep(&self, known: &BTreeSet<RunId>) -> Result<Vec<Leftover>, Error> {
        self.sweep_unless(|run| known.contains(run))
    }

    /// As [`Runner::sweep`], while runs come and go: what is known is asked after the search, so
    /// that what began before it is known by then.
    ///
    /// # Errors
    /// As [`Runner::sweep`].
    pub fn sweep_unless(&self, is_known: impl Fn(&RunId) -> bool) -> Result<Vec<Leftover>, Error> {
        let mut found = self.search()?;
        found.retain(|leftover| !is_known(&leftover.run));
        found.sort_by(|a, b| (&a.run, a.kind, &a.path).cmp(&(&b.run, b.kind, &b.path)));
        let runs: BTreeSet<RunId> = found.iter().map(|leftover| leftover.run.clone()).collect();
        for run in runs {
            let removed = settle::kill(self, &run).and_then(|()| settle::remove(self, &run));
            let Err(error) = removed else { continue };
            for leftover in found.iter_mut().filter(|leftover| leftover.run == run) {
                leftover.error = Some(error.to_string());
            }
        }
        Ok(found)
    }

    /// All that is there, known or not.
    fn search(&self) -> Result<Vec<Leftover>, Error> {
        let data = &self.config.data_dir;
        let mut found = Vec::new();
        let mut add = |run: RunId, kind, path: &Path| {
            found.push(Leftover { run, kind, path: path.to_owned(), error: None });
        };
        for run in self.runs()? {
            let folder = self.folder(&run);
            add(run.clone(), LeftoverKind::Folder, &folder);
            if keeper::lives(&folder).unwrap_or(false) {
                add(run, LeftoverKind::Keeper, &folder);
            }
        }
        // One that was being made when its agent was killed.
        for (name, path) in names_in(&data.join("runs")) {
            if let Some(run) = name.as_str().strip_prefix('.') {
                add(run.into(), LeftoverKind::Folder, &path);
            }
        }
        for (run, path) in names_in(&data.join("s")) {
            add(run, LeftoverKind::Keeper, &path);
        }
        for (_, words) in settle::processes() {
            // Its folder may be gone, but it still says which it was.
            let keeps = words.iter().any(|word| word == "--keep");
            let path = words.last().map(PathBuf::from).unwrap_or_default();
            if keeps && let Some(run) = run_of(&data.join("runs"), &path) {
                add(run, LeftoverKind::Keeper, &path);
            }
        }
        for folder in self.groups.folders(&format!("/mason/{}", self.config.node)) {
            let groups = names_in(&folder).into_iter().filter(|(_, path)| path.is_dir());
            for (run, path) in groups {
                add(run, LeftoverKind::ControlGroup, &path);
            }
        }
        for mount in Mount::list().unwrap_or_default() {
            let run = run_of(&data.join("runs"), &mount.at);
            let run = run.or_else(|| run_of(&data.join("net"), &mount.at));
            let kind = match mount.kind.as_str() {
                "nsfs" => LeftoverKind::NetworkNamespace,
                _ => LeftoverKind::Mount,
            };
            if let Some(run) = run {
                add(run, kind, &mount.at);
            }
        }
        Ok(found)
    }
}

/// What is in a folder, each by the run whose name it has.
fn names_in(folder: &Path) -> Vec<(RunId, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((RunId::from(name), entry.path()))
    });
    named.collect()
}

/// The run whose folder in `folder` a path is, or is below.
fn run_of(folder: &Path, path: &Path) -> Option<RunId> {
    let name = path.strip_prefix(folder).ok()?.components().next()?;
    name.as_os_str().to_str().map(RunId::from)
}
