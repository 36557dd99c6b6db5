//! Whether passwords or tokens lie anywhere where somebody could read them.

use std::path::Path;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{PutRequest, SnapshotRequest};

use super::{CHEAP, add_user, by, come_in, enable, log_in};
use crate::metrics::page::get;
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const ROOT: &str = "canary-of-root-8c1f";
const ALICE: &str = "canary-of-alice-5e02";

/// Everything in the files under `folder`.
pub(crate) fn all_bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            all.extend(all_bytes(&path));
        } else {
            all.extend(std::fs::read(&path).expect("it can be read"));
        }
    }
    all
}

/// Whether the text is in there.
pub(crate) fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

async fn snapshot(client: &Client, token: &str) -> Vec<u8> {
    let request = by(token, SnapshotRequest::default());
    let mut parts = client.maintenance().snapshot(request).await.expect("root may").into_inner();
    let mut all = Vec::new();
    while let Some(part) = parts.message().await.expect("it goes on") {
        all.extend_from_slice(&part.blob);
    }
    all
}

/// A disk that is thrown away, a backup, a log that is sent to others: each is read by somebody
/// some day. And a server that came back without its users would let everybody in.
#[test]
fn nobody_finds_a_password_or_a_token_and_a_restart_keeps_users() {
    if !programs::is_ours() {
        return;
    }
    let flags = [CHEAP, "--log-level=debug", "--metrics=extensive"];
    let mut server = Server::start(&programs::ours(), &flags);
    let (tokens, mut seen) = in_a_runtime(async {
        let client = client_of(&server).await;
        add_user(&client, "alice", ALICE).await;
        enable(&client, ROOT).await;
        let alice = log_in(&client, "alice", ALICE).await.expect("that is it");
        let root = log_in(&client, "root", ROOT).await.expect("that is it");
        assert!(log_in(&client, "alice", ROOT).await.is_err());
        let put = |key: &'static str| PutRequest { key: key.into(), ..Default::default() };
        client.kv().put(by(&root, put("k"))).await.expect("root may");
        let denied = client.kv().put(by(&alice, put("k"))).await.expect_err("alice may not");
        assert_eq!(denied.message(), "etcdserver: permission denied");
        let snapshot = snapshot(&client, &root).await;
        assert!(has(&snapshot, "alice") && has(&snapshot, "$2a$04$"), "the search finds things");
        (vec![alice, root], snapshot)
    });
    let (_, page) = get(&server.client_address(), "/metrics");
    assert!(page.contains("etcd_debugging_auth_revision 4\n"), "three changes, and one: {page}");
    seen.extend(page.into_bytes());
    server.terminate();
    seen.extend(all_bytes(&server.data_dir()));
    server.launch();
    let (_, again) = in_a_runtime(come_in(&mut server, "alice", ALICE));
    server.kill();
    seen.extend(all_bytes(&server.data_dir()));
    seen.extend(server.whole_log().into_bytes());
    assert!(has(&seen, "invalid password"), "the log is among it");
    let secrets = tokens.iter().chain([&again]).map(|token| token.split('.').next());
    let secrets = secrets.map(|secret| secret.expect("a token has a secret"));
    for secret in secrets.chain([ROOT, ALICE]) {
        assert!(!has(&seen, secret), "{secret} lies somewhere");
    }
}
