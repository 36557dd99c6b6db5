//! Everything that can go wrong with a cluster, from one seed: a storm, and an end to it.
//!
//! ```text
//!     storm                                               calm
//!     ├───────────────────────────────────────────────────┼──────────────────────────────►
//!      n3 crashes   n9 leaves   half is cut off   n4 deaf   heal: who is up is well, and who is
//!        └ joins      └ joins     └ whole           └ hears   down stays down. All must be right.
//! ```
//!
//! What a network and a machine do to any protocol is the simulator's
//! [`Trouble`]: pauses, partitions of every shape (one-way ones among them), bad links, wrong
//! clocks. What is the matter of members is added here: they crash and come back as strangers who
//! must join, they leave and come back, they are blocked, they are deaf by turns, and the whole
//! network loses more or takes longer for a while.
//!
//! Five nodes, the seeds, are those that others join through. They fall like any other, but they
//! are always there in the end, as the addresses in a configuration would be.

use std::sync::Arc;

use drystone_sim::{Harm, Link, NodeId, Profile, Rate, Rest, Rng, Trouble, Woe};

use crate::cluster::Cluster;
use crate::gossiper::{Gossiper, Order};
use crate::truth::Standing;
use crate::watch::Watch;
use crate::{MILLISECOND, SECOND};

/// Through how many members those who come back join.
const SEEDS: usize = 5;

/// How long a member that leaves is given to spread the news.
const LINGER: u64 = 5 * SECOND;

/// What a nemesis does, how often and for how long, in microseconds.
#[derive(Debug, Clone)]
pub struct Storm {
    /// What becomes of the network, of clocks and of processes. Its crashes and blackouts must be
    /// left out: the simulator does not know that who comes back has to join.
    pub profile: Profile,
    /// A member crashes, and joins again afterwards.
    pub crash: Woe,
    /// A member leaves, and joins again afterwards.
    pub leave: Woe,
    /// A member is blocked: it runs and is not heard.
    pub block: Woe,
    /// A member is deaf and hears by turns of [`FLIP`].
    pub flip_flop: Woe,
    /// Every link loses up to half.
    pub loss: Woe,
    /// Every datagram takes up to a fifth of a second longer.
    pub delay: Woe,
}

/// How long a member that is deaf by turns is so at a time.
pub const FLIP: u64 = 3 * SECOND;

impl Storm {
    /// Something of each kind in half a minute, several at a time.
    #[must_use]
    pub fn usual() -> Storm {
        let s = SECOND;
        let profile = Profile {
            pause: Woe::new(6 * s, s / 2..15 * s),
            partition: Woe::new(8 * s, s..15 * s),
            bad_links: Woe::new(8 * s, s..10 * s),
            bad_link: Link::hostile(MILLISECOND..200 * MILLISECOND),
            drift: Woe::new(10 * s, s..20 * s),
            drift_ppm_max: 5_000,
            jump: Woe::new(20 * s, s / 2..20 * s),
            ..Profile::calm()
        };
        Storm {
            profile,
            crash: Woe::new(4 * s, s / 2..30 * s),
            leave: Woe::new(8 * s, s / 2..20 * s),
            block: Woe::new(6 * s, s..15 * s),
            flip_flop: Woe::new(12 * s, 6 * s..20 * s),
            loss: Woe::new(15 * s, s..10 * s),
            delay: Woe::new(15 * s, s..10 * s),
        }
    }

