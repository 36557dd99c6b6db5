//! All scenarios, in the order of the tables, with the goals of our server.

use super::{
    Bound, Course, Data, Goal, Load, Metric, Scenario,
    sample::{
        P50, P99, PUTS_KEPT, RESTART, RSS, RSS_ADDED, SERVER_CPU, TAKEOVER_WORST, THROUGHPUT,
        WORST_ADDED,
    },
};

/// Requests of a run, before scaling, where nothing else ends it.
const REQUESTS: u64 = 60_000;

const ONE: &[usize] = &[1];
const THREE: &[usize] = &[3];
const BOTH: &[usize] = &[1, 3];

const fn goal(metric: Metric, bound: Bound) -> Goal {
    Goal { metric, bound }
}

const PUT_GOALS: &[Goal] = &[
    goal(SERVER_CPU, Bound::RatioMost(1.0 / 3.0)),
    goal(THROUGHPUT, Bound::RatioLeast(2.0)),
    goal(P99, Bound::RatioMost(0.5)),
];

const INDEX_GOALS: &[Goal] =
    &[goal(SERVER_CPU, Bound::RatioMost(1.0 / 50.0)), goal(P50, Bound::RatioMost(1.0 / 50.0))];

/// A load of [`REQUESTS`] on a store, for clusters of one and of three.
const fn load(name: &'static str, arguments: &'static str, data: Data) -> Scenario {
    let load = Load { arguments, size: 0, total: REQUESTS, seconds: 0.0, data };
    Scenario { name, course: Course::Load(load), members: BOTH, goals: &[], once: false }
}

/// The same with other totals.
const fn of_total(mut scenario: Scenario, of: u64) -> Scenario {
    if let Course::Load(load) = &mut scenario.course {
        load.total = of;
    }
    scenario
}

/// The same for so many seconds.
const fn of_seconds(mut scenario: Scenario, seconds: f64) -> Scenario {
    if let Course::Load(load) = &mut scenario.course {
        load.total = u64::MAX;
        load.seconds = seconds;
    }
    scenario
}

/// The same with so many watchers or leases.
const fn of_size(mut scenario: Scenario, size: u64) -> Scenario {
    if let Course::Load(load) = &mut scenario.course {
        load.size = size;
    }
    scenario
}

const fn with_goals(mut scenario: Scenario, goals: &'static [Goal]) -> Scenario {
    scenario.goals = goals;
    scenario
}

const fn of_one_member(mut scenario: Scenario) -> Scenario {
    scenario.members = ONE;
    scenario
}

const fn course(
    name: &'static str,
    course: Course,
    members: &'static [usize],
    goals: &'static [Goal],
) -> Scenario {
    Scenario { name, course, members, goals, once: false }
}

const fn once(mut scenario: Scenario) -> Scenario {
    scenario.once = true;
    scenario
}

const PUT_1: Scenario =
    of_total(load("put-1x1", "put --clients 1 --connections 1", Data::Empty), REQUESTS / 10);
const PUT_100: Scenario =
    with_goals(load("put-100x100", "put --clients 100 --connections 100", Data::Empty), PUT_GOALS);
const PUT_1000: Scenario = with_goals(
    load("put-1000x1000", "put --clients 1000 --connections 1000", Data::Empty),
    PUT_GOALS,
);
const RANGE_100: Scenario =
    load("range-100x100", "range --clients 100 --connections 100 --random", Data::Keys(10_000));
const RANGE_SERIALIZABLE: Scenario = load(
    "range-serializable",
    "range --serializable --clients 100 --connections 100 --random",
    Data::Keys(10_000),
);
const MIXED: Scenario =
    load("mixed", "mixed --clients 100 --connections 100 --random", Data::Fresh(10_000));
const TXN_MIXED: Scenario =
    load("txn-mixed", "txn-mixed --clients 100 --connections 100 --random", Data::Fresh(10_000));
const WATCH_KEY: Scenario = of_size(
    of_total(
        load(
            "watch-key",
            "watch --span one --clients {n} --connections 10 --key-space 1",
            Data::Empty,
        ),
        100,
    ),
    10_000,
);
const WATCH_MANY: Scenario = of_size(
    load(
        "watch-many",
        "watch --span one --writers 100 --clients {n} --connections 10 --key-space {n}",
        Data::Empty,
    ),
    100_000,
);
const LEASE: Scenario = of_size(
    of_seconds(
        load(
            "lease-keepalive",
            "lease-keepalive --clients 100 --connections 10 --leases {n}",
            Data::Empty,
        ),
        5.0,
    ),
    100_000,
);
const RANGE_LIMITED: Scenario = with_goals(
    of_one_member(of_seconds(
        load(
            "range-limited",
            "range --clients 10 --connections 10 --span all --limit 10",
            Data::ManyLargeKeys,
        ),
        5.0,
    )),
    INDEX_GOALS,
);
const COUNT: Scenario = with_goals(
    of_one_member(of_seconds(
        load(
            "count",
            "range --clients 10 --connections 10 --span all --count-only",
            Data::ManyLargeKeys,
        ),
        5.0,
    )),
    INDEX_GOALS,
);

