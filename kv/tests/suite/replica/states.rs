//! Whole states that are sent to members that are far behind, and put in the place of theirs.

use drystone_kv::watch::{StreamOptions, WatchMessage, WatchRequest};

use super::*;

pub(super) fn small(options: &mut ReplicaOptions) {
    (options.kept_entries, options.kept_bytes_max) = (10, 1 << 20);
    options.store.persist_bytes_min = 64 << 10;
    // Machines that test are busy: who leads shall go on to.
    options.election = Duration::from_secs(1);
}

/// [`small`], with this engine.
pub(super) fn small_on(engine: EngineKind) -> fn(&mut ReplicaOptions) {
    match engine {
        EngineKind::Memory => |options| {
            small(options);
            options.store.engine = Some(EngineKind::Memory);
        },
        EngineKind::Btree => |options| {
            small(options);
            options.store.engine = Some(EngineKind::Btree);
        },
        EngineKind::Lsm => |options| {
            small(options);
            options.store.engine = Some(EngineKind::Lsm);
        },
    }
}

/// Puts until the log of this member no longer reaches back to `index`.
pub(super) async fn write_past(replica: &Replica, index: u64) {
    let value = "v".repeat(4 << 10);
    let mut count = 0;
    while replica.group_status().await.expect("it runs").base.index.0 <= index {
        set(replica, &format!("k{}", count % 50), &value).await;
        count += 1;
    }
}

/// A member that was away for too long is sent the whole state, whichever engine it has; so is one
/// that comes with an empty disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_is_far_behind_is_sent_the_state() {
    for engine in EngineKind::ALL {
        let mut party = Party::new(3, small).await;
        let leader = party.at(party.leader().await);
        let late = party.follower().await;
        set(&leader, "first", "1").await;
        party.agree().await;
        party.kill(late).await;
        let end = leader.group_status().await.unwrap().last.index.0;
        write_past(&leader, end).await;
        party.tune = small_on(engine);
        if engine != leader.engine_kind() {
            // Its disk was lost, and it is to come back under the same name: what only it had
            // acknowledged is on the others, too.
            party.disks.remove(&late);
        }
        let replica = party.start(late).await;
        party.agree().await;
        assert_eq!(replica.engine_kind(), engine);
        set(&leader, "last", "1").await;
        party.agree().await;
        // What it was sent is its own now.
        drop(replica);
        party.kill(late).await;
        let replica = party.start(late).await;
        assert_eq!(get(&replica, "first").as_deref(), Some("1"), "before anyone has said a word");
        party.agree().await;
    }
}

/// A watch on a member that is sent a state goes on: everything in between comes from its history,
/// once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_goes_on_over_a_state_that_was_sent() {
    let party = Party::new(3, small).await;
    let leader = party.at(party.leader().await);
    let late = party.follower().await;
    let mut watch = party.at(late).watch(StreamOptions::default());
    watch.control().create(WatchRequest::new(KeyRange::all())).unwrap();
    let begin = set(&leader, "first", "1").await;
    party.agree().await;
    party.isolate(late);
    let end = leader.group_status().await.unwrap().last.index.0;
    write_past(&leader, end).await;
    party.heal();
    set(&leader, "last", "1").await;
    let end = party.agree().await;
    let mut next = begin;
    while next <= end {
        let message = std::future::poll_fn(|cx| watch.poll_next(cx)).await.unwrap().unwrap();
        let WatchMessage::Events { events, .. } = message else { continue };
        for event in events {
            assert_eq!(event.kv.mod_revision, next, "none is left out or comes twice");
            next += 1;
        }
    }
    let status = party.at(late).group_status().await.unwrap();
    assert!(status.base.index.0 > 0, "it stands on a state that was sent");
}

/// What files of the log in `dir` take, and whether one lies ready to be its next segment.
fn log_of(disk: &dyn Vfs, dir: &Path) -> (u64, bool) {
    let (mut bytes, mut is_ready) = (0, false);
    for name in disk.list(dir).expect("it is a folder") {
        let path = dir.join(name);
        match disk.list(&path) {
            Ok(_) => {
                let (within, ready) = log_of(disk, &path);
                (bytes, is_ready) = (bytes + within, is_ready || ready);
            }
            Err(_) => {
                // One may go while we look.
                let file = disk.open(&path, OpenMode::Read);
                bytes += file.and_then(|file| file.len()).unwrap_or(0);
                is_ready |= path.ends_with("spare.tmp");
            }
        }
    }
    (bytes, is_ready)
}

/// A segment of the log that lies ready holds nothing, and on a disk that is nearly full may be all
/// that a save of the engine needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frugal_log_takes_no_room_ahead() {
    let party = Party::new(1, small).await;
    let (leader, disk) = (party.at(party.leader().await), party.disks[&1].clone());
    let log = || log_of(&*disk, Path::new("data/raft"));
    let value = "v".repeat(64 << 10);
    while !log().1 {
        set(&leader, "k", &value).await;
    }
    let (before, _) = log();
    while log().1 {
        leader.be_frugal(true).await.unwrap();
        pause().await;
    }
    // What is left is less than a segment, which at first has a mebibyte.
    let (after, _) = log();
    assert!(after + (1 << 20) <= before, "{before} bytes became {after}");
    for _ in 0..100 {
        set(&leader, "k", &value).await;
        assert!(!log().1, "none is made before it is needed");
    }
    leader.be_frugal(false).await.unwrap();
    while !log().1 {
        set(&leader, "k", &value).await;
    }
}

/// A disk that is nearly full cannot wait until it pays to shorten the log. What the members have
/// goes at once; nobody is sent a whole state for it, and all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frugal_log_holds_nothing_that_all_have() {
    let party = Party::new(3, |_| ()).await;
    let leader = party.at(party.leader().await);
    for n in 0..20 {
        set(&leader, &format!("k{n}"), "v").await;
    }
    party.agree().await;
    let end = leader.group_status().await.unwrap().last.index;
    let base = leader.group_status().await.unwrap().base.index;
    assert!(base.0 < end.0 - 15, "5,000 entries stay if nobody asks for less");
    while leader.group_status().await.unwrap().base.index < end {
        leader.be_frugal(true).await.unwrap();
        pause().await;
    }
    leader.be_frugal(false).await.unwrap();
    set(&leader, "last", "1").await;
    party.agree().await;
    let kept = leader.group_status().await.unwrap().base.index;
    let other = party.at(party.follower().await).group_status().await.unwrap();
    assert!(other.base.index < kept, "it was not sent a state");
}
