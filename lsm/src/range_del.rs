//! Deletes of whole ranges, cut into fragments that do not overlap.

use bytes::Bytes;

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
    /// The first user key behind the fragment.
    pub end: &'a [u8],
}

/// Range deletes, sorted and cut so that no two overlap.
#[derive(Debug, Clone, Default)]
pub struct Fragments {
    list: Vec<RangeDelete>,
}

impl Fragments {
    /// From range deletes in any order, overlapping or not. Empty ranges do nothing.
    pub fn build(deletes: impl IntoIterator<Item = RangeDelete>) -> Fragments {
        Fragments { list: deletes.into_iter().collect() }
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The highest range delete up to `seq` that covers `user_key`.
    pub fn covering(&self, user_key: &[u8], seq: SeqNo) -> Option<Cover<'_>> {
        self.list
            .iter()
            .filter(|d| d.start <= user_key && user_key < &d.end && d.seq <= seq)
            .max_by_key(|d| d.seq)
            .map(|d| Cover { seq: d.seq, start: &d.start, end: &d.end })
    }

    /// Every fragment with every write that deleted it; starts ascend, then numbers descend.
    pub fn iter(&self) -> impl Iterator<Item = RangeDelete> + '_ {
        self.list.iter().cloned()
    }
}
