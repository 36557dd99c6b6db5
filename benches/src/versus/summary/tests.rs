//! Medians, ratios, verdicts and the table, on figures worked out by hand.

use super::*;
use crate::{latency::Percentiles, load::Report};

fn sample(per_second: f64, p99: u64, server_cpu_us: f64) -> Sample {
    let report = Report {
        workload: "put".into(),
        clients: 1,
        connections: 1,
        requests: 1000,
        errors: 0,
        first_error: None,
        seconds: 1.0,
        per_second,
        latency_us: Percentiles { mean: 10.0, p50: 10, p99, p999: 3 * p99, max: 9 * p99 },
        client_cpu_us_per_request: 5.0,
    };
    Sample {
        report,
        server_cpu_us,
        peak_rss_bytes: 64 << 20,
        written_bytes: 0.0,
        disk_bytes: 3 << 20,
        start_ms: 10.0,
    }
}

/// Three rounds on a machine that doubles its speed in the middle: no round is like another.
fn rounds() -> Rounds {
    Rounds {
        scenario: "put-100x100",
        samples: vec![
            vec![sample(100.0, 1000, 60.0), sample(200.0, 500, 60.0), sample(100.0, 1000, 50.0)],
            vec![sample(150.0, 900, 30.0), sample(320.0, 600, 24.0), sample(120.0, 800, 20.0)],
        ],
    }
}

const GOALS: Goals =
    Goals { scenario: "put-100x100", server_cpu_max: 0.4, throughput_min: 1.5, p99_max: 0.9 };

fn verdict_of(rounds: &Rounds, goals: &Goals) -> Vec<(bool, String)> {
    let verdicts = verdicts(std::slice::from_ref(rounds), goals);
    verdicts.into_iter().map(|verdict| (verdict.pass, verdict.to_string())).collect()
}

/// The middle must not depend on the order the figures came in, nor on how many there are.
#[test]
fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
    assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
    assert_eq!(Spread::of([4.0, 1.0, 2.0, 10.0]), Spread { min: 1.0, median: 3.0, max: 10.0 });
    assert_eq!(Spread::of([7.0]), Spread { min: 7.0, median: 7.0, max: 7.0 });
}

/// The ratio of the medians would compare a fast moment of one with a slow one of the other.
#[test]
fn ratios_are_taken_within_rounds() {
    let Spread { min, median, max } = rounds().ratio(1, &THROUGHPUT);
    assert_eq!((min, median, max), (1.2, 1.5, 1.6));
}

/// A goal that is just met is met; a hair beyond, it is not.
#[test]
fn goals_are_bounds_that_may_be_reached() {
    let texts = [
        "PASS put-100x100 server CPU us/request: 0.40x, goal <= 0.40x",
        "PASS put-100x100 requests/s: 1.50x, goal >= 1.50x",
        "PASS put-100x100 p99 ms: 0.90x, goal <= 0.90x",
    ];
    assert_eq!(verdict_of(&rounds(), &GOALS), texts.map(|text| (true, text.to_owned())));

    let stricter = Goals { server_cpu_max: 0.39, throughput_min: 1.51, p99_max: 0.89, ..GOALS };
    assert!(verdict_of(&rounds(), &stricter).iter().all(|(pass, _)| !pass));
}

/// Whoever did not run the scenario must not read that all is well.
#[test]
fn goals_of_a_scenario_that_was_not_run_have_no_verdict() {
    let other = Rounds { scenario: "count", ..rounds() };
    assert_eq!(verdict_of(&other, &GOALS), []);
}

/// It is pasted into the README as it is.
#[test]
fn the_table_is_markdown_and_lined_up() {
    let table = table(&[rounds()], &titles(&["etcd 3", "ours 3"]), Figures::Serving);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        &lines[..3],
        [
            "| scenario    | median of             | etcd 3 | ours 3 | ours/etcd |   min..max |",
            "| ----------- | --------------------- | -----: | -----: | --------: | ---------: |",
            "| put-100x100 | requests/s            |    100 |    150 |     1.50x | 1.20..1.60 |",
        ]
    );
    assert_eq!(lines.len(), 2 + 7);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
}

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// Everyone is compared with the first, and what nobody has written is the same for all.
#[test]
fn further_contenders_get_columns_of_their_own() {
    let mut rounds = rounds();
    rounds.samples.push(rounds.samples[0].clone());
    let titles = titles(&["memory", "btree", "lsm"]);
    let table = table(&[rounds], &titles, Figures::ServingAndStoring);
    let lines: Vec<_> = table.lines().collect();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        cells(lines[0])[3..9],
        ["memory", "btree", "btree/memory", "min..max", "lsm", "lsm/memory"]
    );
    assert_eq!(cells(lines[2])[7..10], ["100", "1.00x", "1.00..1.00"]);
    assert_eq!(cells(lines[9])[2..6], ["written B/request", "0", "0", "1.00x"]);
    assert_eq!(lines.len(), 2 + 10);
}
