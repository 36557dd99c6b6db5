//! Random histories against sorted maps, with every rule verified after each step.
//!
//! Pages are small, so that a few hundred records make a deep tree. Every run prints its seed; to
//! replay one: `SEED=n cargo test -p drystone-btree draft`. `SLOW=1` runs fifty times as many.

use std::collections::BTreeMap;
use std::ops::Bound;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cursor::Cursor;
use crate::draft::{Draft, Found, Savepoint, Search, find_high};
use crate::error::Error;
use crate::forest::Forest;
use crate::memory::Memory;
use crate::pages::{Pages, Source};
use crate::range::Range;
use crate::reach::reach;
use crate::types::{PageId, TreeId, TreeRoot};
use crate::verify::{Seen, verify};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Maps = BTreeMap<String, (TreeId, Map)>;

const SEEDS: u64 = 40;
const STEPS: usize = 250;

/// How keys of a run look.
#[derive(Debug, Clone, Copy)]
enum Keys {
    /// Few letters, among them those that sort at the ends; often empty or one within another.
    Tiny,
    /// A long beginning in common, decimal numbers behind.
    Decimal,
    /// Numbers in big endian.
    Binary,
    /// As long as can be, with one beginning or another.
    Long,
}

struct Run {
    rng: ChaCha8Rng,
    memory: Memory,
    forest: Forest,
    committed: Maps,
    draft: Option<Draft>,
    maps: Maps,
    points: Vec<(Savepoint, Maps)>,
    /// A snapshot of an earlier state and what it must show.
    old: Option<(Forest, Maps)>,
    keys: Keys,
    key_count: u32,
    /// How many records are put at once, at most.
    bulk: u32,
    counter: u32,
    depth_max: u8,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let page_bytes = [512, 512, 512, 1024, 4096, 16_384][rng.random_range(0..6)];
        let mut memory = Memory::new(page_bytes);
        memory.shared = rng.random_bool(0.3);
        memory.extent_max = [1, 3, u32::MAX][rng.random_range(0..3)];
        let keys = [Keys::Tiny, Keys::Decimal, Keys::Binary, Keys::Long][rng.random_range(0..4)];
        let key_count = [30, 300, 3000][rng.random_range(0..3)];
        let bulk = [120, 1200][rng.random_range(0..2)];
        Run {
            rng,
            memory,
            forest: Forest::default(),
            committed: Maps::new(),
            draft: None,
            maps: Maps::new(),
            points: Vec::new(),
            old: None,
            keys,
            key_count,
            bulk,
            counter: 0,
            depth_max: 0,
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let n = self.rng.random_range(0..self.key_count);
        self.key_of(n)
    }

