//! A seed that fails tells a command, and the command is the same run.

use std::process::Command;

/// Runs `kv-sim`; what it says of the seed that failed, and the arguments that it wants next time.
fn fail(arguments: &[String]) -> (String, Vec<String>) {
    let run = Command::new(env!("CARGO_BIN_EXE_kv-sim")).args(arguments).output();
    let run = run.expect("it was built for this test");
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success(), "{arguments:?} must fail");
    let command = text.split("to replay it: ").nth(1).and_then(|rest| rest.lines().next());
    let command = command.unwrap_or_else(|| panic!("no command in: {text}"));
    let words = command.split(" -- ").nth(1).expect("cargo is told where its own words end");
    let words = words.split_whitespace().map(str::to_owned).collect();
    (text, words)
}

// A command that leaves a flag out replays another run, which is sound.
#[test]
fn the_command_that_is_told_replays_the_failure() {
    let line = "--break early-answer --operations 900 --first 1 --seeds 20";
    let asked: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let (first, arguments) = fail(&asked);
    for flag in ["--operations 900", "--break early-answer", "--seeds 1"] {
        assert!(arguments.join(" ").contains(flag), "{flag} is not in {arguments:?}");
    }
    let (second, again) = fail(&arguments);
    assert_eq!(arguments, again);
    assert_eq!(said(&first), said(&second));
}

/// What was broken, without the number of the thread.
fn said(text: &str) -> &str {
    text.split_once("panicked at").expect("it panicked").1
}
