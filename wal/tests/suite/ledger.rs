//! What many threads asked of one log, and what each was told: the judge of the stress test.
//!
//! Threads do not know their records' numbers before the log has given them, and some never learn
//! them. So every record says itself who wrote it; the ledger knows which were attempted, which got
//! a number, and which were acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_wal::Lsn;
use parking_lot::Mutex;

/// One append: the `seq`-th of a thread in one life of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Op {
    pub(crate) life: u32,
    pub(crate) thread: u32,
    pub(crate) seq: u32,
}

const HEAD_BYTES: usize = 16;

impl Op {
    /// How many records the group has, and how long each is, follow from who wrote it.
    fn mix(self) -> u64 {
        let word = u64::from(self.life) << 40 ^ u64::from(self.thread) << 20 ^ u64::from(self.seq);
        let mixed = (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }

    pub(crate) fn count(self) -> u32 {
        [1, 1, 1, 2, 5][(self.mix() % 5) as usize]
    }

    /// The records of this group.
    pub(crate) fn group(self) -> Vec<Vec<u8>> {
        (0..self.count()).map(|index| self.record(index)).collect()
    }

    fn record(self, index: u32) -> Vec<u8> {
        let len = [0, 30, 200, 700][(self.mix() >> 8) as usize % 4] + index as usize;
        let mut record = vec![self.seq as u8 ^ index as u8; HEAD_BYTES + len];
        let fields = [self.life, self.thread, self.seq, index];
        for (slot, field) in record.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        record
    }

    /// Who wrote a record, and its place in the group; nobody if it is not to the byte what they
    /// would have written.
    fn of(record: &[u8]) -> Option<(Op, u32)> {
        let field =
            |i: usize| Some(u32::from_le_bytes(record.get(4 * i..4 * i + 4)?.try_into().ok()?));
        let op = Op { life: field(0)?, thread: field(1)?, seq: field(2)? };
        let index = field(3)?;
        (index < op.count() && op.record(index) == record).then_some((op, index))
    }

    /// Whether a record is one that some thread may have written.
    #[track_caller]
    pub(crate) fn check(record: &[u8]) {
        assert!(Op::of(record).is_some(), "a reader was given a record that nobody wrote");
    }
}

/// Invariants:
/// * `history` is the log as it was found when this life began, less what was let go of since.
/// * An op is in `attempted` before the log sees it, in `numbered` once it has a number, and in
///   `acked` only after its commit resolved.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) life: u32,
    /// By thread: its ops so far in this life.
    attempted: Vec<AtomicU64>,
    /// By the last record's LSN.
    numbered: Mutex<BTreeMap<u64, Op>>,
    acked: AtomicU64,
    history: BTreeMap<u64, Vec<u8>>,
    /// Records before the first may be gone, those before the second are.
    first: AtomicU64,
    low: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(threads: u32) -> Ledger {
        Ledger {
            life: 0,
            attempted: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            numbered: Mutex::default(),
            acked: AtomicU64::new(0),
            history: BTreeMap::new(),
            first: AtomicU64::new(1),
            low: AtomicU64::new(1),
        }
    }

    /// The next op of `thread`.
    pub(crate) fn attempt(&self, thread: u32) -> Op {
        let seq = self.attempted[thread as usize].fetch_add(1, Ordering::SeqCst) as u32;
        Op { life: self.life, thread, seq }
    }

    pub(crate) fn number(&self, op: Op, last: Lsn) {
        let other = self.numbered.lock().insert(last.0, op);
        assert_eq!(other, None, "record {last} was given to two");
    }

    pub(crate) fn ack(&self, last: Lsn) {
        self.acked.fetch_max(last.0, Ordering::SeqCst);
    }

    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// To be called before a prefix is cut, and with what the log says afterwards.
    pub(crate) fn let_go(&self, lsn: u64) {
        self.first.fetch_max(lsn, Ordering::SeqCst);
    }

    pub(crate) fn has_gone(&self, first_lsn: Lsn) {
        self.low.fetch_max(first_lsn.0, Ordering::SeqCst);
    }

    /// Judges the log as found after this life, and begins the next.
    #[track_caller]
    pub(crate) fn settle(&mut self, first: Lsn, next: Lsn, found: Vec<(u64, Vec<u8>)>) {
        let (start, end) = (first.0, next.0 - 1);
        let needed = *self.first.get_mut();
        assert!(start <= needed, "starts at {start}, needed is {needed}");
        let low = *self.low.get_mut();
        assert!(start >= low, "starts at {start}, was cut to {low}");
        let acked = *self.acked.get_mut();
        assert!(end >= acked, "I1: ends at {end}, {acked} was acknowledged");
        assert_eq!(found.len() as u64, end + 1 - start, "I2: no gaps");
        let known = self.history.keys().next_back().map_or(0, |last| *last);
        let numbered = std::mem::take(self.numbered.get_mut());
        let mut seen = HashSet::new();
        let mut newest: BTreeMap<u32, u32> = BTreeMap::new();
        let mut open: Option<(Op, u32)> = None;
        for ((lsn, record), expected) in found.iter().zip(start..) {
            assert_eq!(*lsn, expected, "I2: in order");
            if *lsn <= known {
                let same = self.history.get(lsn) == Some(record);
                assert!(same, "I1: record {lsn} was found before and is another now");
                continue;
            }
            let Some((op, index)) = Op::of(record) else {
                panic!("I3: record {lsn} was written by nobody");
            };
            assert_eq!(op.life, self.life, "I3: record {lsn} is of another life");
            let attempted = self.attempted[op.thread as usize].load(Ordering::SeqCst);
            assert!(u64::from(op.seq) < attempted, "I3: record {lsn}, {op:?}, was not attempted");
            let follows = match open {
                None => index == 0,
                Some((group, before)) => op == group && index == before + 1,
            };
            assert!(follows, "I2: record {lsn}, {index} of {op:?}, stands after {open:?}");
            open = (index + 1 < op.count()).then_some((op, index));
            if index == 0 {
                assert!(seen.insert(op), "I3: {op:?} is there twice");
                let before = newest.insert(op.thread, op.seq);
                assert!(before.is_none_or(|seq| seq < op.seq), "I2: {op:?} is out of order");
            }
            if let Some(wanted) = numbered.get(lsn) {
                assert_eq!(*wanted, op, "I1: record {lsn} is another's");
            }
        }
        assert_eq!(open, None, "I2: the last group is whole");
        for (lsn, op) in numbered.range(start.max(known + 1)..end + 1) {
            assert!(seen.contains(op), "I1: {op:?}, record {lsn}, is not there");
        }
        self.history = found.into_iter().collect();
        self.attempted.iter_mut().for_each(|count| *count.get_mut() = 0);
        *self.acked.get_mut() = end;
        self.life += 1;
    }
}
