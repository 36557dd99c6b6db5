//! What to measure: a course, on clusters of which sizes, and what it is to show.

use super::Goal;

/// One thing to measure, always the same for all contenders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// Short name, as on the command line.
    pub name: &'static str,
    /// What is done.
    pub course: Course,
    /// Sizes of clusters it makes sense for.
    pub members: &'static [usize],
    /// What our server is to show.
    pub goals: &'static [Goal],
    /// It is long, and moves little from round to round: one round will do.
    pub once: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// A load, and what it costs.
    Load(Load),
    /// Memory with a million small keys, and how long a restart takes with them.
    Million,
    /// Four clients that each read everything at once.
    ReadAll,
    /// The slowest put while history is compacted and space is given back.
    Compaction,
    /// Puts beside a watcher that begins at the first of half a million revisions.
    Behind,
    /// The leader is killed: how long until a put is acknowledged again?
    LeaderKill,
    /// A database larger than most: does it serve? Our server alone.
    Big,
}

/// A load: what `load` is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Arguments of `load`. `{n}` stands for [`Load::size`], scaled.
    pub arguments: &'static str,
    /// How many watchers, leases, ...
    pub size: u64,
    /// Requests of a run; `u64::MAX` if only time ends it.
    pub total: u64,
    /// Seconds of a run, for loads where one server may be a thousand times slower; 0 for no limit.
    pub seconds: f64,
    /// What the store holds when the run begins.
    pub data: Data,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing, and it is thrown away afterwards.
    Empty,
    /// A fixed number of keys, and it is thrown away afterwards.
    Fresh(u64),
    /// A fixed number of keys, only read.
    Keys(u64),
    /// As many keys as the user asked for, only read.
    ManyKeys,
    /// The same with values of 1 KiB.
    ManyLargeKeys,
}

impl Data {
    /// Keys the store must hold, and the size of their values.
    #[must_use]
    pub fn keys(self, many_keys: u64) -> Option<(u64, usize)> {
        match self {
            Data::Empty => None,
            Data::Fresh(keys) | Data::Keys(keys) => Some((keys, 256)),
            Data::ManyKeys => Some((many_keys, 256)),
            Data::ManyLargeKeys => Some((many_keys, 1024)),
        }
    }

    /// The store will be read again and not written.
    #[must_use]
    pub fn is_only_read(self) -> bool {
        matches!(self, Data::Keys(_) | Data::ManyKeys | Data::ManyLargeKeys)
    }
}

impl Scenario {
    /// The one of that name in `scenarios`.
    #[must_use]
    pub fn named(name: &str, scenarios: &[Scenario]) -> Option<Scenario> {
        scenarios.iter().find(|scenario| scenario.name == name).copied()
    }
}

impl Load {
    /// Arguments of `load` for a run of `scale` times the usual length.
    #[must_use]
    pub fn arguments(&self, scale: f64, many_keys: u64) -> Vec<String> {
        let size = scaled(self.size, scale).to_string();
        let words = self.arguments.split(' ').map(|word| word.replace("{n}", &size));
        let mut arguments: Vec<String> = words.collect();
        let total = if self.total == u64::MAX { u64::MAX } else { scaled(self.total, scale) };
        arguments.extend(["--total".to_owned(), total.to_string()]);
        if self.seconds > 0.0 {
            let seconds = (self.seconds * scale).max(SECONDS_MIN);
            arguments.extend(["--seconds".to_owned(), format!("{seconds}")]);
        }
        if let Some((keys, _)) = self.data.keys(many_keys) {
            arguments.extend(["--key-space".to_owned(), keys.to_string()]);
        }
        arguments
    }
}

/// No run is shorter, however small the scale.
pub(super) const SECONDS_MIN: f64 = 0.2;

/// So many, times the scale, and one at least.
pub(super) fn scaled(count: u64, scale: f64) -> u64 {
    ((count as f64 * scale).ceil() as u64).max(1)
}
