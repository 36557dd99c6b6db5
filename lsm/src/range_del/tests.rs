//! Fragments against the list they were made of.

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Fragments, RangeDelete};
use crate::key::SeqNo;

fn delete(start: &str, end: &str, seq: u64) -> RangeDelete {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    RangeDelete { start: bytes(start), end: bytes(end), seq: SeqNo(seq) }
}

fn shown(fragments: &Fragments) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    fragments.iter().map(|d| format!("{}..{} {}", text(&d.start), text(&d.end), d.seq)).collect()
}

/// The highest delete of `key` up to `seq`, looked for in all of them.
fn brute(deletes: &[RangeDelete], key: &[u8], seq: SeqNo) -> Option<SeqNo> {
    let covers = |d: &&RangeDelete| *d.start <= *key && *key < *d.end && d.seq <= seq;
    deletes.iter().filter(covers).map(|d| d.seq).max()
}

// The picture in the module's documentation is a promise.
#[test]
fn overlapping_deletes_are_cut_where_any_begins_or_ends() {
    let fragments = Fragments::build([delete("f", "t", 9), delete("a", "m", 7)]);
    assert_eq!(shown(&fragments), ["a..f 7", "f..m 9", "f..m 7", "m..t 9"]);
    let cover = fragments.covering(b"k", SeqNo(8)).unwrap();
    assert_eq!((cover.seq, cover.start, cover.end), (SeqNo(7), &b"f"[..], &b"m"[..]));
    assert_eq!(fragments.covering(b"t", SeqNo::MAX), None);
    assert_eq!(fragments.covering(b"k", SeqNo(6)), None);
}

// Compaction feeds fragments back in; without joining they would multiply for ever.
#[test]
fn what_was_cut_for_nothing_is_joined() {
    let deletes =
        [delete("a", "f", 7), delete("f", "m", 7), delete("x", "x", 3), delete("z", "b", 3)];
    let fragments = Fragments::build(deletes);
    assert_eq!(shown(&fragments), ["a..m 7"]);
    assert_eq!(Fragments::build(fragments.iter()), fragments);
}

// Two snapshots' views must survive, and nothing that neither can see.
#[test]
fn thinning_keeps_one_delete_for_each_snapshot() {
    let deletes: Vec<_> = (1..=9).map(|seq| delete("a", "b", seq)).collect();
    let fragments = Fragments::build(deletes);
    let thinned = fragments.thin(&[SeqNo(3), SeqNo(6)]);
    assert_eq!(shown(&thinned), ["a..b 9", "a..b 6", "a..b 3"]);
    assert_eq!(shown(&fragments.thin(&[])), ["a..b 9"]);
    assert_eq!(shown(&thinned.above(SeqNo(6))), ["a..b 9"]);
    assert!(thinned.above(SeqNo(9)).is_empty());
}

struct Case {
    rng: ChaCha8Rng,
}

impl Case {
    fn key(&mut self) -> Bytes {
        let len = self.rng.random_range(0..3);
        (0..len).map(|_| self.rng.random_range(b'a'..b'e')).collect()
    }

    fn deletes(&mut self) -> Vec<RangeDelete> {
        let count = self.rng.random_range(0..12);
        let one = |case: &mut Case| {
            let seq = SeqNo(case.rng.random_range(1..15));
            RangeDelete { start: case.key(), end: case.key(), seq }
        };
        (0..count).map(|_| one(self)).collect()
    }
}

fn keys() -> Vec<Vec<u8>> {
    let mut keys = vec![vec![]];
    for first in b'a'..=b'e' {
        keys.push(vec![first]);
        keys.extend((b'a'..=b'e').map(|second| vec![first, second]));
    }
    keys
}

// Whatever the ranges, every key at every snapshot must find what a look at all of them finds: as
// built, as read back, clipped and thinned.
#[test]
fn fragments_say_what_the_list_says() {
    for seed in crate::testing::seeds("range_del", 300) {
        let mut case = Case { rng: ChaCha8Rng::seed_from_u64(seed) };
        let deletes = case.deletes();
        let fragments = Fragments::build(deletes.clone());
        let mut bytes = Vec::new();
        fragments.encode(&mut bytes);
        assert_eq!(Fragments::decode(&bytes).unwrap(), fragments);
        let (lo, hi) = (case.key(), case.key());
        let clipped = fragments.clip(Some(&lo), Some(&hi));
        let mut snapshots =
            vec![SeqNo(case.rng.random_range(0..15)), SeqNo(case.rng.random_range(0..15))];
        snapshots.sort();
        let thinned = fragments.thin(&snapshots);
        let found = |fragments: &Fragments, key: &[u8], seq| {
            let cover = fragments.covering(key, seq);
            assert!(cover.is_none_or(|c| *c.start <= *key && *key < *c.end));
            cover.map(|cover| cover.seq)
        };
        for key in keys() {
            for seq in (0..16).map(SeqNo) {
                let expected = brute(&deletes, &key, seq);
                assert_eq!(found(&fragments, &key, seq), expected, "{key:?} at {seq}");
                let within = *lo <= *key && *key < *hi;
                assert_eq!(found(&clipped, &key, seq), expected.filter(|_| within));
            }
            for seq in snapshots.iter().copied().chain([SeqNo::MAX]) {
                assert_eq!(found(&thinned, &key, seq), brute(&deletes, &key, seq));
            }
        }
    }
}

// Bytes from a disk may be anything: an answer is wanted, not memory.
#[test]
fn hostile_bytes_get_an_answer() {
    for seed in crate::testing::seeds("range_del", 300) {
        let mut case = Case { rng: ChaCha8Rng::seed_from_u64(seed) };
        let mut bytes = Vec::new();
        Fragments::build(case.deletes()).encode(&mut bytes);
        for _ in 0..50 {
            let mut bad = bytes.clone();
            let at = case.rng.random_range(0..bad.len());
            bad[at] = case.rng.random();
            bad.truncate(case.rng.random_range(0..=bad.len()));
            if let Ok(fragments) = Fragments::decode(&bad) {
                let mut again = Vec::new();
                fragments.encode(&mut again);
                assert_eq!(again, bad, "what is accepted has one way to be written");
            }
        }
    }
}
