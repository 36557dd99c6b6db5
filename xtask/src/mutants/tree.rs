//! A copy of the sources to put bugs in. It keeps its build, so that a bug costs the building of
//! what depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::patch::Patch;

/// The copy.
pub(crate) struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Copies what git knows of `root` into `folder`. Files that are the same are left alone, so
    /// that they need not be built again.
    pub(crate) fn copy(root: &Path, folder: PathBuf) -> anyhow::Result<Tree> {
        let listed = Command::new("git").args(["ls-files"]).current_dir(root).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        for name in listed.lines() {
            let (from, to) = (root.join(name), folder.join(name));
            let Ok(bytes) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|old| old == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::write(&to, bytes)?;
        }
        Ok(Tree { folder })
    }

    /// Builds a program of the copy as it is, and keeps it under the name `kept`. Bugs are hunted
    /// in a hurry: what costs time to build and little to run is left out.
    pub(crate) fn build(
        &self,
        package: &str,
        program: &str,
        kept: &str,
    ) -> anyhow::Result<PathBuf> {
        let built = self
            .cargo(&["build", "--profile", "quick", "--quiet", "-p", package])
            .env("CARGO_PROFILE_QUICK_DEBUG", "false")
            .status()?;
        if !built.success() {
            bail!("it does not build");
        }
        let kept = self.folder.join(kept);
        fs::copy(self.folder.join("target/quick").join(program), &kept)?;
        Ok(kept)
    }

    /// A command of cargo's on the copy, with a build of its own.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(arguments).current_dir(&self.folder);
        cargo.env("CARGO_TARGET_DIR", self.folder.join("target"));
        cargo.env("RUSTFLAGS", "--cap-lints allow");
        cargo
    }

    /// Builds a program with bugs in the sources, which are sound again afterwards.
    pub(crate) fn build_with<'p>(
        &self,
        patches: impl IntoIterator<Item = &'p Patch>,
        package: &str,
        program: &str,
        kept: &str,
    ) -> anyhow::Result<PathBuf> {
        self.with(patches, || self.build(package, program, kept))
    }

    /// Does something while bugs are in the sources, which are sound again afterwards. Several may
    /// be in one file.
    pub(crate) fn with<'p, T>(
        &self,
        patches: impl IntoIterator<Item = &'p Patch>,
        act: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut sound: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut bad: BTreeMap<PathBuf, String> = BTreeMap::new();
        for patch in patches {
            let place = self.folder.join(&patch.file);
            if !bad.contains_key(&place) {
                let text = fs::read_to_string(&place).with_context(|| patch.file.clone())?;
                sound.insert(place.clone(), text.clone());
                bad.insert(place.clone(), text);
            }
            let text = bad.get_mut(&place).expect("it was put there");
            let Some(patched) = patch.put_into(text) else {
                bail!("the text is not in {} once", patch.file);
            };
            *text = patched;
        }
        for (place, text) in &bad {
            fs::write(place, text)?;
        }
        let outcome = act();
        for (place, text) in &sound {
            fs::write(place, text)?;
        }
        outcome
    }

    /// A place in the copy that git does not know.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
