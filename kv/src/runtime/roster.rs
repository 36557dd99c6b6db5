//! Making the voters of the group those of the table of members.
//!
//! Who is a member, with which name and addresses, is part of the replicated state: a command
//! changes it, and its outcome is the same everywhere. Who votes is for consensus to know. The
//! leader compares the two and takes the next step from one to the other, until they agree; a new
//! leader goes on where the last one was.
//!
//! ```text
//!   table            group          next step
//!   voter            ─              learner
//!   voter            learner        voter, once it has nearly all of the log
//!   learner          ─              learner
//!   ─                voter|learner  removed, but not the last voter
//! ```
//!
//! etcd lets a new voter count at once, though it has no data and may never be started: a group of
//! one stands still until it does. Here a voter is a learner until it has caught up. The table, and
//! so every answer to clients, calls it a voter all the time. Whoever was the only voter stays
//! until another has its vote, although the table may not know it any more: nobody else has the
//! data.

use drystone_raft::runtime::Group;
use drystone_raft::{Change, Configuration, Follower, Index, NodeId, Refused, Suffrage};

use crate::members::Cluster;
use crate::runtime::machine::Machine;

/// Entries that a learner may lack when it gets its vote: what comes in while it is asked for.
const LACKING_MAX: u64 = 1000;

/// The next step from the group to the table; `None` if they agree or it has to wait.
pub fn next_step(
    table: &Cluster,
    group: &Configuration,
    last: Index,
    followers: &[Follower],
) -> Option<Change> {
    if group.is_joint() {
        return None;
    }
    let voters = group.members().iter().filter(|member| member.suffrage == Suffrage::Voter).count();
    let mut leaving = group.members().iter().filter(|member| table.member(member.id).is_none());
    let gone = leaving.find(|member| member.suffrage != Suffrage::Voter || voters > 1);
    if let Some(member) = gone {
        return Some(Change::new().remove(member.id));
    }
    for member in &table.members {
        match group.member(member.id).map(|member| member.suffrage) {
            None => return Some(Change::new().learner(member.id)),
            Some(Suffrage::Learner)
                if !member.is_learner && has_caught_up(last, followers, member.id) =>
            {
                return Some(Change::new().voter(member.id));
            }
            Some(_) => {}
        }
    }
    None
}

/// Whether a learner has so much of the log that its vote costs nobody time.
fn has_caught_up(last: Index, followers: &[Follower], id: NodeId) -> bool {
    let near = Index(last.0.saturating_sub(LACKING_MAX));
    followers.iter().any(|f| f.id == id && f.in_touch && f.matched >= near && last.0 > 0)
}

/// Whether the group has come to hold what the table says of a member.
pub(crate) fn agrees(table: &Cluster, group: &Configuration, id: NodeId) -> bool {
    table.member(id).is_some() == group.member(id).is_some()
}

/// Takes steps until table and group agree, or a step has to wait. Says whether one has.
pub(crate) async fn reconcile(
    group: &Group<Machine>,
    table: impl Fn() -> std::sync::Arc<Cluster>,
) -> Result<bool, Refused> {
    loop {
        let status = group.status().await?;
        let table = table();
        if table.id.is_none() {
            return Ok(true);
        }
        let step = next_step(&table, &status.members, status.last.index, &status.followers);
        let Some(change) = step else {
            let waits = table.members.iter().any(|member| {
                let suffrage = status.members.member(member.id).map(|member| member.suffrage);
                !member.is_learner && suffrage != Some(Suffrage::Voter)
            });
            return Ok(waits || status.members.is_joint());
        };
        tracing::info!(?change, "the group's members are changed to those of the table");
        match group.change(change).await {
            Ok(_) => {}
            Err(Refused::ChangeUnderWay) => return Ok(true),
            Err(why) => return Err(why),
        }
    }
}
