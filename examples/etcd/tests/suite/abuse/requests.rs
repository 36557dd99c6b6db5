//! Requests that reach the services: too large, with numbers that mean nothing, or not well-formed.
//!
//! What one of etcd's clients can send is compared with real etcd in [`crate::wire`]. Here are the
//! exact words where a client depends on them, and what no client sends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use drystone_etcd_api::etcdserverpb::{
    AlarmRequest, Compare, PutRequest, RangeRequest, TxnRequest, WatchCreateRequest,
};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::body::Body;
use tonic::client::GrpcService;

use super::bystander::{Bystander, held};
use super::http2::message;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

/// What a request may weigh by default, and a message with it.
const REQUEST_BYTES_MAX: usize = 1_572_864;
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 512 * 1024;

fn put(key: &'static str, bytes: usize) -> PutRequest {
    PutRequest { key: key.into(), value: vec![b'x'; bytes].into(), ..PutRequest::default() }
}

/// Client libraries turn these words into the errors that their callers handle.
#[test]
fn oversized_requests_are_refused_in_etcds_words() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let refused = |status: tonic::Status| (status.code(), status.message().to_owned());
        let too_large = (Code::InvalidArgument, "etcdserver: request is too large".to_owned());
        for bytes in [REQUEST_BYTES_MAX, REQUEST_BYTES_MAX + 1, 2_000_000] {
            let answer = client.kv().put(put("a", bytes)).await;
            assert_eq!(answer.map_err(refused).expect_err("it is refused"), too_large);
        }
        let two = [put("a", 1_000_000), put("b", 1_000_000)].map(|put| operation(&put));
        let txn = TxnRequest { success: two.to_vec(), ..TxnRequest::default() };
        let answer = client.kv().txn(txn).await;
        assert_eq!(answer.map_err(refused).expect_err("it is refused"), too_large);

        for bytes in [MESSAGE_BYTES_MAX, 10 << 20] {
            let request = put("a", bytes);
            let weight = request.encoded_len();
            let words = format!("grpc: received message larger than max ({weight} vs. 2097152)");
            let answer = client.kv().put(request).await;
            let expected = (Code::ResourceExhausted, words);
            assert_eq!(answer.map_err(refused).expect_err("it is refused"), expected);
        }
        // A stream ends the same way.
        let create = WatchCreateRequest { key: vec![b'x'; 3 << 20].into(), ..Default::default() };
        let (code, words) =
            Watch::open(&client, create).await.map_err(refused).map(drop).unwrap_err();
        assert_eq!(code, Code::ResourceExhausted, "{words}");
        assert!(words.ends_with(" vs. 2097152)"), "{words}");

        assert_eq!(calls::get(&client, "a").await.count, 0, "nothing was written");
        assert_eq!(calls::put(&client, "a", "1", 0).await, 2, "the connection goes on");
    });
}

fn operation(put: &PutRequest) -> drystone_etcd_api::etcdserverpb::RequestOp {
    use drystone_etcd_api::etcdserverpb::request_op::Request;
    drystone_etcd_api::etcdserverpb::RequestOp { request: Some(Request::RequestPut(put.clone())) }
}

/// A newer client may send numbers that an older server has no names for. What etcd makes of them
/// is what ours must make of them.
#[test]
fn numbers_without_a_name_are_taken_as_etcd_takes_them() {
    let Some(real) = programs::real_or_skip("numbers_without_a_name") else { return };
    let answers = |program: &std::path::Path| {
        let server = Server::start(program, &[]);
        in_a_runtime(async { ask_with_numbers(&client_of(&server).await).await })
    };
    let (theirs, ours) = (answers(&real.etcd), answers(&programs::ours()));
    assert!(theirs.len() > 20);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs, ours, "etcd, ours");
    }
}

