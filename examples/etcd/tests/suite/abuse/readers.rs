//! Ranges of everything: answers that are larger than what the server may take for them.
//!
//! | what | memory it may take |
//! |---|---|
//! | 4 clients that each read all of 64 MiB at once, again and again, | together 48 MiB: |
//! | beside 16 that ask for all of it and take nothing | 1 MiB each, and slack |
//!
//! Backups that nobody takes cost the disk that they take, and keep none of these waiting.
//!
//! A reader costs the turn that is on its way, its window, and a connection.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::range_request::SortOrder;
use drystone_etcd_api::etcdserverpb::{RangeRequest, RangeResponse};
use drystone_kv::EngineKind;
use prost::Message as _;

use super::bystander::{Bystander, held, until};
use super::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, call_of, frame, message, opening};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const KEYS: usize = 1_024;
const VALUE_BYTES: usize = 64 << 10;
const MEMORY_MIB_MAX: u64 = 48;
/// More than are read where a connection is served.
const LONG_READ_KEYS: usize = 257;

fn key(number: usize) -> String {
    format!("k/{number:04}")
}

/// The value of a key in a round of writing: no two are alike.
fn value(number: usize, round: u8) -> Vec<u8> {
    let mut value = vec![round; VALUE_BYTES - number % 7];
    value[..8].copy_from_slice(&(number as u64).to_be_bytes());
    value
}

async fn fill(client: &Client, round: u8) -> i64 {
    let mut revision = 0;
    for number in 0..KEYS {
        revision = calls::put(client, &key(number), value(number, round), 0).await;
    }
    revision
}

fn all() -> RangeRequest {
    RangeRequest { key: "k/".into(), range_end: "k0".into(), ..RangeRequest::default() }
}

async fn read(client: &Client, request: RangeRequest) -> RangeResponse {
    client.kv().range(request).await.expect("a range is answered").into_inner()
}

/// Whether an answer has just these keys, as they were written in a round.
fn has(answer: &RangeResponse, numbers: impl ExactSizeIterator<Item = usize>, round: u8) {
    assert_eq!(answer.kvs.len(), numbers.len());
    for (kv, number) in answer.kvs.iter().zip(numbers) {
        assert_eq!(kv.key, key(number));
        assert!(kv.value == value(number, round), "{}: another value", key(number));
    }
}

/// However an answer is sent, it is the same answer.
#[test]
fn answers_that_are_sent_in_turns_are_whole() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let first = fill(&client, 1).await;
        let second = fill(&client, 2).await;

        let answer = read(&client, all()).await;
        has(&answer, 0..KEYS, 2);
        assert_eq!((answer.count, answer.more), (KEYS as i64, false));
        let header = answer.header.expect("an answer has one");
        assert_eq!(header.revision, second);
        assert_ne!((header.cluster_id, header.member_id, header.raft_term), (0, 0, 0));
        let whole = answer.kvs[17].clone();
        assert_eq!((whole.version, whole.create_revision), (2, first - KEYS as i64 + 18));

        let old = read(&client, RangeRequest { revision: first, ..all() }).await;
        has(&old, 0..KEYS, 1);
        assert_eq!(old.header.expect("an answer has one").revision, second);

        let limit = KEYS as i64 - 100;
        let some = read(&client, RangeRequest { limit, serializable: true, ..all() }).await;
        has(&some, 0..KEYS - 100, 2);
        assert_eq!((some.count, some.more), (KEYS as i64, true));

        let sort_order = SortOrder::Descend.into();
        let mut last = read(&client, RangeRequest { limit, sort_order, ..all() }).await;
        last.kvs.reverse();
        has(&last, 100..KEYS, 2);
        assert!(last.more);

        let keys = read(&client, RangeRequest { keys_only: true, ..all() }).await;
        assert!(keys.kvs.iter().all(|kv| kv.value.is_empty()));
        assert_eq!(keys.kvs.len(), KEYS);
    });
}

