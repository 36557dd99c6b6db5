//! Blocks against the list they were made of, and hostile bytes in a block's place.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{BlockBuilder, Layout, common_bytes, mark, zero_bytes};
use crate::key::{InternalKey, SeqNo, hash};
use crate::table::tests::rows;
use crate::testing::{Row, seeds};

fn block(rows: &[Row]) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    for (key, seq, kind, value) in rows {
        builder.add(InternalKey::new(key, *seq, *kind), mark(hash(key)), value);
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

// Both searches of a block must agree with a search of the list.
#[test]
fn a_block_finds_what_a_list_finds() {
    for seed in seeds("block", 100) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = rows(&mut rng);
        let block = block(&rows);
        let layout = Layout::check(&block).unwrap();
        assert_eq!(layout.count(), rows.len());
        for (index, (key, seq, kind, value)) in rows.iter().enumerate() {
            assert_eq!(layout.lower_bound(&block, key, *seq), index);
            let (found, its, at) = layout.find(&block, key, mark(hash(key)), *seq).unwrap();
            assert_eq!((found, its, &block[at]), (*seq, *kind, &value[..]));
        }
    }
}

/// Everything a reader may do with a block that was accepted.
fn use_all(block: &[u8], layout: &Layout, rng: &mut ChaCha8Rng) {
    for index in 0..layout.count() {
        let part = layout.part(block, index);
        assert!(part.suffix <= part.value && part.value <= part.end && part.end <= block.len());
        let key = layout.key(block, index);
        let (seq, _) = layout.trailer(block, index);
        assert!(seq < SeqNo::MAX);
        layout.lower_bound(block, &key, seq);
        layout.find(block, &key, layout.mark(block, index), seq);
        layout.find(block, &key, rng.random(), SeqNo::MAX);
    }
}

// A hostile block passes its checksum too: it must be refused, or be safe to use.
#[test]
fn hostile_blocks_are_refused_or_safe() {
    let mut accepted = 0;
    for seed in seeds("block", 300) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = rows(&mut rng);
        rows.truncate(rng.random_range(1..8));
        let good = block(&rows);
        for _ in 0..100 {
            let mut bad = good.clone();
            for _ in 0..rng.random_range(1..4) {
                // Most of what can go wrong is in the first bytes.
                let end = if rng.random() { bad.len().min(80) } else { bad.len() };
                let at = rng.random_range(0..end);
                bad[at] = [0, 1, 2, 127, 254, 255, rng.random()][rng.random_range(0..7)];
            }
            if rng.random_range(0..10) == 0 {
                bad.truncate(rng.random_range(0..bad.len()));
            }
            if let Ok(layout) = Layout::check(&bad) {
                accepted += 1;
                use_all(&bad, &layout, &mut rng);
            }
        }
        let noise: Vec<u8> =
            (0..rng.random_range(0..100)).map(|_| rng.random_range(0..4)).collect();
        if let Ok(layout) = Layout::check(&noise) {
            use_all(&noise, &layout, &mut rng);
        }
    }
    assert!(accepted > 100, "nearly nothing was accepted, so little was tried");
}

// The trick with eight bytes at once is only as good as its arithmetic.
#[test]
fn the_first_zero_byte_is_found() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..10_000 {
        let bytes: [u8; 8] = std::array::from_fn(|_| [0, 1, 128, 255][rng.random_range(0..4)]);
        let first = bytes.iter().position(|byte| *byte == 0);
        let hits = zero_bytes(u64::from_le_bytes(bytes));
        assert_eq!(first, (hits != 0).then(|| hits.trailing_zeros() as usize / 8));
        for (at, byte) in bytes.iter().enumerate() {
            assert!(*byte != 0 || hits >> (at * 8 + 7) & 1 == 1, "a zero byte is never missed");
        }
    }
}

// Prefix truncation stands on it.
#[test]
fn common_bytes_are_counted() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..10_000 {
        let mut key = || -> Vec<u8> {
            (0..rng.random_range(0..20))
                .map(|at| u8::from(at > 6 && rng.random_range(0..4) == 0))
                .collect()
        };
        let (a, b) = (key(), key());
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        assert_eq!(common_bytes(&a, &b), common);
    }
}
