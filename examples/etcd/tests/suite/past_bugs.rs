//! Bugs that etcd has had, asked of our server: its process, or a cluster of them.
//!
//! Whoever replaces etcd had better not repeat its mistakes. Each test is of one of them: it names
//! the issue of etcd's tracker, says what went wrong there, how it is provoked here, and why the
//! test would fail if the bug were ours. `docs/etcd-past-bugs.md` lists them all; those that need a
//! power cut at an exact call to the disk are in `kv/tests/suite/replica/past_bugs`.
//!
//! | room | asks |
//! |---|---|
//! | [`agreement`] | whether all members do the same, over crashes and refusals |
//! | [`paused`] | what a member says that stood still while the others went on |
//! | [`watches`] | whether watches tell everything once, in order, and no more than is true |

mod agreement;
mod paused;
mod watches;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    HashKvRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchResponse, request_op,
};

use crate::cluster::fleet::{Fleet, wait};
use crate::support::calls::in_a_runtime;
use crate::support::watch::Watch;

/// Shorter times than the default, so that an election comes sooner.
const QUICK: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];

/// A watch of all keys from this revision on.
fn all_from(start_revision: i64) -> WatchCreateRequest {
    let (key, range_end) = (vec![0].into(), vec![0].into());
    WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() }
}

/// The revision that an answer carries.
fn told(answer: &WatchResponse) -> i64 {
    answer.header.as_ref().expect("an answer has a header").revision
}

/// The revisions of an answer's events.
fn revisions(answer: &WatchResponse) -> impl Iterator<Item = i64> {
    let kvs = answer.events.iter().map(|event| event.kv.as_ref().expect("of a key"));
    kvs.map(|kv| kv.mod_revision)
}

/// Reads a watch until an event of `end`; the revisions of all events.
async fn read_to(watch: &mut Watch, end: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| *last < end) {
        let answer = watch.message().await.expect("the watch goes on");
        assert!(!answer.canceled, "nothing is compacted: {answer:?}");
        seen.extend(revisions(&answer));
    }
    seen
}

/// A transaction of these operations without a condition.
fn txn(requests: impl IntoIterator<Item = request_op::Request>) -> TxnRequest {
    let op = |request| RequestOp { request: Some(request) };
    TxnRequest { success: requests.into_iter().map(op).collect(), ..TxnRequest::default() }
}

/// Waits until all members that run hold the same, by the hash of their whole history.
fn agree(fleet: &Fleet) {
    let hash = |client: Client| async move {
        let asked = client.maintenance().hash_kv(HashKvRequest::default()).await;
        let told = asked.expect("a member that runs has a hash").into_inner();
        (told.header.map(|header| header.revision), told.hash, told.compact_revision)
    };
    let mut last = Vec::new();
    let agreed = wait(|| {
        last = in_a_runtime(async {
            let mut hashes = Vec::new();
            for number in fleet.running() {
                hashes.push(hash(fleet.client(number).await).await);
            }
            hashes
        });
        last.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
    });
    assert!(agreed.is_some(), "members differ: revision, hash, compacted: {last:?}");
}
