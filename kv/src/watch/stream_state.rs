//! What a stream's three users share: the hub that delivers, the client's requests, the consumer.
//!
//! Locks are taken in one order, the hub's before a stream's, and neither is held while the history
//! is read or a waker is called.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::control::Backlog;
use super::dispatch::SlotId;
use super::lagging::{InHand, Lagging};
use super::message::{CancelReason, WatchId, WatchMessage};
use super::outbox::{Changes, Outbox};
use super::request::{CreateError, StreamOptions};
use super::watcher::{Standing, Wait, Watcher};

/// One stream, as the hub knows it.
pub(crate) struct Stream {
    pub(crate) options: StreamOptions,
    state: Mutex<StreamState>,
}

impl Stream {
    pub(crate) fn new(options: StreamOptions) -> Stream {
        Stream { options: options.raised(), state: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock()
    }

    #[cfg(test)]
    pub(crate) fn check_synced(&self, watcher: &Arc<Watcher>, slot: SlotId) {
        let state = self.lock();
        let member = &state.members[&watcher.id];
        assert!(Arc::ptr_eq(&member.watcher, watcher), "a slot is of the watcher that stands");
        assert_eq!(member.standing, Standing::Synced(slot), "a slot is of a synced watcher");
    }
}

/// One watcher of a stream.
pub(crate) struct Member {
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) standing: Standing,
    /// No progress is told before the hub has reached this revision: the watcher's start, or what
    /// its `Created` message said.
    ready_from: u64,
}

/// A stream under its lock. Invariants:
///
/// - `lagging_count` is the number of members that lag; those that wait for a turn, and only they,
///   stand in line;
/// - `unready` names members, each with its `ready_from`;
/// - once `closed`, the outbox is empty and stays so;
/// - `told` is the newest revision given to any message, and none has an older one than those
///   before it. `Created` may be ahead of the hub: what follows is too, then, and progress waits.
#[derive(Default)]
pub(crate) struct StreamState {
    outbox: Outbox,
    members: BTreeMap<WatchId, Member>,
    lagging: Lagging,
    lagging_count: usize,
    /// Members that were not ready for progress when last looked at.
    unready: BTreeSet<(u64, WatchId)>,
    told: u64,
    auto_id: i64,
    waker: Option<Waker>,
    /// The hub is gone: nothing comes in any more.
    ended: bool,
    /// The consumer is gone: nobody reads any more.
    closed: bool,
}

