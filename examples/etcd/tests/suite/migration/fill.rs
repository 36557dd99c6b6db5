//! What a server is filled with: all kinds of things that must come along.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use pb::request_op::Request;

use crate::support::calls::{compact, grant, put, revoke};

/// Operations of one transaction.
const OPS: usize = 100;

/// What was put in.
pub(super) struct Filled {
    /// The oldest readable revision.
    pub(super) compacted: i64,
    /// Leases that stand.
    pub(super) leases: [i64; 2],
}

/// Fills a server with `count` keys and more: overwritten, deleted, made again, on leases that
/// stand and one that is gone, partly compacted; and an alarm, which stops further writes, at the
/// end.
pub(super) async fn fill(client: &Client, count: usize) -> Filled {
    for round in 0..2 {
        put_all(client, count, round).await;
    }
    let leases = [0x7001, 0x7002];
    grant(client, leases[0], 3600).await;
    grant(client, leases[1], 7200).await;
    grant(client, 0x7003, 600).await;
    for number in 0..10 {
        put(client, &format!("leased/{number}"), "v", leases[number % 2]).await;
        put(client, &format!("doomed/{number}"), "v", 0x7003).await;
    }
    delete(client, "key/00000001", "key/00000007").await;
    let compacted = put(client, "key/00000003", "again", 0).await;
    revoke(client, 0x7003).await;
    mixed(client).await;
    compact(client, compacted).await;
    delete(client, "key/00000010", "").await;
    put(client, "leased/1", "off its lease", 0).await;
    // A value that takes several pages, and one that is nothing.
    put(client, "large", vec![b'x'; 100_000], leases[0]).await;
    put(client, "none", "", 0).await;
    mixed(client).await;
    change_alarm(client, AlarmAction::Activate).await;
    Filled { compacted, leases }
}

/// Raises or clears an alarm of a member that is not there.
pub(super) async fn change_alarm(client: &Client, action: AlarmAction) {
    let alarm = pb::AlarmType::Nospace.into();
    let request = pb::AlarmRequest { action: action.into(), member_id: 77, alarm };
    client.maintenance().alarm(request).await.expect("an alarm can be changed");
}

async fn put_all(client: &Client, count: usize, round: usize) {
    for first in (0..count).step_by(OPS) {
        let last = count.min(first + OPS);
        let op = |number: usize| put_op(&format!("key/{number:08}"), &format!("{round}/{number}"));
        txn(client, (first..last).map(op).collect()).await;
    }
}

/// Several changes in one revision.
async fn mixed(client: &Client) {
    let request = pb::DeleteRangeRequest { key: "key/00000020".into(), ..Default::default() };
    let delete = pb::RequestOp { request: Some(Request::RequestDeleteRange(request)) };
    txn(client, vec![put_op("mixed/a", "1"), delete, put_op("mixed/b", "2")]).await;
}

fn put_op(key: &str, value: &str) -> pb::RequestOp {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let put = pb::PutRequest { key, value, ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestPut(put)) }
}

async fn txn(client: &Client, success: Vec<pb::RequestOp>) {
    let request = pb::TxnRequest { success, ..Default::default() };
    client.kv().txn(request).await.expect("a transaction is answered");
}

async fn delete(client: &Client, key: &str, end: &str) {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    let request = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
    client.kv().delete_range(request).await.expect("a deletion is answered");
}
