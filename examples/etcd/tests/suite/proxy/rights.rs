//! Users behind a proxy: what is shared is shared by those alone who may see it.

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    AuthRoleRevokePermissionRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchResponse,
};
use tonic::{Code, Status};

use super::running::{Proxy, wait_for_watchers};
use crate::auth::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::support::calls::{client_of, in_a_runtime, runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

const OPENED: &str = "a watch is opened";

/// Alice and Amy may read `secret`, Eve may not; their tokens, and root's.
struct People {
    root: String,
    alice: String,
    amy: String,
    eve: String,
}

async fn settle(member: &Client) -> People {
    for name in ["alice", "amy", "eve"] {
        add_user(member, name, "pw").await;
        add_role(member, name).await;
        give_role(member, name, name).await;
    }
    for name in ["alice", "amy"] {
        allow(member, name, Type::Readwrite, b"secret", b"").await;
    }
    enable(member, "pw").await;
    let token = |name: &'static str| log_in(member, name, "pw");
    People {
        root: token("root").await.expect("a token is given"),
        alice: token("alice").await.expect("a token is given"),
        amy: token("amy").await.expect("a token is given"),
        eve: token("eve").await.expect("a token is given"),
    }
}

fn on_secret() -> WatchCreateRequest {
    WatchCreateRequest { key: "secret".into(), ..Default::default() }
}

async fn watch(client: &Client, token: &str) -> Result<(Watch, WatchResponse), Status> {
    Watch::open_by(client, by(token, ()), on_secret()).await
}

async fn put_secret(client: &Client, token: &str) -> Result<i64, Status> {
    let put = PutRequest { key: "secret".into(), value: "v".into(), ..Default::default() };
    let answer = client.kv().put(by(token, put)).await?.into_inner();
    Ok(answer.header.expect("it has one").revision)
}

/// A refusal, without what is of the moment.
fn plain((_, response): (Watch, WatchResponse)) -> WatchResponse {
    WatchResponse { header: None, ..response }
}

fn nobody_hears(program: &std::path::Path) {
    let server = Server::start(program, &[CHEAP]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    let runtime = runtime();
    let (people, mut alices, mut amys) = runtime.block_on(async {
        let (member, client) = (client_of(&server).await, proxy.client().await);
        let people = settle(&member).await;
        let mut alices = Vec::new();
        for _ in 0..10 {
            let (opened, created) = watch(&client, &people.alice).await.expect(OPENED);
            assert!(!created.canceled, "{created:?}");
            alices.push(opened);
        }
        let (amys, created) = watch(&client, &people.amy).await.expect(OPENED);
        assert!(!created.canceled, "{created:?}");
        // Whether there is a watch already that shows it, or not.
        for token in [&people.eve, ""] {
            let through = watch(&client, token).await.map(plain).map_err(|it| it.to_string());
            let direct = watch(&member, token).await.map(plain).map_err(|it| it.to_string());
            assert!(direct.as_ref().is_ok_and(|it| it.canceled) || direct.is_err(), "{direct:?}");
            assert_eq!(through, direct);
        }
        (people, alices, amys)
    });
    // One for each of those who may.
    wait_for_watchers(&server.client_address(), 2);
    runtime.block_on(async {
        let client = proxy.client().await;
        let denied = put_secret(&client, &people.eve).await;
        let denied = denied.expect_err("she may not");
        assert_eq!(denied.code(), Code::PermissionDenied);
        assert_eq!(denied.message(), "etcdserver: permission denied");
        let revision = put_secret(&client, &people.alice).await.expect("she may");
        for opened in alices.iter_mut().chain([&mut amys]) {
            let message = opened.message().await.expect("the stream goes on");
            let kv = message.events[0].kv.as_ref().expect("it has one");
            assert_eq!((kv.mod_revision, &kv.value[..]), (revision, &b"v"[..]));
        }
    });
}

#[test]
fn nobody_hears_what_he_may_not_of_our_member() {
    nobody_hears(&programs::ours());
}

#[test]
fn nobody_hears_what_he_may_not_of_etcd() {
    let Some(real) = programs::real_or_skip("proxy::rights") else { return };
    nobody_hears(&real.etcd);
}

/// Who has lost a right may not join those who had it with him, and their watches end.
#[test]
fn a_right_that_is_taken_back_is_gone_at_once() {
    let server = Server::start(&programs::ours(), &[CHEAP]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    in_a_runtime(async {
        let (member, client) = (client_of(&server).await, proxy.client().await);
        let people = settle(&member).await;
        let (mut before, _) = watch(&client, &people.alice).await.unwrap();
        let revoke = AuthRoleRevokePermissionRequest {
            role: "alice".to_owned(),
            key: "secret".into(),
            ..Default::default()
        };
        client.auth().role_revoke_permission(by(&people.root, revoke)).await.unwrap();
        let (_, after) = watch(&client, &people.alice).await.unwrap();
        assert!(after.canceled && after.cancel_reason.contains("permission denied"), "{after:?}");
        put_secret(&client, &people.amy).await.unwrap();
        let last = before.message().await.unwrap();
        assert!(last.canceled && last.events.is_empty(), "{last:?}");
    });
}

/// What is kept of an answer is kept for him who was given it.
#[test]
fn nobody_reads_what_was_answered_to_another() {
    let server = Server::start(&programs::ours(), &[CHEAP]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    in_a_runtime(async {
        let (member, client) = (client_of(&server).await, proxy.client().await);
        let people = settle(&member).await;
        put_secret(&client, &people.alice).await.unwrap();
        let range =
            || RangeRequest { key: "secret".into(), serializable: true, ..Default::default() };
        for _ in 0..3 {
            let read = client.kv().range(by(&people.alice, range())).await.unwrap();
            assert_eq!(read.into_inner().kvs[0].value, "v");
        }
        assert!(proxy.number("etcd_grpc_proxy_cache_hits_total") >= Some(1.0), "it is kept");
        for token in [&people.eve, "", "nonsense"] {
            let direct = member.kv().range(by(token, range())).await.unwrap_err();
            let through = client.kv().range(by(token, range())).await.unwrap_err();
            assert_eq!((through.code(), through.message()), (direct.code(), direct.message()));
        }
    });
}
