//! What clients hold on to while they move from member to member.

use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::{LeaseKeepAliveRequest, WatchCreateRequest};

use super::fleet::{Fleet, PATIENCE};
use crate::support::calls::{self, in_a_runtime};
use crate::support::watch::Watch;

const TTL_SECONDS: i64 = 2;

/// Only the leader knows how long leases live; clients need not know who that is.
#[test]
fn lease_of_one_member_lives_through_another() {
    let test = "lease_of_one_member_lives_through_another";
    let Some(fleet) = Fleet::start(test, 3) else { return };
    in_a_runtime(async {
        let [one, two, three] =
            [fleet.client(0).await, fleet.client(1).await, fleet.client(2).await];
        calls::grant(&one, 7, TTL_SECONDS).await;
        calls::put(&two, "k", "v", 7).await;
        // For more than twice its time it is kept alive through each member in turn.
        let began = Instant::now();
        let clients = [&two, &three, &one];
        let mut round = 0;
        while began.elapsed() < Duration::from_secs(5) {
            let request = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
            let kept = clients[round % 3].lease().lease_keep_alive(request).await;
            let mut kept = kept.expect("a lease is kept alive").into_inner();
            let told = kept.message().await.expect("it is answered").expect("it is answered");
            assert_eq!(told.ttl, TTL_SECONDS, "it stands, after {:?}", began.elapsed());
            round += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let told = calls::lease(&three, 7).await;
        assert_eq!(told.keys, ["k"], "every member can tell");
        assert_eq!(calls::get(&one, "k").await.count, 1);
        // Nobody keeps it alive any more: its key goes, on all members.
        let left = Instant::now();
        for client in clients {
            while calls::get(client, "k").await.count > 0 {
                assert!(left.elapsed() < PATIENCE, "it ends some time");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(left.elapsed() > Duration::from_secs(1), "it does not end early");
    });
}

/// A lock must not be lost because the leader was.
#[test]
fn lease_outlives_its_leader() {
    let Some(mut fleet) = Fleet::start("lease_outlives_its_leader", 3) else { return };
    let (leader, other) = (fleet.leader(), fleet.follower());
    in_a_runtime(async {
        let client = fleet.client(leader).await;
        calls::grant(&client, 7, 5).await;
        calls::put(&client, "k", "v", 7).await;
    });
    fleet.kill(leader);
    fleet.until_put(other, "after", Instant::now());
    in_a_runtime(async {
        let told = calls::lease(&fleet.client(other).await, 7).await;
        assert!(told.ttl >= 3, "the new leader gives it its full time: {}", told.ttl);
        assert_eq!(told.keys, ["k"]);
    });
}

/// A watcher whose member dies goes to another with the revision it knows, and misses nothing.
#[test]
fn watch_is_resumed_on_another_member() {
    let test = "watch_is_resumed_on_another_member";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    let from = |start_revision| WatchCreateRequest {
        key: "w/".into(),
        range_end: "w0".into(),
        start_revision,
        ..WatchCreateRequest::default()
    };
    let mut seen: Vec<(String, i64)> = Vec::new();
    in_a_runtime(async {
        let (watched, writer) = (fleet.client(0).await, fleet.client(1).await);
        let (mut watch, _) = Watch::open(&watched, from(0)).await.expect("it can be watched");
        for i in 0..5 {
            calls::put(&writer, &format!("w/{i}"), "v", 0).await;
        }
        follow(&mut watch, &mut seen, 5).await;
    });
    fleet.kill(0);
    fleet.until_put(1, "elsewhere", Instant::now());
    in_a_runtime(async {
        let writer = fleet.client(1).await;
        // These come while nobody watches.
        for i in 5..8 {
            calls::put(&writer, &format!("w/{i}"), "v", 0).await;
        }
        let next = seen.last().expect("five were seen").1 + 1;
        let watched = fleet.client(2).await;
        let (mut watch, _) = Watch::open(&watched, from(next)).await.expect("it can be watched");
        for i in 8..10 {
            calls::put(&writer, &format!("w/{i}"), "v", 0).await;
        }
        follow(&mut watch, &mut seen, 10).await;
    });
    let keys: Vec<String> = (0..10).map(|i| format!("w/{i}")).collect();
    let told: Vec<String> = seen.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(told, keys, "each once, and in order");
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1), "{seen:?}");
}

/// Reads events until there are `count`: the key of each, and its revision.
async fn follow(watch: &mut Watch, seen: &mut Vec<(String, i64)>, count: usize) {
    while seen.len() < count {
        let told = tokio::time::timeout(PATIENCE, watch.message()).await;
        let told = told.expect("it comes some time").expect("the watch goes on");
        for event in told.events {
            let kv = event.kv.expect("an event is about a key");
            seen.push((String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision));
        }
    }
}
