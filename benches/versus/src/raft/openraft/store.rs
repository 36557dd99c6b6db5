//! A log and a state machine in memory, for openraft.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder,
    RaftStateMachine,
};
use openraft::{EntryPayload, OptionalSend, StoredMembership};
use parking_lot::Mutex;

use super::Types;
use crate::raft::replica::Applied;

/// A log; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    vote: Option<VoteOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    /// Index of the first entry.
    first: u64,
    entries: VecDeque<EntryOf<Types>>,
}

impl Inner {
    fn place(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first))
            .map_or(self.entries.len(), |it| it.min(self.entries.len()))
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        let inner = self.0.lock();
        let from = match range.start_bound() {
            Bound::Included(index) => inner.place(*index),
            Bound::Excluded(index) => inner.place(index + 1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => inner.place(index + 1),
            Bound::Excluded(index) => inner.place(*index),
            Bound::Unbounded => inner.entries.len(),
        };
        Ok(inner.entries.range(from..to.max(from)).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(self.0.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let inner = self.0.lock();
        let last = inner.entries.back().map(RaftEntry::log_id);
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: last.or(inner.purged) })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.0.lock().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        let mut inner = self.0.lock();
        let place = last.map_or(0, |last| inner.place(last.index + 1));
        inner.entries.truncate(place);
        Ok(())
    }

    async fn purge(&mut self, through: LogIdOf<Types>) -> Result<(), io::Error> {
        let mut inner = self.0.lock();
        let place = inner.place(through.index + 1);
        inner.entries.drain(..place);
        (inner.first, inner.purged) = (through.index + 1, Some(through));
        Ok(())
    }
}

/// A state machine; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<LogIdOf<Types>>,
    members: StoredMembershipOf<Types>,
    applied: Applied,
}

impl Machine {
    /// What it has applied.
    pub(super) fn applied(&self) -> Applied {
        self.0.lock().applied
    }
}

/// Nobody needs a snapshot here: no log is ever purged.
fn no_snapshots() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this comparison takes no snapshots")
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, ()>, io::Error> {
        Err(no_snapshots())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Machine;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
        let state = self.0.lock();
        Ok((state.last, state.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let mut state = self.0.lock();
            state.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(put) => state.applied.take(&put.0.bytes()),
                EntryPayload::Membership(members) => {
                    state.members = StoredMembership::new(Some(entry.log_id), members);
                }
            }
            drop(state);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<Types>,
        _snapshot: (),
    ) -> Result<(), io::Error> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, ()>>, io::Error> {
        Ok(None)
    }
}
