//! All members do the same, whatever happens to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{
    DefragmentRequest, PutRequest, RangeRequest, request_op::Request,
};
use tonic::Code;

use super::{agree, txn};
use crate::cluster::fleet::{Fleet, wait};
use crate::support::calls::{self, in_a_runtime};

const WRITERS: usize = 24;
/// So many answers are given in each round before the members are killed.
const ANSWERS: u64 = 300;

/// What the writers of one round share.
#[derive(Default)]
struct Round {
    stop: AtomicBool,
    answers: AtomicU64,
}

/// Puts 1, 2, 3… at a key of its own, beginning after what stands there; the last that was
/// answered. The value is thus the key's version, as long as each put is done once.
async fn count_up(url: String, key: String, round: Arc<Round>) -> i64 {
    let client = connect(&url, &Config::default()).await.expect("it runs");
    let mut count = calls::get(&client, &key).await.kvs.first().map_or(0, |kv| kv.version);
    while !round.stop.load(Ordering::Acquire) {
        let value = (count + 1).to_string().into();
        let put = PutRequest { key: key.clone().into(), value, ..PutRequest::default() };
        if client.kv().put(put).await.is_err() {
            // Perhaps done; nobody can know, and nobody asks a second time.
            break;
        }
        count += 1;
        round.answers.fetch_add(1, Ordering::AcqRel);
    }
    count
}

/// Writers at all members until the round is stopped; what was answered last, by key.
fn write(fleet: &Fleet, round: &Arc<Round>) -> thread::JoinHandle<Vec<(String, i64)>> {
    let urls: Vec<String> = fleet.running().into_iter().map(|at| fleet.url(at)).collect();
    let round = Arc::clone(round);
    thread::spawn(move || {
        in_a_runtime(async {
            let writers = (0..WRITERS).map(|writer| {
                let key = format!("count/{writer}");
                let count = count_up(urls[writer % urls.len()].clone(), key.clone(), round.clone());
                let task = tokio::spawn(count);
                async { (key, task.await.expect("a writer does not panic")) }
            });
            futures_util::future::join_all(writers).await
        })
    })
}

/// etcd's issue 13766: under load the position of the last entry and the data that came of it were
/// saved apart; a crash in between made members do entries twice, and their revisions drifted
/// apart. Here all members are killed while clients write and engines are saved, three times. Were
/// a put done twice, its key would have a version above its value, revisions and hashes would
/// differ; were one lost, it would be missing.
#[test]
fn members_agree_after_crashes_under_load() {
    let test = "members_agree_after_crashes_under_load";
    let Some(mut fleet) = Fleet::start_with(test, 3, &super::QUICK) else { return };
    for _ in 0..3 {
        let round = Arc::new(Round::default());
        let writers = write(&fleet, &round);
        let reached = |count| {
            let come = wait(|| (round.answers.load(Ordering::Acquire) >= count).then_some(()));
            assert!(come.is_some(), "clients write");
        };
        // Each member saves its engine with puts under way before, in, and behind it.
        for number in 0..3 {
            reached(ANSWERS * (number as u64 + 1) / 4);
            in_a_runtime(async {
                let client = fleet.client(number).await;
                let saved = client.maintenance().defragment(DefragmentRequest {}).await;
                saved.expect("it runs");
            });
        }
        reached(ANSWERS);
        (0..3).for_each(|number| fleet.signal(number, rustix::process::Signal::KILL));
        for number in 0..3 {
            fleet.wait_for_exit(number);
        }
        round.stop.store(true, Ordering::Release);
        let answered = writers.join().expect("writers do not panic");
        (0..3).for_each(|number| fleet.launch(number));
        fleet.wait_for_all();
        agree(&fleet);
        in_a_runtime(check(&fleet, &answered));
    }
}

/// What was answered is there, on each member, and nothing was done twice.
async fn check(fleet: &Fleet, answered: &[(String, i64)]) {
    for number in fleet.running() {
        let client = fleet.client(number).await;
        for (key, count) in answered {
            let kv = calls::get(&client, key).await.kvs.pop().expect("it was put");
            let value: i64 = String::from_utf8_lossy(&kv.value).parse().expect("a number");
            assert_eq!(kv.version, value, "m{number}: {key} was put once for each number");
            assert!(value >= *count, "m{number}: {key} was answered up to {count}: {value}");
        }
    }
}

/// etcd's issue 18667: a transaction that reads a revision which is compacted was refused by the
/// member that was asked; the others left its reads out, and did its writes. Here each member in
/// turn is asked for such transactions, with the read before and behind the write, of the past and
/// of the future. Were they not refused alike, the key would be there on some members, and their
/// revisions and hashes would differ.
#[test]
fn transaction_with_an_unreadable_revision_is_refused_by_all_members_alike() {
    let test = "transaction_with_an_unreadable_revision_is_refused_by_all_members_alike";
    let Some(fleet) = Fleet::start_with(test, 3, &super::QUICK) else { return };
    in_a_runtime(async {
        let client = fleet.client(0).await;
        for i in 0..10 {
            calls::put(&client, "k", i.to_string(), 0).await;
        }
        let newest = calls::revision(&client).await;
        calls::compact(&client, newest - 2).await;
        for number in 0..3 {
            let client = fleet.client(number).await;
            for revision in [1, newest - 3, newest + 100] {
                refused(&client, revision, true).await;
                refused(&client, revision, false).await;
            }
        }
        for number in 0..3 {
            let client = fleet.client(number).await;
            assert_eq!(calls::revision(&client).await, newest, "m{number} has done nothing");
            assert_eq!(calls::get(&client, "mark").await.count, 0, "m{number}");
        }
        // What can be read is, and the write is done.
        let readable = [read(newest - 1), mark()];
        client.kv().txn(txn(readable)).await.expect("nothing is wrong with it");
    });
    agree(&fleet);
}

fn read(revision: i64) -> Request {
    Request::RequestRange(RangeRequest { key: "k".into(), revision, ..RangeRequest::default() })
}

fn mark() -> Request {
    Request::RequestPut(PutRequest { key: "mark".into(), ..PutRequest::default() })
}

async fn refused(client: &Client, revision: i64, read_first: bool) {
    let (read, mark) = (read(revision), mark());
    let requests = if read_first { [read, mark] } else { [mark, read] };
    let asked = tokio::time::timeout(Duration::from_secs(30), client.kv().txn(txn(requests))).await;
    let status = asked.expect("it is answered").expect_err("that revision cannot be read");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}
