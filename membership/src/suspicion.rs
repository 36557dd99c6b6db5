//! Suspicions: who is accused, by whom, and how long it has to defend itself.
//!
//! SWIM gives every suspect the same time (§4.2). Too short, and a healthy member dies because its
//! defence came late; too long, and a dead one is believed in. Lifeguard (§IV-B) lets the number of
//! accusers decide: a single one may be the one who is ill, so its suspicion lasts β times longer,
//! and each that confirms it makes it shorter, until K have.
//!
//! ```text
//!     time = max - (max - min) * log(C + 1) / log(K + 1)        C confirmations of K
//!
//!     min  α times what news need to reach all: half of log2(N), and two rounds more
//!     max  β * min
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::clock::Micros;
use crate::rumor::Accusers;
use crate::types::NodeId;

/// How long suspicions last in a cluster of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) min: Micros,
    pub(crate) max: Micros,
    /// K.
    pub(crate) confirmations: usize,
    /// The most accusers that are kept and told.
    pub(crate) accusers_max: usize,
}

impl Terms {
    /// How long it is with so many accusers.
    pub(crate) fn lasting(&self, accusers: usize) -> Micros {
        let confirmed = accusers.saturating_sub(1) as u64;
        let needed = self.confirmations as u64;
        if confirmed >= needed || self.max <= self.min {
            return self.min;
        }
        let saved = (self.max - self.min) * log2(confirmed + 1) / log2(needed + 1);
        self.max - saved
    }
}

/// The logarithm to the base of 2, in 65,536ths, cut off: whole numbers only, so that it is the
/// same everywhere.
pub(crate) fn log2(number: u64) -> u64 {
    let whole = u64::from(number.max(1).ilog2());
    // 32 bits behind the point, squared sixteen times: each time that it passes 2 is a bit.
    let mut rest = (u128::from(number.max(1)) << 32) >> whole;
    let mut bits = whole;
    for _ in 0..16 {
        rest = (rest * rest) >> 32;
        let one = rest >= 2 << 32;
        bits = bits << 1 | u64::from(one);
        rest >>= u32::from(one);
    }
    bits
}

/// What half of the cluster's size in bits, rounded up, and two rounds more are in gossip periods.
pub(crate) fn trip(members: usize, gossip_period: Micros) -> Micros {
    let bits = u64::from((members.max(1) as u64).next_power_of_two().ilog2());
    gossip_period * (bits + 4) / 2
}

/// An accusation that still stands.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    pub(crate) accusers: Accusers,
    pub(crate) since: Micros,
    pub(crate) until: Micros,
    /// When our own last probe of it failed.
    pub(crate) seen_at: Option<Micros>,
    /// Whether the application was told that the member is unreachable.
    pub(crate) told: bool,
}

/// What came of an accusation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accused {
    /// It is the first against this member.
    New,
    /// Another accuser had accused it before.
    Confirmed,
    /// Nothing new.
    Known,
}

/// All suspicions, by the slot of the accused.
///
/// * The heap has an entry with the time of every suspicion's end, and its first is not stale.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspicions {
    by_slot: BTreeMap<u32, Suspicion>,
    ends: BinaryHeap<Reverse<(Micros, u32)>>,
}

impl Suspicions {
    /// Somebody accuses a member.
    pub(crate) fn accuse(
        &mut self,
        slot: u32,
        accuser: NodeId,
        now: Micros,
        terms: &Terms,
    ) -> Accused {
        if let Some(suspicion) = self.by_slot.get_mut(&slot) {
            if !suspicion.accusers.add(accuser, terms.accusers_max) {
                return Accused::Known;
            }
            let until = suspicion.since + terms.lasting(suspicion.accusers.len());
            if until < suspicion.until {
                suspicion.until = until.max(now);
                self.ends.push(Reverse((suspicion.until, slot)));
            }
            return Accused::Confirmed;
        }
        let accusers = Accusers::of(accuser);
        let until = now + terms.lasting(1);
        self.by_slot
            .insert(slot, Suspicion { accusers, since: now, until, seen_at: None, told: false });
        self.ends.push(Reverse((until, slot)));
        Accused::New
    }

