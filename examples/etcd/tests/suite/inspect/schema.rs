//! The JSON, field by field: programs are written against it.

use drystone_etcd_api::etcdserverpb as pb;
use serde_json::{Value, json};

use super::look::{Told, told};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

/// The fields of an object, sorted.
#[track_caller]
fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> =
        value.as_object().expect("an object").keys().map(|k| &**k).collect();
    fields.sort_unstable();
    fields
}

/// A request of each kind that changes something.
async fn one_of_each(server: &Server) {
    let client = client_of(server).await;
    calls::grant(&client, 9, 100).await;
    calls::put(&client, "k", "v", 9).await;
    let put =
        pb::PutRequest { key: "k".into(), ignore_value: true, prev_kv: true, ..Default::default() };
    client.kv().put(put.clone()).await.expect("a put is answered");
    let compare = pb::Compare {
        key: "k".into(),
        range_end: "l".into(),
        result: pb::compare::CompareResult::Greater as i32,
        target: pb::compare::CompareTarget::Mod as i32,
        target_union: Some(pb::compare::TargetUnion::ModRevision(1)),
    };
    let op = |request| pb::RequestOp { request: Some(request) };
    use pb::request_op::Request;
    let range = pb::RangeRequest { key: "a".into(), limit: 3, revision: 1, ..Default::default() };
    let inner = pb::TxnRequest {
        success: vec![op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: "x".into(),
            range_end: "\0".into(),
            ..Default::default()
        }))],
        ..Default::default()
    };
    let put = pb::PutRequest { key: "t".into(), value: "w".into(), ..Default::default() };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(Request::RequestPut(put)), op(Request::RequestTxn(inner))],
        failure: vec![op(Request::RequestRange(range))],
    };
    client.kv().txn(txn).await.expect("a transaction is answered");
    calls::revoke(&client, 9).await;
    calls::delete_everything(&client).await;
    calls::compact(&client, 3).await;
    let alarm = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate as i32,
        member_id: 5,
        alarm: pb::AlarmType::Nospace as i32,
    };
    client.maintenance().alarm(alarm).await.expect("an alarm is raised");
    calls::save(&client).await;
}

/// The request of the `nth` entry of this kind.
#[track_caller]
fn request<'t>(told: &'t Told, kind: &str, nth: usize) -> &'t Value {
    let mut of_kind = told.entries.iter().filter(|entry| entry["kind"] == kind);
    let found = of_kind.nth(nth).unwrap_or_else(|| panic!("no {kind} in {:?}", told.entries));
    &found["request"]
}

/// Every kind of request comes out as it went in, in etcd's words.
#[test]
fn requests_are_told_in_etcds_words() {
    let mut server = Server::start(&programs::ours(), &[]);
    in_a_runtime(one_of_each(&server));
    server.kill();
    let told = told(&server.data_dir(), &[]);
    for entry in &told.entries {
        assert_eq!(fields(entry), ["committed", "index", "kind", "request", "term", "type"]);
    }
    let check = |kind: &str, nth: usize, expected: Value| {
        assert_eq!(*request(&told, kind, nth), expected, "{kind} {nth}");
    };
    check("lease_grant", 0, json!({ "ID": 9, "TTL": 100 }));
    check("put", 0, json!({ "key": "aw==", "value": "dg==", "lease": 9 }));
    let kept = json!({ "key": "aw==", "ignore_value": true, "lease": 0, "prev_kv": true });
    check("put", 1, kept);
    let compare = json!({
        "key": "aw==", "range_end": "bA==", "result": "GREATER", "target": "MOD", "mod_revision": 1
    });
    let all = json!({ "key": "eA==", "range_end": "AA==" });
    let inner = json!({
        "compare": [], "success": [{ "request_delete_range": all }], "failure": []
    });
    let put = json!({ "key": "dA==", "value": "dw==", "lease": 0 });
    let txn = json!({
        "compare": [compare],
        "success": [{ "request_put": put }, { "request_txn": inner }],
        "failure": [{ "request_range": { "key": "YQ==", "limit": 3, "revision": 1 } }],
    });
    check("txn", 0, txn);
    check("lease_revoke", 0, json!({ "ID": 9 }));
    check("delete_range", 0, json!({ "key": "AA==", "range_end": "AA==" }));
    check("compaction", 0, json!({ "revision": 3 }));
    check("alarm", 0, json!({ "action": "ACTIVATE", "memberID": 5, "alarm": "NOSPACE" }));
    let (ids, peer) = (server.ids(), server.peer_url());
    let member = json!({
        "ID": ids.member, "name": "solo", "peerURLs": [peer], "clientURLs": [], "isLearner": false
    });
    check("cluster_init", 0, json!({ "cluster_id": ids.cluster, "members": [member] }));
    let publish = json!({ "ID": ids.member, "name": "solo", "clientURLs": [server.client_url()] });
    check("member_publish", 0, publish);
    check("blank", 0, json!({}));
}

