//! The same questions through our proxy and through etcd's own, each in front of a fresh server of
//! one make, with and without a namespace; answers are compared field by field.
//!
//! What may differ is hidden or listed: ids and terms of this run, and the steps of [`EXCEPTIONS`],
//! each with its reason. One that does not differ any more has no place there.

use std::fmt::Debug;
use std::path::Path;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::v3electionpb as election;
use drystone_etcd_api::v3lockpb as lock;
use election::election_client::ElectionClient;
use lock::lock_client::LockClient;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Op;
use pb::watch_request::RequestUnion;
use tonic::{Response, Status};

use super::running::Proxy;
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

const NAMESPACE: &str = "--namespace=ns/";

/// Steps whose answers differ, where (`plain`, `namespace` or `both`), and why.
const EXCEPTIONS: [(&str, &str, &str); 11] = [
    ("range in the future", "both", LOST),
    ("range of no key", "both", LOST),
    ("put of no key", "both", LOST),
    ("txn that puts a key twice", "both", LOST),
    ("put on no lease", "both", LOST),
    ("compact again", "both", LOST),
    ("range of the compacted", "both", LOST),
    ("revoke again", "both", LOST),
    ("remove nobody", "both", LOST),
    ("promote nobody", "both", "etcd's proxy has not implemented it"),
    ("a lock at the member", "namespace", "etcd's proxy leaves locks out of the namespace"),
];
const LOST: &str = "etcd's proxy loses the code of the error, and keeps its text";

