//! A point that goes on elsewhere: in etcd, and under clients that have seen more.

use std::path::PathBuf;

use drystone_etcd_api::etcdserverpb as pb;

use super::{add, restored};
use crate::migration::out::{restored_by_etcdctl, restored_by_etcdutl};
use crate::migration::picture::all_keys;
use crate::migration::{done, ours_does, word};
use crate::support::calls::{client_of, compact, get, grant, in_a_runtime, lease, put, revision};
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};
use crate::support::watch::Watch;

/// How far the revision is bumped unless it is told.
const MARGIN: i64 = 1_000_000_000;

/// A folder with some history; the key `k` has as value at which revision it was set.
fn fill(dir: &std::path::Path) -> i64 {
    let server = Server::start(&ours(), &[]);
    let mut newest = 0;
    for round in 0..3 {
        newest = in_a_runtime(async {
            let client = client_of(&server).await;
            grant(&client, 70 + round, 1000).await;
            for _ in 0..5 {
                let next = revision(&client).await + 1;
                put(&client, "k", next.to_string(), 70 + round).await;
                put(&client, &format!("gone/{next}"), "v", 0).await;
            }
            if round == 1 {
                compact(&client, 4).await;
            }
            revision(&client).await
        });
        add(&server, dir);
    }
    newest
}

// Who wants to go back to etcd wants any moment there, too, as etcd's own tool takes it.
#[test]
fn etcd_goes_on_with_a_point() {
    let test = "backup::elsewhere::etcd_goes_on_with_a_point";
    let Some(real) = real_or_skip(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let newest = fill(&dir);
    let to = |name: &str, flags: &[&str]| -> PathBuf {
        let path = folder.path().join(name);
        ours_does(&[&["backup", "restore", word(&dir), "--to", word(&path)], flags].concat());
        path
    };
    let copy = to("plain.db", &["--to-revision=26", "--no-bump"]);
    let plain = restored_by_etcdctl(&real, &copy);
    let same = restored(&dir, &["--to-revision=26", "--no-bump"]);
    in_a_runtime(async {
        let (there, here) = (client_of(&plain).await, client_of(&same).await);
        assert_eq!(revision(&there).await, 26);
        for at in [5, 17, 26] {
            assert_eq!(all_keys(&there, at).await, all_keys(&here, at).await, "at {at}");
        }
        assert_eq!(get(&there, "k").await.kvs[0].value, "26");
        assert_eq!(lease(&there, 72).await.keys, ["k"], "granted between two backups");
        assert_eq!(put(&there, "k", "v", 0).await, 27);
    });
    if let Some(later) = later_or_skip(test) {
        // This one walks through all pages first, and says which are not as they should be.
        done(clean_command(&later.etcdutl).args(["snapshot", "status", word(&copy)]));
        let later = restored_by_etcdutl(&later, &copy);
        in_a_runtime(async {
            let (there, here) = (client_of(&later).await, client_of(&same).await);
            assert_eq!(all_keys(&there, 26).await, all_keys(&here, 26).await);
        });
    }
    let bumped = restored_by_etcdctl(&real, &to("bumped.db", &["--to-revision=26"]));
    in_a_runtime(async {
        let client = client_of(&bumped).await;
        let answer = get(&client, "k").await;
        assert_eq!((&answer.kvs[0].value[..], answer.kvs[0].mod_revision), (&b"26"[..], 26));
        assert_eq!(revision(&client).await, newest + MARGIN);
        let old = pb::RangeRequest { key: "k".into(), revision: newest, ..Default::default() };
        let error = client.kv().range(old).await.unwrap_err();
        assert!(error.message().contains("compacted"), "{error}");
        assert_eq!(put(&client, "k", "v", 0).await, newest + MARGIN + 1);
    });
}

// Clients that have seen revisions which are no more must not see them again as others, whichever
// moment is restored; and one whose watch is from before must hear that it has missed something.
#[test]
fn no_client_sees_a_revision_twice() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let newest = fill(&dir);
    let server = restored(&dir, &["--to-revision=9"]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(revision(&client).await, newest + MARGIN);
        let kvs = get(&client, "k").await.kvs;
        assert_eq!((&kvs[0].value[..], kvs[0].create_revision, kvs[0].version), (&b"8"[..], 2, 4));
        let request = pb::WatchCreateRequest {
            key: "k".into(),
            start_revision: newest + 1,
            ..Default::default()
        };
        let (mut watch, _) = Watch::open(&client, request).await.unwrap();
        let told = watch.message().await.unwrap();
        assert!(told.canceled && told.compact_revision == newest + MARGIN, "{told:?}");
        assert_eq!(put(&client, "k", "v", 0).await, newest + MARGIN + 1);
    });
    // What is restored can be backed up again.
    let again = folder.path().join("again");
    add(&server, &again);
    in_a_runtime(async { put(&client_of(&server).await, "k", "w", 0).await });
    assert!(add(&server, &again).contains("increment"));
    let server = restored(&again, &["--bump-revision=5"]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(revision(&client).await, newest + MARGIN + 2 + 5);
        assert_eq!(get(&client, "k").await.kvs[0].value, "w");
    });
}

// People know when it went wrong, not at which revision.
#[test]
fn a_time_is_restored_as_it_was_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    fill(&dir);
    let manifest = std::fs::read_to_string(dir.join("manifest")).unwrap();
    let field = |line: &str, name: &str| -> String {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line[name].to_string().trim_matches('"').to_owned()
    };
    let second = manifest.lines().nth(2).unwrap();
    let (time, point) = (field(second, "time"), field(second, "revision"));
    let to = folder.path().join("to.db");
    let words = ["backup", "restore", word(&dir), "--no-bump", "--to", word(&to), "--to-time"];
    let said = ours_does(&[&words[..], &[&time]].concat());
    assert!(said.contains(&format!("restored revision {point} of")), "{said}");
    let status = ours_does(&["snapshot", "status", word(&to)]);
    assert!(status.contains(&format!(", {point}, ")), "{status}");
}
