//! The reading side of a watch stream, and what it does while it reads: catching up.
//!
//! A step of the consumer takes the first of these that there is:
//!
//! ```text
//!   1. the rest of what is being said        a large message, cut into several
//!   2. the oldest message of the outbox      live events, Created, Canceled, Progress
//!   3. the next watcher of the slice         its part of the history
//!   4. a new slice                           for those whose turn it is
//!   5. wait                                  until the hub or a request has news
//! ```
//!
//! After [`LIVE_IN_A_ROW_MAX`] of the second kind, the third and fourth go first once: a watcher
//! that is always busy must not keep the others of its stream in the past. That cannot put messages
//! of one watcher out of order, since whoever waits for a turn has nothing left in the outbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::control::WatchControl;
use super::history::{Change, HistoryError, Unreadable};
use super::lagging::InHand;
use super::message::{Event, WatchMessage};
use super::outbox::Entry;
use super::slice::{Reading, Slice};
use super::watcher::Watcher;

/// How many messages may leave the outbox before catching up has a turn.
const LIVE_IN_A_ROW_MAX: u32 = 8;
/// How many steps that bring no message one poll takes before it lets others run.
const STEPS_MAX: u32 = 2;
/// How many watchers one step looks through for one that has something in the slice.
const SERVED_MAX: u32 = 64;

/// One client's watches. The one consumer owns it and reads; [`WatchStream::control`] hands out
/// the other side. When it is dropped, all its watchers are gone.
pub struct WatchStream {
    control: WatchControl,
    speaking: Option<Speech>,
    slice: Option<Slice>,
    live_in_a_row: u32,
    /// See [`WatchStream::rest`].
    rests: bool,
    is_behind: bool,
    revisions_read: u64,
    failed: bool,
}

/// Events of one watcher that are on their way out.
struct Speech {
    watcher: Arc<Watcher>,
    /// For the message's header.
    revision: u64,
    changes: VecDeque<Arc<Change>>,
    /// An event that did not fit the last fragment.
    held: Option<Event>,
}

enum Step {
    Message(WatchMessage),
    /// Something was done, but there is no message yet.
    Worked,
    /// There is nothing to do; the waker is kept.
    Idle,
    End,
}

impl WatchStream {
    pub(crate) fn new(control: WatchControl) -> WatchStream {
        WatchStream {
            control,
            speaking: None,
            slice: None,
            live_in_a_row: 0,
            rests: false,
            is_behind: false,
            revisions_read: 0,
            failed: false,
        }
    }

    /// Whether some watcher was behind when the stream was last read: reading is catching up then.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// How many revisions of history were read for watchers that were behind, so far.
    pub fn revisions_read(&self) -> u64 {
        self.revisions_read
    }

    /// While it rests, no history is read for those who are behind; all else goes on. Whoever ends
    /// the rest reads the stream again: it wakes nobody for that.
    pub fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    /// The side for requests.
    pub fn control(&self) -> &WatchControl {
        &self.control
    }

