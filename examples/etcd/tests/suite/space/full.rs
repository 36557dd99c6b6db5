//! A server whose disk fills up: by itself, and by a neighbour.
//!
//! ```text
//!   puts ──► refused: the disk is full     deletes, compaction ──► room ──► puts again
//!                 │                                                           │
//!                 └──────────── SIGKILL, a new start on the full disk ────────┘
//! ```

use std::collections::BTreeMap;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::DeleteRangeRequest;
use drystone_kv::EngineKind;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::Code;

use super::volume::{Volume, on_each};
use super::{alarms, key, noise, try_put, until};
use crate::support::calls::{client_of, compact, delete_everything, get, revision, runtime};
use crate::support::programs::{flags_of, is_ours, ours};
use crate::support::server::Server;

/// The file system's size, and room for ext4's own notes.
const VOLUME_BYTES: u64 = 64 << 20;
pub(super) const VALUE_BYTES: usize = 64 << 10;
/// Who puts at once.
const WRITERS: u64 = 8;
/// One of so many keys stays: in memory's case what stays is written anew, from the reserve.
const KEPT_PART: u64 = 64;
/// A server without a reserve would die long before.
const PUTS_MAX: u64 = VOLUME_BYTES / VALUE_BYTES as u64;

/// A small disk for the journal, which is shortened to a few MiB there; and more than it holds.
const JOURNAL_VOLUME_BYTES: u64 = 32 << 20;
const JOURNAL_PUTS: u64 = JOURNAL_VOLUME_BYTES / VALUE_BYTES as u64 + 100;

/// What the server has acknowledged: keys that are there.
pub(super) type Acknowledged = BTreeMap<String, u64>;

fn start(kind: EngineKind, volume: &Volume) -> Server {
    let data = format!("--data-dir={}", volume.place("data").display());
    // With the quota switched off: what is refused is the disk's doing.
    let flags = [flags_of(kind), &["--quota-backend-bytes=-1", &data]].concat();
    Server::start(&ours(), &flags)
}

/// Puts until something is refused, or `count` are done, starting at `from`; whether it was
/// refused. What is refused must be so in etcd's words.
pub(super) async fn fill(client: &Client, from: u64, count: u64, all: &mut Acknowledged) -> bool {
    let mut refused = false;
    for base in (from..from + count).step_by(WRITERS as usize) {
        let mut puts = JoinSet::new();
        for number in base..base + WRITERS {
            let client = client.clone();
            puts.spawn(async move { (number, try_put(&client, number, VALUE_BYTES).await) });
        }
        for (number, put) in puts.join_all().await {
            match put {
                Ok(()) => drop(all.insert(key(number), number)),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                    assert_eq!(status.message(), "etcdserver: mvcc: database space exceeded");
                    refused = true;
                }
            }
        }
        if refused {
            break;
        }
    }
    refused
}

pub(super) async fn delete(client: &Client, key: &str) {
    let request = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    let deleted = client.kv().delete_range(request).await.expect("a delete needs no space");
    assert_eq!(deleted.into_inner().deleted, 1, "it was there");
}

pub(super) async fn assert_holds(client: &Client, all: &Acknowledged) {
    for (key, number) in all {
        let found = get(client, key).await.kvs;
        let whole = found.len() == 1 && found[0].value == noise(*number, VALUE_BYTES);
        assert!(whole, "{key} was acknowledged");
    }
}

/// Deletes most keys, compacts, and waits until puts are taken again, as many as this part of those
/// that were deleted, and until no alarm stands.
fn recover(
    runtime: &Runtime,
    client: &Client,
    volume: &Volume,
    all: &mut Acknowledged,
    part_again: usize,
) {
    let old: Vec<String> = all.keys().skip(1).cloned().collect();
    let old: Vec<String> =
        old.into_iter().filter(|key| !all[key].is_multiple_of(KEPT_PART)).collect();
    runtime.block_on(async {
        for key in &old {
            delete(client, key).await;
            all.remove(key);
        }
        compact(client, revision(client).await).await;
    });
    let first = 1_000_000 + all.len() as u64 * KEPT_PART;
    let mut put_again = |number| {
        let took = until("puts are taken again", || {
            runtime.block_on(try_put(client, number, VALUE_BYTES)).is_ok()
        });
        all.insert(key(number), number);
        took
    };
    let took = put_again(first);
    // The room may have to be given back bit by bit, whenever there is too little again.
    for number in (first + 1..).take(old.len() / part_again) {
        put_again(number);
    }
    until("the alarm goes", || runtime.block_on(alarms(client)).is_empty());
    println!("{}: goes on {took:?} after the compaction", volume.kind);
}

