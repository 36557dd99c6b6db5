//! Times and sizes, measured in release: `SLOW=1 cargo test --release -p drystone-kv figures --
//! --nocapture`.

use std::time::Instant;

use super::super::node::{Branch, Leaf};
use super::*;

/// The time that one of `count` calls takes, in nanoseconds.
#[expect(clippy::disallowed_methods, reason = "measures the real machine, decides nothing")]
fn time(what: &str, count: u64, mut call: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for i in 0..count {
        call(i);
    }
    let each = start.elapsed().as_nanos() as f64 / count as f64;
    println!("{what:<52} {each:>8.0} ns");
    each
}

/// Keys as Kubernetes writes them, in an order without pattern.
fn key(i: u64) -> Vec<u8> {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("/registry/pods/namespace-{:03}/deployment-{mixed:016x}", mixed % 500).into_bytes()
}

fn report_bytes(what: &str, index: &Index) {
    let sizes = sizes(&index.root);
    let each = |bytes: usize| bytes as f64 / index.keys() as f64;
    println!(
        "{what:<52} {:>8.1} bytes a key, of it logs {:.1}, key bytes {:.1}",
        each(sizes.total),
        each(sizes.history),
        each(sizes.keys)
    );
}

#[derive(Default)]
struct Sizes {
    total: usize,
    history: usize,
    keys: usize,
}

fn sizes(node: &Node) -> Sizes {
    match node {
        Node::Leaf(leaf) => {
            let keys = leaf.keys.heap_bytes();
            let older: usize = leaf.histories.iter().map(key::KeyHistory::heap_bytes).sum();
            let own = leaf.histories.capacity() * size_of::<key::KeyHistory>();
            let total = size_of::<Leaf>() + keys + older + own;
            Sizes { total, history: 0, keys }
        }
        Node::Branch(branch) => {
            let history = branch.history.heap_bytes();
            let own = size_of::<Branch>() + branch.separators.heap_bytes();
            let list = branch.children.capacity() * size_of::<Node>() + branch.slots.capacity();
            let mut sum = Sizes { total: own + list + history, history, keys: 0 };
            for child in branch.children.iter().map(sizes) {
                sum.total += child.total;
                sum.history += child.history;
                sum.keys += child.keys;
            }
            sum
        }
    }
}

fn reads(index: &Index, last: u64) {
    let half = |i: u64| KeyRange { start: key(i * 7919).into(), end: None };
    let mut sum = 0;
    time("count of a random half-range now", 100_000, |i| sum += index.count(&half(i), last));
    time("count of a random half-range, random old revision", 100_000, |i| {
        sum += index.count(&half(i), index.compacted.max(2) + i * 7919 % last);
    });
    time("latest of a random key", 1_000_000, |i| {
        sum += u64::from(index.latest(&key(i * 7919 % 1_000_000)).is_some());
    });
    time("range of 10 from a random key, old revision", 100_000, |i| {
        let main = index.compacted.max(2) + i * 7919 % last;
        index.range(&half(i), main, Direction::Ascending, 10, |_, at| sum += at.main);
    });
    time("range of 1000 from a random key now, each key", 1000, |i| {
        index.range(&half(i), last, Direction::Ascending, 1000, |_, at| sum += at.main);
    });
    assert_ne!(sum, 0);
}

// The figures in the module documentation come from here.
#[test]
fn figures_of_a_million_keys() {
    let count: u64 = if std::env::var_os("SLOW").is_some() { 1_000_000 } else { 10_000 };
    let keys: Vec<_> = (0..count).map(key).collect();
    let mut map = std::collections::BTreeMap::new();
    time("for scale: insertion in a BTreeMap of 48-byte values", count, |i| {
        map.insert(keys[i as usize].clone(), [i; 6]);
    });
    drop(map);
    let mut index = Index::new(0);
    time("making a key (part of some figures below)", count, |i| assert!(!key(i).is_empty()));
    time("put of a new key", count, |i| {
        index.put(&keys[i as usize], revision(2 + i), LeaseId::NONE);
    });
    report_bytes("all created since the last compaction", &index);
    reads(&index, count + 1);
    time("overwrite, the second put of a key", count, |i| {
        index.put(&keys[(i * 7919 % count) as usize], revision(2 + count + i), LeaseId::NONE);
    });
    report_bytes("all overwritten once", &index);
    let mut removed = Vec::new();
    let mut cursor = None;
    time("step of a compaction, 1000 keys", count / 1000, |_| {
        cursor = index.compact_step(2 * count + 1, cursor.as_deref(), 1000, &mut removed);
    });
    assert_eq!(removed.len() as u64, count);
    report_bytes("compacted", &index);
    for distinct in [count, 10_000] {
        let mut restored = Index::new(0);
        let total = time(&format!("restore over {distinct} keys"), count, |i| {
            let record = Restored::Put { created: 2, version: 1, lease: LeaseId::NONE };
            restored.restore(&keys[(i % distinct) as usize], revision(2 + i), record).unwrap();
        });
        println!("{:<52} {:>8.3} s", "  all", total * count as f64 / 1e9);
    }
    let mut ordered = Index::new(0);
    let mut sorted = keys;
    sorted.sort();
    time("put of a new key, keys in order", count, |i| {
        ordered.put(&sorted[i as usize], revision(2 + i), LeaseId::NONE);
    });
    report_bytes("keys in order", &ordered);
}
