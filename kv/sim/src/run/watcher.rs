//! The watchers: each must see every change of its keys once, in order, wherever it looks.

use std::task::{Context, Poll, Waker};

use drystone_kv::KeyRange;
use drystone_kv::watch::{
    CancelReason, Event, EventKind, StreamOptions, WatchMessage, WatchRequest, WatchStream,
};
use drystone_kv_model::Fact;
use drystone_sim::{NodeId, Rng};

use crate::flaw::Flaw;
use crate::run::Run;
use crate::run::client::KEYS;

/// A watcher.
pub(crate) struct Watcher {
    /// When it looks next.
    pub(crate) at: u64,
    range: KeyRange,
    /// The next revision that it has not seen.
    next: u64,
    /// The next of all changes that it has not seen, or passed by.
    cursor: usize,
    stream: Option<(NodeId, u64, WatchStream)>,
}

impl Watcher {
    pub(crate) fn new(rng: &mut Rng) -> Watcher {
        let start = format!("k{:02}", rng.below(KEYS));
        let range = if rng.below(2) == 0 {
            KeyRange { start: start.into(), end: None }
        } else {
            KeyRange::prefix("k")
        };
        Watcher { at: 0, range, next: 1, cursor: 0, stream: None }
    }

    /// The next change of its keys that it has to see.
    fn expected<'c>(&mut self, changes: &'c [Fact]) -> Option<&'c Fact> {
        while let Some(change) = changes.get(self.cursor)
            && !self.range.contains(&change.key)
        {
            self.cursor += 1;
        }
        changes.get(self.cursor)
    }

    fn see(&mut self, event: &Event, changes: &[Fact]) {
        let kv = &event.kv;
        let after = (event.kind == EventKind::Put).then(|| kv.clone());
        let seen = Fact { main: kv.mod_revision, key: kv.key.clone(), after };
        let expected = self.expected(changes);
        assert_eq!(Some(&seen), expected, "a watch shows another event than the next");
        self.cursor += 1;
    }

    fn take(&mut self, message: WatchMessage, changes: &[Fact]) -> u64 {
        match message {
            WatchMessage::Events { events, revision, .. } => {
                events.iter().for_each(|event| self.see(event, changes));
                self.next = revision + 1;
                events.len() as u64
            }
            WatchMessage::Progress { revision, .. } => {
                let missed = self.expected(changes).filter(|next| next.main <= revision);
                assert_eq!(missed, None, "a watch tells of progress to {revision}, and is behind");
                0
            }
            WatchMessage::Canceled { reason: CancelReason::Compacted { compacted }, .. } => {
                assert!(compacted > self.next, "a watch is canceled that can go on");
                self.next = compacted;
                while changes.get(self.cursor).is_some_and(|next| next.main < compacted) {
                    self.cursor += 1;
                }
                self.stream = None;
                0
            }
            _ => 0,
        }
    }
}

impl Run<'_> {
    /// The watcher whose turn it is looks.
    pub(super) fn poll(&mut self) {
        let now = self.world.now();
        let place = self.watchers.iter().position(|watcher| watcher.at <= now).expect("one is due");
        self.watchers[place].at = now + self.rng.range(1..60);
        self.poll_one(place);
    }

    fn poll_one(&mut self, place: usize) {
        let ids: Vec<NodeId> = self.world.ids().collect();
        let other = *self.rng.pick(&ids);
        let moves = self.rng.below(30) == 0;
        let watcher = &mut self.watchers[place];
        let life = |id| self.world.process(id).map(crate::member::Member::life);
        let lives = |(id, of, _): &(NodeId, u64, WatchStream)| life(*id) == Some(*of);
        if moves || !watcher.stream.as_ref().is_some_and(lives) {
            watcher.stream = None;
            let Some(member) = self.world.process(other) else { return };
            let options = StreamOptions { outbox_messages_max: 4, ..StreamOptions::default() };
            let stream = member.store.watch(options);
            let start = Some(watcher.next);
            let request = WatchRequest { start, ..WatchRequest::new(watcher.range.clone()) };
            stream.control().create(request).expect("it is the only one");
            watcher.stream = Some((other, member.life(), stream));
        }
        let mut cx = Context::from_waker(Waker::noop());
        while let Some((_, _, stream)) = &mut watcher.stream {
            let message = match stream.poll_next(&mut cx) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Pending => break,
                Poll::Ready(_) => {
                    watcher.stream = None;
                    break;
                }
            };
            let twice = self.plan.flaw == Some(Flaw::WatchTwice) && self.rng.below(20) == 0;
            if self.plan.flaw == Some(Flaw::WatchGap) && self.rng.below(20) == 0 {
                continue;
            }
            if twice {
                watcher.take(message.clone(), self.oracle.changes());
            }
            self.report.events += watcher.take(message, self.oracle.changes());
        }
        if let Some((_, _, stream)) = &watcher.stream
            && self.rng.below(4) == 0
        {
            stream.control().request_progress();
        }
    }

    /// In the end every watcher sees all there is.
    pub(super) fn catch_up(&mut self) {
        for place in 0..self.watchers.len() {
            let table = self.oracle.model.cluster.clone();
            let whole = |id: NodeId| table.member(u64::from(id.0)).is_some();
            for _ in 0..200 {
                self.poll_one(place);
                let watcher = &mut self.watchers[place];
                if watcher.expected(self.oracle.changes()).is_none() {
                    break;
                }
                watcher.stream.take_if(|(id, ..)| !whole(*id));
            }
            let left = self.watchers[place].expected(self.oracle.changes());
            assert_eq!(left, None, "a watch does not show all there is");
        }
    }
}
