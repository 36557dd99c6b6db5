//! All other members that are known: found by id, drawn by chance, summed up.
//!
//! ```text
//!     index   id ─► slot
//!     slots   ┌─────┬─────┬─────┬─────┐
//!             │ web │     │ db  │ job │                 a slot stays a peer's until it is buried
//!             └─────┴─────┴─────┴─────┘
//!     roster  [ db web ]      members, in the order in which they are probed
//!     gone    [ job ]         failed or left, kept to be tried again and to be told from ghosts
//!     tombs   id ─► incarnation    of those who were buried
//! ```
//!
//! **The roster** is a round of probes (SWIM §4.3): each member once, in an order of chance, then
//! again in another. A newcomer takes a place of chance in what is left of the round. So no member
//! waits longer than two rounds, and who probes whom is as good as random.
//!
//! **Sums.** The members are summed up, ourselves among them, in about as many buckets as there
//! are. When two sums differ, what the two members know differs, and nothing else needs to be
//! compared: see `sums.rs`.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::clock::Micros;
use crate::lane::UNTOLD;
use crate::peer::{Peer, fingerprint};
use crate::rng::{Rng, mix};
use crate::sums::{BITS_MAX, BITS_MIN, Sums};
use crate::types::{Incarnation, NodeId, State};

/// How many buried members are remembered.
const TOMBS_MAX: usize = 1 << 14;
/// As many zones can be told apart; members of further ones count as of none.
const ZONES_MAX: usize = 256;

/// The other members.
///
/// * Every peer has a seat: in the roster if it is a member, else among those who are gone.
/// * `cursor` is a place of the roster or its end.
/// * The sums are those of the members, and of our own fingerprint.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    slots: Vec<Peer>,
    free: Vec<u32>,
    index: HashTable<u32>,
    roster: Vec<u32>,
    cursor: usize,
    gone: Vec<u32>,
    zones: Vec<Box<str>>,
    sums: Sums,
    sum: u64,
    /// What we add to the sums ourselves: 0 if nothing.
    own: (NodeId, u64),
    tombs: Tombs,
}

/// The incarnations of members that were buried.
#[derive(Debug, Clone, Default)]
struct Tombs {
    index: HashTable<(NodeId, Incarnation)>,
    order: VecDeque<NodeId>,
}

fn hash(id: NodeId) -> u64 {
    mix(id.0)
}

impl Peers {
    pub(crate) fn new() -> Peers {
        Peers {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            roster: Vec::new(),
            cursor: 0,
            gone: Vec::new(),
            zones: vec!["".into()],
            sums: Sums::new(BITS_MIN),
            sum: 0,
            own: (NodeId(0), 0),
            tombs: Tombs::default(),
        }
    }

    pub(crate) fn find(&self, id: NodeId) -> Option<u32> {
        let slots = &self.slots;
        self.index.find(hash(id), |slot| slots[*slot as usize].id == id).copied()
    }

    pub(crate) fn at(&self, slot: u32) -> &Peer {
        &self.slots[slot as usize]
    }

    /// To change what is in no sum: neither the state nor the incarnation nor the metadata.
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut Peer {
        &mut self.slots[slot as usize]
    }

    /// The peer in a slot, if it is still this one.
    pub(crate) fn holds(&self, slot: u32, id: NodeId) -> bool {
        self.slots.get(slot as usize).is_some_and(|peer| peer.id == id)
            && self.find(id) == Some(slot)
    }

    /// How many members there are beside us.
    pub(crate) fn members(&self) -> usize {
        self.roster.len()
    }

    pub(crate) fn roster(&self) -> &[u32] {
        &self.roster
    }

    pub(crate) fn gone(&self) -> &[u32] {
        &self.gone
    }