    fn key_of(&mut self, n: u32) -> Vec<u8> {
        match self.keys {
            Keys::Tiny => {
                let letters = [0, 1, b'a', b'b', 255];
                let len = self.rng.random_range(0..7);
                (0..len).map(|_| letters[self.rng.random_range(0..5)]).collect()
            }
            Keys::Decimal => format!("accounts/by-number/{n:08}").into_bytes(),
            Keys::Binary => n.to_be_bytes().to_vec(),
            Keys::Long => {
                let len = crate::page::key_bytes_max(self.memory.page_bytes());
                let mut key = vec![b'x' + (n % 3) as u8; len - (n % 7) as usize];
                let at = [0, len / 2, len - 20][n as usize % 3];
                key[at..at + 4].copy_from_slice(&n.to_be_bytes());
                key
            }
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let page_bytes = self.memory.page_bytes();
        let len = match self.rng.random_range(0..20) {
            0 => 0,
            1 => page_bytes / 4 + self.rng.random_range(0..3) - 1,
            2 => self.rng.random_range(page_bytes / 4..page_bytes * 3),
            3..8 => self.rng.random_range(0..page_bytes / 4),
            _ => 20,
        };
        let byte = self.rng.random_range(0..=255);
        vec![byte; len]
    }

    fn tree(&mut self) -> Option<(String, TreeId)> {
        let names: Vec<_> = self.maps.iter().map(|(name, (id, _))| (name.clone(), *id)).collect();
        (!names.is_empty()).then(|| names[self.rng.random_range(0..names.len())].clone())
    }

    fn step(&mut self) {
        if self.draft.is_none() {
            self.draft = Some(self.memory.draft(&self.forest));
            self.maps = self.committed.clone();
            if self.maps.is_empty() {
                self.create();
            }
        }
        match self.rng.random_range(0..100) {
            0..3 => self.create(),
            3 => self.drop_one(),
            4..8 => self.savepoint(),
            8..11 => self.rollback(),
            11..13 => self.release(),
            13..20 => self.commit(),
            20 => self.abort(),
            21 => self.relocate(),
            22..28 => self.delete_range(),
            28..36 => self.put_many(),
            36..60 => self.put(),
            60..80 => self.delete(),
            80..90 => self.read(),
            _ => self.walk(),
        }
        self.check();
    }

    fn create(&mut self) {
        let name = ["a", "b", "c", "a-rather-long-name-of-a-tree"][self.rng.random_range(0..4)];
        let id = self.draft.as_mut().unwrap().create_tree(name).unwrap();
        let entry = self.maps.entry(name.into()).or_insert_with(|| (id, Map::new()));
        assert_eq!(entry.0, id);
    }

    fn drop_one(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let draft = self.draft.as_mut().unwrap();
        assert!(draft.drop_tree(&self.memory, id).unwrap());
        assert!(!draft.drop_tree(&self.memory, id).unwrap());
        assert!(matches!(draft.put(&self.memory, id, b"", b""), Err(Error::NoTree)));
        self.maps.remove(&name);
    }

    fn savepoint(&mut self) {
        let point = self.draft.as_mut().unwrap().savepoint();
        self.points.push((point, self.maps.clone()));
    }

    fn rollback(&mut self) {
        if self.points.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.points.len());
        let later = self.points.get(at + 1).map(|(point, _)| *point);
        self.points.truncate(at + 1);
        let draft = self.draft.as_mut().unwrap();
        draft.rollback_to(self.points[at].0).unwrap();
        self.maps = self.points[at].1.clone();
        if let Some(later) = later {
            assert!(matches!(draft.rollback_to(later), Err(Error::NoSavepoint)));
        }
    }

