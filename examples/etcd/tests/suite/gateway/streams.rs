//! Streams over real sockets: answers that come while the request is still open.

use serde_json::{Value, json};

use super::http::{Exchange, post};
use super::ours;
use crate::support::server::Server;

fn put(server: &Server, key: &str, value: &str) {
    let answer = post(server, "/v3/kv/put", json!({"key": key, "value": value}).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A watch, created by the first document of a request that stays open.
fn watch(server: &Server, create: &Value) -> Exchange {
    let mut watch = Exchange::open(server, "/v3/watch");
    watch.send(json!({"create_request": create}).to_string());
    let head = watch.head();
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-type"), Some("application/json"));
    let created = watch.line().expect("a watch is created");
    assert_eq!(created["result"]["created"], true, "{created}");
    watch
}

/// Whoever watches through the gateway has no other way to hear of a change.
#[test]
fn watch_tells_what_happens() {
    let server = ours();
    let mut watch = watch(&server, &json!({"key": "YQ==", "range_end": "Yg=="}));
    put(&server, "YWI=", "MQ==");
    let seen = watch.line().expect("the watch goes on");
    let event = &seen["result"]["events"][0];
    // A put is the zero of its enum, and so is left out.
    assert_eq!(event["type"], Value::Null, "{seen}");
    assert_eq!(event["kv"]["key"], "YWI=", "{seen}");
    assert_eq!(event["kv"]["mod_revision"], "2", "{seen}");
    post(&server, "/v3/kv/deleterange", r#"{"key":"YWI="}"#);
    let seen = watch.line().expect("the watch goes on");
    assert_eq!(seen["result"]["events"][0]["type"], "DELETE", "{seen}");
}

/// Several documents in one request: each is acted on when it is whole, wherever it is cut.
#[test]
fn request_may_hold_several_documents() {
    let server = ours();
    let mut watch = watch(&server, &json!({"key": "YQ=="}));
    watch.send(r#"{"create_request":{"key":"Yg==","watch_id":"#);
    watch.send(r#"7}} {"cancel_request":{"watch_id":7}}{"progress_re"#);
    let created = watch.line().expect("it is created");
    assert_eq!(created["result"]["watch_id"], "7", "{created}");
    let canceled = watch.line().expect("it is canceled");
    assert_eq!(canceled["result"]["canceled"], true, "{canceled}");
    watch.send(r#"quest":{}}"#);
    let progress = watch.line().expect("progress is told");
    assert_eq!(progress["result"]["watch_id"], "-1", "{progress}");
    // The end of the request is not the end of the watch.
    watch.end();
    put(&server, "YQ==", "MQ==");
    assert_eq!(watch.line().expect("it goes on")["result"]["events"][0]["kv"]["value"], "MQ==");
}

/// A body that turns to garbage ends the stream with a line that says why.
#[test]
fn garbage_in_a_stream_ends_it_with_a_reason() {
    let server = ours();
    let mut watch = watch(&server, &json!({"key": "YQ=="}));
    watch.send("{}nonsense");
    let error = watch.line().expect("the reason is told");
    assert_eq!(error["error"]["code"], 3, "{error}");
    assert_eq!(watch.line(), None, "the stream has ended");
}

/// A keep-alive of a lease that is gone is an answer without a time, and the stream goes on.
#[test]
fn keep_alives_are_answered_one_by_one() {
    let server = ours();
    post(&server, "/v3/lease/grant", r#"{"ID":"7","TTL":"60"}"#);
    let mut alive = Exchange::open(&server, "/v3/lease/keepalive");
    alive.send(r#"{"ID":7}"#);
    assert_eq!(alive.head().status, 200);
    assert_eq!(alive.line().expect("it is renewed")["result"]["TTL"], "60");
    alive.send(r#"{"ID":"8"}"#);
    let gone = alive.line().expect("it is answered");
    assert_eq!((&gone["result"]["ID"], &gone["result"]["TTL"]), (&json!("8"), &Value::Null));
    alive.send(r#"{"ID":7}"#);
    assert_eq!(alive.line().expect("it is renewed")["result"]["TTL"], "60");
    alive.end();
    assert_eq!(alive.line(), None, "the stream ends with its request");
}

/// A server that stops tells its watchers, who would otherwise wait for ever.
#[test]
fn stop_is_told_to_streams() {
    let mut server = ours();
    let mut watch = watch(&server, &json!({"key": "YQ=="}));
    server.terminate();
    let error = watch.line().expect("the reason is told");
    assert_eq!(error["error"], json!({"code": 14, "message": "etcdserver: server stopped"}));
}

/// A snapshot is whole: the last part is the digest of those before.
#[test]
fn snapshot_is_streamed() {
    let server = ours();
    let answer = post(&server, "/v3/maintenance/snapshot", "{}");
    let lines: Vec<&str> = answer.body.lines().collect();
    assert!(lines.len() >= 2, "{lines:?}");
    let last: Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    // 32 bytes in base64.
    assert_eq!(last["result"]["blob"].as_str().map(str::len), Some(44), "{last}");
}
