//! What a seed decides before anything happens: how large the group is, how it is configured, how
//! slow its disks are, and how much goes wrong.
//!
//! Limits are drawn small. A window of two messages is full all the time, and what happens when a
//! window is full is where the mistakes are.

use std::ops::Range;
use std::sync::Arc;

use drystone_raft::{Config, Configuration, Lease, Member, Suffrage};
use drystone_sim::{Link, Profile, Rate, Rng, Woe};

use crate::member::Ways;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes there are, members or not.
    pub nodes: u32,
    /// How many of them the group begins with.
    pub members: u32,
    /// Who they are.
    pub founders: Configuration,
    /// How drivers behave.
    pub ways: Ways,
    /// What goes wrong in the safety phase.
    pub profile: Profile,
    /// What links are like when they are good.
    pub link: Link,
    /// How long the safety phase lasts, in ticks, if clients do not ask so often before.
    pub safety: u64,
    /// Operations of clients after which the safety phase ends.
    pub operations: u64,
    /// Within how many ticks the liveness phase must see progress.
    pub liveness: u64,
    /// Ticks between two requests of a client.
    pub think: Range<u64>,
    /// How long a client waits for an answer before it asks somebody else, in ticks.
    pub patience: u64,
    /// How many clients there are.
    pub clients: u32,
    /// How many of them do nothing but read, by a lease or a round.
    pub readers: u32,
    /// Ticks between two acts of the operator: changes of members, transfers. 0 for none.
    pub operate: u64,
    /// By how much the clock of a leader that is cut off is slow, and those of the others fast, in
    /// parts per million.
    pub clocks_off_ppm: u32,
    /// How long whoever leads is cut off from the others, and then not, by turns. 0 for never.
    pub depose: u64,
    /// Ticks between two reports that some peer is out of reach, true or not. 0 for none.
    pub alarms: u64,
    /// The operator makes witnesses of members that were removed, and of new ones.
    pub witnesses_come: bool,
    /// The share of moments of trouble at which a disk is damaged, in percent. 0 for none.
    pub rot: u64,
    /// The share of moments of trouble at which a call of a disk is made to fail, in percent, where
    /// disks make calls. 0 for none.
    pub faults: u64,
}

/// The election timeout of every group here, in ticks.
pub const ELECTION: u64 = 100;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Plan {
        if rng.below(8) == 0 { Plan::clocks(rng, DRIFT_PPM) } else { Plan::anything(rng) }
    }

    fn anything(rng: &mut Rng) -> Plan {
        let mut config = draw_config(rng);
        // Entries that travel one by one are what it takes for an old one to reach a majority
        // before the first of a new term does (Raft figure 8).
        let narrow = rng.below(6) == 0;
        if narrow {
            (config.message_bytes_max, config.window_messages_max) = (1, 1);
        }
        let members = if narrow { 5 } else { *rng.pick(&[1, 2, 3, 3, 3, 4, 5, 5]) };
        let nodes = members + u32::try_from(rng.below(3)).expect("it is below three");
        let operate = *rng.pick(&[0, 0, 0, 3 * ELECTION, 3 * ELECTION, ELECTION / 4]);
        if operate > 0 {
            // What keeps members that were removed from disturbing the others (thesis §4.2.3).
            (config.pre_vote, config.check_quorum) = (true, true);
        }
        let slow = *rng.pick(&[2, 10, 60]);
        let ways = Ways {
            config: Arc::new(config),
            write: 1..slow,
            load: 1..slow,
            apply: 1..1 + rng.below(40).max(1),
            snapshot_every: *rng.pick(&[5, 20, 100, 100_000]),
            kept: *rng.pick(&[0, 3, 50]),
            short_reads: *rng.pick(&[0, 50]),
        };
        let mut profile = if rng.below(2) == 0 && !narrow {
            Profile::mild(ELECTION)
        } else {
            Profile::storm(ELECTION)
        };
        profile.drift_ppm_max = DRIFT_PPM;
        // A lease allows clocks to be wrong by what it is told, and not to be set.
        profile.jump = Woe::NEVER;
        let link = if rng.below(3) == 0 {
            Link {
                reorder: Rate::ALWAYS,
                duplicate: Rate::percent(5),
                loss: Rate::percent(2),
                ..Link::stream(1..15)
            }
        } else {
            Link::stream(1..8)
        };
        // Some groups have so little to do that they fall silent between two requests.
        let leisure = if rng.below(6) == 0 { 60 } else { 10 };
        Plan {
            nodes,
            members,
            founders: draw_founders(rng, members),
            ways,
            profile,
            link,
            safety: 6_000,
            operations: u64::MAX,
            // With disks as slow as the last an election takes luck: Raft §5.6 asks that a timeout
            // be many times what a message and a sync take.
            liveness: if slow < 60 { 40 } else { 150 } * ELECTION,
            think: 5..5 + leisure * (1 + rng.below(8)),
            patience: 3 * ELECTION,
            clients: 1 + u32::try_from(rng.below(5)).expect("it is below five"),
            readers: 0,
            operate,
            clocks_off_ppm: 0,
            depose: 0,
            alarms: *rng.pick(&[0, 3, 20]) * ELECTION,
            witnesses_come: rng.below(3) == 0,
            rot: if rng.below(3) == 0 { 30 } else { 0 },
            faults: 0,
        }
    }
}

