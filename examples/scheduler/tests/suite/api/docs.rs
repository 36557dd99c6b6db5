//! The manual of the API: its examples are tried.

use std::process::Command;

use super::Site;
use crate::support::{Kind, run};

const MANUAL: &str = include_str!("../../../docs/api.md");

/// An example that does not work is worse than none.
#[test]
fn examples_of_the_manual_are_true() {
    run("examples_of_the_manual_are_true", Kind::Ours, examples);
}

/// Blocks of `console` are commands after `$ `, each with what its answer holds: `…` stands for
/// anything.
async fn examples(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    site.node("n1", 4000, "127.0.0.1:1").await;
    let mut tried = 0;
    for block in MANUAL.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let mut commands = block.split("$ ").skip(1);
        while let Some((command, expected)) = commands.next().map(split) {
            let command = command.replace("127.0.0.1:7070", &site.address.to_string());
            let words = command.clone();
            // On another thread: this one answers.
            let shell = move || Command::new("sh").arg("-c").arg(words).output();
            let done = tokio::task::spawn_blocking(shell).await.unwrap().unwrap();
            let answer = String::from_utf8_lossy(&done.stdout).into_owned();
            check(&command, &answer, expected);
            tried += 1;
        }
    }
    assert!(tried >= 8, "the manual has examples: {tried}");
}

/// The command, which goes on as long as a quote is open, and what is below it.
fn split(text: &str) -> (String, &str) {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        if text[..end].matches('\'').count().is_multiple_of(2) {
            break;
        }
    }
    (text[..end].trim().to_owned(), text[end..].trim())
}

fn check(command: &str, answer: &str, expected: &str) {
    let mut rest = answer;
    for part in expected.split('…').map(str::trim).filter(|part| !part.is_empty()) {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => panic!("`{command}` answers {answer}, in which there is no {part}"),
        }
    }
}