/// A compaction between two turns takes nothing from an answer that was begun.
#[test]
fn compactions_do_not_reach_into_an_answer() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        fill(&client, 1).await;
        let reads = (0..4).map(|_| async { client_of(&server).await });
        let mut readers = Vec::new();
        for reader in reads {
            let reader = reader.await;
            readers.push(tokio::spawn(async move { read(&reader, all()).await }));
        }
        for round in 2..4 {
            let revision = fill(&client, round).await;
            calls::compact(&client, revision).await;
        }
        for reader in readers {
            let answer = reader.await.expect("a reader does not panic");
            let revision = answer.header.expect("an answer has one").revision;
            assert_eq!(answer.kvs.len(), KEYS);
            assert!(answer.kvs.iter().all(|kv| kv.mod_revision <= revision));
            // All of one moment: what was written last before it, and nothing that came later.
            let newest = answer.kvs.iter().map(|kv| kv.mod_revision).max();
            assert_eq!(newest, Some(revision));
        }
    });
}

/// Whoever reads everything costs the server little, and so does whoever asks and takes nothing:
/// others are served, large answers among them.
#[test]
fn readers_of_everything_cost_little() {
    // What an engine keeps of what it has read is no cost of the readers'.
    for (engine, cache_mib) in [(EngineKind::Memory, 0), (EngineKind::Lsm, 64)] {
        readers_cost_little(engine, cache_mib + MEMORY_MIB_MAX);
    }
}

fn readers_cost_little(engine: EngineKind, memory_mib_max: u64) {
    let _alone = crate::support::alone();
    let mut server = Server::start(&programs::ours(), programs::flags_of(engine));
    in_a_runtime(async {
        let client = client_of(&server).await;
        fill(&client, 1).await;
        calls::save(&client).await;
    });
    let before = held(&server).memory_mib;
    let mut most = before;
    let bystander = Bystander::watch_over(&server);

    let mut call = frame(HEADERS, END_HEADERS, 1, &call_of("/etcdserverpb.KV/Range"));
    call.extend(frame(DATA, END_STREAM, 1, &message(&all().encode_to_vec())));
    let stuck: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(server.client_address()).expect("it listens");
            stream.write_all(&[opening(), call.clone()].concat()).expect("it takes a request");
            stream
        })
        .collect();

    in_a_runtime(async {
        let mut readers = Vec::new();
        for _ in 0..4 {
            let reader = client_of(&server).await;
            readers.push(tokio::spawn(async move {
                for _ in 0..3 {
                    has(&read(&reader, all()).await, 0..KEYS, 1);
                }
            }));
        }
        while !readers.iter().all(tokio::task::JoinHandle::is_finished) {
            most = most.max(held(&server).memory_mib);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for reader in readers {
            reader.await.expect("a reader is answered");
        }
    });
    let added = most.saturating_sub(before);
    println!("{engine}: {added} MiB for 4 readers of {} MiB, and 16 that take nothing", KEYS >> 4);
    assert!(added <= memory_mib_max, "{added} MiB, and it was to be {memory_mib_max} at most");
    drop(stuck);
    until("all is given back", || {
        held(&server).memory_mib <= before + memory_mib_max - MEMORY_MIB_MAX / 2
    });
    bystander.was_served_promptly();
    assert!(server.is_running());
}

/// A backup over a line that has died, and then another: whoever reads keys must not wait for them.
#[test]
fn backups_that_nobody_takes_keep_no_reader_waiting() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    // More than there are threads for long reads, whichever core one comes to.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut call = frame(HEADERS, END_HEADERS, 1, &call_of("/etcdserverpb.Maintenance/Snapshot"));
    call.extend(frame(DATA, END_STREAM, 1, &message(&[])));
    in_a_runtime(async {
        let client = client_of(&server).await;
        for number in 0..LONG_READ_KEYS {
            calls::put(&client, &key(number), vec![1; 16 << 10], 0).await;
        }
        let _stuck: Vec<_> = (0..4 * cores + 4)
            .map(|_| {
                let mut stream = TcpStream::connect(server.client_address()).expect("it listens");
                stream.write_all(&[opening(), call.clone()].concat()).expect("it takes a request");
                stream
            })
            .collect();
        let begun = || server.whole_log().matches("sending database snapshot").count();
        until("backups are under way", || begun() >= 4 * cores);
        // A second connection, which another core may have.
        for reader in [client, client_of(&server).await] {
            let read = tokio::time::timeout(Duration::from_secs(30), read(&reader, all())).await;
            assert_eq!(read.expect("it waits for nobody").kvs.len(), LONG_READ_KEYS);
        }
    });
}
