//! A cluster under observation: what is done to its members, and what they say of it.
//!
//! Every step of the world is followed by a look at the node that made it: what it said is held
//! against the [`Truth`] by whoever watches.
//!
//! A **warm** cluster starts with everybody knowing everybody, each from a moment of its own within
//! the first second so that timers do not go off together, and has [`SETTLE`] to come to rest. A
//! **cold** one is made by members that join through seeds.

use std::ops::Range;
use std::sync::Arc;

use drystone_sim::{Link, NodeId, Rate, Rng, Seed, World};

use crate::gossiper::{Gossiper, Order, Seat};
use crate::member::Member;
use crate::packet::Traffic;
use crate::truth::{Sighting, Standing, Truth};
use crate::watch::Watch;
use crate::{MILLISECOND, SECOND};

/// How long a warm cluster is left alone.
pub const SETTLE: u64 = 10 * SECOND;

/// What TCP waits before it sends the first packet of a connection again (RFC 6298 §2.1).
const RESEND: u64 = SECOND;

/// Within this time the members of a warm cluster start.
const START: u64 = SECOND;

/// A cluster to be.
#[derive(Debug, Clone)]
pub struct Setup<C> {
    /// How many members.
    pub members: usize,
    /// What the user of the protocol sets.
    pub config: C,
    /// How long a datagram is under way.
    pub delay: Range<u64>,
    /// How many are lost.
    pub loss: Rate,
}

impl<C> Setup<C> {
    /// Members in one room: datagrams take 0.1 to 2 ms, and none is lost.
    pub fn new(members: usize, config: C) -> Setup<C> {
        let delay = MILLISECOND / 10..2 * MILLISECOND;
        Setup { members, config, delay, loss: Rate::NEVER }
    }

    /// The same with so many datagrams lost.
    #[must_use]
    pub fn with_loss(self, loss: Rate) -> Setup<C> {
        Setup { loss, ..self }
    }

    fn link(&self) -> Link {
        let (loss, resend_after) = (self.loss, RESEND);
        Link { loss, resend_after, ..Link::datagrams(self.delay.clone()) }
    }
}

/// Members in a world.
#[derive(Debug)]
pub struct Cluster<G: Gossiper> {
    world: World<Member<G>>,
    truth: Truth,
    /// What members have sent that are gone.
    buried: Traffic,
    rng: Rng,
}

impl<G: Gossiper> Cluster<G> {
    /// A cluster in which all know all, at rest.
    pub fn warm(setup: &Setup<G::Config>, seed: impl Into<Seed>) -> Cluster<G> {
        let mut cluster = Cluster::strangers(setup, seed);
        let all: Arc<[NodeId]> = NodeId::first(setup.members).collect();
        for node in NodeId::first(setup.members) {
            let delay = cluster.rng.below(START);
            cluster.world.later(node, delay, Order::Know(Arc::clone(&all)));
        }
        cluster.run_until(SETTLE, &mut []);
        cluster
    }

    /// A cluster of `seeds` members that know each other; all others join through them, each at a
    /// moment of its own within `within` microseconds from now.
    pub fn cold(
        setup: &Setup<G::Config>,
        seed: impl Into<Seed>,
        seeds: usize,
        within: u64,
    ) -> Cluster<G> {
        let mut cluster = Cluster::strangers(setup, seed);
        let first: Arc<[NodeId]> = NodeId::first(seeds).collect();
        for node in NodeId::first(setup.members) {
            if node.0 as usize <= seeds {
                cluster.order(node, Order::Know(Arc::clone(&first)));
            } else {
                let delay = cluster.rng.below(within);
                cluster.world.later(node, delay, Order::Join(Arc::clone(&first)));
            }
        }
        cluster
    }

    /// Members that know nobody.
    pub fn strangers(setup: &Setup<G::Config>, seed: impl Into<Seed>) -> Cluster<G> {
        let mut world = World::new(seed);
        let rng = world.seed().rng("cluster");
        world.network_mut().set_all(setup.link());
        let config = Arc::new(setup.config.clone());
        let seat = Seat { config, members: setup.members, lives: 0 };
        world.add_all((0..setup.members).map(|_| seat.clone()));
        Cluster { world, truth: Truth::new(setup.members), buried: Traffic::default(), rng }
    }

