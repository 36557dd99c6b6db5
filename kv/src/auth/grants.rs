//! What a user may touch: two sets of keys, as few intervals as there can be.
//!
//! ```text
//!   role a   [a ─────── c)          [m]
//!   role b            [c ──── f)          [x ─────────►
//!   union    [a ───────────── f)    [m]   [x ─────────►      disjoint, ascending
//! ```
//!
//! A range is allowed if one interval of the union holds all of it.

use bytes::Bytes;

use super::{Access, Permission};
use crate::key_range::KeyRange;

/// What a user may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    read: Vec<KeyRange>,
    write: Vec<KeyRange>,
}

impl Grants {
    /// The union of `permissions`.
    pub fn new(permissions: &[&Permission]) -> Grants {
        let of = |access| {
            let allows = permissions.iter().filter(|permission| permission.kind.allows(access));
            union(allows.map(|permission| permission.range()).collect())
        };
        Grants { read: of(Access::Read), write: of(Access::Write) }
    }

    /// Whether all of `range` may be touched. Of a range that no key can lie in, its start is asked
    /// for.
    pub fn cover(&self, range: &KeyRange, access: Access) -> bool {
        let intervals = match access {
            Access::Read => &self.read,
            Access::Write => &self.write,
        };
        let after = intervals.partition_point(|interval| interval.start <= range.start);
        let Some(interval) = after.checked_sub(1).map(|at| &intervals[at]) else { return false };
        interval.contains(&range.start)
            && (range.is_empty() || !ends_before(&interval.end, &range.end))
    }
}

/// Whether `a` leaves something of `b` out at the end.
fn ends_before(a: &Option<Bytes>, b: &Option<Bytes>) -> bool {
    match (a, b) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(a), Some(b)) => a < b,
    }
}

/// The same keys in disjoint intervals that do not touch, ascending.
fn union(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by(|a, b| a.start.cmp(&b.start));
    let mut union: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match union.last_mut() {
            // What begins where the last ends goes on with it.
            Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                if ends_before(&last.end, &range.end) {
                    last.end = range.end;
                }
            }
            _ => union.push(range),
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use super::super::PermissionKind;
    use super::*;

    fn permission(kind: PermissionKind, key: &'static str, end: &'static str) -> Permission {
        Permission { kind, key: key.into(), range_end: end.into() }
    }

    fn grants(permissions: &[Permission]) -> Grants {
        Grants::new(&permissions.iter().collect::<Vec<_>>())
    }

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_etcd(key.into(), end.into())
    }

    // etcd's trap 24: what two roles allow side by side, a range across both may read.
    #[test]
    fn ranges_are_covered_by_the_union() {
        use PermissionKind::Read;
        let grants = grants(&[
            permission(Read, "c", "f"),
            permission(Read, "a", "c"),
            permission(Read, "m", ""),
        ]);
        for (key, end) in [("a", "f"), ("b", "d"), ("c", ""), ("m", ""), ("m", "m\0"), ("a", "c")] {
            assert!(grants.cover(&range(key, end), Access::Read), "{key} {end}");
            assert!(!grants.cover(&range(key, end), Access::Write), "{key} {end}");
        }
        let denied =
            [("a", "g"), ("f", ""), ("a", "\0"), ("m", "n"), ("m", "\0"), ("", ""), ("z", "")];
        for (key, end) in denied {
            assert!(!grants.cover(&range(key, end), Access::Read), "{key} {end}");
        }
    }

    // "\0" as an end is everything from the key on, for the permission as for the request.
    #[test]
    fn open_ends_are_covered_by_open_ends_alone() {
        use PermissionKind::ReadWrite;
        let open = grants(&[permission(ReadWrite, "m", "\0"), permission(ReadWrite, "a", "n")]);
        assert!(open.cover(&range("a", "\0"), Access::Write));
        assert!(!open.cover(&range("\0", "\0"), Access::Write));
        let closed = grants(&[permission(ReadWrite, "a", "zzzz")]);
        assert!(!closed.cover(&range("a", "\0"), Access::Write));
        let all = grants(&[permission(ReadWrite, "\0", "\0")]);
        assert!(all.cover(&range("\0", "\0"), Access::Read));
        assert!(all.cover(&range("a", ""), Access::Read));
    }

    // The union, looked at key by key: the intervals may not say more or less than the permissions.
    #[test]
    fn union_holds_the_keys_of_its_parts_and_no_other() {
        let keys = ["a", "b", "c", "d", "e"];
        let ends = ["", "\0", "b", "c", "d", "e", "f"];
        let ranges: Vec<KeyRange> =
            keys.iter().flat_map(|key| ends.iter().map(|end| range(key, end))).collect();
        for one in &ranges {
            for two in &ranges {
                let union = union(vec![two.clone(), one.clone()]);
                for key in ["a", "a\0", "b", "b1", "c", "d", "e", "e\0", "f", "z"] {
                    let expected = one.contains(key.as_bytes()) || two.contains(key.as_bytes());
                    let found = union.iter().filter(|part| part.contains(key.as_bytes())).count();
                    assert_eq!(found, usize::from(expected), "{key} in {one:?} and {two:?}");
                }
                let touch =
                    union.windows(2).any(|pair| pair[0].end.as_ref() >= Some(&pair[1].start));
                assert!(!touch, "{union:?}");
            }
        }
    }
}
