//! Keeps the catalogue of faults, each crate's table of tests, and the tests themselves in step.
//!
//! ```text
//!   docs/faults.md        **38. The root's record is torn** …      what can go wrong
//!                         | `btree` | 21, 24 to 28, … |            who answers for it
//!   <crate>/tests/suite/main.rs   //! | 38 | `meta::torn` |        which test stands for it
//!   <crate>/tests/suite/**        // Scenario 38: …                the test, citing it
//! ```
//!
//! A fault without a test is a hope, and a table that nobody checks is wrong within a year.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tidy;

/// Tests by their path within the suite, with the faults that each cites.
type Cited = BTreeMap<String, BTreeSet<u32>>;

const CATALOGUE: &str = "docs/faults.md";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The numbers at the front of `text`: `1, 3 to 5 and 9`.
fn numbers(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let (mut last, mut ranges) = (None, false);
    for word in text.split_whitespace() {
        let number = word.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>();
        match (word, number) {
            (_, Ok(number)) => {
                let from = if ranges { last.unwrap_or(number) } else { number };
                found.extend(from..=number);
                (last, ranges) = (Some(number), false);
                if !word.ends_with(|c: char| c.is_ascii_digit() || c == ',') {
                    break;
                }
            }
            ("to", _) => ranges = true,
            ("and" | "with", _) => {}
            _ => break,
        }
    }
    found
}

/// The numbers behind "scenario" in one line: `Scenarios 1, 3 to 5 and 9: …`.
fn cited(line: &str) -> BTreeSet<u32> {
    let lower = line.to_lowercase();
    let behind = |at: usize| lower[at + "scenario".len()..].trim_start_matches('s');
    lower.match_indices("scenario").flat_map(|(at, _)| numbers(behind(at))).collect()
}

/// The tests in one file, and what the first comment line above each cites.
fn tests(module: &str, text: &str) -> Cited {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Cited::new();
    for (i, _) in lines.iter().enumerate().filter(|(_, line)| **line == "#[test]") {
        let name = lines[i + 1..].iter().find_map(|line| line.strip_prefix("fn "));
        let name = name.expect("a function stands below its attribute");
        let name = format!("{module}::{}", name.split('(').next().unwrap_or(name));
        let comments = lines[..i].iter().rev().take_while(|line| line.starts_with("//"));
        found.insert(name, cited(comments.last().copied().unwrap_or_default()));
    }
    found
}

/// Every test of a crate's suite.
fn suite(krate: &str) -> Cited {
    let root = Path::new(krate).join("tests/suite");
    let mut found = Cited::new();
    for file in tidy::files(&crate::root().join(&root), "rs") {
        let path = file.path.strip_prefix(&root).expect("it lies in the suite").with_extension("");
        let module = path.components().map(|part| part.as_os_str().to_string_lossy());
        found.extend(tests(&module.collect::<Vec<_>>().join("::"), &file.text));
    }
    found
}

/// The cells of a table's row, if the line is one.
fn cells<'a>(line: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    let mut cells = line.strip_prefix(start)?.split('|').map(str::trim);
    Some((cells.next()?, cells.next()?))
}

/// The faults that the catalogue has an entry for.
fn entries(catalogue: &str) -> BTreeSet<u32> {
    let number = |line: &str| line.strip_prefix("**")?.split('.').next()?.parse().ok();
    catalogue.lines().filter_map(number).collect()
}

/// Which crate answers for which faults.
fn duties(catalogue: &str) -> Vec<(String, BTreeSet<u32>)> {
    let section = catalogue.split("## Who answers for what").nth(1).expect("it has that section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| cells(line, "| `"));
    rows.map(|(name, faults)| (name.trim_matches('`').to_owned(), numbers(faults))).collect()
}

/// The rows of the table at the head of a crate's suite.
fn table(krate: &str) -> Vec<(u32, String)> {
    let main: PathBuf = crate::root().join(krate).join("tests/suite/main.rs");
    let row = |line: &str| {
        let (number, name) = cells(line, "//! |")?;
        Some((number.parse().ok()?, name.trim_matches('`').to_owned()))
    };
    read(&main).lines().filter_map(row).collect()
}

/// What is out of step in one crate.
fn complaints(krate: &str, duty: &BTreeSet<u32>, entries: &BTreeSet<u32>) -> Vec<String> {
    let (tests, rows) = (suite(krate), table(krate));
    let all: BTreeSet<u32> = tests.values().flatten().copied().collect();
    let mut found = Vec::new();
    for fault in duty.difference(&all) {
        found.push(format!("{krate}: no test cites fault {fault}"));
    }
    for fault in all.difference(entries) {
        found.push(format!("{krate}: a test cites {fault}, which {CATALOGUE} does not have"));
    }
    if !rows.iter().map(|(fault, _)| fault).eq(duty) {
        found.push(format!("{krate}: its table has not one row for each of its faults, in order"));
    }
    for (fault, name) in rows {
        if !tests.get(&name).is_some_and(|cites| cites.contains(&fault)) {
            found.push(format!("{krate}: {name} is not there, or does not cite {fault}"));
        }
    }
    found
}

#[test]
fn every_fault_has_its_tests() {
    let catalogue = read(&crate::root().join(CATALOGUE));
    let (entries, duties) = (entries(&catalogue), duties(&catalogue));
    assert!(entries.iter().copied().eq(1..=48), "one entry a fault: {entries:?}");
    assert!(!duties.is_empty(), "somebody answers for them");
    let found: Vec<String> =
        duties.iter().flat_map(|(krate, duty)| complaints(krate, duty, &entries)).collect();
    crate::expect_none("faults", &found);
}

/// What reads must be able to see what is missing.
#[test]
fn citations_are_read_as_people_write_them() {
    let read = |line: &str| cited(line).into_iter().collect::<Vec<_>>();
    assert_eq!(read("// Scenario 7: damage"), [7]);
    assert_eq!(read("// Scenarios 15 and 45: the power"), [15, 45]);
    assert_eq!(
        read("// at every step (scenarios 12 to 15, 24 and 45), over"),
        [12, 13, 14, 15, 24, 45]
    );
    assert_eq!(read("// Scenario 14 with 45: a recovery"), [14, 45]);
    assert_eq!(read("// Scenario 18. In 3 of 4 cases"), [18]);
    assert_eq!(read("// Every scenario of a log"), [0; 0]);
    let text = "// Why 3.\n#[test]\nfn a() {}\n\n// Scenario 9: x\n// y\n#[test]\nfn b() {}\n";
    let found = tests("m", text);
    assert!(found["m::a"].is_empty() && found["m::b"].contains(&9));
}

/// A crate that does not do its duty must be named.
#[test]
fn a_fault_without_a_test_is_seen() {
    let entries = (1..=48).collect();
    let missing = complaints("wal", &BTreeSet::from([43]), &entries);
    assert!(missing.contains(&"wal: no test cites fault 43".to_owned()), "{missing:?}");
    assert_eq!(
        duties("## Who answers for what\n| `a` | 1 to 3 and 7 |\n\n## B\n| `b` | 4 |").len(),
        1
    );
}
