//! `--endpoints-auto-sync-interval`: the proxy learns who the members are.

use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use tonic::Code;

use super::running::Proxy;
use crate::cluster::fleet::{Fleet, PATIENCE, wait};
use crate::support::calls::{put, runtime};

const SYNC: &str = "--endpoints-auto-sync-interval=50ms";

/// Whoever moves a cluster step by step has told its proxies of members that are gone by now.
#[test]
fn a_proxy_that_was_told_of_one_member_outlives_it() {
    let Some(mut fleet) = Fleet::start("proxy::endpoints", 3) else { return };
    // One that follows: an election is another matter.
    let told = fleet.follower();
    let endpoints = [fleet.url(told)];
    let learns = Proxy::start(&endpoints, &[SYNC]);
    let stays = Proxy::start(&endpoints, &["--endpoints-auto-sync-interval=0"]);
    let knows = wait(|| learns.log().contains("the members are others now").then_some(()));
    assert!(knows.is_some(), "{}", learns.log());
    let runtime = runtime();
    let (client, other) = runtime.block_on(async {
        let both = (learns.client().await, stays.client().await);
        put(&both.0, "k", "1", 0).await;
        put(&both.1, "k", "2", 0).await;
        both
    });
    let at = |number: usize| {
        format!("drystone_etcd_proxy_endpoint{{endpoint=\"{}\"}}", fleet.url(number))
    };
    let (told_name, names) = (at(told), [at(0), at(1), at(2)]);
    assert_eq!(learns.number(&told_name), Some(1.0), "it stays with whom it knew");
    fleet.kill(told);
    runtime.block_on(async {
        let range = || RangeRequest { key: "k".into(), ..Default::default() };
        let read = tokio::time::timeout(PATIENCE, client.kv().range(range())).await;
        let read = read.expect("in time").expect("another one answers").into_inner();
        assert_eq!(read.kvs[0].value, "2");
        for value in ["3", "4", "5"] {
            put(&client, "k", value, 0).await;
        }
        let put = PutRequest { key: "k".into(), ..Default::default() };
        let alone = other.kv().put(put).await.expect_err("it knows nobody else");
        assert_eq!(alone.code(), Code::Unavailable, "{alone}");
    });
    assert_eq!(learns.number(&told_name), None, "it is with another one");
    let now = names.iter().find(|name| learns.number(name) == Some(1.0));
    // Nobody answers who they are from here on, and the proxy keeps to those that it knows.
    let last = names.iter().position(|name| Some(name) == now).expect("with one of them");
    let rest = (0..3).find(|number| ![told, last].contains(number)).expect("there are three");
    fleet.kill(rest);
    let before = learns.log().matches("Auto sync endpoints failed").count();
    let fails = wait(|| {
        (learns.log().matches("Auto sync endpoints failed").count() > before + 1).then_some(())
    });
    assert!(fails.is_some(), "{}", learns.log());
    runtime.block_on(async {
        let here = RangeRequest { key: "k".into(), serializable: true, ..Default::default() };
        let read = client.kv().range(here).await.expect("it may be old").into_inner();
        assert_eq!(read.kvs[0].value, "5");
    });
}
