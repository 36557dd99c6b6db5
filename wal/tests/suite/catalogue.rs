//! Keeps the catalogue of faults, the table of their tests and the tests themselves in step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Cited = BTreeMap<String, BTreeSet<u32>>;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The sources in a folder of this crate, and the module that each is.
pub(crate) fn sources_of(folder: &str) -> Vec<(String, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "")
}

/// Every source file in a folder, and the module that it is.
#[expect(clippy::disallowed_methods, reason = "the test reads its own sources")]
fn sources(folder: &Path, module: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = format!("{module}{name}");
        if path.is_dir() {
            found.extend(sources(&path, &format!("{module}::")));
        } else {
            found.push((module, read(&path)));
        }
    }
    found
}

/// The numbers behind "scenario" in one line: `Scenarios 1, 3 to 5 and 9`.
fn numbers(line: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let lower = line.to_lowercase();
    for (at, word) in lower.match_indices("scenario") {
        let rest = lower[at + word.len()..].trim_start_matches('s');
        let (mut last, mut ranges) = (None, false);
        for word in rest.split_whitespace() {
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
    }
    found
}

/// The tests in one file, and what the first comment line above each cites.
fn tests(module: &str, text: &str) -> Cited {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Cited::new();
    for (i, _) in lines.iter().enumerate().filter(|(_, line)| **line == "#[test]") {
        let name = lines[i + 1..].iter().find_map(|line| line.strip_prefix("fn ")).unwrap();
        let name = format!("{module}::{}", name.split('(').next().unwrap());
        let comments = lines[..i].iter().rev().take_while(|line| line.starts_with("//"));
        let first = comments.last().copied().unwrap_or_default();
        found.insert(name, numbers(first));
    }
    found
}

fn all_tests() -> Cited {
    sources(&here(), "").iter().flat_map(|(module, text)| tests(module, text)).collect()
}

/// The numbers that the catalogue has an entry for.
fn entries() -> BTreeSet<u32> {
    let text = read(&here().join("../../../docs/faults.md"));
    let number = |line: &str| line.strip_prefix("**")?.split('.').next()?.parse().ok();
    text.lines().filter_map(number).collect()
}

/// The rows of the table at the head of the suite.
fn table() -> Vec<(u32, String)> {
    let text = read(&here().join("main.rs"));
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
        let number = cells.next()?.parse().ok()?;
        Some((number, cells.next()?.trim_matches('`').to_owned()))
    };
    text.lines().filter_map(row).collect()
}

// A fault without a test is a hope.
#[test]
fn every_fault_has_a_test_that_cites_it() {
    let entries = entries();
    let expected: Vec<u32> = (1..=21).chain(24..=28).chain([45, 47, 48]).collect();
    assert!(entries.iter().copied().eq(expected), "the catalogue: {entries:?}");
    let tests = all_tests();
    let cited: BTreeSet<u32> = tests.values().flatten().copied().collect();
    let untested: Vec<&u32> = entries.difference(&cited).collect();
    assert!(untested.is_empty(), "no test cites {untested:?}");
    let unknown: Vec<&u32> = cited.difference(&entries).collect();
    assert!(unknown.is_empty(), "tests cite {unknown:?}, which the catalogue does not have");
}

// A table that is not checked is wrong within a year.
#[test]
fn the_table_names_a_test_for_every_fault() {
    let (rows, tests) = (table(), all_tests());
    assert!(rows.iter().map(|(number, _)| *number).eq(entries()), "one row for each fault");
    for (number, name) in rows {
        let cited = tests.get(&name).unwrap_or_else(|| panic!("{name} is not there"));
        assert!(cited.contains(&number), "{name} does not cite {number} in its first line");
    }
}

// What reads must be able to see what is missing.
#[test]
fn citations_are_read_as_people_write_them() {
    let read = |line: &str| numbers(line).into_iter().collect::<Vec<_>>();
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
