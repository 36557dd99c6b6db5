//! Everything around the keys: writes that are refused, sizes, alarms, members, hashes.

use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use drystone_etcd_api::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DeleteRangeRequest, HashKvRequest, MemberAddRequest,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
    MoveLeaderRequest, PutRequest, RangeRequest, StatusRequest, TxnRequest,
};
use tonic::{Request, Response, Status};

use super::{Wire, del, get, put, span};

impl Wire {
    /// Notes an answer about alarms without its header, which etcd 3.4 does not always send.
    fn alarms(&mut self, step: &str, result: Result<Response<AlarmResponse>, Status>) {
        let alarms = result.map(|response| Response::new(response.into_inner().alarms));
        self.note(step, alarms);
    }
}

/// Single writes and deletions with every option, and the metadata that clients send along.
pub(super) async fn writes(w: &mut Wire) {
    w.put("no key", put("", "v")).await;
    w.put("no value", put("a", "")).await;
    w.put("previous of none", PutRequest { prev_kv: true, ..put("b", "1") }).await;
    w.put("previous", PutRequest { prev_kv: true, ..put("b", "2") }).await;
    w.put("keep value", PutRequest { ignore_value: true, prev_kv: true, ..put("b", "") }).await;
    w.put("keep value, and give one", PutRequest { ignore_value: true, ..put("b", "3") }).await;
    w.put("keep value of none", PutRequest { ignore_value: true, ..put("c", "") }).await;
    w.put("a lease that is not there", PutRequest { lease: 9, ..put("c", "1") }).await;
    let raw =
        PutRequest { key: vec![0, 255, 10].into(), value: vec![0, 200].into(), ..put("", "") };
    w.put("any bytes", raw).await;
    w.range("read", span("\0", "\0")).await;
    w.delete("no key", del("")).await;
    w.delete("nothing there", del("zzz")).await;
    let span =
        |key: &str, end: &str| DeleteRangeRequest { range_end: end.to_owned().into(), ..del(key) };
    w.delete("reversed", span("z", "a")).await;
    w.delete("equal bounds", span("a", "a")).await;
    w.delete("no key but an end", span("", "b")).await;
    w.delete("range, with previous", DeleteRangeRequest { prev_kv: true, ..span("a", "c") }).await;
    w.delete("everything", span("\0", "\0")).await;
    w.delete("everything again", span("\0", "\0")).await;

    let mut request = Request::new(get("b"));
    request.metadata_mut().insert("hasleader", "true".parse().expect("it is plain text"));
    let result = w.client.kv().range(request).await;
    w.note("a read that needs a leader", result);
}

/// Requests that are too large for the log, and messages that are too large for the connection.
pub(super) async fn sizes(w: &mut Wire) {
    let limit = 1_572_864;
    w.put("half of what is allowed", put("a", &"x".repeat(limit / 2))).await;
    w.put("just below", put("a", &"x".repeat(limit - 1000))).await;
    w.put("the limit itself", put("a", &"x".repeat(limit))).await;
    w.put("above", put("a", &"x".repeat(limit + 1))).await;
    w.put("above what the connection takes", put("a", &"x".repeat(2_200_000))).await;
    w.range("what was written last", RangeRequest { keys_only: true, ..get("a") }).await;
    w.put("the connection is still good", put("b", "1")).await;
}

/// An alarm stops writes, not reads, deletions or compaction, until it is disarmed.
pub(super) async fn alarms(w: &mut Wire) {
    let member = w.client.maintenance().status(StatusRequest {}).await;
    let member =
        member.expect("status is answered").into_inner().header.expect("has one").member_id;
    let alarm = |action: AlarmAction, kind: AlarmType| AlarmRequest {
        action: action.into(),
        member_id: member,
        alarm: kind.into(),
    };
    w.put("before", put("a", "1")).await;
    let raised =
        w.client.maintenance().alarm(alarm(AlarmAction::Activate, AlarmType::Nospace)).await;
    w.alarms("raise", raised);
    w.put("a write", put("a", "2")).await;
    let txn = TxnRequest::default();
    w.txn("a transaction of nothing", txn).await;
    w.range("a read", get("a")).await;
    w.delete("a deletion", del("a")).await;
    w.compact("a compaction", 3).await;
    let listed = w.client.maintenance().alarm(alarm(AlarmAction::Get, AlarmType::None)).await;
    w.alarms("list", listed);
    let status = w.client.maintenance().status(StatusRequest {}).await;
    let errors = status.map(|status| Response::new(status.into_inner().errors));
    w.note("errors in the status", errors);
    let disarmed =
        w.client.maintenance().alarm(alarm(AlarmAction::Deactivate, AlarmType::Nospace)).await;
    w.alarms("disarm", disarmed);
    w.put("a write again", put("a", "3")).await;
    let listed = w.client.maintenance().alarm(alarm(AlarmAction::Get, AlarmType::None)).await;
    w.alarms("list again", listed);
}

/// Member changes that cannot be, and what is said about them.
pub(super) async fn cluster(w: &mut Wire) {
    let mut cluster = w.client.cluster();
    let result = cluster.member_list(MemberListRequest::default()).await;
    w.note("list", result);
    let result = cluster.member_remove(MemberRemoveRequest { id: 5 }).await;
    w.note("remove none", result);
    let urls = |url: &str| vec![url.to_owned()];
    let update = MemberUpdateRequest { id: 5, peer_ur_ls: urls("http://127.0.0.1:1") };
    let result = cluster.member_update(update).await;
    w.note("update none", result);
    let result = cluster.member_promote(MemberPromoteRequest { id: 5 }).await;
    w.note("promote none", result);
    for url in ["", "not a url", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/path"]
    {
        let add = MemberAddRequest { peer_ur_ls: urls(url), is_learner: true };
        let result = cluster.member_add(add).await;
        w.note(&format!("add `{url}`"), result);
    }
    let result = w.client.maintenance().move_leader(MoveLeaderRequest { target_id: 5 }).await;
    w.note("move leadership to none", result);
}

/// What is hashed differs; which revisions can be asked for does not.
pub(super) async fn hashes(w: &mut Wire) {
    for i in 0..5 {
        w.put("write", put("a", &i.to_string())).await;
    }
    w.compact("compact", 3).await;
    for revision in [4, 6, 0, 2, 7, -1] {
        let result = w.client.maintenance().hash_kv(HashKvRequest { revision }).await;
        let result = result.map(|response| {
            let mut message = response.into_inner();
            // etcd 3.4 does not send it.
            message.hash_revision = 0;
            Response::new(message)
        });
        w.note(&format!("hash of revision {revision}"), result);
    }
}
