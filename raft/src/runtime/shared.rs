//! A state machine for a state in memory: one copy of it for commands, readers and snapshots.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::runtime::machine::{SnapshotJob, StateMachine};
use crate::types::Index;

/// A deterministic state in memory: the same commands in the same order give the same state, and
/// the same replies. [`Shared`] makes a [`StateMachine`] of it.
///
/// It is cloned for each snapshot, and written while commands go on: a large one is better kept in
/// a structure whose clones share what is alike, or given a [`StateMachine`] of its own.
pub trait State: Clone + Send + Sync + 'static {
    /// What the caller of a proposal gets.
    type Reply: Send + 'static;

    /// Does what a committed command says.
    fn apply(&mut self, index: Index, command: &Bytes) -> Self::Reply;

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `out`.
    fn save(&self, out: &mut dyn io::Write) -> io::Result<()>;

    /// Reads what [`State::save`] has written.
    ///
    /// # Errors
    /// Those of `from`, and whatever makes the bytes no such state. The node does not go on then.
    fn load(from: &mut dyn io::Read) -> io::Result<Self>;
}

/// A state that a node applies commands to, and a handle to look at it. Clones are the same state.
#[derive(Default)]
pub struct Shared<S> {
    state: Arc<RwLock<S>>,
}

impl<S> Shared<S> {
    /// Begins with this state: that of a group that has done nothing.
    pub fn new(state: S) -> Shared<S> {
        Shared { state: Arc::new(RwLock::new(state)) }
    }

    /// The state. After [`Group::read`](crate::runtime::Group::read) resolved it holds every write
    /// that was acknowledged before. Commands wait while it is looked at.
    pub fn look(&self) -> impl Deref<Target = S> + '_ {
        self.state.read()
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Shared<S> {
        Shared { state: Arc::clone(&self.state) }
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl<S: State> StateMachine for Shared<S> {
    type Reply = S::Reply;

    fn apply(&mut self, index: Index, command: &Bytes) -> S::Reply {
        self.state.write().apply(index, command)
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let copy = self.state.read().clone();
        Box::new(move |out| copy.save(out))
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> io::Result<()> {
        let state = S::load(from)?;
        *self.state.write() = state;
        Ok(())
    }
}
