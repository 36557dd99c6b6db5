//! More is broken than a cluster is made for; or a disk is, and the others help.

use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};
use tonic::Code;

use super::fleet::{Fleet, wait};
use crate::support::calls::in_a_runtime;
use crate::support::tree;

/// Shorter than the default, so that a request times out sooner.
const QUICK: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];
/// A request without a quorum ends after 5 s and two election timeouts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);

/// Old data are better than none for those who say so, and a lie for those who do not.
#[test]
fn without_quorum_old_reads_go_on_and_others_time_out() {
    let test = "without_quorum_old_reads_go_on_and_others_time_out";
    let Some(mut fleet) = Fleet::start_with(test, 3, &QUICK) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    (0..3).for_each(|at| assert_eq!(fleet.get(at, "k"), "v"));
    let last = fleet.follower();
    for other in (0..3).filter(|other| *other != last) {
        fleet.kill(other);
    }
    let old = fleet.ctl_ok(&[last], &["get", "k", "--consistency=s", "--print-value-only"]);
    assert_eq!(old, "v");
    in_a_runtime(async {
        let client = fleet.client(last).await;
        let since = Instant::now();
        let (mut kv, mut writer) = (client.kv(), client.kv());
        let read = kv.range(RangeRequest { key: "k".into(), ..RangeRequest::default() });
        let write = writer.put(PutRequest { key: "k".into(), ..PutRequest::default() });
        let (read, write) = tokio::join!(read, write);
        for refused in [read.map(drop), write.map(drop)] {
            let status = refused.expect_err("there is no quorum");
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let known = ["etcdserver: request timed out", "etcdserver: leader changed"];
            assert!(known.contains(&status.message()), "{status}");
        }
        let took = since.elapsed();
        assert!(took < REQUEST_TIMEOUT + Duration::from_secs(2), "{took:?}");
    });
    // With one more it goes on.
    fleet.launch((last + 1) % 3);
    fleet.wait_for(last);
    fleet.until_put(last, "k2", Instant::now());
    assert_eq!(fleet.get(last, "k"), "v");
}

/// Two of three machines are gone for good: what the last one has is the cluster now.
#[test]
fn survivor_goes_on_alone_by_force() {
    let Some(mut fleet) = Fleet::start("survivor_goes_on_alone_by_force", 3) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    (0..3).for_each(|at| assert_eq!(fleet.get(at, "k"), "v"));
    let id = fleet.id(1);
    (0..3).for_each(|at| fleet.kill(at));
    fleet.launch_with(1, &["--force-new-cluster"]);
    fleet.wait_for(1);
    assert_eq!(fleet.get(1, "k"), "v");
    fleet.ctl_ok(&[1], &["put", "k", "w"]);
    let listed = fleet.ctl_ok(&[1], &["member", "list"]);
    assert!(listed.lines().count() == 1 && listed.contains(", started, m1, "), "{listed}");
    assert_eq!(fleet.id(1), id, "it is who it was");
    // Without the flag it goes on so.
    fleet.kill(1);
    fleet.launch(1);
    fleet.wait_for(1);
    assert_eq!(fleet.get(1, "k"), "w");
    assert_eq!(fleet.ctl_ok(&[1], &["member", "list"]).lines().count(), 1);
    // One of the old ones that comes back by mistake changes nothing.
    fleet.launch(0);
    fleet.until_put(1, "k2", Instant::now());
    fleet.kill(0);
    // And it can grow again.
    let new = fleet.newcomer();
    let url = format!("--peer-urls={}", fleet.peer_url(new));
    fleet.ctl_ok(&[1], &["member", "add", "m3", &url]);
    let all = format!("m1={},m3={}", fleet.peer_url(1), fleet.peer_url(new));
    fleet.set_cluster(new, &all, "existing");
    fleet.launch(new);
    fleet.wait_for(new);
    assert_eq!(fleet.get(new, "k"), "w");
}

/// Puts so many keys at a member that its log is worth damaging.
fn fill(fleet: &Fleet, number: usize, prefix: &str, count: usize) {
    in_a_runtime(async {
        let client = fleet.client(number).await;
        for i in 0..count {
            let (key, value) = (format!("{prefix}/{i}").into(), vec![b'v'; 1000].into());
            let put = PutRequest { key, value, ..PutRequest::default() };
            client.kv().put(put).await.expect("a put is answered");
        }
    });
}

/// Waits until all members that run say that they hold the same.
fn agree(fleet: &Fleet) {
    let numbers = fleet.running();
    let agreed = wait(|| {
        let said = fleet.ctl(&numbers, &["endpoint", "hashkv"]);
        let hash = |line: &str| line.split_once(", ").map(|(_, hash)| hash.to_owned());
        let hashes: Vec<String> = said.out.lines().filter_map(hash).collect();
        let same = hashes.len() == numbers.len() && hashes.iter().all(|it| *it == hashes[0]);
        same.then_some(())
    });
    assert!(agreed.is_some(), "all members hold the same");
}

/// What one disk has lost, the others have: the member mends its log, or fetches the state.
#[test]
fn damaged_member_of_several_is_mended_by_the_others() {
    let test = "damaged_member_of_several_is_mended_by_the_others";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    fill(&fleet, 0, "early", 300);
    agree(&fleet);
    let harmed = fleet.follower();
    // A byte in the middle of its log.
    fleet.kill(harmed);
    let log = fleet.data(harmed).join("replica/raft/log-1");
    let mut files = tree::files(&log);
    files.retain(|file| file.extension().is_some_and(|end| end == "wal"));
    let mut bytes = std::fs::read(&files[0]).expect("the log can be read");
    bytes[100_000] ^= 1;
    std::fs::write(&files[0], bytes).expect("the log can be written");
    fleet.launch(harmed);
    fleet.wait_for(harmed);
    fill(&fleet, harmed, "late", 10);
    agree(&fleet);
    assert!(fleet.data(harmed).join("replica/raft/log-2").is_dir(), "it was mended");
    // It counts: it and one other are a quorum.
    let other = (0..3).find(|at| *at != harmed).expect("there are others");
    fleet.kill(other);
    fleet.until_put(harmed, "k", Instant::now());
    fleet.launch(other);
    fleet.wait_for(other);
    agree(&fleet);

    // Its engine is gone, saved or not.
    fleet.ctl_ok(&[harmed], &["defrag"]);
    fleet.kill(harmed);
    std::fs::remove_dir_all(fleet.data(harmed).join("replica/engine-a")).expect("it is there");
    fleet.launch(harmed);
    fleet.wait_for(harmed);
    agree(&fleet);

    // Its log is gone as a whole. It may have voted, and does not know for whom: it is refused.
    fleet.kill(harmed);
    std::fs::remove_dir_all(fleet.data(harmed).join("replica/raft")).expect("it is there");
    fleet.launch(harmed);
    assert_eq!(fleet.wait_for_exit(harmed).code(), Some(1));
    assert!(fleet.log(harmed).contains("the consensus log is missing"), "{}", fleet.log(harmed));
}
