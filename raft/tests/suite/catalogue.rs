//! Keeps `docs/consensus-faults.md`, the stories and the tests in step: no scenario can be lost.
//!
//! ```text
//!   docs/consensus-faults.md        | 13 | A member that … | thesis §9.6 | told by |
//!   tests/scripts/*/*.txt           # Scenario 13 (thesis §9.6).      a story that cites it
//!   tests/suite/*.rs                // Scenario 36: …                 a test that does
//! ```
//!
//! The last column is written from what is cited: `UPDATE=1` does so, and without it this fails
//! when the page is behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a story or a test is called on the page, and the scenarios that it cites.
type Cited = BTreeMap<String, BTreeSet<String>>;

fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names in a folder, without their extension, in order.
#[expect(clippy::disallowed_methods, reason = "sources are read, not stored data")]
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// The names of all scenarios, in order.
fn all() -> Vec<String> {
    let mut all: Vec<String> = (1..=52).map(|number: u32| number.to_string()).collect();
    all.splice(47..47, ["47b".to_owned(), "47c".to_owned()]);
    all
}

/// A scenario's name, if the word is one: a number, perhaps with a letter.
fn name(word: &str) -> Option<&str> {
    let word = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (number && word.len() <= digits.len() + 1).then_some(word)
}

/// The scenarios that a comment cites: `Scenario 47b: …`, `Scenarios 13 and 15 (…)`.
fn cited(comment: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in comment.split("Scenario").skip(1) {
        for word in part.trim_start_matches('s').split_whitespace() {
            match name(word) {
                Some(name) => found.insert(name.to_owned()),
                None if word == "and" => continue,
                None => break,
            };
            if !word.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ',') {
                break;
            }
        }
    }
    found
}

/// The tests of one file, and what the comment above each cites.
fn tests(module: &str, text: &str) -> Cited {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Cited::new();
    let is_test = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    for (i, _) in lines.iter().enumerate().filter(|(_, line)| is_test(line)) {
        let name = lines[i + 1..]
            .iter()
            .find_map(|line| line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")));
        let name = name.expect("a function stands below its attribute");
        let name = format!("`{module}::{}`", name.split('(').next().unwrap_or(name));
        let above = lines[..i].iter().rev().take_while(|line| line.starts_with("//"));
        let comment: Vec<&str> = above.map(|line| line.trim_start_matches('/')).collect();
        found.insert(name, cited(&comment.into_iter().rev().collect::<String>()));
    }
    found
}

/// All stories, by room, with what the paragraph that each begins with cites.
fn stories() -> BTreeMap<(String, String), BTreeSet<String>> {
    let scripts = path("tests/scripts");
    let mut found = BTreeMap::new();
    for room in names(&scripts).into_iter().filter(|room| room != "README") {
        for story in names(&scripts.join(&room)) {
            let text = read(&scripts.join(&room).join(&story).with_extension("txt"));
            let comment = text.lines().take_while(|line| line.starts_with('#'));
            let comment: String = comment.map(|line| line.trim_start_matches('#')).collect();
            found.insert((room.clone(), story), cited(&comment));
        }
    }
    found
}

/// Everything that tells a scenario.
fn suite() -> Cited {
    let linked = |((room, story), cites): ((String, String), _)| {
        (format!("[{story}](../raft/tests/scripts/{room}/{story}.txt)"), cites)
    };
    let mut found: Cited = stories().into_iter().map(linked).collect();
    let folder = path("tests/suite");
    for module in names(&folder) {
        let file = folder.join(&module).with_extension("rs");
        if file.exists() {
            found.extend(tests(&module, &read(&file)));
        }
    }
    found
}

/// The cells of a row of the page, if the line is one.
fn row(line: &str) -> Option<(String, [&str; 3])> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let number = name(cells.next()?)?.to_owned();
    Some((number, [cells.next()?, cells.next()?, cells.next()?]))
}

