//! Verdicts on figures worked out by hand.

use super::{
    super::{
        Course, Sample, Scenario,
        sample::{P99, RSS_ADDED, SERVER_CPU},
    },
    *,
};

const GOALS: &[Goal] = &[
    Goal { metric: SERVER_CPU, bound: Bound::RatioMost(0.4) },
    Goal { metric: THROUGHPUT, bound: Bound::RatioLeast(1.5) },
    Goal { metric: P99, bound: Bound::RatioMost(0.9) },
    Goal { metric: RSS_ADDED, bound: Bound::Most(150.0) },
];

const STRICTER: &[Goal] = &[
    Goal { metric: SERVER_CPU, bound: Bound::RatioMost(0.39) },
    Goal { metric: THROUGHPUT, bound: Bound::RatioLeast(1.51) },
    Goal { metric: P99, bound: Bound::RatioMost(0.89) },
    Goal { metric: RSS_ADDED, bound: Bound::Most(149.0) },
];

fn sample(per_second: f64, p99: f64, cpu: f64, (server, client): (f64, f64)) -> Sample {
    Sample::default()
        .with(THROUGHPUT, per_second)
        .with(P99, p99)
        .with(SERVER_CPU, cpu)
        .with(RSS_ADDED, 150.0)
        .with(SERVER_CORES, server)
        .with(CLIENT_CORES, client)
}

fn rounds(goals: &'static [Goal], ours_busy: (f64, f64)) -> Rounds {
    let course = Course::ReadAll;
    Rounds {
        scenario: Scenario { name: "x", course, members: &[3], goals, once: false },
        members: 3,
        samples: vec![
            vec![sample(100.0, 1.0, 60.0, (1.5, 0.5))],
            vec![sample(150.0, 0.9, 24.0, ours_busy)],
        ],
    }
}

fn texts(rounds: &Rounds, names: &[&str]) -> Vec<String> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let verdicts = verdicts(std::slice::from_ref(rounds), &names, 2);
    verdicts.iter().map(ToString::to_string).collect()
}

/// A goal that is just met is met; a hair beyond, it is not.
#[test]
fn goals_are_bounds_that_may_be_reached() {
    assert_eq!(
        texts(&rounds(GOALS, (0.9, 0.5)), &["etcd", "ours"]),
        [
            "PASS x, 3 members, server CPU us/request: 0.400x of etcd, goal <= 0.40x",
            "PASS x, 3 members, requests/s: 1.500x of etcd, goal >= 1.50x",
            "PASS x, 3 members, p99 ms: 0.900x of etcd, goal <= 0.90x",
            "PASS x, 3 members, added RSS MB: 150, goal <= 150",
        ]
    );
    let stricter = texts(&rounds(STRICTER, (0.9, 0.5)), &["etcd", "ours"]);
    assert!(stricter.iter().all(|text| text.starts_with("FAIL")), "{stricter:?}");
}

/// A throughput that the client held down says nothing; one that our server held down does.
#[test]
fn a_missed_throughput_is_void_only_where_the_client_had_most_of_full_cores() {
    for (busy, word) in [((0.9, 1.0), "VOID"), ((1.0, 0.9), "FAIL"), ((0.8, 0.8), "FAIL")] {
        let texts = texts(&rounds(STRICTER, busy), &["etcd", "ours"]);
        assert!(texts[1].starts_with(word), "{busy:?}: {}", texts[1]);
        assert!(texts[2].starts_with("FAIL"), "the client excuses no other figure");
    }
    let met = texts(&rounds(GOALS, (0.9, 1.0)), &["etcd", "ours"]);
    assert!(met[1].starts_with("PASS"), "{}", met[1]);
}

/// One release of etcd must not hide behind the other.
#[test]
fn every_peer_has_a_verdict_of_its_own() {
    let mut rounds = rounds(GOALS, (0.9, 0.5));
    rounds.samples.insert(1, vec![sample(140.0, 1.0, 60.0, (1.0, 0.5))]);
    let texts = texts(&rounds, &["old", "new", "ours"]);
    assert_eq!(texts.len(), 3 * 2 + 1);
    assert_eq!(texts[3], "FAIL x, 3 members, requests/s: 1.071x of new, goal >= 1.50x");
}

/// A figure that was not taken is no figure that is good.
#[test]
fn a_goal_without_a_figure_is_missed() {
    let mut rounds = rounds(GOALS, (0.9, 0.5));
    rounds.samples[1] = vec![Sample::default()];
    let texts = texts(&rounds, &["etcd", "ours"]);
    assert!(texts.iter().all(|text| text.starts_with("FAIL") && text.contains("no figure")));
}
