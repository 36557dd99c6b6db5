//! Bodies that are no JSON, too much of it, too deep, or never end.

use super::http::{Exchange, post};
use super::ours;
use crate::abuse::bystander::held;
use crate::support::server::Server;

/// What every server that lives can answer.
fn lives(server: &Server) {
    assert_eq!(post(server, "/v3/kv/range", r#"{"key":"YQ=="}"#).status, 200);
}

/// Each of these is somebody's mistake; none is worth more than a line to say so.
#[test]
fn nonsense_is_refused_with_a_reason() {
    let mut server = ours();
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let txn = r#"{"success":[{"request_txn":"#;
    let bodies: [Vec<u8>; 14] = [
        b"nonsense".to_vec(),
        b"\0\0\0\0".to_vec(),
        vec![0xff; 100],
        b"{\"key\":\"\xff\xfe\"}".to_vec(),
        b"{\"\xff\":1}".to_vec(),
        b"{\"key\":\"\\ud800\"}".to_vec(),
        br#"{"limit":1e999999}"#.to_vec(),
        format!(r#"{{"limit":{}}}"#, "9".repeat(100_000)).into_bytes(),
        format!(r#"{{"limit":"{}"}}"#, "9".repeat(100_000)).into_bytes(),
        br#"{"limit":-9223372036854775809}"#.to_vec(),
        deep(r#"{"key":"#, "}").into_bytes(),
        deep("[", "]").into_bytes(),
        br#"{"key":"YQ==","key":["#.to_vec(),
        br#"{"key":"YQ=="]}"#.to_vec(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = post(&server, "/v3/kv/range", &body);
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert_eq!(answer.json()["code"], 3, "{shown}: {answer:?}");
        assert!(answer.body.len() < 400, "{shown}: {answer:?}");
    }
    let answer =
        post(&server, "/v3/kv/txn", format!("{}{{}}{}", txn.repeat(5000), "}]}".repeat(5000)));
    assert_eq!(answer.status, 400, "{answer:?}");
    // What nobody knows may be as deep as it likes; it is skipped.
    let unknown = format!(r#"{{"key":"YQ==","nobody":{}}}"#, deep("[", "]"));
    assert_eq!(post(&server, "/v3/kv/range", unknown).status, 200);
    assert!(server.is_running());
    lives(&server);
}

/// A body without an end must not fill the memory.
#[test]
fn endless_bodies_are_cut_off() {
    let server = ours();
    let huge = "content-length: 99999999999\r\n";
    let mut exchange = Exchange::begin(&server, "POST", "/v3/kv/put", huge);
    exchange.send_raw(b"{").expect("the server reads");
    let answer = exchange.answer();
    assert_eq!((answer.status, &answer.json()["code"]), (429, &8.into()), "{answer:?}");
    // Nobody said how long this is.
    let mut exchange = Exchange::open(&server, "/v3/watch");
    let part = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
    exchange.send(r#"{"create_request":{"key":""#);
    let mut sent = 0;
    while exchange.send_raw(&part).is_ok() && sent < 100 << 20 {
        sent += part.len();
    }
    assert!(sent < 100 << 20, "a document of {sent} bytes was read");
    lives(&server);
}

/// A client that goes away in the middle of its body leaves nothing behind that matters.
#[test]
fn broken_off_bodies_do_no_harm() {
    let server = ours();
    for _ in 0..50 {
        let mut exchange =
            Exchange::begin(&server, "POST", "/v3/kv/put", "content-length: 100\r\n");
        exchange.send_raw(br#"{"key":"YQ==""#).expect("the server reads");
        drop(exchange);
    }
    lives(&server);
    let read = post(&server, "/v3/kv/range", r#"{"key":"YQ=="}"#);
    assert_eq!(read.json()["count"], serde_json::Value::Null, "half a put is no put");
}

/// Many watches at once cost what watches cost; a reader that does not read costs no more.
#[test]
fn flood_of_watches_is_bounded() {
    let server = ours();
    let watches: Vec<Exchange> = (0..200)
        .map(|_| {
            let mut watch = Exchange::open(&server, "/v3/watch");
            watch.send(r#"{"create_request":{"key":"YQ=="}}"#);
            watch
        })
        .collect();
    // None of them reads, and each event is large: together they would be 1.6 GB.
    let value = "AAAA".repeat(100_000);
    for _ in 0..20 {
        let put = format!(r#"{{"key":"YQ==","value":"{value}"}}"#);
        assert_eq!(post(&server, "/v3/kv/put", put).status, 200);
    }
    let memory_mib = held(&server).memory_mib;
    assert!(memory_mib < 500, "{memory_mib} MiB are held");
    drop(watches);
    lives(&server);
}
