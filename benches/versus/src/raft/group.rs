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

use anyhow::{Result, ensure};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::cluster::{Cluster, Wires};
use super::post::Post;
use super::replica::{Applied, Payload, Replica, Settings, Shape};

/// How often messages may go back and forth within a tick before something is wrong.
const ROUNDS_MAX: usize = 10_000;

/// A group of nodes of one kind.
pub struct Group<R: Replica> {
    /// By id, from 1; none if it has crashed.
    nodes: Vec<Option<R>>,
    post: Post<R::Message>,
    now: u64,
    delay: u64,
    random: ChaCha8Rng,
    /// Kept for their memory.
    arrived: Vec<R::Message>,
    order: Vec<usize>,
}

impl<R: Replica> Group<R> {
    /// A group whose messages take `delay` ticks.
    ///
    /// # Errors
    /// If a node refuses.
    pub fn new(shape: Shape, delay: u64, seed: u64) -> Result<Group<R>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let nodes = (1..=shape.voters)
            .map(|id| {
                let settings = Settings { id, shape, seed: random.next_u64() };
                Ok(Some(R::start(&settings)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let count = nodes.len();
        Ok(Group {
            nodes,
            post: Post::new(count, delay),
            now: 0,
            delay,
            random,
            arrived: Vec::new(),
            order: (0..count).collect(),
        })
    }

    /// Messages that nodes have sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.post.sent()
    }

    /// The nodes that have not crashed, with their places.
    pub fn alive(&self) -> impl Iterator<Item = (usize, &R)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)))
    }

    /// Asks one node for reads.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn read(&mut self, place: usize, count: u64) -> Result<()> {
        if let Some(node) = &mut self.nodes[place] {
            node.read(self.now, count, self.post.hand_to(place))?;
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
            if self.post.is_quiet() {
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
        if self.post.is_empty_at(place) {
            return Ok(());
        }
        self.post.exchange(place, &mut self.arrived);
        if let Some(node) = &mut self.nodes[place] {
            node.receive(self.now, &mut self.arrived, self.post.hand_to(place))?;
            ensure!(self.arrived.is_empty(), "{}: messages were left", R::NAME);
        }
        self.arrived.clear();
        self.post.exchange(place, &mut self.arrived);
        ensure!(self.arrived.is_empty(), "{}: a node spoke to itself", R::NAME);
        Ok(())
    }

    /// Takes a node out of the group, which goes on without it.
    pub fn take_out(&mut self, place: usize) -> Option<R> {
        self.nodes[place].take()
    }

    /// Lets everyone forget its log but for its end.
    ///
    /// # Errors
    /// If a node refuses.
    pub fn compact(&mut self, keep: u64) -> Result<()> {
        for place in 0..self.nodes.len() {
            if let Some(node) = &mut self.nodes[place] {
                node.compact(self.now, keep, self.post.hand_to(place))?;
            }
        }
        Ok(())
    }

    /// Gives memory back that is held for growth.
    pub fn shrink(&mut self) {
        self.nodes.iter_mut().flatten().for_each(Replica::shrink);
        self.post.shrink();
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

impl<R: Replica> Cluster for Group<R> {
    const NAME: &'static str = R::NAME;

    fn start(shape: Shape, delay: u64, seed: u64) -> Result<Group<R>> {
        Group::new(shape, delay, seed)
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> &mut ChaCha8Rng {
        &mut self.random
    }

    fn leaders(&self) -> Vec<(usize, u64)> {
        self.alive().filter_map(|(i, node)| Some((i, node.leads()?))).collect()
    }

    fn word_max(&self) -> u64 {
        self.alive().map(|(_, node)| node.applied().word_max).max().unwrap_or(0)
    }

    fn needs_ticks(&self) -> bool {
        !self.post.is_quiet() || self.alive().any(|(_, node)| node.needs_ticks())
    }

    fn tick(&mut self) -> Result<()> {
        self.now += 1;
        self.post.pass_time(self.now);
        self.order.shuffle(&mut self.random);
        for at in 0..self.order.len() {
            let place = self.order[at];
            self.take(place)?;
            if let Some(node) = &mut self.nodes[place] {
                node.tick(self.now, self.post.hand_to(place))?;
            }
        }
        if self.delay == 0 { self.settle() } else { Ok(()) }
    }

    /// With a delay of 0 nothing is delivered before [`settle`](Group::settle) or a tick.
    fn propose(&mut self, place: usize, payloads: &[Payload]) -> Result<()> {
        if let Some(node) = &mut self.nodes[place] {
            node.propose(self.now, payloads, self.post.hand_to(place))?;
        }
        Ok(())
    }

    fn crash(&mut self, place: usize) -> Result<()> {
        self.nodes[place] = None;
        Ok(())
    }

    fn cut(&mut self, change: impl FnOnce(&mut Wires, &mut ChaCha8Rng)) {
        change(&mut self.post.wires, &mut self.random);
    }
}
