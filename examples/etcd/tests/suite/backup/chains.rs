//! What is written when.

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb as pb;
use pb::request_op::Request;

use super::{add, files, restored, try_add, try_restore};
use crate::auth::{add_role, add_user};
use crate::cluster::fleet::Fleet;
use crate::migration::{run_ours, text, word};
use crate::support::calls::{client_of, compact, get, grant, in_a_runtime, put, revision};
use crate::support::programs::ours;
use crate::support::server::Server;

const KEYS: usize = 20_000;
const OPS: usize = 100;

async fn put_all(client: &Client, numbers: impl Iterator<Item = usize>, value: &str) {
    let numbers: Vec<usize> = numbers.collect();
    for part in numbers.chunks(OPS) {
        let put = |number: &usize| pb::PutRequest {
            key: format!("key/{number:06}").into(),
            value: value.repeat(100).into(),
            ..Default::default()
        };
        let op = |number| pb::RequestOp { request: Some(Request::RequestPut(put(number))) };
        let request =
            pb::TxnRequest { success: part.iter().map(op).collect(), ..Default::default() };
        client.kv().txn(request).await.expect("a transaction is answered");
    }
}

// The point of it all: what is written is as much as has changed.
#[test]
fn an_increment_is_as_large_as_the_change() {
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let size = |end: &str| {
        let names = files(&dir, end);
        std::fs::metadata(dir.join(names.last().unwrap())).unwrap().len()
    };
    in_a_runtime(async { put_all(&client_of(&server).await, 0..KEYS, "a").await });
    add(&server, &dir);
    let changed = (0..KEYS).step_by(100);
    in_a_runtime(async { put_all(&client_of(&server).await, changed, "b").await });
    add(&server, &dir);
    let (base, increment) = (size("-base.db"), size(".increment"));
    assert!(base > 2_000_000 && increment * 100 < base * 3, "{increment} of {base} for 1 %");
    in_a_runtime(async { put(&client_of(&server).await, "one", "v", 0).await });
    add(&server, &dir);
    assert!(size(".increment") < 64 << 10, "{} for one key", size(".increment"));
}

// Every ten seconds nothing at all must not fill a disk; a user who was shut out must stay out.
#[test]
fn nothing_new_writes_nothing_and_small_things_are_new() {
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    in_a_runtime(async { put(&client_of(&server).await, "k", "v", 0).await });
    assert!(add(&server, dir).contains("chain-000001-base.db: all, up to revision 2"));
    let nothing = |server: &Server| {
        let before = files(dir, "");
        assert!(add(server, dir).contains("nothing is new: revision 2"));
        assert_eq!(files(dir, ""), before);
    };
    nothing(&server);
    for number in 1..=3 {
        in_a_runtime(async {
            let client = client_of(&server).await;
            match number {
                1 => grant(&client, 77, 600).await,
                2 => add_user(&client, "u", "").await,
                _ => add_role(&client, "r").await,
            }
        });
        let said = add(&server, dir);
        let name = format!("chain-000001-00000{number}.increment: from 2 to 2");
        assert!(said.contains(&name), "{said}");
        nothing(&server);
    }
    let server = restored(dir, &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(crate::support::calls::lease(&client, 77).await.granted_ttl, 600);
        let users = client.auth().user_list(pb::AuthUserListRequest {}).await.unwrap();
        assert_eq!(users.into_inner().users, ["u"]);
    });
}

// What was compacted since can be had no more: then all is copied, and no gap is left.
#[test]
fn a_compaction_in_between_begins_a_new_chain() {
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let put_some = |compacts: bool| {
        in_a_runtime(async {
            let client = client_of(&server).await;
            put(&client, "a", "1", 0).await;
            let revision = put(&client, "a", "2", 0).await;
            if compacts {
                compact(&client, revision).await;
            }
            put(&client, "a", "3", 0).await;
        });
    };
    put_some(false);
    add(&server, dir);
    put_some(true);
    let said = add(&server, dir);
    assert!(said.contains("what came since the last one was compacted"), "{said}");
    assert_eq!(files(dir, ".db"), ["chain-000001-base.db", "chain-000002-base.db"]);
    // To the very revision that was backed up: all after it is there.
    in_a_runtime(async {
        let client = client_of(&server).await;
        let at = revision(&client).await;
        put(&client, "a", "4", 0).await;
        compact(&client, at).await;
    });
    assert!(add(&server, dir).contains("chain-000002-000001.increment: from 7 to 8"));
    put_some(false);
    add(&server, dir);
    let listed = run_ours(&["backup", "list", word(dir), "--verify"]);
    let text = text(&listed.stdout);
    assert!(listed.status.success() && text.matches(" sound").count() == 4, "{text}");
    assert!(text.contains("chain 2 of cluster") && text.contains("revisions 7 to 11"), "{text}");
    let said = try_add(&server, dir, &["--full-after=0s", "--keep=1"]);
    assert!(super::text(&said.stdout).contains("removed 2 old chains"), "{said:?}");
    assert_eq!(files(dir, ".db"), ["chain-000003-base.db"]);
    assert_eq!(files(dir, ".increment"), [""; 0]);
    let server = restored(dir, &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(get(&client, "a").await.kvs[0].value, "3");
    });
}

