//! One bug that is put into the core on purpose.
//!
//! ```text
//!     # Why it matters, in a line or more.
//!     scenario 1
//!     raft/src/file.rs … (see `patch`)
//! ```
//!
//! The scenario is a number of `docs/consensus-faults.md`, or a dash. One in `raft/src/store` is
//! hunted where members have the real store.

use std::path::Path;

use super::patch::{Patch, story};

/// One bug.
pub(crate) struct Mutant {
    /// The name of its file.
    pub(crate) name: String,
    /// Why it matters.
    pub(crate) story: String,
    /// The scenario that it is a case of.
    pub(crate) scenario: String,
    /// What it changes.
    pub(crate) patch: Patch,
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Option<Mutant> {
        let (head, patch) = Patch::parse(text)?;
        let (head, scenario) = head.rsplit_once("\nscenario ")?;
        let (name, scenario) = (name.to_owned(), scenario.to_owned());
        Some(Mutant { name, story: story(head)?, scenario, patch })
    }

    /// Whether it takes the real store to show it.
    pub(crate) fn is_in_store(&self) -> bool {
        self.patch.file.starts_with("raft/src/store")
    }
}

/// All of them, by name.
pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Mutant>> {
    super::patch::read_all(folder, Mutant::parse)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A mutant whose text has moved away is one that nobody hunts any more.
    #[test]
    fn every_mutant_still_fits() {
        let root = crate::test::root();
        let mutants = read_all(&root.join("raft/sim/mutants")).unwrap();
        for mutant in &mutants {
            let file = &mutant.patch.file;
            let source = fs::read_to_string(root.join(file)).unwrap();
            let name = &mutant.name;
            assert!(mutant.patch.put_into(&source).is_some(), "{name}: not in {file} once");
            assert!(!mutant.story.is_empty() && !mutant.scenario.is_empty(), "{name} says why");
        }
        assert!(mutants.len() >= 40, "{} mutants", mutants.len());
    }
}
