//! The one place that every change passes on its way to the watchers.
//!
//! ```text
//!   apply thread                        consumers, one a stream
//!       │ notify                            ▲ poll_next
//!       ▼                                   │
//!   ┌─ Hub ──────────┐   live events   ┌─ Stream ─┐   slices    ┌─ History ─┐
//!   │ table of synced├────────────────►│ outbox   │◄────────────┤           │
//!   │ watchers       │ while it has    │ lagging  │  read by the│           │
//!   └────────────────┘ room            └──────────┘  consumer   └───────────┘
//! ```
//!
//! The writer's part ends at the outbox. It looks up who watches, appends to queues, and never
//! waits for a consumer nor reads the past for one.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::control::{Backlog, WatchControl};
use super::dispatch::{Dispatch, SlotId};
use super::history::{Change, History};
use super::request::StreamOptions;
use super::stream::WatchStream;
use super::stream_state::Stream;

/// Tells watchers what happens. One a store.
///
/// Its revision, *notified*, trails the store's newest one: first a change is published, so that
/// it can be read, then the hub is told. Everything up to `notified` has been put before every
/// synced watcher; everything above is yet to come.
pub struct Hub {
    shared: Arc<Shared>,
}

/// What streams keep of their hub.
pub(crate) struct Shared {
    table: Mutex<Table>,
    /// Mirrors [`Table::notified`]; stored after the events of that revision are delivered.
    notified: AtomicU64,
    /// Mirrors the number of synced watchers.
    watching: AtomicUsize,
}

/// What the hub's lock guards.
pub(crate) struct Table {
    pub(crate) dispatch: Dispatch,
    /// The newest main revision that synced watchers have been told of.
    pub(crate) notified: u64,
    /// Scratch space of [`Hub::notify`].
    touched: Vec<SlotId>,
    streams: Vec<Weak<Stream>>,
    /// When to look for streams that have gone.
    streams_sweep_at: usize,
    ended: bool,
}

impl Shared {
    /// The newest main revision that synced watchers have been told of.
    pub(crate) fn notified(&self) -> u64 {
        self.notified.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// To be called before the lock is let go, when watchers came or went.
    pub(crate) fn mirror(&self, table: &Table) {
        self.watching.store(table.dispatch.len(), Ordering::Release);
    }
}

impl Hub {
    /// The hub of a store whose newest main revision is `revision`.
    pub fn new(revision: u64) -> Hub {
        let table = Table {
            dispatch: Dispatch::default(),
            notified: revision,
            touched: Vec::new(),
            streams: Vec::new(),
            streams_sweep_at: 64,
            ended: false,
        };
        let shared = Shared {
            table: Mutex::new(table),
            notified: AtomicU64::new(revision),
            watching: AtomicUsize::new(0),
        };
        Hub { shared: Arc::new(shared) }
    }

    /// Whether no watcher takes live events just now. The writer may then save itself the trouble
    /// of collecting them, and call [`Hub::pass`] instead of [`Hub::notify`]; a watcher that comes
    /// in between misses nothing by it.
    pub fn is_idle(&self) -> bool {
        self.shared.watching.load(Ordering::Acquire) == 0
    }

    /// The newest main revision that the hub was told of.
    pub fn notified(&self) -> u64 {
        self.shared.notified()
    }

