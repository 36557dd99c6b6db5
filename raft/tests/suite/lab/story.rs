//! Events as people tell them: one a line, in a fixed order.

use drystone_raft::{Body, Effect, Message, NodeId, Payload, Raft, Role, Word};

use super::watch::place;

pub(crate) fn role(raft: &Raft) -> &'static str {
    match raft.role() {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

/// The name of a kind of message, as scripts select it.
pub(crate) fn kind(body: &Body) -> &'static str {
    match body {
        Body::PreVote { .. } => "PreVote",
        Body::Vote { .. } => "Vote",
        Body::Ballot { pre: true, .. } => "PreBallot",
        Body::Ballot { .. } => "Ballot",
        Body::Append { .. } => "Append",
        Body::Accepted { .. } => "Accepted",
        Body::Rejected { .. } => "Rejected",
        Body::Heartbeat { .. } => "Heartbeat",
        Body::Alive { .. } => "Alive",
        Body::ReadRequest { .. } => "ReadRequest",
        Body::ReadReply { .. } => "ReadReply",
        Body::Offer { .. } => "Offer",
        Body::Delegate { .. } => "Delegate",
        Body::TimeoutNow { .. } => "TimeoutNow",
        Body::Mend { .. } => "Mend",
        Body::Mended { .. } => "Mended",
        Body::Borrow { .. } => "Borrow",
        Body::Lent { .. } => "Lent",
        Body::Outdated => "Outdated",
    }
}

fn detail(body: &Body) -> String {
    match body {
        Body::PreVote { last } | Body::TimeoutNow { last } => format!(", last {}", place(*last)),
        Body::Vote { last, forced } => {
            format!(", last {}{}", place(*last), if *forced { ", forced" } else { "" })
        }
        Body::Ballot { asked, word, .. } => {
            let word = match word {
                Word::Granted => "yes",
                Word::Refused => "no",
                Word::Stale => "no, the log is old",
                Word::Unsure => "cannot say",
            };
            format!(", for term {asked}: {word}")
        }
        Body::Append { prev, commit, entries, .. } => {
            let what = match (entries.first(), entries.last()) {
                (Some(first), Some(last)) if first.index == last.index => first.index.to_string(),
                (Some(first), Some(last)) => format!("{}..{}", first.index, last.index),
                _ => "nothing".to_owned(),
            };
            format!(", {what} after {}, commit {commit}", place(*prev))
        }
        Body::Accepted { matched, .. } => format!(", up to {matched}"),
        Body::Rejected { prev, hint, .. } => format!(", not {prev}, perhaps {}", place(*hint)),
        Body::Heartbeat { commit, round, quiesce } => {
            let quiesce = if *quiesce { ", be silent" } else { "" };
            format!(" {round}, commit {commit}{quiesce}")
        }
        Body::Alive { round, seen, .. } => format!(" {round}, seen {seen}"),
        Body::ReadRequest { id, .. } => format!(" {id}"),
        Body::ReadReply { id, index: Some(index) } => format!(" {id}, at {index}"),
        Body::ReadReply { id, index: None } => format!(" {id}, cannot know"),
        Body::Offer { meta } => format!(", {}", place(meta.last)),
        Body::Delegate { to } => format!(", for n{to}"),
        Body::Mend { after, anchor } => format!(", after {after} before {}", place(*anchor)),
        Body::Mended { anchor, entries } => {
            format!(", {} before {}", entries.len(), place(*anchor))
        }
        Body::Borrow { prev } => format!(", after {}", place(*prev)),
        Body::Lent { prev, entries } => format!(", {} after {}", entries.len(), place(*prev)),
        Body::Outdated => String::new(),
    }
}

pub(crate) fn message(message: &Message) -> String {
    format!("{} to n{}{}", kind(&message.body), message.to, detail(&message.body))
}

/// What an effect looks like, and whether it is more than traffic.
pub(crate) fn effect(effect: &Effect) -> (bool, String) {
    match effect {
        Effect::Send(sent) => (false, message(sent)),
        Effect::Write(write) => {
            let mut parts = Vec::new();
            if let Some(hard) = &write.hard {
                let vote = hard.vote.map_or(String::new(), |id| format!(" vote n{id}"));
                parts.push(format!("term {}{vote}", hard.term));
            }
            if let Some(meta) = &write.snapshot {
                parts.push(format!("snapshot {}", place(meta.last)));
            }
            for entry in &write.mended {
                parts.push(format!("mended {}", place(entry.position())));
            }
            if !write.append.is_empty() {
                let last = write.append.end.prev();
                parts.push(format!("entries {}..{last}", write.append.start));
            }
            (false, format!("write {}: {}", write.id.0, parts.join(", ")))
        }
        Effect::Load { to, after, through, .. } => {
            (false, format!("load for n{to}, after {after} up to {through}"))
        }
        Effect::Commit { through } => (true, format!("commits {through}")),
        Effect::Answer { ticket, result: Ok(index) } => {
            (true, format!("ticket {} done at {index}", ticket.0))
        }
        Effect::Answer { ticket, result: Err(why) } => {
            (true, format!("ticket {} refused: {why}", ticket.0))
        }
        Effect::Leader { leader: Some(leader), .. } => (true, format!("its leader is n{leader}")),
        Effect::Leader { leader: None, .. } => (true, "it has no leader".to_owned()),
        Effect::Members(members) => (true, format!("members {members}")),
        Effect::SendSnapshot { to } => (true, format!("a snapshot for n{to}")),
        Effect::FetchSnapshot { from, meta } => {
            (true, format!("fetches snapshot {} from n{from}", place(meta.last)))
        }
        Effect::Compact { through } => (true, format!("compacts up to {through}")),
        Effect::Fault(fault) => (true, format!("fault: {fault}")),
    }
}

/// One line on a member.
pub(crate) fn portrait(id: NodeId, raft: &Raft) -> String {
    let terms = (raft.base().index.0 + 1..=raft.last().index.0).map(|index| {
        raft.term_at(drystone_raft::Index(index)).map_or("?".to_owned(), |term| term.to_string())
    });
    let (term, commit) = (raft.hard().term, raft.commit());
    let log: Vec<String> = terms.collect();
    let base = raft.base().index;
    let from = if base.0 > 0 { format!("after {base}: ") } else { String::new() };
    format!("n{id} term {term} {}: commit {commit}, log {from}{}\n", role(raft), log.join(","))
}

/// What an entry says, if it is a command.
pub(crate) fn text(payload: &Payload) -> Option<String> {
    match payload {
        Payload::Data(data) => Some(String::from_utf8_lossy(data).into_owned()),
        _ => None,
    }
}
