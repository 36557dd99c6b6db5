//! A member's disk, as its driver sees it.
//!
//! A [`Model`](crate::Model) keeps entries in memory and loses of them what a disk may lose:
//! millions of steps a second look for bugs in the core. [`Stored`](crate::Stored) is the real
//! store, over a file system that crashes: a third as many look for bugs between the core and its
//! files as well.
//!
//! ```text
//!     order ─► under way ── complete ─► durable ── crash, rot ─► what the next life finds
//!       ▲                                                                  │
//!       └────────────────────────────── start ◄────────────────────────────┘
//! ```

use std::fmt::Debug;
use std::sync::Arc;

use drystone_raft::{Boot, Entry, Index, SnapshotMeta, Term, Write, WriteId};
use drystone_sim::Rng;
use drystone_vfs::Fault;

use crate::holdings::Holdings;
use crate::machine::StateMachine;

/// A snapshot: what it is of, and the state.
#[derive(Debug, Clone)]
pub struct Snapshot<S> {
    /// What it holds.
    pub meta: SnapshotMeta,
    /// The state.
    pub state: Arc<S>,
    /// Whether it has the effect of every command: a witness's has not.
    pub whole: bool,
}

/// What a node starts with.
#[derive(Debug)]
pub struct Start<S> {
    /// For the core.
    pub boot: Boot,
    /// The state; if it is lost, what it would have been of.
    pub snapshot: Snapshot<S>,
    /// The state could not be read.
    pub lost: bool,
}

/// The disk refused: nothing may be believed of it any more, and its owner must start anew.
#[derive(Debug)]
pub struct Refused;

/// Why entries were not read.
#[derive(Debug)]
pub enum Unread {
    /// This one is damaged.
    Damaged(Index),
    /// The disk refused.
    Refused,
}

/// What becomes of a snapshot that is to be opened for a peer.
#[derive(Debug)]
pub enum Opened {
    /// It can be fetched.
    Open(SnapshotMeta),
    /// It is not sound, or not whole.
    Unsound,
    /// There is none, and nothing is said.
    Nothing,
}

/// What a driver needs of a disk, and what the simulation does to it.
pub trait Disk<S: StateMachine>: Debug + Sized {
    /// What travels when a snapshot is fetched.
    type Parcel: Clone + Debug;
    /// Something that goes bad.
    type Rot: Debug;
    /// Whether there is something to tidy up when the log was shortened.
    const TIDIES: bool;

    /// A node starts: another life begins.
    fn start(&mut self, id: u64) -> Start<S>;
    /// Takes an order to write.
    fn order(
        &mut self,
        write: Write,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot<S>>,
    ) -> Result<(), Refused>;
    /// Everything up to this write is made durable: it will be reported.
    fn complete(&mut self, id: WriteId) -> Result<(), Refused>;
    /// Forgets entries, once all that was ordered before is done.
    fn compact(&mut self, through: Index) -> Result<(), Refused>;
    /// Gives room back, now that the log is shorter. Says whether the group holds so much that it
    /// must be shortened.
    fn tidy(&mut self) -> bool;
    /// A snapshot of the state, taken by the driver. Says whether it is durable.
    fn keep(&mut self, snapshot: Snapshot<S>) -> bool;
    /// The end of the newest snapshot.
    fn newest(&self) -> Index;
    /// Entries that are committed, to be applied, `most` of them.
    fn read(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread>;
    /// Entries for a peer, `most` of them.
    fn load(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread>;
    /// Makes a snapshot ready for a peer. `newest` is of the state as it is, if there is one.
    fn open_snapshot(&mut self, newest: Option<Snapshot<S>>, base: Index) -> Opened;
    /// A peer fetches.
    fn pull(&mut self, newest: Option<Snapshot<S>>) -> Option<Self::Parcel>;
    /// A fetched snapshot is here; nothing if it did not come well.
    fn push(&mut self, parcel: Self::Parcel) -> Option<Snapshot<S>>;
    /// Its node dies.
    fn crash(self, rng: &mut Rng) -> Self;

    /// One of its next calls will fail, if it makes calls that can, in place of any that was to.
    fn fail(&mut self, rng: &mut Rng) -> Option<Fault>;
    /// No call will, from now on.
    fn heal(&mut self);

    /// How often a node has started on it.
    fn life(&self) -> u64;
    /// For whom its owner has voted, as far as it is durable, and in which term.
    fn vote(&self) -> (Term, Option<u64>);
    /// Something that may go bad, and must be noticed when it does.
    fn draw_rot(&self, rng: &mut Rng) -> Option<Self::Rot>;
    /// What loses the vote and nothing else, if there is such a thing. The node is down.
    fn vote_rot(&mut self) -> Option<Self::Rot>;
    /// It goes bad.
    fn suffer(&mut self, rot: &Self::Rot);
    /// What a node would find on it, also if `rot` went bad before. Nothing if it would not start.
    fn holdings(&self, rot: Option<&Self::Rot>) -> Option<Holdings>;
    /// Whether something on it is known to be bad.
    fn is_bad(&self) -> bool;
    /// Whether it has never gone bad.
    fn is_unhurt(&self) -> bool;
}
