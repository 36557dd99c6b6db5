//! Questions and answers as messages, and back.

use drystone_kv::LeaseInfo;
use drystone_kv::members::{Cluster, Member};
use drystone_kv::runtime::{Ask, GroupProgress, MemberProgress, Told};
use drystone_kv::types::LeaseId;

use super::pb;
use super::pb::answer::Told as Answer;
use super::pb::question::Ask as Question;

/// How a lease that is not there is kept alive.
const NO_LEASE: i64 = -1;

pub(super) fn question(id: u64, ask: Ask) -> pb::Question {
    let ask = match ask {
        Ask::Propose(command) => Question::Propose(command),
        Ask::KeepAlive(lease) => Question::KeepAlive(lease.0),
        Ask::Lease(lease, keys) => Question::Lease(pb::LeaseQuestion { id: lease.0, keys }),
        Ask::Leases => Question::Leases(pb::Nothing {}),
        Ask::Progress => Question::Progress(pb::Nothing {}),
    };
    pb::Question { id, ask: Some(ask) }
}

/// `None` for a question that this build does not know.
pub(super) fn ask(question: pb::Question) -> Option<Ask> {
    Some(match question.ask? {
        Question::Propose(command) => Ask::Propose(command),
        Question::KeepAlive(lease) => Ask::KeepAlive(LeaseId(lease)),
        Question::Lease(lease) => Ask::Lease(LeaseId(lease.id), lease.keys),
        Question::Leases(_) => Ask::Leases,
        Question::Progress(_) => Ask::Progress,
    })
}

pub(super) fn answer(id: u64, told: Told) -> pb::Answer {
    let told = match told {
        Told::Proposed => Answer::Proposed(pb::Nothing {}),
        Told::KeptAlive(ttl) => Answer::KeptAlive(ttl.unwrap_or(NO_LEASE)),
        Told::Lease(info) => Answer::Lease(lease(info)),
        Told::Leases(ids) => {
            Answer::Leases(pb::LeasesAnswer { ids: ids.into_iter().map(|id| id.0).collect() })
        }
        Told::Progress(GroupProgress { leader, last, others }) => {
            let others = others.into_iter().map(|other| {
                let MemberProgress { id, matched, in_touch } = other;
                pb::MemberProgress { id, matched, in_touch }
            });
            Answer::Progress(pb::ProgressAnswer { leader, last, others: others.collect() })
        }
        Told::NotLeader => Answer::NotLeader(pb::Nothing {}),
        Told::Busy => Answer::Busy(pb::Nothing {}),
        Told::Unknown => Answer::Unknown(pb::Nothing {}),
    };
    pb::Answer { id, told: Some(told) }
}

/// `None` for an answer that this build does not know.
pub(super) fn told(answer: pb::Answer) -> Option<Told> {
    Some(match answer.told? {
        Answer::Proposed(_) => Told::Proposed,
        Answer::KeptAlive(ttl) => Told::KeptAlive(Some(ttl).filter(|ttl| *ttl != NO_LEASE)),
        Answer::Lease(lease) => Told::Lease(lease.found.then(|| LeaseInfo {
            id: LeaseId(lease.id),
            granted: lease.granted,
            remaining: lease.remaining,
            keys: lease.keys,
        })),
        Answer::Leases(leases) => Told::Leases(leases.ids.into_iter().map(LeaseId).collect()),
        Answer::Progress(pb::ProgressAnswer { leader, last, others }) => {
            let others = others.into_iter().map(|other| {
                let pb::MemberProgress { id, matched, in_touch } = other;
                MemberProgress { id, matched, in_touch }
            });
            Told::Progress(GroupProgress { leader, last, others: others.collect() })
        }
        Answer::NotLeader(_) => Told::NotLeader,
        Answer::Busy(_) => Told::Busy,
        Answer::Unknown(_) => Told::Unknown,
    })
}

fn lease(info: Option<LeaseInfo>) -> pb::LeaseAnswer {
    info.map_or_else(pb::LeaseAnswer::default, |info| pb::LeaseAnswer {
        found: true,
        id: info.id.0,
        granted: info.granted,
        remaining: info.remaining,
        keys: info.keys,
    })
}

pub(super) fn members(cluster: &Cluster, as_of: u64, confirmed: bool) -> pb::MembersResponse {
    let member = |member: &Member| pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner,
    };
    pb::MembersResponse {
        cluster: cluster.id.unwrap_or(0),
        members: cluster.members.iter().map(member).collect(),
        removed: cluster.removed.iter().copied().collect(),
        as_of,
        confirmed,
    }
}

pub(super) fn cluster(response: pb::MembersResponse) -> Cluster {
    let member = |member: pb::Member| Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        is_learner: member.is_learner,
    };
    Cluster {
        id: Some(response.cluster),
        members: response.members.into_iter().map(member).collect(),
        removed: response.removed.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A question that arrives as another is answered wrongly, and nobody notices.
    #[test]
    fn words_come_back_as_they_were() {
        let asks = [
            Ask::Propose("command".into()),
            Ask::KeepAlive(LeaseId(-7)),
            Ask::Lease(LeaseId(8), true),
            Ask::Leases,
            Ask::Progress,
        ];
        for (id, asked) in asks.into_iter().enumerate() {
            assert_eq!(ask(question(id as u64, asked.clone())), Some(asked));
        }
        let info = LeaseInfo { id: LeaseId(1), granted: 5, remaining: -2, keys: vec!["k".into()] };
        let other = MemberProgress { id: 2, matched: 3, in_touch: true };
        let tolds = [
            Told::Proposed,
            Told::KeptAlive(Some(0)),
            Told::KeptAlive(None),
            Told::Lease(Some(info)),
            Told::Lease(None),
            Told::Leases(vec![LeaseId(1), LeaseId(-1)]),
            Told::Progress(GroupProgress { leader: 1, last: 9, others: vec![other] }),
            Told::NotLeader,
            Told::Busy,
            Told::Unknown,
        ];
        for (id, said) in tolds.into_iter().enumerate() {
            assert_eq!(told(answer(id as u64, said.clone())), Some(said));
        }
    }
}
