//! Answers byte by byte, as etcd 3.6 prints them (it may put a blank behind a comma; we never do).

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http::{post, request};
use super::ours;
use crate::support::calls::in_a_runtime;
use crate::support::server::Server;

/// The answer's body, with the header of a cluster of one spelled short.
fn body(server: &Server, path: &str, body: &str) -> String {
    short(server, &post(server, path, body).body)
}

fn short(server: &Server, body: &str) -> String {
    let ids = server.ids();
    let names = format!(r#""cluster_id":"{}","member_id":"{}""#, ids.cluster, ids.member);
    body.replace(&names, "IDS").replace(r#","raft_term":"1""#, "")
}

/// Programs that read these with regular expressions exist, and are not few.
#[test]
fn answers_are_spelled_as_etcd_spells_them() {
    let server = ours();
    let check = |path: &str, asked: &str, expected: &str| {
        assert_eq!(body(&server, path, asked), expected, "{path} {asked}");
    };
    let put = r#"{"key":"Zm9v","value":"YmFy","prev_kv":true}"#;
    check("/v3/kv/put", put, r#"{"header":{IDS,"revision":"2"}}"#);
    check(
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"Pz8/","prevKv":true}"#,
        concat!(
            r#"{"header":{IDS,"revision":"3"},"prev_kv":{"key":"Zm9v","create_revision":"2","#,
            r#""mod_revision":"2","version":"1","value":"YmFy"}}"#
        ),
    );
    check(
        "/v3/kv/range",
        r#"{"key":"Zm9v"}"#,
        concat!(
            r#"{"header":{IDS,"revision":"3"},"kvs":[{"key":"Zm9v","create_revision":"2","#,
            r#""mod_revision":"3","version":"2","value":"Pz8/"}],"count":"1"}"#
        ),
    );
    check("/v3/kv/range", r#"{"key":"eA=="}"#, r#"{"header":{IDS,"revision":"3"}}"#);
    check(
        "/v3/kv/txn",
        concat!(
            r#"{"compare":[{"target":"VALUE","result":0,"key":"Zm9v","value":"YmFy"}],"#,
            r#""success":[{"request_put":{"key":"eA=="}}],"#,
            r#""failure":[{"requestRange":{"key":"Zm9v","keys_only":true}}]}"#
        ),
        concat!(
            r#"{"header":{IDS,"revision":"3"},"responses":[{"response_range":{"header":"#,
            r#"{"revision":"3"},"kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"3","#,
            r#""version":"2"}],"count":"1"}}]}"#
        ),
    );
    check("/v3/maintenance/defragment", "{}", "{}");
    check("/v3/maintenance/alarm", r#"{"action":"GET"}"#, r#"{"header":{IDS,"revision":"3"}}"#);
    check(
        "/v3/lease/timetolive",
        r#"{"ID":9}"#,
        r#"{"header":{IDS,"revision":"3"},"ID":"9","TTL":"-1"}"#,
    );
}

/// Scripts branch on the status, and people read the text.
#[test]
fn errors_are_spelled_as_etcd_spells_them() {
    let server = ours();
    let check = |path: &str, asked: &str, status: u16, expected: &str| {
        let answer = post(&server, path, asked);
        assert_eq!((answer.status, &*answer.body), (status, expected), "{path} {asked:.99}");
        assert_eq!(answer.header("grpc-metadata-content-type"), None);
    };
    let empty = r#"{"code":3,"message":"etcdserver: key is not provided"}"#;
    check("/v3/kv/range", "{}", 400, empty);
    check("/v3/kv/range", "", 400, empty);
    check("/v3/kv/range", " \n", 400, empty);
    check("/v3/kv/range", r#"{}{"key":"YQ=="}"#, 400, empty);
    let lease = r#"{"code":5,"message":"etcdserver: requested lease not found"}"#;
    check("/v3/kv/put", r#"{"key":"YQ==","lease":"7"}"#, 404, lease);
    let future =
        r#"{"code":11,"message":"etcdserver: mvcc: required revision is a future revision"}"#;
    check("/v3/kv/range", r#"{"key":"YQ==","revision":99}"#, 400, future);
    let downgrade = r#"{"code":9,"message":"etcdserver: no inflight downgrade job"}"#;
    check("/v3/maintenance/downgrade", r#"{"action":"CANCEL"}"#, 400, downgrade);
    let wrong = r#"{"code":3,"message":"etcdserver: wrong downgrade target version format"}"#;
    check("/v3/maintenance/downgrade", r#"{"action":1,"version":"x"}"#, 400, wrong);
    check("/v3/lock/lock", r#"{"name":"bA==","lease":7}"#, 500, &lease.replace(":5,", ":2,"));
    check("/v3/election/leader", "{}", 500, r#"{"code":2,"message":"election: no leader"}"#);
    let large = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "AAAA".repeat(700_000));
    let text =
        r#"{"code":8,"message":"grpc: received message larger than max (2100008 vs. 2097152)"}"#;
    check("/v3/kv/put", &large, 429, text);
}

/// A header of the request is metadata of the call if it says so, and nothing else is.
#[test]
fn metadata_reaches_the_call() {
    let server = ours();
    let ask =
        |headers: &str| request(&server, "POST", "/v3/kv/range", headers, br#"{"key":"YQ=="}"#);
    // A token means nothing while authentication is off.
    assert_eq!(ask("authorization: bogus\r\n").status, 200);
    assert_eq!(ask("grpc-metadata-hasleader: true\r\n").status, 200);
    // How messages travel is not for the caller to say: this would be refused.
    assert_eq!(ask("grpc-metadata-grpc-encoding: gzip\r\ngrpc-encoding: gzip\r\n").status, 200);
    let answer = ask("content-type: text/plain\r\n");
    assert_eq!(answer.header("grpc-metadata-content-type"), Some("application/grpc"));
}

/// HTTP/2 shares the port with gRPC, and only the content type tells the two apart.
#[test]
fn http2_is_answered_as_http1_is() {
    let server = ours();
    post(&server, "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#);
    let asked = r#"{"key":"YQ=="}"#;
    let url = format!("{}/v3/kv/range", server.client_url());
    let (status, text) = in_a_runtime(async {
        let stream = tokio::net::TcpStream::connect(server.client_address()).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let body = Full::new(bytes::Bytes::from(asked));
        let request = ::http::Request::post(url).body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    });
    assert_eq!(status, 200);
    assert_eq!(text, post(&server, "/v3/kv/range", asked).body);
}