/// The page with its last column as it should be.
fn brought_up_to_date(page: &str, suite: &Cited) -> String {
    let mut text = String::new();
    for line in page.lines() {
        if let Some((number, [claim, seen, _])) = row(line) {
            let tells = suite.iter().filter(|(_, cites)| cites.contains(&number));
            let told: Vec<&str> = tells.map(|(name, _)| name.as_str()).collect();
            text += &format!("| {number} | {claim} | {seen} | {} |", told.join(", "));
        } else {
            text += line;
        }
        text.push('\n');
    }
    text
}

/// What is out of step.
fn complaints(page: &str, suite: &Cited) -> Vec<String> {
    let mut found = Vec::new();
    let rows: Vec<(String, [&str; 3])> = page.lines().filter_map(row).collect();
    if !rows.iter().map(|(number, _)| number).eq(&all()) {
        found.push("there is not one row for each scenario, in order".to_owned());
    }
    for (name, cites) in suite {
        let strange = cites.iter().filter(|cite| !all().contains(cite));
        found.extend(strange.map(|cite| format!("{name} cites {cite}, which is not there")));
    }
    for number in all() {
        if !suite.values().any(|cites| cites.contains(&number)) {
            found.push(format!("nothing tells scenario {number}"));
        }
    }
    let right = brought_up_to_date(page, suite);
    let unread = suite.keys().filter(|name| name.starts_with('[') && !right.contains(*name));
    found.extend(unread.map(|name| format!("{name} is not on the page")));
    for (is, should) in page.lines().zip(right.lines()).filter(|(is, should)| is != should) {
        found.push(format!("`{is}` should be `{should}`; UPDATE=1 makes it so"));
    }
    found
}

// A list that nobody checks is wrong within a year.
#[test]
#[expect(clippy::disallowed_methods, reason = "a page is written, not stored data")]
fn every_scenario_is_told() {
    let page = path("../docs/consensus-faults.md");
    let (mut text, suite) = (read(&page), suite());
    if std::env::var_os("UPDATE").is_some() {
        text = brought_up_to_date(&text, &suite);
        std::fs::write(&page, &text).unwrap();
    }
    let found = complaints(&text, &suite);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

// A story that nobody plays is not a test.
#[test]
fn every_story_is_played() {
    let listed = read(&path("tests/suite/stories.rs"));
    let mut room = "";
    let mut played = BTreeSet::new();
    for line in listed.lines().skip_while(|line| *line != "stories! {").skip(1) {
        match line.trim().strip_suffix(" {") {
            Some(name) => room = name,
            None => played.extend([(room.to_owned(), line.trim().to_owned())]),
        }
    }
    for story in stories().keys() {
        assert!(played.contains(story), "{story:?} is missing in stories.rs");
    }
}

// What reads must be able to see what is missing.
#[test]
fn scenarios_are_read_as_people_write_them() {
    let read = |line: &str| cited(line).into_iter().collect::<Vec<_>>();
    assert_eq!(read("Scenario 7: damage"), ["7"]);
    assert_eq!(read("Scenario 47b: hashicorp/raft #212."), ["47b"]);
    assert_eq!(read("Scenarios 13, 15 and 47c (thesis §9.6)."), ["13", "15", "47c"]);
    assert_eq!(read("why. Scenario 9 (openraft #1802). After 3 words"), ["9"]);
    assert_eq!(read("Every scenario of a log"), [""; 0]);
    let found = tests("m", "// Why: for\n// ever. Scenario 9: x\n#[test]\nfn b() {}\n");
    assert!(found["`m::b`"].contains("9"));
    let mut page = String::new();
    for number in all() {
        page += &format!("| {number} | claim | paper | |\n");
    }
    let suite = Cited::from([
        ("`d::a`".to_owned(), ["48", "99"].map(str::to_owned).into()),
        ("[e](f)".to_owned(), BTreeSet::new()),
    ]);
    let found = complaints(&page, &suite);
    assert!(found.contains(&"[e](f) is not on the page".to_owned()), "{found:?}");
    assert!(found.contains(&"nothing tells scenario 49".to_owned()), "{found:?}");
    assert!(found.contains(&"`d::a` cites 99, which is not there".to_owned()), "{found:?}");
    assert!(found.iter().any(|it| it.contains("should be `| 48 | claim | paper | `d::a` |`")));
}
