//! Space comes back beside those who use the server: by itself, and sooner when asked to.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::DeleteRangeRequest;
use drystone_kv::EngineKind;
use tokio::task::JoinSet;
use tonic::Code;

use super::{key, try_put, until};
use crate::support::calls::{client_of, compact, get, put, revision, runtime, save};
use crate::support::programs::{flags_of, is_ours, ours};
use crate::support::server::Server;
use crate::support::tree;

const VALUE_BYTES: usize = 512 << 10;
/// 144 MiB.
const VALUES: u64 = 288;
/// An engine leaves this much alone, which will be used again; and what it notes takes some.
const SLACK_BYTES: u64 = 80 << 20;
/// Of which the first are deleted first.
const FIRST: u64 = 64;
const WRITERS: u64 = 8;
/// Values that are deleted between two Defragments beside a scrub, and how often.
const ROUND: u64 = 24;
const ROUNDS: u64 = 5;
/// Nobody waits longer beside a Defragment, whatever the machine is doing besides.
const PAUSE_MAX: Duration = Duration::from_secs(2);

async fn fill(client: &Client, count: u64) {
    for base in (0..count).step_by(WRITERS as usize) {
        let mut puts = JoinSet::new();
        for number in base..base + WRITERS {
            let client = client.clone();
            // A disk that many use may keep a put waiting for longer than it may take.
            puts.spawn(async move {
                while let Err(status) = try_put(&client, number, VALUE_BYTES).await {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                }
            });
        }
        puts.join_all().await;
    }
}

/// Deletes keys with numbers from here to there, and their history.
async fn delete(client: &Client, from: u64, to: u64) {
    let (first, end) = (key(from).into(), key(to).into());
    let request = DeleteRangeRequest { key: first, range_end: end, ..Default::default() };
    client.kv().delete_range(request).await.expect("a delete needs no space");
    compact(client, revision(client).await).await;
}

/// What a folder takes on the disk.
fn disk_bytes(folder: &Path) -> u64 {
    let files = tree::files(folder);
    // One may go while we look.
    let taken = files.iter().filter_map(|file| file.metadata().ok());
    taken.map(|found| found.blocks() * 512).sum()
}

/// Puts and gets one after another until it is `over`; the longest that one took.
async fn longest(server_url: &str, over: &AtomicBool) -> (usize, Duration) {
    let client = drystone_etcd_api::client::connect(server_url, &Default::default()).await;
    let client = client.expect("a server that answers accepts connections");
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        put(&client, "bystander", rounds.to_string(), 0).await;
        get(&client, "bystander").await;
        longest = longest.max(start.elapsed());
        rounds += 1;
    }
    (rounds, longest)
}

fn space_comes_back(kind: EngineKind) {
    if !is_ours() {
        return;
    }
    let memory = "--storage-memory-bytes=33554432";
    let server = Server::start(&ours(), &[flags_of(kind), &[memory]].concat());
    let (runtime, engine) = (runtime(), server.data_dir().join("replica/engine-a"));
    let client = runtime.block_on(client_of(&server));
    runtime.block_on(async {
        fill(&client, VALUES).await;
        save(&client).await;
    });
    let filled = disk_bytes(&engine);
    assert!(filled > VALUES * VALUE_BYTES as u64, "it is where we look: {filled}");

    // A Defragment, and somebody who does not care.
    runtime.block_on(delete(&client, 0, FIRST));
    let over = Arc::new(AtomicBool::new(false));
    let (url, ends) = (server.client_url(), over.clone());
    let bystander = std::thread::spawn(move || self::runtime().block_on(longest(&url, &ends)));
    let start = Instant::now();
    runtime.block_on(save(&client));
    let took = start.elapsed();
    over.store(true, Ordering::Relaxed);
    let (rounds, pause) = bystander.join().expect("the bystander is served");
    let after = disk_bytes(&engine);
    println!("{kind}: Defragment took {took:?}; {rounds} rounds beside it, the longest {pause:?}");
    assert!(pause < PAUSE_MAX, "somebody waited for {pause:?}");
    assert!(after < filled, "{filled} bytes became {after}");

    // And nobody asks for anything.
    runtime.block_on(delete(&client, FIRST, VALUES - 1));
    let took = until("files shrink", || disk_bytes(&engine) < SLACK_BYTES);
    println!("{kind}: files shrank from {after} bytes within {took:?}");
    assert_eq!(runtime.block_on(get(&client, &key(VALUES - 1))).kvs.len(), 1);
}

/// The disk is verified by someone who reads slowly, and the file as it was when he began. Whoever
/// asks for space meanwhile must not be told that all is done, and have none.
#[test]
fn defragment_goes_before_the_scrub() {
    if !is_ours() {
        return;
    }
    let _alone = crate::support::alone();
    // One pass after the other: one is always under way.
    let flags = [flags_of(EngineKind::Btree), &["--scrub-pause=10ms"]].concat();
    let server = Server::start(&ours(), &flags);
    let (runtime, engine) = (runtime(), server.data_dir().join("replica/engine-a"));
    let client = runtime.block_on(client_of(&server));
    runtime.block_on(async {
        fill(&client, ROUNDS * ROUND).await;
        save(&client).await;
    });
    for round in 0..ROUNDS {
        let before = disk_bytes(&engine);
        runtime.block_on(async {
            delete(&client, round * ROUND, (round + 1) * ROUND).await;
            save(&client).await;
        });
        let after = disk_bytes(&engine);
        println!("round {round}: {before} bytes became {after}");
        // A file keeps a part of what is in use as room for what comes.
        let deleted = ROUND * VALUE_BYTES as u64;
        assert!(after + deleted / 8 < before, "{before} bytes became {after}");
    }
}

// Tables are merged beside readers and writers.
#[test]
fn lsm_gives_space_back_online() {
    let _alone = crate::support::alone();
    space_comes_back(EngineKind::Lsm);
}

// Pages move towards the front of the file, which is cut.
#[test]
fn btree_gives_space_back_online() {
    let _alone = crate::support::alone();
    space_comes_back(EngineKind::Btree);
}
