//! Elections: one leader, and nobody else writes.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mason::server::Server;
use mason::store::{Election, Session, Store, StoreError};
use mason_core::protocol::{self, Bind, Office};
use mason_core::record::{self, RunRecord, TaskRecord, TaskWait, Wish};
use mason_core::spec::Concurrency;
use mason_core::types::{JobKey, NodeId, RunId};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Kind, Solo, process, put, skip, until};

on_both! {
    the_oldest_candidate_leads_and_the_next_follows
    a_candidate_waits_for_the_next_older_one_alone
    a_stale_leader_changes_nothing
    a_candidate_whose_lease_is_gone_does_not_win
    standing_twice_is_standing_once
    etcdctl_sees_the_leader_and_waits_behind_it
    a_server_that_is_stopped_leaves_nothing_to_wait_for
}

const SECOND: Duration = Duration::from_secs(1);

async fn session(store: &Store) -> Session {
    Session::open(store, 2 * SECOND, SECOND / 10).await.unwrap()
}

async fn campaign(store: &Store, session: &Session, name: &'static str) -> Office {
    store.election().campaign(session, name.as_bytes()).await.unwrap()
}

async fn leader(election: &Election) -> Option<String> {
    let leader = election.leader().await.unwrap();
    leader.map(|leader| String::from_utf8(leader.name.to_vec()).unwrap())
}

/// How many candidates stand.
async fn candidates(store: &Store) -> usize {
    store.read_all(&store.keys().candidates()).await.unwrap().1.len()
}

/// The lead passes in order, whether its holder steps down or dies.
async fn the_oldest_candidate_leads_and_the_next_follows(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let election = store.election();
    let mut observer = election.observe();
    assert_eq!(observer.next().await.unwrap(), None);
    let (a, b, c) = (session(&store).await, session(&store).await, session(&store).await);
    let first = campaign(&store, &a, "a").await;
    assert_eq!(observer.next().await.unwrap().unwrap().office, first);
    let (_, second, third) = tokio::join!(
        async {
            until(async || (candidates(&store).await == 2).then_some(())).await;
            assert_eq!(leader(&election).await.as_deref(), Some("a"));
            until(async || (candidates(&store).await == 3).then_some(())).await;
            // It dies: nobody renews its lease, and nobody revokes it.
            drop(a);
        },
        async {
            let office = campaign(&store, &b, "b").await;
            assert_eq!(leader(&election).await.as_deref(), Some("b"));
            assert_eq!(candidates(&store).await, 2);
            let seen = observer.next().await.unwrap().unwrap();
            assert_eq!((&seen.office, seen.name.as_ref()), (&office, &b"b"[..]));
            // It steps down.
            election.resign(&office).await.unwrap();
            office
        },
        async {
            until(async || (candidates(&store).await == 2).then_some(())).await;
            let office = campaign(&store, &c, "c").await;
            assert_eq!(leader(&election).await.as_deref(), Some("c"));
            office
        },
    );
    assert!(first.made < second.made && second.made < third.made);
    assert_eq!(observer.next().await.unwrap().unwrap().office, third);
    c.close().await.unwrap();
    assert_eq!(observer.next().await.unwrap(), None);
}

/// When one in the middle goes, the next one waits on; it must not believe that it leads.
async fn a_candidate_waits_for_the_next_older_one_alone(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let election = store.election();
    let (a, b, c) = (session(&store).await, session(&store).await, session(&store).await);
    let first = campaign(&store, &a, "a").await;
    let wait_b = campaign(&store, &b, "b");
    let mut wait_b = std::pin::pin!(wait_b);
    tokio::select! {
        _ = &mut wait_b => panic!("b cannot lead"),
        () = until(async || (candidates(&store).await == 2).then_some(())) => {}
    }
    let mut wait_c = std::pin::pin!(campaign(&store, &c, "c"));
    tokio::select! {
        _ = &mut wait_c => panic!("c cannot lead"),
        () = until(async || (candidates(&store).await == 3).then_some(())) => {}
    }
    election.withdraw(&b).await.unwrap();
    // Long enough for c to have heard of it: it hears of a change that comes after.
    let mut watch = store.watch("/t/", 1);
    put(&store, "/t/mark", "1").await;
    let heard = async {
        loop {
            let mason::store::WatchEvent::Batch(batch) = watch.next().await.unwrap() else {
                continue;
            };
            if batch.changes.iter().any(|change| change.key() == "/t/mark") {
                break;
            }
        }
        for _ in 0..20 {
            candidates(&store).await;
        }
    };
    tokio::select! {
        _ = &mut wait_c => panic!("c leads beside a"),
        () = heard => {}
    }
    election.resign(&first).await.unwrap();
    assert_eq!(wait_c.await.key, format!("/t/lead/{:x}", c.lease().id));
}

fn a_bind(job: &JobKey, task_changed: i64, job_made: i64, run: u64) -> Bind {
    let (node, run) = (NodeId::from("n01"), RunId::new(7, run));
    let bound = TaskRecord {
        uid: "u".into(),
        attempt: 1,
        counted: 0,
        spec: "s".into(),
        revision: 0,
        wait: TaskWait::Bound { node: node.clone(), run: run.clone() },
        memory: None,
        last: None,
    };
    let record = RunRecord {
        task: job.task(0),
        uid: "u".into(),
        attempt: 1,
        spec: "s".into(),
        wish: Wish::Run,
        concurrency: Concurrency::Strict,
        count: 1,
        partition: None,
        memory: None,
        bound_at: 0,
    };
    Bind { task: job.task(0), task_changed, job_made, node, run, bound, record }
}

