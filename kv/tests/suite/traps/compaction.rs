//! Compaction: what stays readable, what never goes back, what copies agree on.

use std::path::Path;
use std::sync::Arc;

use drystone_kv::engine::Space;
use drystone_kv::mem::Mem;
use drystone_kv::reply::{CompactReply, Reply};
use drystone_kv::{HashReply, Refusal};
use drystone_vfs::{MemVfs, Vfs};

use crate::common::{Bench, compact, delete, dump, put, read, read_at, refusal};

/// One key, put at 2, 3 and 4, deleted at 5, put at 6.
fn history() -> Bench {
    let bench = Bench::new();
    for command in [put("k", "2"), put("k", "3"), put("k", "4"), delete("k", ""), put("k", "6")] {
        bench.ok(&command);
    }
    bench
}

fn hash(bench: &Bench, at: Option<u64>) -> HashReply {
    refusal(bench.store.hash(at)).expect("readable")
}

// Trap 5. A pager compacts at the revision that it pages at.
#[test]
fn the_compacted_revision_is_readable_and_below_it_is_not() {
    for sweeps in [false, true] {
        let bench = history();
        assert_eq!(bench.ok(&compact(3)), Reply::Compact(CompactReply { revision: 6 }));
        if sweeps {
            bench.sweep();
        }
        assert_eq!(bench.range(&read_at("k", "", 3)).unwrap().kvs[0].value, "3");
        assert_eq!(bench.range(&read_at("k", "", 4)).unwrap().kvs[0].value, "4");
        for below in [0, 1, 2] {
            let refused = bench.range(&read_at("k", "", below));
            assert_eq!(refused, Err(Refusal::Compacted { compacted: 3 }));
        }
    }
}

// Two operators compact; the second learns that it was done, and nobody compacts the future.
#[test]
fn a_compaction_goes_forward_and_not_beyond_the_present() {
    let bench = history();
    assert_eq!(bench.apply(&compact(7)), Err(Refusal::FutureRevision { newest: 6 }));
    bench.ok(&compact(4));
    assert_eq!(bench.apply(&compact(4)), Err(Refusal::Compacted { compacted: 4 }));
    assert_eq!(bench.apply(&compact(3)), Err(Refusal::Compacted { compacted: 4 }));
    bench.ok(&compact(6));
    assert_eq!(bench.store.status().compacted, Some(6));
    assert_eq!(bench.store.revision(), 6, "a compaction makes no revision");
}

// A quirk that some clients lean on: on a store that was never compacted, revision 0 can be
// compacted, once, and nothing becomes unreadable.
#[test]
fn compacting_zero_succeeds_once() {
    let bench = history();
    bench.ok(&compact(0));
    assert_eq!(bench.apply(&compact(0)), Err(Refusal::Compacted { compacted: 0 }));
    bench.sweep();
    assert_eq!(bench.range(&read_at("k", "", 2)).unwrap().kvs[0].value, "2");
    bench.ok(&compact(1));
    assert_eq!(bench.range(&read_at("k", "", 1)).unwrap().count, 0);
}

// What is kept: of each key the newest live version; a tombstone only at the very revision, for the
// watch that starts there.
#[test]
fn a_sweep_keeps_the_newest_live_version_and_a_tombstone_of_the_revision_itself() {
    let left = |at: u64| {
        let bench = history();
        bench.ok(&compact(at));
        bench.sweep();
        assert_eq!(bench.store.swept(), Some(at));
        let mains = dump(&*bench.store.engine()).into_iter();
        let mains = mains.filter(|(space, ..)| *space == Space::Record);
        mains.map(|(_, key, _)| u64::from(key[7])).collect::<Vec<_>>()
    };
    assert_eq!(left(2), [2, 3, 4, 5, 6]);
    assert_eq!(left(3), [3, 4, 5, 6]);
    assert_eq!(left(4), [4, 5, 6]);
    assert_eq!(left(5), [5, 6]);
    assert_eq!(left(6), [6]);
}

// Trap 22. etcd once forgot its newest revision when a compaction had dropped the record of it, and
// after a restart gave the same number to another change.
#[test]
fn the_revision_does_not_go_back_after_the_newest_tombstone_was_compacted() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    let open = || Bench::over(Mem::open(vfs.clone(), Path::new("data")).unwrap());
    let bench = open();
    bench.ok(&put("k", "v"));
    bench.ok(&delete("k", ""));
    bench.ok(&put("l", "v"));
    bench.ok(&delete("l", ""));
    bench.ok(&compact(5));
    bench.sweep();
    bench.store.persist().unwrap();
    drop(bench);
    let bench = open();
    assert_eq!(bench.store.revision(), 5);
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 0);
    assert_eq!(bench.apply(&compact(5)), Err(Refusal::Compacted { compacted: 5 }));
    bench.ok(&put("k", "again"));
    bench.ok(&compact(6));
    bench.sweep();
    bench.ok(&delete("k", ""));
    bench.store.persist().unwrap();
    drop(bench);
    assert_eq!(open().store.revision(), 7);
}

// Members sweep when they have time, and an operator compares their hashes at any time.
#[test]
fn hashes_agree_whenever_and_however_far_stores_were_swept() {
    let stores = [history(), history(), history()];
    let [never, late, early] = &stores;
    // Compacted in two steps or in one, which the end must not show.
    early.ok(&compact(3));
    early.sweep();
    for bench in &stores {
        bench.ok(&compact(5));
    }
    late.sweep();
    for at in [None, Some(5), Some(6)] {
        let expected = hash(never, at);
        assert_eq!(hash(late, at), expected);
        assert_eq!(hash(early, at), expected);
        assert_eq!(expected.hash_revision, at.unwrap_or(6));
        assert_eq!((expected.revision, expected.compacted), (6, Some(5)));
    }
    early.sweep();
    assert_eq!(hash(early, None), hash(never, None));
}

// A hash that misses a difference finds no corruption.
#[test]
fn a_hash_tells_apart_what_differs() {
    let bench = history();
    let hashes: Vec<_> = (1..=6).map(|at| hash(&bench, Some(at)).hash).collect();
    for (position, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..position].contains(hash), "{hashes:?}");
    }
    let other = history();
    assert_eq!(hash(&other, None), hash(&bench, None));
    other.ok(&put("k", "more"));
    assert_eq!(hash(&other, Some(6)).hash, hash(&bench, Some(6)).hash, "what came later is out");
    assert_ne!(hash(&other, None).hash, hash(&bench, None).hash);
    // The same keys by another way.
    let by_another_way = Bench::new();
    by_another_way.ok(&put("k", "6"));
    assert_ne!(hash(&by_another_way, None).hash, hash(&bench, None).hash);
}

// A hash of what is gone or to come would be compared with nothing.
#[test]
fn a_hash_is_taken_of_readable_revisions_only() {
    let bench = history();
    bench.ok(&compact(4));
    let hash = |at| refusal(bench.store.hash(Some(at)));
    assert_eq!(hash(3), Err(Refusal::Compacted { compacted: 4 }));
    assert_eq!(hash(7), Err(Refusal::FutureRevision { newest: 6 }));
    assert_eq!(hash(u64::MAX), Err(Refusal::FutureRevision { newest: 6 }));
    assert!(hash(4).is_ok());
}
