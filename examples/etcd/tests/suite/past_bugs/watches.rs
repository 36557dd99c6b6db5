//! Watches on one member.

use std::collections::BTreeMap;
use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    DefragmentRequest, DeleteRangeRequest, PutRequest, WatchCreateRequest, WatchProgressRequest,
    request_op::Request,
};
use drystone_etcd_api::mvccpb::event::EventType;
use drystone_kv::EngineKind;
use futures_util::StreamExt as _;

use super::{all_from, revisions, told, txn};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

crate::support::on_every_engine! {
    deletion_at_the_compacted_revision_is_told
    each_event_is_told_once_while_records_move
}

/// How long an answer to a progress request is waited for.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Puts so many times, a few under way at once; the newest revision.
async fn fill(client: &Client, count: usize, value: &[u8]) -> i64 {
    let puts = (0..count).map(|i| {
        let (key, value) = (format!("k{}", i % 20).into(), value.to_vec().into());
        let mut kv = client.kv();
        async move { kv.put(PutRequest { key, value, ..PutRequest::default() }).await }
    });
    let mut puts = futures_util::stream::iter(puts).buffered(64);
    while let Some(put) = puts.next().await {
        put.expect("a put is answered");
    }
    calls::revision(client).await
}

/// etcd's issue 15220: a progress request was answered with the newest revision while watches of
/// the stream still had events to come, so that a client that went on from there missed them. Here
/// a stream has one watch that is up to date and one with thousands of revisions to catch up on,
/// and asks for progress at once and before each message, while writes go on. Were the answer given
/// for the one without the other, it would name a revision whose events have not come.
#[test]
fn progress_is_told_only_when_all_events_up_to_it_were() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        fill(&client, 3_000, b"v").await;
        let (mut watch, created) = Watch::open(&client, all_from(0)).await.expect("it is there");
        watch.ask(RequestUnion::CreateRequest(all_from(2))).await;
        let writer = client.clone();
        let writes = tokio::spawn(async move { fill(&writer, 300, b"w").await });
        let ask = || RequestUnion::ProgressRequest(WatchProgressRequest {});
        // Asked before the server can have read the past.
        for _ in 0..8 {
            watch.ask(ask()).await;
        }
        // By watch, the last revision that it was told of. The first begins from now.
        let mut seen: BTreeMap<i64, i64> = BTreeMap::from([(0, told(&created)), (1, 1)]);
        let mut end = None;
        let mut writes = Some(writes);
        loop {
            if writes.as_ref().is_some_and(tokio::task::JoinHandle::is_finished) {
                let writes = writes.take().expect("it was looked at");
                end = Some(writes.await.expect("a writer does not panic"));
            }
            watch.ask(ask()).await;
            // While events are on their way it may be left unanswered: then it is asked again.
            let answer = tokio::time::timeout(ASK_AGAIN, watch.message()).await;
            let Ok(answer) = answer else { continue };
            let answer = answer.expect("the stream goes on");
            let is_progress = answer.events.is_empty() && !answer.created;
            for revision in revisions(&answer) {
                let last = seen.insert(answer.watch_id, revision).expect("there are two");
                assert_eq!(revision, last + 1, "none is left out");
            }
            if is_progress {
                let behind = seen.values().min().expect("there are two");
                let revision = told(&answer);
                assert!(revision <= *behind, "{revision} is told, {behind} was sent");
                if end == Some(revision) {
                    return;
                }
            }
        }
    });
}

/// etcd's issue 17247: reads that shared a cache of what was not yet written found some records
/// twice, in the cache and in the file, and watches told of them twice. Here transactions write
/// several keys in no order while the engine moves its records, and watches from the first
/// revision on are opened all the while. Were a record found in two places, or told both by the
/// history and as it happened, its event would come twice.
fn each_event_is_told_once_while_records_move(kind: EngineKind) {
    const TXNS: usize = 400;
    const WATCHES_MAX: usize = 24;
    let server = Server::start(&programs::ours(), programs::flags_of(kind));
    in_a_runtime(async {
        let client = client_of(&server).await;
        // Nobody reads the watches meanwhile: each has a connection of its own to fill.
        let writer = client_of(&server).await;
        let writes = tokio::spawn(async move {
            let mut done = Vec::with_capacity(TXNS);
            for i in 0..TXNS {
                let keys = [format!("z{}", i % 7), format!("a{}", i % 5), format!("m{i}")];
                let put = |key: &String| {
                    let (key, value) = (key.clone().into(), vec![b'v'; 200].into());
                    Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
                };
                let answer = writer.kv().txn(txn(keys.iter().map(put))).await;
                let header = answer.expect("a transaction is answered").into_inner().header;
                let revision = header.expect("an answer has a header").revision;
                done.extend(keys.map(|key| (revision, key)));
            }
            done
        });
        let mut watches = Vec::new();
        while !writes.is_finished() {
            client.maintenance().defragment(DefragmentRequest {}).await.expect("it runs");
            if watches.len() < WATCHES_MAX {
                let client = client_of(&server).await;
                watches.push(Watch::open(&client, all_from(2)).await.expect("it is there").0);
            }
        }
        let done = writes.await.expect("a writer does not panic");
        assert!(watches.len() > 2, "watches were opened meanwhile");
        for watch in &mut watches {
            let mut seen = Vec::new();
            while seen.len() < done.len() {
                let answer = watch.message().await.expect("the watch goes on");
                let kvs = answer.events.into_iter().map(|event| event.kv.expect("of a key"));
                seen.extend(
                    kvs.map(|kv| (kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned())),
                );
            }
            assert!(seen == done, "each once, and in order");
        }
    });
}

