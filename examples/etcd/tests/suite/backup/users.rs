//! Who may, and whether users come back.

use drystone_etcd_api::authpb::permission::Type;

use super::{add, try_add, try_restore};
use crate::auth::{CHEAP, add_role, add_user, allow, by, come_in, enable, give_role};
use crate::migration::{text, word};
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs::ours;
use crate::support::server::{Server, clean_command};

// A copy of all data is for whoever may read all data; and a backup that lacked the users would
// open every door.
#[test]
fn backups_are_roots_and_users_come_back() {
    let mut server = Server::start(&ours(), &[CHEAP]);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backups");
    in_a_runtime(async { put(&client_of(&server).await, "k", "v", 0).await });
    add(&server, &dir);
    in_a_runtime(async {
        let client = client_of(&server).await;
        add_user(&client, "alice", "pw").await;
        add_role(&client, "reader").await;
        allow(&client, "reader", Type::Read, b"k", b"").await;
        give_role(&client, "alice", "reader").await;
        enable(&client, "secret").await;
    });
    let refused = |flags: &[&str], why: &str| {
        let output = try_add(&server, &dir, flags);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why), "{output:?}");
        assert!(said.contains(&server.client_url()), "the member is named: {said}");
    };
    refused(&[], "user name is empty");
    refused(&["--user=alice:pw"], "permission denied");
    refused(&["--user=root:wrong"], "authentication failed");
    let mut command = clean_command(&ours());
    command.args(["backup", "--endpoints", &server.client_url(), "--dir", word(&dir)]);
    command.env("ETCDCTL_USER", "root").env("ETCDCTL_PASSWORD", "secret");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("000001.increment: from 2 to 2"), "{output:?}");
    // Whoever does not say who he is, is told nothing: not even whether it has started.
    server.terminate();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let output = try_restore(&dir, &server.data_dir(), &[]);
    assert!(output.status.success(), "{output:?}");
    server.launch();
    in_a_runtime(async {
        let (client, token) = come_in(&mut server, "alice", "pw").await;
        let range =
            drystone_etcd_api::etcdserverpb::RangeRequest { key: "k".into(), ..Default::default() };
        let answer = client.kv().range(by(&token, range.clone())).await.unwrap().into_inner();
        assert_eq!(answer.kvs[0].value, "v");
        assert!(client.kv().range(range).await.is_err(), "nobody else may");
    });
}
