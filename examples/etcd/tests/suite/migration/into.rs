//! From etcd to ours.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;

use super::fill::{Filled, change_alarm, fill};
use super::out::{restored_by_etcdctl, restored_by_etcdutl};
use super::picture::{Picture, hash};
use super::{done, ours_does, run_ours, save, text, word};
use crate::cluster::fleet::Fleet;
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::has_time_for;
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};

const KEYS: usize = 300;
/// With it, what etcd has been told is in its journal alone.
const BEHIND: &str = "--backend-batch-interval=1h";

fn filled(server: &Server, keys: usize) -> Filled {
    in_a_runtime(async { fill(&client_of(server).await, keys).await })
}

/// etcd's directory becomes ours; what is seen of it is the same, and it can be written.
/// And back: what it had, and, if it was not killed, what was saved here, with the same hash of all
/// history, each byte of each record, that etcd had.
fn check_data_dir(etcd: &Path, etcdctl: &Path, flags: &[&str], restored: impl Fn(&Path) -> Server) {
    let mut server = Server::start(etcd, flags);
    let filled = filled(&server, KEYS);
    let (before, hash_before) = (Picture::of(&server, &filled), hash(&server));
    let is_killed = !flags.is_empty();
    if is_killed {
        server.kill();
    } else {
        server.terminate();
    }
    let data = server.data_dir();
    let refused = run_ours(&["--data-dir", word(&data), "--convert-etcd-data=false"]);
    let said = text(&refused.stderr);
    let command = format!("drystone-etcd migrate --data-dir {}", data.display());
    assert!(refused.status.code() == Some(1) && said.contains(&command), "{said}");
    let said = ours_does(&["migrate", "--data-dir", word(&data)]);
    assert!(!is_killed || !said.contains(" 0 behind it"), "the journal has it: {said}");
    server.change_program(&ours(), &[]);
    server.start_again();
    assert_eq!(Picture::of(&server, &filled), before);
    if !is_killed {
        let folder = tempfile::tempdir().expect("files of a test can be used");
        let copy = folder.path().join("copy.db");
        save(etcdctl, &server, &copy);
        let back = restored(&copy);
        assert_eq!((Picture::of(&back, &filled), hash(&back)), (before, hash_before));
        return;
    }
    in_a_runtime(async {
        let client = client_of(&server).await;
        change_alarm(&client, AlarmAction::Deactivate).await;
        put(&client, "after", "v", 0).await;
    });
    server.terminate();
    std::fs::rename(data.join("member.etcd"), data.join("member"))
        .expect("files of a test can be used");
    server.change_program(etcd, &[]);
    server.start_again();
    assert_eq!(Picture::of(&server, &filled), before);
}

// A member that was stopped in good order has all in its database.
#[test]
fn data_of_a_stopped_etcd_go_on_here() {
    let test = "migration::into::data_of_a_stopped_etcd_go_on_here";
    let Some(real) = real_or_skip(test) else { return };
    check_data_dir(&real.etcd, &real.etcdctl, &[], |copy| restored_by_etcdctl(&real, copy));
}

// One that was killed has the last of it, here all of it, in its journal.
#[test]
fn data_of_a_killed_etcd_go_on_here() {
    let test = "migration::into::data_of_a_killed_etcd_go_on_here";
    let Some(real) = real_or_skip(test) else { return };
    check_data_dir(&real.etcd, &real.etcdctl, &[BEHIND], |copy| restored_by_etcdctl(&real, copy));
}

// etcd 3.5 writes more into its database, and other entries into its journal.
#[test]
fn data_of_etcd_3_5_go_on_here() {
    let test = "migration::into::data_of_etcd_3_5_go_on_here";
    let (Some(real), Some(later)) = (real_or_skip(test), later_or_skip(test)) else { return };
    for flags in [&[][..], &[BEHIND]] {
        check_data_dir(&later.etcd, &real.etcdctl, flags, |copy| restored_by_etcdutl(&later, copy));
    }
}

