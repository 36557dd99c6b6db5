//! The member that the proxy is with is killed, while clients go on.

use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    WatchCreateRequest,
};
use drystone_etcd_api::v3lockpb::lock_client::LockClient;
use drystone_etcd_api::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::running::{Proxy, number};
use crate::cluster::fleet::{Fleet, PATIENCE};
use crate::support::calls::{put, runtime};
use crate::support::watch::Watch;

const TTL: i64 = 10;

async fn lock(client: &Client, lease: i64) -> Result<LockResponse, Status> {
    let request = LockRequest { name: "lock".into(), lease };
    LockClient::new(client.channel()).lock(request).await.map(tonic::Response::into_inner)
}

async fn granted(client: &Client) -> i64 {
    let grant = LeaseGrantRequest { ttl: TTL, id: 0 };
    client.lease().lease_grant(grant).await.expect("a lease is granted").into_inner().id
}

/// Keeps a lease alive as clients do: a stream, and another one when it ends.
fn keep_alive(client: Client, id: i64) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (to, questions) = mpsc::channel(1);
            to.send(LeaseKeepAliveRequest { id }).await.expect("there is room");
            let opened = client.lease().lease_keep_alive(ReceiverStream::new(questions)).await;
            let Ok(opened) = opened else { continue };
            let mut answers = opened.into_inner();
            while let Ok(Some(answer)) = answers.message().await {
                assert!(answer.ttl > 0, "the lease has expired");
                tokio::time::sleep(Duration::from_millis(300)).await;
                if to.send(LeaseKeepAliveRequest { id }).await.is_err() {
                    break;
                }
            }
        }
    })
}

/// Asks again where the answer is that nobody knows; that it is once is all that it may be.
async fn at_most_one_unavailable<T, F: Future<Output = Result<T, Status>>>(
    what: &str,
    call: impl Fn() -> F,
) -> T {
    let call = async {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => call().await,
            done => done,
        }
    };
    let done = tokio::time::timeout(PATIENCE, call).await;
    done.unwrap_or_else(|_| panic!("{what}: no answer")).unwrap_or_else(|it| panic!("{what}: {it}"))
}

