//! What was permitted and goes on: watches, and those who observe an election.
//!
//! etcd looks at a watch's keys when it begins. Here also whenever users have changed: whoever has
//! lost the right to see some keys sees nothing more of them.

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    AuthRoleRevokePermissionRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserRevokeRoleRequest, PutRequest, WatchCreateRequest, WatchResponse,
};
use drystone_etcd_api::v3electionpb::LeaderRequest;
use drystone_etcd_api::v3electionpb::election_client::ElectionClient;
use tonic::Code;

use super::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
const NOBODY: &str = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";

fn whole(prefix: &'static str, end: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: prefix.into(), range_end: end.into(), ..Default::default() }
}

async fn put(client: &Client, token: &str, key: &'static str) {
    let request = PutRequest { key: key.into(), value: "v".into(), ..Default::default() };
    client.kv().put(by(token, request)).await.expect("it may");
}

/// What a message tells: the keys of its events, or why there will be no more.
fn told(message: &WatchResponse) -> (i64, String) {
    let keys = message.events.iter().map(|event| {
        let key = &event.kv.as_ref().expect("an event has a key").key;
        String::from_utf8_lossy(key).into_owned()
    });
    let keys: Vec<String> = keys.collect();
    let told = if message.canceled { message.cancel_reason.clone() } else { keys.join(",") };
    (message.watch_id, told)
}

/// Alice may see `a…` by one role and `b…` by another.
async fn with_alice(client: &Client) {
    add_user(client, "alice", "pw").await;
    for (role, end) in [("a", b"b"), ("b", b"c")] {
        add_role(client, role).await;
        allow(client, role, Type::Read, role.as_bytes(), end).await;
        give_role(client, "alice", role).await;
    }
}

/// The same with authentication on; tokens of root and of her.
async fn root_and_alice(client: &Client) -> (String, String) {
    with_alice(client).await;
    enable(client, "pw").await;
    let root = log_in(client, "root", "pw").await.expect("that is it");
    (root, log_in(client, "alice", "pw").await.expect("that is it"))
}

async fn next(watch: &mut Watch) -> (i64, String) {
    told(&watch.message().await.expect("the stream goes on"))
}

/// The event that follows the change is what gives it away: it must not be sent, nor what else may
/// come, and the client must hear of it. A watch of other keys on the same stream goes on.
#[test]
fn watch_ends_with_the_right_to_it() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let (root, alice) = root_and_alice(&client).await;
        let (mut watch, _) =
            Watch::open_by(&client, by(&alice, ()), whole("a", "b")).await.expect("she may");
        for (prefix, end) in [("b", "c"), ("a1", "a2")] {
            watch.ask(RequestUnion::CreateRequest(whole(prefix, end))).await;
            assert!(watch.message().await.expect("it is answered").created);
        }
        put(&client, &root, "a0").await;
        assert_eq!(next(&mut watch).await, (0, "a0".to_owned()));

        // Her tokens end, and her watches do not: they were not stolen from her.
        let (name, password) = ("alice".to_owned(), "new".to_owned());
        let change = AuthUserChangePasswordRequest { name, password, ..Default::default() };
        client.auth().user_change_password(by(&root, change)).await.expect("root may");
        put(&client, &root, "a0").await;
        assert_eq!(next(&mut watch).await, (0, "a0".to_owned()));

        let (role, key, range_end) = ("a".to_owned(), "a".into(), "b".into());
        let revoke = AuthRoleRevokePermissionRequest { role, key, range_end };
        client.auth().role_revoke_permission(by(&root, revoke)).await.expect("root may");
        put(&client, &root, "a1").await;
        put(&client, &root, "b1").await;
        let mut rest = Vec::new();
        while rest.last().is_none_or(|(_, told)| told != "b1") {
            rest.push(next(&mut watch).await);
        }
        rest.sort();
        let (end, goes_on) = (DENIED.to_owned(), "b1".to_owned());
        assert_eq!(rest, [(0, end.clone()), (1, goes_on), (2, end.clone())]);

        // The right to the rest goes with its bearer.
        let delete = AuthUserDeleteRequest { name: "alice".to_owned() };
        client.auth().user_delete(by(&root, delete)).await.expect("root may");
        put(&client, &root, "b1").await;
        assert_eq!(next(&mut watch).await, (1, end));
    });
}

/// Whoever came before there were users has no more rights than one who comes now.
#[test]
fn watch_of_nobody_ends_when_users_count() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        with_alice(&client).await;
        let (mut nobody, _) = Watch::open(&client, whole("a", "b")).await.expect("anybody may");
        put(&client, "", "a1").await;
        assert_eq!(next(&mut nobody).await, (0, "a1".to_owned()));
        enable(&client, "pw").await;
        let root = log_in(&client, "root", "pw").await.expect("that is it");
        put(&client, &root, "a1").await;
        assert_eq!(next(&mut nobody).await, (0, NOBODY.to_owned()));
    });
}

/// An observer is sent what the leader says, which is somebody's keys too.
#[test]
fn observer_ends_with_the_right_to_it() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        let (root, alice) = root_and_alice(&client).await;
        put(&client, &root, "a/1").await;
        let mut elections = ElectionClient::new(client.channel());
        let observe = by(&alice, LeaderRequest { name: "a".into() });
        let mut words = elections.observe(observe).await.expect("she may").into_inner();
        let first = words.message().await.expect("somebody leads").expect("somebody leads");
        assert_eq!(first.kv.expect("the leader").value.as_ref(), b"v");
        let (name, role) = ("alice".to_owned(), "a".to_owned());
        let revoke = AuthUserRevokeRoleRequest { name, role };
        client.auth().user_revoke_role(by(&root, revoke)).await.expect("root may");
        put(&client, &root, "a/1").await;
        let end = words.message().await.expect_err("she may not");
        assert_eq!((end.code(), end.message()), (Code::Unknown, "etcdserver: permission denied"));
    });
}