    /// Tells of changes, in order, main revisions whole, after they were published. Revisions that
    /// changed nothing may be left out.
    ///
    /// # Panics
    ///
    /// If a revision is not beyond those told before.
    pub fn notify(&self, changes: &[Change]) {
        let mut wakers = Vec::new();
        let mut table = self.shared.lock();
        for revision in changes.chunk_by(|a, b| a.revision.main == b.revision.main) {
            let main = revision[0].revision.main;
            assert!(main > table.notified, "revisions are told once, in order");
            debug_assert!(
                revision.is_sorted_by(|a, b| a.revision < b.revision),
                "changes of a revision come in order"
            );
            self.tell(&mut table, revision, &mut wakers);
            table.notified = main;
            // Only now: whoever reads the new value relies on the events being delivered.
            self.shared.notified.store(main, Ordering::Release);
        }
        self.shared.mirror(&table);
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Delivers the changes of one revision.
    fn tell(&self, table: &mut Table, changes: &[Change], wakers: &mut Vec<Waker>) {
        if table.dispatch.len() == 0 {
            return;
        }
        let main = changes[0].revision.main;
        let mut touched = std::mem::take(&mut table.touched);
        for change in changes {
            table.dispatch.gather(change, &mut touched);
        }
        for id in touched.drain(..) {
            let gathered = table.dispatch.take_gathered(id);
            let slot = table.dispatch.slot(id);
            let mut state = slot.stream.lock();
            let delivered = state.deliver(&slot.watcher, main, gathered, &slot.stream.options);
            wakers.extend(state.take_waker());
            drop(state);
            if !delivered {
                table.dispatch.remove(id);
            }
        }
        table.touched = touched;
    }

    /// Tells that the store's newest revision is now `revision`, without what changed: watchers
    /// that are concerned will read it from the history. For the writer that found the hub
    /// [idle](Hub::is_idle), and for a store whose content was replaced by a snapshot. Costs a
    /// little for each synced watcher, if there are any.
    ///
    /// # Panics
    ///
    /// If `revision` lies below one told before.
    pub fn pass(&self, revision: u64) {
        let mut wakers = Vec::new();
        let mut table = self.shared.lock();
        assert!(revision >= table.notified, "revisions are told once, in order");
        let unseen = table.notified + 1;
        if revision < unseen {
            return;
        }
        if table.dispatch.len() > 0 {
            for id in table.dispatch.awaiting(revision) {
                let slot = table.dispatch.remove(id);
                let mut state = slot.stream.lock();
                state.lag(&slot.watcher, slot.next.max(unseen));
                wakers.extend(state.take_waker());
            }
        }
        table.notified = revision;
        self.shared.notified.store(revision, Ordering::Release);
        self.shared.mirror(&table);
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A new stream, which reads its past from `history` and keeps it alive: a store that owns its
    /// hub and is its own history has to [end](Hub::end) its streams when it stops.
    pub fn stream(&self, history: Arc<dyn History>, options: StreamOptions) -> WatchStream {
        let stream = Arc::new(Stream::new(options));
        let mut table = self.shared.lock();
        if table.ended {
            let waker = stream.lock().end();
            assert!(waker.is_none(), "nobody waits for a new stream");
        }
        if table.streams.len() >= table.streams_sweep_at {
            table.streams.retain(|stream| stream.strong_count() > 0);
            table.streams_sweep_at = 64.max(table.streams.len() * 2);
        }
        table.streams.push(Arc::downgrade(&stream));
        drop(table);
        WatchStream::new(WatchControl::new(Arc::clone(&self.shared), stream, history))
    }

    /// How far behind the consumers of all streams are, together. Looks at each stream in turn, and
    /// keeps no writer waiting meanwhile.
    pub fn backlog(&self) -> Backlog {
        let streams: Vec<_> = self.shared.lock().streams.iter().filter_map(Weak::upgrade).collect();
        let mut all = Backlog::default();
        for stream in streams {
            let Backlog { messages, events, bytes, lagging, watchers } = stream.lock().backlog();
            all.messages += messages;
            all.events += events;
            all.bytes += bytes;
            all.lagging += lagging;
            all.watchers += watchers;
        }
        all
    }

    /// Ends every stream: its consumer reads what waits, then the end.
    pub fn end(&self) {
        let mut table = self.shared.lock();
        table.ended = true;
        let streams: Vec<_> = table.streams.iter().filter_map(Weak::upgrade).collect();
        drop(table);
        for stream in streams {
            let waker = stream.lock().end();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Asserts the invariants of the hub and of its streams. Nobody may be using them.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let table = self.shared.lock();
        table.dispatch.check();
        assert_eq!(table.dispatch.len(), self.shared.watching.load(Ordering::Acquire));
        assert_eq!(table.notified, self.shared.notified());
        for stream in table.streams.iter().filter_map(Weak::upgrade) {
            stream.lock().check();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}
