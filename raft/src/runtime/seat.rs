//! One group in a shard.

use tokio::sync::watch;

use crate::input::Input;
use crate::raft::Raft;
use crate::runtime::group::Rank;
use crate::store::GroupId;
use crate::types::Index;

/// One group in a shard.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) group: GroupId,
    pub(crate) raft: Raft,
    /// What happened since its last step.
    pub(crate) inputs: Vec<Input>,
    /// It is in the list of those that something happened to.
    pub(crate) touched: bool,
    /// The time that the clock is set to for it.
    pub(crate) armed: Option<u64>,
    /// How often the clock rang late by more than a heartbeat while it led.
    pub(crate) late_heartbeats: u64,
    /// The last index that was handed to the applier.
    pub(crate) handed: Index,
    /// Where it stands, for callers to see.
    pub(crate) rank: watch::Sender<Rank>,
    pub(crate) told: Rank,
}

impl Seat {
    /// Tells those who watch, if something changed.
    pub(crate) fn tell(&mut self) {
        let now = Rank::of(&self.raft);
        if now != self.told {
            self.told = now;
            self.rank.send_replace(now);
        }
    }
}