/// etcd raises alarms that have no name, which then stop nothing and cannot be told apart, and
/// falls when it is asked for an action that it does not know. Ours refuses both.
#[test]
fn alarms_without_a_name_do_nothing() {
    if !programs::is_ours() {
        return crate::support::skip("alarms_without_a_name", "real etcd would not survive it");
    }
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for (action, alarm) in [(1, 99), (1, -1), (2, 99), (-1, 1), (3, 1), (i32::MAX, i32::MIN)] {
            let request = AlarmRequest { action, alarm, ..AlarmRequest::default() };
            let refused = client.maintenance().alarm(request).await.expect_err("it is refused");
            assert_eq!(refused.code(), Code::InvalidArgument, "{action} {alarm}: {refused}");
        }
        let all = client.maintenance().alarm(AlarmRequest::default()).await;
        assert_eq!(all.expect("alarms are listed").into_inner().alarms, []);
        calls::put(&client, "a", "no alarm stands in the way", 0).await;
    });
}

/// Asks with numbers out of range, and says in short what came back.
async fn ask_with_numbers(client: &Client) -> Vec<String> {
    let mut answers = Vec::new();
    calls::put(client, "a", "m", 0).await;
    let numbers = [-1, 0, 1, 2, 3, 4, 5, 99, i32::MAX];
    let with = [
        None,
        Some(TargetUnion::Version(1)),
        Some(TargetUnion::Value("m".into())),
        Some(TargetUnion::Value("z".into())),
    ];
    for union in with {
        for number in numbers {
            let result = Compare { result: number, ..compare(union.clone(), CompareTarget::Value) };
            answers.push(holds(client, format!("result {number} {union:?}"), result).await);
            let target = Compare { target: number, ..compare(union.clone(), CompareTarget::Value) };
            answers.push(holds(client, format!("target {number} {union:?}"), target).await);
        }
    }
    for filter in [-1, 2, 99] {
        let key = format!("filter {filter}");
        let create = WatchCreateRequest {
            key: key.clone().into(),
            filters: vec![filter],
            ..WatchCreateRequest::default()
        };
        let (mut watch, _) = Watch::open(client, create).await.expect("the watch is there");
        calls::put(client, &key, "v", 0).await;
        let events = watch.message().await.map(|message| message.events.len());
        answers.push(format!("{key}: {:?}", events.map_err(|status| status.code())));
    }
    answers
}

fn compare(union: Option<TargetUnion>, target: CompareTarget) -> Compare {
    let (result, target) = (CompareResult::Equal.into(), target.into());
    Compare { result, target, key: "a".into(), target_union: union, ..Compare::default() }
}

async fn holds(client: &Client, what: String, compare: Compare) -> String {
    let txn = TxnRequest { compare: vec![compare], ..TxnRequest::default() };
    let answer = client.kv().txn(txn).await.map(|answer| answer.into_inner().succeeded);
    let answer = answer.map_err(|status| (status.code(), status.message().to_owned()));
    format!("{what}: {answer:?}")
}

/// Nesting costs the decoder's stack, not the sender's.
#[test]
fn endless_nesting_is_refused() {
    let mut server = Server::start(&programs::ours(), &[]);
    let nested = |depth: usize| {
        let mut txn = TxnRequest::default().encode_to_vec();
        for _ in 0..depth {
            // A transaction in an operation (field 4) in the success branch (field 2) of the next.
            txn = field(2, &field(4, &txn));
        }
        txn
    };
    in_a_runtime(async {
        let client = client_of(&server).await;
        let (code, words) = call(&client, KV_TXN, message(&nested(20))).await;
        assert_eq!(code, Code::Ok, "{words}");
        for depth in [200, 5000, 200_000] {
            let (code, words) = call(&client, KV_TXN, message(&nested(depth))).await;
            assert_ne!(code, Code::Ok, "{depth} deep: {words}");
        }
        assert_eq!(calls::put(&client, "a", "1", 0).await, 2);
    });
    assert!(server.is_running());
}

/// One field of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}

const KV_RANGE: &str = "/etcdserverpb.KV/Range";
const KV_TXN: &str = "/etcdserverpb.KV/Txn";