// A cluster that was restored has the old one's numbers, even its own number, and another history.
#[test]
fn a_cluster_that_went_back_is_noticed() {
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let write = |server: &Server, value: &str, times: usize| {
        in_a_runtime(async {
            let client = client_of(server).await;
            for _ in 0..times {
                put(&client, "k", value.to_owned(), 0).await;
            }
        });
    };
    write(&server, "before", 1);
    add(&server, &dir);
    write(&server, "before", 3);
    add(&server, &dir);
    let back = |token: &str| {
        let folder = tempfile::tempdir().unwrap();
        let peer = server.peer_url();
        let (cluster, peer) =
            (format!("solo={peer}"), format!("--initial-advertise-peer-urls={peer}"));
        let words =
            ["backup", "restore", word(&dir), "--to-revision=2", "--no-bump", "--name=solo"];
        let data = folder.path().join("data");
        let place = ["--data-dir", word(&data), "--initial-cluster", &cluster, &peer];
        let output = run_ours(&[&words[..], &place, &["--initial-cluster-token", token]].concat());
        assert!(output.status.success(), "{output:?}");
        Server::start_in(folder, &ours(), &[])
    };
    let same = back("suite");
    assert_eq!(same.ids(), server.ids(), "its numbers tell nothing");
    write(&same, "after", 1);
    let said = add(&same, &dir);
    assert!(said.contains("has gone back in its revisions"), "{said}");
    // The same number again, for something else.
    drop(same);
    let same = back("suite");
    write(&same, "again", 5);
    let said = add(&same, &dir);
    assert!(said.contains("has gone back, and on differently"), "{said}");
    let said = add(&back("another"), &dir);
    assert!(said.contains("it is another cluster"), "{said}");
    assert_eq!(files(&dir, "-base.db").len(), 4);
}

// A member that has lost the others may have what nobody else has any more; but who was cut off may
// lack what the others go on with, and that must be said.
#[test]
fn a_member_without_a_quorum_is_the_last_resort() {
    let test = "backup::chains::a_member_without_a_quorum_is_the_last_resort";
    let Some(mut fleet) = Fleet::start(test, 2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let other = fleet.follower();
    let (url, gone) = (fleet.url(1 - other), fleet.url(other));
    let back_up = || {
        let both = format!("{gone},{url}");
        let words = ["backup", "--dial-timeout=1s", "--endpoints", &both, "--dir"];
        let output = run_ours(&[&words[..], &[word(folder.path())]].concat());
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout) + &text(&output.stderr)
    };
    assert!(!back_up().contains("no quorum"));
    in_a_runtime(async {
        let client = connect(&url, &Config::default()).await.unwrap();
        put(&client, "k", "v", 0).await;
    });
    fleet.kill(other);
    let said = back_up();
    assert!(said.contains("000001.increment: from 1 to 2"), "{said}");
    assert!(
        said.contains(&format!("{url} may lack what is newest: no quorum confirms it")),
        "{said}"
    );
}

// A member may be down, or fall behind, for as long as it likes.
#[test]
fn another_member_is_asked_when_one_does_not_answer() {
    let server = Server::start(&ours(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    let nobody = format!("http://127.0.0.1:{}", crate::support::server::free_port());
    let both = format!("{nobody},{}", server.client_url());
    let output = run_ours(&["backup", "--endpoints", &both, "--dir", word(&dir)]);
    assert!(output.status.success(), "{output:?}");
    let output = run_ours(&["backup", "--endpoints", &nobody, "--dir", word(&dir)]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(&nobody), "{output:?}");
    assert!(said.contains("refused"), "the reason: {said}");
    let output = run_ours(&["backup", "--endpoints", &both]);
    assert_eq!(output.status.code(), Some(2), "no folder");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let output = run_ours(&["backup", "--endpoints", &both, "--dir", word(folder.path())]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("has no manifest"), "{output:?}");
    let nothing = try_restore(folder.path(), &folder.path().join("data"), &[]);
    assert!(nothing.status.code() == Some(1), "{nothing:?}");
}
