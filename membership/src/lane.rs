//! A lane of news: what was told least often goes first.
//!
//! ```text
//!     told  0 ┤ c f      a packet takes from the left, bucket by bucket, as much as fits,
//!           1 ┤ a        and what it took goes one bucket down, until it was told `limit` times
//!           2 ┤ d b e
//! ```
//!
//! A lane holds keys alone. What stands behind a key is written when it is sent, so that it is the
//! newest then; whether it is to be sent at all is asked then, too, so that taking news back costs
//! nothing here.
//!
//! There are three lanes (`swim/gossip.rs`), so that none starves another: words about members,
//! user broadcasts, metadata. Each has a share of every packet that the others cannot take, and
//! what it leaves is theirs. In a library with one queue a cluster whose members come and go
//! delivers no broadcasts for as long as they do.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

/// Not in the lane.
pub(crate) const UNTOLD: u8 = u8::MAX;

/// So many stale places are not worth a look.
const SPARE: usize = 64;

/// What came of a key that a packet was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in the packet.
    Taken,
    /// There is no room for it.
    Full,
    /// It is not to be sent any more, or stands in another bucket as well.
    Stale,
}

/// What a packet has taken from a lane: it is out of the lane until the packet is done, so that no
/// packet says a thing twice.
#[derive(Debug, Default)]
pub(crate) struct Taken(Vec<(u32, usize)>);

/// Keys by how often they were told.
///
/// * After each [`prune`](Lane::prune) about half of the places are stale at most, and [`SPARE`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    buckets: Vec<VecDeque<u32>>,
    len: usize,
    /// How many places were left when it was looked for stale ones the last time.
    pruned: usize,
}

impl Lane {
    /// Adds a key that was not told yet. If it is in the lane, the caller makes that place stale.
    pub(crate) fn push(&mut self, key: u32) {
        self.put(key, 0);
    }

    fn put(&mut self, key: u32, told: usize) {
        if self.buckets.len() <= told {
            self.buckets.resize_with(told + 1, VecDeque::new);
        }
        self.buckets[told].push_back(key);
        self.len += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys there are, stale ones among them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a key as if it had been told so often. Its place before that is stale then.
    pub(crate) fn push_told(&mut self, key: u32, told: u8) {
        self.put(key, usize::from(told));
    }

    /// Takes stale places out when they may be many: what comes again and again must not pile up
    /// while no packet is sent. `stands` says how often a key was told, [`UNTOLD`] if it is not to
    /// be told. Costs little, as it looks only when there are twice as many as the last time.
    pub(crate) fn prune(&mut self, stands: impl Fn(u32) -> u8) {
        if self.len <= 2 * self.pruned + SPARE {
            return;
        }
        let mut seen = BTreeSet::new();
        for (told, bucket) in self.buckets.iter_mut().enumerate() {
            // The last of several places is the one that a slot has which was used again.
            let mut sound = VecDeque::new();
            for key in std::mem::take(bucket).into_iter().rev() {
                if usize::from(stands(key)) == told && seen.insert(key) {
                    sound.push_front(key);
                }
            }
            *bucket = sound;
        }
        self.len = self.buckets.iter().map(VecDeque::len).sum();
        self.pruned = self.len;
    }

    /// Offers keys to a packet until it is full. `offer` is given each with how often it was told.
    pub(crate) fn draw(&mut self, taken: &mut Taken, mut offer: impl FnMut(u32, u8) -> Offer) {
        for told in 0..self.buckets.len() {
            while let Some(key) = self.buckets[told].pop_front() {
                match offer(key, told as u8) {
                    Offer::Taken => taken.0.push((key, told + 1)),
                    Offer::Stale => {}
                    Offer::Full => {
                        self.buckets[told].push_front(key);
                        return;
                    }
                }
                self.len -= 1;
            }
        }
    }

    /// The packet is done: what it took stays for the next, unless it was told `limit` times now.
    pub(crate) fn settle(&mut self, taken: Taken, limit: u8) {
        for (key, told) in taken.0 {
            if told < usize::from(limit) {
                self.put(key, told);
            }
        }
    }
}

/// A lane of bytes that were made once.
///
/// * No two parcels have the same subject, and all together have `bytes_max` bytes at most.
#[derive(Debug, Clone)]
pub(crate) struct Parcels {
    lane: Lane,
    slots: Vec<Option<Parcel>>,
    free: Vec<u32>,
    /// Slots in the order in which they were filled, with the serial numbers of their parcels.
    order: VecDeque<(u32, u64)>,
    serial: u64,
    bytes: usize,
    bytes_max: usize,
    /// How many fell out before they had been told often enough.
    pub(crate) dropped: u64,
}

#[derive(Debug, Clone)]
struct Parcel {
    subject: u64,
    serial: u64,
    bytes: Bytes,
    told: u8,
}

impl Parcels {
    pub(crate) fn new(bytes_max: usize) -> Parcels {
        Parcels {
            lane: Lane::default(),
            slots: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            serial: 0,
            bytes: 0,
            bytes_max,
            dropped: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lane.is_empty()
    }

    /// How many there are, and places in the lane of some that are no more.
    pub(crate) fn len(&self) -> usize {
        self.lane.len()
    }

    /// Adds a parcel, in the place of the one with the same subject. The oldest make room.
    pub(crate) fn put(&mut self, subject: u64, bytes: Bytes) {
        self.forget(subject);
        self.bytes += bytes.len();
        self.serial += 1;
        let parcel = Some(Parcel { subject, serial: self.serial, bytes, told: 0 });
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = parcel;
            slot
        } else {
            self.slots.push(parcel);
            self.slots.len() as u32 - 1
        };
        self.order.push_back((slot, self.serial));
        self.lane.push(slot);
        while self.bytes > self.bytes_max {
            let Some((slot, serial)) = self.order.pop_front() else { break };
            if self.holds(slot, serial) {
                self.dropped += 1;
                self.clear(slot);
            }
        }
        let slots = &self.slots;
        self.lane.prune(|slot| slots[slot as usize].as_ref().map_or(UNTOLD, |parcel| parcel.told));
        if self.order.len() > 2 * slots.len() + SPARE {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(slot, serial)| self.holds(*slot, *serial));
            self.order = order;
        }
    }

