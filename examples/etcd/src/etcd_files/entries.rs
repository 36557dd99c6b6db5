//! Entries of etcd's log, made into the store's commands.
//!
//! The same entry becomes the same command on every member, whatever that member knows of what was
//! committed: those who convert their copies of one log end up with copies of one log.

use anyhow::{Context, Result, bail};
use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::Caller;
use drystone_kv::command::{AlarmChange, AlarmKind, Command, LeaseGrant, LeaseRevoke};
use drystone_kv::runtime::Logged;
use drystone_kv::types::LeaseId;
use pb::alarm_request::AlarmAction;
use prost::Message;
use serde::Deserialize;

use super::auth_entries;
use super::members::{Described, parse_id};
use super::messages::{Attributes, ConfChange, LogEntry, OldRequest, RaftRequest, RequestHeader};
use crate::convert;

const KIND_REQUEST: i32 = 0;
const KIND_CHANGE: i32 = 1;

const CHANGE_ADD: i32 = 0;
const CHANGE_REMOVE: i32 = 1;
const CHANGE_UPDATE: i32 = 2;
const CHANGE_ADD_LEARNER: i32 = 3;

/// The least that a lease lives, seconds, with etcd's usual election timeout.
const TTL_SECONDS_MIN: i64 = 2;

/// What the entry does, and for whom; nothing if it is a leader's first, was refused for its form,
/// or concerns what this server does not have.
///
/// # Errors
///
/// If it cannot be understood.
pub(crate) fn logged(entry: &LogEntry) -> Result<Logged> {
    let of = || format!("entry {} of the journal", entry.index);
    let (caller, command) = caller_and_command(entry).with_context(of)?;
    Ok(Logged { term: entry.term, index: entry.index, caller, command })
}

fn caller_and_command(entry: &LogEntry) -> Result<(Caller, Option<Command>)> {
    if entry.data.is_empty() {
        return Ok((Caller::System, None));
    }
    match entry.kind {
        KIND_REQUEST => match RaftRequest::decode(entry.data.clone()) {
            Ok(request) => {
                let by = caller(&request);
                let command = of_request(entry, request)?;
                let checked = command.as_ref().is_some_and(is_checked);
                Ok((if checked { by } else { Caller::System }, command))
            }
            Err(_) => Ok((Caller::System, of_old(&OldRequest::decode(entry.data.clone())?)?)),
        },
        KIND_CHANGE => {
            let change = ConfChange::decode(entry.data.clone())?;
            Ok((Caller::System, Some(of_change(&change)?)))
        }
        kind => bail!("it is of unknown kind {kind}"),
    }
}

/// For whom a request was proposed.
fn caller(request: &RaftRequest) -> Caller {
    match &request.header {
        Some(RequestHeader { username, auth_revision, .. }) if !username.is_empty() => {
            Caller::User { name: username.as_str().into(), revision: *auth_revision }
        }
        _ => Caller::Nobody,
    }
}

/// Whether etcd asks who it is for when it applies it. All else it has asked before, if at all, and
/// some of it comes from its members, which do not say who they are.
fn is_checked(command: &Command) -> bool {
    matches!(
        command,
        Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::LeaseRevoke(_)
            | Command::Auth(_)
    )
}

fn of_request(entry: &LogEntry, request: RaftRequest) -> Result<Option<Command>> {
    if let Some(old) = &request.old {
        return of_old(old);
    }
    if let Some(change) = auth_entries::change(entry, &request)? {
        return Ok(Some(Command::Auth(change)));
    }
    // What etcd refused for its form it refused everywhere; it left no trace there, either.
    let command = if let Some(put) = request.put {
        convert::put(put).ok().map(Command::Put)
    } else if let Some(delete) = request.delete_range {
        convert::delete_range(delete).ok().map(Command::DeleteRange)
    } else if let Some(txn) = request.txn {
        convert::txn(txn, usize::MAX).ok().map(Command::Txn)
    } else if let Some(compaction) = request.compaction {
        convert::compact(compaction).map(Command::Compact)
    } else if let Some(grant) = request.lease_grant {
        let (id, ttl) = (LeaseId(grant.id), grant.ttl.max(TTL_SECONDS_MIN));
        id.is_some().then_some(Command::LeaseGrant(LeaseGrant { id, ttl }))
    } else if let Some(revoke) = request.lease_revoke {
        Some(Command::LeaseRevoke(LeaseRevoke { id: LeaseId(revoke.id) }))
    } else if let Some(alarm) = request.alarm {
        of_alarm(&alarm)
    } else if let Some(said) = request.member_attributes {
        let Attributes { name, client_urls } = said.attributes.unwrap_or_default();
        Some(Command::MemberPublish { id: said.id, name, client_urls })
    } else {
        None
    };
    Ok(command)
}

