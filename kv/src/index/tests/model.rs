//! Random histories, checked against a list of everything that ever happened.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A put (its version, the creation, the lease) or a tombstone.
type Fact = Option<(u64, u64, LeaseId)>;

/// The dumbest index: all revisions of all keys, none ever forgotten.
#[derive(Default)]
struct Oracle {
    facts: BTreeMap<Vec<u8>, Vec<(Revision, Fact)>>,
}

impl Oracle {
    fn latest(&self, key: &[u8]) -> Option<Latest> {
        let &(modified, fact) = self.facts.get(key)?.last()?;
        fact.map(|(version, created, lease)| Latest { modified, created, version, lease })
    }

    fn add(&mut self, key: &[u8], at: Revision, fact: Fact) {
        self.facts.entry(key.to_vec()).or_default().push((at, fact));
    }

    fn at(&self, key: &[u8], main: u64) -> Option<Revision> {
        let facts = self.facts.get(key)?;
        let &(at, fact) = facts.iter().rfind(|(at, _)| at.main <= main)?;
        fact.map(|_| at)
    }

    fn range(&self, range: &KeyRange, main: u64) -> Vec<(Vec<u8>, Revision)> {
        let inside = self.facts.keys().filter(|key| range.contains(key));
        inside.filter_map(|key| Some((key.clone(), self.at(key, main)?))).collect()
    }

    fn kept(&self, key: &[u8], at: Revision, compacted: u64) -> bool {
        let newest = self.facts[key].iter().rfind(|(at, _)| at.main <= compacted);
        let is_newest = newest.is_some_and(|&(newest, fact)| newest == at && fact.is_some());
        at.main == compacted || is_newest
    }
}

/// One run: an index and an oracle that do the same, and a compaction under way now and then.
struct World {
    random: ChaCha8Rng,
    index: Index,
    oracle: Oracle,
    main: u64,
    key_space: u32,
    /// Where the compaction under way goes on.
    cursor: Option<Vec<u8>>,
    compacting: bool,
    /// Revisions that compactions dropped, by main and sub.
    removed: Vec<Revision>,
}

