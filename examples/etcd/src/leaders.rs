//! Who leads, as the log and the numbers tell it.
//!
//! In the words of etcd's log, for which operators look: `became candidate at term 3`,
//! `elected leader 8e9e05c52164694d at term 3`, `lost leader`, `changed leader from … to …`. What
//! lasts for less than a moment may be left out: it is the latest standing that is told.

use drystone_raft::Role;
use drystone_raft::runtime::Rank;

use crate::identity::MemberId;
use crate::member::Shared;

/// Counts the leaders that come, and writes down what changes.
pub(crate) async fn follow(member: Shared) {
    let (mut watch, mut before) = (member.kv.watch_rank(), None);
    loop {
        let now = *watch.borrow_and_update();
        let came = now.leader.is_some()
            && before
                .is_none_or(|before: Rank| (before.term, before.leader) != (now.term, now.leader));
        member.metrics.leader_changes.add(u64::from(came));
        for line in changes(member.identity.member, before, now) {
            tracing::info!("{line}");
        }
        before = Some(now);
        if watch.changed().await.is_err() {
            return;
        }
    }
}

/// What has changed, in etcd's words.
fn changes(me: MemberId, before: Option<Rank>, now: Rank) -> Vec<String> {
    let (term, mut lines) = (now.term.0, Vec::new());
    if before.is_none_or(|before| (before.role, before.term) != (now.role, now.term)) {
        let role = match now.role {
            Role::Leader => Some("leader"),
            Role::Candidate => Some("candidate"),
            Role::Follower => Some("follower"),
            _ => None,
        };
        lines.extend(role.map(|role| format!("{me} became {role} at term {term}")));
    }
    let (old, new) =
        (before.and_then(|before| before.leader).map(MemberId), now.leader.map(MemberId));
    let is_new_term = before.is_none_or(|before| before.term != now.term);
    match (old, new) {
        (Some(old), None) => {
            lines.push(format!("raft.node: {me} lost leader {old} at term {term}"));
        }
        (Some(old), Some(new)) if old.0 != new.0 => {
            let change = format!("changed leader from {old} to {new} at term {term}");
            lines.push(format!("raft.node: {me} {change}"));
        }
        (old, Some(new)) if old.is_none() || is_new_term => {
            lines.push(format!("raft.node: {me} elected leader {new} at term {term}"));
        }
        _ => {}
    }
    lines
}
