//! A laboratory: members of our own protocol in a world, with all that is theirs in reach.
//!
//! [`Cluster`](drystone_membership_sim::Cluster) asks the same of any protocol. The scenarios want
//! what only ours has: keys, names, lives, addresses that change, events word for word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drystone_membership::{Boot, Config, Effect, Event, Input, Node, NodeId as Id, Result, Swim};
use drystone_membership_sim::{MILLISECOND, Packet, SECOND, address_of, node_of};
use drystone_sim::{
    Input as Happening, InputOf, Link, NodeId, OutboxOf, Process, Rng, Seed, Seeds, Shape, World,
};

/// With so few members every step is followed by a check.
const FEW: usize = 16;

/// What a member starts with, and what is left when it crashes.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) boot: Boot,
    pub(crate) config: Arc<Config>,
    /// Whom it takes for members from the beginning, and in which life.
    pub(crate) known: Arc<[(Node, u32)]>,
    /// Whether each step is followed by a check.
    pub(crate) checked: bool,
    /// Whether all that it sends is kept.
    pub(crate) taped: bool,
}

impl Home {
    /// Of a member that knows nobody.
    pub(crate) fn new(boot: Boot, config: &Config) -> Home {
        let config = Arc::new(config.clone());
        Home { boot, config, known: Arc::default(), checked: true, taped: false }
    }
}

/// A member.
pub(crate) struct Machine {
    home: Home,
    pub(crate) swim: Swim,
    effects: Vec<Effect>,
    /// What its application was told, and when by its own clock.
    pub(crate) events: Vec<(u64, Event)>,
    /// What it has sent, if that is kept.
    tape: Vec<(NodeId, Packet)>,
}

impl Machine {
    fn hand(&mut self, now: u64, input: Input<'_>, out: &mut OutboxOf<'_, Self>) -> Result<()> {
        let result = self.swim.handle(Duration::from_micros(now), input, &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Datagram { to, bytes } => {
                    self.send(to, Packet { stream: false, bytes: bytes.into() }, out);
                }
                Effect::Stream { to, bytes } => {
                    self.send(to, Packet { stream: true, bytes: bytes.into() }, out);
                }
                Effect::Event(event) => self.events.push((now, event)),
                Effect::Persist => {}
            }
        }
        if self.home.checked {
            self.swim.check();
        }
        result
    }

    fn send(&mut self, to: SocketAddr, packet: Packet, out: &mut OutboxOf<'_, Self>) {
        let SocketAddr::V4(to) = to else { return };
        let to = node_of(to);
        // Members that were made up live where nobody does.
        if to == NodeId(0) {
            return;
        }
        if self.home.taped {
            self.tape.push((to, packet.clone()));
        }
        match packet.stream {
            true => out.stream(to, packet),
            false => out.send(to, packet),
        }
    }
}

impl Process for Machine {
    type Message = Packet;
    type Event = ();
    type Disk = Home;

    fn start(_: NodeId, mut home: Home, now: u64, out: &mut OutboxOf<'_, Self>) -> Machine {
        home.boot.seed = out.rng().draw();
        let now = Duration::from_micros(now);
        let mut swim = Swim::new(home.boot.clone(), (*home.config).clone(), now).unwrap();
        swim.assume(home.known.iter().cloned());
        let (effects, events, tape) = (Vec::new(), Vec::new(), Vec::new());
        Machine { home, swim, effects, events, tape }
    }

    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
        // What was wrong with a packet is counted by the member.
        let _ = match input {
            Happening::Message { from, message } if !message.stream => {
                let from = address_of(from).into();
                self.hand(now, Input::Datagram { from, bytes: &message.bytes }, out)
            }
            Happening::Message { message, .. } => {
                self.hand(now, Input::Stream { bytes: &message.bytes }, out)
            }
            Happening::Event(()) => Ok(()),
            Happening::Wake => self.hand(now, Input::Tick, out),
        };
    }

    fn deadline(&self) -> Option<u64> {
        self.swim.deadline().map(|at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
    }

    fn crash(self, _: &mut Rng) -> Home {
        self.home
    }
}

/// Members in a world.
pub(crate) struct Lab {
    pub(crate) world: World<Machine>,
}

impl Lab {
    /// Nobody, in a room where datagrams take 0.1 to 2 ms.
    pub(crate) fn new(seed: Seed) -> Lab {
        let mut world = World::new(seed);
        world.network_mut().set_all(Link::datagrams(MILLISECOND / 10..2 * MILLISECOND));
        Lab { world }
    }

    /// Members that all know each other, in life 0.
    pub(crate) fn warm(seed: Seed, count: usize, config: &Config) -> Lab {
        Lab::warm_as(seed, count, |boot| Home::new(boot, config))
    }

    /// The same, with more than a configuration.
    pub(crate) fn warm_as(seed: Seed, count: usize, home: impl Fn(Boot) -> Home) -> Lab {
        let mut lab = Lab::new(seed);
        let known: Arc<[(Node, u32)]> = NodeId::first(count).map(|node| (whole(node), 0)).collect();
        let homes = NodeId::first(count).map(|node| {
            let home = home(Boot::new(whole(node), 0, 0));
            Home { known: Arc::clone(&known), checked: count <= FEW, ..home }
        });
        lab.world.add_all(homes.collect::<Vec<_>>());
        lab
    }

