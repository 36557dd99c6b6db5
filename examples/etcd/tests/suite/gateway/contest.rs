//! Locks and elections: one winner, and the next when it goes, by whatever way it goes.

use std::process::Stdio;
use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::RangeRequest;
use drystone_etcd_api::v3electionpb::election_client::ElectionClient;
use drystone_etcd_api::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ResignRequest,
};
use drystone_etcd_api::v3lockpb::lock_client::LockClient;
use drystone_etcd_api::v3lockpb::{LockRequest, UnlockRequest};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::http::{Exchange, post, request};
use super::ours;
use crate::support::calls::{client_of, grant, in_a_runtime, lease, revoke};
use crate::support::programs;
use crate::support::server::{Server, clean_command};

const PATIENCE: Duration = Duration::from_secs(30);

async fn lock(client: &Client, name: &str, lease: i64) -> Result<String, Status> {
    let request = LockRequest { name: name.to_owned().into(), lease };
    let locked = LockClient::new(client.channel()).lock(request).await?.into_inner();
    Ok(String::from_utf8(locked.key.to_vec()).expect("the names of these tests are text"))
}

async fn unlock(client: &Client, key: &str) {
    let request = UnlockRequest { key: key.to_owned().into() };
    LockClient::new(client.channel()).unlock(request).await.expect("a lock is given up");
}

/// A call for a lock that somebody has.
fn locking(client: &Client, name: &'static str, lease: i64) -> JoinHandle<Result<String, Status>> {
    let client = client.clone();
    tokio::spawn(async move { lock(&client, name, lease).await })
}

/// How many stand in a line.
async fn line(client: &Client, name: &str) -> i64 {
    let (key, range_end) = (format!("{name}/").into(), format!("{name}0").into());
    let request = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
    client.kv().range(request).await.expect("a range is answered").into_inner().count
}

/// Waits until so many stand in line.
async fn wait_for_line(client: &Client, name: &str, count: i64) {
    let reached = async { while line(client, name).await != count {} };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("the line is not {count} long"));
}

/// Waits until so many callers wait, each of whom watches two keys: its own, and the one ahead.
async fn wait_for_waiters(server: &Server, count: u32) {
    let watchers = format!("\netcd_debugging_mvcc_watcher_total {}\n", 2 * count);
    let page = || request(server, "GET", "/metrics", "", b"").body;
    let reached = async {
        while !page().contains(&watchers) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{count} do not wait: {}", page()));
}

/// Whether a call waits, however long others are served meanwhile.
async fn still_waits<T>(client: &Client, waiting: &JoinHandle<T>) {
    for _ in 0..50 {
        line(client, "none").await;
    }
    assert!(!waiting.is_finished(), "somebody else is ahead");
}

async fn done<T>(waiting: JoinHandle<T>) -> T {
    let done = timeout(PATIENCE, waiting).await.expect("it is not kept waiting for ever");
    done.expect("nothing panics")
}

/// The one promise of a lock. Locking again under the same lease is no second lock.
#[test]
fn lock_has_one_owner_at_a_time() {
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        for id in [10, 11, 12] {
            grant(&client, id, 60).await;
        }
        assert_eq!(lock(&client, "l", 10).await.unwrap(), "l/a");
        assert_eq!(lock(&client, "l", 10).await.unwrap(), "l/a", "it has it");
        let second = locking(&client, "l", 11);
        wait_for_line(&client, "l", 2).await;
        let third = locking(&client, "l", 12);
        wait_for_line(&client, "l", 3).await;
        still_waits(&client, &second).await;
        still_waits(&client, &third).await;
        // Another name is another lock.
        assert_eq!(lock(&client, "ll", 11).await.unwrap(), "ll/b");
        unlock(&client, "l/a").await;
        assert_eq!(done(second).await.unwrap(), "l/b");
        still_waits(&client, &third).await;
        unlock(&client, "l/b").await;
        assert_eq!(done(third).await.unwrap(), "l/c");
    });
}

