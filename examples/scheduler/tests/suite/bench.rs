//! `mason bench`, small: that it measures what it says, so that its figures can be made again.

use std::process::Command;

/// What a measurement printed, if it was content.
fn bench(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mason"));
    command.args(["bench", "--no-goals"]).args(words);
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {}\n{text}\n{error}", out.status);
    text
}

/// The figure on the line that begins so.
fn figure(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|it| it.strip_prefix(line));
    let found = found.unwrap_or_else(|| panic!("no line begins with {line:?}:\n{text}"));
    found.split_whitespace().next().unwrap().parse().unwrap()
}

/// Every task of an array must have been bound, claimed and reported: the command waits for that,
/// and a hollow node that forgets one lets it wait for ever.
#[test]
fn an_array_is_bound_to_hollow_nodes_and_reported() {
    let words = ["binds", "--nodes", "40", "--tasks", "600"];
    let text = bench(&words);
    assert!(figure(&text, "binds: 600 on 40, ours") > 1.0, "{text}");
    assert!(text.contains("all claimed and reported running"), "{text}");
    assert!(!text.contains("refused or lost"), "{text}");
}

/// What ends at once goes all the way: result, marks, and the slot is free again.
#[test]
fn what_hollow_nodes_end_is_over() {
    let words = ["array", "--nodes", "20", "--tasks", "300", "--end"];
    let text = bench(&words);
    assert!(figure(&text, "array: 300 on 20, ours, ending, all bound") > 0.0, "{text}");
    assert!(figure(&text, "array: 300 on 20, ours, ending, server's memory") > 1.0, "{text}");
}

/// A server's idle memory is a figure people choose by.
#[test]
fn an_idle_server_has_a_size() {
    let text = bench(&["idle", "--server-only", "--seconds", "1"]);
    assert!(figure(&text, "idle server: memory") > 1.0, "{text}");
}

/// Placement is measured by `mason-core`; the command must not lose its verdict.
#[test]
fn placement_prints_its_table() {
    let words = ["placement", "--percent", "1", "--only", "one array"];
    let text = bench(&words);
    assert!(text.contains("basic, one array"), "{text}");
}
