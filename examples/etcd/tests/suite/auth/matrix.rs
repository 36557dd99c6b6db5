//! Every call, by everybody, on keys of every kind.
//!
//! What is expected is worked out here, by rules that share nothing with the server: a range is
//! allowed if every key that could make a difference is, where those are the bounds of all ranges
//! in play and their successors.

use std::collections::BTreeSet;

use bytes::Bytes;
use drystone_etcd_api::FILE_DESCRIPTOR_SET;
use drystone_etcd_api::authpb::Permission;
use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use drystone_etcd_api::etcdserverpb::request_op::Request as Op;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::*;
use prost::Message as _;
use tonic::Status;

use super::{CHEAP, add_role, add_user, allow, by, enable, give_role, log_in};
use crate::support::calls::{client_of, grant, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::Server;

use Type::{Read, Readwrite, Write};

/// What was made of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It was done, or failed for another reason than its caller.
    Allowed,
    Denied,
    NoUser,
    BadToken,
}

use Verdict::{Allowed, BadToken, Denied, NoUser};

fn of_text(text: &str) -> Verdict {
    match text {
        "etcdserver: permission denied" => Denied,
        "etcdserver: user name is empty" => NoUser,
        "etcdserver: invalid auth token" => BadToken,
        _ => Allowed,
    }
}

fn verdict<T>(result: Result<T, Status>) -> Verdict {
    result.map_or_else(|status| of_text(status.message()), |_| Allowed)
}

/// Key and end.
type Span = (&'static [u8], &'static [u8]);

/// Kind, key and end of each permission, by role.
type Grants = &'static [(Type, &'static [u8], &'static [u8])];

/// Everybody. Those before the first user have no token, and a wrong one.
const PEOPLE: [(&str, Grants); 9] = [
    ("nobody", &[]),
    ("stranger", &[]),
    ("plain", &[]),
    ("exact", &[(Readwrite, b"k1", b"")]),
    ("reader", &[(Read, b"k", b"l")]),
    ("writer", &[(Write, b"k", b"l")]),
    // Neither role covers k1 to k9, both together do.
    ("union", &[(Readwrite, b"k", b"k5"), (Readwrite, b"k3", b"l")]),
    ("above", &[(Readwrite, b"k1", b"\0")]),
    ("root", &[]),
];

/// One key, a range, everything from a key on, everything, and a key of nobody's.
const RANGES: [Span; 5] =
    [(b"k1", b""), (b"k1", b"k9"), (b"k1", b"\0"), (b"\0", b"\0"), (b"a", b"")];

fn holds(key: &[u8], end: &[u8], point: &[u8]) -> bool {
    match end {
        b"" => point == key,
        b"\0" => point >= key,
        _ => point >= key && point < end,
    }
}

/// Whether somebody may touch all of a range: asked of every key that could make a difference.
fn may(grants: Grants, write: bool, (key, end): Span) -> bool {
    let bounds: [&[u8]; 10] =
        [b"\0", b"a", b"k", b"k1", b"k3", b"k5", b"k9", b"l", b"z", b"\xff\xff"];
    let points = bounds.iter().flat_map(|bound| [bound.to_vec(), [*bound, b"\0"].concat()]);
    let mut inside = points.filter(|point| holds(key, end, point));
    inside.all(|point| {
        grants.iter().any(|(kind, key, end)| {
            let kind_fits = *kind == Readwrite || (*kind == Write) == write;
            kind_fits && holds(key, end, &point)
        })
    })
}

/// Somebody who calls.
struct Person {
    name: &'static str,
    grants: Grants,
    token: String,
}

/// What a call needs of its caller.
enum Need {
    /// Leave to read and to write these.
    Keys(Vec<(bool, Span)>),
    User,
    Root,
    Nothing,
}

impl Person {
    fn expect(&self, need: &Need) -> Verdict {
        let may_all = |needs: &[(bool, Span)]| {
            needs.iter().all(|(write, range)| may(self.grants, *write, *range))
        };
        match (need, self.name) {
            (Need::Nothing, _) => Allowed,
            (_, "nobody") => NoUser,
            (_, "stranger") => BadToken,
            (_, "root") | (Need::User, _) => Allowed,
            (Need::Keys(needs), _) if may_all(needs) => Allowed,
            _ => Denied,
        }
    }
}

/// What was asked, and what came of it.
struct Matrix {
    client: Client,
    asked: BTreeSet<String>,
    cells: usize,
    wrong: Vec<String>,
}

impl Matrix {
    fn note(&mut self, person: &Person, method: &str, what: &str, need: &Need, found: Verdict) {
        self.asked.insert(method.to_owned());
        self.cells += 1;
        let expected = person.expect(need);
        if found != expected {
            let name = person.name;
            self.wrong.push(format!("{name}: {method} {what}: {found:?}, not {expected:?}"));
        }
    }
}