/// Every scenario that real etcd is measured in, in the order of the table.
pub const SCENARIOS: [Scenario; 17] = [
    PUT_1,
    PUT_100,
    PUT_1000,
    RANGE_100,
    RANGE_SERIALIZABLE,
    MIXED,
    TXN_MIXED,
    WATCH_KEY,
    once(WATCH_MANY),
    once(LEASE),
    RANGE_LIMITED,
    COUNT,
    once(course("read-all", Course::ReadAll, ONE, &[goal(RSS_ADDED, Bound::Most(150.0))])),
    once(course(
        "million-keys",
        Course::Million,
        ONE,
        &[goal(RSS, Bound::RatioMost(0.5)), goal(RESTART, Bound::RatioMost(1.0 / 3.0))],
    )),
    course("compaction", Course::Compaction, ONE, &[goal(WORST_ADDED, Bound::Most(10.0))]),
    once(course("watcher-behind", Course::Behind, ONE, &[goal(PUTS_KEPT, Bound::Least(0.9))])),
    course("leader-kill", Course::LeaderKill, THREE, &[goal(TAKEOVER_WORST, Bound::Most(2000.0))]),
];

/// The one that is run only when it is asked for.
pub const BIG: Scenario =
    once(course("big", Course::Big, ONE, &[goal(THROUGHPUT, Bound::Least(1.0))]));

/// Every scenario that the storage engines are measured in: some of etcd's, and some in which the
/// engine has more to do, be it writing out what was journaled or finding records among many.
pub const ENGINE_SCENARIOS: [Scenario; 8] = [
    PUT_1,
    PUT_100,
    of_total(
        load(
            "put-rewrite",
            "put --clients 100 --connections 100 --val-size 1024 --key-space 20000 --random",
            Data::Empty,
        ),
        300_000,
    ),
    TXN_MIXED,
    RANGE_100,
    load("range-many", "range --clients 100 --connections 100 --random", Data::ManyKeys),
    of_total(
        load(
            "range-1000",
            "range --clients 10 --connections 10 --random --span rest --limit 1000",
            Data::ManyKeys,
        ),
        5_000,
    ),
    RANGE_LIMITED,
];

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;
    use crate::load::{Options, Workload};

    #[derive(Parser)]
    struct LoadArguments {
        #[command(subcommand)]
        workload: Workload,
        #[command(flatten)]
        options: Options,
    }

    fn parse(scenario: Scenario, scale: f64) -> Option<LoadArguments> {
        let Course::Load(load) = scenario.course else { return None };
        let arguments = load.arguments(scale, 300_000);
        let arguments = std::iter::once("load".to_owned()).chain(arguments);
        let matches = LoadArguments::command().try_get_matches_from(arguments).unwrap();
        Some(LoadArguments::from_arg_matches(&matches).unwrap())
    }

    fn options(name: &str, scale: f64) -> Options {
        parse(Scenario::named(name, &SCENARIOS).unwrap(), scale).unwrap().options
    }

    /// A misspelt flag would be found only after half an hour of measuring.
    #[test]
    fn load_understands_every_scenario() {
        for scenario in SCENARIOS.into_iter().chain(ENGINE_SCENARIOS) {
            for scale in [1.0, 0.1, 0.001] {
                let Some(LoadArguments { workload, options }) = parse(scenario, scale) else {
                    continue;
                };
                workload.check(&options).unwrap();
                assert_eq!(options.key_size, 32, "{}", scenario.name);
                options.key_space().unwrap();
            }
        }
        for scenario in SCENARIOS {
            assert_eq!(Scenario::named(scenario.name, &SCENARIOS), Some(scenario));
            if let Some(LoadArguments { options, .. }) = parse(scenario, 1.0) {
                assert_eq!(options.val_size, 256, "{}", scenario.name);
            }
        }
    }

    /// However short the run, it must make a request.
    #[test]
    fn scaled_runs_are_shorter_but_never_empty() {
        assert_eq!(options("put-100x100", 0.1).total.get(), REQUESTS / 10);
        assert_eq!(options("put-100x100", 0.0).total.get(), 1);
        assert!((options("count", 0.1).seconds - 0.5).abs() < 1e-9);
        assert!(options("count", 0.0).seconds > 0.0);
        assert_eq!(options("watch-many", 0.01).clients.get(), 1000);
        assert_eq!(options("watch-many", 0.01).key_space, 1000);
    }

    /// A goal on a figure that the course does not take would always be missed.
    #[test]
    fn names_differ_and_only_known_sizes_are_asked_for() {
        let mut names: Vec<_> = SCENARIOS.iter().chain([&BIG]).map(|one| one.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len() + 1);
        let known = |scenario: &Scenario| scenario.members.iter().all(|size| BOTH.contains(size));
        assert!(SCENARIOS.iter().all(known));
    }
}
