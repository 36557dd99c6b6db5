//! Telling what was found: in the log, and as an alarm.

use std::collections::{BTreeMap, BTreeSet};

use drystone_kv::command::{AlarmChange, AlarmKind, Command};
use drystone_raft::NodeId;

use super::Comparer;
use super::verdict::Verdict;
use crate::error_text;
use crate::identity::MemberId;
use crate::member::Member;
use crate::store::Error;

/// The member of an alarm that is about nobody in particular, and so about all.
const NOBODY: NodeId = 0;

impl Comparer {
    /// Tells that members differ, and raises the alarm for those who are wrong.
    pub(super) async fn report(
        &self,
        place: &str,
        said: &BTreeMap<NodeId, u32>,
        verdict: &Verdict,
    ) {
        let hashes: Vec<String> =
            said.iter().map(|(id, hash)| format!("{}={hash:08x}", MemberId(*id))).collect();
        let hashes = hashes.join(" ");
        match verdict {
            Verdict::Agree => {}
            Verdict::Odd(odd) => {
                for id in odd.iter().filter(|id| !self.stands(**id)) {
                    let member = MemberId(*id);
                    tracing::error!(
                        %member, place, hashes, "found data inconsistency: a member differs from \
                         the majority; remove it and add it again"
                    );
                    self.raise(*id).await;
                }
            }
            Verdict::Undecided => {
                tracing::error!(
                    place,
                    hashes,
                    "found data inconsistency: members differ, and no majority \
                     agrees"
                );
                if self.member.config.comparison.is_strict() && !self.stands(NOBODY) {
                    self.raise(NOBODY).await;
                }
            }
        }
    }

    /// This member cannot read what is compared.
    pub(super) fn report_unreadable(&self, error: &Error) {
        let error = error_text::chain(error);
        tracing::error!(error, "cannot read what is to be compared with other members");
    }

    async fn raise(&self, id: NodeId) {
        // A member that did not know these questions would do otherwise under the alarm.
        if !self.others().iter().all(|other| self.known.contains(other)) {
            tracing::warn!("no alarm is raised before every member has answered such a question");
            return;
        }
        raise(&self.member, id).await;
    }
}

/// Raises the alarm for a member.
pub(super) async fn raise(member: &Member, id: NodeId) {
    let change = AlarmChange { raise: true, member: id, kind: AlarmKind::Corrupt };
    if let Err(error) = member.kv.propose(Command::Alarm(change)).await {
        // The next pass comes by here again.
        tracing::error!(error = error_text::chain(&error), "could not raise the alarm CORRUPT");
    }
}

/// Whether the others can go on without this member, and without those who are wrong already.
pub(super) fn can_do_without(member: &Member) -> bool {
    let alarms = member.kv.status().alarms;
    let odd = alarms.iter().filter(|alarm| alarm.kind == AlarmKind::Corrupt);
    let mut odd: BTreeSet<NodeId> = odd.map(|alarm| alarm.member).collect();
    odd.insert(member.identity.member.0);
    member.kv.cluster().stands_without(&odd)
}
