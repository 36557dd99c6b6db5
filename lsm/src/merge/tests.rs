//! The merge against a sorted list of everything.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::MergeCursor;
use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo, compare};
use crate::testing::{Listed, Row, walk};

fn sources(rng: &mut ChaCha8Rng) -> Vec<Vec<Row>> {
    let count = rng.random_range(0..7);
    let mut sources = vec![Vec::new(); count];
    if count > 0 {
        // Heads alike and heads apart, keys that are beginnings of others.
        let stem: &[u8] = [&b""[..], b"commonbytes"][rng.random_range(0..2)];
        for seq in 1..rng.random_range(2..120) {
            let tail: Vec<u8> =
                (0..rng.random_range(0..3)).map(|_| rng.random_range(0..4)).collect();
            let key = [stem, &tail].concat();
            let row = (key, SeqNo(seq), Kind::Put, seq.to_le_bytes().to_vec());
            sources[rng.random_range(0..count)].push(row);
        }
    }
    for source in &mut sources {
        source.sort_by(|a, b| compare((&a.0, a.1), (&b.0, b.1)));
    }
    sources
}

// Whatever is merged, and wherever the walk turns, the merge is the sorted whole.
#[test]
fn a_merge_is_the_sorted_whole() {
    for seed in crate::testing::seeds("merge", 400) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sources = sources(&mut rng);
        let mut all: Vec<Row> = sources.concat();
        all.sort_by(|a, b| compare((&a.0, a.1), (&b.0, b.1)));
        let cursors = sources.into_iter().map(Listed::new).collect();
        walk(&mut rng, &mut MergeCursor::new(cursors), &all, 200);
    }
}

/// Fails for ever from its nth step on.
struct Failing {
    inner: Listed,
    steps: usize,
}

impl Failing {
    fn step(&mut self) -> Result<()> {
        if self.steps == 0 {
            return Err(Error::corrupt(Path::new("broken"), 7, "nothing is right"));
        }
        self.steps -= 1;
        Ok(())
    }
}

impl Cursor for Failing {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.step().and_then(|()| self.inner.seek(user_key, seq))
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.step().and_then(|()| self.inner.seek_back(user_key, seq))
    }

    fn first(&mut self) -> Result<()> {
        self.step().and_then(|()| self.inner.first())
    }

    fn last(&mut self) -> Result<()> {
        self.step().and_then(|()| self.inner.last())
    }

    fn next(&mut self) -> Result<()> {
        self.step().and_then(|()| self.inner.next())
    }

    fn prev(&mut self) -> Result<()> {
        self.step().and_then(|()| self.inner.prev())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.inner.entry()
    }
}

// Scenario 32: a walk that goes on after an error has left something out.
#[test]
fn a_failed_merge_repeats_its_error() {
    let rows = |from: u64| -> Vec<Row> {
        let row = |n: u64| (n.to_be_bytes().to_vec(), SeqNo(1), Kind::Put, Vec::new());
        (0..10).map(|n| row(n * 2 + from)).collect()
    };
    for steps in 0..8 {
        let good = Failing { inner: Listed::new(rows(0)), steps: usize::MAX };
        let bad = Failing { inner: Listed::new(rows(1)), steps };
        let mut merge = MergeCursor::new(vec![good, bad]);
        let mut seen = 0;
        let mut result = merge.first();
        while result.is_ok() {
            let n = u64::from_be_bytes(*merge.entry().unwrap().key.first_chunk().unwrap());
            assert_eq!(n, seen, "nothing is left out before the error");
            seen += 1;
            result = merge.next();
        }
        assert!(merge.entry().is_none() && merge.value().is_none());
        assert!(merge.next().is_err() && merge.prev().is_err());
        assert!(merge.first().is_err() && merge.last().is_err());
        assert!(merge.seek(b"", SeqNo::MAX).is_err() && merge.seek_back(b"", SeqNo::MAX).is_err());
        assert!(merge.entry().is_none(), "an error is not stepped over");
    }
}
