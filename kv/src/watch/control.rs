//! The request side of a watch stream: what the client asks for comes in here, from any thread,
//! while another one reads the stream.

use std::sync::Arc;
use std::task::Waker;

use super::history::History;
use super::hub::Shared;
use super::message::{CancelReason, WatchId};
use super::request::{CreateError, WatchRequest};
use super::stream_state::Stream;
use super::watcher::{Standing, Watcher};
use crate::key_range::KeyRange;

/// How many watchers are looked at under one lock.
const BATCH_MAX: usize = 128;

/// Asks things of a stream; see [`super::WatchStream`], which answers. Cheap to clone.
#[derive(Clone)]
pub struct WatchControl {
    pub(crate) hub: Arc<Shared>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) history: Arc<dyn History>,
}

/// How far behind the consumer of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that wait in the outbox.
    pub messages: usize,
    /// Events in these.
    pub events: usize,
    /// Bytes that wait in the outbox, as [`super::Change::bytes`] counts.
    pub bytes: usize,
    /// Watchers that have to catch up from the history.
    pub lagging: usize,
    /// All watchers.
    pub watchers: usize,
}

impl WatchControl {
    pub(crate) fn new(
        hub: Arc<Shared>,
        stream: Arc<Stream>,
        history: Arc<dyn History>,
    ) -> WatchControl {
        WatchControl { hub, stream, history }
    }

    /// Creates a watcher. The stream says `Created` before anything else about it. A watcher whose
    /// start is compacted away is created, and canceled at once.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]; the stream then says nothing.
    pub fn create(&self, request: WatchRequest) -> Result<WatchId, CreateError> {
        if request.range.is_empty() {
            return Err(CreateError::EmptyRange);
        }
        // Asked before the locks are taken. Should the store move on meanwhile, then while this
        // call is running, and what happens during the call may count as before or as after it.
        let newest = self.history.newest();
        let compacted = self.history.compacted();
        let mut table = self.hub.lock();
        let mut state = self.stream.lock();
        let id = state.admit(request.id, &self.stream.options)?;
        let current = state.tell(newest.max(table.notified));
        let start = request.start.unwrap_or(current + 1);
        // A watcher "from now on" is up to date as soon as the hub has reached `current`; one that
        // names its start, not before the hub has reached that.
        let ready_from = request.start.map_or(current, |start| start.max(current));
        let watcher = Arc::new(Watcher::new(id, request));
        state.announce(id, current);
        if start < compacted {
            state.add_lagging(watcher, start, ready_from);
            let reason = CancelReason::Compacted { compacted };
            state.cancel(id, table.notified, reason).expect("the watcher was just added");
        } else if start > table.notified {
            let stream = Arc::clone(&self.stream);
            let slot = table.dispatch.add(stream, Arc::clone(&watcher), start);
            state.add_synced(watcher, slot, ready_from);
            self.hub.mirror(&table);
        } else {
            state.add_lagging(watcher, start, ready_from);
        }
        let waker = state.take_waker();
        drop(state);
        drop(table);
        waker.into_iter().for_each(Waker::wake);
        Ok(id)
    }

    /// Ends a watcher. The stream says `Canceled`, and nothing about it after that. Of an unknown
    /// id, the stream says nothing and the answer is `false`.
    pub fn cancel(&self, id: WatchId) -> bool {
        self.cancel_for(id, CancelReason::Requested, |_| true)
    }

    /// Ends the watchers whose keys are not to be watched any longer; which these are. The stream
    /// says `Canceled` of each, after what it had ready for them: whoever must not see that either
    /// is to be kept from it by the reader.
    pub fn retain(&self, mut may_watch: impl FnMut(&KeyRange) -> bool) -> Vec<WatchId> {
        let mut denied = Vec::new();
        let mut after = None;
        loop {
            // The lock is not held while the caller thinks.
            let some = self.stream.lock().watchers_after(after, BATCH_MAX);
            let Some(last) = some.last() else { return denied };
            after = Some(last.id);
            for watcher in some.iter().filter(|watcher| !may_watch(&watcher.request.range)) {
                let is_meant = |one: &Arc<Watcher>| Arc::ptr_eq(one, watcher);
                if self.cancel_for(watcher.id, CancelReason::Denied, is_meant) {
                    denied.push(watcher.id);
                }
            }
        }
    }