    /// Adds a member that knows nobody, on a node of its own.
    pub(crate) fn add(&mut self, home: Home) -> NodeId {
        self.world.add(home)
    }

    /// The node that is added next.
    pub(crate) fn next(&self) -> NodeId {
        NodeId(self.world.ids().len() as u32 + 1)
    }

    /// Starts a process in a new life where one was, which joins through these.
    pub(crate) fn restart(&mut self, node: NodeId, life: u32, seeds: &[NodeId]) {
        self.world.crash(node);
        let home = self.world.disk_mut(node).unwrap();
        (home.boot.life, home.known) = (life, Arc::default());
        self.world.restart(node);
        self.join(node, seeds);
    }

    pub(crate) fn join(&mut self, node: NodeId, seeds: &[NodeId]) {
        let seeds = seeds.iter().map(|seed| address_of(*seed).into()).collect();
        self.give(node, Input::Join(seeds)).unwrap();
    }

    /// Hands something to a member that is up.
    pub(crate) fn give(&mut self, node: NodeId, input: Input<'_>) -> Result<()> {
        self.world.with(node, |machine, now, out| machine.hand(now, input, out)).unwrap()
    }

    pub(crate) fn swim(&self, node: NodeId) -> &Swim {
        &self.world.process(node).unwrap().swim
    }

    /// What the application of a member was told in this life.
    pub(crate) fn events(&self, node: NodeId) -> impl Iterator<Item = &Event> {
        self.world.process(node).unwrap().events.iter().map(|(_, event)| event)
    }

    /// Forgets what applications were told.
    pub(crate) fn forget_events(&mut self) {
        for node in self.up() {
            self.world.process_mut(node).unwrap().events.clear();
        }
    }

    /// Takes out what a member has sent since the last time, if that is kept.
    pub(crate) fn take_tape(&mut self, node: NodeId) -> Vec<(NodeId, Packet)> {
        std::mem::take(&mut self.world.process_mut(node).unwrap().tape)
    }

    /// The nodes with a process.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        self.world.processes().map(|(node, _)| node).collect()
    }

    pub(crate) fn run_for(&mut self, ticks: u64) {
        self.world.run_until(self.world.now() + ticks);
    }

    /// Runs until something holds, which is looked at ten times a second. How long it took, or
    /// `None` if it does not within the limit.
    pub(crate) fn wait(&mut self, limit: u64, holds: impl Fn(&Lab) -> bool) -> Option<u64> {
        let begin = self.world.now();
        while !holds(self) {
            if self.world.now() - begin >= limit {
                return None;
            }
            self.run_for(SECOND / 10);
        }
        Some(self.world.now() - begin)
    }

    /// Splits the network: these here, all others there.
    pub(crate) fn part(&mut self, these: &[NodeId]) {
        let others = self.world.ids().filter(|node| !these.contains(node)).collect();
        self.world.partition(&Shape::Groups(vec![these.to_vec(), others]));
    }

    pub(crate) fn heal(&mut self) {
        self.world.partition(&Shape::Whole);
    }

    /// Whether each member that is up knows all that are, where they are, and nobody else.
    pub(crate) fn is_whole(&self) -> bool {
        let members = || self.world.processes().filter(|(_, machine)| machine.swim.is_member());
        let mut truth: Vec<_> =
            members().map(|(node, it)| (it.swim.me().id, address_of(node).into())).collect();
        truth.sort_unstable();
        members().all(|(node, machine)| {
            let mut view: Vec<(Id, SocketAddr)> =
                machine.swim.others().map(|other| (other.node.id, other.node.addr)).collect();
            view.push((machine.swim.me().id, address_of(node).into()));
            view.sort_unstable();
            view == truth
        })
    }

    /// Asserts the invariants of all members.
    pub(crate) fn check(&self) {
        self.world.processes().for_each(|(_, machine)| machine.swim.check());
    }

    /// How many datagrams all that are up have sent in their lives.
    pub(crate) fn datagrams(&self) -> u64 {
        self.world.processes().map(|(_, machine)| machine.swim.stats().datagrams).sum()
    }
}

/// The member that lives on a node as a rule.
pub(crate) fn whole(node: NodeId) -> Node {
    Node::new(id(node), address_of(node).into())
}

/// Its id.
pub(crate) fn id(node: NodeId) -> Id {
    Id(u64::from(node.0))
}

/// The member whom an event says to have come or gone, as opposed to what is merely feared.
pub(crate) fn turned(event: &Event) -> Option<Id> {
    match event {
        Event::Joined(node) | Event::Restarted(node) => Some(node.id),
        Event::Failed(id) | Event::Left(id) => Some(*id),
        _ => None,
    }
}

/// Seeds for a test of this suite.
pub(crate) fn seeds(test: &str, count: u64) -> Seeds {
    Seeds::new(&format!("cargo test -p drystone-membership-sim --test suite {test}"), count)
}
