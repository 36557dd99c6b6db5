//! A span of keys, in byte order.
//!
//! etcd writes a span as two byte strings, `key` and `range_end`, with two conventions that every
//! client depends on: an empty `range_end` means the single key, and a `range_end` of one zero byte
//! means "to the very end". [`KeyRange::from_etcd`] is the only place that knows them.

use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};

/// All keys `k` with `start <= k`, and `k < end` where there is an end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key that may belong.
    pub start: Bytes,
    /// The first key that no longer belongs; `None` is beyond every key.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key there is.
    pub fn all() -> KeyRange {
        KeyRange { start: Bytes::new(), end: None }
    }

    /// Exactly one key: `[key, key + "\0")` holds no other.
    pub fn single(key: impl Into<Bytes>) -> KeyRange {
        let start = key.into();
        let end = successor(&start);
        KeyRange { start, end: Some(end) }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let start = prefix.into();
        let end = prefix_end(&start);
        KeyRange { start, end }
    }

    /// etcd's pair of byte strings: an empty `range_end` is the single `key`, a `range_end` of one
    /// zero byte is everything from `key` on, anything else is `[key, range_end)`.
    pub fn from_etcd(key: Bytes, range_end: Bytes) -> KeyRange {
        match range_end.as_ref() {
            [] => KeyRange::single(key),
            [0] => KeyRange { start: key, end: None },
            _ => KeyRange { start: key, end: Some(range_end) },
        }
    }

    /// Whether `key` belongs.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref() <= key && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether no key can belong: the bounds meet or cross.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end <= &self.start)
    }

    /// Whether exactly one key can belong; if so, that key.
    pub fn as_single(&self) -> Option<&Bytes> {
        let end = self.end.as_ref()?;
        let key_bytes = self.start.len();
        let one =
            end.len() == key_bytes + 1 && end[key_bytes] == 0 && end[..key_bytes] == self.start;
        one.then_some(&self.start)
    }

    /// Whether the two have room for a common key.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        let before = |a: &KeyRange, b: &KeyRange| a.end.as_ref().is_some_and(|end| end <= &b.start);
        !self.is_empty() && !other.is_empty() && !before(self, other) && !before(other, self)
    }

    /// The bounds as `BTreeMap::range` takes them. The caller checks [`KeyRange::is_empty`] first,
    /// since a std map panics on crossed bounds.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start.as_ref()), end)
    }
}

/// The smallest key above `key`.
pub fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// The smallest key above every key that begins with `prefix`; `None` when there is none.
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = BytesMut::from(&prefix[..=keep]);
    end[keep] += 1;
    Some(end.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_etcd(Bytes::from_static(key.as_bytes()), Bytes::from_static(end.as_bytes()))
    }

    // Clients build every span from these three forms; a wrong reading reads the wrong keys.
    #[test]
    fn etcd_range_end_has_three_readings() {
        assert!(range("a", "").contains(b"a"));
        assert!(!range("a", "").contains(b"aa"));
        assert!(range("a", "\0").contains(b"zzz"));
        assert!(!range("b", "\0").contains(b"a"));
        assert!(range("a", "c").contains(b"b"));
        assert!(!range("a", "c").contains(b"c"));
        assert!(range("\0", "\0").contains(b"\0"));
    }

    // A reversed range is an empty answer to a client, and a panic in a std map.
    #[test]
    fn reversed_and_equal_bounds_are_empty() {
        assert!(range("b", "a").is_empty());
        assert!(range("a", "a").is_empty());
        assert!(!range("a", "").is_empty());
    }

    // 0xff has no successor byte: the end carries over, and of nothing but 0xff there is no end.
    #[test]
    fn prefix_end_carries_over_0xff() {
        assert_eq!(KeyRange::prefix(&b"a\xff"[..]).end.as_deref(), Some(&b"b"[..]));
        assert_eq!(KeyRange::prefix(&b"\xff\xff"[..]).end, None);
        assert!(KeyRange::prefix(&b"\xff"[..]).contains(b"\xff\xff\xff"));
    }

    // Watch dispatch takes the fast path for single keys by this test.
    #[test]
    fn single_is_recognised_and_only_single() {
        assert_eq!(range("k", "").as_single().map(AsRef::as_ref), Some(&b"k"[..]));
        assert_eq!(range("k", "l").as_single(), None);
        assert_eq!(range("k", "\0").as_single(), None);
    }

    // Duplicate keys in a txn are found by overlap; touching bounds share no key.
    #[test]
    fn overlap_needs_a_common_key() {
        assert!(range("a", "c").overlaps(&range("b", "")));
        assert!(!range("a", "b").overlaps(&range("b", "")));
        assert!(!range("c", "a").overlaps(&range("b", "")));
        assert!(range("a", "\0").overlaps(&range("z", "")));
    }
}
