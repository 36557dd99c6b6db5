//! Looks at what a member left.

use std::fs;

use drystone_kv::EngineKind;

use super::look::{look, told};
use crate::data_dir::attempt::picture;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const PUTS: usize = 30;

/// A server with puts, a delete and a compaction, stopped in order.
fn sample(kind: EngineKind) -> Server {
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    in_a_runtime(async {
        let client = client_of(&server).await;
        calls::grant(&client, 77, 1000).await;
        for number in 0..PUTS {
            calls::put(&client, &format!("k/{:02}", number % 20), format!("v{number}"), 0).await;
        }
        calls::put(&client, "leased", "x", 77).await;
        calls::compact(&client, 10).await;
        let delete = drystone_etcd_api::etcdserverpb::DeleteRangeRequest {
            key: "k/05".into(),
            ..Default::default()
        };
        client.kv().delete_range(delete).await.expect("a deletion is answered");
        calls::save(&client).await;
    });
    server.terminate();
    server
}

/// All that was done is there, in the log and in the engine; and looking leaves no trace, neither
/// in a byte nor in a time.
fn what_was_left_is_shown_as_it_is(kind: EngineKind) {
    let server = sample(kind);
    let data = server.data_dir();
    let before = picture(&data);
    let told = told(&data, &[]);
    told.check_order();
    assert_eq!(told.code, Some(0), "{}", told.end);
    let expected: Vec<_> = (0..PUTS)
        .map(|number| (format!("k/{:02}", number % 20), format!("v{number}"), true))
        .chain([("leased".to_owned(), "x".to_owned(), true)])
        .collect();
    assert_eq!(told.puts(), expected);
    let summary = &told.summary;
    assert_eq!(summary["holder"]["state"], "nobody");
    let ids = server.ids();
    assert_eq!(summary["identity"]["cluster_id"], ids.cluster);
    assert_eq!(summary["identity"]["member_id"], ids.member);
    assert_eq!(summary["identity"]["name"], "solo");
    let member = &summary["cluster"]["members"][0];
    assert_eq!((&member["ID"], &member["name"]), (&ids.member.into(), &"solo".into()));
    assert_eq!(member["clientURLs"][0], server.client_url());
    assert_eq!(member["peerURLs"][0], server.peer_url());
    assert_eq!(summary["cluster"]["voting"]["voters"][0], ids.member);
    let (log, engine) = (&summary["log"], &summary["engine"]);
    assert_eq!(log["vote"], ids.member);
    assert_eq!(log["last"], told.entries.last().expect("there are some")["index"]);
    assert_eq!((&log["committed"], &log["torn"]), (&log["last"], &().into()));
    // It was saved at the very end.
    assert_eq!(engine["applied"], log["last"]);
    let done = u64::try_from(PUTS).expect("a few") + 2;
    assert_eq!(
        (&engine["revision"], &engine["compacted_revision"]),
        (&(done + 1).into(), &10.into())
    );
    assert_eq!(
        (&engine["keys"], &engine["tombstones"], &engine["leases"]),
        (&20.into(), &1.into(), &1.into())
    );
    assert_eq!(engine["files"]["engine"], kind.name());
    assert!(engine["bytes"].as_u64() >= engine["bytes_in_use"].as_u64(), "{engine}");
    let people = look(&data, &[]);
    assert_eq!((people.code, people.err.as_str()), (Some(0), ""));
    for words in
        ["\"k/19\" = \"v19\"", "lease 4d for 1000 s", "\"leased\" = \"x\", lease 4d", "solo"]
    {
        assert!(people.out.contains(words), "{words} in {}", people.out);
    }
    assert!(before == picture(&data), "a look leaves no trace");
}

#[test]
fn what_was_left_in_memory_is_shown() {
    what_was_left_is_shown_as_it_is(EngineKind::Memory);
}

#[test]
fn what_was_left_in_btree_is_shown() {
    what_was_left_is_shown_as_it_is(EngineKind::Btree);
}

#[test]
fn what_was_left_in_lsm_is_shown() {
    what_was_left_is_shown_as_it_is(EngineKind::Lsm);
}

/// Filters leave out what was not asked for, and nothing else.
#[test]
fn sections_and_entries_can_be_chosen() {
    let server = sample(EngineKind::Memory);
    let data = server.data_dir();
    let only = told(&data, &["entries", "--key=k/05", "--entry-type=put,delete_range"]);
    let kinds: Vec<_> = only.entries.iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["put", "put", "delete_range"]);
    assert!(only.summary["engine"].is_null() && only.summary["identity"].is_null());
    let some = told(&data, &["entries", "--from=5", "--to=7"]);
    let indexes: Vec<_> = some.entries.iter().map(|entry| entry["index"].clone()).collect();
    assert_eq!(indexes, [5, 6, 7]);
    assert!(told(&data, &["members"]).entries.is_empty());
    let short = look(&data, &["entries", "--value-bytes=1"]);
    assert!(short.out.contains("\"v\"… (3 bytes)"), "{}", short.out);
}

/// Where there is nothing to look at, it says so, and does not call it sound.
#[test]
fn what_is_no_data_directory_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let check = |name: &str, words: &str| {
        let look = look(&folder.path().join(name), &[]);
        assert_eq!((look.code, look.out.as_str()), (Some(2), ""), "{name}");
        assert!(look.err.contains(words), "{words} in {}", look.err);
    };
    check("absent", "cannot look at");
    fs::create_dir(folder.path().join("empty")).expect("folders can be made");
    check("empty", "holds no data of drystone-etcd");
    fs::write(folder.path().join("file"), "x").expect("files can be written");
    check("file", "is not a directory");
    let etcd = folder.path().join("etcd/member/snap");
    fs::create_dir_all(&etcd).expect("folders can be made");
    fs::write(etcd.join("db"), "x").expect("files can be written");
    check("etcd", "was written by etcd itself");
    assert!(fs::read_dir(folder.path().join("empty")).expect("it is there").next().is_none());
}
