//! Learners that become voters by themselves, where the operator has asked for it.
//!
//! **The problem.** A member that is added as a learner has to be promoted by somebody who looks
//! again and again whether it has caught up; until then it is one more machine and no safety.
//!
//! **The idea.** The leader, who knows how far everybody has come, looks. It promotes one at a
//! time, by the rule of MemberPromote (nine tenths of the log), and only where that costs nobody a
//! quorum: whoever votes and is in touch must be enough before, and with the new one after. The
//! learner itself must have started, be in touch, and have been so for two looks.
//!
//! ```text
//!   look ──► in sync, in touch, quorum healthy? ──► the same as before? ──► MemberPromote
//!     ▲                 │ no                              │ no                    │
//!     └──── PERIOD ─────┴─────────────────────────────────┴───────────────────────┘
//! ```

use std::time::Duration;

use drystone_kv::command::Command;
use drystone_kv::members::Cluster;
use drystone_kv::runtime::GroupProgress;
use drystone_raft::Role;

use crate::error_text;
use crate::identity::MemberId;
use crate::member::Shared;
use crate::shutdown::Shutdown;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// Promotes learners while this member leads, until it stops.
pub(crate) async fn promote(member: Shared, mut stop: Shutdown) {
    let mut before = None;
    loop {
        let ready = find(&member).await;
        if let Some(id) = ready.filter(|_| ready == before) {
            promote_one(&member, id).await;
        }
        before = ready;
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.fired() => return,
        }
    }
}

async fn find(member: &Shared) -> Option<u64> {
    let cluster = member.kv.cluster();
    let learns = cluster.members.iter().any(|other| other.is_learner);
    if !learns || member.kv.rank().role != Role::Leader {
        return None;
    }
    let progress = member.kv.progress().await.ok()?;
    // Somebody else may lead by now, and does this himself.
    (progress.leader == member.identity.member.0).then(|| ready(&cluster, &progress)).flatten()
}

async fn promote_one(member: &Shared, id: u64) {
    match member.kv.change_members(Command::MemberPromote { id }).await {
        Ok(_) => {
            member.metrics.promotions.add(1);
            tracing::info!(member_id = %MemberId(id), "promoted a learner that was in sync");
        }
        // It is tried again as long as it is there.
        Err(error) => {
            let error = error_text::chain(&error);
            tracing::debug!(error, member_id = %MemberId(id), "could not promote a learner");
        }
    }
}

/// The learner that may become a voter now.
fn ready(cluster: &Cluster, progress: &GroupProgress) -> Option<u64> {
    let voters = cluster.voters().count();
    let healthy = cluster.voters().filter(|voter| progress.is_in_touch(voter.id)).count();
    let quorum = |voters: usize| voters / 2 + 1;
    if healthy < quorum(voters) || healthy + 1 < quorum(voters + 1) {
        return None;
    }
    let is_ready = |id| progress.is_in_touch(id) && progress.is_in_sync(id);
    let mut learners = cluster.members.iter().filter(|member| member.is_learner);
    learners.find(|it| !it.name.is_empty() && is_ready(it.id)).map(|it| it.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drystone_kv::members::Member;
    use drystone_kv::runtime::MemberProgress;

    use super::*;

    fn member(id: u64, is_learner: bool) -> Member {
        let (name, urls) = (format!("m{id}"), Vec::new());
        Member { id, name, peer_urls: urls.clone(), client_urls: urls, is_learner }
    }

    /// Three voters, of whom 1 leads, and 4, who learns; the log ends at 1000.
    fn scene(others: [(u64, bool); 3]) -> (Cluster, GroupProgress) {
        let members = vec![member(1, false), member(2, false), member(3, false), member(4, true)];
        let cluster = Cluster { id: Some(7), members, removed: BTreeSet::new() };
        let others = [2, 3, 4].into_iter().zip(others);
        let others =
            others.map(|(id, (matched, in_touch))| MemberProgress { id, matched, in_touch });
        (cluster, GroupProgress { leader: 1, last: 1000, others: others.collect() })
    }

    #[track_caller]
    fn check(others: [(u64, bool); 3], expected: Option<u64>) {
        let (cluster, progress) = scene(others);
        assert_eq!(ready(&cluster, &progress), expected);
    }

    // The rule of MemberPromote, and nothing less: it may have come just far enough.
    #[test]
    fn one_that_has_caught_up_is_ready() {
        check([(1000, true), (1000, true), (900, true)], Some(4));
        check([(1000, true), (1000, true), (899, true)], None);
    }

    // One that is down is a vote that is missing from the moment it counts.
    #[test]
    fn one_that_is_not_in_touch_is_not() {
        check([(1000, true), (1000, true), (1000, false)], None);
        let (mut cluster, progress) = scene([(1000, true); 3]);
        cluster.members[3].name.clear();
        assert_eq!(ready(&cluster, &progress), None, "it has never started");
    }

    // With one voter down, four need three: the two that are left and the new one. With two down
    // there is no quorum to lose, and none to decide either.
    #[test]
    fn the_quorum_must_stay_healthy() {
        check([(1000, true), (1000, false), (1000, true)], Some(4));
        check([(1000, false), (1000, false), (1000, true)], None);
    }
}
