//! Trees of pages that have the right checksum and the wrong content.
//!
//! Whoever can write the file can compute a checksum, and so can a bug of ours. Nothing that is
//! done to such a tree may panic, run on for ever or eat the memory: it answers, or says that the
//! tree is corrupt. To replay one seed: `SEED=n cargo test -p drystone-btree hostile`.

use std::ops::Bound;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cursor::Cursor;
use crate::draft::{Draft, Found, Search, find_high};
use crate::error::{Error, Result};
use crate::forest::Forest;
use crate::inspect::inspect;
use crate::memory::Memory;
use crate::range::Range;
use crate::reach::reach;
use crate::tree::get;
use crate::types::{PageId, TreeId};
use crate::verify::{Seen, verify};

const PAGE: usize = 512;
/// Records that a walk over a damaged tree looks at: a page may be its own neighbour.
const STEPS_MAX: usize = 5000;

fn key(n: u32) -> Vec<u8> {
    match n % 3 {
        0 => n.to_be_bytes().to_vec(),
        1 => format!("name/{n:06}").into_bytes(),
        _ => vec![b'x'; n as usize % 90],
    }
}

/// A sound tree of some hundred records, large values among them.
fn sound(rng: &mut ChaCha8Rng) -> (Memory, Forest, TreeId) {
    let mut memory = Memory::new(PAGE);
    let mut forest = Forest::default();
    let mut tree = TreeId::default();
    for _ in 0..3 {
        let mut draft = memory.draft(&forest);
        tree = draft.create_tree("t").unwrap();
        for _ in 0..120 {
            let len = [0, 20, 100, 700][rng.random_range(0..4)];
            draft.put(&memory, tree, &key(rng.random_range(0..1000)), &vec![3; len]).unwrap();
        }
        forest = memory.commit(draft).unwrap();
        memory.let_go();
    }
    (memory, forest, tree)
}