#[test]
fn a_watch_and_a_lock_outlive_the_member_they_were_at() {
    let Some(mut fleet) = Fleet::start("proxy::failover", 3) else { return };
    // With one that follows: an election is another matter.
    let near = fleet.follower();
    let mut order: Vec<usize> = vec![near];
    order.extend((0..3).filter(|number| *number != near));
    let endpoints: Vec<String> = order.iter().map(|number| fleet.url(*number)).collect();
    let proxy = Proxy::start(&endpoints, &[]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let (mut watch, client, held, lease, waiter, keepers) = runtime.block_on(async {
        let client = proxy.client().await;
        let create =
            WatchCreateRequest { key: "w".into(), range_end: "x".into(), ..Default::default() };
        let watch = Watch::open(&client, create).await.unwrap().0;
        let (first, second) = (granted(&client).await, granted(&client).await);
        let keepers = [first, second].map(|id| keep_alive(client.clone(), id));
        let held = lock(&client, first).await.unwrap();
        // The other one waits behind it.
        let waiting = client.clone();
        let waiter = tokio::spawn(async move {
            at_most_one_unavailable("the other's lock", || lock(&waiting, second)).await
        });
        for at in 0..20 {
            put(&client, &format!("w{at}"), "before", 0).await;
        }
        (watch, client, held, first, waiter, keepers)
    });
    fleet.kill(near);
    runtime.block_on(async {
        let put = |at: usize| {
            let client = client.clone();
            let request = PutRequest {
                key: format!("w{at}").into(),
                value: "after".into(),
                ..Default::default()
            };
            async move { client.kv().put(request).await }
        };
        at_most_one_unavailable("a put", || put(20)).await;
        for at in 21..40 {
            put(at).await.expect("the others are there");
        }
        // Neither an event too few nor one too many, and in order.
        let mut seen = Vec::new();
        while seen.len() < 40 {
            let message = tokio::time::timeout(PATIENCE, watch.message()).await.expect("in time");
            for event in message.expect("the stream goes on").events {
                let kv = event.kv.expect("it has one");
                seen.push((kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned()));
            }
        }
        let keys: Vec<String> = seen.iter().map(|(_, key)| key.clone()).collect();
        let expected: Vec<String> = (0..40).map(|at| format!("w{at}")).collect();
        assert_eq!(keys, expected);
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{seen:?}");
        let left = LeaseTimeToLiveRequest { id: lease, keys: true };
        let left = client.lease().lease_time_to_live(left).await.unwrap().into_inner();
        assert!(left.ttl > 0 && left.keys == [held.key.clone()], "{left:?}");
        let unlock = UnlockRequest { key: held.key };
        LockClient::new(client.channel()).unlock(unlock).await.expect("it is unlocked");
        let other = waiter.await.expect("the other one waits");
        assert!(other.key.starts_with(b"lock/"), "{other:?}");
        keepers.iter().for_each(JoinHandle::abort);
    });
    let name = format!("drystone_etcd_proxy_endpoint{{endpoint=\"{}\"}}", fleet.url(near));
    assert_eq!(proxy.number(&name), None, "it is with another one");
}

/// A read may be asked again, and nobody hears of it.
#[test]
fn reads_do_not_notice_that_a_member_dies() {
    let Some(mut fleet) = Fleet::start("proxy::failover::reads", 3) else { return };
    let near = fleet.follower();
    let mut order: Vec<usize> = vec![near];
    order.extend((0..3).filter(|number| *number != near));
    let endpoints: Vec<String> = order.iter().map(|number| fleet.url(*number)).collect();
    let proxy = Proxy::start(&endpoints, &[]);
    let runtime = runtime();
    let read = |client: &Client| {
        let range = RangeRequest { key: "k".into(), ..Default::default() };
        runtime.block_on(client.kv().range(range)).map(tonic::Response::into_inner)
    };
    let client = runtime.block_on(async {
        let client = proxy.client().await;
        put(&client, "k", "v", 0).await;
        client
    });
    fleet.kill(near);
    for _ in 0..50 {
        assert_eq!(read(&client).expect("another one answers").kvs[0].value, "v");
    }
}

/// A hundred clients keep leases alive on one stream, and a lease that many keep is kept.
#[test]
fn keep_alives_of_many_clients_share_a_stream() {
    let Some(fleet) = Fleet::start("proxy::failover::leases", 1) else { return };
    let proxy = Proxy::start(&[fleet.url(0)], &[]);
    let runtime = runtime();
    let streams = runtime.block_on(async {
        let client = proxy.client().await;
        let mut streams = Vec::new();
        let lease = granted(&client).await;
        for _ in 0..100 {
            let (to, questions) = mpsc::channel(1);
            to.send(LeaseKeepAliveRequest { id: lease }).await.unwrap();
            let answers = client.lease().lease_keep_alive(ReceiverStream::new(questions)).await;
            let mut answers = answers.unwrap().into_inner();
            let answer = answers.message().await.unwrap().unwrap();
            assert_eq!((answer.id, answer.ttl), (lease, TTL));
            streams.push((to, answers));
        }
        // What there is not is told as by the member.
        let (to, answers) = &mut streams[0];
        to.send(LeaseKeepAliveRequest { id: 4711 }).await.unwrap();
        let gone = answers.message().await.unwrap().unwrap();
        assert_eq!((gone.id, gone.ttl), (4711, 0));
        streams
    });
    let labels = "grpc_method=\"LeaseKeepAlive\",grpc_service=\"etcdserverpb.Lease\",\
        grpc_type=\"bidi_stream\"";
    let name = format!("grpc_server_started_total{{{labels}}}");
    let address = fleet.url(0).replace("http://", "");
    assert_eq!(number(&address, "/metrics", &name), Some(1.0));
    assert_eq!(proxy.number(&name), Some(100.0));
    drop(streams);
}
