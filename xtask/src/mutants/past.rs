//! The teeth of the tests of etcd's past bugs: each bug put into our code, and the test of it run.
//!
//! ```text
//!     docs/etcd-past-bugs/*.txt ──► a copy of the sources with all of them in
//!                                      │ none is on: the tests pass
//!                                      ▼ one is on
//!                                   its test, once: it must fail
//!     docs/etcd-past-bugs/MUTANTS.md ◄── what it said
//! ```
//!
//! A bug's file is as that of a [`flaw`](super::flaw), with one line between the story and the
//! patches: `test`, the package whose suite has the test, and the test's name.
//!
//! What a second guard hides takes both out. How a test fails is kept in the table for people to
//! judge whether that is what it is there for: the command only sees that it does.

use std::fs;
use std::path::Path;

use anyhow::bail;

use super::flaw::{FLAW, switch};
use super::patch::{Patch, story};
use super::table::{Row, Table};
use super::tree::Tree;

const HEAD: &str = "\
# The teeth of the tests of past bugs

Written by `cargo xtask mutants --past`: bugs that etcd has had, put into our code, and how the
test of each fails with it. A number is that of the issue in etcd's tracker.

| issue | what is put in | test | what was seen |
|---|---|---|---|
";

/// One of etcd's past bugs, as it would be in our code.
struct Bug {
    /// The name of its file: the issue.
    name: String,
    /// What is wrong.
    story: String,
    /// The package and the name of the test that must fail.
    package: String,
    test: String,
    patches: Vec<Patch>,
}

impl Bug {
    fn parse(name: &str, text: &str) -> Option<Bug> {
        let (head, patches) = Patch::parse_all(text)?;
        let (head, test) = head.rsplit_once("\ntest ")?;
        let (package, test) = test.split_once(' ')?;
        let (name, package, test) = (name.to_owned(), package.to_owned(), test.to_owned());
        let on = switch(&name);
        let patches = patches.into_iter().map(|patch| patch.with("$on", &on)).collect();
        Some(Bug { name, story: story(head)?, package, test, patches })
    }

    /// Runs its test with the bug that is named on; what it said if it failed.
    fn test(&self, tree: &Tree, on: Option<&str>) -> anyhow::Result<Option<String>> {
        let output = tree
            .cargo(&["test", "--quiet", "-p", &self.package, "--test", "suite", &self.test])
            .env(FLAW, on.unwrap_or_default())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            if !said.contains("test result: ok") || said.contains(" 0 passed") {
                bail!("{} has no test {}", self.package, self.test);
            }
            return Ok(None);
        }
        let text = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
        if !text.contains("test result: FAILED") {
            bail!("{}: the test could not be run: {text}", self.name);
        }
        Ok(Some(super::first_complaint(&text)))
    }
}

/// Puts in those whose name contains one of the texts in `filter`, one after the other, writes how
/// their tests failed into the table, and says whether all did.
pub(crate) fn run(root: &Path, target: &Path, filter: &str) -> anyhow::Result<bool> {
    let folder = root.join("docs/etcd-past-bugs");
    let all = read_all(&folder)?;
    let path = folder.join("MUTANTS.md");
    let mut table = Table::read(&path, HEAD);
    let chosen = table.choose(&all, |bug| &bug.name, filter);
    let tree = Tree::copy(root, target.join("mutants"))?;
    let mut found = 0;
    tree.with(all.iter().flat_map(|bug| &bug.patches), || {
        for bug in &chosen {
            // A test that fails anyway shows nothing.
            if let Some(seen) = bug.test(&tree, None)? {
                bail!("with no bug on, {} fails: {seen}", bug.test);
            }
            let seen = bug.test(&tree, Some(&bug.name))?;
            found += usize::from(seen.is_some());
            let Bug { name, story, test, .. } = bug;
            let seen = seen.as_deref().unwrap_or("not in one run");
            let row = Row::of(name, format!("| {name} | {story} | `{test}` | {seen} |"));
            println!("{row}");
            table.set(row);
            fs::write(&path, table.to_string())?;
        }
        Ok(())
    })?;
    println!("\n{found} of {} found", chosen.len());
    Ok(found == chosen.len())
}

fn read_all(folder: &Path) -> anyhow::Result<Vec<Bug>> {
    super::patch::read_all(folder, Bug::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bug whose text has moved away is one that nobody puts in any more, and one that the list
    /// of past bugs does not name, or gives another test, is out of its place.
    #[test]
    fn every_past_bug_still_fits_and_is_in_the_list() {
        let root = crate::test::root();
        let list = fs::read_to_string(root.join("docs/etcd-past-bugs.md")).unwrap();
        for bug in read_all(&root.join("docs/etcd-past-bugs")).unwrap() {
            let Bug { name, test, .. } = &bug;
            for patch in &bug.patches {
                let source = fs::read_to_string(root.join(&patch.file)).unwrap();
                let file = &patch.file;
                assert!(patch.put_into(&source).is_some(), "{name}: not in {file} once");
            }
            let row = list.lines().find(|line| line.starts_with(&format!("| {name}")));
            assert!(row.is_some_and(|row| row.contains(&format!("`{test}`"))), "{name}: {test}");
        }
    }
}
