//! Three members that are asked for far more than they can do.
//!
//! ```text
//!   few writers of large values     ──► what the members can do
//!   twenty times as many of them    ──► as much is done, the rest refused at once
//!   and some of small values beside ──► hardly ever refused
//!   and a lease                     ──► kept
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::PutRequest;
use tokio::task::JoinSet;

use super::flood::{KEPT_MAX, TTL_SECONDS, keep_alive};
use super::{REFUSED, words};
use crate::cluster::fleet::Fleet;
use crate::metrics::page::Page;
use crate::support::calls::{self, in_a_runtime};

const REFUSALS: &str = "drystone_etcd_requests_refused_total";
const LARGE_BYTES: usize = 100 << 10;
const SMALL_BYTES: usize = 256;
const FEW: usize = 30;
const MANY: usize = 600;
/// Writers of small values.
const SMALL: usize = 30;
/// How long the few write, and the many.
const CALM: Duration = Duration::from_secs(3);
const FLOOD: Duration = Duration::from_secs(8);
/// Who is refused comes again after so long.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What became of puts.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicUsize,
    refused: AtomicUsize,
    /// Refused, or given up, in another way than it should be.
    failed: AtomicUsize,
}

impl Tally {
    fn counts(&self) -> [usize; 3] {
        [&self.done, &self.refused, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }

    /// How many of a hundred were not done.
    fn percent_lost(&self) -> f64 {
        let [done, refused, failed] = self.counts();
        100.0 * (refused + failed) as f64 / (done + refused + failed).max(1) as f64
    }
}

/// Writes values of so many bytes until it is over.
async fn write(client: Client, bytes: usize, over: Arc<AtomicBool>, tally: Arc<Tally>) {
    let value = Bytes::from(vec![b'v'; bytes]);
    while !over.load(Ordering::Relaxed) {
        let key = format!("k/{}", rand::random::<u8>()).into();
        let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        let count = match client.kv().put(put).await {
            Ok(_) => &tally.done,
            Err(status) if words(&status) == REFUSED => &tally.refused,
            Err(_) => &tally.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if !std::ptr::eq(count, &raw const tally.done) {
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}

/// Has so many clients, spread over the members, write values of so many bytes.
async fn writers(
    fleet: &Fleet,
    count: usize,
    bytes: usize,
    over: &Arc<AtomicBool>,
) -> (JoinSet<()>, Arc<Tally>) {
    let (mut tasks, tally) = (JoinSet::new(), Arc::new(Tally::default()));
    for number in 0..count {
        let client = connect(&fleet.url(number % 3), &Config::default()).await;
        let client = client.expect("it listens");
        tasks.spawn(write(client, bytes, over.clone(), tally.clone()));
    }
    (tasks, tally)
}

/// Large puts that are done in a second, while so few ask for them that none is refused.
async fn calm(fleet: &Fleet) -> f64 {
    let over = Arc::new(AtomicBool::new(false));
    let (tasks, tally) = writers(fleet, FEW, LARGE_BYTES, &over).await;
    let ([before, ..], begun) = (tally.counts(), Instant::now());
    tokio::time::sleep(CALM).await;
    let ([after, ..], took) = (tally.counts(), begun.elapsed());
    over.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    (after - before) as f64 / took.as_secs_f64()
}

/// Whoever asks for more than can be done is told so, and nothing else becomes worse by it: as much
/// is done as without him, small requests go first, leases are kept, and who leads goes on to.
#[test]
fn three_members_do_what_they_can_and_refuse_the_rest() {
    let _alone = crate::support::alone();
    let test = "three_members_do_what_they_can_and_refuse_the_rest";
    // Machines that test are busy: an election is to be this flood's fault, and not theirs.
    let slow = ["--heartbeat-interval=300", "--election-timeout=3000"];
    let Some(fleet) = Fleet::start_with(test, 3, &slow) else { return };
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let term = fleet.wait_for(leader).raft_term;
    in_a_runtime(async {
        let client = fleet.client(follower).await;
        calls::grant(&client, 7, TTL_SECONDS).await;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let enough = move |_| is_over.load(Ordering::Relaxed);
        let lease = tokio::spawn(keep_alive(client, 7, enough));
        let calm_rate = calm(&fleet).await;

        let (large_tasks, large) = writers(&fleet, MANY, LARGE_BYTES, &over).await;
        let (small_tasks, small) = writers(&fleet, SMALL, SMALL_BYTES, &over).await;
        let ([before, ..], begun) = (large.counts(), Instant::now());
        tokio::time::sleep(FLOOD).await;
        let ([after, ..], took) = (large.counts(), begun.elapsed());
        over.store(true, Ordering::Relaxed);
        large_tasks.join_all().await;
        small_tasks.join_all().await;
        let slowest = lease.await.expect("a lease is kept");
        let rate = (after - before) as f64 / took.as_secs_f64();
        println!("large {large:?}, small {small:?}, slowest renewal {slowest:?}");
        println!("large puts a second: {calm_rate:.0} without the flood, {rate:.0} in it");

        assert!(slowest < KEPT_MAX, "a renewal took {slowest:?}");
        let [_, refused, failed] = large.counts();
        assert!(failed < refused.div_ceil(10), "{refused} are told in good words, {failed} not");
        let (of_large, of_small) = (large.percent_lost(), small.percent_lost());
        assert!(
            2.0 * of_small < of_large,
            "{of_small} % of small ones, {of_large} % of large ones"
        );
        // Who sends and who is refused takes of the same two cores.
        assert!(rate > calm_rate / 6.0, "{rate} a second are done, and {calm_rate} were");
    });
    let status = fleet.wait_for(leader);
    assert_eq!((fleet.leader(), status.raft_term), (leader, term), "{}", fleet.log(leader));
    let refused = |number| {
        let page = Page::fetch(fleet.url(number).trim_start_matches("http://"));
        let reasons = ["commands", "late", "memory"]
            .map(|reason| page.number(REFUSALS, &[("class", "large"), ("reason", reason)]));
        reasons.iter().sum()
    };
    let refused: Vec<f64> = (0..3).map(refused).collect();
    // Whoever leads has the shorter way, and may keep up with what it is asked for itself.
    let refusing = refused.iter().filter(|count| **count > 0.0).count();
    assert!(refusing >= 2, "not the leader alone refuses: {refused:?}");
}