/// What was asked, and what was answered.
type Told = Vec<(&'static str, String)>;

/// An answer as text, without what is of this run.
fn text<T: Debug>(answer: Result<Response<T>, Status>) -> String {
    match answer {
        Ok(answer) => masked(&format!("{:?}", answer.into_inner())),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// Hides the numbers behind these names.
fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["cluster_id: ", "member_id: ", "raft_term: ", "raft_index: ", "hash: "] {
        let mut parts = text.split(name);
        let mut hidden = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            hidden.push_str(name);
            hidden.push('#');
            hidden.push_str(rest);
        }
        text = hidden;
    }
    text
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    pb::PutRequest { key, value, prev_kv: true, ..Default::default() }
}

fn range(key: &str, end: &str) -> pb::RangeRequest {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    pb::RangeRequest { key, range_end, ..Default::default() }
}

fn delete(key: &str, end: &str) -> pb::DeleteRangeRequest {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    pb::DeleteRangeRequest { key, range_end, prev_kv: true }
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn txn() -> pb::TxnRequest {
    let compare = |key: &str, end: &str| pb::Compare {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        target_union: Some(TargetUnion::Version(0)),
    };
    let inner = pb::TxnRequest {
        compare: vec![compare("nowhere", "")],
        failure: vec![op(Op::RequestPut(put("t2", "inner")))],
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![compare("a", ""), compare("a", "c")],
        success: vec![
            op(Op::RequestPut(put("t1", "outer"))),
            op(Op::RequestRange(range("a", "c"))),
            op(Op::RequestDeleteRange(delete("b", ""))),
            op(Op::RequestTxn(inner)),
        ],
        failure: Vec::new(),
    }
}

async fn keys(client: &Client, told: &mut Told) {
    let mut kv = client.kv();
    for (key, value) in [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")] {
        told.push(("put", text(kv.put(put(key, value)).await)));
    }
    told.push(("range", text(kv.range(range("a", "")).await)));
    told.push(("range in an interval", text(kv.range(range("a", "c")).await)));
    told.push(("range from a key on", text(kv.range(range("b", "\0")).await)));
    told.push(("range of everything", text(kv.range(range("\0", "\0")).await)));
    let old = pb::RangeRequest { revision: 3, serializable: true, ..range("a", "") };
    told.push(("range at a revision", text(kv.range(old).await)));
    let counted = pb::RangeRequest { count_only: true, ..range("a", "z") };
    told.push(("count", text(kv.range(counted).await)));
    let future = pb::RangeRequest { revision: 99, ..range("a", "") };
    told.push(("range in the future", text(kv.range(future).await)));
    told.push(("range of no key", text(kv.range(range("", "")).await)));
    told.push(("put of no key", text(kv.put(put("", "x")).await)));
    told.push(("txn", text(kv.txn(txn()).await)));
    let twice = vec![op(Op::RequestPut(put("d", "1"))), op(Op::RequestPut(put("d", "2")))];
    let twice = pb::TxnRequest { success: twice, ..Default::default() };
    told.push(("txn that puts a key twice", text(kv.txn(twice).await)));
    told.push(("delete", text(kv.delete_range(delete("a", "b")).await)));
    told.push((
        "put on no lease",
        text(kv.put(pb::PutRequest { lease: 99, ..put("a", "") }).await),
    ));
    let large = pb::PutRequest { value: vec![b'x'; 1_600_000].into(), ..put("large", "") };
    told.push(("put of too much", text(kv.put(large).await)));
    told.push(("range after all", text(kv.range(range("\0", "\0")).await)));
    let compact = pb::CompactionRequest { revision: 3, physical: false };
    told.push(("compact", text(kv.compact(compact).await)));
    told.push(("compact again", text(kv.compact(compact).await)));
    let gone = pb::RangeRequest { revision: 2, ..range("a", "") };
    told.push(("range of the compacted", text(kv.range(gone).await)));
}

async fn watches(client: &Client, told: &mut Told) {
    for (name, key, end) in [("watch", "t1", ""), ("watch of everything", "\0", "\0")] {
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            start_revision: 7,
            prev_kv: true,
            ..Default::default()
        };
        let (mut watch, created) = Watch::open(client, create).await.expect("a watch is opened");
        assert!(created.created);
        let message = watch.message().await.expect("the stream goes on");
        told.push((name, masked(&format!("{:?}", message.events))));
        let cancel = pb::WatchCancelRequest { watch_id: 0 };
        watch.ask(RequestUnion::CancelRequest(cancel)).await;
        let mut last = watch.message().await.expect("the stream goes on");
        last.header = None;
        told.push(("cancel", format!("{last:?}")));
    }
}

async fn leases(client: &Client, told: &mut Told) {
    let mut lease = client.lease();
    let grant = pb::LeaseGrantRequest { id: 77, ttl: 600 };
    told.push(("grant", text(lease.lease_grant(grant).await)));
    told.push(("grant again", text(lease.lease_grant(grant).await)));
    let leased = pb::PutRequest { lease: 77, ..put("leased", "v") };
    told.push(("put on a lease", text(client.kv().put(leased).await)));
    let ask = pb::LeaseTimeToLiveRequest { id: 77, keys: true };
    let left = lease.lease_time_to_live(ask).await.map(|left| left.map(|left| left.keys));
    told.push(("keys of a lease", text(left)));
    told.push(("leases", text(lease.lease_leases(pb::LeaseLeasesRequest {}).await)));
    let ask = pb::LeaseTimeToLiveRequest { id: 78, keys: true };
    told.push(("time of no lease", text(lease.lease_time_to_live(ask).await)));
    let revoke = pb::LeaseRevokeRequest { id: 77 };
    told.push(("revoke", text(lease.lease_revoke(revoke).await)));
    told.push(("revoke again", text(lease.lease_revoke(revoke).await)));
}

async fn contests(client: &Client, member: &Client, told: &mut Told) {
    let mut lease = client.lease();
    let grant = pb::LeaseGrantRequest { id: 88, ttl: 600 };
    lease.lease_grant(grant).await.expect("a lease is granted");
    let (mut locks, mut elections) =
        (LockClient::new(client.channel()), ElectionClient::new(client.channel()));
    let request = lock::LockRequest { name: "lock".into(), lease: 88 };
    told.push(("lock", text(locks.lock(request).await)));
    let everything = || range("\0", "\0");
    let stands = member.kv().range(pb::RangeRequest { keys_only: true, ..everything() }).await;
    told.push(("a lock at the member", text(stands)));
    let unlock = lock::UnlockRequest { key: "lock/58".into() };
    told.push(("unlock", text(locks.unlock(unlock).await)));
    let campaign = election::CampaignRequest { name: "seat".into(), lease: 88, value: "me".into() };
    let won = elections.campaign(campaign).await;
    let leader = won.as_ref().ok().and_then(|won| won.get_ref().leader.clone());
    told.push(("campaign", text(won)));
    let proclaim = election::ProclaimRequest { leader: leader.clone(), value: "I".into() };
    told.push(("proclaim", text(elections.proclaim(proclaim).await)));
    let ask = election::LeaderRequest { name: "seat".into() };
    told.push(("leader", text(elections.leader(ask).await)));
    told.push(("resign", text(elections.resign(election::ResignRequest { leader }).await)));
}

async fn cluster(client: &Client, told: &mut Told) {
    let list = client.cluster().member_list(pb::MemberListRequest::default()).await;
    told.push(("member list", text(list)));
    let mut cluster = client.cluster();
    let remove = pb::MemberRemoveRequest { id: 1 };
    told.push(("remove nobody", text(cluster.member_remove(remove).await)));
    let promote = pb::MemberPromoteRequest { id: 1 };
    told.push(("promote nobody", text(cluster.member_promote(promote).await)));
    let alarm = pb::AlarmRequest::default();
    told.push(("alarms", text(client.maintenance().alarm(alarm).await)));
    let mut auth = client.auth();
    told.push((
        "add a role",
        text(auth.role_add(pb::AuthRoleAddRequest { name: "r".into() }).await),
    ));
    told.push(("a role", text(auth.role_get(pb::AuthRoleGetRequest { role: "r".into() }).await)));
    told.push(("no role", text(auth.role_get(pb::AuthRoleGetRequest { role: "x".into() }).await)));
    told.push(("roles", text(auth.role_list(pb::AuthRoleListRequest {}).await)));
}

/// Everything that was answered through a proxy of that make, and what stood at the member then.
fn asked(proxy: &Path, program: &Path, flags: &[&str]) -> Told {
    let server = Server::start(program, &[]);
    let flags = [flags, &["--advertise-client-url=proxy:1"]].concat();
    let proxy = Proxy::start_as(proxy, &[server.client_url()], &flags);
    in_a_runtime(async {
        let (client, mut told) = (proxy.client().await, Told::new());
        let member = client_of(&server).await;
        // The first key behind the namespace: whoever looks too far sees it.
        member.kv().put(put("ns0", "a neighbour's")).await.expect("a put is answered");
        keys(&client, &mut told).await;
        watches(&client, &mut told).await;
        leases(&client, &mut told).await;
        contests(&client, &member, &mut told).await;
        cluster(&client, &mut told).await;
        let stands = member.kv().range(range("\0", "\0")).await;
        told.push(("what stands at the member", text(stands)));
        told
    })
}

fn differences(program: &Path, place: &str, flags: &[&str], etcd: &Path) -> Vec<String> {
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| asked(&programs::ours(), program, flags));
        let theirs = asked(etcd, program, flags);
        (ours.join().expect("ours answers"), theirs)
    });
    let mut list = Vec::new();
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        let excepted =
            EXCEPTIONS.iter().any(|(step, it, _)| step == name && (*it == "both" || *it == place));
        if (ours != theirs) != excepted {
            list.push(format!("{place}: {name}\n  ours   {ours}\n  etcd's {theirs}"));
        }
    }
    assert_eq!(ours.len(), theirs.len());
    list
}

fn check(program: &Path, etcd: &Path) {
    let mut list = differences(program, "plain", &[], etcd);
    list.extend(differences(program, "namespace", &[NAMESPACE], etcd));
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn ours_answers_as_etcds_in_front_of_our_member() {
    let Some(real) = programs::real_or_skip("proxy::beside::ours") else { return };
    check(&programs::ours(), &real.etcd);
}

#[test]
fn ours_answers_as_etcds_in_front_of_etcd() {
    let Some(real) = programs::real_or_skip("proxy::beside::etcd") else { return };
    check(&real.etcd, &real.etcd);
}
