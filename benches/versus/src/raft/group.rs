//! Three or five nodes on one thread, and the wires between them.
//!
//! ```text
//!   tick t   ┌ what was sent at t - delay arrives, unless its wire is cut or its receiver is dead
//!            │ each node, in an order drawn for this tick: takes all that arrived, then its tick
//!            └ what they send in turn arrives at t + delay; with a delay of 0, within this tick,
//!              round after round until nobody has anything to say
//! ```
//!
//! A wire delivers in order, and loses nothing unless it is cut. A node's disk is as fast as
//! memory. Everything that is drawn comes from one seed, so a run can be repeated.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::replica::{Applied, ELECTION_TICKS, Outbox, Payload, Reads, Replica, Settings};

/// Ticks within which a healthy group has a leader, or something is wrong.
const FIRST_ELECTION_TICKS_MAX: u64 = 100 * ELECTION_TICKS;

/// How often messages may go back and forth within a tick before something is wrong.
const ROUNDS_MAX: usize = 10_000;

/// A group of nodes of one kind.
pub struct Group<R: Replica> {
    /// By id, from 1; none has crashed.
    nodes: Vec<Option<R>>,
    /// What has arrived at each, to be taken.
    inboxes: Vec<Vec<R::Message>>,
    /// What is under way, in the order of arrival.
    under_way: VecDeque<Travelling<R::Message>>,
    /// Whether a wire is cut, by sender and receiver.
    cut: Vec<bool>,
    now: u64,
    delay: u64,
    sent: u64,
    random: ChaCha8Rng,
    /// Kept for their memory.
    outbox: Outbox<R::Message>,
    arrived: Vec<R::Message>,
    order: Vec<usize>,
}

struct Travelling<M> {
    at: u64,
    from: usize,
    to: usize,
    message: M,
}

