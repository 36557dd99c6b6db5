//! What the index promises, claim by claim; random histories are in [`model`], bounds in [`cost`].

mod cost;
mod figures;
mod model;

use bytes::Bytes;

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn range(key: &str, end: &str) -> KeyRange {
    KeyRange::from_etcd(bytes(key), bytes(end))
}

fn revision(main: u64) -> Revision {
    Revision::new(main, 0)
}

fn put(index: &mut Index, key: &str, main: u64) -> Latest {
    let (latest, _) = index.put(key.as_bytes(), revision(main), LeaseId::NONE);
    index.check();
    latest
}

fn delete(index: &mut Index, key: &str, main: u64) {
    assert!(index.delete(key.as_bytes(), revision(main)).is_some());
    index.check();
}

/// Compacts to the end in steps of `keys_max`; the main revisions that were dropped, sorted.
fn compact(index: &mut Index, at: u64, keys_max: usize) -> Vec<u64> {
    let mut removed = Vec::new();
    let mut cursor = None;
    loop {
        cursor = index.compact_step(at, cursor.as_deref(), keys_max, &mut removed);
        index.check();
        if cursor.is_none() {
            break;
        }
    }
    removed.sort_unstable();
    removed.into_iter().map(|revision| revision.main).collect()
}

fn listed(
    index: &Index,
    range: &KeyRange,
    main: u64,
    direction: Direction,
    limit: usize,
) -> String {
    let mut keys = Vec::new();
    let visited = index.range(range, main, direction, limit, |key, revision| {
        keys.push(format!("{}@{revision}", String::from_utf8_lossy(key)));
    });
    assert_eq!(visited, keys.len());
    keys.join(" ")
}

/// Keys `k0000` on, put at main revisions 2 on.
fn numbered(count: u64) -> Index {
    let mut index = Index::new(0);
    for i in 0..count {
        index.put(format!("k{i:04}").as_bytes(), revision(2 + i), LeaseId::NONE);
    }
    index.check();
    index
}

// Clients compare versions: a recreated key must not look like the old one, written once more.
#[test]
fn recreated_key_starts_at_version_1() {
    let mut index = Index::new(0);
    put(&mut index, "a", 2);
    let second = put(&mut index, "a", 3);
    assert_eq!((second.created, second.version), (2, 2));
    delete(&mut index, "a", 4);
    assert_eq!(index.latest(b"a"), None);
    let third = put(&mut index, "a", 5);
    assert_eq!((third.created, third.version, third.modified), (5, 1, revision(5)));
}

// A put answers with the key before it, from which prev_kv and the old lease are found.
#[test]
fn put_returns_what_it_replaced_unless_deleted() {
    let mut index = Index::new(0);
    let (first, none) = index.put(b"a", revision(2), LeaseId(7));
    assert_eq!((first.lease, none), (LeaseId(7), None));
    let (second, previous) = index.put(b"a", revision(3), LeaseId::NONE);
    assert_eq!((second.lease, previous), (LeaseId::NONE, Some(first)));
    assert_eq!(index.delete(b"a", revision(4)), Some(second));
    let (_, previous) = index.put(b"a", revision(5), LeaseId::NONE);
    assert_eq!(previous, None);
}

// A delete of nothing makes no revision, so the one it was offered is still free.
#[test]
fn delete_of_nothing_takes_no_revision() {
    let mut index = Index::new(0);
    assert_eq!(index.delete(b"a", revision(2)), None);
    put(&mut index, "a", 2);
    delete(&mut index, "a", 3);
    assert_eq!(index.delete(b"a", revision(4)), None);
    put(&mut index, "b", 4);
    assert_eq!((index.live(), index.keys()), (1, 2));
}

// Reading at a revision means after all of its changes, not between two of them.
#[test]
fn a_revision_is_read_after_all_its_changes() {
    let mut index = Index::new(0);
    index.put(b"a", Revision::new(2, 0), LeaseId::NONE);
    index.put(b"b", Revision::new(2, 1), LeaseId::NONE);
    index.delete(b"a", Revision::new(3, 0));
    index.put(b"c", Revision::new(3, 1), LeaseId::NONE);
    index.check();
    let at = |main| listed(&index, &KeyRange::all(), main, Direction::Ascending, 9);
    assert_eq!(at(1), "");
    assert_eq!(at(2), "a@2.0 b@2.1");
    assert_eq!(at(3), "b@2.1 c@3.1");
    assert_eq!(index.at(b"a", 2), Some(Revision::new(2, 0)));
    assert_eq!(index.at(b"a", 3), None);
}

