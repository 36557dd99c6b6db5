//! Users and roles, there and back: who could come in can come in, with the password of before,
//! and may do what he could, and nobody more.
//!
//! Hashes are those that etcd made, so these tests also see that each side believes the other's.

use std::path::Path;

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb as pb;

use super::{done, ours_does, text, word};
use crate::auth::secrets::{all_bytes, has};
use crate::auth::{CHEAP, add_role, add_user, allow, by, come_in, enable, give_role, log_in};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs::{later_or_skip, ours, real_or_skip};
use crate::support::server::{Server, clean_command};

const ROOT: &str = "canary-of-root-77d0";
const ALICE: &str = "canary-of-alice-31ab";
/// Where a restored member is to be reached by others; nobody tries.
const PLACE: [&str; 3] = [
    "--name=solo",
    "--initial-cluster=solo=http://localhost:2380",
    "--initial-advertise-peer-urls=http://localhost:2380",
];

/// What the role of alice allows, as etcd writes it.
const GRANTS: [(Type, &str, &str); 4] = [
    (Type::Readwrite, "own", ""),
    (Type::Read, "pub/", "pub0"),
    (Type::Write, "w", ""),
    (Type::Read, "x", "\0"),
];

/// Makes users and roles, switches authentication on, and has alice write what is hers.
fn fill(server: &Server) {
    in_a_runtime(async {
        let client = client_of(server).await;
        add_role(&client, "reader").await;
        for (kind, key, end) in GRANTS {
            allow(&client, "reader", kind, key.as_bytes(), end.as_bytes()).await;
        }
        add_user(&client, "alice", ALICE).await;
        give_role(&client, "alice", "reader").await;
        add_user(&client, "paper", "").await;
        enable(&client, ROOT).await;
        let root = log_in(&client, "root", ROOT).await.expect("that is it");
        put(&client, &root, "pub/a").await.expect("root may");
        let alice = log_in(&client, "alice", ALICE).await.expect("that is it");
        put(&client, &alice, "own").await.expect("alice may");
        put(&client, &alice, "pub/b").await.expect_err("alice may not");
    });
}

async fn put(client: &Client, token: &str, key: &str) -> Result<(), tonic::Status> {
    let request =
        pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..Default::default() };
    client.kv().put(by(token, request)).await.map(drop)
}

async fn count(client: &Client, token: &str, key: &str, end: &str) -> Option<i64> {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    let request = pb::RangeRequest { key, range_end, ..Default::default() };
    client.kv().range(by(token, request)).await.ok().map(|answer| answer.into_inner().count)
}

/// Starts `program` on what lies there, and sees who may do what; then it is stopped, once
/// `meanwhile` is done.
fn check(server: &mut Server, program: &Path, etcdctl: &Path, meanwhile: impl FnOnce(&Server)) {
    server.change_program(program, &[]);
    server.launch();
    in_a_runtime(async {
        let (client, alice) = come_in(server, "alice", ALICE).await;
        assert_eq!(count(&client, "", "pub/a", "").await, None, "nobody may");
        put(&client, "", "own").await.expect_err("nobody may");
        log_in(&client, "alice", ROOT).await.expect_err("that is another's");
        log_in(&client, "paper", "").await.expect_err("there is no password");
        for (key, end, expected) in [
            ("own", "", Some(1)),
            ("pub/", "pub0", Some(1)),
            ("x", "\0", Some(0)),
            ("z", "", Some(0)),
            ("w", "", None),
            ("pub", "", None),
            ("pub/", "pub1", None),
        ] {
            assert_eq!(count(&client, &alice, key, end).await, expected, "{key:?} to {end:?}");
        }
        for (key, may) in [("own", true), ("w", true), ("pub/b", false), ("z", false)] {
            assert_eq!(put(&client, &alice, key).await.is_ok(), may, "{key}");
        }
        let root = log_in(&client, "root", ROOT).await.expect("that is it");
        let users = client.auth().user_list(by(&root, pb::AuthUserListRequest {})).await;
        assert_eq!(users.expect("root may").into_inner().users, ["alice", "paper", "root"]);
        let role = pb::AuthRoleGetRequest { role: "reader".to_owned() };
        let role = client.auth().role_get(by(&root, role)).await.expect("root may").into_inner();
        let perms = role.perm.iter();
        let found: Vec<_> =
            perms.map(|perm| (perm.perm_type(), text(&perm.key), text(&perm.range_end))).collect();
        assert_eq!(found, GRANTS.map(|(kind, key, end)| (kind, key.to_owned(), end.to_owned())));
        client.auth().user_list(by(&alice, pb::AuthUserListRequest {})).await.expect_err("no");
    });
    let got = ctl(etcdctl, server, "alice", ALICE, &["get", "own", "--print-value-only"]);
    assert_eq!(got.trim(), "v");
    meanwhile(server);
    server.terminate();
}

