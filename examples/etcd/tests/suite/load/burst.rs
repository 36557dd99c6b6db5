//! A burst at all members of three that share a disk: more than it can take in seconds, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::PutRequest;

use super::flood::{TTL_SECONDS, is_overload, keep_alive};
use crate::cluster::fleet::Fleet;
use crate::support::calls::{self, in_a_runtime};

/// Clients that all begin at once, what each writes, and the connections that they share.
const WRITERS: usize = 1_500;
const VALUE_BYTES: usize = 100_000;
const CONNECTIONS: usize = 30;
/// How long it lasts, in renewals of each lease: some seconds.
const RENEWALS: usize = 50;
/// How long a client rests that was refused.
const REST: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Burst {
    over: AtomicBool,
    done: AtomicUsize,
    refused: AtomicUsize,
}

/// Writes until it is over. Whoever is refused rests, and tries again.
async fn write(client: Client, number: usize, burst: Arc<Burst>) {
    let value = bytes::Bytes::from(vec![b'v'; VALUE_BYTES]);
    while !burst.over.load(Ordering::Relaxed) {
        let key = format!("k/{number}").into();
        let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        match client.kv().put(put).await {
            Ok(_) => drop(burst.done.fetch_add(1, Ordering::Relaxed)),
            Err(status) => {
                assert!(is_overload(&status), "{status:?}");
                burst.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// A burst that is taken in whole stands in the logs of all members before everything else, and
/// whoever shares their disk waits for it: leases end, and nobody confirms that the leader leads.
/// It waits outside instead, or is refused.
#[test]
fn a_burst_on_one_disk_costs_neither_the_leader_nor_a_lease() {
    let _alone = crate::support::alone();
    let test = "a_burst_on_one_disk_costs_neither_the_leader_nor_a_lease";
    // Machines that test are busy: an election is to be this burst's fault, and not theirs.
    let slow = ["--heartbeat-interval=300", "--election-timeout=3000"];
    let Some(fleet) = Fleet::start_with(test, 3, &slow) else { return };
    let leader = fleet.leader();
    let term = fleet.wait_for(leader).raft_term;
    let burst = Arc::new(Burst::default());
    // Who keeps leases has a thread of its own: a writer's must not make it late.
    let keeper = |number: usize| {
        let (url, id) = (fleet.url(number), 7 + number as i64);
        move || {
            in_a_runtime(async {
                let client = connect(&url, &Config::default()).await.expect("it listens");
                calls::grant(&client, id, TTL_SECONDS).await;
                keep_alive(client, id, |count| count == RENEWALS).await
            })
        }
    };
    thread::scope(|scope| {
        let keepers: Vec<_> = (0..3).map(|number| scope.spawn(keeper(number))).collect();
        let writing = scope.spawn(|| in_a_runtime(write_all(&fleet, &burst)));
        let kept: Vec<_> = keepers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        burst.over.store(true, Ordering::Relaxed);
        writing.join().expect("writers are answered");
        let kept: Result<Vec<Duration>, _> = kept.into_iter().collect();
        println!("slowest renewals {:?}", kept.expect("leases are kept"));
    });
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!("{} written, {} refused", count(&burst.done), count(&burst.refused));
    assert!(count(&burst.done) > 0, "it is served all the same");
    let status = fleet.wait_for(leader);
    assert_eq!((fleet.leader(), status.raft_term), (leader, term), "{}", fleet.log(leader));
}

async fn write_all(fleet: &Fleet, burst: &Arc<Burst>) {
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        clients.push(fleet.client(number % 3).await);
    }
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(clients[number % CONNECTIONS].clone(), number, Arc::clone(burst)));
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer is answered");
    }
}
