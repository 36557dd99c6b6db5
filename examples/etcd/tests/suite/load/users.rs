//! Users who may have only so much.

use std::time::Instant;

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest};
use tonic::{Request, Status};

use super::{REFUSED, words};
use crate::auth::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::gateway::http;
use crate::metrics::page::Page;
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const REFUSALS: &str = "drystone_etcd_requests_refused_total";

async fn put(client: &Client, token: &str, value: &str) -> Result<(), Status> {
    let value = value.to_owned().into();
    let request = PutRequest { key: "k".into(), value, ..PutRequest::default() };
    client.kv().put(by(token, request)).await.map(drop)
}

/// How many of so many puts are done; the others are refused as they should be.
async fn flood(client: &Client, token: &str, count: usize) -> usize {
    let mut done = 0;
    for _ in 0..count {
        match put(client, token, "v").await {
            Ok(()) => done += 1,
            Err(refused) => assert_eq!(words(&refused), REFUSED),
        }
    }
    done
}

fn refusals(server: &Server, reason: &str) -> f64 {
    let page = Page::fetch(&server.client_address());
    page.number(REFUSALS, &[("class", "small"), ("reason", reason)])
}

/// One user takes all that there is, by mistake. He is refused, in gRPC and in JSON; the other, who
/// has no limit of that kind, and root, notice nothing; and he keeps his lease.
#[test]
fn one_users_flood_is_felt_by_nobody_else() {
    if !programs::is_ours() {
        return;
    }
    let limits = "--user-limits=alice=requests:20,*=requests:100000,?=requests:100000";
    let server = Server::start(&programs::ours(), &[CHEAP, limits]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        add_role(&client, "all").await;
        allow(&client, "all", Type::Readwrite, b"\0", b"\0").await;
        for name in ["alice", "bob"] {
            add_user(&client, name, "pw").await;
            give_role(&client, name, "all").await;
        }
        enable(&client, "pw").await;
        let alice = log_in(&client, "alice", "pw").await.expect("that is it");
        let bob = log_in(&client, "bob", "pw").await.expect("that is it");
        let root = log_in(&client, "root", "pw").await.expect("that is it");
        let grant = by(&alice, LeaseGrantRequest { id: 7, ttl: 60 });
        client.lease().lease_grant(grant).await.expect("it is her first request");

        let begun = Instant::now();
        let done = flood(&client, &alice, 200).await;
        // One second's worth at first, and what has come since.
        let most = 20 + 20 * (begun.elapsed().as_secs() as usize + 1);
        assert!((10..=most).contains(&done), "{done} in {:?}", begun.elapsed());
        assert_eq!(flood(&client, &bob, 50).await, 50);
        assert_eq!(flood(&client, &root, 50).await, 50);
        assert!(refusals(&server, "user_requests") >= 1.0);

        flood(&client, &alice, 30).await;
        let ping = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
        let kept = client.lease().lease_keep_alive(by(&alice, ping)).await;
        let kept = kept.expect("a lease is kept alive").into_inner().message().await;
        assert_eq!(kept.expect("it is kept").expect("one answer").ttl, 60);

        // JSON comes in another way, and to the same end.
        let mut statuses = Vec::new();
        for _ in 0..30 {
            let header = format!("Authorization: {alice}\r\n");
            let body = br#"{"key":"aw==","value":"dg=="}"#;
            let answer = http::request(&server, "POST", "/v3/kv/put", &header, body);
            if answer.status == 429 {
                assert_eq!(
                    (&answer.json()["code"], &answer.json()["message"]),
                    (&8.into(), &REFUSED.1.into())
                );
            }
            statuses.push(answer.status);
        }
        assert!(statuses.contains(&429), "{statuses:?}");
    });
}

/// Without users it is addresses that are told apart, and bytes that are paid for: a large value is
/// written whole, and nothing after it for as long as it takes to be paid.
#[test]
fn addresses_pay_for_bytes() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &["--user-limits=?=bytes:1000"]);
    in_a_runtime(async {
        let client = connect(&server.client_url(), &Config::default()).await.expect("it listens");
        put(&client, "", &"v".repeat(1_000_000)).await.expect("nothing was taken yet");
        let refused = put(&client, "", "v").await.expect_err("a thousand seconds are to pay");
        assert_eq!(words(&refused), REFUSED);
        let other = client_of(&server).await;
        assert_eq!(
            words(&put(&other, "", "v").await.expect_err("it is the same address")),
            REFUSED
        );
        // Whoever has to see how things are can.
        let status = client.maintenance().status(Request::new(Default::default())).await;
        status.expect("Status is free");
    });
    assert_eq!(refusals(&server, "user_bytes"), 2.0);
}
