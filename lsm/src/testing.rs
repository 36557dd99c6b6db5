//! What the random tests of this crate have in common.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::cursor::{Cursor, Entry};
use crate::error::Result;
use crate::key::{Kind, SeqNo, compare};

/// The seeds to run: `SEED=n` alone, or `count` of them, a hundred times as many if `SLOW=1`. Each is
/// printed with the command that replays it, which the test harness shows if the test fails.
pub(crate) fn seeds(filter: &str, count: u64) -> impl Iterator<Item = u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let range = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None if number("SLOW") == Some(1) => 0..count * 100,
        None => 0..count,
    };
    range.inspect(move |seed| println!("replay: SEED={seed} cargo test -p drystone-lsm {filter}"))
}

/// An entry that is owned.
pub(crate) type Row = (Vec<u8>, SeqNo, Kind, Vec<u8>);

/// A cursor over a sorted list: the obviously right one.
#[derive(Debug)]
pub(crate) struct Listed {
    rows: Vec<Row>,
    at: Option<usize>,
}

impl Listed {
    pub(crate) fn new(rows: Vec<Row>) -> Listed {
        Listed { rows, at: None }
    }

    fn stand(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|at| *at < self.rows.len());
        Ok(())
    }
}

impl Cursor for Listed {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        let before = |row: &Row| compare((&row.0, row.1), (user_key, seq)).is_lt();
        self.stand(Some(self.rows.partition_point(before)))
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        let up_to = |row: &Row| compare((&row.0, row.1), (user_key, seq)).is_le();
        self.stand(self.rows.partition_point(up_to).checked_sub(1))
    }

    fn first(&mut self) -> Result<()> {
        self.stand(Some(0))
    }

    fn last(&mut self) -> Result<()> {
        self.stand(self.rows.len().checked_sub(1))
    }

    fn next(&mut self) -> Result<()> {
        self.stand(self.at.map(|at| at + 1))
    }

    fn prev(&mut self) -> Result<()> {
        self.stand(self.at.and_then(|at| at.checked_sub(1)))
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let (key, seq, kind, value) = &self.rows[self.at?];
        Some(Entry { key, seq: *seq, kind: *kind, value })
    }
}

/// Moves `cursor` at random `steps` times and compares it with a cursor over `rows`.
pub(crate) fn walk(rng: &mut ChaCha8Rng, cursor: &mut dyn Cursor, rows: &[Row], steps: usize) {
    let mut model = Listed::new(rows.to_vec());
    for _ in 0..steps {
        let (key, seq) = target(rng, rows);
        let both: [&mut dyn Cursor; 2] = [&mut *cursor, &mut model];
        let choice = rng.random_range(0..20);
        for cursor in both {
            let moved = match choice {
                0 => cursor.first(),
                1 => cursor.last(),
                2..=4 => cursor.seek(&key, seq),
                5..=6 => cursor.seek_back(&key, seq),
                7..=13 => cursor.next(),
                _ => cursor.prev(),
            };
            moved.expect("nothing is broken");
        }
        assert_eq!(cursor.entry(), model.entry(), "after move {choice} ({key:?} {seq})");
        assert_eq!(cursor.value(), model.value());
    }
}

/// Somewhere on, just beside or between the rows.
fn target(rng: &mut ChaCha8Rng, rows: &[Row]) -> (Vec<u8>, SeqNo) {
    let Some((key, seq, ..)) = rows.get(rng.random_range(0..=rows.len())) else {
        return (vec![rng.random(); 2], SeqNo::MAX);
    };
    let mut key = key.clone();
    match rng.random_range(0..6) {
        0 => key.push(0),
        1 => drop(key.pop()),
        2 => key.iter_mut().last().into_iter().for_each(|byte| *byte = byte.wrapping_add(1)),
        _ => (),
    }
    let seqs = [SeqNo::MAX, SeqNo::ZERO, *seq, SeqNo(seq.0.saturating_sub(1)), SeqNo(seq.0 + 1)];
    (key, seqs[rng.random_range(0..seqs.len())])
}
