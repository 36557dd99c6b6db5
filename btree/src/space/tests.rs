//! Which pages are given out when: never one that somebody may still need.

use drystone_wal::Lsn;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::forest::Forest;

fn space(end: u32) -> Space {
    let mirror = Arc::new(Mirror::new(end + 5000, 4096, 0));
    let cache = Arc::new(Cache::new(1 << 20));
    Space::new(Arc::from(Path::new("db")), mirror, cache, Bits::default(), end, u32::MAX)
}

fn root(txn: u64, pages_end: u32) -> Root {
    Root { txn: TxnId(txn), forest: Forest::default(), pages_end, lsn: Lsn::NONE }
}

fn extent(first: u32, pages: u32) -> Extent {
    Extent { first: PageId(first), pages }
}

/// These states are being read.
fn reading(read: Vec<TxnId>) -> States {
    States::new(Vec::new(), read)
}

/// A commit that does this.
fn commit(space: &mut Space, txn: u64, used: &[Extent], freed: &[Extent]) {
    let root = root(txn, space.end());
    space.claim(freed).unwrap();
    space.commit(Change { root, used: used.to_vec(), freed: freed.to_vec() });
    space.check();
}

// Scenario 40: a page freed by transaction 2 may be needed by the disk until 2 is durable, and by
// a reader of 1 until it leaves.
#[test]
fn a_freed_page_waits_for_the_disk_and_for_readers() {
    let mut space = space(2);
    let a = space.allocate(3).unwrap();
    commit(&mut space, 1, &[a], &[]);
    drop(space.take());
    commit(&mut space, 2, &[], &[extent(a.first.0, 1)]);
    assert_eq!((space.free_count(), space.pending_count()), (0, 1));
    space.reclaim(TxnId(1), TxnId(2), usize::MAX, &States::default);
    assert_eq!(space.free_count(), 0, "2 is not durable");
    drop(space.take());
    space.reclaim(TxnId(2), TxnId(2), usize::MAX, &|| reading(vec![TxnId(1)]));
    assert_eq!(space.free_count(), 0, "somebody reads 1");
    space.reclaim(TxnId(2), TxnId(2), usize::MAX, &|| reading(vec![TxnId(2)]));
    assert_eq!(space.free_count(), 0, "somebody was there when the page was retired");
    space.reclaim(TxnId(2), TxnId(3), usize::MAX, &|| reading(vec![TxnId(3)]));
    assert_eq!((space.free_count(), space.pending_count()), (1, 0));
    space.check();
    assert_eq!(space.allocate(1).unwrap(), extent(a.first.0, 1), "and is used again");
}

// What came and went between two flushes was on no disk: it need not wait for one.
#[test]
fn a_page_that_no_flush_has_seen_is_free_at_once() {
    let mut space = space(2);
    let a = space.allocate(1).unwrap();
    commit(&mut space, 1, &[a], &[]);
    let b = space.allocate(1).unwrap();
    commit(&mut space, 2, &[b], &[a]);
    space.reclaim(TxnId(0), TxnId(2), usize::MAX, &States::default);
    assert_eq!(space.free_count(), 1);
    // But not if a flush has taken it, even one that failed: it may be on disk.
    drop(space.take());
    commit(&mut space, 3, &[], &[b]);
    space.reclaim(TxnId(0), TxnId(3), usize::MAX, &States::default);
    assert_eq!(space.free_count(), 1);
    space.reclaim(TxnId(3), TxnId(3), usize::MAX, &States::default);
    assert_eq!(space.free_count(), 2);
}

// What a state that may have to be gone back to reaches stays as it is. Once that is over, the page
// is free at once: nobody reads the newest state, which is kept as well.
#[test]
fn a_freed_page_waits_for_what_is_kept_and_not_for_who_comes_after() {
    let mut space = space(2);
    let a = space.allocate(3).unwrap();
    commit(&mut space, 1, &[a], &[]);
    drop(space.take());
    commit(&mut space, 2, &[], &[extent(a.first.0, 1)]);
    drop(space.take());
    let kept = |txns: &[u64]| States::new(txns.iter().map(|txn| TxnId(*txn)).collect(), vec![]);
    space.reclaim(TxnId(2), TxnId(2), usize::MAX, &|| kept(&[1, 2]));
    assert_eq!((space.free_count(), space.pending_count()), (0, 1));
    space.reclaim(TxnId(2), TxnId(2), usize::MAX, &|| kept(&[2]));
    assert_eq!((space.free_count(), space.pending_count()), (1, 0));
    space.check();
}

// A long reader holds the pages of its own state. Those that came and went after it began would
// make the file grow for as long as it reads.
#[test]
fn a_long_reader_does_not_hold_what_came_after_it() {
    let mut space = space(2);
    let long = || reading(vec![TxnId(1)]);
    let first = space.allocate(1).unwrap();
    commit(&mut space, 1, &[first], &[]);
    let mut last = first;
    for txn in 2..2000 {
        space.reclaim(TxnId(txn - 1), TxnId(txn - 1), usize::MAX, &long);
        let new = space.allocate(1).unwrap();
        // The mirror knows who made a page.
        let ptr = crate::types::PagePtr { id: new.first, crc: 7, txn: txn as u32 };
        space.mirror.write(new, crate::mirror::Stamp::page(ptr), &[0; 4096]);
        commit(&mut space, txn, &[new], &[last]);
        drop(space.take());
        last = new;
    }
    assert!(space.end() < 10, "the file has {} pages", space.end());
}

