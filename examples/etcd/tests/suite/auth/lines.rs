//! Locks and elections: what they do, they do with the keys of their caller.
//!
//! A lock `l` is keys `l/…`. So who may read and write all of these may have it; who may not must
//! neither have it, nor take it from others, nor learn who has it.

use std::time::Instant;

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{AuthUserRevokeRoleRequest, LeaseGrantRequest, RangeRequest};
use drystone_etcd_api::v3electionpb::election_client::ElectionClient;
use drystone_etcd_api::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use drystone_etcd_api::v3lockpb::lock_client::LockClient;
use drystone_etcd_api::v3lockpb::{LockRequest, UnlockRequest};
use tonic::Status;
use tonic::transport::Channel;

use super::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::cluster::fleet::PATIENCE;
use crate::metrics::page::get;
use crate::support::calls::{client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

const DENIED: &str = "etcdserver: permission denied";
const NO_USER: &str = "etcdserver: user name is empty";
const BAD_TOKEN: &str = "etcdserver: invalid auth token";

/// Both services, as one caller.
struct Caller {
    locks: LockClient<Channel>,
    elections: ElectionClient<Channel>,
    token: String,
}

/// A call's end: what it was told if not to do it.
type Told = Result<(), String>;

fn told<T>(result: Result<T, Status>) -> Told {
    result.map(drop).map_err(|status| status.message().to_owned())
}

impl Caller {
    fn new(client: &Client, token: &str) -> Caller {
        Caller {
            locks: LockClient::new(client.channel()),
            elections: ElectionClient::new(client.channel()),
            token: token.to_owned(),
        }
    }

    async fn lock(&mut self, name: &str, lease: i64) -> Result<String, Status> {
        let request = LockRequest { name: name.to_owned().into(), lease };
        let answer = self.locks.lock(by(&self.token, request)).await?;
        Ok(String::from_utf8(answer.into_inner().key.to_vec()).expect("its name is text"))
    }

    async fn unlock(&mut self, key: &str) -> Told {
        told(self.locks.unlock(by(&self.token, UnlockRequest { key: key.to_owned().into() })).await)
    }

    async fn campaign(&mut self, name: &str) -> Result<LeaderKey, Status> {
        let (name, value) = (name.to_owned().into(), "secret".into());
        let request = CampaignRequest { name, lease: 0, value };
        let answer = self.elections.campaign(by(&self.token, request)).await?.into_inner();
        Ok(answer.leader.expect("a winner has a key"))
    }

    async fn proclaim(&mut self, leader: &LeaderKey) -> Told {
        let (leader, value) = (Some(leader.clone()), "mine".into());
        told(self.elections.proclaim(by(&self.token, ProclaimRequest { leader, value })).await)
    }

    async fn resign(&mut self, leader: &LeaderKey) -> Told {
        let leader = Some(leader.clone());
        told(self.elections.resign(by(&self.token, ResignRequest { leader })).await)
    }

    async fn leader(&mut self, name: &str) -> Told {
        let request = LeaderRequest { name: name.to_owned().into() };
        told(self.elections.leader(by(&self.token, request)).await)
    }

    /// Listens until the first word.
    async fn observe(&mut self, name: &str) -> Told {
        let request = LeaderRequest { name: name.to_owned().into() };
        match self.elections.observe(by(&self.token, request)).await {
            Ok(words) => told(words.into_inner().message().await),
            Err(status) => told(Err::<(), _>(status)),
        }
    }
}

/// Users and what they may do with `own/…`; nobody but root may do anything with `foreign/…`.
const PEOPLE: [(&str, Option<Type>); 4] = [
    ("plain", None),
    ("reader", Some(Type::Read)),
    ("writer", Some(Type::Write)),
    ("owner", Some(Type::Readwrite)),
];

async fn people(client: &Client) {
    add_role(client, "root").await;
    for (name, kind) in PEOPLE {
        add_user(client, name, "pw").await;
        if let Some(kind) = kind {
            add_role(client, name).await;
            allow(client, name, kind, b"own/", b"own0").await;
            give_role(client, name, name).await;
        }
    }
    enable(client, "pw").await;
}

/// Everything but to have it, on a lock and an election that root has.
async fn touch(caller: &mut Caller, name: &str, lock: &str, leader: &LeaderKey) -> Vec<Told> {
    vec![
        caller.leader(name).await,
        caller.observe(name).await,
        caller.proclaim(leader).await,
        caller.lock(name, 0).await.map(drop).map_err(|status| status.message().to_owned()),
        told(caller.campaign(name).await),
        caller.resign(leader).await,
        caller.unlock(lock).await,
    ]
}

/// A lock that a stranger can take, or take away, guards nothing; and who leads may be a secret.
#[test]
fn lines_are_for_those_who_may_read_and_write_them() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        people(&client).await;
        let token = log_in(&client, "root", "pw").await.expect("that is it");
        let mut root = Caller::new(&client, &token);
        let foreign = root.lock("foreign/l", 0).await.expect("root may");
        let leads = root.campaign("foreign/e").await.expect("root may");
        let refused = |words: &str| vec![Err(words.to_owned()); 7];
        for (token, words) in [("", NO_USER), ("abcdefghijklmnop.7", BAD_TOKEN)] {
            let mut caller = Caller::new(&client, token);
            let found = touch(&mut caller, "foreign/e", &foreign, &leads).await;
            assert_eq!(found, refused(words), "{token:?}");
        }
        for (name, kind) in PEOPLE {
            let token = log_in(&client, name, "pw").await.expect("that is it");
            let mut caller = Caller::new(&client, &token);
            let found = touch(&mut caller, "foreign/e", &foreign, &leads).await;
            assert_eq!(found, refused(DENIED), "{name}");
            let found = own(&mut root, &mut caller, name).await;
            let may = |fits: bool| if fits { Ok(()) } else { Err(DENIED.to_owned()) };
            let reads = matches!(kind, Some(Type::Read | Type::Readwrite));
            let writes = matches!(kind, Some(Type::Write | Type::Readwrite));
            let both = may(reads && writes);
            let all = [may(reads), may(reads), both.clone(), both.clone(), both, may(writes)];
            assert_eq!(found, all, "{name}");
        }
        root.proclaim(&leads).await.expect("it was root's all the time");
        root.unlock(&foreign).await.expect("it was root's all the time");
    });
}

