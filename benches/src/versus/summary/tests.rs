//! Medians, ratios and the table, on figures worked out by hand.

use super::{
    super::{
        SCENARIOS,
        sample::{P99, THROUGHPUT},
    },
    *,
};

fn sample(per_second: f64, p99: f64) -> Sample {
    Sample::default().with(THROUGHPUT, per_second).with(P99, p99).with(WRITTEN, 0.0)
}

/// Three rounds on a machine that doubles its speed in the middle: no round is like another.
fn rounds() -> Rounds {
    Rounds {
        scenario: Scenario::named("put-100x100", &SCENARIOS).unwrap(),
        members: 3,
        samples: vec![
            vec![sample(100.0, 1.0), sample(200.0, 0.5), sample(100.0, 1.0)],
            vec![sample(150.0, 0.9), sample(320.0, 0.6), sample(120.0, 0.001)],
        ],
    }
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
    let Spread { min, median, max } = rounds().ratio(1, 0, THROUGHPUT).unwrap();
    assert_eq!((min, median, max), (1.2, 1.5, 1.6));
}

/// It is pasted into the README as it is.
#[test]
fn the_table_is_markdown_and_lined_up() {
    let table = table(&[rounds()], &names(&["etcd-3", "ours 3"]), &[(1, 0)], Figures::Serving);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(
        lines,
        [
            "| scenario    | members | median of  | etcd-3 | ours 3 | ours/etcd-3 |     min..max |",
            "| ----------- | ------- | ---------- | -----: | -----: | ----------: | -----------: |",
            "| put-100x100 | 3       | requests/s |    100 |    150 |       1.50x |   1.20..1.60 |",
            "| put-100x100 | 3       | p99 ms     |  1.000 |  0.600 |       0.90x | 0.0010..1.20 |",
        ]
    );
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A ratio stands behind the one that is divided, and what nobody has written is the same for all.
#[test]
fn everyone_has_columns_for_whom_it_is_compared_with() {
    let mut rounds = rounds();
    rounds.samples.push(rounds.samples[0].clone());
    let names = names(&["etcd-3.4", "etcd-3.5", "ours 3.6"]);
    let pairs = [(2, 0), (2, 1)];
    let table = table(&[rounds], &names, &pairs, Figures::ServingAndStoring);
    let lines: Vec<_> = table.lines().collect();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        cells(lines[0])[4..11],
        [
            "etcd-3.4",
            "etcd-3.5",
            "ours 3.6",
            "ours/etcd-3.4",
            "min..max",
            "ours/etcd-3.5",
            "min..max"
        ]
    );
    assert_eq!(cells(lines[2])[6..10], ["100", "1.00x", "1.00..1.00", "0.67x"]);
    assert_eq!(cells(lines[4])[3..8], ["written B/request", "0", "0", "0", "1.00x"]);
}

/// Whoever did not take part has no figures, and the others keep theirs.
#[test]
fn who_did_not_take_part_has_dashes() {
    let mut rounds = rounds();
    rounds.samples[0].clear();
    assert_eq!(rounds.ratio(1, 0, THROUGHPUT), None);
    let table = table(&[rounds], &names(&["etcd-3", "ours 3"]), &[(1, 0)], Figures::Serving);
    assert!(table.contains("| requests/s |      - |    150 |           - |        - |"), "{table}");
}