    /// Adds a member, and returns its slot.
    pub(crate) fn add(&mut self, peer: Peer, rng: &mut Rng) -> u32 {
        debug_assert!(self.find(peer.id).is_none(), "a peer is added once");
        let id = peer.id;
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = peer;
            slot
        } else {
            // Room for twice as many would be the larger part of it all.
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(self.slots.len() / 4 + 8);
            }
            self.slots.push(peer);
            self.slots.len() as u32 - 1
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(id), slot, |slot| hash(slots[*slot as usize].id));
        self.sit(slot, rng);
        self.toggle(slot);
        if self.roster.len() >> self.sums.bits() > 0 {
            self.sum_up_finer();
        }
        slot
    }

    /// Changes what a peer is believed to be, and its sums and seat with it.
    pub(crate) fn change(
        &mut self,
        slot: u32,
        state: State,
        now: Micros,
        rng: &mut Rng,
        change: impl FnOnce(&mut Peer),
    ) {
        let was = self.at(slot).state;
        if was.is_member() {
            self.toggle(slot);
        }
        change(self.at_mut(slot));
        self.at_mut(slot).state = state;
        if was.is_member() && !state.is_member() {
            self.leave_roster(slot);
            let seat = self.gone.len() as u32;
            let peer = self.at_mut(slot);
            (peer.seat, peer.since) = (seat, (now / 1_000_000) as u32);
            self.gone.push(slot);
        }
        if !was.is_member() && state.is_member() {
            self.leave_gone(slot);
            self.sit(slot, rng);
        }
        if state.is_member() {
            self.toggle(slot);
        }
    }

    /// Takes a seat of chance in what is left of the round.
    fn sit(&mut self, slot: u32, rng: &mut Rng) {
        self.roster.push(slot);
        let last = self.roster.len() - 1;
        let place = self.cursor + rng.place(self.roster.len() - self.cursor);
        self.roster.swap(place, last);
        for place in [place, last] {
            let slot = self.roster[place];
            self.slots[slot as usize].seat = place as u32;
        }
    }

    fn leave_roster(&mut self, slot: u32) {
        let mut place = self.at(slot).seat as usize;
        if place < self.cursor {
            // The hole moves to the edge between those who had their turn and those who have not.
            self.cursor -= 1;
            self.roster.swap(place, self.cursor);
            let moved = self.roster[place];
            self.slots[moved as usize].seat = place as u32;
            place = self.cursor;
        }
        self.roster.swap_remove(place);
        if let Some(moved) = self.roster.get(place) {
            self.slots[*moved as usize].seat = place as u32;
        }
    }

    fn leave_gone(&mut self, slot: u32) {
        let place = self.at(slot).seat as usize;
        self.gone.swap_remove(place);
        if let Some(moved) = self.gone.get(place) {
            self.slots[*moved as usize].seat = place as u32;
        }
    }

    /// Forgets one that is gone, all but its incarnation.
    pub(crate) fn bury(&mut self, slot: u32) {
        let (id, incarnation) = (self.at(slot).id, self.at(slot).incarnation);
        assert!(!self.at(slot).state.is_member(), "members are not buried");
        self.leave_gone(slot);
        let slots = &self.slots;
        let entry = self.index.find_entry(hash(id), |slot| slots[*slot as usize].id == id);
        entry.expect("every peer is in the index").remove();
        let peer = self.at_mut(slot);
        (peer.told, peer.more) = (UNTOLD, None);
        self.free.push(slot);
        self.tombs.add(id, incarnation);
    }

    /// Notes that somebody who is not known is gone.
    pub(crate) fn remember(&mut self, id: NodeId, incarnation: Incarnation) {
        self.tombs.add(id, incarnation);
    }

    /// The incarnation with which a member was buried that nobody knows otherwise.
    pub(crate) fn tomb(&self, id: NodeId) -> Option<Incarnation> {
        self.tombs.of(id)
    }

    /// The next of the round.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> Option<u32> {
        if self.cursor >= self.roster.len() {
            self.cursor = 0;
            for last in (1..self.roster.len()).rev() {
                self.roster.swap(last, rng.place(last + 1));
            }
            for (seat, slot) in self.roster.iter().enumerate() {
                self.slots[*slot as usize].seat = seat as u32;
            }
        }
        let slot = self.roster.get(self.cursor).copied();
        self.cursor += usize::from(slot.is_some());
        slot
    }

    /// Up to `count` members by chance, none twice, of those that `fit`.
    pub(crate) fn draw(
        &self,
        count: usize,
        rng: &mut Rng,
        fit: impl Fn(&Peer) -> bool,
    ) -> Vec<u32> {
        let mut drawn = Vec::with_capacity(count);
        // With few members chance would miss some; with many it finds enough at once.
        if self.roster.len() <= 4 * count {
            drawn.extend(self.roster.iter().copied().filter(|slot| fit(self.at(*slot))));
            for place in 0..count.min(drawn.len()) {
                let other = place + rng.place(drawn.len() - place);
                drawn.swap(place, other);
            }
            drawn.truncate(count);
            return drawn;
        }
        for _ in 0..4 * count + 8 {
            if drawn.len() == count {
                break;
            }
            let slot = self.roster[rng.place(self.roster.len())];
            if !drawn.contains(&slot) && fit(self.at(slot)) {
                drawn.push(slot);
            }
        }
        drawn
    }

    /// The number of a zone.
    pub(crate) fn zone(&mut self, name: &str) -> u8 {
        if let Some(place) = self.zones.iter().position(|zone| &**zone == name) {
            return place as u8;
        }
        if self.zones.len() == ZONES_MAX {
            return 0;
        }
        self.zones.push(name.into());
        (self.zones.len() - 1) as u8
    }

    pub(crate) fn zone_name(&self, zone: u8) -> &str {
        &self.zones[usize::from(zone)]
    }

    /// What we add to the sums ourselves from now on.
    pub(crate) fn set_own(&mut self, id: NodeId, fingerprint: u64) {
        let (before, old) = std::mem::replace(&mut self.own, (id, fingerprint));
        self.toggle_sum(before, old);
        self.toggle_sum(id, fingerprint);
    }

    fn toggle_sum(&mut self, id: NodeId, fingerprint: u64) {
        self.sum ^= fingerprint;
        self.sums.toggle(id, fingerprint);
    }

    /// There are as many members as buckets: from now on there are twice as many buckets.
    fn sum_up_finer(&mut self) {
        if self.sums.bits() == BITS_MAX {
            return;
        }
        self.sums = Sums::new(self.sums.bits() + 1);
        self.sum = 0;
        let (id, fingerprint) = self.own;
        self.toggle_sum(id, fingerprint);
        for place in 0..self.roster.len() {
            self.toggle(self.roster[place]);
        }
    }

    fn toggle(&mut self, slot: u32) {
        let peer = self.at(slot);
        let print = fingerprint(peer.id, peer.incarnation, peer.version());
        self.toggle_sum(peer.id, print);
    }

    /// What stands for all that is known of members, ourselves among them.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// How many bytes it takes, without allocators' overhead.
    pub(crate) fn memory(&self) -> usize {
        let more = self.slots.iter().filter_map(|peer| peer.more.as_ref());
        let more = more.map(|more| size_of_val(&**more) + more.name.len() + more.metadata.memory());
        self.slots.capacity() * size_of::<Peer>()
            + self.index.allocation_size()
            + (self.free.capacity() + self.roster.capacity() + self.gone.capacity()) * 4
            + self.tombs.index.allocation_size()
            + self.tombs.order.capacity() * 8
            + self.sums.memory()
            + more.sum::<usize>()
    }

    /// Asserts the invariants above.
    pub(crate) fn check(&self, me: u64) {
        assert_eq!(self.slots.len(), self.index.len() + self.free.len());
        assert_eq!(self.index.len(), self.roster.len() + self.gone.len(), "everyone has a seat");
        assert!(self.cursor <= self.roster.len(), "the cursor is in the roster");
        let mut sum = me;
        for (list, member) in [(&self.roster, true), (&self.gone, false)] {
            for (seat, slot) in list.iter().enumerate() {
                let peer = self.at(*slot);
                assert_eq!((peer.seat as usize, peer.state.is_member()), (seat, member));
                assert_eq!(self.find(peer.id), Some(*slot), "it is found by its id");
                if member {
                    sum ^= fingerprint(peer.id, peer.incarnation, peer.version());
                }
            }
        }
        assert_eq!(sum, self.sum, "the sum is that of the members");
        assert_eq!(self.sums.total(), self.sum as u32, "the buckets add up to the sum");
        assert!(self.tombs.order.len() <= TOMBS_MAX);
    }
}