/// Changes one page, so that it may still pass the structural check.
fn damage(rng: &mut ChaCha8Rng, memory: &mut Memory) {
    let ids: Vec<PageId> = (2..2000).map(PageId).filter(|id| memory.bytes(*id).is_some()).collect();
    let id = ids[rng.random_range(0..ids.len())];
    let mut bytes = memory.bytes(id).unwrap().to_vec();
    match rng.random_range(0..4) {
        // Another page of the same tree in its place, with the number changed to fit.
        0 => {
            let other = ids[rng.random_range(0..ids.len())];
            bytes = memory.bytes(other).unwrap().to_vec();
            bytes[12..16].copy_from_slice(&id.0.to_le_bytes());
        }
        1 => {
            for _ in 0..3 {
                let at = rng.random_range(0..PAGE);
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
        // A pointer, or what looks like one, leads to a page that is there.
        2 => {
            let is_page =
                |at: &usize| ids.iter().any(|id| bytes[*at..at + 4] == id.0.to_le_bytes());
            let places: Vec<usize> = (20..PAGE - 4).filter(is_page).collect();
            if !places.is_empty() {
                let at = places[rng.random_range(0..places.len())];
                let other = ids[rng.random_range(0..ids.len())];
                bytes[at..at + 4].copy_from_slice(&other.0.to_le_bytes());
            }
        }
        _ => {
            let at = rng.random_range(0..20);
            bytes[at] = rng.random_range(0..=255);
        }
    }
    memory.overwrite(id, bytes);
}

/// An error must say that the tree is corrupt.
fn settle<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Corrupt { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

fn read(rng: &mut ChaCha8Rng, memory: &Memory, forest: &Forest, tree: TreeId) {
    let Ok(root) = forest.root(tree) else { return };
    for _ in 0..20 {
        settle(get(memory, root, &key(rng.random_range(0..1000))));
    }
    let (all, none) = (Bound::Unbounded, Bound::Unbounded);
    for record in Range::new(memory, root, all, none).take(STEPS_MAX) {
        if record.is_err() {
            break;
        }
    }
    let mut range = Range::new(memory, root, Bound::Included(&b"name"[..]), none);
    for _ in 0..STEPS_MAX {
        let next = if rng.random_bool(0.5) { range.next() } else { range.next_back() };
        match next {
            None => break,
            Some(Err(error)) => {
                let again = range.next().unwrap().unwrap_err();
                assert_eq!(error.to_string(), again.to_string(), "an error stays");
                break;
            }
            Some(Ok(_)) => {}
        }
    }
    let mut cursor = Cursor::new(memory, root);
    for _ in 0..100 {
        let moved = match rng.random_range(0..4) {
            0 => cursor.seek(&key(rng.random_range(0..1000))),
            1 => cursor.seek_before(&key(rng.random_range(0..1000))),
            2 => cursor.next(),
            _ => cursor.prev(),
        };
        if settle(moved) == Some(true) {
            settle(cursor.value());
        }
    }
    settle(verify(memory, root, PAGE, &mut Seen::default()));
    settle(reach(memory, root, PAGE, &mut |_| Ok(())));
}

fn change(rng: &mut ChaCha8Rng, memory: &Memory, draft: &mut Draft, tree: TreeId) {
    for _ in 0..60 {
        let (a, b) = (key(rng.random_range(0..1000)), key(rng.random_range(0..1000)));
        match rng.random_range(0..12) {
            0 => drop(settle(draft.delete_range(memory, tree, &a, Some(&b)))),
            1..5 => drop(settle(draft.delete(memory, tree, &a))),
            5 => {
                let point = draft.savepoint();
                settle(draft.put(memory, tree, &a, &b));
                draft.rollback_to(point).unwrap();
            }
            6 => {
                let above = PageId(rng.random_range(2..200));
                let (values, pack) = (rng.random_bool(0.5), rng.random_bool(0.5));
                let search = Search { above, values, pack, page_bytes: PAGE };
                let mut found = Found { keys: Vec::new(), keys_max: 9, reads: 40 };
                let (source, root) = (draft.overlay(memory), draft.root(tree).unwrap());
                let mut from = Some(a);
                // It must not go in circles, however little it reads at a time.
                for _ in 0..STEPS_MAX {
                    let Some(key) = from else { break };
                    found.reads = 3;
                    from = settle(find_high(source, root, search, key, &mut found)).flatten();
                    found.keys.truncate(8);
                }
                assert!(from.is_none(), "the search ends");
                for key in &found.keys {
                    settle(draft.relocate(memory, search, tree, key));
                }
            }
            _ => drop(settle(draft.put(memory, tree, &a, &vec![9; rng.random_range(0..300)]))),
        }
    }
}

// Scenarios 43 and 48: a tree with rotten pages under right checksums answers or is corrupt.
#[test]
fn hostile_trees_answer_or_are_corrupt() {
    let seeds = match (std::env::var("SEED"), std::env::var("SLOW")) {
        (Ok(seed), _) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        (_, Ok(_)) => 0..20_000,
        _ => 0..400,
    };
    let is_one = seeds.end - seeds.start == 1;
    let (mut detected, mut whole) = (0, 0);
    for seed in seeds {
        println!("replay: SEED={seed} cargo test -p drystone-btree hostile");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut memory, forest, tree) = sound(&mut rng);
        memory.checksums = false;
        for _ in 0..rng.random_range(1..4) {
            damage(&mut rng, &mut memory);
        }
        let loaded = settle(Forest::load(&memory, forest.catalog()));
        let forest = loaded.unwrap_or(forest);
        let tree = forest.find("t").map_or(tree, |entry| entry.id);
        read(&mut rng, &memory, &forest, tree);
        if let Ok(root) = forest.root(tree) {
            match verify(&memory, root, PAGE, &mut Seen::default()) {
                Ok(_) => whole += 1,
                Err(_) => detected += 1,
            }
        }
        let mut draft = memory.draft(&forest);
        if draft.root(tree).is_ok() {
            change(&mut rng, &memory, &mut draft, tree);
            if rng.random_bool(0.2) {
                settle(draft.drop_tree(&memory, tree));
            }
        }
        if let Some(forest) = settle(memory.commit(draft)) {
            read(&mut rng, &memory, &forest, tree);
        }
    }
    assert!(is_one || detected > whole, "{detected} detected, {whole} whole");
}

// The tool for a damaged page must cope with one.
#[test]
fn anything_can_be_inspected() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (mut memory, ..) = sound(&mut rng);
    for _ in 0..200 {
        damage(&mut rng, &mut memory);
    }
    let texts = (2..2000).filter_map(|id| memory.bytes(PageId(id)).map(inspect));
    let damaged = texts.filter(|text| text.starts_with("damaged")).count();
    assert!(damaged > 5, "{damaged} were damaged beyond use");
}
