//! One bug that is put in on purpose: a text in the core, and what stands there instead.
//!
//! ```text
//!     # Why it matters, in a line or more.
//!     scenario 1
//!     raft/src/file.rs
//!     ---- instead of
//!     what the core says, once
//!     ---- it says
//!     what it should not
//! ```
//!
//! The scenario is a number of `docs/consensus-faults.md`, or a dash. One in `raft/src/store` is
//! hunted where members have the real store.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// One bug.
pub(crate) struct Mutant {
    /// The name of its file.
    pub(crate) name: String,
    /// Why it matters.
    pub(crate) story: String,
    /// The scenario that it is a case of.
    pub(crate) scenario: String,
    /// The source that it is in.
    pub(crate) file: String,
    instead_of: String,
    says: String,
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Option<Mutant> {
        let (head, rest) = text.split_once("\n---- instead of\n")?;
        let (instead_of, says) = rest.split_once("\n---- it says\n")?;
        let (head, file) = head.rsplit_once('\n')?;
        let (story, scenario) = head.rsplit_once("\nscenario ")?;
        let story = story.strip_prefix("# ")?.replace("\n# ", " ");
        let owned = str::to_owned;
        Some(Mutant {
            name: owned(name),
            story,
            scenario: owned(scenario),
            file: owned(file),
            instead_of: owned(instead_of),
            says: owned(says.strip_suffix('\n')?),
        })
    }

    /// Whether it takes the real store to show it.
    pub(crate) fn is_in_store(&self) -> bool {
        self.file.starts_with("raft/src/store")
    }

    /// The source with the bug in it, if its text is there once and it changes something.
    pub(crate) fn put_into(&self, source: &str) -> Option<String> {
        let once = source.matches(&self.instead_of).count() == 1;
        (once && self.says != self.instead_of).then(|| source.replace(&self.instead_of, &self.says))
    }
}

/// All of them, by name.
pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Mutant>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("{}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "txt"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match Mutant::parse(&name, &fs::read_to_string(path)?) {
            Some(mutant) => Ok(mutant),
            None => bail!("{} is not a mutant", path.display()),
        }
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mutant whose text has moved away is one that nobody hunts any more.
    #[test]
    fn every_mutant_still_fits() {
        let root = crate::test::root();
        let mutants = read_all(&root.join("raft/sim/mutants")).unwrap();
        for mutant in &mutants {
            let source = fs::read_to_string(root.join(&mutant.file)).unwrap();
            let name = &mutant.name;
            assert!(mutant.put_into(&source).is_some(), "{name}: not in {} once", mutant.file);
            assert!(!mutant.story.is_empty() && !mutant.scenario.is_empty(), "{name} says why");
        }
        assert!(mutants.len() >= 40, "{} mutants", mutants.len());
    }
}
