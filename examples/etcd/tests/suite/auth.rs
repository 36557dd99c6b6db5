//! Users: who is recognised, what they may do, and that nobody can read a secret off the machine.
//!
//! | room | asks |
//! |---|---|
//! | [`matrix`] | every call, by everybody, on keys of every kind, by rules written once more |
//! | [`lines`] | locks and elections: whose they are, and when the right to one ends |
//! | [`standing`] | what was permitted and goes on: watches end with the right to them |
//! | [`tokens`] | how long tokens are good for, at which members, and what signed ones are worth |
//! | [`secrets`] | whether passwords or tokens lie anywhere |
//!
//! What people see of it, `session::ours::auth` plays beside real etcd.

mod lines;
mod matrix;
pub(crate) mod secrets;
mod standing;
mod tokens;

use std::time::{Duration, Instant};

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::authpb::{Permission, UserAddOptions};
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest,
};
use tonic::{Request, Status};

use crate::cluster::fleet::PATIENCE;
use crate::support::server::Server;

/// The cheapest hashes, in time.
pub(crate) const CHEAP: &str = "--bcrypt-cost=4";

/// A call by whoever has this token; the empty one is none.
pub(crate) fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let token = token.parse().expect("tokens are plain text");
        request.metadata_mut().insert("token", token);
    }
    request
}

/// Asks until the server, which is starting, gives a user a token.
pub(crate) async fn come_in(server: &mut Server, name: &str, password: &str) -> (Client, String) {
    let begin = Instant::now();
    loop {
        if let Ok(client) = connect(&server.client_url(), &Config::default()).await
            && let Ok(token) = log_in(&client, name, password).await
        {
            return (client, token);
        }
        assert!(server.is_running() && begin.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn add_user(client: &Client, name: &str, password: &str) {
    let (name, password) = (name.to_owned(), password.to_owned());
    let options = Some(UserAddOptions { no_password: password.is_empty() });
    let request = AuthUserAddRequest { name, password, options, ..Default::default() };
    client.auth().user_add(request).await.expect("the user is new");
}

pub(crate) async fn give_role(client: &Client, user: &str, role: &str) {
    let (user, role) = (user.to_owned(), role.to_owned());
    let request = AuthUserGrantRoleRequest { user, role };
    client.auth().user_grant_role(request).await.expect("both are there");
}

pub(crate) async fn add_role(client: &Client, name: &str) {
    let request = AuthRoleAddRequest { name: name.to_owned() };
    client.auth().role_add(request).await.expect("the role is new");
}

pub(crate) async fn allow(client: &Client, role: &str, kind: Type, key: &[u8], end: &[u8]) {
    let (key, range_end) = (key.to_vec().into(), end.to_vec().into());
    let perm = Some(Permission { perm_type: kind.into(), key, range_end });
    let request = AuthRoleGrantPermissionRequest { name: role.to_owned(), perm };
    client.auth().role_grant_permission(request).await.expect("the role is there");
}

/// A user root with this password, and authentication on.
pub(crate) async fn enable(client: &Client, password: &str) {
    add_user(client, "root", password).await;
    give_role(client, "root", "root").await;
    client.auth().auth_enable(AuthEnableRequest {}).await.expect("there is a root");
}

/// A token for a name and a password.
pub(crate) async fn log_in(client: &Client, name: &str, password: &str) -> Result<String, Status> {
    let (name, password) = (name.to_owned(), password.to_owned());
    let answer = client.auth().authenticate(AuthenticateRequest { name, password }).await;
    answer.map(|answer| answer.into_inner().token)
}
