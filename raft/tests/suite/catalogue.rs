//! Keeps `docs/consensus-faults.md` and the tests in step: none of the scenarios can be lost.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Whether the test of this name is there, under a first line that cites the scenario.
fn cites(module: &str, name: &str, scenario: &str) -> bool {
    let text = read(&format!("tests/suite/{module}.rs"));
    let Some(at) = text.find(&format!("#[test]\nfn {name}() {{")) else { return false };
    let above: Vec<&str> = text[..at].lines().collect();
    let comment = above.iter().rev().take_while(|line| line.starts_with("//")).last();
    comment.is_some_and(|line| line.starts_with(&format!("// Scenario {scenario}:")))
}

// A list that nobody checks is wrong within a year.
#[test]
fn every_scenario_has_its_tests() {
    let text = read("../docs/consensus-faults.md");
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names: Vec<&str> = cells[2].split(", ").map(|name| name.trim_matches('`')).collect();
        for name in names {
            let (module, test) = name.split_once("::").expect("a test is called module::name");
            assert!(cites(module, test, cells[1]), "{name} does not cite scenario {}", cells[1]);
        }
        found.push(cells[1].to_owned());
    }
    let mut wanted: Vec<String> = (1..=52).map(|number| number.to_string()).collect();
    wanted.splice(47..47, ["47b".to_owned(), "47c".to_owned()]);
    assert_eq!(found, wanted, "54 scenarios, each once, in order");
}