/// Everything on lines of `own/…` in which root stands; nobody waits for anybody.
async fn own(root: &mut Caller, caller: &mut Caller, name: &str) -> Vec<Told> {
    let (lock, election) = (format!("own/l-{name}"), format!("own/e-{name}"));
    let theirs = root.lock(&lock, 0).await.expect("root may");
    let leads = root.campaign(&election).await.expect("root may");
    let mut found = vec![caller.leader(&election).await, caller.observe(&election).await];
    found.push(caller.proclaim(&leads).await);
    found.push(told(caller.lock(&format!("{lock}-mine"), 0).await));
    found.push(caller.resign(&leads).await);
    found.push(caller.unlock(&theirs).await);
    found
}

/// Waits until a key is there.
async fn wait_for(client: &Client, token: &str, key: &'static str) {
    let request = || RangeRequest { key: key.into(), ..RangeRequest::default() };
    let came = async {
        while client.kv().range(by(token, request())).await.expect("root may").into_inner().count
            == 0
        {}
    };
    tokio::time::timeout(PATIENCE, came).await.expect("it stands in line");
}

/// Who may not have it any more when his turn comes must not have it.
#[test]
fn who_lost_the_right_while_waiting_does_not_get_the_lock() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        people(&client).await;
        let token = log_in(&client, "root", "pw").await.expect("that is it");
        let mut root = Caller::new(&client, &token);
        let has = root.lock("own/l", 0).await.expect("root may");
        let owner = log_in(&client, "owner", "pw").await.expect("that is it");
        let grant = LeaseGrantRequest { id: 7, ttl: 600 };
        client.lease().lease_grant(by(&owner, grant)).await.expect("every user may");
        let mut waits = Caller::new(&client, &owner);
        let waiting = tokio::spawn(async move { waits.lock("own/l", 7).await });
        wait_for(&client, &token, "own/l/7").await;
        let (name, role) = ("owner".to_owned(), "owner".to_owned());
        let revoke = AuthUserRevokeRoleRequest { name, role };
        client.auth().user_revoke_role(by(&token, revoke)).await.expect("root may");
        root.unlock(&has).await.expect("it is root's");
        let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("it ends");
        let refused = ended.expect("nothing panics").expect_err("the right is gone");
        assert_eq!(refused.message(), DENIED);
    });
}

/// An observer is told of the next leader for as long as he may read who it is.
#[test]
fn who_lost_the_right_while_observing_is_told_no_more() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        people(&client).await;
        let token = log_in(&client, "root", "pw").await.expect("that is it");
        let mut root = Caller::new(&client, &token);
        let reader = log_in(&client, "reader", "pw").await.expect("that is it");
        let mut reader = Caller::new(&client, &reader);
        let request = by(&reader.token, LeaderRequest { name: "own/e".into() });
        let (watches, deadline) =
            ("\netcd_debugging_mvcc_watcher_total 1\n", Instant::now() + PATIENCE);
        let observing = tokio::spawn(async move {
            let mut words = reader.elections.observe(request).await?.into_inner();
            while words
                .message()
                .await?
                .is_some_and(|word| word.kv.is_some_and(|kv| kv.value != "mine"))
            {}
            Ok::<_, Status>(())
        });
        while !get(&server.client_address(), "/metrics").1.contains(watches) {
            assert!(Instant::now() < deadline, "he waits for a leader");
            tokio::task::yield_now().await;
        }
        let (name, role) = ("reader".to_owned(), "reader".to_owned());
        let revoke = AuthUserRevokeRoleRequest { name, role };
        client.auth().user_revoke_role(by(&token, revoke)).await.expect("root may");
        let leads = root.campaign("own/e").await.expect("root may");
        root.proclaim(&leads).await.expect("root leads");
        let ended = tokio::time::timeout(PATIENCE, observing).await.expect("it ends");
        let refused = ended.expect("nothing panics").expect_err("what root says is not for him");
        assert_eq!(refused.message(), DENIED);
    });
}