/// Asks one call of `person` and notes the verdict.
macro_rules! ask {
    ($m:ident, $person:ident, $service:ident . $call:ident ($message:expr), $method:expr,
     $what:expr, $need:expr) => {{
        let result = $m.client.$service().$call(by(&$person.token, $message)).await;
        $m.note($person, $method, &format!("{:?}", $what), &$need, verdict(result));
    }};
}

/// The same for many.
macro_rules! asks {
    ($m:ident, $person:ident,
     $($service:ident . $call:ident ($message:expr), $method:expr, $what:expr, $need:expr;)*) => {
        $(ask!($m, $person, $service.$call($message), $method, $what, $need);)*
    };
}

const READ: bool = false;
const WRITE: bool = true;

fn txn(compare: Vec<Compare>, success: Vec<Op>, failure: Vec<Op>) -> TxnRequest {
    let ops = |ops: Vec<Op>| ops.into_iter().map(|op| RequestOp { request: Some(op) }).collect();
    TxnRequest { compare, success: ops(success), failure: ops(failure) }
}

impl Matrix {
    async fn keys(&mut self, person: &Person, range: (&'static [u8], &'static [u8])) {
        let (key, range_end) = (Bytes::from_static(range.0), Bytes::from_static(range.1));
        let read = || Need::Keys(vec![(READ, range)]);
        let write = || Need::Keys(vec![(WRITE, range)]);
        let both = || Need::Keys(vec![(READ, range), (WRITE, range)]);
        let get = || RangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            ..Default::default()
        };
        let delete = |prev_kv| DeleteRangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            prev_kv,
        };
        let set =
            |prev_kv, lease| PutRequest { key: key.clone(), prev_kv, lease, ..Default::default() };
        let compare =
            || Compare { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
        let local = RangeRequest { serializable: true, ..get() };
        ask!(self, person, kv.range(get()), "Range", range, read());
        ask!(self, person, kv.range(local), "Range", (range, "local"), read());
        for serializable in [false, true] {
            let request = RangeRequest { serializable, ..get() };
            let what = (range, serializable);
            ask!(self, person, kv.range_stream(request), "RangeStream", what, read());
        }
        ask!(self, person, kv.delete_range(delete(false)), "DeleteRange", range, write());
        ask!(self, person, kv.delete_range(delete(true)), "DeleteRange", (range, "prev"), both());
        if range.1.is_empty() {
            ask!(self, person, kv.put(set(false, 0)), "Put", range, write());
            ask!(self, person, kv.put(set(true, 0)), "Put", (range, "prev"), both());
            // Who may not write what hangs on the lease must not hang on it.
            let on = Need::Keys(vec![(WRITE, range), (WRITE, (b"z", b""))]);
            ask!(self, person, kv.put(set(false, 102)), "Put", (range, "lease"), on);
            let put = txn(vec![], vec![], vec![Op::RequestPut(set(true, 0))]);
            ask!(self, person, kv.txn(put), "Txn", (range, "put in else"), both());
        }
        let nested = txn(vec![], vec![], vec![Op::RequestRange(get())]);
        for (what, need, request) in [
            ("compare", read(), txn(vec![compare()], vec![], vec![])),
            ("then", read(), txn(vec![], vec![Op::RequestRange(get())], vec![])),
            ("else", write(), txn(vec![], vec![], vec![Op::RequestDeleteRange(delete(false))])),
            ("nested", read(), txn(vec![], vec![Op::RequestTxn(nested)], vec![])),
        ] {
            ask!(self, person, kv.txn(request), "Txn", (range, what), need);
        }
        let found = self.watch(person, &key, &range_end).await;
        self.note(person, "Watch", &format!("{range:?}"), &read(), found);
    }

    /// A watcher that may not be is created and canceled in one breath, and told why.
    async fn watch(&self, person: &Person, key: &Bytes, end: &Bytes) -> Verdict {
        let (key, range_end) = (key.clone(), end.clone());
        let create = WatchCreateRequest { key, range_end, ..Default::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = futures_util::stream::iter([request]);
        let answers = self.client.watch().watch(by(&person.token, requests)).await;
        let mut answers = answers.expect("a stream is opened for everybody").into_inner();
        let first = answers.message().await.expect("it is answered").expect("it is answered");
        assert!(first.created, "{}: {first:?}", person.name);
        if !first.canceled {
            return Allowed;
        }
        assert_eq!(first.watch_id, -1);
        let text = first.cancel_reason.split(" desc = ").nth(1).expect("as Go prints it");
        of_text(text)
    }

    /// Lease 101 has the key k1, lease 102 the key z.
    async fn leases(&mut self, person: &Person) {
        for (id, key) in [(101, b"k1".as_slice()), (102, b"z")] {
            let keys = |write| Need::Keys(vec![(write, (key, b"".as_slice()))]);
            let requests = futures_util::stream::iter([LeaseKeepAliveRequest { id }]);
            let answers = self.client.lease().lease_keep_alive(by(&person.token, requests)).await;
            let found = match answers {
                Ok(answers) => verdict(answers.into_inner().message().await),
                Err(status) => verdict(Err::<(), _>(status)),
            };
            self.note(person, "LeaseKeepAlive", &id.to_string(), &keys(WRITE), found);
            let (look, read) = (|keys| LeaseTimeToLiveRequest { id, keys }, keys(READ));
            let name = "LeaseTimeToLive";
            ask!(self, person, lease.lease_time_to_live(look(true)), name, id, read);
            ask!(self, person, lease.lease_time_to_live(look(false)), name, id, Need::User);
        }
        let all = Need::Keys(vec![(READ, (b"k1", b"")), (READ, (b"z", b""))]);
        ask!(self, person, lease.lease_leases(LeaseLeasesRequest {}), "LeaseLeases", "", all);
        let none = LeaseRevokeRequest { id: 999 };
        ask!(self, person, lease.lease_revoke(none), "LeaseRevoke", "none", Need::User);
        let of_z = || Need::Keys(vec![(WRITE, (b"z", b""))]);
        if person.expect(&of_z()) != Allowed {
            let revoke = LeaseRevokeRequest { id: 102 };
            ask!(self, person, lease.lease_revoke(revoke), "LeaseRevoke", "z", of_z());
        }
        let grant = LeaseGrantRequest { id: 101, ttl: 60 };
        ask!(self, person, lease.lease_grant(grant), "LeaseGrant", "", Need::User);
    }

    /// What is not about keys. Whatever would be done fails behind the gate, or does no harm.
    async fn others(&mut self, person: &Person) {
        use Need::{Nothing, Root, User};
        let peer_ur_ls = || vec!["nowhere".to_owned()];
        let compact = CompactionRequest { revision: 1 << 40, ..Default::default() };
        let add = MemberAddRequest { peer_ur_ls: peer_ur_ls(), ..Default::default() };
        let update = MemberUpdateRequest { id: 1, peer_ur_ls: peer_ur_ls() };
        let clear = AlarmRequest { action: AlarmAction::Deactivate.into(), ..Default::default() };
        let (name, password) = ("reader".to_owned(), "pw".to_owned());
        let log_in = AuthenticateRequest { name, password };
        asks! { self, person,
            kv.compact(compact), "Compact", "", Root;
            cluster.member_list(MemberListRequest::default()), "MemberList", "", User;
            cluster.member_add(add), "MemberAdd", "", Root;
            cluster.member_remove(MemberRemoveRequest { id: 1 }), "MemberRemove", "", Root;
            cluster.member_update(update), "MemberUpdate", "", Root;
            cluster.member_promote(MemberPromoteRequest { id: 1 }), "MemberPromote", "", Root;
            maintenance.status(StatusRequest::default()), "Status", "", User;
            maintenance.alarm(AlarmRequest::default()), "Alarm", "get", User;
            maintenance.alarm(clear), "Alarm", "clear", Root;
            maintenance.defragment(DefragmentRequest::default()), "Defragment", "", Root;
            maintenance.hash(HashRequest::default()), "Hash", "", Root;
            maintenance.hash_kv(HashKvRequest::default()), "HashKV", "", Root;
            maintenance.snapshot(SnapshotRequest::default()), "Snapshot", "", Root;
            maintenance.move_leader(MoveLeaderRequest { target_id: 1 }), "MoveLeader", "", Root;
            maintenance.downgrade(DowngradeRequest::default()), "Downgrade", "", Root;
            auth.authenticate(log_in), "Authenticate", "", Nothing;
            auth.auth_status(AuthStatusRequest {}), "AuthStatus", "", User;
            auth.auth_enable(AuthEnableRequest {}), "AuthEnable", "", Root;
        }
        if person.name != "root" {
            ask!(self, person, auth.auth_disable(AuthDisableRequest {}), "AuthDisable", "", Root);
        }
    }

    /// Users and roles: of those that are not there, or are there already.
    async fn users(&mut self, person: &Person) {
        use Need::{Root, User};
        let name = || "ghost".to_owned();
        let (user, role) = (name, name);
        let own = AuthUserGetRequest { name: person.name.to_owned() };
        let other = AuthUserGetRequest { name: "root".to_owned() };
        let add = AuthUserAddRequest { name: "root".to_owned(), ..Default::default() };
        let password = "pw".to_owned();
        let change = AuthUserChangePasswordRequest { name: name(), password, ..Default::default() };
        let give = AuthUserGrantRoleRequest { user: user(), role: role() };
        let take = AuthUserRevokeRoleRequest { name: name(), role: role() };
        let own_role = AuthRoleGetRequest { role: format!("{}-0", person.name) };
        let of_own = if person.grants.is_empty() { Root } else { User };
        let other_role = AuthRoleGetRequest { role: "other".to_owned() };
        let add_role = AuthRoleAddRequest { name: "other".to_owned() };
        let perm = Some(Default::default());
        let allow = AuthRoleGrantPermissionRequest { name: role(), perm };
        let forbid = AuthRoleRevokePermissionRequest { role: role(), ..Default::default() };
        asks! { self, person,
            auth.user_list(AuthUserListRequest {}), "UserList", "", Root;
            auth.user_get(own), "UserGet", "own", User;
            auth.user_get(other), "UserGet", "root", Root;
            auth.user_add(add), "UserAdd", "", Root;
            auth.user_delete(AuthUserDeleteRequest { name: name() }), "UserDelete", "", Root;
            auth.user_change_password(change), "UserChangePassword", "", Root;
            auth.user_grant_role(give), "UserGrantRole", "", Root;
            auth.user_revoke_role(take), "UserRevokeRole", "", Root;
            auth.role_list(AuthRoleListRequest {}), "RoleList", "", Root;
            auth.role_get(own_role), "RoleGet", "own", of_own;
            auth.role_get(other_role), "RoleGet", "other", Root;
            auth.role_add(add_role), "RoleAdd", "", Root;
            auth.role_delete(AuthRoleDeleteRequest { role: role() }), "RoleDelete", "", Root;
            auth.role_grant_permission(allow), "RoleGrantPermission", "", Root;
            auth.role_revoke_permission(forbid), "RoleRevokePermission", "", Root;
        }
    }
}