/// etcd's issue 17529: with hundreds of watches on one stream that was read slowly, some fell so
/// far behind that a compaction overtook them; they were neither told what they had missed nor
/// canceled. Here a stream with many watches is not read until all is compacted. Were a watch
/// carried past the compaction in silence, it would have a gap; were it forgotten, it would never
/// come to the last event.
#[test]
fn watch_that_a_compaction_overtakes_is_canceled_and_skips_nothing() {
    const WATCHES: i64 = 50;
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let newest = fill(&client, 300, &[b'v'; 8_000]).await;
        let slow = |_| WatchCreateRequest { prev_kv: true, ..all_from(2) };
        let (mut watch, _) = Watch::open(&client, slow(0)).await.expect("it is there");
        for number in 1..WATCHES {
            watch.ask(RequestUnion::CreateRequest(slow(number))).await;
        }
        let other = client_of(&server).await;
        calls::compact(&other, newest).await;
        let end = calls::put(&other, "last", "v", 0).await;
        let mut seen: BTreeMap<i64, i64> = (0..WATCHES).map(|watch| (watch, 1)).collect();
        let (mut canceled, mut ended) = (0, 0);
        while canceled + ended < WATCHES {
            let answer = watch.message().await.expect("the stream goes on");
            if answer.canceled {
                assert_eq!(answer.compact_revision, newest, "it is said why");
                seen.remove(&answer.watch_id).expect("it stood until now");
                canceled += 1;
                continue;
            }
            for revision in revisions(&answer) {
                let last = seen.insert(answer.watch_id, revision).expect("it stands");
                assert_eq!(revision, last + 1, "watch {} skips nothing", answer.watch_id);
                ended += i64::from(revision == end);
            }
        }
        assert!(canceled > 0, "the compaction overtook some");
    });
}

/// etcd's issues 18089 and 19179: a compaction at the revision of a deletion removed the deletion
/// too, though that revision can still be read; a watch from there on missed it. Here a key is
/// deleted and put again, and another is deleted last; a compaction goes to each deletion, and a
/// watch begins there, before and after the garbage is gone and the server was started again. Were
/// the deletion removed, the first event would be another.
fn deletion_at_the_compacted_revision_is_told(kind: EngineKind) {
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    let delete = |client: Client, key: &'static str| async move {
        let request = DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() };
        let answer = client.kv().delete_range(request).await.expect("it is answered");
        answer.into_inner().header.expect("an answer has a header").revision
    };
    let (again, last) = in_a_runtime(async {
        let client = client_of(&server).await;
        for value in ["2", "3", "4"] {
            calls::put(&client, "k", value, 0).await;
        }
        let again = delete(client.clone(), "k").await;
        let put = calls::put(&client, "k", "6", 0).await;
        calls::put(&client, "gone", "7", 0).await;
        let last = delete(client.clone(), "gone").await;
        calls::compact(&client, again).await;
        let told = events_from(&client, again, last).await;
        assert_eq!(told[..2], [(again, true), (put, false)], "the deletion, and what came next");
        calls::compact(&client, last).await;
        assert_eq!(events_from(&client, last, last).await, [(last, true)]);
        (again, last)
    });
    server.restart();
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(events_from(&client, last, last).await, [(last, true)], "after a restart");
        let (mut watch, _) = Watch::open(&client, all_from(again)).await.expect("it is there");
        let answer = watch.message().await.expect("it is said");
        assert!(answer.canceled && answer.compact_revision == last, "{answer:?}");
    });
}

/// The events from a revision on up to `end`: the revision of each, and whether it is a deletion.
async fn events_from(client: &Client, start: i64, end: i64) -> Vec<(i64, bool)> {
    let (mut watch, _) = Watch::open(client, all_from(start)).await.expect("it is there");
    let mut seen: Vec<(i64, bool)> = Vec::new();
    while seen.last().is_none_or(|(last, _)| *last < end) {
        let answer = watch.message().await.expect("the watch goes on");
        assert!(!answer.canceled, "that revision can be read: {answer:?}");
        let is_deletion = answer.events.iter().map(|event| event.r#type() == EventType::Delete);
        seen.extend(revisions(&answer).zip(is_deletion));
    }
    seen
}
