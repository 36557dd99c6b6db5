//! What of a key's history has to be kept when tables are written anew.
//!
//! Snapshots cut history into stripes; within a stripe no reader can tell a version from a newer
//! one, and only the newest is kept.
//!
//! ```text
//!   snapshots          4              7
//!   stripes     0 1 2 3 4 │ 5   6   7 │ 8    9 ...
//!   versions      2   3   │ 5   6     │     9
//!   kept              3   │     6     │     9
//! ```
//!
//! * A version under a range delete of its own stripe goes.
//! * A delete goes if nothing older can be left below the tables written (*bottom*), in the oldest
//!   stripe; what it hides goes first.
//! * Merge operands are applied to the value below them, if that is in the same stripe, or if there
//!   can be none. Otherwise they stay as they are.
//! * What has expired, or what the compaction filter does not want, becomes a delete.
//! * At the bottom a put that every snapshot sees gets the number 0: all such numbers are equal,
//!   and pack well.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::CompactionFilter;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{Kind, SeqNo};
use crate::keyspace::Shared;
use crate::range_del::Fragments;
use crate::read::{expiry, merge};
use crate::slice::Slice;

/// What a sieve has to know.
pub(crate) struct Rules {
    pub(crate) keyspace: Arc<Shared>,
    /// Ascending.
    pub(crate) snapshots: Vec<SeqNo>,
    /// Every range delete of the inputs.
    pub(crate) ranges: Fragments,
    /// The first user key, and the first one behind; nothing for no bound.
    pub(crate) lower: Option<Vec<u8>>,
    pub(crate) upper: Option<Vec<u8>>,
    /// Nothing older than the inputs can be anywhere in their range.
    pub(crate) bottom: bool,
    /// Whether to ask the keyspace's filter.
    pub(crate) filter: bool,
}

/// After so many entries whoever waits for the core has it: a tenth of a millisecond of small ones.
/// What is dropped fills no block, after which the [builder](crate::table) lets others run.
const ENTRIES_IN_A_ROW_MAX: u32 = 128;

/// See the module. Stands on an entry to be kept, or at the end.
pub(crate) struct Sieve<C> {
    cursor: C,
    rules: Rules,
    filter: Option<Arc<dyn CompactionFilter>>,
    has_merge: bool,
    now: u64,
    /// The user key being looked at.
    key: Vec<u8>,
    has_key: bool,
    /// The stripe of the last version of `key` that hides what is older in the same stripe.
    hidden: Option<usize>,
    /// What stands in place of the cursor's entry.
    current: Current,
    in_a_row: u32,
    /// Entries of `key` that are settled, and not given out yet.
    queue: VecDeque<(SeqNo, Kind, Slice)>,
}

/// An entry to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) seq: SeqNo,
    pub(crate) kind: Kind,
    pub(crate) value: &'a [u8],
}

enum Current {
    End,
    /// The cursor's value, with this number.
    Cursor(SeqNo, Kind),
    Own(SeqNo, Kind, Slice),
}

impl<C: Cursor> Sieve<C> {
    /// A sieve over the entries of `cursor` within the bounds.
    pub(crate) fn new(mut cursor: C, rules: Rules) -> Result<Sieve<C>> {
        match &rules.lower {
            Some(lower) => cursor.seek(lower, SeqNo::MAX)?,
            None => cursor.first()?,
        }
        let options = rules.keyspace.options();
        let filter = if rules.filter { options.filter.clone() } else { None };
        let now = if rules.keyspace.expires { rules.keyspace.time.now() } else { 0 };
        let mut sieve = Sieve {
            cursor,
            filter,
            has_merge: options.merge.is_some(),
            rules,
            now,
            key: Vec::new(),
            has_key: false,
            hidden: None,
            current: Current::End,
            in_a_row: 0,
            queue: VecDeque::new(),
        };
        sieve.find()?;
        Ok(sieve)
    }