// Pages of a commit lie side by side where there is room: one call writes them.
#[test]
fn a_run_is_preferred_to_pieces() {
    let mut space = space(2);
    let all = space.allocate(4000).unwrap();
    commit(&mut space, 1, &[all], &[]);
    drop(space.take());
    let single: Vec<Extent> = (0..100).map(|i| extent(100 + 2 * i, 1)).collect();
    commit(&mut space, 2, &[], &[&single[..], &[extent(1000, 20)]].concat());
    space.reclaim(TxnId(2), TxnId(2), usize::MAX, &States::default);
    assert_eq!(space.allocate(15).unwrap(), extent(1000, 15));
    assert_eq!(space.allocate(15).unwrap(), extent(1015, 5), "then the longest piece");
    assert_eq!(space.allocate(15).unwrap().pages, 1);
    assert_eq!(
        space.allocate_run(2).unwrap().first.0,
        space.end() - 2,
        "a value is never in pieces"
    );
    space.check();
}

// Random lives of pages, with readers that come and go: no page is given out while somebody can
// reach it.
#[test]
fn no_page_is_given_out_while_somebody_can_reach_it() {
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut space = space(2);
        // By state: the pages it reaches. The newest is the last.
        let mut states: Vec<Vec<Extent>> = vec![Vec::new()];
        let (mut durable, mut readers) = (0, Vec::<u64>::new());
        for txn in 1..300_u64 {
            // Some of them are kept and not read: that makes no difference to what they reach.
            let reading = || {
                let states = readers.iter().map(|txn| TxnId(*txn));
                let (kept, mut read): (Vec<TxnId>, Vec<TxnId>) =
                    states.partition(|txn| txn.0 % 3 == 0);
                read.sort_unstable();
                read.dedup();
                States::new(kept, read)
            };
            let extents_max = if seed % 2 == 0 { usize::MAX } else { rng.random_range(1..8) };
            space.reclaim(TxnId(durable), TxnId(txn - 1), extents_max, &reading);
            let mut live = states.last().unwrap().clone();
            let mut used = Vec::new();
            for _ in 0..rng.random_range(1..6) {
                let new = space.allocate(rng.random_range(1..9)).unwrap();
                let reach = |state: u64| states[state as usize].iter();
                let kept = readers.iter().copied().chain([durable, txn - 1]).flat_map(reach);
                for old in kept {
                    let apart = new.first.0 + new.pages <= old.first.0
                        || old.first.0 + old.pages <= new.first.0;
                    assert!(apart, "seed {seed}: {new:?} overwrites {old:?}");
                }
                for page in new.first.0..new.first.0 + new.pages {
                    let ptr = crate::types::PagePtr { id: PageId(page), crc: 7, txn: txn as u32 };
                    let stamp = crate::mirror::Stamp::page(ptr);
                    space.mirror.write(extent(page, 1), stamp, &[1; 4096]);
                    live.push(extent(page, 1));
                }
                used.push(new);
            }
            let mut freed = Vec::new();
            for _ in 0..rng.random_range(0..24.min(live.len())) {
                let at = rng.random_range(0..live.len());
                if !used
                    .iter()
                    .any(|u| (u.first.0..u.first.0 + u.pages).contains(&live[at].first.0))
                {
                    freed.push(live.swap_remove(at));
                }
            }
            commit(&mut space, txn, &used, &freed);
            states.push(live);
            if rng.random_bool(0.3) {
                drop(space.take());
                durable = txn;
            }
            if rng.random_bool(0.2) {
                readers.push(if rng.random_bool(0.5) { txn } else { durable });
            }
            if rng.random_bool(0.2) && !readers.is_empty() {
                let at = rng.random_range(0..readers.len());
                readers.swap_remove(at);
            }
        }
    }
}

// A large commit into a shredded file takes the longest runs, each once, and only then grows the
// file; a search of the whole file for each run was a sixth of a random load.
#[test]
fn many_pages_come_in_few_runs() {
    let mut space = space(2);
    let all = space.allocate_many(10_000).unwrap();
    assert_eq!(all, [extent(2, 10_000)], "an empty file grows once");
    // Every other page free, and ten runs of 20.
    let mut freed: Vec<Extent> = (1000..3000).map(|i| extent(2 * i, 1)).collect();
    freed.extend((0..10).map(|i| extent(8000 + 100 * i, 20)));
    space.give_back(&freed);
    space.check();
    let some = space.allocate_many(500).unwrap();
    assert_eq!(some.iter().filter(|run| run.pages == 20).count(), 10);
    assert_eq!(some.len(), 10 + 300);
    assert!(some.is_sorted_by_key(|run| run.first), "in the order of the file");
    space.check();
    let rest = space.allocate_many(2000).unwrap();
    assert_eq!(rest.iter().map(|run| run.pages).sum::<u32>(), 2000);
    assert_eq!(space.end(), 10_002 + 300, "no page is left and none is given twice");
    assert_eq!(space.free_count(), 0);
    space.check();
}

// A forged file uses pages twice, or calls free what a tree uses. Whoever frees them is told,
// before anything has been counted.
#[test]
fn a_page_that_is_not_in_use_cannot_be_freed() {
    let mut space = space(FIRST_PAGE + 100);
    let a = space.allocate(10).unwrap();
    let map = space.allocate_for_map(2).unwrap();
    commit(&mut space, 1, &[a], &[]);
    let (front, last) = (extent(a.first.0, 4), extent(a.first.0 + 9, 1));
    commit(&mut space, 2, &[], &[front]);
    let outside = [extent(1, 1), extent(u32::MAX, 1), extent(space.end(), 1)];
    for wrong in outside.into_iter().chain([front, extent(a.first.0 + 3, 2), map, last]) {
        // The last of these is right, but for being there twice.
        assert_eq!(space.claim(&[last, wrong]), Err(wrong.first), "{wrong:?}");
        space.check();
    }
    commit(&mut space, 3, &[], &[last]);
    space.replace(TxnId(3), map);
    space.check();
}
