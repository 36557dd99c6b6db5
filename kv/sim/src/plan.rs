//! What a seed decides before anything happens.
//!
//! A tick is ten milliseconds. Sizes are drawn small: a log that is shortened all the time, and
//! snapshots that are needed all the time, are where the mistakes are.

use std::sync::Arc;

use drystone_kv::EngineKind;
use drystone_raft::Config;
use drystone_sim::{Link, Profile, Rate, Rng, Woe};

use crate::flaw::Flaw;

/// The election timeout, in ticks.
pub(crate) const ELECTION: u64 = 100;
/// Ticks of a second.
pub(crate) const SECOND: u64 = 100;
/// How wrong clocks are, at most, in parts per million.
pub(crate) const DRIFT_PPM: u32 = 20_000;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many members there are at first.
    pub founders: u64,
    /// How many more may come.
    pub spares: u64,
    /// What clients ask before the storm ends.
    pub operations: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many watchers there are.
    pub watchers: usize,
    /// Ticks between two acts of the operator; 0 for none.
    pub operate: u64,
    /// Ticks between two moments at which a disk is told to lose its power soon; 0 for none.
    pub cut: u64,
    /// Ticks between two moments at which a disk begins to fail, or is full; 0 for none.
    pub fail: u64,
    /// Ticks between the end of one exile of a leader and the next; 0 for none. Members then crash
    /// where they take a state over.
    pub exile: u64,
    /// Member 1 loses its power at this sync, counted from 1.
    pub cut_at_sync: Option<u64>,
    /// A bug to be planted.
    pub flaw: Option<Flaw>,
    pub(crate) ways: Ways,
    pub(crate) profile: Profile,
    pub(crate) link: Link,
}

/// How members behave.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) config: Arc<Config>,
    /// A disk is so slow at most, in ticks.
    pub(crate) slow: u64,
    /// Applying lags by so much at most.
    pub(crate) lag: u64,
    /// Bytes of commands after which the engine is saved.
    pub(crate) save_bytes: u64,
    /// Entries kept in the log behind what is saved.
    pub(crate) kept: u64,
    pub(crate) kinds: Vec<EngineKind>,
    pub(crate) segment_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) moved_bytes_max: u64,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Plan {
        let mut config = Config::new(ELECTION);
        config.heartbeat = *rng.pick(&[5, 10, 25]);
        config.message_bytes_max = *rng.pick(&[100, 1000, 100_000]);
        config.tail_bytes_max = *rng.pick(&[0, 1000, 100_000]);
        let ways = Ways {
            config: Arc::new(config),
            slow: *rng.pick(&[2, 5, 20]),
            lag: *rng.pick(&[2, 2, 20]),
            save_bytes: *rng.pick(&[300, 2_000, 20_000]),
            kept: *rng.pick(&[0, 10, 200]),
            kinds: (0..7).map(|_| *rng.pick(&EngineKind::ALL)).collect(),
            segment_bytes: *rng.pick(&[16 << 10, 64 << 10]),
            log_bytes: *rng.pick(&[0, 32 << 10, 256 << 10]),
            moved_bytes_max: *rng.pick(&[2 << 10, 1 << 20]),
        };
        let stormy = rng.below(3) == 0;
        let mut profile = if stormy { Profile::storm(ELECTION) } else { Profile::mild(ELECTION) };
        profile.crash = Woe::new(if stormy { 8 } else { 15 } * ELECTION, 1..4 * ELECTION);
        profile.drift_ppm_max = DRIFT_PPM;
        // A monotonic clock that jumps shortens leases, and nobody can help it.
        profile.jump = Woe::NEVER;
        let link = if rng.below(3) == 0 {
            Link {
                reorder: Rate::ALWAYS,
                duplicate: Rate::percent(5),
                loss: Rate::percent(2),
                ..Link::stream(1..10)
            }
        } else {
            Link::stream(1..4)
        };
        let plan = Plan {
            founders: *rng.pick(&[3, 3, 5]),
            spares: rng.below(3),
            operations: 2_000,
            clients: 4 + usize::try_from(rng.below(9)).expect("it is small"),
            watchers: 3,
            operate: *rng.pick(&[0, 2 * ELECTION, 5 * ELECTION]),
            cut: *rng.pick(&[0, 6 * ELECTION, 20 * ELECTION]),
            fail: *rng.pick(&[0, 6 * ELECTION, 20 * ELECTION]),
            exile: 0,
            cut_at_sync: None,
            flaw: None,
            ways,
            profile,
            link,
        };
        if rng.below(8) == 0 { plan.with_exiles() } else { plan }
    }

    /// Leaders come back from exile all the time, to others who have forgotten what they lack.
    fn with_exiles(mut self) -> Plan {
        self.exile = 3 * ELECTION;
        // Who makes the network whole after a partition would end an exile, too.
        self.profile.partition = Woe::NEVER;
        // The log is shortened at once, and slow to be durable.
        (self.ways.save_bytes, self.ways.kept, self.ways.slow) = (300, 0, 20);
        self
    }

    /// Nothing goes wrong but what is asked for, and little is done.
    #[must_use]
    pub fn calm(mut self) -> Plan {
        self.profile = Profile::calm();
        self.link = Link::stream(1..4);
        (self.operations, self.cut, self.fail, self.operate) = (150, 0, 0, 0);
        self.exile = 0;
        self
    }
}