    /// The entry stood on.
    pub(crate) fn kept(&self) -> Option<Kept<'_>> {
        let key = &self.key;
        match &self.current {
            Current::End => None,
            Current::Cursor(seq, kind) => {
                let value = match kind {
                    Kind::Delete => &[],
                    _ => self.cursor.entry().expect("stands on the entry it keeps").value,
                };
                Some(Kept { key, seq: *seq, kind: *kind, value })
            }
            Current::Own(seq, kind, value) => Some(Kept { key, seq: *seq, kind: *kind, value }),
        }
    }

    /// To the next entry to be kept.
    pub(crate) fn next(&mut self) -> Result<()> {
        if matches!(self.current, Current::Cursor(..)) {
            self.cursor.next()?;
        }
        self.find()
    }

    fn find(&mut self) -> Result<()> {
        loop {
            self.in_a_row += 1;
            if self.in_a_row == ENTRIES_IN_A_ROW_MAX {
                self.in_a_row = 0;
                std::thread::yield_now();
            }
            if let Some((seq, kind, value)) = self.queue.pop_front() {
                self.current = Current::Own(seq, kind, value);
                return Ok(());
            }
            let Some(entry) = self.cursor.entry() else {
                self.current = Current::End;
                return Ok(());
            };
            let is_first = !self.has_key || self.key != entry.key;
            if is_first {
                if self.rules.upper.as_ref().is_some_and(|upper| *entry.key >= upper[..]) {
                    self.current = Current::End;
                    return Ok(());
                }
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                self.has_key = true;
                self.hidden = None;
            }
            let stripe = stripe(&self.rules.snapshots, entry.seq);
            if self.hidden == Some(stripe) {
                self.cursor.next()?;
                continue;
            }
            if self.is_covered(entry.seq, stripe) {
                self.hidden = Some(stripe);
                self.cursor.next()?;
                continue;
            }
            match entry.kind {
                Kind::Merge if self.has_merge => self.gather(stripe)?,
                // Whoever reads it will say that the operator is missing; we keep what there is.
                Kind::Merge => {
                    self.current = Current::Cursor(entry.seq, Kind::Merge);
                    return Ok(());
                }
                Kind::Put | Kind::Delete => {
                    self.hidden = Some(stripe);
                    if let Some((seq, kind)) = self.judge(stripe, is_first) {
                        self.current = Current::Cursor(seq, kind);
                        return Ok(());
                    }
                    self.cursor.next()?;
                }
            }
        }
    }

    /// What becomes of the put or delete under the cursor.
    fn judge(&self, stripe: usize, is_first: bool) -> Option<(SeqNo, Kind)> {
        let entry = self.cursor.entry().expect("looked at");
        let oldest = self.rules.bottom && stripe == 0;
        let mut kind = entry.kind;
        if kind == Kind::Put && self.is_unwanted(entry.value, stripe, is_first) {
            kind = Kind::Delete;
        }
        match kind {
            Kind::Delete if oldest => None,
            Kind::Put if oldest => Some((SeqNo::ZERO, Kind::Put)),
            kind => Some((entry.seq, kind)),
        }
    }

    fn is_unwanted(&self, value: &[u8], stripe: usize, is_first: bool) -> bool {
        if self.rules.keyspace.expires && expiry(value).is_some_and(|expiry| expiry <= self.now) {
            return true;
        }
        // A filter must not change what a snapshot sees.
        let free = is_first && stripe == self.rules.snapshots.len();
        let suffix = if self.rules.keyspace.expires { crate::keyspace::EXPIRY_BYTES } else { 0 };
        let value = &value[..value.len().saturating_sub(suffix)];
        free && self.filter.as_ref().is_some_and(|filter| !filter.keep(&self.key, value))
    }

    /// Whether a range delete of the same stripe covers a version of the current key.
    fn is_covered(&self, seq: SeqNo, stripe: usize) -> bool {
        if self.rules.ranges.is_empty() {
            return false;
        }
        let last = self.rules.snapshots.get(stripe).copied().unwrap_or(SeqNo::MAX);
        self.rules.ranges.covering(&self.key, last).is_some_and(|cover| seq < cover.seq)
    }

    /// Takes in the operands from the cursor on, as far as their stripe goes, and settles them.
    fn gather(&mut self, first: usize) -> Result<()> {
        let mut operands: Vec<(SeqNo, Slice)> = Vec::new();
        let mut base = None;
        // Whether what the operands apply to is known.
        let mut known = false;
        let mut at_end = true;
        while let Some(entry) = self.cursor.entry()
            && entry.key == self.key
        {
            if stripe(&self.rules.snapshots, entry.seq) != first {
                at_end = false;
                break;
            }
            if self.is_covered(entry.seq, first) {
                known = true;
                break;
            }
            match entry.kind {
                Kind::Merge => {
                    let value = self.cursor.value().expect("stands on an entry");
                    operands.push((entry.seq, value));
                }
                Kind::Put => {
                    base = Some(self.cursor.value().expect("stands on an entry"));
                    known = true;
                    break;
                }
                Kind::Delete => {
                    known = true;
                    break;
                }
            }
            self.cursor.next()?;
        }
        // What is left of the stripe lies below the value that the operands have become.
        if known || (at_end && self.rules.bottom) {
            self.hidden = Some(first);
            let newest = operands[0].0;
            let values: Vec<Slice> = operands.into_iter().map(|(_, value)| value).collect();
            let value = merge(&self.rules.keyspace, &self.key, base.as_deref(), &values)?;
            let seq = if self.rules.bottom && first == 0 { SeqNo::ZERO } else { newest };
            self.queue.push_back((seq, Kind::Put, value));
        } else {
            let kept = operands.into_iter().map(|(seq, value)| (seq, Kind::Merge, value));
            self.queue.extend(kept);
        }
        Ok(())
    }

    /// The range deletes that are to be kept: of each stripe the newest, and at the bottom none of
    /// the oldest stripe.
    pub(crate) fn ranges(&self) -> Fragments {
        let thin = self.rules.ranges.thin(&self.rules.snapshots);
        if self.rules.bottom {
            thin.above(self.rules.snapshots.first().copied().unwrap_or(SeqNo::MAX))
        } else {
            thin
        }
    }
}

/// The index of the stripe that write `seq` lies in: how many snapshots do not see it.
fn stripe(snapshots: &[SeqNo], seq: SeqNo) -> usize {
    snapshots.partition_point(|snapshot| *snapshot < seq)
}
