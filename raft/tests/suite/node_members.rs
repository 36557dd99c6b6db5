//! Handles to all nodes of a group: who is asked, what is tried again, and what is reported.

use std::time::Duration;

use drystone_raft::Refused;
use drystone_raft::runtime::Members;
use tokio::time::timeout;

use crate::node_support::{Cluster, Map, tick};

/// More of the paused clock than anything here takes.
const DEADLINE: Duration = Duration::from_secs(120);

fn members(cluster: &Cluster) -> Members<Map> {
    cluster.nodes.values().map(|(node, _)| node.group().clone()).collect()
}

async fn put(members: &Members<Map>, command: &str) -> Result<u64, Refused> {
    timeout(DEADLINE, members.propose(command.to_owned())).await.expect("it is answered")
}

async fn leader(members: &Members<Map>) -> u64 {
    timeout(DEADLINE, members.leader()).await.expect("somebody leads").unwrap()
}

/// Whoever calls does not care who leads, before the first election or after the leader was killed.
/// What was refused meanwhile was not done.
#[tokio::test(start_paused = true)]
async fn members_find_the_next_leader() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    let all = members(&cluster);
    assert_eq!(put(&all, "a=1").await, Ok(0), "nobody leads yet");
    let first = leader(&all).await;
    assert_eq!(cluster.leader().await, first);
    cluster.kill(first).await;
    // One of the handles is to a node that is gone.
    assert_eq!(put(&all, "b=2").await, Ok(1));
    assert_ne!(leader(&all).await, first);
    // The node that comes back has a handle of its own.
    cluster.start(first).await;
    let all = members(&cluster);
    let second = leader(&all).await;
    cluster.kill(second).await;
    assert_eq!(put(&all, "c=3").await, Ok(2));
    assert_ne!(leader(&all).await, second);
}

/// A limit that is reached means "not done": each command is done in the end, and once.
#[tokio::test(start_paused = true)]
async fn members_try_again_what_was_not_done() {
    let narrow = |config: &mut drystone_raft::runtime::NodeConfig| {
        config.raft.uncommitted_bytes_max = 200;
    };
    let cluster = Cluster::new(&[1, 2, 3], narrow).await;
    let all = members(&cluster);
    let first = leader(&all).await;
    let value = "v".repeat(100);
    // Of those that come at once, the leader refuses most.
    let group = cluster.group(first).clone();
    let alone: Vec<_> = (0..10)
        .map(|i| {
            let (group, command) = (group.clone(), format!("alone{i}={value}"));
            tokio::spawn(async move { group.propose(command).await })
        })
        .collect();
    let mut done = 0;
    for call in alone {
        match call.await.unwrap() {
            Ok(_) => done += 1,
            Err(why) => assert_eq!(why, Refused::Overloaded),
        }
    }
    assert!((1..10).contains(&done), "{done} of 10");
    let calls: Vec<_> = (0..50)
        .map(|i| {
            let (all, command) = (all.clone(), format!("k{i}={value}"));
            tokio::spawn(async move { put(&all, &command).await })
        })
        .collect();
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap().unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (done..done + 50).collect::<Vec<_>>(), "each was done once");
}

/// What may yet be done must not be tried again: done twice would be worse than not to know.
#[tokio::test(start_paused = true)]
async fn members_do_not_repeat_what_may_be_done() {
    let cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    let all = members(&cluster);
    put(&all, "a=1").await.unwrap();
    let old = leader(&all).await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    // The command reaches the others, who commit it in the next term; no answer comes back.
    others.iter().for_each(|other| cluster.channels.cut(*other, old));
    assert_eq!(put(&all, "b=2").await, Err(Refused::Unknown));
    cluster.channels.heal();
    assert_eq!(put(&all, "c=3").await, Ok(2), "it was done, and once");
    for id in 1..=3 {
        cluster.applied(id, 3).await;
        assert_eq!(cluster.map(id).state.lock().applied, 3);
    }
    // Here it reaches nobody, is not done, and they could not tell.
    let old = leader(&all).await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    for other in &others {
        cluster.channels.cut(*other, old);
        cluster.channels.cut(old, *other);
    }
    assert_eq!(put(&all, "d=4").await, Err(Refused::Unknown));
    cluster.channels.heal();
    assert_eq!(put(&all, "e=5").await, Ok(3));
    for id in 1..=3 {
        cluster.applied(id, 4).await;
        assert!(!cluster.map(id).state.lock().map.contains_key("d"));
    }
}

/// When nobody is left, that is the answer, and not silence.
#[tokio::test(start_paused = true)]
async fn members_that_have_all_stopped_say_so() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    let all = members(&cluster);
    put(&all, "a=1").await.unwrap();
    let first = leader(&all).await;
    let left = if first == 3 { 2 } else { 3 };
    for id in (1..=3).filter(|id| *id != left) {
        cluster.kill(id).await;
    }
    // One is left, which cannot lead alone: the call goes on, until that one is gone as well.
    let waits = tokio::spawn({
        let all = all.clone();
        async move { all.propose("b=2").await }
    });
    for _ in 0..400 {
        tick().await;
    }
    assert!(!waits.is_finished(), "it may yet find a leader");
    let (node, _) = cluster.nodes.remove(&left).unwrap();
    node.shutdown().await.unwrap();
    assert_eq!(timeout(DEADLINE, waits).await.unwrap().unwrap(), Err(Refused::Stopped));
    let nobody = timeout(DEADLINE, all.leader()).await.unwrap();
    assert_eq!(nobody, Err(Refused::Stopped));
}