impl Tombs {
    fn of(&self, id: NodeId) -> Option<Incarnation> {
        self.index.find(hash(id), |(other, _)| *other == id).map(|(_, incarnation)| *incarnation)
    }

    fn add(&mut self, id: NodeId, incarnation: Incarnation) {
        if let Some(tomb) = self.index.find_mut(hash(id), |(other, _)| *other == id) {
            tomb.1 = tomb.1.max(incarnation);
            return;
        }
        self.index.insert_unique(hash(id), (id, incarnation), |(id, _)| hash(*id));
        self.order.push_back(id);
        if self.order.len() > TOMBS_MAX {
            let id = self.order.pop_front().expect("there are many");
            if let Ok(entry) = self.index.find_entry(hash(id), |(other, _)| *other == id) {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer::new(NodeId(id), "10.0.0.1:1".parse().unwrap())
    }

    // Lists that point at each other go wrong at the edges, and those are found by chance.
    #[test]
    fn lists_index_and_sums_agree_whatever_happens() {
        let mut rng = Rng::new(1);
        let mut peers = Peers::new();
        for step in 0..20_000 {
            let id = rng.below(60);
            let now = step * 1000;
            match (peers.find(NodeId(id)), rng.below(5)) {
                (None, 0..3) => {
                    peers.add(peer(id), &mut rng);
                }
                (Some(slot), 0) => peers.change(slot, State::Failed, now, &mut rng, |_| {}),
                (Some(slot), 1) => peers.change(slot, State::Alive, now, &mut rng, |peer| {
                    peer.incarnation = peer.incarnation.next();
                    peer.more().metadata.version += 1;
                }),
                (Some(slot), 2) if !peers.at(slot).state.is_member() => peers.bury(slot),
                _ => {
                    let next = peers.next(&mut rng);
                    assert_eq!(next.is_some(), peers.members() > 0);
                }
            }
            peers.check(0);
        }
    }

    // SWIM §4.3: a member that nobody probes for a long time is dead for a long time.
    #[test]
    fn a_round_probes_each_member_once() {
        let mut rng = Rng::new(2);
        let mut peers = Peers::new();
        for id in 0..100 {
            peers.add(peer(id), &mut rng);
        }
        for _ in 0..3 {
            let mut round: Vec<u32> = (0..100).map(|_| peers.next(&mut rng).unwrap()).collect();
            assert!(!round.is_sorted(), "the order is one of chance");
            round.sort_unstable();
            assert!(round.iter().copied().eq(0..100));
        }
    }

    // A draw that favours some members leaves others without news.
    #[test]
    fn every_member_is_drawn_as_often() {
        let mut rng = Rng::new(3);
        for members in [5, 100] {
            let mut peers = Peers::new();
            for id in 0..members {
                peers.add(peer(id), &mut rng);
            }
            let mut counts = vec![0; members as usize];
            for _ in 0..10_000 {
                let drawn = peers.draw(3, &mut rng, |peer| peer.id.0 != 2);
                assert!(drawn.len() == 3 && drawn[0] != drawn[1] && drawn[1] != drawn[2]);
                drawn.iter().for_each(|slot| counts[*slot as usize] += 1);
            }
            assert_eq!(counts.remove(2), 0);
            let fair = 30_000 / (members as i32 - 1);
            assert!(counts.iter().all(|count| (count - fair).abs() < fair / 4), "{counts:?}");
        }
    }

    // The dead are many in a cluster that changes; who has been there must still be told from new.
    #[test]
    fn the_buried_are_remembered_up_to_a_bound() {
        let mut tombs = Tombs::default();
        for id in 0..TOMBS_MAX as u64 + 10 {
            tombs.add(NodeId(id), Incarnation::first(7));
        }
        tombs.add(NodeId(20), Incarnation::first(9));
        assert_eq!((tombs.order.len(), tombs.index.len()), (TOMBS_MAX, TOMBS_MAX));
        assert_eq!(tombs.of(NodeId(9)), None);
        assert_eq!(tombs.of(NodeId(20)), Some(Incarnation::first(9)));
    }
}
