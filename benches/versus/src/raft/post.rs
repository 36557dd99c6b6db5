//! What nodes say to each other, on its way.

use std::collections::VecDeque;

use super::cluster::Wires;

/// The wires of a group, and what is on them or has arrived.
#[derive(Debug)]
pub struct Post<M> {
    /// Who speaks at the moment: a place, from 0.
    from: usize,
    now: u64,
    /// Ticks that a message takes.
    delay: u64,
    sent: u64,
    /// What has arrived at each place, to be taken.
    inboxes: Vec<Vec<M>>,
    /// In the order of arrival.
    under_way: VecDeque<Travelling<M>>,
    /// Which of them carry.
    pub(super) wires: Wires,
}

#[derive(Debug)]
struct Travelling<M> {
    at: u64,
    from: usize,
    to: usize,
    message: M,
}

impl<M> Post<M> {
    /// Between so many nodes.
    #[must_use]
    pub fn new(count: usize, delay: u64) -> Post<M> {
        Post {
            from: 0,
            now: 0,
            delay,
            sent: 0,
            inboxes: (0..count).map(|_| Vec::new()).collect(),
            under_way: VecDeque::new(),
            wires: Wires::new(count),
        }
    }

    /// Takes a message from whoever speaks to the node of this id, from 1.
    pub fn send(&mut self, to: u64, message: M) {
        self.sent += 1;
        let (from, to) = (self.from, usize::try_from(to - 1).expect("ids are small"));
        if self.delay > 0 {
            self.under_way.push_back(Travelling { at: self.now + self.delay, from, to, message });
        } else if self.wires.carry(from, to) {
            self.inboxes[to].push(message);
        }
    }

    /// The node at this place speaks now.
    pub(super) fn hand_to(&mut self, place: usize) -> &mut Post<M> {
        self.from = place;
        self
    }

    /// What has arrived at a place, in exchange for an empty vector.
    pub(super) fn exchange(&mut self, place: usize, arrived: &mut Vec<M>) {
        std::mem::swap(&mut self.inboxes[place], arrived);
    }

    /// Whether nothing has arrived at a place.
    pub(super) fn is_empty_at(&self, place: usize) -> bool {
        self.inboxes[place].is_empty()
    }

    /// Whether nothing has arrived anywhere, and nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty() && self.inboxes.iter().all(Vec::is_empty)
    }

    /// Messages sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Time has come to `now`; what is due arrives.
    pub(super) fn pass_time(&mut self, now: u64) {
        self.now = now;
        while self.under_way.front().is_some_and(|it| it.at <= now) {
            let Some(it) = self.under_way.pop_front() else { break };
            if self.wires.carry(it.from, it.to) {
                self.inboxes[it.to].push(it.message);
            }
        }
    }

    /// Gives memory back that is held for growth.
    pub(super) fn shrink(&mut self) {
        self.inboxes.iter_mut().for_each(Vec::shrink_to_fit);
        self.under_way.shrink_to_fit();
    }
}
