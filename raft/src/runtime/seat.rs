//! One group in a shard.

use crate::input::Input;
use crate::raft::Raft;
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
    /// The last index that was handed to the applier.
    pub(crate) handed: Index,
}