impl World {
    fn new(seed: u64) -> World {
        let random = ChaCha8Rng::seed_from_u64(seed);
        // The last is deep enough for branches above branches to split and merge.
        let key_space = [5, 60, 400, 3000, 20_000][seed as usize % 5];
        World {
            random,
            index: Index::new(0),
            oracle: Oracle::default(),
            main: 1,
            key_space,
            cursor: None,
            compacting: false,
            removed: Vec::new(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        // Shared prefixes of several lengths, and keys that are prefixes of others.
        let number = self.random.random_range(0..self.key_space);
        let text = format!("/{}/{number:x}", ["a", "apple", "b"][number as usize % 3]);
        text.into_bytes()
    }

    fn any_range(&mut self) -> KeyRange {
        let (a, b) = (self.key(), self.key());
        match self.random.random_range(0..6) {
            0 => KeyRange::all(),
            1 => KeyRange::single(a),
            2 => KeyRange { start: a.into(), end: None },
            3 => KeyRange::prefix(b"/a/".to_vec()),
            _ => KeyRange { start: a.into(), end: Some(b.into()) },
        }
    }

    /// A transaction of one to many changes, or a delete of a whole range.
    fn write(&mut self, deletes_of_10: u32) {
        let main = self.main + self.random.random_range(1..3);
        let mut at = Revision::new(main, 0);
        if self.random.random_range(0..40) == 0 {
            let range = self.any_range();
            let mut keys = Vec::new();
            self.index.range(&range, main, Direction::Ascending, 500, |key, _| {
                keys.push(key.to_vec());
            });
            for key in keys {
                self.delete(&key, &mut at);
            }
        }
        for _ in 0..[1, 1, 2, 9][self.random.random_range(0..4)] {
            let key = self.key();
            if self.random.random_range(0..10) < deletes_of_10 {
                self.delete(&key, &mut at);
            } else {
                self.put(&key, &mut at);
            }
        }
        if at.sub > 0 {
            self.main = main;
        }
    }

    fn put(&mut self, key: &[u8], at: &mut Revision) {
        let lease = LeaseId(self.random.random_range(0..3));
        let previous = self.oracle.latest(key);
        let (version, created) =
            previous.map_or((1, at.main), |previous| (previous.version + 1, previous.created));
        self.oracle.add(key, *at, Some((version, created, lease)));
        let expected = Latest { modified: *at, created, version, lease };
        assert_eq!(self.index.put(key, *at, lease), (expected, previous));
        at.sub += 1;
    }

    fn delete(&mut self, key: &[u8], at: &mut Revision) {
        let previous = self.oracle.latest(key);
        assert_eq!(self.index.delete(key, *at), previous);
        if previous.is_some() {
            self.oracle.add(key, *at, None);
            at.sub += 1;
        }
    }

    fn compact(&mut self) {
        let mut at = self.index.compacted;
        if !self.compacting || self.random.random_range(0..20) == 0 {
            // A new one, which may overtake the one under way.
            at = self.random.random_range(at..=self.main);
            self.cursor = None;
        }
        let keys_max = self.random.random_range(1..100.max(self.key_space as usize / 5));
        let cursor = self.cursor.take();
        self.cursor = self.index.compact_step(at, cursor.as_deref(), keys_max, &mut self.removed);
        self.compacting = self.cursor.is_some();
        if !self.compacting {
            self.check_compacted(at);
        }
    }

    /// At the end of a compaction the index holds what `kept` says, and told the rest.
    fn check_compacted(&self, compacted: u64) {
        let mut removed = self.removed.clone();
        removed.sort_unstable();
        assert!(removed.is_sorted_by(|a, b| a < b), "a revision is dropped once");
        let mut keys = 0;
        for (key, facts) in &self.oracle.facts {
            let mut left = Vec::new();
            for &(at, fact) in facts {
                if at.main > compacted || self.oracle.kept(key, at, compacted) {
                    left.push((at, fact.is_none()));
                }
                let gone = at.main <= compacted && !self.oracle.kept(key, at, compacted);
                assert_eq!(removed.binary_search(&at).is_ok(), gone, "{at} is dropped or kept");
                if at.main <= compacted {
                    assert_eq!(self.index.kept(key, at, compacted), !gone);
                }
            }
            keys += u64::from(!left.is_empty());
            assert_eq!(self.index.revisions(key, 0).collect::<Vec<_>>(), left);
        }
        assert_eq!(self.index.keys(), keys);
    }

    fn read(&mut self) {
        let main = self.random.random_range(self.index.compacted..=self.main + 1);
        let (key, range) = (self.key(), self.any_range());
        assert_eq!(self.index.latest(&key), self.oracle.latest(&key));
        assert_eq!(self.index.at(&key, main), self.oracle.at(&key, main));
        let mut expected = self.oracle.range(&range, main);
        assert_eq!(self.index.count(&range, main), expected.len() as u64);
        let limit = [0, 1, 10, usize::MAX][self.random.random_range(0..4)];
        for direction in [Direction::Ascending, Direction::Descending] {
            let mut seen = Vec::new();
            self.index.range(&range, main, direction, limit, |key, at| {
                seen.push((key.to_vec(), at));
            });
            assert_eq!(seen, expected[..limit.min(expected.len())]);
            expected.reverse();
        }
    }

    /// Rebuilds the index from what a store would still hold.
    fn reopen(&mut self) {
        let mut removed = self.removed.clone();
        removed.sort_unstable();
        let mut records = BTreeMap::new();
        for (key, facts) in &self.oracle.facts {
            let left = facts.iter().filter(|(at, _)| removed.binary_search(at).is_err());
            records.extend(left.map(|&(at, fact)| (at, (key, fact))));
        }
        let mut index = Index::new(self.index.compacted);
        for (at, (key, fact)) in records {
            let record = fact.map_or(Restored::Tombstone, |(version, created, lease)| {
                Restored::Put { created, version, lease }
            });
            index.restore(key, at, record).unwrap();
        }
        index.check();
        assert_eq!((index.live(), index.keys()), (self.index.live(), self.index.keys()));
        self.index = index;
    }
}

fn run(seed: u64, steps: u32) {
    let mut world = World::new(seed);
    // The record of everything is slow on many keys; steps there are larger instead.
    let steps = if world.key_space > 10_000 { steps / 4 } else { steps };
    let check_every = if world.key_space < 100 { 1 } else { 1 + world.key_space / 400 };
    let writes = 20.max(world.key_space / 50);
    for step in 0..steps {
        // Tides: the store grows, then shrinks, so that nodes both split and merge.
        let deletes_of_10 = if step * 4 / steps % 2 == 0 { 1 } else { 9 };
        for _ in 0..[1, writes][step as usize % 2] {
            world.write(deletes_of_10);
        }
        if world.random.random_range(0..3) == 0 {
            world.compact();
        }
        world.read();
        if world.random.random_range(0..300) == 0 {
            world.reopen();
        }
        if step % check_every == 0 {
            world.index.check();
        }
    }
    world.index.check();
}

// Splits, merges, steps of compaction, overtaking compactions and restarts, in every mixture: at
// any readable revision the index says what a full record of history says.
#[test]
fn index_agrees_with_a_record_of_everything() {
    if let Ok(seed) = std::env::var("INDEX_SEED") {
        return run(seed.parse().unwrap(), 2000);
    }
    let runs = if std::env::var_os("SLOW").is_some() { 100 } else { 10 };
    for seed in 0..runs {
        println!("seed {seed}; replay: INDEX_SEED={seed} cargo test -p drystone-kv index_agrees");
        run(seed, if runs > 10 { 2000 } else { 800 });
    }
}
