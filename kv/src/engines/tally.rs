//! How much an engine holds, for engines that cannot tell by themselves.
//!
//! A log-structured tree learns that a key is new, or that a delete hit nothing, only when it merges:
//! it can tell how many entries it has, and not how many records. So the records and their bytes are
//! counted here, change by change, and the sum is written as one more record in the *same batch* as
//! the changes it counts. After a crash the sum is that of the batches that are there, whichever
//! these are, and opening needs no look at the records.
//!
//! ```text
//!     sum = records of each space, u64 each │ bytes of all keys and values, u64      big-endian
//! ```
//!
//! To count a change one must know what its key had before. In [`Space::Record`], where nearly all
//! changes go, keys grow: one above all before it had nothing, and is not looked up.

use std::collections::HashMap;

use crate::engine::{Batch, Change, EngineError, Key, Space};

/// What a record is reckoned to take beside its key and value, in bytes.
const RECORD_BYTES: u64 = 16;

/// A sum of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) records: [u64; Space::COUNT],
    bytes: u64,
}

impl Tally {
    const BYTES: usize = 8 * (Space::COUNT + 1);

    /// What live records take, in bytes.
    pub(super) fn bytes_in_use(&self) -> u64 {
        self.bytes + RECORD_BYTES * self.records.iter().sum::<u64>()
    }

    pub(super) fn encode(&self) -> [u8; Tally::BYTES] {
        let mut bytes = [0; Tally::BYTES];
        let numbers = self.records.iter().chain([&self.bytes]);
        for (number, place) in numbers.zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// The sum that `bytes` hold; `None` if it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Tally> {
        let mut numbers = bytes
            .chunks_exact(8)
            .map(|number| u64::from_be_bytes(number.try_into().expect("chunks of eight")));
        if bytes.len() != Tally::BYTES {
            return None;
        }
        let records = std::array::from_fn(|_| numbers.next().expect("counted above"));
        Some(Tally { records, bytes: numbers.next().expect("counted above") })
    }

    fn add(&mut self, space: Space, record_bytes: u64) {
        self.records[space.index()] += 1;
        self.bytes += record_bytes;
    }

    /// `None` if the sum has no such record: it is not that of the records.
    fn sub(&mut self, space: Space, record_bytes: u64) -> Option<()> {
        let records = &mut self.records[space.index()];
        *records = records.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(record_bytes)?;
        Some(())
    }
}

/// Why a sum cannot go on.
#[derive(Debug)]
pub(super) enum Miscount {
    /// A record could not be read.
    Engine(EngineError),
    /// There are more records than the sum says.
    Wrong,
}

/// A sum that follows an engine from batch to batch.
#[derive(Debug)]
pub(super) struct Teller {
    tally: Tally,
    /// No key of [`Space::Record`] is above it.
    newest: Option<Key>,
}

impl Teller {
    /// Goes on from `tally`, that of an engine whose last key in [`Space::Record`] is `newest`.
    pub(super) fn new(tally: Tally, newest: Option<Key>) -> Teller {
        Teller { tally, newest }
    }

