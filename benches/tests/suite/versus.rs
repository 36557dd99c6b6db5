//! The whole comparison, tiny, of our server with itself.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use drystone_benches::versus::SCENARIOS;

/// A build of our server in the profile of the tests, beside the programs under test.
fn our_server() -> PathBuf {
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
/// row for every size of cluster, and a verdict for every goal that found its figure.
#[test]
fn every_scenario_still_runs() {
    let server = our_server();
    let output = run(&server, "--scale 0.002 --rounds 1 --many-keys 300 --markdown");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("not measured"), "{text}\n{}", stderr(&output));
    assert!(!text.contains("no figure"), "{text}");
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    for scenario in SCENARIOS {
        for members in scenario.members {
            let size = members.to_string();
            let found = rows.iter().filter(|row| {
                row.len() > 4 && row[1] == scenario.name && row[2] == size && row[4] != "-"
            });
            assert!(found.count() > 0, "{} of {members}:\n{text}", scenario.name);
            for goal in scenario.goals {
                let found = text.lines().any(|line| {
                    line.starts_with("* ")
                        && line.contains(&format!("{}, {members} member", scenario.name))
                        && line.contains(goal.metric.name)
                });
                assert!(found, "{}, {}:\n{text}", scenario.name, goal.metric.name);
            }
        }
    }
}

/// The long one, short: it must fill, serve and come back.
#[test]
fn a_big_database_still_runs() {
    let output = run(&our_server(), "--big 1MiB --ours-flag=--storage-engine=lsm --scale 0.01");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("PASS big, 1 member, requests/s"), "{text}\n{}", stderr(&output));
}
