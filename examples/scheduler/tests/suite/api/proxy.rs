//! What lies on a node is asked of its agent, through any server.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use mason::api::client::ClientError;
use mason::api::wire::{Exec, ImageView, LogEvent, PullImage, UPGRADE};
use mason_core::keys::Key;
use mason_core::record::{Exit, PastRecord, Reason, encode};
use mason_core::txn::Txn;
use mason_core::types::RunId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{Site, check_refused, key};
use crate::support::{Kind, run as run_test};

/// The store makes no difference here.
#[test]
fn requests_reach_the_agent_that_has_it() {
    run_test("requests_reach_the_agent_that_has_it", Kind::Ours, reach);
}

/// The same.
#[test]
fn what_cannot_be_asked_says_why() {
    run_test("what_cannot_be_asked_says_why", Kind::Ours, failures);
}

pub(super) const TOKEN: &str = "0123456789abcdef";

/// What stands in for an agent: it streams, echoes and upgrades.
pub(super) async fn agent(go_on: Arc<Notify>) -> String {
    let logs = move |headers: HeaderMap, request: Request| async move {
        let sent = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(sent.as_deref(), Some("Bearer 0123456789abcdef"), "with our token");
        assert!(!headers.contains_key("x-hop"), "what is about a connection stays there");
        assert_eq!(request.uri().query(), Some("follow=true&tail=5"));
        let first = LogEvent::Output { offset: 0, stderr: false, time: 1, bytes: "aGk=".into() };
        let last = LogEvent::End { offset: 2 };
        let line = |event: &LogEvent| Bytes::from(serde_json::to_string(event).unwrap() + "\n");
        let lines = [line(&first), line(&last)];
        let lines = stream::iter(lines).enumerate().then(move |(at, line)| {
            let go_on = go_on.clone();
            async move {
                if at == 1 {
                    go_on.notified().await;
                }
                Ok::<_, std::convert::Infallible>(line)
            }
        });
        Body::from_stream(lines)
    };
    let images = |request: Request| async {
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let (name, digest) = ("a".to_owned(), format!("{:02x}", bytes[bytes.len() - 1]));
        axum::Json(vec![ImageView { name, digest, bytes: bytes.len() as u64 }])
    };
    let routes = Router::new()
        .route("/v1/runs/{run}/logs", get(logs))
        .route("/v1/runs/{run}/exec", post(exec))
        .route("/v1/nodes/{id}/images", any(images))
        .route("/v1/nodes/{id}/images/pull", post(|| async { StatusCode::IM_A_TEAPOT }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(mason::api::listen(listener, routes, None));
    address
}

/// Says what it was sent, and then echoes.
async fn exec(mut request: Request) -> Response {
    assert_eq!(request.headers()[header::UPGRADE], UPGRADE);
    let upgrade = hyper::upgrade::on(&mut request);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Exec = serde_json::from_slice(&body).unwrap();
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrade.await.unwrap());
        io.write_all(asked.command.join(" ").as_bytes()).await.unwrap();
        let mut buf = [0; 4];
        io.read_exact(&mut buf).await.unwrap();
        buf.reverse();
        io.write_all(&buf).await.unwrap();
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, UPGRADE)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

pub(super) async fn bound(site: &Site) -> RunId {
    site.apply("{kind: Job, name: a, image: a}").await.unwrap();
    site.shows(|mirror| mirror.node(&"n1".into())?.runs.first().cloned()).await
}

/// Logs stream while they are written, uploads while they are read, and a shell is a shell.
async fn reach(_: Kind) {
    let site = Site::start_with(Kind::Ours, Some(TOKEN)).await;
    let go_on = Arc::new(Notify::new());
    // An agent asks for the token, too; this one looks at it by itself, and so needs loopback.
    site.node("n1", 4000, &agent(go_on.clone()).await).await;
    let run = bound(&site).await;
    let path = format!("/v1/runs/{run}/logs?follow=true&tail=5");
    let mut lines = site.client.lines(&path).await.unwrap();
    let first = lines.next::<LogEvent>().await.unwrap();
    assert!(matches!(first, Some(LogEvent::Output { offset: 0, .. })), "before the rest is there");
    go_on.notify_one();
    assert_eq!(lines.next::<LogEvent>().await.unwrap(), Some(LogEvent::End { offset: 2 }));
    assert_eq!(lines.next::<LogEvent>().await.unwrap(), None);
    let exec = Exec { command: vec!["echo".into(), "hi".into()] };
    let mut shell = site.client.upgrade(format!("/v1/runs/{run}/exec"), &exec).await.unwrap();
    shell.write_all(b"abcd").await.unwrap();
    let mut said = Vec::new();
    shell.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"echo hidcba");
    // More than any buffer on the way.
    let chunk = Bytes::from(vec![7; 1 << 16]);
    let parts = (0..300).map(move |_| Ok(hyper::body::Frame::data(chunk.clone())));
    let body = http_body_util::StreamBody::new(stream::iter(parts));
    let images: Vec<ImageView> = site.client.upload("/v1/nodes/n1/images", body).await.unwrap();
    assert_eq!((images[0].bytes, images[0].digest.as_str()), (300 << 16, "07"));
    let pull = PullImage { name: "a".into() };
    let answer: Result<ImageView, _> = site.client.post("/v1/nodes/n1/images/pull", &pull).await;
    let error = answer.unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { status, .. } if status.as_u16() == 418),
        "{error}"
    );
}

/// "Bad gateway" is no answer either.
async fn failures(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let logs = async |run: &str| site.client.get::<LogEvent>(format!("/v1/runs/{run}/logs")).await;
    let images = async |node: &str| {
        site.client.get::<Vec<ImageView>>(format!("/v1/nodes/{node}/images")).await
    };
    check_refused(logs("0-0").await, 404, "there is no run 0-0");
    check_refused(images("n1").await, 404, "there is no node n1");
    // Nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap().to_string();
    site.node("n1", 4000, &address).await;
    let run = bound(&site).await;
    drop(port);
    check_refused(logs(run.as_str()).await, 502, "the agent of node n1 at 127.0.0.1");
    // Somebody listens, and hangs up.
    let port = TcpListener::bind(&address).await.unwrap();
    let hangs_up = async { drop(port.accept().await.unwrap()) };
    let (answer, ()) = tokio::join!(images("n1"), hangs_up);
    check_refused(answer, 502, "broke off");
    let alive = site.store.keys().path(&Key::Alive("n1".into()));
    site.commit(Txn::new().delete(alive)).await;
    check_refused(images("n1").await, 502, "node n1 is silent");
    // A run that has ended is where its past says; on a node that is forgotten, nowhere.
    let exit = Exit { code: Some(0), ..Exit::without_code(Reason::Exited, "", 1) };
    let past = PastRecord { run: "old-1".into(), node: "n9".into(), attempt: 1, exit };
    let path = site.store.keys().path(&Key::Past(key("b").task(0)));
    site.commit(Txn::new().put(path, encode(&past))).await;
    check_refused(logs("old-1").await, 410, "run old-1 was on node n9, which is forgotten");
}
