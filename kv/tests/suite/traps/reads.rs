//! Reads: counts, limits, orders, the past.

use drystone_kv::Refusal;
use drystone_kv::command::{RangeRequest, RevisionBounds, Sort, SortBy, SortOrder};
use drystone_kv::limits::Limits;
use drystone_kv::types::{KeyValue, LeaseId};

use crate::common::{Bench, delete, grant, keys, put, put_on, range, read, read_at, text};

/// a b c d, written out of order at 2 3 4 5, and b once more at 6.
fn letters() -> Bench {
    let bench = Bench::new();
    for command in [put("c", "3"), put("a", "9"), put("d", "1"), put("b", "x"), put("b", "5")] {
        bench.ok(&command);
    }
    bench
}

fn sorted(by: SortBy, order: SortOrder) -> RangeRequest {
    RangeRequest { sort: Some(Sort { by, order }), ..read("\0", "\0") }
}

// Trap 1. A pager shows "10 of N" from the count, and stops when `more` is not set.
#[test]
fn count_ignores_the_limit_and_the_bounds_and_more_tells_of_the_limit_alone() {
    let bench = letters();
    let limited = bench.range(&RangeRequest { limit: 3, ..read("a", "z") }).unwrap();
    assert_eq!((keys(&limited), limited.count, limited.more), (vec!["a", "b", "c"], 4, true));
    let exact = bench.range(&RangeRequest { limit: 4, ..read("a", "z") }).unwrap();
    assert_eq!((exact.kvs.len(), exact.count, exact.more), (4, 4, false));
    let bounds = RevisionBounds { mod_min: Some(4), mod_max: Some(6), ..Default::default() };
    let bounded = bench.range(&RangeRequest { bounds, ..read("a", "z") }).unwrap();
    assert_eq!((keys(&bounded), bounded.count, bounded.more), (vec!["b", "d"], 4, false));
    let counted =
        bench.range(&RangeRequest { count_only: true, limit: 1, ..read("a", "z") }).unwrap();
    assert_eq!((counted.kvs.len(), counted.count, counted.more), (0, 4, false));
}

// Trap 2. Who asks for the newest two must not get the newest of the first two.
#[test]
fn a_limit_cuts_what_was_sorted_and_filtered() {
    let bench = letters();
    let newest = RangeRequest { limit: 2, ..sorted(SortBy::Mod, SortOrder::Descend) };
    let newest = bench.range(&newest).unwrap();
    assert_eq!((keys(&newest), newest.more), (vec!["b", "d"], true));
    let bounds = RevisionBounds { create_min: Some(4), ..Default::default() };
    let bounded = bench.range(&RangeRequest { limit: 2, bounds, ..read("a", "z") }).unwrap();
    assert_eq!((keys(&bounded), bounded.more), (vec!["b", "d"], false), "the limit was not needed");
    let last = RangeRequest { limit: 2, ..sorted(SortBy::Key, SortOrder::Descend) };
    let last = bench.range(&last).unwrap();
    assert_eq!((keys(&last), last.more), (vec!["d", "c"], true));
}

// Trap 3. Clients name what to sort by and forget the order; etcd then sorts ascending what the
// limit, taken in key order, has left, one more than the limit included.
#[test]
fn a_sort_target_without_an_order_ascends() {
    let bench = letters();
    let by_value = bench.range(&sorted(SortBy::Value, SortOrder::AscendAfterLimit)).unwrap();
    assert_eq!(keys(&by_value), ["d", "c", "b", "a"]);
    let limited = RangeRequest { limit: 2, ..sorted(SortBy::Value, SortOrder::AscendAfterLimit) };
    let limited = bench.range(&limited).unwrap();
    assert_eq!((keys(&limited), limited.more), (vec!["c", "b"], true), "of a, b and c");
}