// Members of one cluster have come differently far: what one lacks it must get from the others, and
// all must end up with the same history.
#[test]
fn members_that_are_converted_one_by_one_are_one_cluster() {
    let test = "migration::into::members_that_are_converted_one_by_one_are_one_cluster";
    let Some(real) = real_or_skip(test) else { return };
    let Some(mut fleet) = Fleet::start_as(test, &real.etcd, 3, &[BEHIND]) else { return };
    // One stays away for the second half, as its journal has it.
    let client_of = async |fleet: &Fleet, number| {
        connect(&fleet.url(number), &Config::default()).await.expect("it answers")
    };
    let away = fleet.follower();
    let [at, other] = if away == 0 { [1, 2] } else { [0, 3 - away] };
    in_a_runtime(async {
        let client = client_of(&fleet, at).await;
        for number in 0..20 {
            put(&client, &format!("early/{number}"), "v", 0).await;
        }
    });
    fleet.kill(away);
    let (filled, before, ids) = in_a_runtime(async {
        let client = client_of(&fleet, at).await;
        let filled = fill(&client, KEYS).await;
        let before = Picture::seen_by(&client, &filled).await;
        (filled, before, members(&client).await)
    });
    fleet.kill(at);
    fleet.kill(other);
    // One is converted beforehand, the others are by their start.
    let said = ours_does(&["migrate", "--data-dir", word(&fleet.data(0))]);
    assert!(said.contains("one of 3"), "{said}");
    fleet.change_program(&ours());
    (0..3).for_each(|number| fleet.launch(number));
    fleet.wait_for_all();
    let mut hashes = Vec::new();
    for number in 0..3 {
        in_a_runtime(async {
            let client = client_of(&fleet, number).await;
            assert_eq!(Picture::seen_by(&client, &filled).await, before, "m{number}");
            assert_eq!(members(&client).await, ids, "m{number}");
            let hash = client.maintenance().hash_kv(pb::HashKvRequest::default()).await;
            hashes.push(hash.unwrap().into_inner().hash);
        });
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// Ids, names and addresses of all members, and the cluster's number.
async fn members(client: &drystone_etcd_api::client::Client) -> (u64, Vec<pb::Member>) {
    // Names come with a member's first words, which may be on their way.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let request = pb::MemberListRequest { linearizable: false };
        let list =
            client.cluster().member_list(request).await.expect("the call is answered").into_inner();
        let named = list.members.iter().all(|member| !member.name.is_empty());
        if named || std::time::Instant::now() > deadline {
            let mut members = list.members;
            members.sort_by_key(|member| member.id);
            return (list.header.expect("the call is answered").cluster_id, members);
        }
    }
}

// A copy that etcd saved, and the file it was copied from, which has no hash.
#[test]
fn copies_that_etcd_saved_are_restored_here() {
    let test = "migration::into::copies_that_etcd_saved_are_restored_here";
    let Some(real) = real_or_skip(test) else { return };
    let mut server = Server::start(&real.etcd, &[]);
    let filled = filled(&server, KEYS);
    let before = Picture::of(&server, &filled);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    save(&real.etcdctl, &server, &copy);
    server.terminate();
    let database = server.data_dir().join("member/snap/db");
    std::fs::copy(database, folder.path().join("bare.db")).unwrap();
    for (name, flags) in [("copy.db", &[][..]), ("bare.db", &["--skip-hash-check"][..])] {
        check_restore(&folder.path().join(name), flags, &filled, &before);
    }
    let refused = run_ours(&["snapshot", "restore", word(&folder.path().join("bare.db"))]);
    assert!(text(&refused.stderr).contains("snapshot missing hash"), "{refused:?}");
}

/// Restores the copy and compares what is seen of it.
fn check_restore(copy: &Path, flags: &[&str], filled: &Filled, before: &Picture) {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let data = folder.path().join("data");
    let words = ["snapshot", "restore", word(copy), "--data-dir", word(&data), "--name=solo"];
    let peer = ["--initial-cluster=solo=http://localhost:2380"];
    ours_does(&[&words[..], &peer, flags].concat());
    let mode = std::fs::metadata(&data).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it may hold hashes of passwords");
    let server = Server::start_in(folder, &ours(), &[]);
    assert_eq!(&Picture::of(&server, filled), before);
}

// Clients that have seen revisions which the copy lacks must not see them again as others; and one
// whose watch is from before must hear that it has missed something.
#[test]
fn bumped_revision_is_above_all_that_was_seen() {
    let test = "migration::into::bumped_revision_is_above_all_that_was_seen";
    let Some(real) = real_or_skip(test) else { return };
    let server = Server::start(&ours(), &[]);
    let newest = in_a_runtime(async {
        let client = client_of(&server).await;
        put(&client, "k", "v", 0).await;
        put(&client, "k", "w", 0).await
    });
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    save(&real.etcdctl, &server, &copy);
    let data = folder.path().join("data");
    let words = ["snapshot", "restore", word(&copy), "--data-dir", word(&data), "--name=solo"];
    let more = ["--initial-cluster=solo=http://localhost:2380", "--bump-revision=1000000"];
    let refused = run_ours(&[&words[..], &more].concat());
    assert_eq!(refused.status.code(), Some(2), "without --mark-compacted: {refused:?}");
    let said = ours_does(&[&words[..], &more, &["--mark-compacted"]].concat());
    assert!(said.contains(&format!("at revision {}", newest + 1_000_000)), "{said}");
    let server = Server::start_in(folder, &ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let old = pb::RangeRequest { key: "k".into(), revision: newest, ..Default::default() };
        let error = client.kv().range(old).await.unwrap_err();
        assert!(error.message().contains("compacted"), "{error}");
        assert_eq!(put(&client, "k", "x", 0).await, newest + 1_000_001);
    });
    // etcd finds the same revision in what is saved of that.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    save(&real.etcdctl, &server, &copy);
    let status = ours_does(&["snapshot", "status", word(&copy)]);
    assert!(status.contains(&format!(", {}, ", newest + 1_000_001)), "{status}");
}