/// A client that dies must not keep the others out for longer than its lease, nor one that stops
/// waiting for longer than it takes to notice.
#[test]
fn who_dies_makes_room() {
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        let (owner, waiter) = (client_of(&server).await, client_of(&server).await);
        grant(&client, 10, 2).await;
        grant(&client, 11, 60).await;
        grant(&client, 12, 60).await;
        lock(&owner, "l", 10).await.unwrap();
        let killed = locking(&waiter, "l", 11);
        wait_for_line(&client, "l", 2).await;
        let next = locking(&client, "l", 12);
        wait_for_line(&client, "l", 3).await;
        wait_for_waiters(&server, 2).await;
        // The waiter's process dies; its lease does not.
        killed.abort();
        drop(waiter);
        wait_for_line(&client, "l", 2).await;
        // The owner was not the one who died.
        still_waits(&client, &next).await;
        // Nobody renews the owner's lease.
        assert_eq!(done(next).await.unwrap(), "l/c");
    });
}

/// A client of the gateway has nothing but its connection to say that it waits no more.
#[test]
fn who_hangs_up_leaves_the_line() {
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        lock(&client, "l", 0).await.unwrap();
        let body = br#"{"name":"bA=="}"#;
        let head = format!("content-length: {}\r\n", body.len());
        let mut waiter = Exchange::begin(&server, "POST", "/v3/lock/lock", &head);
        waiter.send_raw(body).unwrap();
        wait_for_waiters(&server, 1).await;
        assert_eq!(line(&client, "l").await, 2);
        drop(waiter);
        wait_for_line(&client, "l", 1).await;
        // A candidate as well.
        let votes = Votes(client.clone());
        votes.campaign(0, "a").await.unwrap();
        let body = br#"{"name":"ZQ==","value":"Yg=="}"#;
        let head = format!("content-length: {}\r\n", body.len());
        let mut waiter = Exchange::begin(&server, "POST", "/v3/election/campaign", &head);
        waiter.send_raw(body).unwrap();
        wait_for_waiters(&server, 1).await;
        assert_eq!(line(&client, "e").await, 2);
        drop(waiter);
        wait_for_line(&client, "e", 1).await;
        assert_eq!(votes.leader().await.unwrap(), "a");
    });
}

/// A waiter whose own lease ends has lost its place, and must not believe that it has the lock.
#[test]
fn who_loses_its_lease_does_not_win() {
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        for id in [10, 11] {
            grant(&client, id, 60).await;
        }
        lock(&client, "l", 10).await.unwrap();
        let waiter = locking(&client, "l", 11);
        wait_for_line(&client, "l", 2).await;
        revoke(&client, 11).await;
        let lost = done(waiter).await.unwrap_err();
        assert_eq!((lost.code(), lost.message()), (Code::Unknown, "mutex: session is expired"));
        let none = lock(&client, "l", 99).await.unwrap_err();
        let text = "etcdserver: requested lease not found";
        assert_eq!((none.code(), none.message()), (Code::Unknown, text));
    });
}

/// Who brings no lease gets one, of a minute, that nobody renews.
#[test]
fn lock_without_a_lease_gets_one() {
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        let key = lock(&client, "l", 0).await.unwrap();
        let id = i64::from_str_radix(key.strip_prefix("l/").unwrap(), 16).unwrap();
        assert_eq!(lease(&client, id).await.granted_ttl, 60);
    });
}

