//! Every flag of etcd, one by one: it works, is idle and says so, or stops the start by its name.

use super::*;
use crate::config::{feature_gates, flags};

/// etcd's flags, each with a value that it takes.
const FLAGS: &str = include_str!("../../../tests/data/flags.txt");
const README: &str = include_str!("../../../README.md");

/// What became of a flag.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Works,
    Idle,
    Refused,
}

fn all() -> Vec<(&'static str, &'static str)> {
    let lines = FLAGS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').expect("a flag has a value")).collect()
}

fn fate(name: &str, value: &str) -> Fate {
    let mut words = vec![format!("--{name}={value}")];
    if name == "listen-client-urls" {
        words.push(format!("--advertise-client-urls={value}"));
    }
    match name {
        "discovery-token" => words.push("--discovery-endpoints=http://a.local:2379".to_owned()),
        "discovery-endpoints" => words.push("--discovery-token=wall".to_owned()),
        _ => {}
    }
    match read(words.iter().map(OsString::from), []) {
        Start::Print(text) if name == "version" => {
            assert!(text.starts_with("etcd Version"), "{text}");
            Fate::Works
        }
        Start::Serve(_, warnings) => {
            let idle = warnings.iter().filter(|it| it.contains("without effect")).count();
            assert!(idle <= 1, "one flag, one line: {warnings:?}");
            if idle == 1 { Fate::Idle } else { Fate::Works }
        }
        Start::Refuse(text, 1) => {
            let names_it = text.contains(name) || text.contains(value);
            assert!(names_it, "--{name}: {text}");
            Fate::Refused
        }
        other => panic!("--{name}: {other:?}"),
    }
}

// A flag that etcd knows and this server does not would stop a unit that has run for years.
#[test]
fn every_flag_of_etcd_has_a_fate() {
    let (idle, refused) = (flags::IDLE, flags::REFUSED);
    assert!(all().len() > 120, "etcd has that many");
    for (name, value) in all() {
        let now = name.strip_prefix("experimental-").unwrap_or(name);
        let is_in = |list: &[flags::Extra]| {
            list.iter().any(|extra| extra.name == name || extra.name == now)
        };
        let expected = match name {
            // It names no file that is there.
            "config-file" => Fate::Refused,
            _ if is_in(refused) => Fate::Refused,
            _ if is_in(idle) => Fate::Idle,
            _ => Fate::Works,
        };
        assert_eq!(fate(name, value), expected, "--{name}={value}");
    }
    // And none is listed as idle or refused that nobody knows.
    for extra in idle.iter().chain(refused) {
        assert!(all().iter().any(|(name, _)| *name == extra.name), "{} is no flag", extra.name);
    }
}

// What does nothing must be said where people look before they start.
#[test]
fn idle_and_refused_flags_stand_in_the_readme() {
    let row = |name: &str, why: &str| {
        let name = format!("`{name}`");
        README.lines().any(|line| {
            line.starts_with('|') && line.contains(&name) && line.ends_with(&format!("| {why} |"))
        })
    };
    for extra in flags::IDLE.iter().chain(flags::REFUSED) {
        assert!(row(extra.name, extra.help), "{}: {}", extra.name, extra.help);
    }
    for gate in feature_gates::GATES {
        assert!(row(gate.name, gate.here), "{}: {}", gate.name, gate.here);
    }
    // And nothing else stands there.
    let listed = |heading: &str| {
        let (_, section) = README.split_once(heading).expect("the section is there");
        let section = section.split("\n#").next().unwrap_or_default();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.split('|').nth(1).map_or(0, |cell| cell.matches('`').count() / 2)).sum()
    };
    let (idle, refused): (usize, usize) =
        (listed("### Flags without effect"), listed("### Flags that are refused"));
    assert_eq!(idle, flags::IDLE.len());
    assert_eq!(refused, flags::REFUSED.len());
    assert_eq!(listed("### Feature gates"), feature_gates::GATES.len());
}
