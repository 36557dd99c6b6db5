//! Fences against a look at every border.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Fences, FencesBuilder, between};
use crate::key::{SeqNo, compare};
use crate::table::tests::rows;
use crate::testing::{Row, seeds};

/// Blocks cut at random, as the first row of each.
fn cut(rng: &mut ChaCha8Rng, rows: &[Row]) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend((1..rows.len()).filter(|_| rng.random_range(0..3) == 0));
    starts
}

/// Notes the border between two entries.
fn fence(builder: &mut FencesBuilder, left: (&[u8], SeqNo), right: &[u8]) {
    let mut key = Vec::new();
    let seq = between(left, right, &mut key);
    builder.fence(&key, seq);
}

fn encoded(rows: &[Row], starts: &[usize]) -> Vec<u8> {
    let mut builder = FencesBuilder::default();
    for (at, start) in starts.iter().enumerate() {
        builder.block(100 + at as u32);
        if at > 0 {
            let left = &rows[start - 1];
            fence(&mut builder, (&left.0, left.1), &rows[*start].0);
        }
    }
    let mut out = Vec::new();
    builder.encode(&mut out);
    out
}

fn data_bytes(blocks: usize) -> u64 {
    (0..blocks as u64).map(|at| 100 + at).sum()
}

// A search that ends in the wrong block loses a key.
#[test]
fn every_entry_is_in_the_block_that_is_found() {
    for seed in seeds("fences", 200) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = rows(&mut rng);
        let starts = cut(&mut rng, &rows);
        let fences = Fences::decode(&encoded(&rows, &starts), 0, data_bytes(starts.len())).unwrap();
        assert_eq!(fences.count(), starts.len());
        for (at, (key, seq, ..)) in rows.iter().enumerate() {
            let block = starts.partition_point(|start| *start <= at) - 1;
            assert_eq!(fences.find(key, *seq), block, "row {at} of {starts:?}");
            assert!(fences.holds(block, key, *seq));
            assert!(block == 0 || !fences.holds(block - 1, key, *seq));
            // Between rows any block will do from which the next entry is reached.
            let beside = ([&key[..], &[rng.random()]].concat(), SeqNo(rng.random_range(0..300)));
            let next =
                rows.partition_point(|r| compare((&r.0, r.1), (&beside.0, beside.1)).is_lt());
            let found = fences.find(&beside.0, beside.1);
            let end = starts.get(found + 1).copied().unwrap_or(rows.len());
            assert!(starts[found] <= next && next <= end, "{next} is not in or behind {found}");
            assert!(fences.holds(found, &beside.0, beside.1), "both searches agree");
        }
    }
}

// Fences are a hundredth of the data because they are short.
#[test]
fn a_fence_is_as_short_as_can_be() {
    let short = |left: &[u8], right: &[u8]| {
        let mut builder = FencesBuilder::default();
        builder.block(100);
        fence(&mut builder, (left, SeqNo(3)), right);
        builder.block(100);
        let mut out = Vec::new();
        builder.encode(&mut out);
        let fences = Fences::decode(&out, 0, 200).unwrap();
        let (key, seq) = fences.fence(0);
        (key.to_vec(), seq)
    };
    for (left, right, expected) in [
        (&b"the quick brown fox"[..], &b"the who"[..], &b"the r"[..]),
        (b"abc", b"abd", b"abc"),
        (b"abcde", b"abd", b"abcd"),
        (b"abc~", b"abd", b"abc~"),
        (b"ab", b"abc", b"ab"),
        (b"a\xff\xffx", b"b", b"a\xff\xffx"),
        (b"a\xff\x01x", b"b", b"a\xff\x02"),
        (b"", b"a", b""),
    ] {
        let (key, seq) = short(left, right);
        assert!(*left <= *key && *key < *right, "{key:?} does not stand between");
        assert!(key.len() <= expected.len(), "{key:?} could be {expected:?}");
        assert_eq!(seq, SeqNo::ZERO);
    }
    assert_eq!(short(b"same", b"same"), (b"same".to_vec(), SeqNo(3)));
}

// Bytes from a disk may be anything.
#[test]
fn hostile_fences_are_refused_or_safe() {
    for seed in seeds("fences", 300) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = rows(&mut rng);
        let starts = cut(&mut rng, &rows);
        let good = encoded(&rows, &starts);
        for _ in 0..30 {
            let mut bad = good.clone();
            let at = rng.random_range(0..bad.len());
            bad[at] = [0, 1, 255, rng.random()][rng.random_range(0..4)];
            bad.truncate(rng.random_range(bad.len() / 2..=bad.len()));
            if let Ok(fences) = Fences::decode(&bad, 0, data_bytes(starts.len())) {
                for (key, seq, ..) in &rows {
                    let block = fences.find(key, *seq);
                    assert!(block < fences.count().max(1) && fences.holds(block, key, *seq));
                }
            }
        }
    }
}