    /// Everyone agrees: it has the shortest time from now on, or what it has left.
    pub(crate) fn hurry(&mut self, slot: u32, until: Micros) {
        if let Some(suspicion) = self.by_slot.get_mut(&slot).filter(|it| until < it.until) {
            suspicion.until = until;
            self.ends.push(Reverse((until, slot)));
        }
    }

    /// It is given time until then.
    pub(crate) fn postpone(&mut self, slot: u32, until: Micros) {
        if let Some(suspicion) = self.by_slot.get_mut(&slot) {
            suspicion.until = until;
            self.ends.push(Reverse((until, slot)));
        }
        self.clean();
    }

    pub(crate) fn of(&self, slot: u32) -> Option<&Suspicion> {
        self.by_slot.get(&slot)
    }

    pub(crate) fn of_mut(&mut self, slot: u32) -> Option<&mut Suspicion> {
        self.by_slot.get_mut(&slot)
    }

    /// Takes an accusation back.
    pub(crate) fn clear(&mut self, slot: u32) {
        self.by_slot.remove(&slot);
        self.clean();
    }

    /// When the next one ends.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.ends.peek().map(|Reverse((at, _))| *at)
    }

    /// One that has run out.
    pub(crate) fn expired(&mut self, now: Micros) -> Option<u32> {
        self.clean();
        let Reverse((at, slot)) = *self.ends.peek()?;
        (at <= now).then_some(slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_slot.len()
    }

    fn clean(&mut self) {
        while let Some(Reverse((at, slot))) = self.ends.peek() {
            if self.by_slot.get(slot).is_some_and(|suspicion| suspicion.until == *at) {
                break;
            }
            self.ends.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A float would do, if it were the same on every machine.
    #[test]
    fn logarithms_are_right_to_four_digits() {
        for number in 1..5000_u64 {
            let exact = (number as f64).log2() * 65_536.0;
            let error = exact - log2(number) as f64;
            assert!((-0.1..1.1).contains(&error), "{number}: {error}");
        }
    }

    // Lifeguard's curve: the first confirmation saves most.
    #[test]
    fn each_that_confirms_makes_it_shorter() {
        let terms = Terms { min: 1000, max: 6000, confirmations: 3, accusers_max: 4 };
        let lasting: Vec<u64> = (1..6).map(|accusers| terms.lasting(accusers)).collect();
        assert_eq!(lasting, [6000, 3500, 2038, 1000, 1000]);
        let swim = Terms { min: 1000, max: 1000, confirmations: 0, accusers_max: 1 };
        assert_eq!(swim.lasting(1), 1000);
    }

    // Time passes for the suspect from the first accusation on, however many follow.
    #[test]
    fn a_suspicion_ends_so_long_after_it_began() {
        let terms = Terms { min: 1000, max: 6000, confirmations: 3, accusers_max: 4 };
        let mut suspicions = Suspicions::default();
        assert_eq!(suspicions.accuse(5, NodeId(1), 100, &terms), Accused::New);
        assert_eq!(suspicions.accuse(5, NodeId(1), 200, &terms), Accused::Known);
        assert_eq!(suspicions.next(), Some(6100));
        assert_eq!(suspicions.accuse(5, NodeId(2), 300, &terms), Accused::Confirmed);
        assert_eq!((suspicions.expired(3599), suspicions.expired(3600)), (None, Some(5)));
        assert_eq!(suspicions.accuse(5, NodeId(3), 3000, &terms), Accused::Confirmed);
        assert_eq!(suspicions.next(), Some(3000));
        suspicions.clear(5);
        assert_eq!((suspicions.next(), suspicions.len()), (None, 0));
    }
}
