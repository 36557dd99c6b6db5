//! Every limit and option.

use std::time::Duration;

use crate::error::{Error, Result};

/// How a member behaves. All members of a cluster should have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of the cluster. Packets of another are refused, sealed or not.
    pub label: String,
    /// The most bytes of a datagram, without what UDP and IP put before it.
    pub mtu: usize,

    /// How often a member probes another (SWIM §3.1).
    pub probe_period: Duration,
    /// The longest wait for the answer to a direct probe, before others are asked to try. Once
    /// round trips to the zone have been measured, it waits three times the 99th percentile.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect_probes: usize,
    /// Whether a member that does not answer datagrams is tried by a stream, too. Turn it off
    /// where streams cannot be had, not to save anything.
    pub stream_probes: bool,

    /// How often news are passed on, as long as there are any.
    pub gossip_period: Duration,
    /// To how many at a time.
    pub gossip_fanout: usize,
    /// News are sent `transmissions * log2(members)` times by each member that has them, and 18
    /// times more: see `swim/gossip.rs`.
    pub transmissions: u32,

    /// α: how many times as long as news need to reach everyone a suspect has at least, before it
    /// is declared failed. Twice is there and back.
    pub suspicion_factor: u32,
    /// β: how many times longer it is while a single member accuses it (Lifeguard §IV-B).
    pub suspicion_spread: u32,
    /// K: how many more members have to accuse it until the time is the shortest.
    pub confirmations: usize,
    /// How many accusers of one suspect are told at most: more than K + 1 for those who want to see
    /// how many there are, such as a [stable view](crate::StableView).
    pub accusers_max: usize,
    /// The parts of Lifeguard, each of which can be turned off to see what it is for.
    pub lifeguard: Lifeguard,
    /// How long a member that hears nobody takes itself for the one that is cut off.
    pub isolation_max: Duration,
    /// What becomes of a suspect that does not defend itself.
    pub verdict: Verdict,

    /// How often two members compare what they know. It grows with the logarithm of their number.
    pub sync_period: Duration,
    /// How often a member that has failed, or a seed that is not a member, is tried again.
    pub reconnect_period: Duration,
    /// How long a failed member is tried again, before it is forgotten.
    pub reap_after: Duration,
    /// How long a member that leaves goes on telling so.
    pub leave_timeout: Duration,

    /// The most members, failed ones not counted. Others are refused.
    pub members_max: usize,
    /// The most bytes of a member's metadata, keys and values.
    pub metadata_bytes_max: usize,
    /// The most bytes of user broadcasts that wait to be sent. The oldest fall out.
    pub broadcast_bytes_max: usize,
}

/// What becomes of a suspect that does not defend itself in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is declared failed.
    Failed,
    /// It stays a suspect, and everyone's application is told `Unreachable`. The member is failed
    /// when one of them [condemns](crate::Input::Condemn) it.
    Application,
}

/// The parts of Lifeguard (Dadgar, Phillips, Currey 2018), and two of ours in their spirit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifeguard {
    /// A member that notices its own slowness probes more slowly and waits longer (LHA-Probe).
    pub slow_probes: bool,
    /// A suspicion that one member alone has lasts longer, and gets shorter with each that confirms
    /// it (LHA-Suspicion).
    pub confirmed_suspicions: bool,
    /// Whoever probes a suspect tells it of the suspicion first (the Buddy System).
    pub buddies: bool,
    /// A probe is held against its target only if somebody else was heard meanwhile; a member that
    /// hears nobody accuses nobody. And whoever first hears of a suspicion by an update may check.
    pub contrast: bool,
    /// Time during which the process did not run does not count.
    pub own_time: bool,
    /// Nobody is convicted on what others say alone. Whoever thought that a member was well takes a
    /// word of its failure for an accusation, and whose suspicion has run out probes once more.
    pub second_opinion: bool,
}

