//! The quota's alarm: what it lets through, and when it goes.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use drystone_etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthUserAddRequest,
    AuthUserDeleteRequest, LeaseGrantRequest, MemberAddRequest, MemberRemoveRequest, PutRequest,
    RequestOp, StatusRequest, TxnRequest, request_op::Request as Op,
};
use drystone_kv::EngineKind;
use tonic::{Code, Status};

use super::{alarms, key, try_put, until};
use crate::support::calls::{
    client_of, compact, delete_everything, get, grant, lease, revision, revoke, runtime,
};
use crate::support::programs::{flags_of, is_ours, ours};
use crate::support::server::Server;

crate::support::on_every_engine! {
    what_makes_room_works_under_the_alarm
}

const QUOTA: &str = "--quota-backend-bytes=1000000";
const VALUE_BYTES: usize = 20_000;

/// Puts until the quota is reached.
async fn fill(client: &Client) -> u64 {
    for number in 0..200 {
        if let Err(status) = try_put(client, number, VALUE_BYTES).await {
            assert_refused(&status);
            return number;
        }
    }
    panic!("the quota is no bound")
}

#[track_caller]
fn assert_refused(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.message(), "etcdserver: mvcc: database space exceeded");
}

async fn disarm(client: &Client) {
    let request = AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: 0,
        alarm: AlarmType::Nospace.into(),
    };
    let alarms = alarms(client).await;
    for alarm in alarms {
        let request = AlarmRequest { member_id: alarm.member_id, ..request };
        client.maintenance().alarm(request).await.expect("an alarm can be disarmed");
    }
}

/// Whoever has no space must be able to make some, and to change who may.
fn what_makes_room_works_under_the_alarm(kind: EngineKind) {
    let server = Server::start(&ours(), &[flags_of(kind), &[QUOTA]].concat());
    runtime().block_on(async {
        let client = client_of(&server).await;
        grant(&client, 7, 3600).await;
        let put = PutRequest { key: "leased".into(), lease: 7, ..PutRequest::default() };
        client.kv().put(put.clone()).await.expect("there is room");
        fill(&client).await;
        assert_eq!(alarms(&client).await.len(), 1);

        assert_refused(&try_put(&client, 0, 1).await.expect_err("it is full"));
        let granted = client.lease().lease_grant(LeaseGrantRequest { id: 8, ttl: 60 }).await;
        assert_refused(&granted.expect_err("it is full"));
        let ops = vec![RequestOp { request: Some(Op::RequestPut(put)) }];
        let txn = TxnRequest { success: ops, ..TxnRequest::default() };
        assert_refused(&client.kv().txn(txn).await.expect_err("it is full"));

        assert_eq!(get(&client, &key(0)).await.kvs.len(), 1);
        assert_eq!(lease(&client, 7).await.keys, ["leased"]);
        revoke(&client, 7).await;
        change_users(&client).await;
        change_members(&client).await;
        delete_everything(&client).await;
        compact(&client, revision(&client).await).await;
        disarm(&client).await;
        assert_eq!(alarms(&client).await, []);
        try_put(&client, 0, VALUE_BYTES).await.expect("there is room again");
    });
}

async fn change_users(client: &Client) {
    let (user, role) = (String::from("u"), String::from("r"));
    let added = AuthUserAddRequest { name: user.clone(), ..AuthUserAddRequest::default() };
    let added = AuthUserAddRequest { password: "p".to_owned(), ..added };
    client.auth().user_add(added).await.expect("a user needs no space");
    let added = AuthRoleAddRequest { name: role.clone() };
    client.auth().role_add(added).await.expect("a role needs no space");
    let deleted = AuthUserDeleteRequest { name: user };
    client.auth().user_delete(deleted).await.expect("a user may go");
    let deleted = AuthRoleDeleteRequest { role };
    client.auth().role_delete(deleted).await.expect("a role may go");
}

async fn change_members(client: &Client) {
    let urls = vec!["http://127.0.0.1:1".to_owned()];
    let request = MemberAddRequest { peer_ur_ls: urls, is_learner: true };
    let added = client.cluster().member_add(request).await.expect("a member needs no space");
    let id = added.into_inner().member.expect("it was added").id;
    client.cluster().member_remove(MemberRemoveRequest { id }).await.expect("it may go");
}

async fn in_use(client: &Client) -> i64 {
    let status = client.maintenance().status(StatusRequest::default()).await;
    status.expect("a status is told").into_inner().db_size_in_use
}

// Whoever has asked for it need not be there; whoever has not finds etcd's alarm, which stays.
#[test]
fn the_alarm_goes_by_itself_where_it_may() {
    if !is_ours() {
        return;
    }
    let asked = Server::start(&ours(), &[QUOTA, "--quota-auto-disarm-percent=50"]);
    let plain = Server::start(&ours(), &[QUOTA]);
    let runtime = runtime();
    let (client, other) =
        (runtime.block_on(client_of(&asked)), runtime.block_on(client_of(&plain)));
    for client in [&other, &client] {
        runtime.block_on(async {
            fill(client).await;
            assert_eq!(alarms(client).await.len(), 1);
            // Of what is left, more than half: it stays.
            let deleted = delete_some(client, 10).await;
            assert_eq!(deleted, 10);
            compact(client, revision(client).await).await;
            assert!(in_use(client).await > 500_000);
            assert_eq!(alarms(client).await.len(), 1, "there is not enough room yet");
            delete_everything(client).await;
            compact(client, revision(client).await).await;
        });
    }
    until("the alarm goes", || runtime.block_on(alarms(&client)).is_empty());
    runtime.block_on(try_put(&client, 0, VALUE_BYTES)).expect("there is room again");
    assert_eq!(runtime.block_on(alarms(&other)).len(), 1, "nobody has asked for it to go");
    assert!(runtime.block_on(in_use(&other)) < 500_000);
    assert_refused(&runtime.block_on(try_put(&other, 0, 1)).expect_err("it is sticky"));
    let log = asked.whole_log();
    assert!(log.contains("NOSPACE was disarmed by itself"), "{log}");
    for percent in [80, 90] {
        let told = log.matches(&format!("has reached {percent} % of its quota")).count();
        assert_eq!(told, 1, "{percent} %\n{log}");
    }
}

async fn delete_some(client: &Client, count: u64) -> i64 {
    let mut deleted = 0;
    for number in 0..count {
        let request = drystone_etcd_api::etcdserverpb::DeleteRangeRequest {
            key: key(number).into(),
            ..Default::default()
        };
        let done = client.kv().delete_range(request).await.expect("a delete needs no space");
        deleted += done.into_inner().deleted;
    }
    deleted
}

// etcd advises against more than 8 GiB. Nothing here is bounded by that, and nobody is warned.
#[test]
fn a_large_quota_is_taken_without_a_word() {
    if !is_ours() {
        return;
    }
    let server = Server::start(&ours(), &["--quota-backend-bytes=1099511627776"]);
    let runtime = runtime();
    let client = runtime.block_on(client_of(&server));
    let status = runtime.block_on(client.maintenance().status(StatusRequest::default()));
    assert_eq!(status.expect("a status is told").into_inner().db_size_quota, 1 << 40);
    let log = server.whole_log();
    let warned = log.lines().find(|line| line.contains("quota") || line.contains("\"warn\""));
    assert_eq!(warned, None);
}
