//! Many threads at once: whatever a reader gets, it was true at one revision.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use drystone_kv::command::{Command, Put, RangeRequest, Sort, SortBy, SortOrder, Txn, TxnOp};
use drystone_kv::key_range::successor;
use drystone_kv::{EngineKind, Kv, Refusal};
use rand::RngExt as _;

use crate::common::{compact, each_seed, is_slow, refusal};
use crate::requests::Requests;
use crate::running::{Machine, apply, ok, on_every_engine, read, sweep};

on_every_engine! {
    readers_see_one_revision_whatever_writers_and_sweeps_do
}

/// More than a reader takes in one turn of the store's lock.
const KEYS: u64 = 2500;

fn key(n: u64) -> Bytes {
    format!("k/{n:05}").into()
}

/// Puts the same value under every key, in one revision.
fn rewrite(value: &str) -> Command {
    let put = |n| TxnOp::Put(Put::new(key(n), value.to_owned()));
    Command::Txn(Txn { success: (0..KEYS).map(put).collect(), ..Txn::default() })
}

fn all() -> RangeRequest {
    RangeRequest::new(drystone_kv::key_range::KeyRange::prefix("k/"))
}

/// Reads everything at one revision, page by page, in one direction or the other. `None` if a
/// compaction came in between.
fn read_in_pages(kv: &Kv, requests: &mut Requests) -> Option<()> {
    let backwards = requests.percent(50);
    let mut request = all();
    // Everything was there from revision 2 on.
    let back = requests.random.random_range(0..3);
    request.revision = Some(kv.revision().saturating_sub(back).max(2));
    request.limit = requests.random.random_range(200..2000);
    if backwards {
        request.sort = Some(Sort { by: SortBy::Key, order: SortOrder::Descend });
    }
    let mut seen = Vec::new();
    loop {
        let page = match read(kv, &request) {
            Ok(page) => page,
            Err(Refusal::Compacted { .. }) => return None,
            Err(other) => panic!("{other}"),
        };
        let left = KEYS - seen.len() as u64;
        assert_eq!((page.count, page.more), (left, page.kvs.len() as u64 != left));
        let last = page.kvs.last().map(|kv| kv.key.clone());
        seen.extend(page.kvs);
        let Some(last) = last.filter(|_| page.more) else { break };
        if backwards {
            request.range.end = Some(last);
        } else {
            request.range.start = successor(&last);
        }
    }
    if backwards {
        seen.reverse();
    }
    assert_eq!(seen.len() as u64, KEYS);
    for (n, kv) in seen.iter().enumerate() {
        assert_eq!(kv.key, key(n as u64));
        assert_eq!((&kv.value, kv.mod_revision), (&seen[0].value, seen[0].mod_revision));
    }
    Some(())
}

/// Reads everything in one request, which takes several turns of the lock.
fn read_at_once(kv: &Kv) {
    let seen = read(kv, &all()).expect("the present is readable");
    assert_eq!((seen.count, seen.kvs.len() as u64), (KEYS, KEYS));
    assert!(seen.kvs.iter().all(|kv| kv.mod_revision == seen.revision), "of one revision");
    assert!(seen.kvs.iter().all(|kv| kv.value == seen.kvs[0].value));
}

// A pager at an old revision, a full scan, a hash and a count, while everything is rewritten,
// compacted and swept under them: none ever sees two revisions at once, none finds a hole.
fn readers_see_one_revision_whatever_writers_and_sweeps_do(kind: EngineKind) {
    let rounds = if is_slow() { 400 } else { 25 };
    each_seed("readers_see_one_revision_whatever_writers_and_sweeps_do", 2, 20, |seed| {
        let machine = Machine::of(kind, seed);
        let mut options = super::options();
        options.limits.txn_ops_max = KEYS as usize;
        let kv = machine.try_open(options).expect("a fresh folder");
        ok(&kv, rewrite("first"));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in 0..2 {
                let (kv, done) = (&kv, &done);
                scope.spawn(move || {
                    let mut requests = Requests::new(seed << 8 | reader);
                    let mut whole = 0;
                    while !done.load(Ordering::Relaxed) || whole == 0 {
                        whole += u32::from(read_in_pages(kv, &mut requests).is_some());
                        read_at_once(kv);
                        let count = RangeRequest { count_only: true, ..all() };
                        assert_eq!(read(kv, &count).expect("readable").count, KEYS);
                        let hash = refusal(kv.hash(None)).expect("readable");
                        assert_eq!(hash.hash_revision, hash.revision);
                    }
                });
            }
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    kv.sweep_step().expect("memory does not fail");
                    thread::yield_now();
                }
            });
            let mut requests = Requests::new(seed);
            for round in 0..rounds {
                ok(&kv, rewrite(&format!("round {round}")));
                if requests.percent(60) {
                    let revision = kv.revision() - requests.random.random_range(0..2);
                    let _ = apply(&kv, compact(revision));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        sweep(&kv);
        read_at_once(&kv);
        let left = kv.status().engine.records[drystone_kv::engine::Space::Record.index()];
        let revisions = kv.revision() - kv.status().compacted.unwrap_or(2) + 1;
        assert_eq!(left, revisions * KEYS, "the sweep leaves what is readable, and no more");
    });
}
