//! `--experimental-serializable-ordering`: what was shown once is never taken back.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{RangeRequest, RangeResponse};
use tonic::{Code, Status};

use super::running::Proxy;
use crate::support::calls::{client_of, put, runtime};
use crate::support::programs;
use crate::support::server::Server;

const FLAG: &str = "--experimental-serializable-ordering";

fn here(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), serializable: true, ..Default::default() }
}

async fn read(client: &Client, range: RangeRequest) -> Result<RangeResponse, Status> {
    Ok(client.kv().range(range).await?.into_inner())
}

fn revision(answer: &RangeResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// Three members of which two are behind, each by as much as the test wants: servers of their own,
/// since those of one cluster catch up. The first two answer in turn, as they would.
struct Trio([Server; 3]);

impl Trio {
    fn start() -> Trio {
        Trio([0, 1, 2].map(|_| Server::start(&programs::ours(), &[])))
    }

    fn urls(&self) -> Vec<String> {
        self.0.iter().map(Server::client_url).collect()
    }

    /// Puts `k` again and again at one of them.
    async fn fill(&self, number: usize, values: i64) -> i64 {
        let client = client_of(&self.0[number]).await;
        let mut revision = 0;
        for value in 0..values {
            revision = put(&client, "k", format!("{number}:{value}"), 0).await;
        }
        revision
    }
}

/// The member dies, the next one has not come as far, and the one behind that has.
#[test]
fn a_member_that_is_behind_is_passed_over() {
    let mut trio = Trio::start();
    let flagged = Proxy::start(&trio.urls(), &[FLAG]);
    let plain = Proxy::start(&trio.urls(), &[]);
    let runtime = runtime();
    let (with, without, shown) = runtime.block_on(async {
        trio.fill(0, 10).await;
        trio.fill(1, 3).await;
        trio.fill(2, 20).await;
        let (with, without) = (flagged.client().await, plain.client().await);
        put(&without, "other", "v", 0).await;
        let shown = put(&with, "other", "v", 0).await;
        assert_eq!(revision(&read(&without, here("other")).await.unwrap()), shown);
        (with, without, shown)
    });
    trio.0[0].kill();
    runtime.block_on(async {
        // What the flag is there for.
        let gone_back = read(&without, here("k")).await.expect("the next one answers");
        assert!(revision(&gone_back) < shown && gone_back.kvs[0].value == "1:2", "{gone_back:?}");
        let newer = read(&with, here("k")).await.expect("the last one answers");
        assert!(revision(&newer) > shown && newer.kvs[0].value == "2:19", "{newer:?}");
        // It is asked first from now on; a revision that was shown is there, too.
        let old = RangeRequest { revision: shown, ..here("k") };
        read(&with, old).await.expect("it is that far");
    });
    let name = format!("drystone_etcd_proxy_endpoint{{endpoint=\"{}\"}}", trio.0[2].client_url());
    assert_eq!(flagged.number(&name), Some(1.0));
    trio.0[2].kill();
    runtime.block_on(async {
        for range in [here("q"), RangeRequest { revision: shown, ..here("q") }] {
            let refused = read(&with, range).await.expect_err("nobody is that far");
            assert_eq!(refused.code(), Code::Unavailable);
            assert!(
                refused.message().starts_with("etcdclient: no cluster members have a revision")
            );
        }
    });
}

/// What the proxy keeps of answers is not shown when something newer was.
#[test]
fn what_is_kept_is_not_older_than_what_was_shown() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[FLAG]);
    runtime().block_on(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        put(&member, "k", "old", 0).await;
        let kept = read(&client, here("k")).await.unwrap();
        let again = read(&client, here("k")).await.unwrap();
        assert_eq!(proxy.number("etcd_grpc_proxy_cache_hits_total"), Some(1.0));
        assert_eq!((&kept.kvs, revision(&kept)), (&again.kvs, revision(&again)));
        // Around the proxy, which has no other way to know.
        put(&member, "k", "new", 0).await;
        let shown = put(&client, "elsewhere", "v", 0).await;
        let now = read(&client, here("k")).await.unwrap();
        assert_eq!((now.kvs[0].value.as_ref(), revision(&now)), (&b"new"[..], shown));
    });
}

/// Its predecessor may have shown all that there was.
#[test]
fn a_new_proxy_begins_where_the_members_are() {
    let mut trio = Trio::start();
    let runtime = runtime();
    runtime.block_on(async {
        trio.fill(1, 3).await;
        trio.fill(0, 10).await;
    });
    let proxy = Proxy::start(&trio.urls()[..2], &[FLAG]);
    let client = runtime.block_on(proxy.client());
    trio.0[0].kill();
    runtime.block_on(async {
        let refused = read(&client, here("k")).await.expect_err("nobody is that far");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    });
}
