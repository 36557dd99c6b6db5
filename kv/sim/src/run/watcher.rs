//! The watchers: each must see every change of its keys once, in order, wherever it looks.
//!
//! A watcher is a client with one stream and a few [watches](View) on it. It looks for a while at
//! one member, then at another, or at the same after a crash, and goes on behind the last revision
//! that it has seen whole. Now and then it cancels a watch, and begins another: other keys, other
//! filters, from an old revision, from a future one, or from now on. What is said of a watch after
//! its end is said to nobody, and is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use drystone_kv::watch::{StreamOptions, WatchId, WatchMessage, WatchStream};
use drystone_kv_model::Model;
use drystone_sim::{NodeId, Rng};

use super::view::View;
use crate::flaw::Flaw;
use crate::member::Member;
use crate::requests::Requests;
use crate::run::Run;

/// How many watches a watcher has at most.
const VIEWS_MAX: usize = 4;

/// A watcher.
pub(crate) struct Watcher {
    /// When it looks next.
    pub(crate) at: u64,
    views: Vec<View>,
    stream: Option<Stream>,
}

/// Where it looks.
struct Stream {
    node: NodeId,
    life: u64,
    messages: WatchStream,
}

impl Default for Watcher {
    /// One that wants to see everything.
    fn default() -> Watcher {
        Watcher { at: 0, views: vec![View::default()], stream: None }
    }
}

/// A waker that remembers: whoever polls sees that there is more.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watcher {
    /// Looks nowhere any more.
    fn leave(&mut self) {
        self.stream = None;
        self.views.iter_mut().for_each(View::end);
    }

    /// Begins those watches that are not on its stream.
    fn join(&mut self, member: &Member, model: &Model) {
        let Some(stream) = &self.stream else { return };
        for view in self.views.iter_mut().filter(|view| view.here.is_none()) {
            let opened = member.store.revision();
            let id = stream.messages.control().create(view.ask(model));
            view.begun(id.expect("there is room, and the range has some"), opened);
        }
    }

    /// Has the watch that is `place`th end.
    fn cancel(&mut self, place: usize) {
        let (Some(stream), Some(view)) = (&self.stream, self.views.get_mut(place)) else { return };
        if let Some(here) = &mut view.here
            && !here.leaves
        {
            // If not, a compaction has ended it, and that is to be told.
            here.leaves = stream.messages.control().cancel(here.id);
        }
    }

    /// Takes a message from a member that has compacted up to `compacted`; how many events it has.
    fn take(&mut self, message: WatchMessage, model: &Model, compacted: Option<u64>) -> u64 {
        if let WatchMessage::Progress { id: None, revision } = message {
            let all = self.views.iter_mut().filter(|view| view.stands());
            all.for_each(|view| view.progress(revision, model));
            return 0;
        }
        let id = name(&message).expect("only progress is told to all");
        let is_its = |view: &&mut View| view.here.as_ref().is_some_and(|here| here.id == id);
        let view = self.views.iter_mut().find(is_its);
        let view =
            view.unwrap_or_else(|| panic!("a watch shows that it has not ended: {message:?}"));
        view.take(message, model, compacted)
    }
}

/// Of whom a message speaks.
fn name(message: &WatchMessage) -> Option<WatchId> {
    match message {
        WatchMessage::Created { id, .. }
        | WatchMessage::Events { id, .. }
        | WatchMessage::Canceled { id, .. } => Some(*id),
        WatchMessage::Progress { id, .. } => *id,
    }
}

/// Limits so small that watchers lag, and messages are cut.
fn options(rng: &mut Rng) -> StreamOptions {
    StreamOptions {
        outbox_messages_max: 4,
        message_revisions_max: *rng.pick(&[2, 1000]),
        message_bytes_max: *rng.pick(&[300, 1 << 20]),
        fragment_bytes_max: *rng.pick(&[100, 1 << 20]),
        scan_revisions_max: *rng.pick(&[100, 4096]),
        scan_bytes_max: *rng.pick(&[2_000, 1 << 20]),
        ..StreamOptions::default()
    }
}

