//! One store on several members.

use super::fleet::{Fleet, wait};

/// Clients are spread over the members, and must not notice.
fn all_members_show_one_store(test: &str, count: usize) {
    let Some(fleet) = Fleet::start(test, count) else { return };
    for at in 0..count {
        fleet.ctl_ok(&[at], &["put", &format!("from/{at}"), &format!("{at}")]);
        for other in 0..count {
            // A linearizable read shows what was acknowledged elsewhere a moment ago.
            assert_eq!(fleet.get(other, &format!("from/{at}")), format!("{at}"));
        }
    }
    let everyone: Vec<usize> = (0..count).collect();
    let listed = fleet.ctl_ok(&[0], &["member", "list"]);
    assert_eq!(listed.lines().filter(|line| line.contains(", started, m")).count(), count);
    let health = fleet.ctl(&everyone, &["endpoint", "health"]);
    assert!(health.worked, "{health:?}");
    let statuses: Vec<_> = everyone.iter().map(|at| fleet.wait_for(*at)).collect();
    let header = |at: usize| statuses[at].header.as_ref().expect("an answer has a header");
    for at in 0..count {
        assert_eq!(header(at).cluster_id, header(0).cluster_id);
        assert_eq!(statuses[at].leader, statuses[0].leader, "all follow one leader");
    }
    let mut ids: Vec<u64> = (0..count).map(|at| header(at).member_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "every member has an id of its own");
    assert!(ids.contains(&statuses[0].leader));
}

#[test]
fn three_members_show_one_store() {
    all_members_show_one_store("three_members_show_one_store", 3);
}

#[test]
fn five_members_show_one_store() {
    all_members_show_one_store("five_members_show_one_store", 5);
}

/// A power cut in the whole house, and an upgrade of all machines at once.
#[test]
fn all_members_restart_with_everything() {
    let test = "all_members_restart_with_everything";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    let before: Vec<u64> = (0..3).map(|at| fleet.id(at)).collect();
    for (round, signal) in
        [rustix::process::Signal::KILL, rustix::process::Signal::TERM].into_iter().enumerate()
    {
        let key = format!("round/{round}");
        fleet.ctl_ok(&[round], &["put", &key, "kept"]);
        (0..3).for_each(|at| fleet.signal(at, signal));
        for at in 0..3 {
            fleet.wait_for_exit(at);
        }
        (0..3).for_each(|at| fleet.launch(at));
        fleet.wait_for_all();
        for (at, id) in before.iter().enumerate() {
            assert_eq!(fleet.id(at), *id, "a member keeps its id");
            for earlier in 0..=round {
                assert_eq!(fleet.get(at, &format!("round/{earlier}")), "kept");
            }
        }
    }
    let hashes = wait(|| {
        let said = fleet.ctl(&[0, 1, 2], &["endpoint", "hashkv"]);
        let hashes: Vec<String> =
            said.out.lines().filter_map(|line| Some(line.split_once(", ")?.1.to_owned())).collect();
        (hashes.len() == 3 && hashes.iter().all(|hash| *hash == hashes[0])).then_some(hashes)
    });
    assert!(hashes.is_some(), "all members hold the same");
}