impl<R: Replica> Group<R> {
    /// So many voters, whose messages take `delay` ticks.
    ///
    /// # Errors
    /// If a node refuses.
    pub fn start(voters: u64, delay: u64, reads: Reads, seed: u64) -> Result<Group<R>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let nodes = (1..=voters)
            .map(|id| {
                let settings = Settings { id, voters, seed: random.next_u64(), reads };
                Ok(Some(R::start(&settings)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let count = nodes.len();
        Ok(Group {
            nodes,
            inboxes: (0..count).map(|_| Vec::new()).collect(),
            under_way: VecDeque::new(),
            cut: vec![false; count * count],
            now: 0,
            delay,
            sent: 0,
            random,
            outbox: Vec::new(),
            arrived: Vec::new(),
            order: (0..count).collect(),
        })
    }

    /// Ticks until there is a leader, and what it has to say is known to all.
    ///
    /// # Errors
    /// If none comes to be.
    pub fn elect(&mut self) -> Result<usize> {
        while self.leader().is_none() {
            ensure!(self.now < FIRST_ELECTION_TICKS_MAX, "{}: nobody is elected", R::NAME);
            self.tick()?;
        }
        for _ in 0..2 * ELECTION_TICKS {
            self.tick()?;
        }
        self.leader().ok_or_else(|| anyhow::anyhow!("{}: a leader does not last", R::NAME))
    }

    /// Ticks that have been.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Messages that nodes have sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whence everything is drawn.
    pub fn random(&mut self) -> &mut ChaCha8Rng {
        &mut self.random
    }

    /// The nodes that have not crashed, with their places.
    pub fn alive(&self) -> impl Iterator<Item = (usize, &R)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)))
    }

    /// Places of those who lead, or believe so, with their terms.
    pub fn leaders(&self) -> impl Iterator<Item = (usize, u64)> {
        self.alive().filter_map(|(i, node)| Some((i, node.leads()?)))
    }

    /// The place of the leader of the newest term.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.leaders().max_by_key(|(_, term)| *term).map(|(i, _)| i)
    }

    /// Whether anything would happen if time went on.
    #[must_use]
    pub fn needs_ticks(&self) -> bool {
        !self.under_way.is_empty() || self.alive().any(|(_, node)| node.needs_ticks())
    }

    /// A tick of everybody.
    ///
    /// # Errors
    /// If a node refuses.
    pub fn tick(&mut self) -> Result<()> {
        self.now += 1;
        while self.under_way.front().is_some_and(|it| it.at <= self.now) {
            let Some(it) = self.under_way.pop_front() else { break };
            if !self.cut[it.from * self.nodes.len() + it.to] {
                self.inboxes[it.to].push(it.message);
            }
        }
        self.order.shuffle(&mut self.random);
        for at in 0..self.order.len() {
            let place = self.order[at];
            self.take(place)?;
            if let Some(node) = &mut self.nodes[place] {
                node.tick(self.now, &mut self.outbox)?;
                self.send(place);
            }
        }
        if self.delay == 0 { self.settle() } else { Ok(()) }
    }

    /// Proposes at one node. With a delay of 0 nothing is delivered before [`settle`](Group::settle)
    /// or a tick.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn propose(&mut self, place: usize, payloads: &[Payload]) -> Result<()> {
        if let Some(node) = &mut self.nodes[place] {
            node.propose(self.now, payloads, &mut self.outbox)?;
            self.send(place);
        }
        Ok(())
    }

    /// Asks one node for reads.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn read(&mut self, place: usize, count: u64) -> Result<()> {
        if let Some(node) = &mut self.nodes[place] {
            node.read(self.now, count, &mut self.outbox)?;
            self.send(place);
        }
        Ok(())
    }

    /// Lets all that is said arrive, and what is said to it, until all is quiet. Time stands still.
    ///
    /// # Errors
    /// If a node refuses, or they never come to rest.
    pub fn settle(&mut self) -> Result<()> {
        assert!(self.delay == 0, "messages that take time need ticks");
        for _ in 0..ROUNDS_MAX {
            if self.inboxes.iter().all(Vec::is_empty) {
                return Ok(());
            }
            for place in 0..self.nodes.len() {
                self.take(place)?;
            }
        }
        anyhow::bail!("{}: messages go back and forth without end", R::NAME)
    }

    /// A node takes what has arrived.
    fn take(&mut self, place: usize) -> Result<()> {
        if self.inboxes[place].is_empty() {
            return Ok(());
        }
        std::mem::swap(&mut self.inboxes[place], &mut self.arrived);
        if let Some(node) = &mut self.nodes[place] {
            node.receive(self.now, &mut self.arrived, &mut self.outbox)?;
            ensure!(self.arrived.is_empty(), "{}: messages were left", R::NAME);
            self.send(place);
        }
        self.arrived.clear();
        std::mem::swap(&mut self.inboxes[place], &mut self.arrived);
        Ok(())
    }

    /// Puts what a node has made onto the wires.
    fn send(&mut self, from: usize) {
        self.sent += self.outbox.len() as u64;
        for (id, message) in self.outbox.drain(..) {
            let to = usize::try_from(id - 1).expect("ids are small");
            if self.delay > 0 {
                self.under_way.push_back(Travelling {
                    at: self.now + self.delay,
                    from,
                    to,
                    message,
                });
            } else if !self.cut[from * self.nodes.len() + to] {
                self.inboxes[to].push(message);
            }
        }
    }

    /// Stops a node for good; what it has sent stays under way.
    pub fn crash(&mut self, place: usize) {
        self.nodes[place] = None;
        self.inboxes[place].clear();
    }

    /// Breaks each wire of a node with one chance in two, both ways.
    pub fn break_wires_of(&mut self, place: usize) {
        let count = self.nodes.len();
        for other in 0..count {
            if self.random.random_bool(0.5) {
                self.cut[place * count + other] = true;
                self.cut[other * count + place] = true;
            }
        }
    }

    /// Takes a node out of the group, which goes on without it.
    pub fn take_out(&mut self, place: usize) -> Option<R> {
        self.nodes[place].take()
    }

    /// Cuts all wires but those between these places, both ways. What is under way on a cut wire is
    /// lost.
    pub fn keep_wires(&mut self, wires: &[(usize, usize)]) {
        self.cut.fill(true);
        for &(a, b) in wires {
            self.cut[a * self.nodes.len() + b] = false;
            self.cut[b * self.nodes.len() + a] = false;
        }
    }

    /// Mends all wires.
    pub fn mend(&mut self) {
        self.cut.fill(false);
    }

    /// Lets everyone forget its log but for its end.
    pub fn compact(&mut self, keep: u64) {
        self.nodes.iter_mut().flatten().for_each(|node| node.compact(keep));
    }

    /// Gives memory back that is held for growth.
    pub fn shrink(&mut self) {
        self.nodes.iter_mut().flatten().for_each(Replica::shrink);
        self.inboxes.iter_mut().for_each(Vec::shrink_to_fit);
        self.under_way.shrink_to_fit();
        self.outbox.shrink_to_fit();
        self.arrived.shrink_to_fit();
    }

    /// What everybody who lives has applied.
    ///
    /// # Errors
    /// If they have not applied the same.
    pub fn applied_by_all(&self) -> Result<Applied> {
        let mut all = self.alive().map(|(_, node)| *node.applied());
        let first = all.next().unwrap_or_default();
        for other in all {
            ensure!(first == other, "{}: {first:?} here, {other:?} there", R::NAME);
        }
        Ok(first)
    }
}