fn of_alarm(alarm: &pb::AlarmRequest) -> Option<Command> {
    let kind = match alarm.alarm() {
        pb::AlarmType::Nospace => AlarmKind::NoSpace,
        pb::AlarmType::Corrupt => AlarmKind::Corrupt,
        pb::AlarmType::None => return None,
    };
    let raise = match alarm.action() {
        AlarmAction::Get => return None,
        AlarmAction::Activate => true,
        AlarmAction::Deactivate => false,
    };
    Some(Command::Alarm(AlarmChange { raise, member: alarm.member_id, kind }))
}

/// What a member says of itself, up to 3.5. The other things that the old interface can hold are
/// the cluster's version and old keys, which no client of the present one has ever seen.
fn of_old(request: &OldRequest) -> Result<Option<Command>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        name: String,
        #[serde(rename = "clientURLs")]
        client_urls: Option<Vec<String>>,
    }
    let id = request.path.strip_prefix("/0/members/");
    let id = id.and_then(|rest| rest.strip_suffix("/attributes"));
    let Some(id) = id.filter(|_| request.method == "PUT") else { return Ok(None) };
    let id = parse_id(id.as_bytes()).context("a member's id is not one")?;
    let Said { name, client_urls } = serde_json::from_str(&request.value)?;
    let client_urls = client_urls.unwrap_or_default();
    Ok(Some(Command::MemberPublish { id, name, client_urls }))
}

fn of_change(change: &ConfChange) -> Result<Command> {
    let id = change.node_id;
    let described = || -> Result<Described> {
        if change.context.is_empty() {
            return Ok(Described::default());
        }
        serde_json::from_slice(&change.context).context("the member's description")
    };
    Ok(match change.kind {
        CHANGE_REMOVE => Command::MemberRemove { id },
        CHANGE_UPDATE => Command::MemberUpdate { id, peer_urls: described()?.member(id).peer_urls },
        CHANGE_ADD | CHANGE_ADD_LEARNER => {
            let described = described()?;
            if described.is_promote {
                return Ok(Command::MemberPromote { id });
            }
            let mut member = described.member(id);
            member.is_learner = change.kind == CHANGE_ADD_LEARNER;
            Command::MemberAdd { member, learners_max: u64::MAX }
        }
        kind => bail!("a change of the members is of unknown kind {kind}"),
    })
}

#[cfg(test)]
mod tests {
    use drystone_kv::command::Put;

    use super::*;

    fn entry(kind: i32, message: &impl Message) -> LogEntry {
        LogEntry { kind, term: 1, index: 9, data: message.encode_to_vec().into() }
    }

    fn command(entry: &LogEntry) -> Result<Option<Command>> {
        Ok(logged(entry)?.command)
    }

    // The requests of the old interface stand bare in the log, and must not be taken for others.
    #[test]
    fn each_kind_of_entry_becomes_its_command() {
        let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        let request = RaftRequest { put: Some(put), ..Default::default() };
        let of = |kind, message: &RaftRequest| command(&entry(kind, message));
        assert_eq!(of(0, &request).unwrap(), Some(Command::Put(Put::new("k", "v"))));
        assert_eq!(of(0, &RaftRequest::default()).unwrap(), None);
        let old = OldRequest {
            method: "PUT".into(),
            path: "/0/members/8e9e05c52164694d/attributes".into(),
            value: r#"{"name":"n","clientURLs":["u"]}"#.into(),
        };
        let id = 0x8e9e_05c5_2164_694d;
        let (name, client_urls) = ("n".to_owned(), vec!["u".to_owned()]);
        let published = Command::MemberPublish { id, name, client_urls };
        assert_eq!(command(&entry(0, &old)).unwrap(), Some(published));
        let change = ConfChange {
            kind: CHANGE_ADD,
            node_id: 7,
            context: r#"{"id":7,"peerURLs":["p"],"isPromote":true}"#.into(),
        };
        let promoted = Command::MemberPromote { id: 7 };
        assert_eq!(command(&entry(1, &change)).unwrap(), Some(promoted));
        assert!(command(&entry(2, &change)).is_err(), "joint changes are none of etcd's");
    }

    // What etcd refused when it applied it must be refused here, or a user who lost a role writes
    // all the same; and what members do without a name must not be refused for that.
    #[test]
    fn requests_are_of_those_who_made_them() {
        let put = pb::PutRequest { key: "k".into(), ..Default::default() };
        let header = RequestHeader { username: "alice".into(), auth_revision: 7, id: 1 };
        let by = |header, put: Option<pb::PutRequest>, alarm| {
            let request = RaftRequest { header, put, alarm, ..Default::default() };
            logged(&entry(0, &request)).unwrap().caller
        };
        let alice = Caller::User { name: "alice".into(), revision: 7 };
        assert_eq!(by(Some(header), Some(put.clone()), None), alice);
        assert_eq!(by(Some(RequestHeader::default()), Some(put.clone()), None), Caller::Nobody);
        assert_eq!(by(None, Some(put), None), Caller::Nobody);
        let raise = pb::AlarmRequest { action: 1, member_id: 7, alarm: 1 };
        assert_eq!(by(None, None, Some(raise)), Caller::System);
    }
}