/// Everybody, with roles and tokens; then authentication is on.
async fn people(client: &Client) -> Vec<Person> {
    add_role(client, "other").await;
    add_role(client, "root").await;
    for (name, grants) in
        PEOPLE.iter().filter(|(name, _)| !["nobody", "stranger", "root"].contains(name))
    {
        add_user(client, name, "pw").await;
        for (at, (kind, key, end)) in grants.iter().enumerate() {
            let role = format!("{name}-{at}");
            add_role(client, &role).await;
            allow(client, &role, *kind, key, end).await;
            give_role(client, name, &role).await;
        }
    }
    enable(client, "pw").await;
    let mut people = Vec::new();
    for (name, grants) in PEOPLE {
        let token = match name {
            "nobody" => String::new(),
            "stranger" => "abcdefghijklmnop.7".to_owned(),
            _ => log_in(client, name, "pw").await.expect("that is the password"),
        };
        people.push(Person { name, grants, token });
    }
    people
}

/// A call that was forgotten is an open door, and one that is shut to those it is for is an outage.
/// Trap 25: watches are judged by the range that was asked for.
#[test]
fn everybody_may_do_what_etcd_lets_them_and_no_more() {
    if !programs::is_ours() {
        return;
    }
    let server = Server::start(&programs::ours(), &[CHEAP]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for (id, key) in [(101, "k1"), (102, "z")] {
            grant(&client, id, 600).await;
            put(&client, key, "v", id).await;
        }
        let people = people(&client).await;
        let (asked, wrong) = (BTreeSet::new(), Vec::new());
        let mut matrix = Matrix { client, asked, cells: 0, wrong };
        for person in &people {
            matrix.leases(person).await;
        }
        for person in &people {
            matrix.others(person).await;
            matrix.users(person).await;
            for range in RANGES {
                matrix.keys(person, range).await;
            }
        }
        let everything = AuthRoleGetRequest { role: "root".to_owned() };
        let root = people.last().expect("root is the last");
        let shown = matrix.client.auth().role_get(by(&root.token, everything)).await;
        let perm = &shown.expect("the role is there").into_inner().perm;
        let is_all = |perm: &Permission| {
            (perm.perm_type(), &perm.key[..], &perm.range_end[..]) == (Readwrite, b"", b"\0")
        };
        assert!(perm.len() == 1 && is_all(&perm[0]), "{perm:?}");
        assert!(matrix.wrong.is_empty(), "{}", matrix.wrong.join("\n"));
        assert!(matrix.cells > 700, "{} cells", matrix.cells);
        let missing: Vec<String> =
            methods().into_iter().filter(|name| !matrix.asked.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    });
}

/// The methods of etcd's own services.
fn methods() -> Vec<String> {
    let bytes: &[u8] = FILE_DESCRIPTOR_SET;
    let files = prost_types::FileDescriptorSet::decode(bytes).expect("it was made for this").file;
    let services = files.iter().filter(|file| file.package() == "etcdserverpb");
    let methods = services.flat_map(|file| &file.service).flat_map(|service| &service.method);
    methods.map(|method| method.name().to_owned()).collect()
}
