//! How long tokens are good for, and at which members.

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    AuthDisableRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, PutRequest,
};
use tonic::{Code, Status};

use super::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::cluster::fleet::{Fleet, wait};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

async fn put(client: &Client, token: &str, key: &'static str) -> Result<(), Status> {
    let request = PutRequest { key: key.into(), ..PutRequest::default() };
    client.kv().put(by(token, request)).await.map(drop)
}

async fn with_alice(client: &Client) {
    add_user(client, "alice", "pw").await;
    add_role(client, "all").await;
    allow(client, "all", Type::Readwrite, b"\0", b"\0").await;
    give_role(client, "alice", "all").await;
    enable(client, "pw").await;
}

/// A client asks whichever member is near, at once; and a member that is gone for a while must not
/// come back with other users, or with none.
#[test]
fn token_of_one_member_is_good_at_all_of_them() {
    let Some(mut fleet) =
        Fleet::start_with("token_of_one_member_is_good_at_all_of_them", 3, &[CHEAP])
    else {
        return;
    };
    in_a_runtime(async {
        let clients = [fleet.client(0).await, fleet.client(1).await, fleet.client(2).await];
        with_alice(&clients[0]).await;
        for at in 0..3 {
            let token = log_in(&clients[at], "alice", "pw").await.expect("that is it");
            for client in &clients {
                put(client, &token, "k").await.expect("it was given a moment ago");
            }
        }
        let token = log_in(&clients[0], "alice", "pw").await.expect("that is it");
        let root = log_in(&clients[1], "root", "pw").await.expect("that is it");
        let change = AuthUserChangePasswordRequest {
            name: "alice".to_owned(),
            password: "another".to_owned(),
            ..Default::default()
        };
        clients[1].auth().user_change_password(by(&root, change)).await.expect("root may");
        let refused = put(&clients[1], &token, "k").await.expect_err("it has ended");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        for client in &clients {
            assert!(log_in(client, "alice", "pw").await.is_err(), "that was the password");
        }
    });
    fleet.kill(2);
    fleet.launch(2);
    let back =
        wait(|| fleet.ctl(&[2], &["--user=alice:another", "put", "k", "v"]).worked.then_some(()));
    assert!(back.is_some(), "{}", fleet.log(2));
    let refused = fleet.ctl(&[2], &["put", "k", "v"]);
    assert!(refused.err.contains("user name is empty"), "{refused:?}");
}

/// What etcd's clients rely on to log in anew by themselves: these words, when these things happen.
#[test]
fn tokens_end_with_what_they_stand_for() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let early = log_in(&client, "alice", "pw").await.expect_err("there are no users");
        assert_eq!(early.message(), "etcdserver: authentication is not enabled");
        add_user(&client, "ghost", "").await;
        with_alice(&client).await;
        let ghost = log_in(&client, "ghost", "pw").await.expect_err("it has no password");
        let text = "auth: authentication failed, password was given for no password user";
        assert_eq!((ghost.code(), ghost.message()), (Code::Unknown, text));
        let (alice, root) = (
            log_in(&client, "alice", "pw").await.expect("that is it"),
            log_in(&client, "root", "pw").await.expect("that is it"),
        );
        let delete = AuthUserDeleteRequest { name: "alice".to_owned() };
        client.auth().user_delete(by(&root, delete)).await.expect("root may");
        let gone = put(&client, &alice, "k").await.expect_err("alice is gone");
        assert_eq!(gone.message(), "etcdserver: invalid auth token");
        client.auth().auth_disable(by(&root, AuthDisableRequest {})).await.expect("root may");
        put(&client, &alice, "k").await.expect("off is off, whatever one shows");
    });
}

/// Signed tokens are believed without being known, until users change.
#[test]
fn signed_tokens_are_as_old_as_their_revision() {
    if !programs::is_ours() {
        return;
    }
    let keys = tempfile::tempdir().expect("a folder can be made");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("keys can be made");
    let file = |name: &str, text: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    let private = file("private", &pair.serialize_pem());
    let public = file("public", &pair.public_key_pem());
    let words =
        format!("--auth-token=jwt,pub-key={public},priv-key={private},sign-method=EdDSA,ttl=10m");
    let server = Server::start(&programs::ours(), &[CHEAP, &words]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        with_alice(&client).await;
        let alice = log_in(&client, "alice", "pw").await.expect("that is it");
        let root = log_in(&client, "root", "pw").await.expect("that is it");
        assert_eq!(alice.split('.').count(), 3, "{alice}");
        put(&client, &alice, "k").await.expect("it is new");
        let delete = AuthUserDeleteRequest { name: "alice".to_owned() };
        client.auth().user_delete(by(&root, delete)).await.expect("root may");
        for token in [&alice, &root] {
            let old = put(&client, token, "k").await.expect_err("users have changed");
            assert_eq!(old.message(), "etcdserver: revision of auth store is old");
        }
        let root = log_in(&client, "root", "pw").await.expect("that is it");
        put(&client, &root, "k").await.expect("it is new");
    });
}