/// A leader that was paused past its lease wakes up and acts on what it knew: two runs of one task.
async fn a_stale_leader_changes_nothing(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let keys = store.keys().clone();
    let job = JobKey::new("ml", "train");
    let job_made = put(&store, "/t/job/ml/train", "{}").await;
    put(&store, "/t/alive/n01", "{}").await;
    let (a, b) = (session(&store).await, session(&store).await);
    let stale = campaign(&store, &a, "a").await;
    // Paused: it renews no more. It does not hear of anything, either.
    drop(a);
    let fresh = campaign(&store, &b, "b").await;
    let bind = |office, run| protocol::bind(&keys, office, &a_bind(&job, 0, job_made, run));
    assert!(!store.commit(&bind(&stale, 1)).await.unwrap().succeeded);
    assert!(store.commit(&bind(&fresh, 2)).await.unwrap().succeeded);
    // Nor does the one in office bind a task twice.
    assert!(!store.commit(&bind(&fresh, 3)).await.unwrap().succeeded);
    let (_, runs) = store.read_all(&keys.runs_of(&"n01".into())).await.unwrap();
    let names: Vec<&str> = runs.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(names, ["/t/run/n01/000000000007-2"]);
    let read: RunRecord = record::decode(&runs[0].key, &runs[0].value).unwrap();
    assert_eq!(read.task, job.task(0));
    // Resigning with the old office does not take the new one away.
    store.election().resign(&stale).await.unwrap();
    assert_eq!(leader(&store.election()).await.as_deref(), Some("b"));
}

/// One that waits for so long that its own lease runs out is no candidate any more.
async fn a_candidate_whose_lease_is_gone_does_not_win(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let (a, b) = (session(&store).await, session(&store).await);
    let first = campaign(&store, &a, "a").await;
    let id = b.lease().id;
    let gone = async {
        until(async || (candidates(&store).await == 2).then_some(())).await;
        store.revoke(id).await.unwrap();
        store.election().resign(&first).await.unwrap();
    };
    let election = store.election();
    let (won, ()) = tokio::join!(election.campaign(&b, b"b"), gone);
    assert!(matches!(won, Err(StoreError::LeaseGone(lease)) if lease == id), "{won:?}");
}

/// A server that gave up waiting and tries again must find its old key, or wait for itself.
async fn standing_twice_is_standing_once(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let a = session(&store).await;
    let first = campaign(&store, &a, "a").await;
    assert_eq!(campaign(&store, &a, "a").await, first);
    store.election().withdraw(&a).await.unwrap();
    assert_eq!(candidates(&store).await, 0);
    assert!(campaign(&store, &a, "a").await.made > first.made);
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The recipe is etcd's own: an operator's tools, and other programs, take part.
async fn etcdctl_sees_the_leader_and_waits_behind_it(kind: Kind) {
    let etcdctl = match process::real_etcdctl() {
        Ok(etcdctl) => etcdctl,
        Err(reason) => return skip("election::etcdctl", &reason),
    };
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let a = session(&store).await;
    let office = campaign(&store, &a, "mason at n01").await;
    let printed = tempfile::NamedTempFile::new().unwrap();
    let mut elect = Command::new(etcdctl);
    elect.args(["--endpoints", &solo.url(), "elect", "/t/lead", "somebody"]);
    elect.env("ETCDCTL_API", "3").stdin(Stdio::null()).stdout(printed.reopen().unwrap());
    let mut other = Program(elect.spawn().unwrap());
    until(async || (candidates(&store).await == 2).then_some(())).await;
    assert_eq!(leader(&store.election()).await.as_deref(), Some("mason at n01"));
    assert!(other.0.try_wait().unwrap().is_none(), "it waits");
    store.election().resign(&office).await.unwrap();
    let mut observer = store.election().observe();
    let theirs = loop {
        if let Some(leader) = observer.next().await.unwrap()
            && leader.name == "somebody"
        {
            break leader.office;
        }
    };
    until(async || {
        let printed = std::fs::read_to_string(printed.path()).unwrap();
        (printed.contains(&theirs.key) && printed.contains("somebody")).then_some(())
    })
    .await;
    // We stand again, behind it; it steps down when it is told to end.
    let stop = async {
        until(async || (candidates(&store).await == 2).then_some(())).await;
        kill_process(Pid::from_child(&other.0), Signal::INT).unwrap();
    };
    let (again, ()) = tokio::join!(campaign(&store, &a, "mason at n01"), stop);
    assert!(again.made > theirs.made);
}

/// Whoever restarts a server must not wait for its lease to run out.
async fn a_server_that_is_stopped_leaves_nothing_to_wait_for(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let (server, desk) = Server::start(store.clone(), "first");
    server.leads().wait_for(|leads| *leads).await.unwrap();
    let (next, waits) = Server::start(store.clone(), "next");
    until(async || (candidates(&store).await == 2).then_some(())).await;
    // One that waits goes as quietly as one that leads.
    next.stop().await;
    assert_eq!(candidates(&store).await, 1);
    assert_eq!(leader(&store.election()).await.as_deref(), Some("first"));
    server.stop().await;
    assert_eq!(candidates(&store).await, 0);
    desk.abort();
    waits.abort();
}
