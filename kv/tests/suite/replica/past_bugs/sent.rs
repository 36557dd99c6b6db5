//! Whole states that are sent to a member, under its watchers.

use std::future::poll_fn;

use drystone_kv::command::{Compact, DeleteRange, LeaseGrant, LeaseRevoke};
use drystone_kv::types::LeaseId;
use drystone_kv::watch::{StreamOptions, WatchId, WatchMessage, WatchRequest, WatchStream};

use super::*;
use crate::replica::states::{small, small_on, write_past};

/// A watch of all keys from `start` on, under this name.
fn from(id: i64, start: u64) -> WatchRequest {
    let id = Some(WatchId(id));
    WatchRequest { id, start: Some(start), ..WatchRequest::new(KeyRange::all()) }
}

/// Cuts a member off until it can only be helped by a whole state, and waits until it stands on it.
async fn send_state(party: &Party, late: NodeId) {
    let leader = party.at(party.leader().await);
    let base = party.at(late).group_status().await.expect("it runs").base.index;
    party.isolate(late);
    let end = leader.group_status().await.expect("it runs").last.index.0;
    write_past(&leader, end).await;
    party.heal();
    while party.at(late).group_status().await.expect("it runs").base.index <= base {
        pause().await;
    }
}

/// Notes the revisions of the events that each watch is told, until those in `ends` have come to
/// their end.
async fn revisions(
    watch: &mut WatchStream,
    seen: &mut BTreeMap<WatchId, Vec<u64>>,
    ends: &[(WatchId, u64)],
) {
    let is_done = |seen: &BTreeMap<WatchId, Vec<u64>>| {
        let last = |id| seen.get(id).and_then(|seen| seen.last());
        ends.iter().all(|(id, end)| last(id).is_some_and(|last| last >= end))
    };
    while !is_done(seen) {
        let message = poll_fn(|cx| watch.poll_next(cx))
            .await
            .expect("it goes on")
            .expect("it is not cut off");
        if let WatchMessage::Events { id, events, .. } = message {
            let of = seen.entry(id).or_default();
            of.extend(events.iter().map(|event| event.kv.mod_revision));
        }
    }
}

/// Asserts that these are the revisions from `start` to `end`: each once, and in order.
#[track_caller]
fn check(seen: &[u64], start: u64, end: u64) {
    for (revision, next) in seen.iter().zip(start..) {
        assert_eq!(*revision, next, "each comes once, in order, from {start} on");
    }
    assert_eq!(seen.last(), Some(&end));
}

/// etcd's issues 18055 and 20271: a member that was sent one state right after another kept parts
/// of the first, so that it missed revisions or could not start again. Here a member is cut off
/// until it needs a state, again and again, with no time to settle in between, and then killed and
/// started again. Were the second state not put in the place of the first whole and for good, the
/// watcher would miss events, the hashes would differ, or the member would come back older. Were
/// anything left of the first, a key and a lease that ended in between would be there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_that_are_sent_in_a_row_leave_one_history() {
    for engine in EngineKind::ALL {
        let mut party = Party::new(3, small).await;
        let late = party.follower().await;
        // The same member, on a new disk with that engine.
        party.agree().await;
        party.kill(late).await;
        party.disks.remove(&late);
        party.tune = small_on(engine);
        party.start(late).await;
        let begin = set(&party.at(late), "first", "1").await;
        party.agree().await;
        let mut watch = party.at(late).watch(StreamOptions::default());
        watch.control().create(from(1, begin)).expect("it is asked for once");
        send_state(&party, late).await;
        let middle = party.at(party.leader().await).revision();
        send_state(&party, late).await;
        let end = set(&party.at(party.leader().await), "last", "1").await;
        let mut seen = BTreeMap::new();
        revisions(&mut watch, &mut seen, &[(WatchId(1), end)]).await;
        check(&seen[&WatchId(1)], begin, end);
        drop(watch);
        party.agree().await;
        party.kill(late).await;
        let replica = party.start(late).await;
        // What the log adds to the state comes when somebody has said what is committed.
        assert!(replica.revision() > middle, "{engine}: it stands on the second state");
        party.agree().await;
        assert_eq!(get(&replica, "last").as_deref(), Some("1"), "{engine}");
        one_after_the_other(&party, late).await;
    }
}

/// Sends two states more. What the first still has and the second does not must be gone.
async fn one_after_the_other(party: &Party, late: NodeId) {
    let leader = party.at(party.leader().await);
    let lease = LeaseId(7);
    insist(&leader, Command::LeaseGrant(LeaseGrant { id: lease, ttl: 10_000 })).await;
    set(&leader, "ends", "1").await;
    party.agree().await;
    send_state(party, late).await;
    let range = KeyRange::single("ends");
    let ended = [
        Command::LeaseRevoke(LeaseRevoke { id: lease }),
        Command::DeleteRange(DeleteRange { range, prev_kv: false }),
    ];
    for command in ended {
        insist(&leader, command).await;
    }
    // Of the compacted revision everything stays: the deletion must lie below.
    let revision = set(&leader, "later", "1").await;
    insist(&leader, Command::Compact(Compact { revision })).await;
    leader.swept(revision).await;
    send_state(party, late).await;
    send_state(party, late).await;
    let end = set(&party.at(party.leader().await), "end", "1").await;
    let late = party.at(late);
    while late.revision() < end {
        pause().await;
    }
    assert_eq!(get(&late, "ends"), None, "what was deleted between two states is gone");
    assert_eq!(late.status().leases, 0, "and so is the lease that was revoked");
    party.agree().await;
}

/// etcd's issue 20221: a watch that was to begin in the future began at once when its member was
/// sent a state, and told of revisions before its start. Here one watch begins within what is sent,
/// one far beyond it. Were watches begun over from what the member has not seen yet, both would
/// tell of revisions before their start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_of_the_future_waits_for_it_over_a_state_that_was_sent() {
    const WITHIN: WatchId = WatchId(1);
    const BEYOND: WatchId = WatchId(2);
    let party = Party::new(3, small).await;
    let late = party.follower().await;
    let begin = set(&party.at(late), "first", "1").await;
    party.agree().await;
    // How much is written until a state must be sent depends on how busy the machine is.
    let (within, beyond) = (begin + 5, begin + 20_000);
    let mut watch = party.at(late).watch(StreamOptions::default());
    watch.control().create(from(1, within)).expect("it is asked for once");
    watch.control().create(from(2, beyond)).expect("it is asked for once");
    send_state(&party, late).await;
    let sent = party.agree().await;
    assert!(within < sent && sent < beyond, "{within} {sent} {beyond}");
    let mut end = sent;
    while end < beyond + 3 {
        let leader = party.at(party.leader().await);
        let mut sets = tokio::task::JoinSet::new();
        for _ in 0..256 {
            let leader = leader.clone();
            sets.spawn(async move { set(&leader, "k", "v").await });
        }
        end = sets.join_all().await.into_iter().max().expect("there are some");
    }
    let mut seen = BTreeMap::new();
    revisions(&mut watch, &mut seen, &[(WITHIN, end), (BEYOND, end)]).await;
    check(&seen[&WITHIN], within, end);
    check(&seen[&BEYOND], beyond, end);
}
