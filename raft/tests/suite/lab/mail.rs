//! The network of a bench: what is under way, what is cut, and snapshots that are carried over.

use std::collections::VecDeque;

use drystone_raft::{Body, Entry, Input, Message, NodeId, Term};

use super::Lab;

/// A message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) due: u64,
    pub(crate) message: Message,
}

impl Lab {
    /// Delivers everything that is due, and what comes of it, until nothing is.
    pub(crate) fn deliver_all(&mut self) {
        let mut count = 0;
        let due = |lab: &Lab, mail: &Mail| {
            let seat = lab.seats.get(&mail.message.to);
            mail.due <= lab.now && seat.is_none_or(|seat| !seat.paused)
        };
        while let Some(at) = self.mail.iter().position(|mail| due(self, mail)) {
            let message = self.mail.remove(at).unwrap().message;
            count += 1;
            assert!(count < 200_000, "messages without end: {message:?}");
            self.deliver(message);
            self.fetch_all();
        }
        self.fetch_all();
    }

    fn fetch_all(&mut self) {
        while self.fetches_at_once && !self.fetches.is_empty() {
            self.fetch(true);
        }
    }

    /// The first snapshot that is being fetched arrives, or cannot be had.
    pub(crate) fn fetch(&mut self, good: bool) {
        let (id, from, meta) = self.fetches.pop_front().unwrap();
        let there = self.seats[&from].up && !self.cut.contains(&(from, id));
        let known = |entry: &&Entry| entry.index <= meta.last.index;
        let state = self.seats[&from].applied.iter().filter(known).cloned().collect();
        let good = good && there;
        self.at(id).fetched = Some(state);
        self.step(id, vec![Input::SnapshotFetched(good.then_some(meta))]);
    }

    pub(crate) fn deliver(&mut self, message: Message) {
        if !self.cut.contains(&(message.from, message.to)) && self.seats.contains_key(&message.to) {
            self.step(message.to, vec![Input::Peer(message)]);
        }
    }

    /// Takes the messages that `wanted` names off the mail.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, left) = self.mail.drain(..).partition(|mail| wanted(&mail.message));
        self.mail = left;
        let taken: VecDeque<Mail> = taken;
        taken.into_iter().map(|mail| mail.message).collect()
    }

    /// A message made by hand, put behind all others.
    pub(crate) fn post(&mut self, from: NodeId, to: NodeId, term: u64, body: Body) {
        let message = Message { from, to, generation: 0, term: Term(term), body };
        self.mail.push_back(Mail { due: self.now, message });
    }

    /// Cuts every link between two sides, both ways.
    pub(crate) fn part(&mut self, left: &[NodeId], right: &[NodeId]) {
        for a in left {
            for b in right {
                self.cut.insert((*a, *b));
                self.cut.insert((*b, *a));
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
