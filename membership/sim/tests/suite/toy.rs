//! The smallest protocol that works: everybody tells everybody, all the time.
//!
//! A heartbeat every [`Pace::beat`] to all known; whoever is silent for [`Pace::silence`] is down,
//! and up again when it is heard. News goes to all, once. It costs what it must: N bytes by member
//! and heartbeat.

use std::collections::BTreeMap;

use bytes::Bytes;
use drystone_membership_sim::{Acts, Gossiper, Input, MILLISECOND, Order, Seat, What};
use drystone_sim::NodeId;

/// What a user of the toy sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) beat: u64,
    pub(crate) silence: u64,
    /// Whether members that it hears of are told over a connection.
    pub(crate) streams: bool,
}

/// Five heartbeats may be missed.
pub(crate) const PACE: Pace =
    Pace { beat: 200 * MILLISECOND, silence: 1_000 * MILLISECOND, streams: false };

/// A member.
#[derive(Debug)]
pub(crate) struct Toy {
    me: NodeId,
    pace: Pace,
    /// When each was last heard, and whether it is up.
    known: BTreeMap<NodeId, (u64, bool)>,
    /// When each has left: what it had sent before may come after.
    left: BTreeMap<NodeId, u64>,
    next: Option<u64>,
}

const BEAT: u8 = 0;
const BYE: u8 = 1;
const HEARD: u8 = 2;
const DESCRIBED: u8 = 3;
/// The kind of a message that names a third member.
const THIRD: u8 = 4;

impl Toy {
    fn hear(&mut self, now: u64, from: NodeId, acts: &mut Acts) {
        let left = self.left.get(&from);
        if from == self.me || left.is_some_and(|at| now - at < self.pace.silence) {
            return;
        }
        let before = self.known.insert(from, (now, true));
        if !before.is_some_and(|(_, up)| up) {
            acts.saw(from, What::Up);
        }
        if before.is_none() {
            // A stranger is told of the others, and they of it.
            for other in self.known.keys().filter(|other| **other != from) {
                acts.datagram(from, message(THIRD, u64::from(other.0)));
                acts.datagram(*other, message(THIRD, u64::from(from.0)));
            }
        }
    }

    fn tell_all(&self, kind: u8, number: u64, acts: &mut Acts) {
        for to in self.known.keys() {
            match self.pace.streams && kind != BEAT {
                true => acts.stream(*to, message(kind, number)),
                false => acts.datagram(*to, message(kind, number)),
            }
        }
    }

    fn obey(&mut self, now: u64, order: &Order, acts: &mut Acts) {
        match order {
            Order::Know(all) => {
                all.iter().filter(|other| **other != self.me).for_each(|other| {
                    self.known.entry(*other).or_insert((now, true));
                });
                self.next = Some(now);
            }
            Order::Join(seeds) => {
                seeds.iter().for_each(|seed| acts.datagram(*seed, message(BEAT, 0)));
                self.next = Some(now);
            }
            Order::Leave => {
                self.tell_all(BYE, 0, acts);
                self.next = None;
            }
            Order::Publish(number) => self.tell_all(HEARD, *number, acts),
            Order::Describe(number) => self.tell_all(DESCRIBED, *number, acts),
        }
    }

    fn read(&mut self, now: u64, from: NodeId, bytes: &[u8], acts: &mut Acts) {
        let (kind, rest) = bytes.split_first().expect("the toy sends no empty message");
        let number = u64::from_be_bytes(rest.try_into().expect("and eight bytes in each"));
        if self.next.is_none() {
            return;
        }
        match *kind {
            BYE => {
                self.left.insert(from, now);
                if self.known.remove(&from).is_some_and(|(_, up)| up) {
                    acts.saw(from, What::Left);
                }
                return;
            }
            HEARD => acts.saw(from, What::Heard(number)),
            DESCRIBED => acts.saw(from, What::Described(number)),
            THIRD => {
                let other = NodeId(u32::try_from(number).expect("a node"));
                acts.datagram(other, message(BEAT, 0));
            }
            _ => {}
        }
        self.hear(now, from, acts);
    }
}

fn message(kind: u8, number: u64) -> Bytes {
    [&[kind][..], &number.to_be_bytes()].concat().into()
}

impl Gossiper for Toy {
    type Config = Pace;

    fn start(me: NodeId, seat: &Seat<Pace>, _: u64, _: u64, _: &mut Acts) -> Toy {
        Toy { me, pace: *seat.config, known: BTreeMap::new(), left: BTreeMap::new(), next: None }
    }

    fn handle(&mut self, now: u64, input: Input<'_>, acts: &mut Acts) {
        match input {
            Input::Datagram { from, bytes } => self.read(now, from, bytes, acts),
            Input::Stream { from, bytes } => self.read(now, from, bytes, acts),
            Input::Order(order) => self.obey(now, order, acts),
            Input::Wake => {
                for (other, (heard, up)) in &mut self.known {
                    if *up && now - *heard > self.pace.silence {
                        *up = false;
                        acts.saw(*other, What::Down);
                    }
                }
                self.tell_all(BEAT, 0, acts);
                self.next = Some(now + self.pace.beat);
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.next
    }

    fn members_count(&self) -> usize {
        self.members().count()
    }

    fn members(&self) -> impl Iterator<Item = NodeId> {
        self.known.iter().filter(|(_, (_, up))| *up).map(|(other, _)| *other)
    }
}
