//! Clients that wait only so long.

use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
};
use drystone_etcd_api::v3lockpb::LockRequest;
use tonic::Code;

use super::{call, words};
use crate::cluster::fleet::{Fleet, wait};
use crate::gateway::http;
use crate::metrics::page::Page;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const PUT: &str = "/etcdserverpb.KV/Put";
const EXCEEDED: (Code, &str) = (Code::DeadlineExceeded, "context deadline exceeded");
/// Without a deadline the server would wait for longer than this.
const SOON: Duration = Duration::from_secs(4);

/// What the server has counted as ended in this way.
fn ended_late(server: &Server, method: &str) -> f64 {
    let page = Page::fetch(&server.client_address());
    page.number(
        "grpc_server_handled_total",
        &[("grpc_code", "DeadlineExceeded"), ("grpc_method", method)],
    )
}

/// A lock that is taken is waited for, and a watch goes on for ever: both end when nobody waits.
#[test]
fn calls_that_wait_end_with_their_deadline() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[]);
    let address = server.client_address();
    in_a_runtime(async {
        let client = client_of(&server).await;
        calls::grant(&client, 1, 60).await;
        calls::grant(&client, 2, 60).await;
        let lock = |lease| LockRequest { name: "l".into(), lease };
        let path = "/v3lockpb.Lock/Lock";
        call(&address, path, "30S", &lock(1)).await.expect("nobody else wants it");
        let begun = Instant::now();
        let refused = call(&address, path, "50m", &lock(2)).await.expect_err("it is taken");
        assert_eq!(words(&refused), EXCEEDED);
        assert!(begun.elapsed() >= Duration::from_millis(50) && begun.elapsed() < SOON);
        while !calls::get(&client, "l/2").await.kvs.is_empty() {
            assert!(begun.elapsed() < SOON, "whoever went away stands in no line");
        }

        let on_k = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
        let watch = WatchRequest { request_union: Some(RequestUnion::CreateRequest(on_k)) };
        let path = "/etcdserverpb.Watch/Watch";
        let ended = call(&address, path, "200m", &watch).await.expect_err("nothing happens");
        assert_eq!(words(&ended), EXCEEDED);

        let none = PutRequest { key: "none".into(), ..PutRequest::default() };
        let refused = call(&address, PUT, "0n", &none).await.expect_err("its time has passed");
        assert_eq!(words(&refused), EXCEEDED);
        assert!(calls::get(&client, "none").await.kvs.is_empty(), "it was not begun");
        let refused = call(&address, PUT, "1x", &none).await.expect_err("that is no time");
        let text = "malformed grpc-timeout: transport: timeout unit is not recognized: \"1x\"";
        assert_eq!(words(&refused), (Code::Internal, text));
        call(&address, PUT, "10S", &none).await.expect("there is time");
    });
    for method in ["Lock", "Watch", "Put"] {
        assert!(ended_late(&server, method) >= 1.0, "{method} is counted as late");
    }
}

/// The same in JSON, where the header has another name.
#[test]
fn the_gateway_knows_deadlines() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        calls::grant(&client, 1, 60).await;
        calls::grant(&client, 2, 60).await;
    });
    let lock = |lease: i64, headers: &str| {
        let body = format!(r#"{{"name":"bA==","lease":"{lease}"}}"#);
        http::request(&server, "POST", "/v3/lock/lock", headers, body.as_bytes())
    };
    assert_eq!(lock(1, "Grpc-Timeout: 30S\r\n").status, 200);
    let late = lock(2, "Grpc-Timeout: 50m\r\n");
    assert_eq!(late.status, 504, "{late:?}");
    assert_eq!(late.json()["code"], 4);
    assert_eq!(late.json()["message"], EXCEEDED.1);
    let bad = lock(2, "Grpc-Timeout: soon\r\n");
    assert_eq!((bad.status, bad.json()["code"].as_i64()), (400, Some(3)));
    assert_eq!(bad.json()["message"], "invalid grpc-timeout: soon");
}

/// Without a quorum nothing can be done, and whoever said how long it waits is told then, and not
/// when the server has lost its own patience.
#[test]
fn without_a_quorum_a_deadline_is_kept() {
    let _alone = crate::support::alone();
    let Some(mut fleet) = Fleet::start("without_a_quorum_a_deadline_is_kept", 2) else { return };
    fleet.kill(1);
    let lost = wait(|| fleet.status(0).filter(|status| status.leader == 0));
    assert!(lost.is_some(), "it notices that nobody leads");
    let address = fleet.url(0).trim_start_matches("http://").to_owned();
    in_a_runtime(async {
        let begun = Instant::now();
        let put = PutRequest { key: "k".into(), ..PutRequest::default() };
        let refused = call(&address, PUT, "50m", &put).await.expect_err("there is no quorum");
        assert_eq!(words(&refused), EXCEEDED);
        let read = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        let path = "/etcdserverpb.KV/Range";
        let refused = call(&address, path, "50000u", &read).await.expect_err("nobody confirms it");
        assert_eq!(words(&refused), EXCEEDED);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    });
}
