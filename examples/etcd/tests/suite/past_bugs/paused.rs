//! A member that stood still (SIGSTOP) while the others went on, and does not know it.

use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use rustix::process::Signal;

use super::{QUICK, read_to};
use crate::cluster::fleet::{Fleet, PATIENCE, wait};
use crate::metrics::page::Page;
use crate::support::calls::{self, in_a_runtime};
use crate::support::watch::Watch;

/// etcd's issue 20418: a leader that was paused while another was elected answered linearizable
/// reads with what it had, when it went on. Here the leader is stopped, another member leads and
/// writes, readers ask the one that stands still, and it goes on with its deposition in one ear and
/// them in the other. Were it to answer from what it knows, without hearing a quorum after the
/// question came, some of them would be told the old value.
/// This is trap 23.
#[test]
fn leader_that_was_paused_answers_no_read_with_old_data() {
    const READERS: usize = 64;
    let test = "leader_that_was_paused_answers_no_read_with_old_data";
    let Some(fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    for round in 0..4 {
        let (old, other) = (fleet.leader(), fleet.follower());
        in_a_runtime(async {
            let mut readers = Vec::new();
            for _ in 0..READERS {
                let client = fleet.client(old).await;
                calls::get_once(&client, "k").await;
                readers.push(client);
            }
            calls::put(&readers[0], "k", format!("{round} old"), 0).await;
            fleet.signal(old, Signal::STOP);
            let new = format!("{round} new");
            until_put_value(&fleet, other, &new).await;
            let reads = readers.iter().map(|client| {
                let (key, mut kv) = ("k".into(), client.kv());
                let request = RangeRequest { key, ..RangeRequest::default() };
                tokio::spawn(async move { kv.range(request).await })
            });
            let reads: Vec<_> = reads.collect();
            // They are on their way into its sockets.
            for _ in 0..READERS {
                tokio::task::yield_now().await;
            }
            fleet.signal(old, Signal::CONT);
            for read in reads {
                // It may refuse, and must not lie.
                if let Ok(read) = read.await.expect("a reader does not panic") {
                    let kvs = read.into_inner().kvs;
                    assert_eq!(kvs[0].value, new, "round {round}: this was written before");
                }
            }
        });
        fleet.wait_for_all();
    }
}

/// Puts at a member until it is answered: somebody must lead first.
async fn until_put_value(fleet: &Fleet, number: usize, value: &str) {
    let since = Instant::now();
    loop {
        let client = fleet.client(number).await;
        let (key, value) = ("k".into(), value.to_owned().into());
        let request = PutRequest { key, value, ..PutRequest::default() };
        let mut kv = client.kv();
        let put = tokio::time::timeout(Duration::from_secs(1), kv.put(request)).await;
        if matches!(put, Ok(Ok(_))) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "somebody else leads some time");
    }
}

/// etcd's issue 15271: a member that had been cut off was sent the whole state, and put its
/// watchers back to where they had begun, so that they were told old revisions again. Here a
/// member with a watcher stands still until the log of the others no longer reaches back to it.
/// Were its watcher begun over when the state comes, revisions would come twice and fall.
#[test]
fn watch_does_not_go_back_when_its_member_is_sent_the_state() {
    const VALUE_BYTES: usize = 1 << 20;
    /// Twice what is kept of the log for a member that lags, and more.
    const VALUES: i64 = 150;
    let test = "watch_does_not_go_back_when_its_member_is_sent_the_state";
    let flags = [&QUICK[..], &["--snapshot-catchup-entries=1"]].concat();
    let Some(fleet) = Fleet::start_with(test, 3, &flags) else { return };
    let (leader, late) = (fleet.leader(), fleet.follower());
    in_a_runtime(async {
        let (writer, watched) = (fleet.client(leader).await, fleet.client(late).await);
        // It watches small keys only, so that it keeps up until the state comes.
        let first = calls::put(&writer, "w", "1", 0).await;
        let mut only = WatchCreateRequest { key: "w".into(), ..WatchCreateRequest::default() };
        only.start_revision = first;
        let (mut watch, _) = Watch::open(&watched, only).await.expect("it is there");
        for _ in 0..5 {
            calls::put(&writer, "w", "1", 0).await;
        }
        let seen = read_to(&mut watch, first + 5).await;
        assert_eq!(seen, (first..=first + 5).collect::<Vec<_>>());
        fleet.signal(late, Signal::STOP);
        let unseen = calls::put(&writer, "w", "2", 0).await;
        for _ in 0..VALUES {
            calls::put(&writer, "large", vec![b'v'; VALUE_BYTES], 0).await;
        }
        // The log is shortened behind what is saved.
        calls::save(&writer).await;
        fleet.signal(late, Signal::CONT);
        let last = calls::put(&writer, "w", "3", 0).await;
        let seen = read_to(&mut watch, last).await;
        assert_eq!(seen, [unseen, last], "each once, and in order");
    });
    let pointer = fleet.data(late).join("replica/ENGINE");
    let sent = wait(|| std::fs::read_to_string(&pointer).ok());
    assert!(sent.is_some(), "it was sent the state\n{}", fleet.log(late));
    let page = |number| Page::fetch(fleet.url(number).trim_start_matches("http://"));
    assert!(page(late).total("etcd_network_snapshot_receive_success") >= 1.0, "and counts it");
    let sent = |number| page(number).total("etcd_network_snapshot_send_success");
    assert!(fleet.running().into_iter().map(sent).sum::<f64>() >= 1.0, "as does who sent it");
    super::agree(&fleet);
}