    fn release(&mut self) {
        if self.points.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.points.len());
        let point = self.points[at].0;
        self.points.truncate(at);
        let draft = self.draft.as_mut().unwrap();
        draft.release(point).unwrap();
        assert!(matches!(draft.release(point), Err(Error::NoSavepoint)));
    }

    fn commit(&mut self) {
        let draft = self.draft.take().unwrap();
        self.points.clear();
        if self.old.is_none() {
            self.memory.let_go();
            if self.rng.random_bool(0.5) {
                self.old = Some((self.forest.clone(), self.committed.clone()));
            }
        } else if self.rng.random_bool(0.5) {
            self.old = None;
        }
        self.forest = self.memory.commit(draft).unwrap();
        self.committed = self.maps.clone();
        self.check_pages();
    }

    fn abort(&mut self) {
        self.points.clear();
        self.memory.spare = self.draft.take().unwrap().into_spare().0;
        self.maps = self.committed.clone();
    }

    fn delete_range(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let (a, b) = (self.key(), self.key());
        let end = if self.rng.random_bool(0.1) { None } else { Some(&b[..]) };
        let start = if self.rng.random_bool(0.1) { vec![] } else { a };
        let found = self.draft.as_mut().unwrap().delete_range(&self.memory, id, &start, end);
        let map = &mut self.maps.get_mut(&name).unwrap().1;
        let before = map.len();
        map.retain(|key, _| key < &start || end.is_some_and(|end| &key[..] >= end));
        assert_eq!(found.unwrap(), (before - map.len()) as u64);
    }

    /// As loads do: many records, up, down, or anywhere.
    fn put_many(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let count = self.rng.random_range(1..self.bulk);
        let order = self.rng.random_range(0..3);
        let value = self.value();
        let value = &value[..value.len().min(200)];
        for i in 0..count {
            let n = match order {
                0 => self.counter + i,
                1 => self.counter + count - i,
                _ => self.rng.random_range(0..self.key_count),
            };
            let key = self.key_of(n);
            let was = self.draft.as_mut().unwrap().put(&self.memory, id, &key, value).unwrap();
            let old = self.maps.get_mut(&name).unwrap().1.insert(key, value.to_vec());
            assert_eq!(was, old.is_some());
        }
        self.counter += count;
    }

    fn put(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let (key, value) = (self.key(), self.value());
        let was = self.draft.as_mut().unwrap().put(&self.memory, id, &key, &value).unwrap();
        let old = self.maps.get_mut(&name).unwrap().1.insert(key, value);
        assert_eq!(was, old.is_some());
    }

    /// One that may not be there, or a few of those that are.
    fn delete(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let mut keys = vec![self.key()];
        let map = &mut self.maps.get_mut(&name).unwrap().1;
        if self.rng.random_bool(0.7) && !map.is_empty() {
            let at = self.rng.random_range(0..map.len());
            let count = self.rng.random_range(1..40);
            keys.extend(map.keys().skip(at).take(count).cloned());
        }
        for key in keys {
            let was = self.draft.as_mut().unwrap().delete(&self.memory, id, &key).unwrap();
            assert_eq!(was, map.remove(&key).is_some());
        }
    }

    /// As compaction does, step by step: then nothing that is committed is above.
    fn relocate(&mut self) {
        let above = PageId(self.rng.random_range(0..Pages::page_count(&self.memory)));
        let page_bytes = self.memory.page_bytes();
        let search = Search { above, values: false, pack: true, page_bytes };
        if self.rng.random_bool(0.5) {
            self.relocate_all(search);
        }
        self.relocate_all(Search { values: true, pack: false, ..search });
        let draft = self.draft.as_ref().unwrap();
        for root in draft.entries().iter().map(|entry| entry.root) {
            reach(draft.overlay(&self.memory), root, page_bytes, &mut |extent| {
                assert!(extent.first.0 + extent.pages <= above.0.max(extent.pages), "{extent:?}");
                Ok(())
            })
            .unwrap();
        }
    }

    fn relocate_all(&mut self, search: Search) {
        let draft = self.draft.as_mut().unwrap();
        let trees: Vec<_> = draft.entries().iter().map(|entry| entry.id).collect();
        for tree in trees {
            let mut from = Some(Vec::new());
            while let Some(key) = from {
                let (keys_max, reads) = (self.rng.random_range(1..9), self.rng.random_range(1..50));
                let mut found = Found { keys: Vec::new(), keys_max, reads };
                let (source, root) = (draft.overlay(&self.memory), draft.root(tree).unwrap());
                from = find_high(source, root, search, key, &mut found).unwrap();
                assert!(found.keys.len() <= keys_max);
                for key in found.keys {
                    draft.relocate(&self.memory, search, tree, &key).unwrap();
                }
            }
        }
    }

    fn read(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let key = self.key();
        let draft = self.draft.as_ref().unwrap();
        let found = draft.get(&self.memory, id, &key).unwrap();
        assert_eq!(found.as_deref(), self.maps[&name].1.get(&key).map(|value| &value[..]));
        let (a, b) = (self.bound(), self.bound());
        let draft = self.draft.as_ref().unwrap();
        let (source, root) = (draft.overlay(&self.memory), draft.root(id).unwrap());
        check_range(&mut self.rng, source, root, &self.maps[&name].1, &a, &b);
        if let Some((forest, maps)) = &self.old {
            for (id, map) in maps.values() {
                let root = forest.root(*id).unwrap();
                check_range(
                    &mut self.rng,
                    &self.memory,
                    root,
                    map,
                    &Bound::Unbounded,
                    &Bound::Unbounded,
                );
            }
        }
    }

    fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.rng.random_range(0..3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }

    /// A cursor's every move.
    fn walk(&mut self) {
        let Some((name, id)) = self.tree() else { return };
        let moves: Vec<_> = (0..20).map(|_| (self.rng.random_range(0..10), self.key())).collect();
        let draft = self.draft.as_ref().unwrap();
        let map = &self.maps[&name].1;
        let mut cursor = Cursor::new(draft.overlay(&self.memory), draft.root(id).unwrap());
        let mut here: Option<Vec<u8>> = None;
        for (what, key) in moves {
            let after = |key: &Vec<u8>| {
                map.range::<Vec<u8>, _>((Bound::Excluded(key), Bound::Unbounded)).next()
            };
            let before = |key: &Vec<u8>| map.range(..key.clone()).next_back();
            let (is_on, record) = match what {
                0 => (cursor.first(), map.iter().next()),
                1 => (cursor.last(), map.iter().next_back()),
                2 => (cursor.seek(&key), map.range(key.clone()..).next()),
                3 => (cursor.seek_before(&key), before(&key)),
                4..7 => (cursor.next(), here.as_ref().and_then(after)),
                _ => (cursor.prev(), here.as_ref().and_then(before)),
            };
            assert_eq!(is_on.unwrap(), record.is_some(), "move {what} from {here:?}");
            assert_eq!(cursor.key(), record.map(|(key, _)| &key[..]));
            let value = cursor.value().unwrap();
            assert_eq!(value.as_deref(), record.map(|(_, value)| &value[..]));
            here = record.map(|(key, _)| key.clone());
        }
    }

    /// Every rule of every tree of the draft, and its names.
    fn check(&mut self) {
        let Some(draft) = &self.draft else { return };
        let mut seen = Seen::default();
        assert_eq!(draft.entries().len(), self.maps.len());
        for (name, (id, map)) in &self.maps {
            assert_eq!(draft.tree(name), Some(*id));
            let root = draft.root(*id).unwrap();
            let page_bytes = self.memory.page_bytes();
            let tally = verify(draft.overlay(&self.memory), root, page_bytes, &mut seen).unwrap();
            assert_eq!(tally.records, map.len() as u64);
            self.depth_max = self.depth_max.max(tally.depth);
        }
    }

    /// After a commit: what it says, and that each page is used, free or held, and no two of these.
    fn check_pages(&mut self) {
        let mut seen = Seen::default();
        let page_bytes = self.memory.page_bytes();
        let catalog = verify(&self.memory, self.forest.catalog(), page_bytes, &mut seen).unwrap();
        let mut pages = catalog.pages + catalog.run_pages;
        for (name, (id, map)) in &self.committed {
            let root = self.forest.find(name).unwrap().root;
            assert_eq!(root, self.forest.root(*id).unwrap());
            let tally = verify(&self.memory, root, page_bytes, &mut seen).unwrap();
            pages += tally.pages + tally.run_pages;
            let (all, none) = (Bound::Unbounded, Bound::Unbounded);
            check_range(&mut self.rng, &self.memory, root, map, &all, &none);
        }
        assert_eq!(pages, self.memory.used() as u64, "no page is lost");
    }
}

