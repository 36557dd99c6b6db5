//! The whole comparison, tiny, of our server with itself.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use drystone_benches::versus::{SCENARIOS, Scenario};

/// The server that `DRYSTONE_ETCD_BIN` names, or a build in the profile of the tests, beside the
/// programs under test.
fn our_server() -> PathBuf {
    if let Some(server) = std::env::var_os("DRYSTONE_ETCD_BIN") {
        return server.into();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-versus"));
    let target = program.parent().and_then(Path::parent).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "drystone-etcd", "--bin", "drystone-etcd"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "cargo builds our server");
    target.join("debug/drystone-etcd")
}

fn run(server: &Path, arguments: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_etcd-versus"))
        .arg("--etcd")
        .arg(server)
        .arg("--ours")
        .arg(server)
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let (text, log) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(matches!(output.status.code(), Some(0 | 2)), "{}:\n{text}\n{log}", output.status);
    output
}

fn stderr(output: &Output) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&output.stderr)
}

/// What is run once a month by hand rots in between: every scenario must come to its end, have a
/// row, and a verdict for every goal that found its figure.
#[test]
fn every_scenario_still_runs() {
    let output =
        run(&our_server(), "--members 1 --scale 0.002 --rounds 1 --many-keys 300 --markdown");
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.members.contains(&1)) {
        is_in(&output, scenario, 1);
    }
}

/// Clusters come up, are loaded, and lose their leader. Not every scenario is run for them: an
/// election takes its time.
#[test]
fn clusters_still_run() {
    let scenarios = ["put-1x1", "leader-kill"];
    let arguments = "--members 3 --scale 0.002 --rounds 1 --markdown";
    let arguments = scenarios.iter().fold(arguments.to_owned(), |arguments, scenario| {
        format!("{arguments} --scenario {scenario}")
    });
    let output = run(&our_server(), &arguments);
    for scenario in SCENARIOS.iter().filter(|scenario| scenarios.contains(&scenario.name)) {
        is_in(&output, scenario, 3);
    }
}

/// Whether the table has a row of a scenario, and the verdicts all its goals.
fn is_in(output: &Output, scenario: &Scenario, members: usize) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("not measured"), "{text}\n{}", stderr(output));
    assert!(!text.contains("no figure"), "{text}");
    let size = members.to_string();
    let mut rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let found =
        rows.any(|row| row.len() > 4 && row[1] == scenario.name && row[2] == size && row[4] != "-");
    assert!(found, "{} of {members}:\n{text}", scenario.name);
    for goal in scenario.goals {
        let found = text.lines().any(|line| {
            line.starts_with("* ")
                && line.contains(&format!("{}, {members} member", scenario.name))
                && line.contains(goal.metric.name)
        });
        assert!(found, "{}, {}:\n{text}", scenario.name, goal.metric.name);
    }
}

/// The long one, short: it must fill, serve and come back.
#[test]
fn a_big_database_still_runs() {
    let output = run(&our_server(), "--big 1MiB --ours-flag=--storage-engine=lsm --scale 0.01");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("PASS big, 1 member, requests/s"), "{text}\n{}", stderr(&output));
}
