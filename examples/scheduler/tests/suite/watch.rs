//! Watches: no gap, no repeat, no revision in halves.

use std::collections::BTreeMap;

use mason::store::{Change, Feed, StoreError, WatchEvent};
use mason_core::txn::Txn;
use mason_core::types::Revision;

use crate::support::process::Processes;
use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, compact, connect, connect_with, put, put_surely, puts};

on_both! {
    changes_come_in_order_and_whole
    a_watch_survives_the_death_of_the_server
    a_compacted_past_is_told
    a_follower_that_was_cut_off_through_a_compaction_is_reset
    large_revisions_come_whole
    a_slow_reader_loses_nothing
}

/// A mirror by what it is told.
#[derive(Default)]
struct Mirror {
    revision: Revision,
    values: BTreeMap<String, Vec<u8>>,
    resets: usize,
}

impl Mirror {
    fn take(&mut self, feed: Feed) {
        match feed {
            Feed::Reset(revision, all) => {
                assert!(revision >= self.revision, "back to the past");
                self.values = all.into_iter().map(|kv| (kv.key, kv.value.to_vec())).collect();
                (self.revision, self.resets) = (revision, self.resets + 1);
            }
            Feed::Batch(revision, changes) => {
                assert!(changes.is_sorted_by_key(Change::at));
                assert!(changes.iter().all(|change| change.at() > self.revision), "a repeat");
                assert!(changes.iter().all(|change| change.at() <= revision), "half a revision");
                for change in changes {
                    match change {
                        Change::Put(kv) => drop(self.values.insert(kv.key, kv.value.to_vec())),
                        Change::Delete { key, .. } => {
                            assert!(self.values.remove(&key).is_some(), "{key} was not there");
                        }
                    }
                }
                self.revision = revision;
            }
        }
    }
}

/// The order of the store is the only one there is; a transaction is one moment of it.
async fn changes_come_in_order_and_whole(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let from = put(&store, "/t/a", "0").await + 1;
    let mut watch = store.watch("/t/", from);
    for round in 0..50 {
        let value = round.to_string();
        let mut txn = puts(&[("/t/a", &value), ("/t/b", &value), ("/other", &value)]);
        if round % 2 == 1 {
            txn = txn.delete("/t/c".to_owned());
        } else {
            txn = txn.put("/t/c".to_owned(), Vec::new());
        }
        store.commit(&txn).await.unwrap();
    }
    let mut by_revision = BTreeMap::<Revision, Vec<Change>>::new();
    while by_revision.len() < 50 {
        let WatchEvent::Batch(batch) = watch.next().await.unwrap() else { continue };
        let first = batch.changes.first().map(Change::at);
        assert!(by_revision.keys().next_back().copied() < first, "a revision in halves");
        for change in batch.changes {
            by_revision.entry(change.at()).or_default().push(change);
        }
    }
    let revisions: Vec<Revision> = by_revision.keys().copied().collect();
    assert_eq!(revisions, (from..from + 50).collect::<Vec<_>>());
    for (round, changes) in by_revision.values().enumerate() {
        let keys: Vec<&str> = changes.iter().map(Change::key).collect();
        assert_eq!(keys, ["/t/a", "/t/b", "/t/c"]);
        assert_eq!(matches!(changes[2], Change::Delete { .. }), round % 2 == 1);
        let Change::Put(kv) = &changes[0] else { panic!("{changes:?}") };
        assert_eq!((kv.value.as_ref(), kv.made), (round.to_string().as_bytes(), from - 1));
    }
}