    /// The next message. `None` is the end: the hub or [`WatchControl::end`] has ended the stream,
    /// or an error came before. Bounded work; reads history for watchers that lag.
    ///
    /// # Errors
    ///
    /// If the history cannot be read. The stream then has ended.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchMessage, Unreadable>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        for _ in 0..STEPS_MAX {
            match self.step(cx.waker()) {
                Ok(Step::Message(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(Step::Worked) => {}
                Ok(Step::Idle) => return Poll::Pending,
                Ok(Step::End) => return Poll::Ready(None),
                Err(unreadable) => {
                    self.failed = true;
                    return Poll::Ready(Some(Err(unreadable)));
                }
            }
        }
        // More is to be read, but whoever shares the thread has a turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next message; blocks the thread until there is one. `None` is the end.
    ///
    /// # Errors
    ///
    /// As [`WatchStream::poll_next`].
    pub fn next_blocking(&mut self) -> Option<Result<WatchMessage, Unreadable>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.poll_next(&mut cx) {
                Poll::Ready(message) => return message,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn step(&mut self, waker: &Waker) -> Result<Step, Unreadable> {
        if self.speaking.is_some() {
            return self.speak();
        }
        let mut state = self.control.stream.lock();
        self.is_behind = !state.has_ended() && (self.slice.is_some() || state.has_turn());
        let behind = self.is_behind && !self.rests;
        let live_first = !behind || self.live_in_a_row < LIVE_IN_A_ROW_MAX;
        if live_first && let Some(entry) = state.outbox().pop() {
            drop(state);
            self.live_in_a_row += 1;
            return self.open(entry);
        }
        self.live_in_a_row = 0;
        if !behind {
            if state.has_ended() {
                return Ok(Step::End);
            }
            state.set_waker(waker);
            return Ok(Step::Idle);
        }
        if self.slice.is_none() {
            let turn = state.take_turn(self.control.stream.options.scan_revisions_max);
            drop(state);
            self.read(turn)?;
        } else {
            drop(state);
        }
        self.serve()
    }

    fn open(&mut self, entry: Entry) -> Result<Step, Unreadable> {
        match entry {
            Entry::Control(message) => Ok(Step::Message(message)),
            Entry::Live { watcher, revision, changes } => {
                let changes = changes.into_iter().collect();
                self.speaking = Some(Speech { watcher, revision, changes, held: None });
                self.speak()
            }
        }
    }

    /// Reads a slice for those whose turn it is.
    fn read(&mut self, turn: Vec<InHand>) -> Result<(), Unreadable> {
        let WatchControl { hub, stream, history } = &self.control;
        let limits = stream.options.read_limits();
        let reading = Slice::read(history.as_ref(), turn, hub.notified(), limits);
        let Reading { slice, unreached, compacted } = match reading {
            Ok(reading) => reading,
            Err(HistoryError::Unreadable(unreadable)) => return Err(unreadable),
            Err(HistoryError::Compacted { .. }) => unreachable!("a slice answers for compaction"),
        };
        self.revisions_read += slice.as_ref().map_or(0, Slice::revisions);
        self.slice = slice;
        if !unreached.is_empty() {
            let mut state = stream.lock();
            unreached.iter().for_each(|in_hand| state.put_back(in_hand));
        }
        if let Some((compacted, lost)) = compacted {
            for in_hand in lost {
                self.control.cancel_compacted(&in_hand.watcher, compacted);
            }
        }
        Ok(())
    }

    /// Serves watchers of the slice until one has something to be told. A slice goes with the
    /// last of them.
    fn serve(&mut self) -> Result<Step, Unreadable> {
        for _ in 0..SERVED_MAX {
            let Some(slice) = &mut self.slice else { break };
            let (watcher, changes) = slice.serve();
            let advanced = self.control.advance(&watcher, slice.next());
            if slice.is_served() {
                self.slice = None;
            }
            if let Some(revision) = advanced
                && !changes.is_empty()
            {
                self.speaking = Some(Speech { watcher, revision, changes, held: None });
                return self.speak();
            }
        }
        Ok(Step::Worked)
    }

    /// The next message of what is being said: as many revisions as the limits allow, and at least
    /// one; for a watcher that allows fragments, as many events, and at least one.
    fn speak(&mut self) -> Result<Step, Unreadable> {
        let options = &self.control.stream.options;
        let speech = self.speaking.as_mut().expect("the caller has seen the speech");
        let may_cut = speech.watcher.request.fragment;
        let mut events: Vec<Event> = Vec::new();
        let (mut bytes, mut revisions) = (0, 0);
        while let Some(main) = speech.next_revision() {
            let new = events.last().is_none_or(|last| last.kv.mod_revision != main);
            let full =
                revisions >= options.message_revisions_max || bytes >= options.message_bytes_max;
            if new && full {
                break;
            }
            let event = match speech.held.take() {
                Some(event) => event,
                None => speech.next_event(&self.control)?,
            };
            let more_bytes = event.wire_bytes();
            let fits = events.is_empty() || bytes + more_bytes <= options.fragment_bytes_max;
            if may_cut && !fits {
                speech.held = Some(event);
                break;
            }
            revisions += usize::from(new);
            bytes += more_bytes;
            events.push(event);
        }
        let last = events.last().expect("a speech has something to say").kv.mod_revision;
        let more_fragments = speech.next_revision() == Some(last);
        assert!(may_cut || !more_fragments, "a revision is cut only where allowed");
        speech.watcher.mark_sent();
        let (id, revision) = (speech.watcher.id, speech.revision);
        if speech.next_revision().is_none() {
            self.speaking = None;
        }
        Ok(Step::Message(WatchMessage::Events { id, revision, events, more_fragments }))
    }
}

impl Speech {
    /// The main revision of the next event.
    fn next_revision(&self) -> Option<u64> {
        let held = self.held.as_ref().map(|event| event.kv.mod_revision);
        held.or_else(|| self.changes.front().map(|change| change.revision.main))
    }

    fn next_event(&mut self, control: &WatchControl) -> Result<Event, Unreadable> {
        let change = self.changes.pop_front().expect("the caller has seen the change");
        let prev = if self.watcher.request.prev_kv && !change.is_create() {
            control.history.before(change.key(), change.revision.main)?
        } else {
            None
        };
        Ok(Event::new(Arc::unwrap_or_clone(change), prev))
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.control.stream.lock().close();
        self.control.unregister();
    }
}

/// Wakes the thread that blocks on a stream.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}
