//! Ranges: bounds, limits, revisions, filters and orders.

use drystone_etcd_api::etcdserverpb::RangeRequest;
use drystone_etcd_api::etcdserverpb::range_request::{SortOrder, SortTarget};

use super::{Wire, del, get, put, span};

/// Five keys, written so that every order differs: by key, value, version, creation, change.
async fn fill(w: &mut Wire) {
    for (key, value) in [
        ("k/3", "delta"),
        ("k/1", "echo"),
        ("k/2", "alpha"),
        ("k/5", "bravo"),
        ("k/4", "charlie"),
        ("k/2", "alpha2"),
        ("k/5", "bravo2"),
        ("k/2", "alpha3"),
        ("z", "outside"),
    ] {
        w.put(&format!("fill {key}"), put(key, value)).await;
    }
}

fn all() -> RangeRequest {
    span("k/", "k0")
}

/// Half-open ranges, from a key on, everything; and bounds that enclose nothing.
pub(super) async fn bounds(w: &mut Wire) {
    w.range("everything in an empty store", span("\0", "\0")).await;
    fill(w).await;
    w.range("one key", get("k/1")).await;
    w.range("a key that is missing", get("k/9")).await;
    w.range("no key", get("")).await;
    w.range("no key but an end", span("", "z")).await;
    w.range("no key, no end given", span("", "\0")).await;
    w.range("everything", span("\0", "\0")).await;
    w.range("from a key on", span("k/4", "\0")).await;
    w.range("half open", span("k/2", "k/4")).await;
    w.range("equal bounds", span("k/2", "k/2")).await;
    w.range("reversed bounds", span("k/4", "k/2")).await;
    w.range("end below the key", span("k/4", "a")).await;
    w.range("serializable", RangeRequest { serializable: true, ..all() }).await;
    w.range("keys only", RangeRequest { keys_only: true, ..all() }).await;
    let both = RangeRequest { keys_only: true, count_only: true, ..all() };
    w.range("keys only and count only", both).await;
}

/// The count is that of the whole range; `more` is about the limit alone.
pub(super) async fn limits(w: &mut Wire) {
    fill(w).await;
    for limit in [-1, 0, 1, 4, 5, 6, i64::MAX, i64::MIN] {
        w.range(&format!("limit {limit}"), RangeRequest { limit, ..all() }).await;
    }
    let count = RangeRequest { count_only: true, ..all() };
    w.range("count only", count.clone()).await;
    w.range("count only with a limit", RangeRequest { limit: 1, ..count.clone() }).await;
    w.range("count only of nothing", RangeRequest { count_only: true, ..get("none") }).await;
    w.range("count only at a revision", RangeRequest { revision: 4, ..count }).await;
    w.range("limit with keys only", RangeRequest { limit: 2, keys_only: true, ..all() }).await;
    w.range("limit at a revision", RangeRequest { limit: 2, revision: 4, ..all() }).await;
    w.range("limit on one key", RangeRequest { limit: 1, ..get("k/1") }).await;
}

/// Any revision up to the current one and down to the compacted one can be read.
pub(super) async fn revisions(w: &mut Wire) {
    fill(w).await;
    w.delete("delete", del("k/1")).await;
    for revision in [-1, i64::MIN, 0, 1, 2, 5, 10, 11, 12, i64::MAX] {
        w.range(&format!("revision {revision}"), RangeRequest { revision, ..all() }).await;
    }
    w.compact("compact", 6).await;
    for revision in [-1, 1, 5, 6, 7, 11] {
        let step = format!("revision {revision} after compaction");
        w.range(&step, RangeRequest { revision, ..all() }).await;
    }
    for revision in [6, 0, -1, 5, 12, i64::MAX] {
        w.compact(&format!("compact {revision} after compaction"), revision).await;
    }
    let old = RangeRequest { revision: 3, serializable: true, ..all() };
    w.range("compacted and serializable", old).await;
    let old = RangeRequest { revision: 3, count_only: true, ..all() };
    w.range("compacted and count only", old).await;
}

/// Bounds on the revisions of creation and change, inclusive; they do not touch the count.
pub(super) async fn filters(w: &mut Wire) {
    fill(w).await;
    for (least, most) in [(0, 5), (5, 0), (5, 8), (8, 5), (-3, 0), (0, -3), (100, 0)] {
        let changed = RangeRequest { min_mod_revision: least, max_mod_revision: most, ..all() };
        w.range(&format!("changed {least} to {most}"), changed).await;
        let made = RangeRequest { min_create_revision: least, max_create_revision: most, ..all() };
        w.range(&format!("created {least} to {most}"), made).await;
    }
    let both = RangeRequest { min_mod_revision: 5, max_create_revision: 4, ..all() };
    w.range("both", both).await;
    let few = RangeRequest { min_mod_revision: 5, limit: 1, ..all() };
    w.range("changed since, with a limit", few.clone()).await;
    w.range("the same, count only", RangeRequest { count_only: true, ..few.clone() }).await;
    w.range(
        "the same, from the end",
        RangeRequest { sort_order: SortOrder::Descend.into(), ..few.clone() },
    )
    .await;
    w.range("the same, at a revision", RangeRequest { revision: 7, ..few }).await;
    let exact = RangeRequest { min_mod_revision: 9, max_mod_revision: 9, limit: 1, ..all() };
    w.range("limit is met exactly", exact).await;
}

/// Every target in every order. Keys are made so that no two compare equal, except by version.
pub(super) async fn orders(w: &mut Wire) {
    fill(w).await;
    for target in [SortTarget::Key, SortTarget::Create, SortTarget::Mod, SortTarget::Value] {
        for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
            let sorted = RangeRequest {
                sort_target: target.into(),
                sort_order: order.into(),
                keys_only: true,
                ..all()
            };
            w.range(&format!("{target:?} {order:?}"), sorted.clone()).await;
            let cut = RangeRequest { limit: 2, ..sorted };
            w.range(&format!("{target:?} {order:?}, first two"), cut).await;
        }
    }
    let versions = RangeRequest {
        sort_target: SortTarget::Version.into(),
        sort_order: SortOrder::Descend.into(),
        limit: 2,
        ..all()
    };
    w.range("two most written", versions).await;
    let values = RangeRequest {
        sort_target: SortTarget::Value.into(),
        keys_only: true,
        limit: 1,
        revision: 6,
        ..all()
    };
    w.range("least value of an old revision, keys only", values).await;
}