/// Servers are restarted while agents watch; a change that an agent misses is a task that waits for
/// ever, one that it sees twice may be a task that runs twice.
async fn a_watch_survives_the_death_of_the_server(kind: Kind) {
    let mut server = Processes::start(kind, 1).await;
    let store = connect(&server.urls()).await;
    let from = put(&store, "/t/0000", "0").await;
    let mut watch = store.watch("/t/", from);
    let writer = connect(&server.urls()).await;
    let write = async {
        for round in 1..=60 {
            if round % 20 == 0 {
                server.kill(0);
                server.launch(0);
            }
            put_surely(&writer, &format!("/t/{round:04}"), "1").await;
        }
    };
    let read = async {
        let (mut seen, mut told) = (Vec::new(), 0);
        // One that was put twice, as its first outcome was unknown, is there twice.
        while seen.last().is_none_or(|(key, _)| key != "/t/0060") {
            match watch.next().await.unwrap() {
                WatchEvent::Batch(batch) => {
                    for change in batch.changes {
                        assert!(change.at() > told, "{change:?} again");
                        told = change.at();
                        seen.push((change.key().to_owned(), change.at()));
                    }
                }
                WatchEvent::Progress(_) => {}
                WatchEvent::Compacted(at) => panic!("nobody compacted at {at}"),
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(write, read);
    // Nothing else changes: each revision is one of these.
    let revisions: Vec<Revision> = seen.iter().map(|(_, at)| *at).collect();
    assert_eq!(revisions, (from..=*revisions.last().unwrap()).collect::<Vec<_>>());
    let mut keys: Vec<String> = seen.into_iter().map(|(key, _)| key).collect();
    keys.dedup();
    assert_eq!(keys, (0..=60).map(|round| format!("/t/{round:04}")).collect::<Vec<_>>());
}

/// Whoever comes too late must hear it, and not wait for what will never come.
async fn a_compacted_past_is_told(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let early = put(&store, "/t/a", "1").await;
    for value in ["2", "3"] {
        put(&store, "/t/a", value).await;
    }
    let late = put(&store, "/t/a", "4").await;
    compact(&solo.url(), late).await;
    let mut watch = store.watch("/t/", early);
    assert_eq!(watch.next().await.unwrap(), WatchEvent::Compacted(late));
    assert!(matches!(watch.next().await, Err(StoreError::Ended)));
    // The last revision that is there is not too late.
    let mut watch = store.watch("/t/", late);
    let WatchEvent::Batch(batch) = watch.next().await.unwrap() else { panic!("a batch") };
    assert_eq!((batch.revision, batch.changes.len()), (late, 1));
}

/// A server that was cut off for longer than history is kept has missed things, and must forget
/// what it believes.
async fn a_follower_that_was_cut_off_through_a_compaction_is_reset(kind: Kind) {
    let solo = Solo::start(kind).await;
    let near = solo.store().await;
    let proxy = Proxy::to(&solo.url()).await;
    let far = connect(&[proxy.url()]).await;
    put(&near, "/t/stays", "1").await;
    put(&near, "/t/goes", "1").await;
    let (mut follow, mut mirror) = (far.follow("/t/"), Mirror::default());
    let mut last = 0;
    for round in 0..3 {
        while mirror.revision < last || mirror.resets == round {
            mirror.take(follow.next().await.unwrap());
        }
        assert_eq!(mirror.resets, round + 1);
        proxy.set(Way::Cut);
        put(&near, "/t/goes", "2").await;
        near.commit(&Txn::new().delete("/t/goes".to_owned())).await.unwrap();
        last = put(&near, &format!("/t/new{round}"), "1").await;
        compact(&solo.url(), last).await;
        put(&near, "/t/goes", "3").await;
        last = put(&near, "/t/stays", &round.to_string()).await;
        proxy.set(Way::Open);
    }
    while mirror.revision < last {
        mirror.take(follow.next().await.unwrap());
    }
    let (_, all) = near.read_all("/t/").await.unwrap();
    let all: BTreeMap<_, _> = all.into_iter().map(|kv| (kv.key, kv.value.to_vec())).collect();
    assert_eq!(mirror.values, all);
    assert_eq!(mirror.resets, 4);
}

/// A transaction may be larger than one message of a watch.
async fn large_revisions_come_whole(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let names: Vec<String> = (0..100).map(|number| format!("/t/{number:03}")).collect();
    let from = put(&store, "/t/begin", "1").await + 1;
    let rounds: Revision = 8;
    for round in 0..rounds {
        let value = "x".repeat(12_000 + usize::try_from(round).unwrap());
        let pairs: Vec<_> = names.iter().map(|key| (key.as_str(), value.as_str())).collect();
        assert!(store.commit(&puts(&pairs)).await.unwrap().succeeded);
    }
    // From the past, so that the server has much to send at once.
    let mut watch = store.watch("/t/", from);
    let mut told = from - 1;
    while told < from + rounds - 1 {
        let WatchEvent::Batch(batch) = watch.next().await.unwrap() else { continue };
        assert_eq!(batch.changes.len() % names.len(), 0, "a revision in halves");
        for whole in batch.changes.chunks(names.len()) {
            told += 1;
            assert!(whole.iter().all(|change| change.at() == told));
        }
        assert_eq!(batch.revision, told);
    }
}

/// A leader that is busy for a while reads late; what waits meanwhile waits at the server.
async fn a_slow_reader_loses_nothing(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = connect_with(&[solo.url()], |limits| {
        limits.watch_queue = 1;
        limits.follow_queue = 1;
    })
    .await;
    let writer = solo.store().await;
    let (mut follow, mut mirror) = (store.follow("/t/"), Mirror::default());
    mirror.take(follow.next().await.unwrap());
    let big = "y".repeat(40_000);
    let mut last = 0;
    for round in 0..150 {
        last = put(&writer, &format!("/t/{:02}", round % 20), &format!("{round} {big}")).await;
    }
    while mirror.revision < last {
        mirror.take(follow.next().await.unwrap());
    }
    assert_eq!((mirror.values.len(), mirror.resets), (20, 1));
    let newest = format!("149 {big}");
    assert_eq!(mirror.values["/t/09"], newest.as_bytes());
}

/// An idle watch must move its place to resume at, or a compaction finds it far behind. Only ours
/// can be told to say so often.
#[test]
fn progress_is_told_when_nothing_changes() {
    crate::support::run("watch::progress", Kind::Ours, async |kind| {
        let solo = Solo::start(kind).await;
        let store = solo.store().await;
        let from = put(&store, "/t/a", "1").await + 1;
        let mut watch = store.watch("/t/", from);
        let elsewhere = put(&store, "/other", "1").await;
        assert_eq!(watch.next().await.unwrap(), WatchEvent::Progress(elsewhere));
    });
}
