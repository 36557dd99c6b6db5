//! A number a place, most of them 0: how many tasks of a kind are in each domain.
//!
//! A job of three tasks counts on three of ten thousand nodes, a big array on all of them; and
//! there are thousands of jobs. So a tally starts as a sorted list and becomes a table when it has
//! many.

/// A number for each of many places, which start at 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: Counts,
    total: u64,
    places: u32,
}

#[derive(Clone, Debug)]
enum Counts {
    Few(Vec<(u32, u32)>),
    Many(Vec<u32>),
}

impl Default for Counts {
    fn default() -> Counts {
        Counts::Few(Vec::new())
    }
}

/// With more places than this, and a sixteenth of the highest, it becomes a table.
const FEW_MAX: usize = 32;

impl Tally {
    /// At this place.
    pub(crate) fn at(&self, place: u32) -> u32 {
        match &self.counts {
            Counts::Few(list) => match list.binary_search_by_key(&place, |&(place, _)| place) {
                Ok(i) => list[i].1,
                Err(_) => 0,
            },
            Counts::Many(table) => table.get(place as usize).copied().unwrap_or(0),
        }
    }

    /// Over all places.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many places are not at 0.
    pub(crate) fn places(&self) -> u32 {
        self.places
    }

    pub(crate) fn set(&mut self, place: u32, count: u32) {
        let old = self.at(place);
        if old == count {
            return;
        }
        self.total = self.total - u64::from(old) + u64::from(count);
        self.places = self.places - u32::from(old > 0) + u32::from(count > 0);
        match &mut self.counts {
            Counts::Few(list) => match list.binary_search_by_key(&place, |&(place, _)| place) {
                Ok(i) if count == 0 => drop(list.remove(i)),
                Ok(i) => list[i].1 = count,
                Err(i) => list.insert(i, (place, count)),
            },
            Counts::Many(table) => {
                let i = place as usize;
                if table.len() <= i {
                    table.resize(i + 1, 0);
                }
                table[i] = count;
            }
        }
        self.reshape();
    }

    pub(crate) fn add(&mut self, place: u32, count: u32) {
        self.set(place, self.at(place) + count);
    }

    pub(crate) fn take(&mut self, place: u32, count: u32) {
        let old = self.at(place);
        assert!(count <= old, "no more leave than came");
        self.set(place, old - count);
    }

    /// So many come, or go.
    pub(crate) fn change(&mut self, place: u32, count: u32, come: bool) {
        if come {
            self.add(place, count);
        } else {
            self.take(place, count);
        }
    }

    fn reshape(&mut self) {
        match &self.counts {
            Counts::Few(list) => {
                let span = list.last().map_or(0, |&(place, _)| place as usize + 1);
                if list.len() > FEW_MAX && list.len() * 16 > span {
                    let mut table = vec![0; span];
                    for &(place, count) in list {
                        table[place as usize] = count;
                    }
                    self.counts = Counts::Many(table);
                }
            }
            Counts::Many(_) if self.places == 0 => self.counts = Counts::default(),
            Counts::Many(_) => {}
        }
    }

    /// The places that are not at 0, in order.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (u32, u32)> + '_> {
        match &self.counts {
            Counts::Few(list) => Box::new(list.iter().copied()),
            Counts::Many(table) => {
                Box::new((0..).zip(table.iter().copied()).filter(|&(_, count)| count > 0))
            }
        }
    }
}

impl PartialEq for Tally {
    fn eq(&self, other: &Tally) -> bool {
        self.total == other.total && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::place::mix::Rng;

    /// The change from list to table and back must lose nothing.
    #[test]
    fn a_tally_counts_like_a_map() {
        let seed = 7;
        let mut rng = Rng::new(seed);
        let (mut tally, mut map) = (Tally::default(), BTreeMap::<u32, u32>::new());
        for step in 0..20_000 {
            let place = u32::try_from(rng.below(300)).unwrap();
            let old = map.get(&place).copied().unwrap_or(0);
            if (step / 2_000) % 2 == 0 {
                tally.add(place, 2);
                map.insert(place, old + 2);
            } else if old > 0 {
                tally.take(place, old);
                map.remove(&place);
            }
            assert_eq!(tally.at(place), map.get(&place).copied().unwrap_or(0), "seed {seed}");
            assert_eq!(tally.places() as usize, map.len(), "seed {seed} step {step}");
        }
        assert!(tally.iter().eq(map.iter().map(|(&place, &count)| (place, count))));
        assert_eq!(tally.total(), map.values().map(|&count| u64::from(count)).sum::<u64>());
    }
}
