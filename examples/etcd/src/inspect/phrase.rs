//! An entry in words, on one line.

use std::fmt::Write as _;

use drystone_kv::Member;
use drystone_kv::command::{
    AlarmChange, Command, Compare, CompareTarget, DeleteRange, Put, RangeRequest, Relation, Txn,
    TxnOp,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::runtime::inspect::{Logged, Said};

use super::bytes::quoted;
use super::report::{Voting, alarm_name};
use super::request::bounds;

/// What an entry says; of values no more than `max` bytes.
pub(crate) fn entry(entry: &Logged, max: usize) -> String {
    match &entry.said {
        Said::Blank => "a leader's first entry".to_owned(),
        Said::Withheld => "a command that this member does not keep".to_owned(),
        Said::Unreadable { bytes, reason } => format!("{reason}: {}", quoted(bytes, max)),
        Said::Voters(members) => voting(&Voting::of(entry.index, members)),
        Said::Command { origin, command, .. } => {
            let mut text = of_command(command, max);
            if let Some(origin) = origin {
                let _ = write!(text, "   (asked of {:x})", origin.member);
            }
            text
        }
    }
}

/// Who votes, in words.
pub(crate) fn voting(voting: &Voting) -> String {
    let mut text = format!("voters {}", ids(&voting.voters));
    if !voting.learners.is_empty() {
        let _ = write!(text, ", learners {}", ids(&voting.learners));
    }
    if !voting.outgoing.is_empty() {
        let _ = write!(text, ", together with {}", ids(&voting.outgoing));
    }
    text
}

/// Ids of members, as etcd writes them.
pub(crate) fn ids(ids: &[u64]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(" ")
}

fn of_command(command: &Command, max: usize) -> String {
    match command {
        Command::Put(request) => put(request, max),
        Command::DeleteRange(request) => delete(request),
        Command::Txn(request) => txn(request, max),
        Command::Compact(compact) => format!("below revision {}", compact.revision),
        Command::LeaseGrant(grant) => format!("lease {:x} for {} s", grant.id.0, grant.ttl),
        Command::LeaseRevoke(revoke) => format!("lease {:x}", revoke.id.0),
        Command::Alarm(AlarmChange { raise, member, kind }) => {
            let verb = if *raise { "raised" } else { "cleared" };
            format!("{} {verb} for {member:x}", alarm_name(*kind))
        }
        Command::Auth(change) => format!("{change:?}"),
        Command::ClusterInit { cluster, members } => {
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{cluster:x} of {}", members.join("; "))
        }
        Command::ClusterForce { cluster, member: left } => {
            format!("{cluster:x} of {} alone", member(left))
        }
        Command::MemberAdd { member: added, .. } => member(added),
        Command::MemberRemove { id } | Command::MemberPromote { id } => format!("{id:x}"),
        Command::MemberUpdate { id, peer_urls } => format!("{id:x} at {}", urls(peer_urls)),
        Command::MemberPublish { id, name, client_urls } => {
            format!("{id:x} is {name:?}, clients at {}", urls(client_urls))
        }
    }
}

fn urls(urls: &[String]) -> String {
    let urls: Vec<String> = urls.iter().map(|url| url.escape_debug().to_string()).collect();
    if urls.is_empty() { "none".to_owned() } else { urls.join(",") }
}

fn member(member: &Member) -> String {
    let learner = if member.is_learner { ", learner" } else { "" };
    format!("{:x} {:?} at {}{learner}", member.id, member.name, urls(&member.peer_urls))
}

/// A key whole; keys are what one looks for.
fn key(key: &[u8]) -> String {
    quoted(key, usize::MAX)
}

fn keys(range: &KeyRange) -> String {
    match bounds(range) {
        (one, None) => key(one),
        (from, Some(b"\0")) => format!("{} and above", key(from)),
        (from, Some(_)) if *range == KeyRange::prefix(range.start.clone()) => {
            format!("{} and longer", key(from))
        }
        (from, Some(end)) => format!("{} until {}", key(from), key(end)),
    }
}

fn put(put: &Put, max: usize) -> String {
    let mut text = key(&put.key);
    match &put.value {
        Some(value) => drop(write!(text, " = {}", quoted(value, max))),
        None => text.push_str(", its value kept"),
    }
    match put.lease {
        Some(lease) if lease.is_some() => drop(write!(text, ", lease {:x}", lease.0)),
        Some(_) => {}
        None => text.push_str(", its lease kept"),
    }
    text
}

fn delete(delete: &DeleteRange) -> String {
    keys(&delete.range)
}

fn txn(txn: &Txn, max: usize) -> String {
    let compares: Vec<String> = txn.compares.iter().map(|c| compare(c, max)).collect();
    let condition = if compares.is_empty() { "always".to_owned() } else { compares.join(" and ") };
    let mut text = format!("if {condition} {}", block(&txn.success, max));
    if !txn.failure.is_empty() {
        let _ = write!(text, " else {}", block(&txn.failure, max));
    }
    text
}

fn block(ops: &[TxnOp], max: usize) -> String {
    let ops: Vec<String> = ops.iter().map(|op| operation(op, max)).collect();
    if ops.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", ops.join("; ")) }
}

fn operation(op: &TxnOp, max: usize) -> String {
    match op {
        TxnOp::Range(request) => range(request),
        TxnOp::Put(request) => format!("put {}", put(request, max)),
        TxnOp::DeleteRange(request) => format!("delete {}", delete(request)),
        TxnOp::Txn(request) => txn(request, max),
    }
}

fn range(range: &RangeRequest) -> String {
    let mut text = format!("get {}", keys(&range.range));
    if let Some(revision) = range.revision {
        let _ = write!(text, " at revision {revision}");
    }
    if range.limit > 0 {
        let _ = write!(text, ", at most {}", range.limit);
    }
    text
}

fn compare(compare: &Compare, max: usize) -> String {
    let what = |name: &str| format!("{name}({})", keys(&compare.range));
    let (left, right) = match &compare.target {
        CompareTarget::Version(number) => (what("version"), number.to_string()),
        CompareTarget::Create(number) => (what("create"), number.to_string()),
        CompareTarget::Mod(number) => (what("mod"), number.to_string()),
        CompareTarget::Value(value) => (what("value"), quoted(value, max)),
        CompareTarget::Lease(lease) => (what("lease"), format!("{:x}", lease.0)),
        CompareTarget::Unknown => (what("unknown"), "unknown".to_owned()),
    };
    let relation = match compare.relation {
        Relation::Equal => "=",
        Relation::Greater => ">",
        Relation::Less => "<",
        Relation::NotEqual => "!=",
        Relation::Any => "any",
    };
    format!("{left} {relation} {right}")
}