fn fills_up_and_goes_on(test: &str, kind: EngineKind) {
    if !is_ours() {
        return;
    }
    on_each(test, VOLUME_BYTES, VOLUME_BYTES + (16 << 20), |volume| {
        let mut server = start(kind, volume);
        let runtime = runtime();
        let mut all = Acknowledged::new();
        let client = runtime.block_on(client_of(&server));

        // By itself.
        let refused = runtime.block_on(fill(&client, 0, PUTS_MAX, &mut all));
        assert!(refused && all.len() > 100, "{} puts, refused: {refused}", all.len());
        until("the alarm is raised", || runtime.block_on(alarms(&client)).len() == 1);
        // An engine that writes all anew at each save may take its time over so many.
        let is_slow = kind == EngineKind::Memory;
        recover(&runtime, &client, volume, &mut all, if is_slow { usize::MAX } else { 2 });

        // By a neighbour, who takes everything; then the server dies, and starts in need.
        runtime.block_on(fill(&client, 10_000, 200, &mut all));
        volume.fill(0);
        until("puts are refused", || runtime.block_on(fill(&client, 20_000, WRITERS, &mut all)));
        server.crash();
        let client = runtime.block_on(client_of(&server));
        until("it is still in need", || runtime.block_on(fill(&client, 30_000, WRITERS, &mut all)));
        // The neighbour has most of the room.
        recover(&runtime, &client, volume, &mut all, usize::MAX);
        volume.drain();

        server.crash();
        let client = runtime.block_on(client_of(&server));
        runtime.block_on(assert_holds(&client, &all));
        let put = || runtime.block_on(try_put(&client, 40_000, VALUE_BYTES)).is_ok();
        if is_slow {
            until("the first save is made", put);
        } else {
            assert!(put(), "there is room");
        }
        runtime.block_on(delete_everything(&client));
    });
}

// A journal on a disk of its own: a neighbour there must not end the member, whose own disk has
// room.
#[test]
fn journals_disk_fills_up_and_the_member_goes_on() {
    if !is_ours() {
        return;
    }
    let test = "space::full::journals_disk_fills_up_and_the_member_goes_on";
    on_each(test, JOURNAL_VOLUME_BYTES, JOURNAL_VOLUME_BYTES + (16 << 20), |volume| {
        let wal = format!("--wal-dir={}", volume.place("wal").display());
        let mut server = Server::start(&ours(), &["--quota-backend-bytes=-1", &wal]);
        let runtime = runtime();
        let mut all = Acknowledged::new();
        let client = runtime.block_on(client_of(&server));
        // The journal is shortened as it grows: more than its disk holds goes through it.
        assert!(!runtime.block_on(fill(&client, 0, JOURNAL_PUTS, &mut all)), "there is room");
        assert!(volume.place("wal/reserve").exists(), "room is kept back there");
        volume.fill(0);
        until("puts are refused", || runtime.block_on(fill(&client, 10_000, WRITERS, &mut all)));
        until("the alarm is raised", || runtime.block_on(alarms(&client)).len() == 1);
        let gone = key(0);
        runtime.block_on(delete(&client, &gone));
        all.remove(&gone);
        server.crash();
        let client = runtime.block_on(client_of(&server));
        until("it is still in need", || runtime.block_on(fill(&client, 20_000, WRITERS, &mut all)));
        volume.drain();
        until("puts are taken again", || {
            !runtime.block_on(fill(&client, 30_000, WRITERS, &mut all))
        });
        until("the alarm goes", || runtime.block_on(alarms(&client)).is_empty());
        server.crash();
        let client = runtime.block_on(client_of(&server));
        runtime.block_on(assert_holds(&client, &all));
        assert!(runtime.block_on(get(&client, &gone)).kvs.is_empty(), "it was deleted");
    });
}

// The default engine: what is merged lies beside what it is made of, and the disk has no room.
#[test]
fn lsm_fills_its_disk_and_goes_on() {
    fills_up_and_goes_on("space::full::lsm_fills_its_disk_and_goes_on", EngineKind::Lsm);
}

// All of it anew at each save, beside what the last one wrote.
#[test]
fn memory_fills_its_disk_and_goes_on() {
    fills_up_and_goes_on("space::full::memory_fills_its_disk_and_goes_on", EngineKind::Memory);
}

// One file that shrinks from its end.
#[test]
fn btree_fills_its_disk_and_goes_on() {
    fills_up_and_goes_on("space::full::btree_fills_its_disk_and_goes_on", EngineKind::Btree);
}