fn ctl(etcdctl: &Path, server: &Server, name: &str, password: &str, words: &[&str]) -> String {
    let mut command = clean_command(etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.client_url()));
    done(command.arg(format!("--user={name}:{password}")).args(words))
}

fn save(etcdctl: &Path, server: &Server, copy: &Path) {
    ctl(etcdctl, server, "root", ROOT, &["snapshot", "save", word(copy)]);
}

/// Whoever killed etcd has in its journal what its database lacks: here all users, and, up to 3.4,
/// their passwords as they are typed. From there they go to ours, and with a copy of ours to etcd.
#[test]
fn users_in_the_journal_come_over_and_go_back() {
    let test = "migration::users::users_in_the_journal_come_over_and_go_back";
    let Some(real) = real_or_skip(test) else { return };
    let mut server = Server::start(&real.etcd, &[CHEAP, "--backend-batch-interval=1h"]);
    fill(&server);
    server.kill();
    let (data, folder) = (server.data_dir(), tempfile::tempdir().unwrap());
    let [to, copy] = ["to", "copy.db"].map(|name| folder.path().join(name));
    let said = ours_does(&["migrate", "--data-dir", word(&data), "--to", word(&to)]);
    assert!(!said.contains(" 0 behind it"), "the journal has it: {said}");
    let in_the_open = |folder: &Path| [ROOT, ALICE].map(|secret| has(&all_bytes(folder), secret));
    assert!(!real.recorded_release || in_the_open(&data) == [true; 2], "else this shows nothing");
    assert_eq!(in_the_open(&to), [false; 2], "no password in what was converted");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&to, &data).unwrap();
    check(&mut server, &ours(), &real.etcdctl, |server| save(&real.etcdctl, server, &copy));
    assert_eq!(in_the_open(&data), [false; 2]);
    std::fs::remove_dir_all(&data).unwrap();
    let restore = |tool: &Path| {
        let mut command = clean_command(tool);
        command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(&copy);
        done(command.arg("--data-dir").arg(&data).args(PLACE));
    };
    restore(&real.etcdctl);
    check(&mut server, &real.etcd, &real.etcdctl, |_| ());
    let Some(later) = later_or_skip(test) else { return };
    std::fs::remove_dir_all(&data).unwrap();
    restore(&later.etcdutl);
    check(&mut server, &later.etcd, &real.etcdctl, |_| ());
}

/// Whoever stopped etcd has users in its database, and so has whoever saved a copy.
#[test]
fn users_in_the_database_come_over() {
    let test = "migration::users::users_in_the_database_come_over";
    let Some(real) = real_or_skip(test) else { return };
    let mut server = Server::start(&real.etcd, &[CHEAP]);
    fill(&server);
    let (data, folder) = (server.data_dir(), tempfile::tempdir().unwrap());
    let [old, copy] = ["old", "copy.db"].map(|name| folder.path().join(name));
    save(&real.etcdctl, &server, &copy);
    server.terminate();
    std::fs::rename(&data, &old).unwrap();
    let words = ["snapshot", "restore", word(&copy), "--data-dir", word(&data)];
    ours_does(&[&words[..], &PLACE[..]].concat());
    check(&mut server, &ours(), &real.etcdctl, |_| ());
    std::fs::remove_dir_all(&data).unwrap();
    ours_does(&["migrate", "--data-dir", word(&old), "--to", word(&data)]);
    check(&mut server, &ours(), &real.etcdctl, |_| ());
}
