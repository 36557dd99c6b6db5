//! An entry as JSON: what it asks for in etcd's words, keys and values in base64, as etcd's own
//! JSON has them.
//!
//! ```text
//!   {"index":7,"term":2,"committed":true,"kind":"put",
//!    "request":{"key":"Zm9v","value":"YmFy","lease":0}}
//! ```
//!
//! `request` is the message of etcd's API by the same name as the kind, fields at their defaults
//! left out as far as they say nothing.

use drystone_kv::Member;
use drystone_kv::command::{
    AlarmChange, AuthChange, Command, Compare, CompareTarget, DeleteRange, Put, RangeRequest,
    Relation, SortBy, SortOrder, Txn, TxnOp,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::runtime::inspect::{Logged, Said};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bytes::base64;
use super::report::{Voting, alarm_name};

/// One entry.
#[derive(Serialize)]
pub(crate) struct EntryLine {
    index: u64,
    term: u64,
    /// Known to be; if not, it may be all the same.
    committed: bool,
    kind: &'static str,
    /// The member that was asked, if another than the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    handed_on_by: Option<u64>,
    request: Value,
}

/// The line of an entry.
pub(crate) fn entry(entry: &Logged) -> EntryLine {
    let handed_on_by = match &entry.said {
        Said::Command { origin, .. } => origin.map(|origin| origin.member),
        _ => None,
    };
    let Logged { index, term, committed, .. } = *entry;
    EntryLine { index, term, committed, kind: kind(entry), handed_on_by, request: request(entry) }
}

/// What kind of entry it is: etcd's name of the request, in small letters.
pub(crate) fn kind(entry: &Logged) -> &'static str {
    match &entry.said {
        Said::Blank => "blank",
        Said::Voters(_) => "voters",
        Said::Withheld => "withheld",
        Said::Unreadable { .. } => "unreadable",
        Said::Command { command, .. } => match command {
            Command::Put(_) => "put",
            Command::DeleteRange(_) => "delete_range",
            Command::Txn(_) => "txn",
            Command::Compact(_) => "compaction",
            Command::LeaseGrant(_) => "lease_grant",
            Command::LeaseRevoke(_) => "lease_revoke",
            Command::Alarm(_) => "alarm",
            Command::Auth(change) => change.verb(),
            Command::ClusterInit { .. } => "cluster_init",
            Command::ClusterForce { .. } => "cluster_force",
            Command::MemberAdd { .. } => "member_add",
            Command::MemberRemove { .. } => "member_remove",
            Command::MemberUpdate { .. } => "member_update",
            Command::MemberPromote { .. } => "member_promote",
            Command::MemberPublish { .. } => "member_publish",
        },
    }
}

fn request(entry: &Logged) -> Value {
    match &entry.said {
        Said::Blank | Said::Withheld => json!({}),
        Said::Voters(members) => {
            let Voting { voters, learners, outgoing, .. } = Voting::of(entry.index, members);
            json!({ "voters": voters, "learners": learners, "outgoing": outgoing })
        }
        Said::Unreadable { bytes, reason } => json!({ "bytes": base64(bytes), "reason": reason }),
        Said::Command { command, .. } => of_command(command),
    }
}

fn of_command(command: &Command) -> Value {
    match command {
        Command::Put(request) => put(request),
        Command::DeleteRange(request) => delete_range(request),
        Command::Txn(request) => txn(request),
        Command::Compact(compact) => json!({ "revision": compact.revision }),
        Command::LeaseGrant(grant) => json!({ "ID": grant.id.0, "TTL": grant.ttl }),
        Command::LeaseRevoke(revoke) => json!({ "ID": revoke.id.0 }),
        Command::Alarm(AlarmChange { raise, member, kind }) => json!({
            "action": if *raise { "ACTIVATE" } else { "DEACTIVATE" },
            "memberID": member,
            "alarm": alarm_name(*kind),
        }),
        Command::Auth(change) => auth(change),
        Command::ClusterInit { cluster, members } => {
            let members: Vec<Value> = members.iter().map(member).collect();
            json!({ "cluster_id": cluster, "members": members })
        }
        Command::ClusterForce { cluster, member: left } => {
            json!({ "cluster_id": cluster, "member": member(left) })
        }
        Command::MemberAdd { member: added, learners_max } => {
            json!({ "member": member(added), "learners_max": learners_max })
        }
        Command::MemberRemove { id } | Command::MemberPromote { id } => json!({ "ID": id }),
        Command::MemberUpdate { id, peer_urls } => json!({ "ID": id, "peerURLs": peer_urls }),
        Command::MemberPublish { id, name, client_urls } => {
            json!({ "ID": id, "name": name, "clientURLs": client_urls })
        }
    }
}

/// Hashes of passwords and of tokens are not for whoever looks.
fn auth(change: &AuthChange) -> Value {
    match change {
        AuthChange::Enable | AuthChange::Disable => json!({}),
        AuthChange::UserAdd { name, no_password, .. } => {
            json!({ "name": name, "options": { "no_password": no_password } })
        }
        AuthChange::UserDelete { name }
        | AuthChange::UserChangePassword { name, .. }
        | AuthChange::RoleAdd { name } => json!({ "name": name }),
        AuthChange::Authenticate { user, .. } => json!({ "name": user }),
        AuthChange::UserGrantRole { name, role } => json!({ "user": name, "role": role }),
        AuthChange::UserRevokeRole { name, role } => json!({ "name": name, "role": role }),
        AuthChange::RoleDelete { name } => json!({ "role": name }),
        AuthChange::RoleGrantPermission { role, permission } => {
            let kind = ["READ", "WRITE", "READWRITE"][permission.kind as usize];
            let (key, end) = (base64(&permission.key), base64(&permission.range_end));
            json!({ "name": role, "perm": { "permType": kind, "key": key, "range_end": end } })
        }
        AuthChange::RoleRevokePermission { role, key, range_end } => {
            json!({ "role": role, "key": base64(key), "range_end": base64(range_end) })
        }
    }
}

