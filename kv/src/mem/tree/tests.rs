//! The tree against `BTreeMap`, which is the definition of what it should do.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::node::{BRANCH_CHILDREN_MAX, LEAF_RECORDS_MAX, Node};
use super::{Builder, Tree};
use crate::engine::{Direction, Key};

type Model = BTreeMap<Vec<u8>, Bytes>;

fn key(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn value(n: u64) -> Bytes {
    Bytes::from(n.to_be_bytes().to_vec())
}

fn filled(count: u64) -> Tree {
    let mut tree = Tree::new();
    for n in 0..count {
        tree.insert(Key::new(&key(n)), value(n));
    }
    tree
}

fn collect(tree: &Tree, start: &[u8], end: Option<&[u8]>, way: Direction) -> Vec<(Vec<u8>, Bytes)> {
    tree.range(start, end, way).map(|(key, value)| (key.to_vec(), value.clone())).collect()
}

/// Asserts the invariants and that the tree holds what the model holds, read both ways.
fn check(tree: &Tree, model: &Model) {
    tree.check();
    let expected: Vec<_> = model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut found = collect(tree, b"", None, Direction::Forward);
    assert_eq!(found, expected);
    found = collect(tree, b"", None, Direction::Backward);
    found.reverse();
    assert_eq!(found, expected);
}

/// Keys of 0 to 30 bytes from a small alphabet: near each other, often prefixes of each other, and
/// on both sides of the inline length.
fn random_key(random: &mut impl Rng) -> Vec<u8> {
    let len = random.random_range(0..=3) + if random.random_ratio(1, 4) { 21 } else { 0 };
    (0..len).map(|_| random.random_range(0..12)).collect()
}

#[test]
fn random_changes_match_a_btreemap_and_snapshots_stay_as_they_were() {
    // The one test that exercises every split, merge and copy. SEED=n replays one run.
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..12).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        println!("replay: SEED={seed} cargo test -p drystone-kv random_changes_match");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut tree, mut model) = (Tree::new(), Model::new());
        let mut held: Vec<(Tree, Model)> = Vec::new();
        for step in 0..6000_u64 {
            // Phases of growth and of shrinking, so that the tree gains and loses levels.
            let grow = if (step / 1500) % 2 == 0 { 0.75 } else { 0.2 };
            let key = random_key(&mut random);
            if random.random_bool(grow) {
                tree.insert(Key::new(&key), value(step));
                model.insert(key, value(step));
            } else {
                // Mostly a key that is there.
                let near = model.range(key.clone()..).next().map(|(key, _)| key.clone());
                let key = near.filter(|_| random.random_bool(0.9)).unwrap_or(key);
                assert_eq!(tree.remove(&key), model.remove(&key).is_some());
            }
            if random.random_ratio(1, 100) {
                held.push((tree.clone(), model.clone()));
            }
            if random.random_ratio(1, 100) && !held.is_empty() {
                let at = random.random_range(0..held.len());
                let (tree, model) = held.swap_remove(at);
                check(&tree, &model);
            }
            if step % 500 == 0 {
                check(&tree, &model);
            }
            let (start, end) = (random_key(&mut random), random_key(&mut random));
            assert_eq!(tree.get(&start), model.get(&start));
            if step % 20 == 0 {
                check_range(&tree, &model, &start, random.random_bool(0.9).then_some(&end));
            }
        }
        held.iter().for_each(|(tree, model)| check(tree, model));
        check(&tree, &model);
    }
}

