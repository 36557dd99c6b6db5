//! Leases: counted by the leader, kept over its fall, never ended early.

use drystone_kv::command::{LeaseGrant, LeaseRevoke};
use drystone_kv::types::LeaseId;
use tokio::time::Instant;

use super::*;

async fn grant(replica: &Replica, id: i64, ttl: i64) {
    let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl });
    replica.propose(grant).await.expect("it is granted");
}

async fn hang(replica: &Replica, key: &str, id: i64) {
    let mut put = Put::new(key.to_owned(), "v");
    put.lease = Some(LeaseId(id));
    replica.propose(Command::Put(put)).await.expect("the lease stands");
}

/// Waits until a key is gone, and says how long that took.
async fn gone_after(replica: &Replica, key: &str) -> Duration {
    let began = Instant::now();
    while get(replica, key).is_some() {
        pause().await;
    }
    began.elapsed()
}

/// What nobody renews ends, on every member; not before its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_ends_after_its_time_everywhere() {
    let party = Party::new(3, |_| {}).await;
    let follower = party.at(party.follower().await);
    grant(&follower, 1, 1).await;
    hang(&follower, "k", 1).await;
    let lived = gone_after(&follower, "k").await;
    assert!(lived >= Duration::from_millis(900), "it lived {lived:?}");
    party.agree().await;
    assert_eq!(follower.lease(LeaseId(1), true).await.unwrap(), None);
    assert_eq!(follower.keep_alive(LeaseId(1)).await.unwrap(), None);
}

/// Any member renews, and knows what only the leader counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_through_any_member() {
    let party = Party::new(3, |_| {}).await;
    grant(&party.at(1), 1, 1).await;
    grant(&party.at(1), 2, 100).await;
    hang(&party.at(1), "k", 1).await;
    for round in 0..15 {
        let member = party.at(1 + round % 3);
        assert_eq!(member.keep_alive(LeaseId(1)).await.unwrap(), Some(1));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for id in 1..=3 {
        let info = party.at(id).lease(LeaseId(1), true).await.unwrap().unwrap();
        assert_eq!((info.granted, info.keys.len()), (1, 1), "at member {id}");
        assert_eq!(party.at(id).leases().await.unwrap(), [LeaseId(1), LeaseId(2)]);
    }
    party.at(2).propose(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) })).await.unwrap();
    assert_eq!(get(&party.at(2), "k"), None);
}

/// A new leader gives every lease its full time: the old one may have promised that just before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_outlives_its_leader() {
    let party = Party::new(3, |_| {}).await;
    let leader = party.leader().await;
    grant(&party.at(leader), 1, 2).await;
    hang(&party.at(leader), "k", 1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    party.kill(leader).await;
    let began = Instant::now();
    let other = party.at(party.ids()[0]);
    gone_after(&other, "k").await;
    let lived = began.elapsed();
    assert!(lived >= Duration::from_millis(1900), "it lived {lived:?} under the new leader");
}

/// A leader that was cut off renews nothing: its successor counts by a clock of its own. And what
/// it would have revoked stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_cut_off_neither_renews_nor_revokes() {
    let party = Party::new(3, |options| options.request_timeout = Duration::from_millis(600)).await;
    let leader = party.leader().await;
    grant(&party.at(leader), 1, 1).await;
    hang(&party.at(leader), "k", 1).await;
    party.agree().await;
    party.isolate(leader);
    let renewed = party.at(leader).keep_alive(LeaseId(1)).await;
    assert!(matches!(renewed, Err(Error::TimedOut)), "{renewed:?}");
    let other =
        party.at(party.ids().into_iter().find(|id| *id != leader).expect("it is not alone"));
    // The others keep it alive for longer than the old leader would have.
    for _ in 0..10 {
        while !matches!(other.keep_alive(LeaseId(1)).await, Ok(Some(1))) {}
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    party.heal();
    party.leader().await;
    assert_eq!(other.keep_alive(LeaseId(1)).await.unwrap(), Some(1));
    assert_eq!(get(&other, "k").as_deref(), Some("v"));
    party.agree().await;
}
