//! A seed that fails tells a command, and the command is the same run.

use std::process::Command;

use drystone_raft_sim::DRIFT_PPM;

/// Runs `raft-sim`; what it says of the seed that failed, and the arguments that replay it.
fn fail(arguments: &[String]) -> (String, Vec<String>) {
    let run = Command::new(env!("CARGO_BIN_EXE_raft-sim")).args(arguments).output();
    let run = run.expect("it was built for this test");
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success(), "{arguments:?} must fail");
    let command = text.split("to replay it: ").nth(1).and_then(|rest| rest.lines().next());
    let command = command.unwrap_or_else(|| panic!("no command in: {text}"));
    let words = command.split(" -- ").nth(1).expect("cargo is told where its own words end");
    let words = words.split_whitespace().map(str::to_owned).collect();
    (text, words)
}

// A command that leaves a flag out replays another run, which is sound. Clocks that are wrong by
// far more than leases know are the one way to have sound code fail.
#[test]
fn the_command_that_is_told_replays_the_failure() {
    let wrong = (25 * DRIFT_PPM).to_string();
    let asked = ["--clocks", &wrong, "--seeds", "100000"].map(str::to_owned);
    let (first, arguments) = fail(&asked);
    for flag in [&format!("--clocks {wrong}"), "--seeds 1"] {
        assert!(arguments.join(" ").contains(flag), "{flag} is not in {arguments:?}");
    }
    let (second, again) = fail(&arguments);
    assert_eq!(arguments, again);
    assert_eq!(complaint(&first), complaint(&second));
}

/// Where and what was broken, in a line each.
fn complaint(text: &str) -> Vec<&str> {
    let (_, told) = text.split_once("panicked at").expect("it panicked");
    told.lines().take(2).collect()
}