    fn woe(&self, kind: Kind) -> &Woe {
        match kind {
            Kind::Crash => &self.crash,
            Kind::Leave => &self.leave,
            Kind::Block => &self.block,
            Kind::FlipFlop => &self.flip_flop,
            Kind::Loss => &self.loss,
            Kind::Delay => &self.delay,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Leave,
    Block,
    FlipFlop,
    Loss,
    Delay,
}

const KINDS: [Kind; 6] =
    [Kind::Crash, Kind::Leave, Kind::Block, Kind::FlipFlop, Kind::Loss, Kind::Delay];

/// What comes after something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The process of a member that has left ends.
    End(NodeId),
    /// A new process starts, and joins.
    Return(NodeId),
    Unblock(NodeId),
    /// One that is deaf by turns hears again, or is deaf again.
    Turn {
        node: NodeId,
        deaf: bool,
        until: u64,
    },
    /// Links are as they were, unless they have got worse since.
    Fine(u64),
}

/// How often what has come, beside what the simulator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Members that crashed.
    pub crashes: u64,
    /// Members that left.
    pub leaves: u64,
    /// Members that came back.
    pub returns: u64,
    /// Members that were blocked.
    pub blocks: u64,
    /// Members that were deaf by turns.
    pub flip_flops: u64,
    /// Times that all links were lossy or slow.
    pub weather: u64,
    /// What the simulator did.
    pub harm: Harm,
}

/// The nemesis of one cluster.
#[derive(Debug)]
pub struct Nemesis {
    storm: Storm,
    trouble: Trouble,
    rng: Rng,
    /// When each kind comes next; `u64::MAX` is never.
    due: [u64; KINDS.len()],
    then: Vec<(u64, Then)>,
    /// How links were before.
    fine: Link,
    done: Done,
}

impl Nemesis {
    /// A storm over this cluster, from now on. What comes is drawn from the cluster's seed.
    pub fn new<G: Gossiper>(storm: Storm, cluster: &Cluster<G>) -> Nemesis {
        let seed = cluster.world().seed();
        let never = storm.profile.crash == Woe::NEVER && storm.profile.blackout == Woe::NEVER;
        assert!(never, "the simulator cannot tell who comes back to join");
        let mut nemesis = Nemesis {
            trouble: Trouble::new(storm.profile.clone(), seed.rng("trouble")),
            rng: seed.rng("nemesis"),
            due: [u64::MAX; KINDS.len()],
            then: Vec::new(),
            fine: cluster.world().network().usual().clone(),
            storm,
            done: Done::default(),
        };
        for (place, kind) in KINDS.into_iter().enumerate() {
            nemesis.due[place] = nemesis.next(kind, cluster.now());
        }
        nemesis
    }

    /// Lets the cluster run until `until`, and does to it what comes meanwhile.
    pub fn run_until<G: Gossiper>(
        &mut self,
        cluster: &mut Cluster<G>,
        until: u64,
        watches: &mut [&mut dyn Watch],
    ) {
        self.act(cluster);
        while cluster.now() < until {
            cluster.run_until(self.next_at().min(until), watches);
            self.act(cluster);
        }
    }

    /// Ends the storm: every link is open and good, every clock right, whoever is up is well, and
    /// whoever is down stays so but for the seeds.
    pub fn heal<G: Gossiper>(&mut self, cluster: &mut Cluster<G>) {
        for (_, then) in std::mem::take(&mut self.then) {
            if let Then::End(node) = then {
                cluster.stop(node);
            }
        }
        self.due = [u64::MAX; KINDS.len()];
        let seeds: Vec<NodeId> =
            self.seeds(cluster).iter().copied().filter(|id| !cluster.world().is_up(*id)).collect();
        let up: Vec<NodeId> =
            cluster.world().ids().filter(|id| cluster.world().is_up(*id)).collect();
        self.trouble.heal(cluster.world_mut(), &up, Rest::Down);
        cluster.world_mut().network_mut().set_all(self.fine.clone());
        for node in seeds {
            self.bring_back(cluster, node);
        }
    }

    /// What has come so far.
    pub fn done(&self) -> Done {
        Done { harm: self.trouble.harm(), ..self.done }
    }

    fn next_at(&self) -> u64 {
        let then = self.then.iter().map(|(at, _)| *at);
        self.due.into_iter().chain(then).fold(self.trouble.next_at(), u64::min)
    }

    fn act<G: Gossiper>(&mut self, cluster: &mut Cluster<G>) {
        let now = cluster.now();
        self.trouble.act(cluster.world_mut());
        while let Some(place) = self.then.iter().position(|(at, _)| *at <= now) {
            let (_, then) = self.then.remove(place);
            self.follow(cluster, then);
        }
        for (place, kind) in KINDS.into_iter().enumerate() {
            if self.due[place] <= now {
                self.due[place] = self.next(kind, now);
                self.strike(cluster, kind);
            }
        }
    }

