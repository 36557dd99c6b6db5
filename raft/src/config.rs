//! Every option and limit of a node, checked once.
//!
//! Time is counted in *ticks*: the caller's unit, whatever it is. What matters is the ratio: an
//! election timeout must be many times what a message and a sync take (Raft §5.6).

use crate::error::Error;

/// How a node behaves. All members of a group should have the same, but none of these can break
/// safety when they differ, save [`Config::lease`], which all must share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// E: silence of a leader for this many ticks makes a follower look for another. Timers are set
    /// between E and 2E.
    pub election: u64,
    /// A leader says that it is there this often, in ticks.
    pub heartbeat: u64,
    /// Ask whether an election could be won before disturbing anyone with one (thesis §9.6).
    pub pre_vote: bool,
    /// A leader that has not heard of a quorum for E steps down (thesis §6.2), and who heard of a
    /// leader lately votes for no other (thesis §4.2.3).
    pub check_quorum: bool,
    /// Lets a leader answer reads without asking anyone, on the strength of clocks.
    pub lease: Option<Lease>,
    /// A leader whose oldest write has not come back for this many ticks hands over, if a
    /// quorum has meanwhile committed more than its disk holds.
    pub storage_stall: u64,
    /// After this many ticks with nothing to do a group falls silent: no heartbeats, no timers.
    pub quiesce_after: Option<u64>,
    /// Most bytes of entries in one message. One entry may exceed it.
    pub message_bytes_max: usize,
    /// Most messages of entries under way to one follower.
    pub window_messages_max: usize,
    /// Most bytes of entries under way to one follower.
    pub window_bytes_max: usize,
    /// Most bytes proposed and not committed. Beyond it, proposals are refused; one is always let
    /// in.
    pub uncommitted_bytes_max: usize,
    /// Most bytes of durable entries kept in memory for followers that are a little behind.
    pub tail_bytes_max: usize,
    /// Most reads waiting for an answer.
    pub reads_max: usize,
}

/// What lets a leader answer reads on the strength of clocks.
///
/// `drift_ppm`: no member's clock runs faster or slower than true time by more than this many parts
/// in a million, and none stands still while its machine serves clients. Only you can know that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Held by contact: followers that acknowledged a heartbeat vote for nobody else for a while
    /// (thesis §6.4.1). Costs nothing; needs [`Config::check_quorum`].
    Contact {
        /// The bound on the clocks.
        drift_ppm: u32,
    },
    /// Held by the log: a committed entry holds it, and a new leader commits nothing until the last
    /// entry it found could hold no lease any more (LeaseGuard, Davis et al. 2025). It holds
    /// whatever votes are cast; a leader that was handed the office may have to wait for it.
    Log {
        /// The bound on the clocks.
        drift_ppm: u32,
    },
}

impl Lease {
    fn drift_ppm(self) -> u32 {
        match self {
            Lease::Contact { drift_ppm } | Lease::Log { drift_ppm } => drift_ppm,
        }
    }
}

impl Config {
    /// The usual choices for an election timeout of this many ticks.
    #[must_use]
    pub fn new(election: u64) -> Config {
        Config {
            election,
            heartbeat: (election / 10).max(1),
            pre_vote: true,
            check_quorum: true,
            lease: None,
            storage_stall: election,
            quiesce_after: None,
            message_bytes_max: 1 << 20,
            window_messages_max: 256,
            window_bytes_max: 16 << 20,
            uncommitted_bytes_max: 64 << 20,
            tail_bytes_max: 4 << 20,
            reads_max: 100_000,
        }
    }

    /// Whether these can work together.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |holds: bool, rule| if holds { Ok(()) } else { Err(Error::Config(rule)) };
        check(self.heartbeat >= 1, "heartbeat is at least one tick")?;
        check(self.election >= 4 * self.heartbeat, "election is at least four heartbeats")?;
        check(self.election <= 1 << 40, "election is at most 2^40 ticks")?;
        check(self.storage_stall >= self.heartbeat, "storage_stall is at least one heartbeat")?;
        check(self.message_bytes_max >= 1, "message_bytes_max is at least 1")?;
        check(self.window_messages_max >= 1, "window_messages_max is at least 1")?;
        check(self.window_bytes_max >= self.message_bytes_max, "a window holds a message")?;
        check(self.reads_max >= 1, "reads_max is at least 1")?;
        if let Some(lease) = self.lease {
            check(lease.drift_ppm() <= 100_000, "a clock off by a tenth holds no lease")?;
            let contact = matches!(lease, Lease::Contact { .. });
            check(!contact || self.check_quorum, "a lease by contact needs check_quorum")?;
        }
        Ok(())
    }

    /// For how long who heard of a leader votes for no other. A little less than E, so that the
    /// first follower to lose patience is not refused by one that heard the same heartbeat later.
    pub(crate) fn loyalty(&self) -> u64 {
        self.election - self.election / 4
    }

    /// For how long after its beginning a lease may be trusted, by the leader's clock: the loyalty
    /// of a follower whose clock is fast, seen by a leader whose clock is slow (thesis §6.4.1).
    pub(crate) fn lease_ticks(&self, lease: Lease) -> u64 {
        let drift = u64::from(lease.drift_ppm());
        // No overflow: E is at most 2^40 ticks.
        self.loyalty() * (1_000_000 - drift) / (1_000_000 + drift)
    }
}
