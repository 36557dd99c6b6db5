//! Deletes of whole ranges, cut into fragments that do not overlap.
//!
//! **The problem.** "Delete everything from `a` to `m`" is one write. It has to hide every older
//! entry between, in this table and in those below, without an entry for each. Asked of any key,
//! the answer is wanted in one search, and a scan wants to jump over what is hidden instead of
//! reading it.
//!
//! **The idea.** Overlapping ranges are cut where any of them begins or ends. In a fragment between
//! two cuts the same deletes apply from end to end, so it is kept with the list of their numbers,
//! and fragments can be searched like keys.
//!
//! ```text
//!    a ─────────── 7 ──────────── m
//!               f ──────── 9 ─────────── t
//!    ┌──────────┬─────────────────┬──────┐
//!    │ a..f: 7  │ f..m: 9, 7      │m..t:9│        three fragments
//!    └──────────┴─────────────────┴──────┘
//!    a snapshot at 8 finds k deleted by 7: of k, only writes above 7 are alive in it
//! ```
//!
//! A delete hides entries with *lower* numbers than its own. A write and a range delete of one
//! number (one batch) do not hide each other; whoever numbers them decides their order.
//!
//! **Compactions** write one run as several tables. Each gets the fragments clipped to the keys
//! that it is responsible for ([`clip`](Fragments::clip)), so that a table says nothing about keys
//! outside it, and what no snapshot can tell apart is thinned out ([`thin`](Fragments::thin)).
//!
//! ```text
//!   count    u32
//!   fragment × count         ascending, not overlapping
//!     start  u16 + bytes
//!     end    u16 + bytes
//!     seqs   u32, then u64 each, descending, at least one
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::{Input, put_string};
use crate::key::SeqNo;

/// One delete of every key in `start..end` that was written before `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeDelete {
    /// The first user key deleted.
    pub start: Bytes,
    /// The first user key not deleted.
    pub end: Bytes,
    /// The write.
    pub seq: SeqNo,
}

/// What covers a key: see [`Fragments::covering`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover<'a> {
    /// The highest range delete that the snapshot sees here. It deletes entries *below* it.
    pub seq: SeqNo,
    /// The first user key of the fragment.
    pub start: &'a [u8],
    /// The first user key behind the fragment: where a scan may go on.
    pub end: &'a [u8],
}

/// Range deletes, sorted and cut so that no two overlap.
///
/// Invariants:
/// * Every fragment has `start < end`, and ends at or before the next one's start.
/// * Its numbers descend, and there is at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragments {
    list: Vec<Fragment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fragment {
    start: Bytes,
    end: Bytes,
    seqs: Vec<SeqNo>,
}

impl Fragments {
    /// From range deletes in any order, overlapping or not. Empty ranges do nothing.
    pub fn build(deletes: impl IntoIterator<Item = RangeDelete>) -> Fragments {
        // At each cut, which deletes begin and which end; in between they all hold.
        let mut cuts: BTreeMap<Bytes, (Vec<SeqNo>, Vec<SeqNo>)> = BTreeMap::new();
        for delete in deletes {
            if delete.start < delete.end {
                cuts.entry(delete.start).or_default().0.push(delete.seq);
                cuts.entry(delete.end).or_default().1.push(delete.seq);
            }
        }
        let mut active: BTreeMap<SeqNo, usize> = BTreeMap::new();
        let mut fragments = Fragments::default();
        let mut from: Option<Bytes> = None;
        for (cut, (begin, end)) in cuts {
            if let Some(start) = from.filter(|_| !active.is_empty()) {
                fragments.push(start, cut.clone(), active.keys().rev().copied().collect());
            }
            for seq in begin {
                *active.entry(seq).or_default() += 1;
            }
            for seq in end {
                let count = active.get_mut(&seq).expect("what ends has begun at a lower key");
                *count -= 1;
                if *count == 0 {
                    active.remove(&seq);
                }
            }
            from = Some(cut);
        }
        assert!(active.is_empty(), "every range delete has an end");
        fragments
    }

    /// Both together, in one walk along both.
    pub(crate) fn union(&self, other: &Fragments) -> Fragments {
        let cuts = |list: &[Fragment]| {
            list.iter().flat_map(|f| [f.start.clone(), f.end.clone()]).collect::<Vec<_>>()
        };
        // Each side's cuts ascend, so that this sort is a merge.
        let mut all = [cuts(&self.list), cuts(&other.list)].concat();
        all.sort();
        all.dedup();
        let (mut left, mut right) = (&self.list[..], &other.list[..]);
        let mut union = Fragments::default();
        for pair in all.windows(2) {
            let seqs = merged(within(&mut left, &pair[0]), within(&mut right, &pair[0]));
            if !seqs.is_empty() {
                union.push(pair[0].clone(), pair[1].clone(), seqs);
            }
        }
        union
    }

    /// Appends a fragment; one that continues the last as if there had been no cut widens it.
    fn push(&mut self, start: Bytes, end: Bytes, seqs: Vec<SeqNo>) {
        match self.list.last_mut() {
            Some(last) if last.end == start && last.seqs == seqs => last.end = end,
            _ => self.list.push(Fragment { start, end, seqs }),
        }
    }

    /// Whether nothing is deleted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many fragments there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// How many pairs of a fragment and a write there are: what [`iter`](Fragments::iter) yields.
    pub fn count(&self) -> usize {
        self.list.iter().map(|fragment| fragment.seqs.len()).sum()
    }

    /// The first key deleted, and the first behind all of them.
    pub fn bounds(&self) -> Option<(&Bytes, &Bytes)> {
        Some((&self.list.first()?.start, &self.list.last()?.end))
    }