    fn next(&mut self, kind: Kind, now: u64) -> u64 {
        match self.storm.woe(kind).every {
            0 => u64::MAX,
            every => now + self.rng.range(1..2 * every + 1),
        }
    }

    fn seeds<G: Gossiper>(&self, cluster: &Cluster<G>) -> Arc<[NodeId]> {
        NodeId::first(SEEDS.min(cluster.world().ids().len())).collect()
    }

    /// A member that is up. None while fewer than half are: a cluster that is hardly there any more
    /// says nothing about one that is.
    fn victim<G: Gossiper>(&mut self, cluster: &Cluster<G>) -> Option<NodeId> {
        let up: Vec<NodeId> = cluster.truth().all(Standing::Healthy).collect();
        let all = cluster.world().ids().len();
        (2 * up.len() > all).then(|| *self.rng.pick(&up))
    }

    fn strike<G: Gossiper>(&mut self, cluster: &mut Cluster<G>, kind: Kind) {
        let lasting = self.storm.woe(kind).lasting.clone();
        let until = cluster.now() + self.rng.range(lasting);
        if kind == Kind::Loss || kind == Kind::Delay {
            self.worsen(cluster, kind, until);
            return;
        }
        let Some(node) = self.victim(cluster) else { return };
        match kind {
            Kind::Crash => {
                self.done.crashes += 1;
                cluster.crash(node);
                self.then.push((until, Then::Return(node)));
            }
            Kind::Leave => {
                self.done.leaves += 1;
                cluster.leave(node);
                self.then.push((cluster.now() + LINGER, Then::End(node)));
                self.then.push((until + LINGER, Then::Return(node)));
            }
            Kind::Block => {
                self.done.blocks += u64::from(cluster.world_mut().block(node));
                self.then.push((until, Then::Unblock(node)));
            }
            Kind::FlipFlop => {
                self.done.flip_flops += 1;
                self.turn(cluster, node, true, until);
            }
            Kind::Loss | Kind::Delay => unreachable!("they are of no member"),
        }
    }

    fn follow<G: Gossiper>(&mut self, cluster: &mut Cluster<G>, then: Then) {
        match then {
            Then::End(node) => cluster.stop(node),
            Then::Return(node) => self.bring_back(cluster, node),
            Then::Unblock(node) => cluster.unblock(node),
            Then::Turn { node, deaf, until } => self.turn(cluster, node, deaf, until),
            Then::Fine(count) if count == self.done.weather => {
                cluster.world_mut().network_mut().set_all(self.fine.clone());
            }
            Then::Fine(_) => {}
        }
    }

    fn bring_back<G: Gossiper>(&mut self, cluster: &mut Cluster<G>, node: NodeId) {
        self.done.returns += 1;
        cluster.restart(node);
        cluster.order(node, Order::Join(self.seeds(cluster)));
    }

    fn turn<G: Gossiper>(
        &mut self,
        cluster: &mut Cluster<G>,
        node: NodeId,
        deaf: bool,
        until: u64,
    ) {
        let network = cluster.world_mut().network_mut();
        for from in network.ids().filter(|from| *from != node) {
            match deaf {
                true => network.cut(from, node),
                false => network.mend(from, node),
            }
        }
        let next = cluster.now() + FLIP;
        if !deaf && next >= until {
            return;
        }
        self.then.push((next, Then::Turn { node, deaf: !deaf, until }));
    }

    fn worsen<G: Gossiper>(&mut self, cluster: &mut Cluster<G>, kind: Kind, until: u64) {
        self.done.weather += 1;
        let network = cluster.world_mut().network_mut();
        let mut link = self.fine.clone();
        if kind == Kind::Loss {
            link.loss = Rate::percent(self.rng.range(5..51) as u32);
        } else {
            let more = self.rng.range(5..200) * MILLISECOND;
            link.delay = link.delay.start..link.delay.end + more;
        }
        network.set_all(link);
        self.then.push((until, Then::Fine(self.done.weather)));
    }
}