    /// Takes the parcel with this subject back.
    pub(crate) fn forget(&mut self, subject: u64) {
        let found = self
            .slots
            .iter()
            .position(|slot| slot.as_ref().is_some_and(|parcel| parcel.subject == subject));
        if let Some(slot) = found {
            self.clear(slot as u32);
        }
    }

    fn holds(&self, slot: u32, serial: u64) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|parcel| parcel.serial == serial)
    }

    fn clear(&mut self, slot: u32) {
        if let Some(parcel) = self.slots[slot as usize].take() {
            self.bytes -= parcel.bytes.len();
            self.free.push(slot);
        }
        while let Some((slot, serial)) = self.order.front().copied() {
            if self.holds(slot, serial) {
                break;
            }
            self.order.pop_front();
        }
    }

    /// As [`Lane::draw`]; `write` says whether the bytes had room.
    pub(crate) fn draw(&mut self, taken: &mut Taken, mut write: impl FnMut(&[u8]) -> bool) {
        let slots = &mut self.slots;
        self.lane.draw(taken, |slot, told| {
            let Some(parcel) = &mut slots[slot as usize] else { return Offer::Stale };
            if parcel.told != told {
                return Offer::Stale;
            }
            if !write(&parcel.bytes) {
                return Offer::Full;
            }
            parcel.told += 1;
            Offer::Taken
        });
    }

    /// As [`Lane::settle`].
    pub(crate) fn settle(&mut self, taken: Taken, limit: u8) {
        for (slot, told) in &taken.0 {
            if *told >= usize::from(limit) {
                self.clear(*slot);
            }
        }
        self.lane.settle(taken, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws packets of `room` keys until nothing is left.
    fn packets(lane: &mut Lane, limit: u8, room: usize) -> Vec<Vec<u32>> {
        let mut packets = Vec::new();
        while !lane.is_empty() {
            packets.push(packet(lane, limit, room));
        }
        packets
    }

    fn packet(lane: &mut Lane, limit: u8, room: usize) -> Vec<u32> {
        let (mut packet, mut taken) = (Vec::new(), Taken::default());
        lane.draw(&mut taken, |key, _| {
            if packet.len() == room {
                return Offer::Full;
            }
            packet.push(key);
            Offer::Taken
        });
        lane.settle(taken, limit);
        packet
    }

    fn told(parcels: &mut Parcels, limit: u8) -> Vec<Vec<u8>> {
        let (mut told, mut taken) = (Vec::new(), Taken::default());
        parcels.draw(&mut taken, |bytes| {
            told.push(bytes.to_vec());
            true
        });
        parcels.settle(taken, limit);
        told
    }

    // News that nobody has heard matter more than news that half the cluster has.
    #[test]
    fn what_was_told_least_goes_first_and_nothing_is_told_too_often() {
        let mut lane = Lane::default();
        (1..=3).for_each(|key| lane.push(key));
        assert_eq!(packet(&mut lane, 3, 2), [1, 2]);
        lane.push(4);
        assert_eq!(packets(&mut lane, 3, 2), [[3, 4], [1, 2], [3, 4], [1, 2], [3, 4]]);
    }

    // One packet that says a thing twice wastes what it could have said.
    #[test]
    fn a_packet_has_each_key_once() {
        let mut lane = Lane::default();
        (1..=2).for_each(|key| lane.push(key));
        assert_eq!(packets(&mut lane, 2, 10), [[1, 2], [1, 2]]);
    }

    // A member that comes and goes all the time is one member, however long no packet is sent.
    #[test]
    fn what_comes_again_and_again_has_one_place() {
        let (mut lane, stands) = (Lane::default(), |key| [0, 1, UNTOLD][key as usize]);
        lane.push_told(1, 1);
        for _ in 0..1000 {
            (0..3).for_each(|key| lane.push(key));
            lane.prune(stands);
            assert!(lane.len() <= SPARE + 4, "{} places", lane.len());
        }
        lane.pruned = 0;
        (0..SPARE).for_each(|_| lane.push(0));
        lane.prune(stands);
        assert_eq!(lane.buckets, [[0], [1]]);
        let mut parcels = Parcels::new(100);
        parcels.put(0, Bytes::from_static(b"stays"));
        (0..1000).for_each(|number| parcels.put(1 + number % 2, Bytes::from_static(b"goes")));
        let most = 2 * parcels.slots.len() + SPARE;
        assert!(parcels.order.len() <= most && parcels.len() <= most, "{}", parcels.order.len());
        assert_eq!(told(&mut parcels, 1), [&b"stays"[..], b"goes", b"goes"]);
    }

    // A broadcast that fell out must not leave its memory behind.
    #[test]
    fn parcels_are_bounded_and_the_oldest_fall_out() {
        let mut parcels = Parcels::new(100);
        for subject in 0..1000 {
            parcels.put(subject, Bytes::from(vec![subject as u8; 10]));
        }
        assert_eq!((parcels.bytes, parcels.dropped, parcels.slots.len()), (100, 990, 11));
        let mut told: Vec<u8> = told(&mut parcels, 1).iter().map(|bytes| bytes[0]).collect();
        // Those that nobody has heard are told in any order: a slot may keep its former place.
        told.sort_unstable();
        assert_eq!(told, (990..1000).map(|subject| subject as u8).collect::<Vec<_>>());
        assert_eq!((parcels.bytes, parcels.is_empty(), parcels.order.len()), (0, true, 0));
    }

    // Of a subject only the newest word is worth sending.
    #[test]
    fn a_newer_parcel_takes_the_place_of_the_older() {
        let mut parcels = Parcels::new(100);
        parcels.put(7, Bytes::from_static(b"old"));
        parcels.put(8, Bytes::from_static(b"other"));
        parcels.put(7, Bytes::from_static(b"new"));
        // The slot of the first was free for the third.
        assert_eq!(told(&mut parcels, 4), [&b"new"[..], b"other"]);
    }
}
