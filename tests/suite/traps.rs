//! Keeps the list of etcd's traps and the tests that stand in them in step.
//!
//! ```text
//!   docs/etcd-traps.md     | 28 | what clients rely on | `calls_that_want_a_leader_…` |
//!   …/tests/suite/**       // Trap 28. …                  the test, citing it
//! ```
//!
//! A trap that is listed without a test is a claim, and one whose test was renamed is so soon.

use std::collections::BTreeMap;

use crate::tidy;

const LIST: &str = "docs/etcd-traps.md";
const TRAPS: u32 = 30;
const KV: &str = "kv/tests/suite";
const SERVER: &str = "examples/etcd/tests/suite";

/// The number, the suite and the name of the test in a row of the list.
fn row(line: &str) -> Option<(u32, &'static str, &str)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let number = cells.next()?.parse().ok()?;
    let test = cells.last()?.trim_end_matches(" |");
    let (suite, test) = match test.strip_prefix("kv: ") {
        Some(test) => (KV, test),
        None => (SERVER, test),
    };
    Some((number, suite, test.trim_matches('`')))
}

/// Functions of a file by name, with the comment and the attributes above them.
fn functions(text: &str) -> BTreeMap<String, String> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let mut found = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim_start_matches("pub(super) ").trim_start_matches("async ");
        let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once(['(', '<']))
        else {
            continue;
        };
        let above = |line: &&&str| line.starts_with("//") || line.starts_with("#[");
        let above: Vec<&str> = lines[..at].iter().rev().take_while(above).copied().collect();
        found.insert(name.to_owned(), above.join("\n"));
    }
    found
}

/// Whether a comment cites a trap: `Trap 28.`, `Traps 13 and 17`, `trap 24`.
fn cites(comment: &str, trap: u32) -> bool {
    let lower = comment.to_lowercase();
    let behind = lower.match_indices("trap").map(|(at, _)| &lower[at..]);
    behind.into_iter().any(|text| {
        let line = text.lines().next().unwrap_or_default();
        line.split(|c: char| !c.is_ascii_digit()).any(|number| number == trap.to_string())
    })
}

/// What is wrong with the list.
fn complaints(list: &str, find: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
    let rows: Vec<_> = list.lines().filter_map(row).collect();
    let mut wrong = Vec::new();
    if rows.iter().map(|row| row.0).ne(1..=TRAPS) {
        wrong.push(format!("{LIST} does not list traps 1 to {TRAPS} in order"));
    }
    for (trap, suite, test) in rows {
        match find(suite, test) {
            None => wrong.push(format!("trap {trap}: {suite} has no test {test}")),
            Some(comment) if !cites(&comment, trap) => {
                wrong.push(format!("trap {trap}: {test} does not cite it"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// Each trap has a test that says so.
#[test]
fn each_trap_has_its_test() {
    let list = std::fs::read_to_string(crate::root().join(LIST)).expect("the list is there");
    let all: Vec<(&str, BTreeMap<String, String>)> = [KV, SERVER]
        .into_iter()
        .flat_map(|suite| {
            let files = tidy::files(&crate::root().join(suite), "rs");
            files.into_iter().map(move |file| (suite, functions(&file.text)))
        })
        .collect();
    let find = |suite: &str, test: &str| {
        let mut files = all.iter().filter(|(of, _)| *of == suite);
        files.find_map(|(_, functions)| functions.get(test).cloned())
    };
    crate::expect_none("traps", &complaints(&list, find));
}

/// The rule can fail: a test that is missing, one that cites another trap, a row that is missing.
#[test]
fn a_trap_without_its_test_is_seen() {
    let text = "// Trap 2. Why.\n#[test]\nfn second() {}\n\n// No trap.\nfn third() {}\n";
    let list = "| 1 | what | `first` |\n| 2 | what | `second` |\n| 3 | what | kv: `third` |\n";
    let functions = functions(text);
    let wrong = complaints(list, |_, test| functions.get(test).cloned());
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].contains("in order") && wrong[1].contains("no test first"), "{wrong:?}");
    assert!(wrong[2].contains("third does not cite"), "{wrong:?}");
}