fn check_range(tree: &Tree, model: &Model, start: &[u8], end: Option<&Vec<u8>>) {
    let inside = |key: &[u8]| start <= key && end.is_none_or(|end| key < end.as_slice());
    let mut expected: Vec<_> =
        model.iter().filter(|(k, _)| inside(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let end = end.map(Vec::as_slice);
    assert_eq!(collect(tree, start, end, Direction::Forward), expected);
    expected.reverse();
    assert_eq!(collect(tree, start, end, Direction::Backward), expected);
}

#[test]
fn every_bound_of_a_small_tree_is_exact() {
    // Bounds fall on keys, between them, on separators and outside; all pairs are tried.
    let mut model = Model::new();
    let mut tree = Tree::new();
    for n in (2..200).step_by(2) {
        tree.insert(Key::new(&key(n)), value(n));
        model.insert(key(n).to_vec(), value(n));
    }
    assert!(tree.check() > 1, "the range must cross leaves");
    for lo in 0..202 {
        for hi in (0..202).step_by(3) {
            check_range(&tree, &model, &key(lo), Some(&key(hi).to_vec()));
        }
        check_range(&tree, &model, &key(lo), None);
    }
}

#[test]
fn ascending_puts_fill_every_leaf() {
    // Revisions grow; halving each full leaf would waste half of the memory.
    let count = 100_000;
    let tree = filled(count);
    tree.check();
    let leaves = count.div_ceil(LEAF_RECORDS_MAX as u64);
    let branches = tree.tally().nodes - leaves;
    let branches_max = 2 * leaves / BRANCH_CHILDREN_MAX as u64 + 3;
    assert!(branches <= branches_max, "{branches} branches over {leaves} full leaves");
}

#[test]
fn deleting_most_records_returns_the_nodes() {
    // Compaction deletes nearly everything, scattered; thin leaves must join.
    let count = 64_000;
    let mut tree = filled(count);
    let full = tree.tally();
    for n in (0..count).filter(|n| n % 50 != 0) {
        assert!(tree.remove(&key(n)));
    }
    tree.check();
    let tally = tree.tally();
    assert_eq!(tally.records, count / 50);
    assert!(tally.nodes * 15 < full.nodes, "{} nodes of {} are left", tally.nodes, full.nodes);
    for n in (0..count).step_by(50) {
        assert!(tree.remove(&key(n)));
    }
    assert_eq!(tree.tally(), Tree::new().tally());
    assert_eq!(tree.check(), 1);
}

#[test]
fn deleting_from_either_end_keeps_the_shape() {
    // The thin right edge is the special case of deletion, and compaction works from the left.
    for backward in [false, true] {
        let count = 10_000;
        let mut tree = filled(count);
        for step in 0..count {
            let n = if backward { count - 1 - step } else { step };
            assert!(tree.remove(&key(n)));
            if step % 97 == 0 {
                tree.check();
            }
        }
        assert_eq!(tree.tally().records, 0);
        tree.check();
    }
}

#[test]
fn a_build_in_order_equals_single_puts() {
    // Loading a file must give the very tree, at every count near a node's limit.
    let leaf = LEAF_RECORDS_MAX as u64;
    let branch = leaf * BRANCH_CHILDREN_MAX as u64;
    for count in [0, 1, leaf - 1, leaf, leaf + 1, branch - 1, branch, branch + 1, 3 * branch + 7] {
        let mut builder = Builder::new();
        for n in 0..count {
            builder.push(Key::new(&key(n)), value(n)).expect("keys ascend");
        }
        let mut built = builder.finish();
        built.check();
        assert_eq!(built.tally(), filled(count).tally(), "{count} records");
        // And it must take changes like any other.
        for n in 0..count {
            assert!(built.remove(&key(n)));
            built.insert(Key::new(&key(n + count)), value(n));
        }
        built.check();
    }
}

#[test]
fn a_build_refuses_records_out_of_order() {
    // A file with swapped records would otherwise load and then miss keys.
    let mut builder = Builder::new();
    builder.push(Key::new(b"b"), Bytes::new()).expect("the first record has no predecessor");
    assert!(builder.push(Key::new(b"b"), Bytes::new()).is_err());
    assert!(builder.push(Key::new(b"a"), Bytes::new()).is_err());
}

#[test]
fn a_change_under_a_snapshot_copies_one_path() {
    // Copying more would make every read request slow down the writer.
    let mut tree = filled(100_000);
    let snapshot = tree.clone();
    tree.insert(Key::new(&key(50_000)), value(1));
    let (mut shared, mut copied) = (0, 0);
    count_shared(&snapshot.root, &tree.root, &mut shared, &mut copied);
    assert_eq!(copied, tree.check(), "one node of each level is copied");
    assert!(shared > 0);
    assert_eq!(snapshot.get(&key(50_000)), Some(&value(50_000)));
}

fn count_shared(
    old: &std::sync::Arc<Node>,
    new: &std::sync::Arc<Node>,
    shared: &mut usize,
    copied: &mut usize,
) {
    if std::sync::Arc::ptr_eq(old, new) {
        *shared += 1;
        return;
    }
    *copied += 1;
    if let (Node::Branch(old), Node::Branch(new)) = (&**old, &**new) {
        for (old, new) in old.children.iter().zip(&new.children) {
            count_shared(old, new, shared, copied);
        }
    }
}

#[test]
fn an_absent_delete_copies_nothing() {
    // Compaction may delete a key twice; a shared path must stay shared then.
    let mut tree = filled(1000);
    let snapshot = tree.clone();
    assert!(!tree.remove(&key(5000)));
    assert!(std::sync::Arc::ptr_eq(&tree.root, &snapshot.root));
}
