//! The loads to compare under.

/// Requests of a run, before scaling, where nothing else ends it.
const REQUESTS: u64 = 100_000;

/// One kind of load, always the same for both servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Short name, as on the command line.
    pub name: &'static str,
    /// Arguments of `load`.
    arguments: &'static str,
    /// Requests of a run.
    total: u64,
    /// Seconds of a run, for loads where one server may be a thousand times slower; 0 for no limit.
    seconds: u64,
    /// What the store holds when the run begins.
    data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// Nothing, and it is thrown away afterwards.
    Empty,
    /// A fixed number of keys, only read.
    Keys(u64),
    /// As many keys as the user asked for, only read.
    ManyKeys,
}

/// Every scenario that real etcd is measured in, in the order of the table.
pub const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "put-1x1",
        arguments: "put --clients 1 --connections 1",
        total: REQUESTS / 10,
        seconds: 0,
        data: Data::Empty,
    },
    Scenario {
        name: "put-100x100",
        arguments: "put --clients 100 --connections 100",
        total: REQUESTS,
        seconds: 0,
        data: Data::Empty,
    },
    Scenario {
        name: "put-1000x1000",
        arguments: "put --clients 1000 --connections 1000",
        total: REQUESTS,
        seconds: 0,
        data: Data::Empty,
    },
    Scenario {
        name: "range-100x100",
        arguments: "range --clients 100 --connections 100 --random",
        total: REQUESTS,
        seconds: 0,
        data: Data::Keys(10_000),
    },
    Scenario {
        name: "range-limited",
        arguments: "range --clients 10 --connections 10 --span all --limit 10",
        total: u64::MAX,
        seconds: 5,
        data: Data::ManyKeys,
    },
    Scenario {
        name: "count",
        arguments: "range --clients 10 --connections 10 --span all --count-only",
        total: u64::MAX,
        seconds: 5,
        data: Data::ManyKeys,
    },
];

/// Every scenario that the storage engines are measured in: some of etcd's, and some in which the
/// engine has more to do, be it writing out what was journaled or finding records among many.
pub const ENGINE_SCENARIOS: [Scenario; 8] = [
    SCENARIOS[0],
    SCENARIOS[1],
    Scenario {
        name: "put-rewrite",
        arguments: "put --clients 100 --connections 100 --val-size 1024 --key-space 20000 --random",
        total: 3 * REQUESTS,
        seconds: 0,
        data: Data::Empty,
    },
    Scenario {
        name: "txn-mixed",
        arguments: "txn-mixed --clients 100 --connections 100 --random --key-space 10000",
        total: REQUESTS,
        seconds: 0,
        data: Data::Empty,
    },
    SCENARIOS[3],
    Scenario {
        name: "range-many",
        arguments: "range --clients 100 --connections 100 --random",
        total: REQUESTS,
        seconds: 0,
        data: Data::ManyKeys,
    },
    Scenario {
        name: "range-1000",
        arguments: "range --clients 10 --connections 10 --random --span rest --limit 1000",
        total: REQUESTS / 20,
        seconds: 0,
        data: Data::ManyKeys,
    },
    SCENARIOS[4],
];

impl Scenario {
    /// The one of that name in `scenarios`.
    #[must_use]
    pub fn named(name: &str, scenarios: &[Scenario]) -> Option<Scenario> {
        scenarios.iter().find(|scenario| scenario.name == name).copied()
    }

    /// Keys the store must hold before the run; `None` for an empty store.
    #[must_use]
    pub fn keys(&self, many_keys: u64) -> Option<u64> {
        match self.data {
            Data::Empty => None,
            Data::Keys(keys) => Some(keys),
            Data::ManyKeys => Some(many_keys),
        }
    }

    /// Arguments of `load` for a run of `scale` times the usual length.
    #[must_use]
    pub fn load(&self, scale: f64, many_keys: u64) -> Vec<String> {
        let mut arguments: Vec<_> = self.arguments.split(' ').map(str::to_owned).collect();
        if self.seconds == 0 {
            let total = (self.total as f64 * scale).ceil().max(1.0);
            arguments.extend(["--total".to_owned(), format!("{total}")]);
        } else {
            let seconds = (self.seconds as f64 * scale).ceil().max(1.0);
            arguments.extend(["--total".to_owned(), self.total.to_string()]);
            arguments.extend(["--seconds".to_owned(), format!("{seconds}")]);
        }
        if let Some(keys) = self.keys(many_keys) {
            arguments.extend(["--key-space".to_owned(), keys.to_string()]);
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;
    use crate::load::{Options, Workload};

    #[derive(Parser)]
    struct Load {
        #[command(subcommand)]
        _workload: Workload,
        #[command(flatten)]
        options: Options,
    }

    fn parse(scenario: Scenario, scale: f64) -> Options {
        let arguments = scenario.load(scale, 300_000);
        let arguments = std::iter::once("load".to_owned()).chain(arguments);
        let matches = Load::command().try_get_matches_from(arguments).unwrap();
        Load::from_arg_matches(&matches).unwrap().options
    }

    /// A misspelt flag would be found only after half an hour of measuring.
    #[test]
    fn load_understands_every_scenario() {
        for scenario in SCENARIOS.into_iter().chain(ENGINE_SCENARIOS) {
            let options = parse(scenario, 1.0);
            assert_eq!(options.total.get(), scenario.total, "{}", scenario.name);
            assert_eq!(options.seconds, scenario.seconds, "{}", scenario.name);
            assert_eq!(options.key_size, 32, "{}", scenario.name);
        }
        for scenario in SCENARIOS {
            assert_eq!(Scenario::named(scenario.name, &SCENARIOS), Some(scenario));
            assert_eq!(parse(scenario, 1.0).val_size, 256, "{}", scenario.name);
        }
    }

    /// However short the run, it must make a request.
    #[test]
    fn scaled_runs_are_shorter_but_never_empty() {
        let put = Scenario::named("put-100x100", &SCENARIOS).unwrap();
        assert_eq!(parse(put, 0.1).total.get(), REQUESTS / 10);
        assert_eq!(parse(put, 0.0).total.get(), 1);
        assert_eq!(parse(Scenario::named("count", &SCENARIOS).unwrap(), 0.1).seconds, 1);
    }
}