/// The code and text of the answer to a call of `path` with `body`, whatever that is.
async fn call(client: &Client, path: &str, body: Vec<u8>) -> (Code, String) {
    call_with(client, path, "application/grpc", body).await
}

async fn call_with(client: &Client, path: &str, kind: &str, body: Vec<u8>) -> (Code, String) {
    send(client, http::Request::post(path).header("content-type", kind), body).await
}

async fn send(client: &Client, request: http::request::Builder, body: Vec<u8>) -> (Code, String) {
    let request = request
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from(body))))
        .expect("the request can be built");
    let mut channel = client.channel();
    let ready = std::future::poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await;
    ready.expect("the connection holds");
    let answer = GrpcService::call(&mut channel, request).await.expect("the connection holds");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("the answer has an end");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let find = |name: &str| {
        let value = head.headers.get(name).or_else(|| trailers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let Some(code) = find("grpc-status") else {
        return (Code::Unknown, format!("HTTP status {}", head.status));
    };
    (Code::from_bytes(code.as_bytes()), find("grpc-message").unwrap_or_default())
}

/// gRPC around nonsense, and nonsense around gRPC.
#[test]
fn malformed_calls_are_refused() {
    let mut server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let range = RangeRequest { key: "a".into(), ..RangeRequest::default() }.encode_to_vec();
        let (code, words) = call(&client, KV_RANGE, message(&range)).await;
        assert_eq!(code, Code::Ok, "the tool works: {words}");

        let bodies: [(&str, Vec<u8>, &[Code]); 9] = [
            ("no message", vec![], &[Code::Internal, Code::Unimplemented]),
            ("half a length", vec![0, 0, 0], &[Code::Internal]),
            ("less than it says", message(&range)[..6].to_vec(), &[Code::Internal]),
            ("4 GiB, it says", vec![0, 255, 255, 255, 255, 1], &[Code::ResourceExhausted]),
            ("no protobuf", message(&[0xff; 50]), &[Code::Internal]),
            ("a field beyond its message", message(&[0x0a, 200, 1]), &[Code::Internal]),
            ("an endless number", message(&[&[0x18][..], &[0xff; 20]].concat()), &[Code::Internal]),
            (
                "compressed, it says",
                [&[1][..], &message(&range)[1..]].concat(),
                &[Code::Internal, Code::Unimplemented],
            ),
            (
                "two messages in a call of one",
                [message(&range), message(&range)].concat(),
                &[Code::Ok, Code::Internal, Code::Unimplemented],
            ),
        ];
        for (name, body, codes) in bodies {
            let (code, words) = call(&client, KV_RANGE, body).await;
            println!("{name}: {code:?} {words}");
            assert!(codes.contains(&code), "{name}: {code:?} {words}");
        }

        let unknown = [
            (
                "/etcdserverpb.KV/Frobnicate",
                "unknown method Frobnicate for service etcdserverpb.KV",
            ),
            ("/foo.Bar/Baz", "unknown service foo.Bar"),
            ("/", "malformed method name"),
            ("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
        ];
        for (path, expected) in unknown {
            let (code, words) = call(&client, path, message(&range)).await;
            let words = percent_decoded(&words);
            assert_eq!(code, Code::Unimplemented, "{path}: {words}");
            assert!(words.contains(expected), "{path}: {words}");
        }
        let (_, words) = call_with(&client, KV_RANGE, "text/plain", message(&range)).await;
        assert!(words.starts_with("HTTP status 4"), "not gRPC, so not answered as such: {words}");

        assert_eq!(calls::put(&client, "a", "1", 0).await, 2, "the connection goes on");
    });
    assert!(server.is_running());
}

