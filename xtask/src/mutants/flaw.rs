//! One bug that is put into the server on purpose, and who should find it.
//!
//! ```text
//!     # What is wrong, in a line or more.
//!     caught by log
//!     faults kill,partition
//!     kv/src/file.rs … (see `patch`)
//! ```
//!
//! `caught by` names a checker of `etcd-faults`, or several; one of them has to complain. `faults`
//! are the kinds of trouble in which it shows, or `none`. All flaws are built into one server;
//! `$on` stands for the question whether it is this one's turn.

use std::path::Path;

use super::patch::{Patch, story};

/// The variable of the environment that names the flaw whose turn it is.
pub(crate) const FLAW: &str = "DRYSTONE_FLAW";

/// One bug.
pub(crate) struct Flaw {
    /// The name of its file.
    pub(crate) name: String,
    /// What is wrong.
    pub(crate) story: String,
    /// The checkers of which one must complain.
    pub(crate) checkers: Vec<String>,
    /// What `--faults` is given.
    pub(crate) faults: String,
    /// What it changes.
    pub(crate) patches: Vec<Patch>,
}

impl Flaw {
    fn parse(name: &str, text: &str) -> Option<Flaw> {
        let (head, patches) = Patch::parse_all(text)?;
        let (head, faults) = head.rsplit_once("\nfaults ")?;
        let (head, checkers) = head.rsplit_once("\ncaught by ")?;
        let checkers = checkers.split(", ").map(str::to_owned).collect();
        let (name, faults) = (name.to_owned(), faults.to_owned());
        let on = switch(&name);
        let patches = patches.into_iter().map(|patch| patch.with("$on", &on)).collect();
        Some(Flaw { name, story: story(head)?, checkers, faults, patches })
    }
}

/// The question whether it is the turn of the one of this name, as an expression.
pub(crate) fn switch(name: &str) -> String {
    format!("(std::env::var({FLAW:?}).as_deref() == Ok({name:?}))")
}

/// All of them, by name.
pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Flaw>> {
    super::patch::read_all(folder, Flaw::parse)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// All that `etcd-faults` checks; see its README.
    const CHECKERS: [&str; 11] = [
        "log",
        "reply",
        "order",
        "member",
        "watch",
        "progress",
        "compaction",
        "lease",
        "agreement",
        "alive",
        "recovery",
    ];

    /// A flaw whose text has moved away is one that nobody hunts any more; a checker without one
    /// is not shown to see anything real.
    #[test]
    fn every_flaw_still_fits_and_every_checker_has_one() {
        let root = crate::test::root();
        let flaws = read_all(&root.join("examples/etcd-faults/mutants")).unwrap();
        let mut seen = BTreeSet::new();
        for flaw in &flaws {
            let name = &flaw.name;
            for patch in &flaw.patches {
                let file = &patch.file;
                let source = fs::read_to_string(root.join(file)).unwrap();
                assert!(patch.put_into(&source).is_some(), "{name}: not in {file} once");
            }
            assert!(!flaw.story.is_empty() && !flaw.faults.is_empty(), "{name} says what");
            for checker in &flaw.checkers {
                assert!(CHECKERS.contains(&checker.as_str()), "{name}: who is {checker}?");
                seen.insert(checker.as_str());
            }
        }
        assert_eq!(seen, BTreeSet::from(CHECKERS));
    }
}
