//! Our own protocol, `drystone-membership`, behind the trait.

mod stable;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use drystone_membership::{Boot, Config, Effect, Event, Input as Core, Node, Swim};
use drystone_sim::NodeId;

use crate::address::{address_of, node_of};
pub use stable::Stable;

use crate::gossiper::{Acts, Gossiper, Input, Order, Seat, What};

/// The key of the metadata that an [`Order::Describe`] sets.
const KEY: &str = "n";

/// A member keeps room for so many effects between two calls. What a newcomer is told at once is
/// an effect for each member there is, and ten thousand members that keep room for as many each
/// are gigabytes.
const EFFECTS_KEPT_MAX: usize = 64;

/// A member that runs [`Swim`].
#[derive(Debug)]
pub struct Drystone {
    swim: Swim,
    effects: Vec<Effect>,
    /// What the core has told and nobody has taken yet.
    events: Vec<Event>,
}

/// The id of the member on a node: the node's number.
fn id_of(node: NodeId) -> drystone_membership::NodeId {
    drystone_membership::NodeId(u64::from(node.0))
}

/// The node of a member.
fn of_id(id: drystone_membership::NodeId) -> NodeId {
    NodeId(u32::try_from(id.0).unwrap_or(0))
}

/// The member on a node, as it introduces itself.
fn member(node: NodeId) -> Node {
    Node::new(id_of(node), address_of(node).into())
}

fn at(address: SocketAddr) -> NodeId {
    match address {
        SocketAddr::V4(address) => node_of(address),
        SocketAddr::V6(_) => NodeId(0),
    }
}

impl Drystone {
    /// The core.
    pub fn swim(&self) -> &Swim {
        &self.swim
    }

    /// Hands something to the core, and does what it wants done. Its events are kept.
    fn hand(&mut self, now: u64, input: Core<'_>, acts: &mut Acts) {
        // What was wrong with a packet is counted by the core.
        let _ = self.swim.handle(Duration::from_micros(now), input, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Datagram { to, bytes } => acts.datagram(at(to), bytes.into()),
                Effect::Stream { to, bytes } => acts.stream(at(to), bytes.into()),
                Effect::Event(event) => self.events.push(event),
                Effect::Persist => {}
            }
        }
        if self.effects.capacity() > EFFECTS_KEPT_MAX {
            self.effects = Vec::new();
        }
    }

    /// Takes the events that have come.
    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Handles an input, and keeps the events.
    fn handle_quietly(&mut self, now: u64, input: &Input<'_>, acts: &mut Acts) {
        match *input {
            Input::Datagram { from, bytes } => {
                let from = address_of(from).into();
                self.hand(now, Core::Datagram { from, bytes }, acts);
            }
            Input::Stream { bytes, .. } => self.hand(now, Core::Stream { bytes }, acts),
            Input::Wake => self.hand(now, Core::Tick, acts),
            Input::Order(order) => self.obey(now, order, acts),
        }
    }

    fn obey(&mut self, now: u64, order: &Order, acts: &mut Acts) {
        match order {
            Order::Know(nodes) => {
                self.swim.assume(nodes.iter().map(|node| (member(*node), 0)));
            }
            Order::Join(nodes) => {
                let seeds = nodes.iter().map(|node| address_of(*node).into()).collect();
                self.hand(now, Core::Join(seeds), acts);
            }
            Order::Leave => self.hand(now, Core::Leave, acts),
            Order::Publish(number) => {
                let payload = &number.to_le_bytes();
                self.hand(now, Core::Broadcast { topic: "n", payload }, acts);
            }
            Order::Describe(number) => {
                let value = Some(Bytes::copy_from_slice(&number.to_le_bytes()));
                self.hand(now, Core::Set { key: KEY, value }, acts);
            }
        }
    }
}

/// Says what an event means.
fn tell(event: &Event, swim: &Swim, acts: &mut Acts) {
    match event {
        Event::Joined(node) => acts.saw(of_id(node.id), What::Up),
        Event::Suspected { id, .. } => acts.saw(of_id(*id), What::Suspected),
        Event::Failed(id) => acts.saw(of_id(*id), What::Down),
        Event::Left(id) if *id != swim.me().id => acts.saw(of_id(*id), What::Left),
        Event::Updated { id, .. } => {
            let number = swim.metadata(*id, KEY).and_then(number);
            if let Some(number) = number {
                acts.saw(of_id(*id), What::Described(number));
            }
        }
        Event::Broadcast { from, payload, .. } => {
            if let Some(number) = number(payload) {
                acts.saw(of_id(*from), What::Heard(number));
            }
        }
        _ => {}
    }
}

fn number(bytes: &Bytes) -> Option<u64> {
    Some(u64::from_le_bytes(bytes[..].try_into().ok()?))
}

impl Gossiper for Drystone {
    type Config = Config;

    fn start(me: NodeId, seat: &Seat<Config>, seed: u64, now: u64, _: &mut Acts) -> Drystone {
        let boot = Boot::new(member(me), seat.lives, seed);
        let swim = Swim::new(boot, (*seat.config).clone(), Duration::from_micros(now));
        let swim = swim.expect("the configuration holds");
        Drystone { swim, effects: Vec::new(), events: Vec::new() }
    }

    fn handle(&mut self, now: u64, input: Input<'_>, acts: &mut Acts) {
        self.handle_quietly(now, &input, acts);
        for event in self.take_events() {
            tell(&event, &self.swim, acts);
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.swim.deadline().map(|at| u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
    }

    fn members_count(&self) -> usize {
        self.swim.members_count() - usize::from(self.swim.is_member())
    }

    fn members(&self) -> impl Iterator<Item = NodeId> {
        self.swim.other_ids().map(of_id)
    }

    fn memory(&self) -> Option<usize> {
        Some(self.swim.memory())
    }
}