    /// The highest range delete up to `seq` that covers `user_key`.
    #[inline]
    pub fn covering(&self, user_key: &[u8], seq: SeqNo) -> Option<Cover<'_>> {
        if self.list.is_empty() {
            return None;
        }
        let behind = self.list.partition_point(|fragment| fragment.start <= user_key);
        let fragment = &self.list[behind.checked_sub(1)?];
        if *user_key >= *fragment.end {
            return None;
        }
        let visible = fragment.seqs.partition_point(|deleted_at| *deleted_at > seq);
        let seq = *fragment.seqs.get(visible)?;
        Some(Cover { seq, start: &fragment.start, end: &fragment.end })
    }

    /// Every fragment with every write that deleted it; starts ascend, then numbers descend.
    pub fn iter(&self) -> impl Iterator<Item = RangeDelete> + '_ {
        self.list.iter().flat_map(|Fragment { start, end, seqs }| {
            let one =
                |seq: &SeqNo| RangeDelete { start: start.clone(), end: end.clone(), seq: *seq };
            seqs.iter().map(one)
        })
    }

    /// What of them touches keys from `lo` on and below `hi`, cut off there. `None` is no bound.
    pub fn clip(&self, lo: Option<&[u8]>, hi: Option<&[u8]>) -> Fragments {
        let mut clipped = Fragments::default();
        for Fragment { start, end, seqs } in &self.list {
            let start =
                lo.filter(|lo| **lo > **start).map_or(start.clone(), Bytes::copy_from_slice);
            let end = hi.filter(|hi| **hi < **end).map_or(end.clone(), Bytes::copy_from_slice);
            if start < end {
                clipped.push(start, end, seqs.clone());
            }
        }
        clipped
    }

    /// Without the writes that no reader can tell from a later one: between two neighbours of
    /// `snapshots` (ascending), only the highest is kept.
    pub fn thin(&self, snapshots: &[SeqNo]) -> Fragments {
        debug_assert!(snapshots.is_sorted(), "snapshots are given in order");
        // A snapshot sees what is numbered up to it: writes with the same stripe look the same.
        let stripe = |seq: SeqNo| snapshots.partition_point(|snapshot| *snapshot < seq);
        let mut thinned = Fragments::default();
        for Fragment { start, end, seqs } in &self.list {
            let mut kept = seqs.clone();
            kept.dedup_by_key(|seq| stripe(*seq));
            thinned.push(start.clone(), end.clone(), kept);
        }
        thinned
    }

    /// Without the writes up to `seq`: for a compaction that leaves nothing older below it.
    pub fn above(&self, seq: SeqNo) -> Fragments {
        let mut rest = Fragments::default();
        for Fragment { start, end, seqs } in &self.list {
            let kept: Vec<SeqNo> = seqs.iter().copied().filter(|kept| *kept > seq).collect();
            if !kept.is_empty() {
                rest.push(start.clone(), end.clone(), kept);
            }
        }
        rest
    }

    /// The same ranges, all deleted by write `seq`.
    pub(crate) fn renumbered(&self, seq: SeqNo) -> Fragments {
        let mut renumbered = Fragments::default();
        for Fragment { start, end, .. } in &self.list {
            renumbered.push(start.clone(), end.clone(), vec![seq]);
        }
        renumbered
    }

    /// Appends the bytes drawn above.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let count = |len: usize| u32::try_from(len).expect("range deletes are counted in a u32");
        out.extend_from_slice(&count(self.list.len()).to_le_bytes());
        for Fragment { start, end, seqs } in &self.list {
            put_string(out, start);
            put_string(out, end);
            out.extend_from_slice(&count(seqs.len()).to_le_bytes());
            for seq in seqs {
                out.extend_from_slice(&seq.0.to_le_bytes());
            }
        }
    }

    /// From the bytes drawn above. The error says what is wrong with them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Fragments, &'static str> {
        let mut input = Input::new(bytes);
        let mut fragments = Fragments::default();
        for _ in 0..input.u32()? {
            let start = Bytes::copy_from_slice(input.string()?);
            let end = Bytes::copy_from_slice(input.string()?);
            if start >= end || fragments.list.last().is_some_and(|last| start < last.end) {
                return Err("range deletes are out of order");
            }
            let count = input.u32()? as usize;
            let (seqs, _) = input.bytes(count.saturating_mul(8))?.as_chunks::<8>();
            let seqs: Vec<SeqNo> = seqs.iter().map(|seq| SeqNo(u64::from_le_bytes(*seq))).collect();
            let descend = seqs.windows(2).all(|pair| pair[0] > pair[1]);
            if seqs.first().is_none_or(|seq| *seq >= SeqNo::MAX) || !descend {
                return Err("write numbers of a range delete are out of order");
            }
            fragments.list.push(Fragment { start, end, seqs });
        }
        let rest = input.rest();
        if rest.is_empty() { Ok(fragments) } else { Err("bytes are left behind the range deletes") }
    }
}

/// The writes that deleted the keys from `cut` on, up to the next cut. Leaves out of `list` what
/// ends before.
fn within<'a>(list: &mut &'a [Fragment], cut: &[u8]) -> &'a [SeqNo] {
    while let Some((first, rest)) = list.split_first()
        && *first.end <= *cut
    {
        *list = rest;
    }
    match list.first() {
        Some(first) if *first.start <= *cut => &first.seqs,
        _ => &[],
    }
}

/// Two descending lists as one, without doubles.
fn merged(a: &[SeqNo], b: &[SeqNo]) -> Vec<SeqNo> {
    let mut seqs = [a, b].concat();
    seqs.sort_by(|x, y| y.cmp(x));
    seqs.dedup();
    seqs
}