// A watch that starts at the compacted revision must still see a delete made there (etcd #19179).
#[test]
fn tombstone_at_the_compacted_revision_is_kept() {
    let mut index = Index::new(0);
    put(&mut index, "a", 2);
    delete(&mut index, "a", 3);
    put(&mut index, "b", 4);
    assert!(index.kept(b"a", revision(3), 3));
    assert!(!index.kept(b"a", revision(2), 3));
    assert_eq!(compact(&mut index, 3, 1), [2]);
    assert_eq!(index.revisions(b"a", 3).collect::<Vec<_>>(), [(revision(3), true)]);
    // The next compaction takes it, and the key with it.
    assert!(!index.kept(b"a", revision(3), 4));
    assert_eq!(compact(&mut index, 4, 1), [3]);
    assert_eq!((index.keys(), index.live()), (1, 1));
}

// One revision may delete a key and set it again; a watch that starts there must see both.
#[test]
fn every_change_of_the_compacted_revision_is_kept() {
    let mut index = Index::new(0);
    put(&mut index, "a", 2);
    let changes = [Revision::new(3, 0), Revision::new(3, 1)];
    index.delete(b"a", changes[0]);
    index.put(b"a", changes[1], LeaseId::NONE);
    assert!(changes.iter().all(|&at| index.kept(b"a", at, 3)));
    assert_eq!(compact(&mut index, 3, 1), [2]);
    index.check();
    let left: Vec<_> = index.revisions(b"a", 3).collect();
    assert_eq!(left, [(changes[0], true), (changes[1], false)]);
    // A later compaction has no reason to keep the delete.
    put(&mut index, "b", 4);
    assert!(!index.kept(b"a", changes[0], 4) && index.kept(b"a", changes[1], 4));
    assert_eq!(compact(&mut index, 4, 1), [3]);
    index.check();
    assert_eq!(index.at(b"a", 4), Some(changes[1]));
}

// Dropping the newest value below the compacted revision would lose a live key.
#[test]
fn compaction_keeps_the_newest_revision_of_a_live_key() {
    let mut index = Index::new(0);
    for main in 2..=5 {
        put(&mut index, "a", main);
    }
    assert_eq!(compact(&mut index, 4, 1), [2, 3]);
    assert_eq!(index.at(b"a", 4), Some(revision(4)));
    assert!(index.kept(b"a", revision(4), 4));
    assert_eq!(index.latest(b"a").map(|latest| latest.version), Some(4));
}

// Readers in the middle of a paged list hold an old revision while the tree splits beneath them.
#[test]
fn counts_at_an_old_revision_survive_splits() {
    let index = numbered(5000);
    assert!(matches!(index.root, Node::Branch(_)));
    for main in (1..=5001).step_by(97) {
        assert_eq!(index.count(&KeyRange::all(), main), main - 1);
        let below = range("k0100", "k0200");
        assert_eq!(index.count(&below, main), (main - 1).saturating_sub(100).min(100));
    }
}

// The same while compaction merges nodes: it may forget the past below, nothing else.
#[test]
fn counts_at_or_after_the_compacted_revision_survive_merges() {
    let mut index = numbered(3000);
    for i in 0..2900 {
        index.delete(format!("k{i:04}").as_bytes(), revision(4000 + i));
    }
    index.check();
    let mut cursor = None;
    loop {
        for main in [6000, 6001, 6500, 6899, 7000] {
            let deleted = (main - 3999).min(2900);
            assert_eq!(index.count(&KeyRange::all(), main), 3000 - deleted);
        }
        cursor = index.compact_step(6000, cursor.as_deref(), 100, &mut Vec::new());
        index.check();
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(index.keys(), 1000);
}

// Nothing may be left behind when all keys go: neither memory nor a tree of empty nodes.
#[test]
fn compacting_everything_away_leaves_an_empty_leaf() {
    let mut index = numbered(5000);
    for i in 0..5000 {
        index.delete(format!("k{i:04}").as_bytes(), revision(6000 + i));
    }
    compact(&mut index, 20_000, 333);
    assert_eq!((index.keys(), index.live()), (0, 0));
    assert!(matches!(&index.root, Node::Leaf(leaf) if leaf.histories.is_empty()));
    put(&mut index, "again", 20_001);
}

// Pages continue after the last key in either direction; a gap or an overlap corrupts a list.
#[test]
fn pages_in_both_directions_meet() {
    let index = numbered(500);
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut rest = range("k0050", "k0450");
        let mut seen = Vec::new();
        loop {
            let mut page = Vec::new();
            index.range(&rest, 1000, direction, 7, |key, _| page.push(Bytes::copy_from_slice(key)));
            let Some(last) = page.last() else { break };
            match direction {
                Direction::Ascending => rest.start = crate::key_range::successor(last),
                Direction::Descending => rest.end = Some(last.clone()),
            }
            seen.extend(page);
        }
        seen.sort();
        let expected = (50..450).map(|i| bytes(&format!("k{i:04}")));
        assert!(seen.into_iter().eq(expected));
    }
}