impl Plan {
    /// A plan for a group that reads by its clocks, which are off by `off_ppm`. Its leases are
    /// told [`DRIFT_PPM`]. Nothing else goes wrong, but that whoever leads is cut off again and
    /// again: it believes to have a lease while another is elected.
    #[must_use]
    pub fn clocks(rng: &mut Rng, off_ppm: u32) -> Plan {
        let plan = Plan::anything(rng);
        let members = *rng.pick(&[3, 3, 5]);
        let mut config = Config::new(ELECTION);
        config.heartbeat = *rng.pick(&[5, 10, 25]);
        config.lease = Some(if rng.below(2) == 0 {
            Lease::Contact { drift_ppm: DRIFT_PPM }
        } else {
            Lease::Log { drift_ppm: DRIFT_PPM }
        });
        // A lease by the log holds whatever votes are cast.
        let by_log = matches!(config.lease, Some(Lease::Log { .. }));
        config.check_quorum = !by_log || rng.below(2) == 0;
        Plan {
            nodes: members,
            members,
            founders: Configuration::voters(1..=u64::from(members)),
            ways: Ways { config: Arc::new(config), write: 1..3, apply: 1..3, ..plan.ways },
            profile: Profile::calm(),
            link: Link::stream(1..5),
            safety: 100 * ELECTION,
            operations: 200,
            liveness: 40 * ELECTION,
            think: 10..50,
            patience: 30,
            clients: 6,
            readers: 3,
            operate: *rng.pick(&[0, 2 * ELECTION]),
            clocks_off_ppm: off_ppm,
            depose: 2 * ELECTION,
            alarms: 0,
            witnesses_come: false,
            rot: 0,
            faults: 0,
        }
    }

    /// The witness among the founders.
    #[must_use]
    pub fn witness(&self) -> Option<u64> {
        let members = self.founders.members();
        members.iter().find(|one| one.suffrage == Suffrage::Witness).map(|one| one.id)
    }
}

/// How wrong clocks are, at most, in parts per million: what leases are configured for.
pub const DRIFT_PPM: u32 = 20_000;

/// Voters mostly; sometimes one is a witness, sometimes some are wanted more as leaders.
fn draw_founders(rng: &mut Rng, members: u32) -> Configuration {
    let witness = if members >= 3 && rng.below(5) == 0 { members } else { 0 };
    let priorities = rng.below(4) == 0;
    let member = |id: u32| {
        let suffrage = if id == witness { Suffrage::Witness } else { Suffrage::Voter };
        let priority = if priorities { 1 + u8::try_from(rng.below(3)).unwrap_or(0) } else { 1 };
        Member { id: u64::from(id), suffrage, priority }
    };
    Configuration::new((1..=members).map(member).collect::<Vec<_>>(), [])
}

fn draw_config(rng: &mut Rng) -> Config {
    let mut config = Config::new(ELECTION);
    config.heartbeat = *rng.pick(&[5, 10, 25]);
    config.pre_vote = rng.below(8) > 0;
    config.check_quorum = rng.below(8) > 0;
    config.lease = match rng.below(4) {
        0 if config.check_quorum => Some(Lease::Contact { drift_ppm: DRIFT_PPM }),
        1 => Some(Lease::Log { drift_ppm: DRIFT_PPM }),
        _ => None,
    };
    config.message_bytes_max = *rng.pick(&[1, 100, 1000, 100_000]);
    config.window_messages_max = *rng.pick(&[1, 2, 8, 256]);
    config.window_bytes_max = config.message_bytes_max.max(*rng.pick(&[100, 10_000]));
    config.uncommitted_bytes_max = *rng.pick(&[200, 100_000]);
    config.tail_bytes_max = *rng.pick(&[0, 200, 100_000]);
    config.quiesce_after = if rng.below(4) == 0 { Some(ELECTION) } else { None };
    config.storage_stall = *rng.pick(&[ELECTION, ELECTION, 3 * ELECTION]);
    config
}
