//! Floods, and those who have to get through.
//!
//! | flood | who gets through |
//! |---|---|
//! | long reads on one connection, more than may stand in line | a lease, a writer, some reads |
//! | large values at all members of three, without end | a lease, kept by way of a follower |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::range_request::{SortOrder, SortTarget};
use drystone_etcd_api::etcdserverpb::{
    LeaseKeepAliveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{REFUSED, words};
use crate::cluster::fleet::Fleet;
use crate::metrics::page::Page;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

/// The shortest lease that members with the usual timeouts give, and with these; and how long it
/// may take to keep it alive so that a client that does so every second does not lose it.
pub(super) const TTL_SECONDS: i64 = 5;
pub(super) const KEPT_MAX: Duration = Duration::from_secs(4);
/// How long a flood of writes lasts, in renewals of a lease beside it.
const RENEWALS: usize = 15;

/// Keeps a lease alive ten times a second, until so many renewals are enough; the slowest.
pub(super) async fn keep_alive(
    client: Client,
    id: i64,
    enough: impl Fn(usize) -> bool,
) -> Duration {
    let (pings, requests) = mpsc::channel(1);
    pings.send(LeaseKeepAliveRequest { id }).await.expect("its receiver is here");
    let answers = client.lease().lease_keep_alive(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("a lease is kept alive").into_inner();
    let (mut begun, mut slowest, mut count) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let answer = answers.message().await.expect("it is kept").expect("one answer each");
        assert_eq!(answer.ttl, TTL_SECONDS, "the lease is lost");
        slowest = slowest.max(begun.elapsed());
        count += 1;
        if enough(count) {
            return slowest;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        begun = Instant::now();
        pings.send(LeaseKeepAliveRequest { id }).await.expect("the stream goes on");
    }
}

/// Keys, in transactions of a hundred.
async fn fill(client: &Client, count: usize) {
    for first in (0..count).step_by(100) {
        let put = |number: usize| {
            let (key, value) = (format!("k/{number:06}").into(), "v".repeat(64).into());
            let put = PutRequest { key, value, ..PutRequest::default() };
            RequestOp { request: Some(Request::RequestPut(put)) }
        };
        let success = (first..first + 100).map(put).collect();
        let txn = TxnRequest { success, ..TxnRequest::default() };
        client.kv().txn(txn).await.expect("it is not too large");
    }
}

/// All keys are read to find the one with the least value.
fn long_read() -> RangeRequest {
    RangeRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Value.into(),
        ..RangeRequest::default()
    }
}

/// Somebody lists everything, again and again and all at once. What cannot be read in time is
/// refused early; leases and writers do not feel it, and when it is over all is as before.
#[test]
fn a_flood_of_long_reads_is_refused_and_nothing_else() {
    if !programs::is_ours() {
        return;
    }
    let _alone = crate::support::alone();
    let server = Server::start(&programs::ours(), &[]);
    let slowest = in_a_runtime(async {
        let client = client_of(&server).await;
        fill(&client, 5_000).await;
        calls::grant(&client, 7, TTL_SECONDS).await;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let enough = move |_| is_over.load(Ordering::Relaxed);
        let lease = tokio::spawn(keep_alive(client_of(&server).await, 7, enough));
        let reader = client_of(&server).await;
        let begun = Instant::now();
        let reads: Vec<_> = (0..1_500)
            .map(|_| {
                let reader = reader.clone();
                tokio::spawn(async move { reader.kv().range(long_read()).await })
            })
            .collect();
        calls::put(&client, "written", "meanwhile", 7).await;
        let (mut done, mut refused) = (0, 0);
        for read in reads {
            match read.await.expect("a read does not panic") {
                Ok(_) => done += 1,
                Err(status) => {
                    assert_eq!(words(&status), REFUSED);
                    refused += 1;
                }
            }
        }
        println!("{done} read, {refused} refused in {:?}", begun.elapsed());
        assert!(done > 0, "some are served");
        // The line is no longer than 1,024, and few are read before all have come.
        assert!(refused > 0, "not all can be");
        reader.kv().range(long_read()).await.expect("the line is empty again");
        over.store(true, Ordering::Relaxed);
        lease.await.expect("a lease is kept")
    });
    println!("slowest renewal {slowest:?}");
    assert!(slowest < KEPT_MAX, "a renewal took {slowest:?}");
    let page = Page::fetch(&server.client_address());
    let line = [("class", "large"), ("reason", "line")];
    assert!(page.number("drystone_etcd_requests_refused_total", &line) > 0.0);
}

/// Writes large values at one member until it is over.
async fn write_for_ever(client: Client, over: Arc<AtomicBool>, done: Arc<AtomicUsize>) {
    let value = bytes::Bytes::from(vec![b'v'; 64 << 10]);
    while !over.load(Ordering::Relaxed) {
        let key = format!("k/{}", rand::random::<u8>()).into();
        let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        match client.kv().put(put).await {
            Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Err(status) => assert!(is_overload(&status), "{status:?}"),
        }
    }
}

/// Refused as there is too much; the store's own bound says so without a code, as etcd's does.
fn is_overload(status: &Status) -> bool {
    words(status) == REFUSED || words(status) == (Code::Unknown, REFUSED.1)
}

/// Consensus and leases share their disks and processors with everybody's writes. The leader stays,
/// and a lease that a follower has to ask the leader for is kept.
#[test]
fn a_flood_of_writes_costs_neither_the_leader_nor_a_lease() {
    let _alone = crate::support::alone();
    let test = "a_flood_of_writes_costs_neither_the_leader_nor_a_lease";
    // Machines that test are busy: an election is to be this flood's fault, and not theirs.
    let slow = ["--heartbeat-interval=300", "--election-timeout=3000"];
    let Some(fleet) = Fleet::start_with(test, 3, &slow) else { return };
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let term = fleet.wait_for(leader).raft_term;
    let slowest = in_a_runtime(async {
        let client = fleet.client(follower).await;
        calls::grant(&client, 7, TTL_SECONDS).await;
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut writers = Vec::new();
        for number in 0..300 {
            let url = fleet.url(number % 3);
            let client = connect(&url, &Config::default()).await.expect("it listens");
            writers.push(tokio::spawn(write_for_ever(client, over.clone(), done.clone())));
        }
        let slowest = keep_alive(client, 7, |count| count == RENEWALS).await;
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("a writer is answered");
        }
        println!("{} written", done.load(Ordering::Relaxed));
        assert!(done.load(Ordering::Relaxed) > 0, "it is served all the same");
        slowest
    });
    println!("slowest renewal {slowest:?}");
    assert!(slowest < KEPT_MAX, "a renewal took {slowest:?}");
    let status = fleet.wait_for(leader);
    assert_eq!((fleet.leader(), status.raft_term), (leader, term), "{}", fleet.log(leader));
}