// A reversed range is a client's right, and must not reach code that expects ordered bounds.
#[test]
fn reversed_range_is_empty() {
    let index = numbered(300);
    let reversed = range("k0200", "k0100");
    assert_eq!(index.count(&reversed, 400), 0);
    assert_eq!(listed(&index, &reversed, 400, Direction::Ascending, 5), "");
    assert_eq!(listed(&index, &range("k0007", ""), 400, Direction::Descending, 5), "k0007@9.0");
}

// A store that was compacted before it was closed opens with records in the middle of histories.
#[test]
fn restore_takes_histories_without_their_beginning() {
    let mut index = Index::new(10);
    let later = Restored::Put { created: 3, version: 5, lease: LeaseId(4) };
    index.restore(b"a", revision(8), later).unwrap();
    index.restore(b"b", revision(10), Restored::Tombstone).unwrap();
    let more = Restored::Put { created: 3, version: 6, lease: LeaseId::NONE };
    index.restore(b"a", revision(12), more).unwrap();
    index.restore(b"a", revision(13), Restored::Tombstone).unwrap();
    index.check();
    assert_eq!(index.at(b"a", 10), Some(revision(8)));
    assert_eq!((index.count(&KeyRange::all(), 10), index.count(&KeyRange::all(), 13)), (1, 0));
    assert_eq!((index.live(), index.keys()), (0, 2));
    assert_eq!(index.put(b"a", revision(14), LeaseId::NONE).0.version, 1);
}

// A damaged record is an error of the disk, never a panic.
#[test]
fn restore_refuses_what_no_store_wrote() {
    let mut index = Index::new(0);
    let record = |created, version| Restored::Put { created, version, lease: LeaseId::NONE };
    assert!(index.restore(b"a", revision(5), record(5, 0)).is_err());
    assert!(index.restore(b"a", revision(5), record(6, 1)).is_err());
    assert!(index.restore(b"a", revision(u64::MAX), Restored::Tombstone).is_err());
    assert!(index.restore(b"a", revision(5), record(5, 1)).is_ok());
    assert!(index.restore(b"b", revision(5), record(5, 1)).is_err());
    index.check();
    assert_eq!(index.keys(), 1);
}

// Watch catch-up replays one key from a revision on, tombstones included.
#[test]
fn revisions_begin_at_the_one_asked_for() {
    let mut index = Index::new(0);
    put(&mut index, "a", 2);
    put(&mut index, "a", 3);
    delete(&mut index, "a", 5);
    put(&mut index, "a", 7);
    let since = |from| {
        let list = index.revisions(b"a", from);
        list.map(|(at, dead)| (at.main, dead)).collect::<Vec<_>>()
    };
    assert_eq!(since(0), [(2, false), (3, false), (5, true), (7, false)]);
    assert_eq!(since(4), [(5, true), (7, false)]);
    assert_eq!(since(7), [(7, false)]);
    assert_eq!(since(8), []);
    assert_eq!(index.revisions(b"b", 0).count(), 0);
}

// Keys of a megabyte are legal; a leaf of 63 of them would be moved on each insertion.
#[test]
fn huge_keys_get_leaves_of_their_own() {
    let mut index = Index::new(0);
    let huge = |i: u64| format!("{i:03}{}", "x".repeat(100_000));
    for i in 0..40 {
        put(&mut index, &huge(i * 7 % 40), 2 + i);
    }
    assert!(index.root.len() > 10);
    assert_eq!(index.count(&range(&huge(3), &huge(33)), 100), 30);
    for i in 0..40 {
        delete(&mut index, &huge(i), 50 + i);
    }
    compact(&mut index, 100, 4);
    assert_eq!(index.keys(), 0);
}

// Keys may be any bytes: prefixes of each other, the empty key, 0x00 and 0xff.
#[test]
fn awkward_keys_keep_their_order() {
    let keys: [&[u8]; 8] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0b", b"\xff", b"\xff\xff"];
    let mut index = Index::new(0);
    for (i, at) in [5, 2, 7, 0, 3, 6, 1, 4].into_iter().enumerate() {
        index.put(keys[at], revision(2 + i as u64), LeaseId::NONE);
        index.check();
    }
    let mut seen = Vec::new();
    index.range(&KeyRange::all(), 99, Direction::Ascending, 99, |key, _| seen.push(key.to_vec()));
    assert_eq!(seen, keys);
}

// Revisions lie more than 2^32 apart only in a restored store, and there they do.
#[test]
fn revisions_far_apart_are_told_apart() {
    let mut index = numbered(200);
    let far = 1 << 40;
    put(&mut index, "m", far);
    put(&mut index, "n", far + (1 << 33));
    assert_eq!(index.count(&KeyRange::all(), far - 1), 200);
    assert_eq!(index.count(&KeyRange::all(), far), 201);
    assert_eq!(index.count(&KeyRange::all(), u64::MAX), 202);
}

#[test]
#[should_panic(expected = "a compacted revision is not asked for")]
fn compacted_revision_is_not_answered_wrongly() {
    let mut index = numbered(3);
    compact(&mut index, 3, 10);
    index.count(&KeyRange::all(), 2);
}