impl StreamState {
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// How far behind the consumer is.
    pub(crate) fn backlog(&self) -> Backlog {
        let outbox = &self.outbox;
        Backlog {
            messages: outbox.len(),
            events: outbox.events(),
            bytes: outbox.bytes(),
            lagging: self.lagging_count,
            watchers: self.members.len(),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The watcher of that name.
    pub(crate) fn member_of(&self, id: WatchId) -> Option<&Arc<Watcher>> {
        self.members.get(&id).map(|member| &member.watcher)
    }

    /// The member that is `watcher`, if it still stands.
    pub(crate) fn member(&mut self, watcher: &Arc<Watcher>) -> Option<&mut Member> {
        let member = self.members.get_mut(&watcher.id)?;
        Arc::ptr_eq(&member.watcher, watcher).then_some(member)
    }

    /// Up to `count` watchers whose ids lie above `after`.
    pub(crate) fn watchers_after(&self, after: Option<WatchId>, count: usize) -> Vec<Arc<Watcher>> {
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.members.range((above, Bound::Unbounded));
        members.take(count).map(|(_, member)| Arc::clone(&member.watcher)).collect()
    }

    // Waking.

    /// Whoever waits for the stream to have something.
    #[must_use]
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// The same, if there is something new for it.
    #[must_use]
    pub(crate) fn take_waker_if(&mut self, news: bool) -> Option<Waker> {
        if news { self.waker.take() } else { None }
    }

    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Nothing comes in any more; what is in the outbox can still be read.
    #[must_use]
    pub(crate) fn end(&mut self) -> Option<Waker> {
        self.ended = true;
        self.take_waker()
    }

    /// Nobody reads any more.
    pub(crate) fn close(&mut self) {
        self.ended = true;
        self.closed = true;
        self.outbox.clear();
        self.waker = None;
    }

    // Members come and go.

    /// The name for a new watcher, or why there can be none.
    pub(crate) fn admit(
        &mut self,
        wish: Option<WatchId>,
        options: &StreamOptions,
    ) -> Result<WatchId, CreateError> {
        if self.ended {
            return Err(CreateError::Ended);
        }
        if self.members.len() >= options.watchers_max {
            return Err(CreateError::TooManyWatchers);
        }
        if self.outbox.controls() >= options.controls_max {
            return Err(CreateError::Backlog);
        }
        match wish {
            Some(id) if self.members.contains_key(&id) => Err(CreateError::DuplicateId),
            Some(id) => Ok(id),
            None => {
                while self.members.contains_key(&WatchId(self.auto_id)) {
                    self.auto_id += 1;
                }
                self.auto_id += 1;
                Ok(WatchId(self.auto_id - 1))
            }
        }
    }

    /// Says that a watcher stands.
    pub(crate) fn announce(&mut self, id: WatchId, revision: u64) {
        self.outbox.push_control(WatchMessage::Created { id, revision });
    }

    /// Adds a watcher that needs no catching up.
    pub(crate) fn add_synced(&mut self, watcher: Arc<Watcher>, slot: SlotId, ready_from: u64) {
        self.unready.insert((ready_from, watcher.id));
        let standing = Standing::Synced(slot);
        self.members.insert(watcher.id, Member { watcher, standing, ready_from });
    }

    /// Adds a watcher that has history to read.
    pub(crate) fn add_lagging(&mut self, watcher: Arc<Watcher>, cursor: u64, ready_from: u64) {
        let wait = self.lagging.drain(self.outbox.pushed(), watcher.id);
        let standing = Standing::Lagging { cursor, wait };
        self.lagging_count += 1;
        self.unready.insert((ready_from, watcher.id));
        self.members.insert(watcher.id, Member { watcher, standing, ready_from });
    }

    /// Removes a watcher and says so; returns how it stood. `None` if nobody has that name, or if
    /// nobody reads.
    pub(crate) fn cancel(
        &mut self,
        id: WatchId,
        notified: u64,
        reason: CancelReason,
    ) -> Option<Standing> {
        if self.closed {
            return None;
        }
        let standing = self.remove(id)?;
        let revision = self.tell(notified);
        self.outbox.push_control(WatchMessage::Canceled { id, revision, reason });
        Some(standing)
    }

    fn remove(&mut self, id: WatchId) -> Option<Standing> {
        let member = self.members.remove(&id)?;
        self.unready.remove(&(member.ready_from, id));
        if matches!(member.standing, Standing::Lagging { .. }) {
            self.lagging_count -= 1;
        }
        self.lagging.remove(id, member.standing);
        Some(member.standing)
    }

    /// Removes up to `count` watchers of a closed stream; returns how they stood.
    pub(crate) fn dismiss(&mut self, count: usize) -> Vec<Standing> {
        assert!(self.closed, "watchers are dismissed when nobody reads");
        let ids: Vec<WatchId> = self.members.keys().take(count).copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    // Events.

    /// Queues what `watcher` sees of main revision `revision`. Without room, the watcher lags from
    /// there on, and the caller takes it out of the table: the answer is `false`.
    #[must_use]
    pub(crate) fn deliver(
        &mut self,
        watcher: &Arc<Watcher>,
        revision: u64,
        changes: Changes,
        options: &StreamOptions,
    ) -> bool {
        if self.ended {
            return true;
        }
        let told = self.told.max(revision);
        if self.outbox.push_live(watcher, told, changes, options) {
            self.told = told;
            return true;
        }
        self.lag(watcher, revision);
        false
    }

    /// Makes a synced watcher lag; the caller takes it out of the table.
    pub(crate) fn lag(&mut self, watcher: &Arc<Watcher>, cursor: u64) {
        let wait = self.lagging.drain(self.outbox.pushed(), watcher.id);
        self.lagging_count += 1;
        let member = self.member(watcher).expect("a slot is of a watcher that stands");
        assert!(matches!(member.standing, Standing::Synced(_)), "only a synced watcher falls back");
        member.standing = Standing::Lagging { cursor, wait };
    }

    /// The revision for a message that must not go behind what was told before.
    pub(crate) fn tell(&mut self, notified: u64) -> u64 {
        self.told = self.told.max(notified);
        self.told
    }

    // Catching up.

    /// Whether a lagging watcher can be served now.
    pub(crate) fn has_turn(&mut self) -> bool {
        while let Some((until, id)) = self.lagging.pop_drained(self.outbox.popped()) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Standing::Lagging { cursor, wait: Wait::Drain(its) } = member.standing
                && its == until
            {
                let wait = self.lagging.enqueue(&member.watcher, cursor);
                member.standing = Standing::Lagging { cursor, wait };
            }
        }
        self.lagging.has_line()
    }

    /// Hands those whose turn it is to the consumer: one watcher of a key, or watchers of ranges
    /// whose cursors lie within `span` revisions.
    pub(crate) fn take_turn(&mut self, span: u64) -> Vec<InHand> {
        let mut taken = Vec::new();
        for id in self.lagging.choose(span) {
            let member = self.members.get_mut(&id).expect("who stands in line is a member");
            let standing = member.standing;
            let Standing::Lagging { cursor, wait: Wait::Turn(ticket) } = standing else {
                unreachable!("who stands in line waits for a turn")
            };
            self.lagging.remove(id, standing);
            member.standing = Standing::Lagging { cursor, wait: Wait::Served };
            taken.push(InHand { watcher: Arc::clone(&member.watcher), cursor, ticket });
        }
        taken
    }

    /// Takes a watcher back that was not served. Nothing happens if it has ended meanwhile.
    pub(crate) fn put_back(&mut self, in_hand: &InHand) {
        let InHand { watcher, cursor, ticket } = in_hand;
        if self.member(watcher).is_some() {
            let wait = self.lagging.put_back(watcher, *cursor, *ticket);
            self.set_standing(watcher, Standing::Lagging { cursor: *cursor, wait });
        }
    }

    /// Takes a watcher back that was served up to `cursor` but is still behind.
    pub(crate) fn requeue(&mut self, watcher: &Arc<Watcher>, cursor: u64) {
        let wait = self.lagging.enqueue(watcher, cursor);
        self.set_standing(watcher, Standing::Lagging { cursor, wait });
    }

    /// A watcher in the consumer's hands has caught up.
    pub(crate) fn sync(&mut self, watcher: &Arc<Watcher>, slot: SlotId) {
        self.lagging_count -= 1;
        self.set_standing(watcher, Standing::Synced(slot));
    }

    fn set_standing(&mut self, watcher: &Arc<Watcher>, standing: Standing) {
        let member = self.member(watcher).expect("the caller has found the watcher");
        let served = Standing::Lagging { cursor: 0, wait: Wait::Served };
        assert!(
            std::mem::discriminant(&member.standing) == std::mem::discriminant(&served),
            "only a lagging watcher is in the consumer's hands"
        );
        member.standing = standing;
    }

    // Progress.

    /// Queues a progress message for the whole stream, if it is true of every watcher.
    pub(crate) fn progress(&mut self, notified: u64, options: &StreamOptions) -> bool {
        while self.unready.first().is_some_and(|(from, _)| *from <= notified) {
            self.unready.pop_first();
        }
        let ready = self.unready.is_empty() && self.lagging_count == 0 && !self.members.is_empty();
        ready && self.push_progress(None, notified, options)
    }

    /// Queues a progress message for one watcher, if it is true and nothing was sent lately.
    pub(crate) fn progress_of(
        &mut self,
        watcher: &Arc<Watcher>,
        notified: u64,
        options: &StreamOptions,
    ) -> bool {
        let Some(member) = self.member(watcher) else { return false };
        let synced = matches!(member.standing, Standing::Synced(_));
        let ready = synced && member.ready_from <= notified;
        let quiet = !watcher.take_sent();
        ready && quiet && self.push_progress(Some(watcher.id), notified, options)
    }

    fn push_progress(&mut self, id: Option<WatchId>, notified: u64, o: &StreamOptions) -> bool {
        // While the hub is telling watchers of a revision, some hear of it before `notified` has
        // moved. Progress would look like a step back; the client asks again.
        if notified < self.told || self.ended {
            return false;
        }
        self.told = notified;
        self.outbox.push_progress(WatchMessage::Progress { id, revision: notified }, o)
    }

    /// Asserts the invariants.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.outbox.check();
        let lagging = self.members.values().filter_map(|member| match member.standing {
            Standing::Lagging { wait, .. } => Some((member, wait)),
            Standing::Synced(_) => None,
        });
        let lagging: Vec<_> = lagging.collect();
        assert_eq!(lagging.len(), self.lagging_count, "the lagging are counted");
        let lined = lagging.iter().filter(|(_, wait)| matches!(wait, Wait::Turn(_)));
        let is_range = |member: &Member| member.watcher.request.range.as_single().is_none();
        let ranges = lined.clone().filter(|(member, _)| is_range(member)).count();
        self.lagging.check(lined.count(), ranges);
        for (from, id) in &self.unready {
            assert_eq!(self.members[id].ready_from, *from, "the unready are members");
        }
        assert!(!self.closed || self.outbox.len() == 0, "nothing waits for nobody");
    }
}