/// A message that is packed in a way that the server does not know, or says so, is refused in the
/// words of etcd: a client library that compresses by itself learns from them not to.
#[test]
fn compressed_messages_are_refused_in_etcds_words() {
    let Some(real) = programs::real_or_skip("compressed_messages") else { return };
    let range = RangeRequest { key: "a".into(), ..RangeRequest::default() }.encode_to_vec();
    let flagged = |flag: u8| [&[flag][..], &message(&range)[1..]].concat();
    let calls = [
        (Some("gzip"), flagged(1)),
        (Some("snappy"), flagged(1)),
        (Some("identity"), flagged(0)),
        (Some("identity"), flagged(1)),
        (None, flagged(1)),
        (None, flagged(7)),
    ];
    let answers = |program: &std::path::Path| {
        let server = Server::start(program, &[]);
        in_a_runtime(async {
            let client = client_of(&server).await;
            let mut answers = Vec::new();
            for (encoding, body) in &calls {
                let request =
                    http::Request::post(KV_RANGE).header("content-type", "application/grpc");
                let request = match encoding {
                    Some(encoding) => request.header("grpc-encoding", *encoding),
                    None => request,
                };
                let (code, words) = send(&client, request, body.clone()).await;
                let words = percent_decoded(&words).replace("%22", "\"");
                answers.push(format!("{encoding:?} {}: {code:?} {words}", body[0]));
            }
            answers
        })
    };
    let (theirs, ours) = (answers(&real.etcd), answers(&programs::ours()));
    for (theirs, ours) in theirs.iter().zip(&ours) {
        println!("etcd {theirs}\nours {ours}");
    }
    assert_eq!(theirs, ours);
}

/// gRPC escapes what a header cannot hold.
fn percent_decoded(text: &str) -> String {
    text.replace("%20", " ")
}

const ANSWERS: u64 = 8;
const ANSWER_MIB: u64 = 64;
/// Besides the answers themselves.
const SLACK_MIB: u64 = 64;

/// A client that asks for everything in an order of its own, over and over, and does not listen. As
/// in etcd, each answer is held until the client takes it; it is held once, and goes with the
/// client. (What is asked for in the order of keys is not held; see [`super::readers`].)
#[test]
fn answers_nobody_reads_are_held_once_and_given_back() {
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    let memory = || held(&server).memory_mib;
    in_a_runtime(async {
        let client = client_of(&server).await;
        for i in 0..ANSWER_MIB {
            calls::put(&client, &format!("k{i}"), vec![b'x'; 1 << 20], 0).await;
        }
        let bystander = Bystander::watch_over(&server);
        let before = memory();
        let config = Config {
            stream_window_bytes: 65_535,
            connection_window_bytes: 65_535,
            ..Config::default()
        };
        let deaf = connect(&server.client_url(), &config).await;
        let deaf = deaf.expect("a server that answers accepts connections");
        let mut calls = JoinSet::new();
        for _ in 0..ANSWERS {
            let (key, range_end) = ("k".into(), "l".into());
            let (sort_order, sort_target) = (SortOrder::Ascend.into(), SortTarget::Mod.into());
            let all =
                RangeRequest { key, range_end, sort_order, sort_target, ..RangeRequest::default() };
            // The head of an answer is not held up by its body, so the call returns.
            let (mut kv, channel) = (deaf.kv(), deaf.channel());
            calls.spawn(async move { kv.range(all).await.map(drop).map(|()| channel) });
        }
        drop(deaf);
        let all = ANSWERS * ANSWER_MIB;
        let deadline = Instant::now() + Duration::from_secs(60);
        while memory() < before + all * 3 / 4 {
            assert!(Instant::now() < deadline, "the answers are held: {} MiB", memory());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let worst = memory();
        calls.shutdown().await;
        let deadline = Instant::now() + Duration::from_secs(60);
        while memory() > before + SLACK_MIB {
            assert!(Instant::now() < deadline, "not given back: {before}, now {} MiB", memory());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{before} MiB before, {worst} with {all} MiB of answers, then {}", memory());
        assert!(worst <= before + all + SLACK_MIB, "{worst} MiB");
        bystander.was_served_promptly();
    });
}