    /// The sum after `batch`, and the state to go on from once the batch is written. `len_of` tells
    /// how long the value of a key was before it.
    pub(super) fn after(
        &self,
        batch: &Batch,
        len_of: impl Fn(Space, &[u8]) -> Result<Option<usize>, EngineError>,
    ) -> Result<(Tally, Teller), Miscount> {
        let mut tally = self.tally;
        let mut newest = self.newest.clone();
        // Keys above all that the engine has, in their order, and the lengths of their values.
        let mut appended: Vec<(&[u8], usize)> = Vec::new();
        // All others that the batch has touched, with what it has made of them.
        let mut touched: HashMap<(Space, &[u8]), Option<usize>> = HashMap::new();
        for change in batch {
            let (space, key, len) = match change {
                Change::Put { space, key, value } => (*space, key, Some(value.len())),
                Change::Delete { space, key } => (*space, key, None),
            };
            if space == Space::Record && newest.as_ref().is_none_or(|newest| **newest < **key) {
                let Some(len) = len else { continue };
                tally.add(space, (key.len() + len) as u64);
                appended.push((key, len));
                newest = Some(key.clone());
                continue;
            }
            let found = appended.binary_search_by_key(&&key[..], |(key, _)| key);
            let before = match (touched.get(&(space, &key[..])), found) {
                (Some(touched), _) => *touched,
                (None, Ok(at)) if space == Space::Record => Some(appended[at].1),
                _ => len_of(space, key).map_err(Miscount::Engine)?,
            };
            if let Some(before) = before {
                tally.sub(space, (key.len() + before) as u64).ok_or(Miscount::Wrong)?;
            }
            if let Some(len) = len {
                tally.add(space, (key.len() + len) as u64);
            }
            touched.insert((space, key), len);
        }
        Ok((tally, Teller { tally, newest }))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    type Map = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

    fn apply(map: &mut Map, batch: &Batch) {
        for change in batch {
            match change {
                Change::Put { space, key, value } => {
                    map.insert((*space, key.to_vec()), value.to_vec());
                }
                Change::Delete { space, key } => {
                    map.remove(&(*space, key.to_vec()));
                }
            }
        }
    }

    fn sum(map: &Map) -> Tally {
        let mut tally = Tally::default();
        for ((space, key), value) in map {
            tally.add(*space, (key.len() + value.len()) as u64);
        }
        tally
    }

    /// A small stream of numbers, the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, below: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % below
        }
    }

    // A sum that is off by one is off for ever, and a quota with it. Keys meet, grow, and come back,
    // in one batch and over many.
    #[test]
    fn the_sum_is_that_of_the_records_after_any_batches() {
        for seed in 0..200 {
            let mut numbers = Numbers(seed);
            let mut map = Map::new();
            let mut teller = Teller::new(Tally::default(), None);
            for _ in 0..40 {
                let mut batch = Batch::new();
                for _ in 0..numbers.below(12) {
                    let space = Space::ALL[numbers.below(4) as usize];
                    let key = [numbers.below(20) as u8];
                    match numbers.below(3) {
                        0 => batch.delete(space, &key),
                        _ => {
                            let value = vec![7; numbers.below(9) as usize];
                            batch.put(space, &key, Bytes::from(value));
                        }
                    }
                }
                let len_of = |space, key: &[u8]| Ok(map.get(&(space, key.to_vec())).map(Vec::len));
                let (tally, next) = teller.after(&batch, len_of).unwrap();
                apply(&mut map, &batch);
                assert_eq!(tally, sum(&map), "seed {seed}");
                assert_eq!(Tally::decode(&tally.encode()), Some(tally));
                // Now and then the engine is opened anew.
                teller = next;
                if numbers.below(5) == 0 {
                    let mut records = map.keys().filter(|(space, _)| *space == Space::Record);
                    let newest = records.next_back().map(|(_, key)| Key::new(key));
                    teller = Teller::new(tally, newest);
                }
            }
        }
    }

    // Every put of a client appends a record; looking each up would double the work.
    #[test]
    fn growing_keys_are_not_looked_up() {
        let looks = Cell::new(0);
        let len_of = |_, _: &[u8]| {
            looks.set(looks.get() + 1);
            Ok(None)
        };
        let mut teller = Teller::new(Tally::default(), None);
        for n in 0..100_u32 {
            let mut batch = Batch::new();
            batch.put(Space::Record, &n.to_be_bytes(), Bytes::from_static(b"v"));
            teller = teller.after(&batch, len_of).unwrap().1;
        }
        assert_eq!((looks.get(), teller.tally.records[Space::Record.index()]), (0, 100));
        let mut batch = Batch::new();
        batch.delete(Space::Record, &7_u32.to_be_bytes());
        teller.after(&batch, len_of).unwrap();
        assert_eq!(looks.get(), 1);
    }

    // What is no sum must not be taken for one.
    #[test]
    fn bytes_of_another_length_are_no_sum() {
        let bytes = Tally::default().encode();
        assert!(Tally::decode(&bytes[1..]).is_none());
        assert!(Tally::decode(&[&bytes[..], &[0; 8]].concat()).is_none());
        assert!(Tally::decode(b"").is_none());
        // More is taken away than was there.
        let mut batch = Batch::new();
        batch.delete(Space::Lease, b"k");
        let teller = Teller::new(Tally::default(), None);
        let wrong = teller.after(&batch, |_, _| Ok(Some(3)));
        assert!(matches!(wrong, Err(Miscount::Wrong)));
    }
}