/// A range from both ends in random turns, against the map's.
fn check_range<'a, S: Source<'a>>(
    rng: &mut ChaCha8Rng,
    source: S,
    root: TreeRoot,
    map: &Map,
    lower: &Bound<Vec<u8>>,
    upper: &Bound<Vec<u8>>,
) {
    let (low, high) = (lower.as_ref().map(|key| &key[..]), upper.as_ref().map(|key| &key[..]));
    let mut range = Range::new(source, root, low, high);
    let inside = |key: &[u8]| {
        let above = match low {
            Bound::Unbounded => true,
            Bound::Included(low) => low <= key,
            Bound::Excluded(low) => low < key,
        };
        let below = match high {
            Bound::Unbounded => true,
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
        };
        above && below
    };
    let mut expected = map.iter().filter(|(key, _)| inside(key));
    let backwards = [0.0, 0.1, 0.5, 1.0][rng.random_range(0..4)];
    loop {
        let (found, record) = if rng.random_bool(backwards) {
            (range.next_back(), expected.next_back())
        } else {
            (range.next(), expected.next())
        };
        let found = found.map(Result::unwrap);
        let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
        assert_eq!(found, record.map(|(key, value)| (&key[..], &value[..])));
        if record.is_none() {
            break;
        }
    }
    assert!(range.next().is_none() && range.next_back().is_none());
}

/// Answers with the depth of the deepest tree there was.
fn run(seed: u64) -> u8 {
    println!("replay: SEED={seed} cargo test -p drystone-btree draft");
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
    }
    if run.draft.is_some() {
        run.commit();
    }
    run.depth_max
}

// The tree is an ordered map, whatever is done to it in whatever order.
#[test]
fn random_histories_agree_with_sorted_maps() {
    let seeds = match (std::env::var("SEED"), std::env::var("SLOW")) {
        (Ok(seed), _) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        (_, Ok(_)) => 0..SEEDS * 50,
        _ => 0..SEEDS,
    };
    let depth_max = seeds.map(run).max();
    let is_one = std::env::var("SEED").is_ok();
    assert!(is_one || depth_max > Some(4), "the histories reach deep trees: {depth_max:?}");
}