/// The fields that the README names are there, whatever the engine, and no other.
#[test]
fn the_summary_has_the_fields_that_are_documented() {
    for engine in ["memory", "btree", "lsm"] {
        let flag = format!("--storage-engine={engine}");
        let mut server = Server::start(&programs::ours(), &[&flag]);
        in_a_runtime(one_of_each(&server));
        server.terminate();
        let told = told(&server.data_dir(), &[]);
        let summary = &told.summary;
        let sections = ["cluster", "data_dir", "engine", "formats", "holder", "identity", "log"];
        assert_eq!(fields(summary), [&sections[..], &["schema", "snapshots", "type"]].concat());
        assert_eq!(summary["schema"], 1);
        let identity = ["cluster_id", "format", "member_id", "name", "storage_engine"];
        assert_eq!(fields(&summary["identity"]), identity);
        let formats = summary["formats"].as_array().expect("a list");
        for format in formats {
            assert_eq!(fields(format), ["file", "versions", "what"]);
        }
        let whats: Vec<&Value> = formats.iter().map(|format| &format["what"]).collect();
        assert_eq!(whats, ["identity", "peers", "store", "log", engine]);
        let cluster = ["as_of", "cluster_id", "members", "removed", "voting"];
        assert_eq!(fields(&summary["cluster"]), cluster);
        let member = ["ID", "clientURLs", "isLearner", "name", "peerURLs"];
        assert_eq!(fields(&summary["cluster"]["members"][0]), member);
        let voting = ["index", "learners", "outgoing", "voters"];
        assert_eq!(fields(&summary["cluster"]["voting"]), voting);
        let log = [
            "bytes",
            "committed",
            "compacted",
            "compacted_term",
            "dir",
            "end_lost",
            "entries",
            "generation",
            "last",
            "last_term",
            "missing",
            "segments",
            "term",
            "torn",
            "vote",
            "vote_lost",
        ];
        assert_eq!(fields(&summary["log"]), log);
        let fields_of_engine = [
            "alarms",
            "applied",
            "auth_enabled",
            "auth_revision",
            "bytes",
            "bytes_in_use",
            "compacted_revision",
            "dir",
            "files",
            "keys",
            "kind",
            "leases",
            "loading",
            "puts",
            "records",
            "revision",
            "roles",
            "swept_revision",
            "tombstones",
            "users",
        ];
        assert_eq!(fields(&summary["engine"]), fields_of_engine);
        let alarm = json!([{ "member_id": 5, "alarm": "NOSPACE" }]);
        assert_eq!(summary["engine"]["alarms"], alarm);
        let files: &[&str] = match engine {
            "memory" => &["engine", "file", "file_bytes"],
            "btree" => &["engine", "file", "page_bytes", "pages", "pages_free", "transaction"],
            _ => &["engine", "keyspaces", "tables"],
        };
        assert_eq!(fields(&summary["engine"]["files"]), files);
        assert_eq!(fields(&told.end), ["damage", "entries", "sound", "type"]);
    }
}
