//! What the proxy keeps of answers.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::request_op::Request;
use drystone_etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use super::running::Proxy;
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::Server;

async fn read(client: &Client, key: &str) -> Option<String> {
    let range =
        RangeRequest { key: key.to_owned().into(), serializable: true, ..Default::default() };
    let answer = client.kv().range(range).await.expect("a range is answered").into_inner();
    answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

fn hits(proxy: &Proxy) -> f64 {
    proxy.number("etcd_grpc_proxy_cache_hits_total").expect("it is on the page")
}

/// Reads until the proxy has answered from what it keeps: a busy machine may take longer than that
/// is good.
async fn read_until_kept(proxy: &Proxy, client: &Client, key: &str) -> Option<String> {
    let before = hits(proxy);
    for _ in 0..100 {
        let value = read(client, key).await;
        if hits(proxy) > before {
            return value;
        }
    }
    panic!("nothing is kept");
}

/// Every way to change a key through the proxy is noticed; and a change that went around it shows
/// after a while.
#[test]
fn nobody_sees_what_was_before_his_own_write() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    in_a_runtime(async {
        let client = proxy.client().await;
        let op = |request| RequestOp { request: Some(request) };
        let put_of = |value: &str| PutRequest {
            key: "k".into(),
            value: value.to_owned().into(),
            ..Default::default()
        };
        put(&client, "k", "1", 0).await;
        assert_eq!(read_until_kept(&proxy, &client, "k").await, Some("1".to_owned()));
        put(&client, "k", "2", 0).await;
        assert_eq!(read(&client, "k").await, Some("2".to_owned()));
        assert_eq!(read_until_kept(&proxy, &client, "k").await, Some("2".to_owned()));
        let inner = TxnRequest {
            success: vec![op(Request::RequestPut(put_of("3")))],
            ..Default::default()
        };
        let txn =
            TxnRequest { success: vec![op(Request::RequestTxn(inner))], ..Default::default() };
        client.kv().txn(txn).await.expect("a transaction is answered");
        assert_eq!(read(&client, "k").await, Some("3".to_owned()));
        assert_eq!(read_until_kept(&proxy, &client, "k").await, Some("3".to_owned()));
        let delete =
            DeleteRangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
        client.kv().delete_range(delete).await.expect("a deletion is answered");
        assert_eq!(read(&client, "k").await, None);
    });
}

/// A comparison that fails tells that what one knows is old: the next look is a new one.
#[test]
fn who_has_compared_in_vain_looks_anew() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    in_a_runtime(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        put(&client, "k", "1", 0).await;
        read_until_kept(&proxy, &client, "k").await;
        put(&member, "k", "2", 0).await;
        let compare = Compare {
            key: "k".into(),
            target: CompareTarget::Value.into(),
            result: CompareResult::Equal.into(),
            target_union: Some(TargetUnion::Value("1".into())),
            ..Default::default()
        };
        let txn = TxnRequest { compare: vec![compare], ..Default::default() };
        let answer = client.kv().txn(txn).await.expect("a transaction is answered").into_inner();
        assert!(!answer.succeeded);
        assert_eq!(read(&client, "k").await, Some("2".to_owned()));
    });
}

/// What is kept does not stay for ever, whoever has changed it.
#[test]
fn a_change_from_elsewhere_shows_after_a_while() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    let runtime = crate::support::calls::runtime();
    let (client, member) =
        runtime.block_on(async { (proxy.client().await, client_of(&server).await) });
    runtime.block_on(async {
        put(&client, "k", "1", 0).await;
        read_until_kept(&proxy, &client, "k").await;
        put(&member, "k", "2", 0).await;
    });
    let shown = crate::cluster::fleet::wait(|| {
        let value = runtime.block_on(read(&client, "k"));
        (value.as_deref() == Some("2")).then_some(())
    });
    assert!(shown.is_some(), "it is kept for ever");
}

/// What must be the newest is asked for each time.
#[test]
fn linearizable_reads_are_never_kept() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    in_a_runtime(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        for value in 0..20 {
            put(&member, "k", value.to_string(), 0).await;
            let answer = crate::support::calls::get(&client, "k").await;
            assert_eq!(answer.kvs[0].value, value.to_string());
        }
    });
    assert_eq!(hits(&proxy), 0.0);
}