    /// Ends a watcher that the consumer finds compacted away, if it still stands.
    pub(crate) fn cancel_compacted(&self, watcher: &Arc<Watcher>, compacted: u64) {
        let reason = CancelReason::Compacted { compacted };
        self.cancel_for(watcher.id, reason, |standing| Arc::ptr_eq(standing, watcher));
    }

    fn cancel_for(
        &self,
        id: WatchId,
        reason: CancelReason,
        is_meant: impl Fn(&Arc<Watcher>) -> bool,
    ) -> bool {
        let mut table = self.hub.lock();
        let mut state = self.stream.lock();
        if !state.member_of(id).is_some_and(is_meant) {
            return false;
        }
        let Some(standing) = state.cancel(id, table.notified, reason) else { return false };
        if let Standing::Synced(slot) = standing {
            table.dispatch.remove(slot);
            self.hub.mirror(&table);
        }
        let waker = state.take_waker();
        drop(state);
        drop(table);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Asks for one progress message for the whole stream. It comes only if there are watchers and
    /// all are up to date: none lags, none waits for a future revision. Otherwise, or if the outbox
    /// is full, the answer is `false` and nothing comes; the client asks again.
    pub fn request_progress(&self) -> bool {
        // Read before the stream's lock is taken: every event up to here is in the outbox by then.
        let notified = self.hub.notified();
        let mut state = self.stream.lock();
        let told = state.progress(notified, &self.stream.options);
        let waker = state.take_waker_if(told);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        told
    }

    /// Tells progress to each watcher that asked for it at creation, is up to date, and was sent no
    /// event since the last tick. The caller keeps the time.
    pub fn tick_progress(&self) {
        let mut after = None;
        loop {
            let notified = self.hub.notified();
            let mut state = self.stream.lock();
            let batch = state.watchers_after(after, BATCH_MAX);
            let Some(last) = batch.last() else { return };
            after = Some(last.id);
            let mut told = false;
            for watcher in &batch {
                if watcher.request.progress {
                    told |= state.progress_of(watcher, notified, &self.stream.options);
                }
            }
            let waker = state.take_waker_if(told);
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends the stream: its consumer reads what waits, then the end.
    pub fn end(&self) {
        let waker = self.stream.lock().end();
        waker.into_iter().for_each(Waker::wake);
    }

    /// How far behind the consumer is.
    pub fn backlog(&self) -> Backlog {
        self.stream.lock().backlog()
    }

    /// Takes a watcher back from the consumer, which has its events below `next` in hand. Returns
    /// the revision for their message, or `None` if the watcher has ended meanwhile.
    ///
    /// If that is all the hub knows of, the watcher is synced: from here on the hub delivers. It
    /// is decided under the hub's lock, so that no revision is told in between.
    pub(crate) fn advance(&self, watcher: &Arc<Watcher>, next: u64) -> Option<u64> {
        if next <= self.hub.notified() {
            let mut state = self.stream.lock();
            state.member(watcher)?;
            state.requeue(watcher, next);
            return Some(state.tell(self.hub.notified()));
        }
        let mut table = self.hub.lock();
        let mut state = self.stream.lock();
        state.member(watcher)?;
        if next > table.notified {
            let stream = Arc::clone(&self.stream);
            let slot = table.dispatch.add(stream, Arc::clone(watcher), next);
            state.sync(watcher, slot);
            self.hub.mirror(&table);
        } else {
            state.requeue(watcher, next);
        }
        Some(state.tell(table.notified))
    }

    /// Takes the watchers of a closed stream out of the hub, a few at a time, so that the writer
    /// gets in between.
    pub(crate) fn unregister(&self) {
        loop {
            let mut table = self.hub.lock();
            let batch = self.stream.lock().dismiss(BATCH_MAX);
            if batch.is_empty() {
                return;
            }
            for standing in batch {
                if let Standing::Synced(slot) = standing {
                    table.dispatch.remove(slot);
                }
            }
            self.hub.mirror(&table);
        }
    }
}