    /// Lets everything happen until `limit`; `watches` are told all that is seen.
    pub fn run_until(&mut self, limit: u64, watches: &mut [&mut dyn Watch]) {
        while let Some(happened) = self.world.step_until(limit) {
            self.tell(happened.node, watches);
        }
    }

    /// The same, from now.
    pub fn run_for(&mut self, ticks: u64, watches: &mut [&mut dyn Watch]) {
        self.run_until(self.now() + ticks, watches);
    }

    fn tell(&mut self, observer: NodeId, watches: &mut [&mut dyn Watch]) {
        let at = self.world.now();
        let Some(member) = self.world.process_mut(observer) else { return };
        let seen = member.take_seen();
        if seen.is_empty() {
            return;
        }
        let view = member.gossiper().members_count() + 1;
        for (about, what) in seen {
            let sighting = Sighting { at, observer, about, what, view };
            for watch in &mut *watches {
                watch.saw(&self.truth, &sighting);
            }
        }
    }

    /// Orders something of a member, now.
    pub fn order(&mut self, node: NodeId, order: Order) {
        self.world.later(node, 0, order);
    }

    /// Lets a member leave: it is told so now, and from now on it is gone. Its process goes on, so
    /// that it can spread the news; [`stop`](Cluster::stop) ends it.
    pub fn leave(&mut self, node: NodeId) {
        self.order(node, Order::Leave);
        self.truth.set(node, Standing::Gone);
    }

    /// Crashes a member.
    pub fn crash(&mut self, node: NodeId) {
        self.truth.set(node, Standing::Gone);
        self.stop(node);
    }

    /// Ends the process of a member that is gone.
    ///
    /// # Panics
    ///
    /// If it is a member still.
    pub fn stop(&mut self, node: NodeId) {
        assert!(self.truth.of(node) == Standing::Gone, "who is stopped is gone");
        if let Some(member) = self.world.process(node) {
            self.buried.add(member.traffic());
        }
        self.world.crash(node);
    }

    /// Starts a new process where one is gone. It knows nobody: order it to join.
    pub fn restart(&mut self, node: NodeId) {
        if self.world.restart(node) {
            self.truth.set(node, Standing::Healthy);
        }
    }

    /// Blocks a member: all that it sends and receives waits for the end of the block, and its
    /// timers go off as ever. This is the anomaly of the Lifeguard paper (§II), a process that runs
    /// and is not heard. It counts as troubled from now on, until
    /// [`set_standing`](Cluster::set_standing) says otherwise.
    pub fn block(&mut self, node: NodeId) {
        self.truth.set(node, Standing::Troubled);
        self.world.block(node);
    }

    /// Ends a block: what had come for the member reaches it at once, what it has sent leaves now.
    pub fn unblock(&mut self, node: NodeId) {
        self.world.unblock(node);
    }

    /// Lets every link lose this share of its datagrams from now on.
    pub fn set_loss(&mut self, loss: Rate) {
        let network = self.world.network_mut();
        network.set_all(Link { loss, ..network.usual().clone() });
    }

    /// Says how a node really is.
    pub fn set_standing(&mut self, node: NodeId, standing: Standing) {
        self.truth.set(node, standing);
    }

    /// Some members that are healthy, drawn by the seed.
    pub fn some(&mut self, count: usize) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.truth.all(Standing::Healthy).collect();
        self.rng.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }

    /// How things really are.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Microseconds of the world.
    pub fn now(&self) -> u64 {
        self.world.now()
    }

    /// The world, to read it.
    pub fn world(&self) -> &World<Member<G>> {
        &self.world
    }

    /// The world, to cut its links.
    pub fn world_mut(&mut self) -> &mut World<Member<G>> {
        &mut self.world
    }

    /// What all members have sent so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut sum = self.buried;
        self.world.processes().for_each(|(_, member)| sum.add(member.traffic()));
        sum
    }

    /// How many of the healthy members are right about who is up: all that are, and nobody else.
    #[must_use]
    pub fn right_count(&self) -> usize {
        self.verdicts().filter(|right| *right).count()
    }

    /// Of each healthy member, whether it is right.
    fn verdicts(&self) -> impl Iterator<Item = bool> {
        let up = self.truth.up().count();
        let right = move |node| {
            let member = self.world.process(node);
            member.is_some_and(|member| member.is_right(&self.truth, up))
        };
        self.truth.all(Standing::Healthy).map(right)
    }

    /// Whether every healthy member is right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.verdicts().all(|right| right)
    }
}