// Every target sorts by what it says, both ways.
#[test]
fn each_sort_target_sorts_by_what_it_names() {
    let bench = letters();
    for (by, expected) in [
        (SortBy::Key, ["a", "b", "c", "d"]),
        (SortBy::Create, ["c", "a", "d", "b"]),
        (SortBy::Mod, ["c", "a", "d", "b"]),
        (SortBy::Value, ["d", "c", "b", "a"]),
    ] {
        let ascending = bench.range(&sorted(by, SortOrder::Ascend)).unwrap();
        assert_eq!(keys(&ascending), expected, "{by:?}");
        let mut descending = keys(&ascending);
        descending.reverse();
        let reply = bench.range(&sorted(by, SortOrder::Descend)).unwrap();
        assert_eq!(keys(&reply), descending, "{by:?}");
    }
    let newest = bench.range(&sorted(SortBy::Version, SortOrder::Descend)).unwrap();
    assert_eq!(text(&newest.kvs[0].key), "b");
}

// etcd's sort keeps equals in their order if they are few, whichever way it sorts.
#[test]
fn equals_stay_in_the_order_of_their_keys() {
    let bench = letters();
    let ascending = bench.range(&sorted(SortBy::Version, SortOrder::Ascend)).unwrap();
    assert_eq!(keys(&ascending), ["a", "c", "d", "b"]);
    let descending = bench.range(&sorted(SortBy::Version, SortOrder::Descend)).unwrap();
    assert_eq!(keys(&descending), ["b", "a", "c", "d"]);
}

// Trap 4. Clients start a watch at the header's revision + 1, whatever they read at.
#[test]
fn a_read_of_the_past_reports_the_present_revision() {
    let bench = letters();
    let past = bench.range(&read_at("b", "", 5)).unwrap();
    assert_eq!(past.revision, 6);
    assert_eq!((text(&past.kvs[0].value), past.kvs[0].mod_revision), ("x", 5));
    assert_eq!(bench.range(&read_at("b", "", 4)).unwrap().count, 0);
}

// A client that believes a revision which has not happened would read a different past later.
#[test]
fn the_future_is_refused() {
    let bench = letters();
    for revision in [7, u64::MAX - 1, u64::MAX] {
        let refused = bench.range(&read_at("b", "", revision));
        assert_eq!(refused, Err(Refusal::FutureRevision { newest: 6 }));
    }
}

// The three ways of writing a range's end, and what lies just at them.
#[test]
fn ranges_hold_what_etcd_says_they_hold() {
    let bench = Bench::new();
    for key in ["\0", "a", "a\0", "aa", "b", "\u{7f}"] {
        bench.ok(&put(key, ""));
    }
    let check = |key, end, expected: &[&str]| {
        let reply = bench.range(&read(key, end)).unwrap();
        assert_eq!(keys(&reply), expected, "{key:?} {end:?}");
        assert_eq!(reply.count, expected.len() as u64, "{key:?} {end:?}");
    };
    check("a", "", &["a"]);
    check("a", "b", &["a", "a\0", "aa"]);
    check("a", "a\0", &["a"]);
    check("a", "\0", &["a", "a\0", "aa", "b", "\u{7f}"]);
    check("\0", "\0", &["\0", "a", "a\0", "aa", "b", "\u{7f}"]);
    check("b", "a", &[]);
    check("b", "b", &[]);
    check("x", "", &[]);
}

// An empty key is a client's mistake, even as the start of a range that would hold everything.
#[test]
fn an_empty_key_is_refused() {
    let limits = Limits::default();
    for end in ["", "\0", "z"] {
        let request = RangeRequest::new(range("", end));
        assert_eq!(limits.check_range(&request), Err(Refusal::EmptyKey));
    }
    assert_eq!(limits.check_range(&read("\0", "\0")), Ok(()));
}

// Lease holders look for their keys without fetching the values.
#[test]
fn keys_only_leaves_out_the_value_and_nothing_else() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&put_on("k", "value", 7));
    bench.ok(&put_on("k", "value", 7));
    let request = RangeRequest { keys_only: true, ..read("k", "") };
    let expected = KeyValue {
        key: "k".into(),
        value: "".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        lease: LeaseId(7),
    };
    assert_eq!(bench.range(&request).unwrap().kvs, [expected]);
}

// Keys that are gone now were there then.
#[test]
fn the_past_holds_what_has_been_deleted_since() {
    let bench = letters();
    bench.ok(&delete("a", "z"));
    let now = bench.range(&read("a", "z")).unwrap();
    assert_eq!((now.revision, now.count), (7, 0));
    let then = bench.range(&read_at("a", "z", 6)).unwrap();
    assert_eq!((then.revision, keys(&then)), (7, vec!["a", "b", "c", "d"]));
}
