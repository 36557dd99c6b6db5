//! Three members, of which some die.

use std::time::Duration;

use mason::store::{Session, WatchEvent, now};
use mason_core::txn::Op;
use rustix::process::Signal;

use crate::support::process::Processes;
use crate::support::{Kind, connect_with, put_surely, text};

on_both! {
    work_goes_on_while_members_die_one_after_the_other
    a_member_that_hangs_is_left_for_another
}

/// With three members each may fail in turn, the leader too, and nothing that was acknowledged is
/// lost, no change is missed, and no lease with a holder runs out.
async fn work_goes_on_while_members_die_one_after_the_other(kind: Kind) {
    let mut cluster = Processes::start(kind, 3).await;
    let store = connect_with(&cluster.urls(), |_| {}).await;
    let writer = connect_with(&cluster.urls(), |_| {}).await;
    let session = Session::open(&store, Duration::from_secs(30), Duration::from_millis(100)).await;
    let session = session.unwrap();
    let alive = Op::Put { key: "/t/alive".into(), value: vec![], lease: Some(session.lease().id) };
    let alive = mason_core::txn::Txn { when: Vec::new(), then: vec![alive] };
    let from = store.commit(&alive).await.unwrap().revision + 1;
    let mut watch = store.watch("/t/w/", from);
    let write = async {
        for round in 0..6 {
            // The leader every other time, whoever that is then.
            let leader = cluster.leader().await;
            let victim = if round % 2 == 0 { leader } else { (leader + 1) % 3 };
            cluster.kill(victim);
            for step in 0..5 {
                put_surely(&writer, &format!("/t/w/{round}{step}"), "1").await;
            }
            cluster.launch(victim);
            cluster.wait_for(victim).await;
        }
    };
    let read = async {
        let (mut keys, mut told) = (Vec::new(), 0);
        while keys.last().is_none_or(|key| key != "/t/w/54") {
            let WatchEvent::Batch(batch) = watch.next().await.unwrap() else { continue };
            for change in batch.changes {
                assert!(change.at() > told, "{change:?} again");
                told = change.at();
                keys.push(change.key().to_owned());
            }
        }
        keys.dedup();
        keys
    };
    let ((), keys) = tokio::join!(write, read);
    let all: Vec<String> =
        (0..6).flat_map(|round| (0..5).map(move |step| format!("/t/w/{round}{step}"))).collect();
    assert_eq!(keys, all);
    let found: Vec<String> =
        store.read_all("/t/w/").await.unwrap().1.into_iter().map(|kv| kv.key).collect();
    assert_eq!(found, all);
    let began = now();
    session.pulse().wait_for(|pulse| pulse.asked > began).await.unwrap();
    assert!(text(&store, "/t/alive").await.is_some());
}

/// A machine that hangs keeps its connections, and says nothing: nobody gets an error from it.
async fn a_member_that_hangs_is_left_for_another(kind: Kind) {
    let cluster = Processes::start(kind, 3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let quick = |limits: &mut mason::store::Settings| {
        limits.call_max = Duration::from_millis(500);
        limits.commit_max = Duration::from_secs(1);
        limits.ping_max = Duration::from_secs(1);
    };
    // Everything goes to the one that will hang, and knows of the others.
    let mut store = connect_with(&cluster.urls(), quick).await;
    while store.endpoint() != cluster.url(follower) {
        store = connect_with(&cluster.urls(), quick).await;
    }
    put_surely(&store, "/t/a", "0").await;
    let revision = store.get("/t/a").await.unwrap().unwrap().changed;
    let mut watch = store.watch("/t/", revision);
    watch.next().await.unwrap();
    let session = Session::open(&store, Duration::from_secs(60), Duration::from_millis(50)).await;
    let mut pulse = session.as_ref().unwrap().pulse();
    pulse.wait_for(|pulse| pulse.count > 2).await.unwrap();
    cluster.signal(follower, Signal::STOP);
    let hung = now();
    put_surely(&store, "/t/a", "1").await;
    assert_eq!(text(&store, "/t/a").await.as_deref(), Some("1"));
    pulse.wait_for(|pulse| pulse.asked > hung).await.unwrap();
    // The watch finds out by a ping that is not answered.
    let WatchEvent::Batch(batch) = watch.next().await.unwrap() else { panic!("a batch") };
    assert_eq!(batch.changes[0].key(), "/t/a");
    assert!(batch.changes[0].at() > revision);
    cluster.signal(follower, Signal::CONT);
}