// Up to 3.4, a restored database knows of no members: only a raft snapshot does, and one of them
// here is never started.
#[test]
fn members_that_never_started_are_members_all_the_same() {
    let test = "migration::into::members_that_never_started_are_members_all_the_same";
    let Some(real) = real_or_skip(test) else { return };
    let server = Server::start(&ours(), &[]);
    in_a_runtime(async { put(&client_of(&server).await, "k", "v", 0).await });
    let folder = tempfile::tempdir().unwrap();
    let [copy, data] = ["copy.db", "data"].map(|name| folder.path().join(name));
    save(&real.etcdctl, &server, &copy);
    let mut command = clean_command(&real.etcdctl);
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore", "--name=a"]).arg(&copy);
    command.args(["--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2"]);
    command.args(["--initial-advertise-peer-urls=http://127.0.0.1:1"]);
    done(command.arg("--data-dir").arg(&data));
    let said = ours_does(&["migrate", "--data-dir", word(&data)]);
    assert!(said.contains("one of 2") && said.contains("revision 2, entry 2 of the log"), "{said}");
}

// Large, because a tree of three levels is another than one of two; and how long it takes matters
// to whoever has to stop a cluster for it.
#[test]
fn hundred_thousand_keys_go_there_and_back() {
    let test = "migration::into::hundred_thousand_keys_go_there_and_back";
    if !has_time_for(test) {
        return;
    }
    let (Some(real), Some(later)) = (real_or_skip(test), later_or_skip(test)) else { return };
    let mut server = Server::start(&real.etcd, &[]);
    let filled = filled(&server, 100_000);
    let (before, hash_before) = (Picture::of(&server, &filled), hash(&server));
    assert!(before.keys() > 99_000);
    server.kill();
    let began = std::time::Instant::now();
    ours_does(&["migrate", "--data-dir", word(&server.data_dir())]);
    let took = began.elapsed();
    server.change_program(&ours(), &[]);
    server.start_again();
    assert_eq!(Picture::of(&server, &filled), before);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let began = std::time::Instant::now();
    save(&real.etcdctl, &server, &copy);
    println!("100,000 keys: converted in {took:?}, saved in {:?}", began.elapsed());
    let back = restored_by_etcdutl(&later, &copy);
    assert_eq!((Picture::of(&back, &filled), hash(&back)), (before, hash_before));
}
