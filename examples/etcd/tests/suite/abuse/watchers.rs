//! Watches: very many that are idle, and some that nobody reads.
//!
//! | what | memory it may take |
//! |---|---|
//! | 10,000 watchers on 10 streams | 24 MiB: 2 KiB each, and slack |
//! | 10,000 streams with a watcher each | 176 MiB: 16 KiB each, and slack |
//! | 200 MiB of events, 12 watchers that read nothing | the history once, 3 MiB each, and slack |
//!
//! The last line is what matters: the store keeps its history anyway (until it is compacted), and a
//! watcher that does not read costs its window and one message beyond that, not its arrears.

use std::time::Duration;

use bytes::Bytes;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchResponse};
use drystone_kv::EngineKind;
use tokio::task::JoinSet;

use super::bystander::{Bystander, held, until};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

const WATCHERS: usize = 10_000;
const CONNECTIONS: usize = 10;
const ON_FEW_STREAMS_MIB_MAX: u64 = 24;
const ON_MANY_STREAMS_MIB_MAX: u64 = 176;
/// How long to wait for a message that must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn on(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..WatchCreateRequest::default() }
}

async fn connections(server: &Server) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(client_of(server).await);
    }
    clients
}

async fn next(watch: &mut Watch) -> WatchResponse {
    let message = tokio::time::timeout(PATIENCE, watch.message()).await;
    message.expect("a message comes in time").expect("the watch goes on")
}

/// A controller watches thousands of keys on one stream, and hears of few.
#[test]
fn ten_thousand_watchers_on_few_streams_are_cheap() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server).memory_mib;
    in_a_runtime(async {
        let clients = connections(&server).await;
        let mut streams = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            streams.spawn(async move {
                let (mut watch, _) = Watch::open(&client, on("shared")).await.expect("it opens");
                for i in 1..WATCHERS / CONNECTIONS {
                    // Half of them watch what everyone watches.
                    let key = if i % 2 == 0 { "shared".into() } else { format!("{number}/{i}") };
                    watch.ask(RequestUnion::CreateRequest(on(&key))).await;
                    let created = next(&mut watch).await;
                    assert!(created.created && !created.canceled, "{created:?}");
                }
                watch
            });
        }
        let mut watches = streams.join_all().await;
        let grown = held(&server).memory_mib.saturating_sub(before);
        println!("{WATCHERS} watchers on {CONNECTIONS} streams: {grown} MiB");
        assert!(grown <= ON_FEW_STREAMS_MIB_MAX, "{grown} MiB");
        let client = client_of(&server).await;
        let revision = calls::put(&client, "shared", "v", 0).await;
        for watch in &mut watches {
            let mut told = std::collections::BTreeSet::new();
            for _ in 0..WATCHERS / CONNECTIONS / 2 {
                let message = next(watch).await;
                assert_eq!(message.events.len(), 1);
                assert_eq!(message.header.map(|header| header.revision), Some(revision));
                assert!(told.insert(message.watch_id), "told twice: {}", message.watch_id);
            }
        }
    });
    bystander.was_served_promptly();
}

/// Every client library opens streams as it likes; some open one for each watch.
#[test]
fn ten_thousand_streams_with_a_watcher_each_are_bounded() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server).memory_mib;
    in_a_runtime(async {
        let clients = connections(&server).await;
        let mut streams = JoinSet::new();
        for client in clients {
            streams.spawn(async move {
                let mut watches = Vec::new();
                for _ in 0..WATCHERS / CONNECTIONS {
                    watches.push(Watch::open(&client, on("shared")).await.expect("it opens").0);
                }
                watches
            });
        }
        let mut watches: Vec<Watch> = streams.join_all().await.into_iter().flatten().collect();
        let grown = held(&server).memory_mib.saturating_sub(before);
        println!("{WATCHERS} streams on {CONNECTIONS} connections: {grown} MiB");
        assert!(grown <= ON_MANY_STREAMS_MIB_MAX, "{grown} MiB");
        let client = client_of(&server).await;
        let revision = calls::put(&client, "shared", "v", 0).await;
        for watch in &mut watches {
            let message = next(watch).await;
            assert_eq!(message.header.map(|header| header.revision), Some(revision));
        }
    });
    bystander.was_served_promptly();
}

const FLOOD_KEYS: usize = 10;
const FLOOD_VALUE_BYTES: usize = 100 << 10;
const FLOOD_PUTS: usize = 2048;
const FLOOD_MIB: u64 = (FLOOD_VALUE_BYTES * FLOOD_PUTS) as u64 >> 20;
const _: () = assert!(FLOOD_MIB == 200);
const DEAF: usize = 12;
/// README.md: 1 MiB waits in the store, a message of 1 MiB is on its way, and a revision with each.
const DEAF_MIB_MAX: u64 = 3;
const SLACK_MIB: u64 = 40;