impl Lifeguard {
    /// All of it.
    pub const ON: Lifeguard = Lifeguard {
        slow_probes: true,
        confirmed_suspicions: true,
        buddies: true,
        contrast: true,
        own_time: true,
        second_opinion: true,
    };

    /// Plain SWIM.
    pub const OFF: Lifeguard = Lifeguard {
        slow_probes: false,
        confirmed_suspicions: false,
        buddies: false,
        contrast: false,
        own_time: false,
        second_opinion: false,
    };
}

/// The smallest datagram that every lane finds its place in.
pub const MTU_MIN: usize = 508;
/// The largest that UDP carries.
pub const MTU_MAX: usize = 65_507;

impl Config {
    /// For machines in one place, whose round trips are milliseconds.
    pub fn lan() -> Config {
        Config {
            label: String::new(),
            mtu: 1400,
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            stream_probes: true,
            gossip_period: Duration::from_millis(200),
            gossip_fanout: 3,
            transmissions: 1,
            suspicion_factor: 4,
            suspicion_spread: 6,
            confirmations: 3,
            accusers_max: 4,
            lifeguard: Lifeguard::ON,
            isolation_max: Duration::from_secs(60),
            verdict: Verdict::Failed,
            sync_period: Duration::from_secs(15),
            reconnect_period: Duration::from_secs(5),
            reap_after: Duration::from_secs(24 * 3600),
            leave_timeout: Duration::from_secs(3),
            members_max: 1 << 16,
            metadata_bytes_max: 1 << 16,
            broadcast_bytes_max: 1 << 16,
        }
    }

    /// For machines on several continents.
    pub fn wan() -> Config {
        Config {
            probe_period: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            gossip_period: Duration::from_millis(500),
            gossip_fanout: 4,
            suspicion_factor: 6,
            sync_period: Duration::from_secs(60),
            leave_timeout: Duration::from_secs(8),
            ..Config::lan()
        }
    }

    /// For processes on one machine.
    pub fn local() -> Config {
        Config {
            probe_timeout: Duration::from_millis(200),
            gossip_period: Duration::from_millis(100),
            indirect_probes: 1,
            suspicion_factor: 3,
            sync_period: Duration::from_secs(10),
            leave_timeout: Duration::from_secs(1),
            ..Config::lan()
        }
    }

    /// Says which rule is broken, if any.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (self.label.len() <= 64, "a label has 64 bytes at most"),
            ((MTU_MIN..=MTU_MAX).contains(&self.mtu), "a datagram has 508 to 65507 bytes"),
            (self.probe_period > self.probe_timeout, "a probe's period is longer than its timeout"),
            (
                self.probe_timeout >= Duration::from_millis(1),
                "a probe waits a millisecond at least",
            ),
            (self.indirect_probes <= 16, "at most 16 others are asked to probe"),
            (self.gossip_period >= Duration::from_millis(1), "gossip rests a millisecond at least"),
            ((1..=16).contains(&self.gossip_fanout), "gossip goes to 1 to 16 members at a time"),
            ((1..=8).contains(&self.transmissions), "1 to 8 transmissions a logarithm"),
            ((1..=100).contains(&self.suspicion_factor), "a suspicion's factor is 1 to 100"),
            ((1..=100).contains(&self.suspicion_spread), "a suspicion's spread is 1 to 100"),
            (self.confirmations <= 12, "at most 12 confirmations"),
            (self.accusers_max <= 13, "at most 13 accusers"),
            (self.sync_period >= self.gossip_period, "members compare less often than they talk"),
            (self.reconnect_period >= self.gossip_period, "so is a failed member tried again"),
            ((1..=1 << 20).contains(&self.members_max), "one to a million members"),
            (self.metadata_bytes_max <= 1 << 20, "metadata is a megabyte at most"),
            (self.probe_period <= Duration::from_secs(3600), "a period is an hour at most"),
            (
                self.sync_period <= Duration::from_secs(3600),
                "members compare once an hour at least",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::Config(rule)),
            None => Ok(()),
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::lan()
    }
}