fn member(member: &Member) -> Value {
    json!({
        "ID": member.id,
        "name": member.name,
        "peerURLs": member.peer_urls,
        "clientURLs": member.client_urls,
        "isLearner": member.is_learner,
    })
}

/// A field that says something only when it is set.
fn flag(fields: &mut Map<String, Value>, name: &str, set: bool) {
    if set {
        fields.insert(name.to_owned(), Value::Bool(true));
    }
}

/// The two byte strings by which etcd names a range.
pub(crate) fn bounds(range: &KeyRange) -> (&[u8], Option<&[u8]>) {
    match (range.as_single(), &range.end) {
        (Some(key), _) => (key, None),
        (None, None) => (&range.start, Some(b"\0")),
        (None, Some(end)) => (&range.start, Some(end)),
    }
}

fn keys(range: &KeyRange) -> Map<String, Value> {
    let (key, end) = bounds(range);
    let mut fields = Map::new();
    fields.insert("key".to_owned(), base64(key).into());
    if let Some(end) = end {
        fields.insert("range_end".to_owned(), base64(end).into());
    }
    fields
}

fn put(put: &Put) -> Value {
    let mut fields = Map::new();
    fields.insert("key".to_owned(), base64(&put.key).into());
    match &put.value {
        Some(value) => drop(fields.insert("value".to_owned(), base64(value).into())),
        None => flag(&mut fields, "ignore_value", true),
    }
    match put.lease {
        Some(lease) => drop(fields.insert("lease".to_owned(), lease.0.into())),
        None => flag(&mut fields, "ignore_lease", true),
    }
    flag(&mut fields, "prev_kv", put.prev_kv);
    fields.into()
}

fn delete_range(delete: &DeleteRange) -> Value {
    let mut fields = keys(&delete.range);
    flag(&mut fields, "prev_kv", delete.prev_kv);
    fields.into()
}

fn txn(txn: &Txn) -> Value {
    let ops = |ops: &[TxnOp]| ops.iter().map(op).collect::<Vec<_>>();
    let compares: Vec<Value> = txn.compares.iter().map(compare).collect();
    json!({ "compare": compares, "success": ops(&txn.success), "failure": ops(&txn.failure) })
}

fn op(op: &TxnOp) -> Value {
    match op {
        TxnOp::Range(request) => json!({ "request_range": range(request) }),
        TxnOp::Put(request) => json!({ "request_put": put(request) }),
        TxnOp::DeleteRange(request) => json!({ "request_delete_range": delete_range(request) }),
        TxnOp::Txn(request) => json!({ "request_txn": txn(request) }),
    }
}

fn compare(compare: &Compare) -> Value {
    let mut fields = keys(&compare.range);
    fields.insert("result".to_owned(), relation(compare.relation).into());
    let (target, field, value) = match &compare.target {
        CompareTarget::Version(number) => ("VERSION", "version", (*number).into()),
        CompareTarget::Create(number) => ("CREATE", "create_revision", (*number).into()),
        CompareTarget::Mod(number) => ("MOD", "mod_revision", (*number).into()),
        CompareTarget::Value(value) => ("VALUE", "value", base64(value).into()),
        CompareTarget::Lease(lease) => ("LEASE", "lease", lease.0.into()),
        CompareTarget::Unknown => ("UNKNOWN", "unknown", Value::Null),
    };
    fields.insert("target".to_owned(), target.into());
    fields.insert(field.to_owned(), value);
    fields.into()
}

/// etcd's name.
fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Equal => "EQUAL",
        Relation::Greater => "GREATER",
        Relation::Less => "LESS",
        Relation::NotEqual => "NOT_EQUAL",
        Relation::Any => "ANY",
    }
}

fn range(range: &RangeRequest) -> Value {
    let mut fields = keys(&range.range);
    let bounds = range.bounds;
    let numbers = [
        ("revision", range.revision),
        ("limit", Some(range.limit as u64).filter(|limit| *limit > 0)),
        ("min_mod_revision", bounds.mod_min),
        ("max_mod_revision", bounds.mod_max),
        ("min_create_revision", bounds.create_min),
        ("max_create_revision", bounds.create_max),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            fields.insert(name.to_owned(), number.into());
        }
    }
    if let Some(sort) = range.sort {
        let target = match sort.by {
            SortBy::Key => "KEY",
            SortBy::Version => "VERSION",
            SortBy::Create => "CREATE",
            SortBy::Mod => "MOD",
            SortBy::Value => "VALUE",
        };
        let order = match sort.order {
            SortOrder::Ascend => "ASCEND",
            SortOrder::Descend => "DESCEND",
            SortOrder::AscendAfterLimit => "NONE",
        };
        fields.insert("sort_target".to_owned(), target.into());
        fields.insert("sort_order".to_owned(), order.into());
    }
    flag(&mut fields, "keys_only", range.keys_only);
    flag(&mut fields, "count_only", range.count_only);
    fields.into()
}