/// A waiter must not hold up a server that stops; it hears why it waits no more.
#[test]
fn waiters_hear_of_a_stop() {
    let mut server = ours();
    let mut server = in_a_runtime(async {
        let client = client_of(&server).await;
        lock(&client, "l", 0).await.unwrap();
        let waiter = locking(&client, "l", 0);
        let other = locking(&client, "l", 0);
        wait_for_line(&client, "l", 3).await;
        let stopping = tokio::task::spawn_blocking(move || {
            server.terminate();
            server
        });
        for waiter in [waiter, other] {
            let ended = done(waiter).await.unwrap_err();
            assert_eq!(ended.message(), "etcdserver: server stopped", "{ended:?}");
        }
        stopping.await.unwrap()
    });
    server.start_again();
    // Their places were kept: whoever comes back under the same lease finds its own.
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(line(&client, "l").await, 3);
    });
}

/// `etcdctl lock` stands in the same line, for it uses the same keys.
#[test]
fn etcdctl_stands_in_the_same_line() {
    let Some(real) = programs::real_or_skip("etcdctl_stands_in_the_same_line") else { return };
    let server = ours();
    in_a_runtime(async {
        let client = client_of(&server).await;
        let key = lock(&client, "l", 0).await.unwrap();
        let mut command = clean_command(&real.etcdctl);
        command.args(["--endpoints", &server.client_address(), "lock", "l", "echo", "mine"]);
        command.env("ETCDCTL_API", "3").stdin(Stdio::null()).stdout(Stdio::piped());
        let etcdctl = command.spawn().expect("etcdctl runs");
        wait_for_line(&client, "l", 2).await;
        let third = locking(&client, "l", 0);
        wait_for_line(&client, "l", 3).await;
        still_waits(&client, &third).await;
        unlock(&client, &key).await;
        let waited = tokio::task::spawn_blocking(move || etcdctl.wait_with_output());
        let output = done(waited).await.expect("etcdctl ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "mine\n");
        done(third).await.expect("etcdctl gave the lock up");
    });
}

struct Votes(Client);

impl Votes {
    fn calls(&self) -> ElectionClient<tonic::transport::Channel> {
        ElectionClient::new(self.0.channel())
    }

    async fn campaign(&self, lease: i64, value: &'static str) -> Result<CampaignResponse, Status> {
        let request = CampaignRequest { name: "e".into(), lease, value: value.into() };
        Ok(self.calls().campaign(request).await?.into_inner())
    }

    async fn leader(&self) -> Result<String, Status> {
        let request = LeaderRequest { name: "e".into() };
        Ok(said(&self.calls().leader(request).await?.into_inner()))
    }

    async fn proclaim(&self, leader: &LeaderKey, value: &'static str) -> Result<(), Status> {
        let request = ProclaimRequest { leader: Some(leader.clone()), value: value.into() };
        self.calls().proclaim(request).await.map(drop)
    }

    async fn resign(&self, leader: &LeaderKey) {
        let request = ResignRequest { leader: Some(leader.clone()) };
        self.calls().resign(request).await.expect("whoever does not lead may resign too");
    }
}

fn said(seen: &LeaderResponse) -> String {
    let kv = seen.kv.as_ref().expect("it is about a key");
    String::from_utf8(kv.value.to_vec()).expect("the values of these tests are text")
}

/// One leads at a time, says what it likes, and is followed by the next.
#[test]
fn election_has_one_leader_at_a_time() {
    let server = ours();
    in_a_runtime(async {
        let votes = Votes(client_of(&server).await);
        grant(&votes.0, 10, 60).await;
        grant(&votes.0, 11, 60).await;
        let nobody = votes.leader().await.unwrap_err();
        assert_eq!((nobody.code(), nobody.message()), (Code::Unknown, "election: no leader"));
        let observing = tokio::spawn({
            let client = votes.0.clone();
            async move {
                let request = LeaderRequest { name: "e".into() };
                let mut calls = ElectionClient::new(client.channel());
                let mut seen = calls.observe(request).await?.into_inner();
                let mut all = Vec::new();
                while all.last().map(String::as_str) != Some("b1") {
                    all.extend(seen.message().await?.as_ref().map(said));
                }
                Ok::<_, Status>(all)
            }
        });
        let first = votes.campaign(10, "a1").await.unwrap().leader.unwrap();
        assert_eq!((&first.key[..], first.lease), (&b"e/a"[..], 10));
        assert_eq!(votes.leader().await.unwrap(), "a1");
        let other = votes.0.clone();
        let second = tokio::spawn(async move { Votes(other).campaign(11, "b1").await });
        wait_for_line(&votes.0, "e", 2).await;
        still_waits(&votes.0, &second).await;
        votes.proclaim(&first, "a2").await.unwrap();
        assert_eq!(votes.leader().await.unwrap(), "a2");
        // A campaign of the leader is answered at once, and is a proclamation.
        let again = votes.campaign(10, "a3").await.unwrap().leader.unwrap();
        assert_eq!(again, first);
        assert_eq!(votes.leader().await.unwrap(), "a3");
        votes.resign(&first).await;
        let second = done(second).await.unwrap().leader.unwrap();
        assert_eq!(votes.leader().await.unwrap(), "b1");
        let late = votes.proclaim(&first, "a4").await.unwrap_err();
        assert_eq!((late.code(), late.message()), (Code::Unknown, "election: not leader"));
        // To resign twice is no error, and does not hurt who leads now.
        votes.resign(&first).await;
        votes.proclaim(&second, "b1").await.unwrap();
        let all = done(observing).await.expect("it is told");
        assert!(all.is_sorted() && all.ends_with(&["b1".to_owned()]), "{all:?}");
    });
}

/// A leader whose lease ends leads no more, and a candidate whose lease ends never will.
#[test]
fn leases_decide_elections() {
    let server = ours();
    in_a_runtime(async {
        let votes = Votes(client_of(&server).await);
        for id in [10, 11, 12] {
            grant(&votes.0, id, 60).await;
        }
        votes.campaign(10, "a").await.unwrap();
        let run = |lease, value| {
            let client = votes.0.clone();
            tokio::spawn(async move { Votes(client).campaign(lease, value).await })
        };
        let second = run(11, "b");
        wait_for_line(&votes.0, "e", 2).await;
        let third = run(12, "c");
        wait_for_line(&votes.0, "e", 3).await;
        revoke(&votes.0, 11).await;
        let lost = done(second).await.unwrap_err();
        assert_eq!((lost.code(), lost.message()), (Code::Unknown, "election: not leader"));
        // The first still leads.
        still_waits(&votes.0, &third).await;
        revoke(&votes.0, 10).await;
        assert_eq!(done(third).await.unwrap().leader.unwrap().lease, 12);
    });
}

/// Whoever observes hears of every leader in turn, through the gateway as well.
#[test]
fn observers_hear_of_every_leader() {
    let server = ours();
    let mut observer = Exchange::open(&server, "/v3/election/observe");
    observer.send(r#"{"name":"ZQ=="}"#);
    observer.end();
    let mut leaders = Vec::new();
    for (id, value) in [(5, "YQ=="), (6, "Yg=="), (7, "Yw==")] {
        post(&server, "/v3/lease/grant", format!(r#"{{"ID":{id},"TTL":60}}"#));
        let campaign = format!(r#"{{"name":"ZQ==","lease":{id},"value":"{value}"}}"#);
        let won = post(&server, "/v3/election/campaign", campaign);
        assert_eq!(won.status, 200, "{won:?}");
        if leaders.is_empty() {
            assert_eq!(observer.head().status, 200);
        }
        let seen = observer.line().expect("it is told");
        let kv = &seen["result"]["kv"];
        assert_eq!(
            (kv["value"].as_str(), kv["lease"].as_str()),
            (Some(value), Some(&*id.to_string()))
        );
        assert_eq!(seen["result"]["header"]["revision"], kv["mod_revision"], "{seen}");
        leaders.push(kv["create_revision"].clone());
        post(&server, "/v3/lease/revoke", format!(r#"{{"ID":{id}}}"#));
    }
    assert_eq!(leaders.len(), 3);
}