/// Puts 200 MiB of events, over the keys `flood/0` and so on, each with its number in front.
/// Compacts as it goes, if asked to; returns the first and the last revision.
async fn flood(client: &Client, compacting: bool) -> (i64, i64) {
    let mut revisions = (0, 0);
    for number in 0..FLOOD_PUTS {
        let request = PutRequest {
            key: format!("flood/{}", number % FLOOD_KEYS).into(),
            value: value(number),
            ..PutRequest::default()
        };
        let answer = client.kv().put(request).await.expect("a put is answered");
        revisions.1 = answer.into_inner().header.expect("an answer has a header").revision;
        if number == 0 {
            revisions.0 = revisions.1;
        }
        if compacting && number % 64 == 63 {
            calls::compact(client, revisions.1).await;
        }
    }
    revisions
}

fn value(number: usize) -> Bytes {
    let mut value = format!("{number}.").into_bytes();
    value.resize(FLOOD_VALUE_BYTES, b'x');
    value.into()
}

/// Connections that read nothing but the answer to their watch; each asks in another way.
async fn deaf(server: &Server) -> Vec<Watch> {
    let mut watches = Vec::new();
    for number in 0..DEAF {
        let config = Config {
            stream_window_bytes: 65_535,
            connection_window_bytes: 65_535,
            ..Config::default()
        };
        let client = connect(&server.client_url(), &config).await;
        let client = client.expect("a server that answers accepts connections");
        let request = WatchCreateRequest {
            range_end: "flood0".into(),
            prev_kv: number % 3 == 1,
            fragment: number % 2 == 1,
            progress_notify: number % 4 == 2,
            start_revision: if number % 4 == 3 { 2 } else { 0 },
            ..on("flood/")
        };
        watches.push(Watch::open(&client, request).await.expect("the watch is there").0);
    }
    watches
}

/// Reads a watch from its beginning: every event once and in order, to the last one, or until it is
/// told that the rest is gone. Returns how many events came.
async fn read_all(mut watch: Watch, last: i64) -> (usize, Option<i64>) {
    let mut count = 0;
    loop {
        let message = next(&mut watch).await;
        if message.canceled {
            assert!(message.compact_revision > 0, "canceled without a reason: {message:?}");
            return (count, Some(message.compact_revision));
        }
        for event in message.events {
            let kv = event.kv.expect("an event has a key");
            assert_eq!(kv.value, value(count), "the next one, and only once");
            count += 1;
            if kv.mod_revision == last {
                return (count, None);
            }
        }
    }
}

/// A client hangs, or its network does. Nobody may pay for it with the server's memory or with
/// waiting, and once it reads again it must not have missed anything.
#[test]
fn watchers_that_do_not_read_cost_little_and_miss_nothing() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    let before = held(&server).memory_mib;
    in_a_runtime(async {
        let watches = deaf(&server).await;
        let client = client_of(&server).await;
        let bystander = Bystander::watch_over(&server);
        let (_, last) = flood(&client, false).await;
        bystander.was_served_promptly();
        let grown = held(&server).memory_mib.saturating_sub(before);
        let bound = FLOOD_MIB + DEAF as u64 * DEAF_MIB_MAX + SLACK_MIB;
        println!("{DEAF} deaf watchers, {FLOOD_MIB} MiB of events: {grown} MiB, at most {bound}");
        assert!(grown <= bound, "{grown} MiB");
        let mut readers = JoinSet::new();
        for watch in watches {
            readers.spawn(read_all(watch, last));
        }
        for outcome in readers.join_all().await {
            assert_eq!(outcome, (FLOOD_PUTS, None), "all events, and no cancel");
        }
        let grown = held(&server).memory_mib.saturating_sub(before);
        println!("after all have read: {grown} MiB");
        assert!(grown <= bound, "{grown} MiB");
    });
}

/// With the history compacted away under them, such watchers hold nothing of it: they are told so.
#[test]
fn watchers_that_do_not_read_keep_no_history_alive() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), programs::flags_of(EngineKind::Memory));
    let before = held(&server).memory_mib;
    in_a_runtime(async {
        let watches = deaf(&server).await;
        let client = client_of(&server).await;
        let (first, last) = flood(&client, true).await;
        let grown = held(&server).memory_mib.saturating_sub(before);
        // Compaction keeps 64 events and what stands; a deaf watcher what it held before.
        let bound = DEAF as u64 * DEAF_MIB_MAX + SLACK_MIB;
        println!("{DEAF} deaf watchers over a compacted history: {grown} MiB, at most {bound}");
        assert!(grown <= bound, "{grown} MiB");
        for watch in watches {
            let (count, compacted) = read_all(watch, last).await;
            let compacted = compacted.expect("the middle is gone");
            assert!(count < FLOOD_PUTS && compacted <= last, "{count} events, then {compacted}");
            assert!(first + i64::try_from(count).expect("few") < compacted, "nothing was skipped");
        }
    });
    until("watchers stay behind", || held(&server).files < 40);
}