impl Run<'_> {
    /// The watcher whose turn it is looks.
    pub(super) fn poll(&mut self) {
        let now = self.world.now();
        let place = self.watchers.iter().position(|watcher| watcher.at <= now).expect("one is due");
        self.watchers[place].at = now + self.rng.range(1..60);
        if self.rng.below(30) == 0 {
            self.watchers[place].leave();
        }
        if self.rng.below(30) == 0 {
            self.change(place);
        }
        let rests = self.rng.below(6) == 0;
        self.poll_one(place, rests);
        if let Some(stream) = &self.watchers[place].stream {
            let control = stream.messages.control();
            match self.rng.below(8) {
                0 | 1 => drop(control.request_progress()),
                2 => control.tick_progress(),
                _ => {}
            }
        }
    }

    /// A watcher wants something else: one more watch, or another in the place of one.
    fn change(&mut self, place: usize) {
        let mut requests = Requests {
            rng: &mut self.rng,
            model: &self.oracle.model,
            leases: &self.leases,
            serial: self.call_next,
        };
        let new = View::draw(&mut requests);
        let watcher = &mut self.watchers[place];
        let old = self.rng.below(VIEWS_MAX as u64) as usize;
        let goes_on = self.rng.below(3) == 0;
        let Some(view) = watcher.views.get_mut(old) else { return watcher.views.push(new) };
        view.then = (!goes_on).then(|| Box::new(new));
        match view.here {
            Some(_) => watcher.cancel(old),
            None => view.end(),
        }
    }

    /// Looks at a member, at another one if that has crashed, until it has nothing to say.
    fn poll_one(&mut self, place: usize, rests: bool) {
        let life = |id| self.world.process(id).map(Member::life);
        let here = self.watchers[place].stream.as_ref();
        if here.is_none_or(|stream| life(stream.node) != Some(stream.life)) {
            self.open(place);
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let watcher = &mut self.watchers[place];
        if let Some(stream) = &mut watcher.stream {
            stream.messages.rest(rests);
            let member = self.world.process(stream.node).expect("it is up");
            watcher.join(member, &self.oracle.model);
        }
        while let Some(stream) = &mut watcher.stream {
            let member = self.world.process(stream.node).expect("it is up");
            let message = match stream.messages.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Pending if woken.0.swap(false, Ordering::Relaxed) => continue,
                Poll::Pending => break,
                Poll::Ready(_) => {
                    watcher.leave();
                    break;
                }
            };
            let twice = self.plan.flaw == Some(Flaw::WatchTwice) && self.rng.below(20) == 0;
            if self.plan.flaw == Some(Flaw::WatchGap) && self.rng.below(20) == 0 {
                continue;
            }
            let compacted = self.oracle.moment(member.applied()).compacted;
            if twice {
                watcher.take(message.clone(), &self.oracle.model, compacted);
            }
            self.report.events += watcher.take(message, &self.oracle.model, compacted);
        }
    }

    /// Begins to look at any member that is up.
    fn open(&mut self, place: usize) {
        let watcher = &mut self.watchers[place];
        watcher.leave();
        let ids: Vec<NodeId> = self.world.ids().collect();
        let node = *self.rng.pick(&ids);
        let Some(member) = self.world.process(node) else { return };
        let messages = member.store.watch(options(&mut self.rng));
        watcher.stream = Some(Stream { node, life: member.life(), messages });
    }

    /// In the end every watcher sees all there is, and is told that it has.
    pub(super) fn catch_up(&mut self) {
        let newest = self.oracle.model.revision;
        for place in 0..self.watchers.len() {
            let table = self.oracle.model.cluster.clone();
            let whole = |node: NodeId| table.member(u64::from(node.0)).is_some();
            for _ in 0..200 {
                self.poll_one(place, false);
                let watcher = &mut self.watchers[place];
                if watcher.stream.as_ref().is_some_and(|stream| !whole(stream.node)) {
                    watcher.leave();
                }
                let model = &self.oracle.model;
                if watcher.views.iter_mut().all(|v| v.stands() && v.expected(model).is_none()) {
                    break;
                }
            }
            let watcher = &mut self.watchers[place];
            for view in &mut watcher.views {
                let left = view.expected(&self.oracle.model);
                assert_eq!(left, None, "a watch shows less than there is");
                assert!(view.stands(), "a watch tells nothing of its beginning or end");
            }
            let stream = watcher.stream.as_ref().expect("members of the table are up");
            // One that waits for the future makes no progress, nor do the others then.
            if !watcher.views.iter().any(|view| view.waits_beyond(newest)) {
                assert!(stream.messages.control().request_progress(), "a watch lags for ever");
                self.poll_one(place, false);
                for view in &self.watchers[place].views {
                    let told = view.told;
                    assert_eq!(told, newest, "a watch that has seen all tells of no progress");
                }
            }
        }
    }
}
