//! How many nodes reads look at: what must not grow with the store does not.

use super::super::cost::nodes_visited;
use super::*;

/// `count` live keys; every read below is made in their midst.
fn store(count: u64) -> Index {
    let mut index = Index::new(0);
    for i in 0..count {
        // A stride coprime to the count: keys arrive out of order, as in life.
        let number = i * 7919 % count;
        index.put(format!("key/{number:07}").as_bytes(), revision(2 + i), LeaseId::NONE);
    }
    index
}

fn from(number: u64) -> KeyRange {
    range(&format!("key/{number:07}"), "\0")
}

fn cost_of_10(index: &Index, range: &KeyRange, main: u64, direction: Direction) -> u64 {
    nodes_visited(|| {
        assert_eq!(index.range(range, main, direction, 10, |_, _| {}), 10);
    })
}

// The first page of a list costs a page, whether the store holds a thousand keys or 300 thousand.
#[test]
fn a_page_costs_the_same_in_a_large_store() {
    let (small, large) = (store(1000), store(300_000));
    for direction in [Direction::Ascending, Direction::Descending] {
        let few = cost_of_10(&small, &from(300), 2000, direction);
        assert!(few <= 4, "{few} nodes for a page of a thousand keys");
        for main in [299_000, 400_000] {
            let more = cost_of_10(&large, &from(90_000), main, direction);
            assert!(more <= few + 3, "{more} nodes for a page, {few} in the small store");
        }
    }
}

// A count costs two paths through the tree, now and at an old revision.
#[test]
fn a_count_costs_two_paths() {
    let (small, large) = (store(1000), store(300_000));
    let few = nodes_visited(|| assert_eq!(small.count(&from(300), 2000), 700));
    assert!(few <= 3, "{few} nodes for a count of 700");
    let between = range("key/0050000", "key/0250000");
    let more = nodes_visited(|| assert_eq!(large.count(&between, 400_000), 200_000));
    assert!(more <= 7, "{more} nodes for a count of 200 thousand");
    let older = nodes_visited(|| assert!(large.count(&between, 150_000) > 90_000));
    assert!(older <= 7, "{older} nodes for a count at an old revision");
}

// Deleted keys that are not compacted yet are skipped by subtree, from either end.
#[test]
fn deleted_keys_in_front_do_not_matter() {
    let mut index = store(310_000);
    for i in 0..310_000 {
        if !(150_000..150_010).contains(&i) {
            index.delete(format!("key/{i:07}").as_bytes(), revision(400_000 + i));
        }
    }
    assert_eq!((index.live(), index.keys()), (10, 310_000));
    for direction in [Direction::Ascending, Direction::Descending] {
        let cost = cost_of_10(&index, &KeyRange::all(), 800_000, direction);
        assert!(cost <= 9, "{cost} nodes to ten keys behind 150 thousand deleted ones");
    }
    // Before the deletes they were all there; and half way through, half.
    assert_eq!(index.count(&KeyRange::all(), 399_999), 310_000);
    let cost = nodes_visited(|| {
        assert_eq!(index.count(&KeyRange::all(), 400_000 + 99_999), 210_000);
        assert_eq!(index.range(&from(0), 499_999, Direction::Ascending, 1, |_, _| {}), 1);
    });
    assert!(cost <= 12, "{cost} nodes for a count and a key at an old revision");
}
