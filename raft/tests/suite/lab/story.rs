//! What happened on a bench, as people tell it: one event a line.
//!
//! What a member says to several at once is one line, and so is what several members do alike:
//!
//! ```text
//!     n1 term 1 leader: Append to n2 n3, 2@1 after 1@1, commit 1
//!     n2 n3 term 1 follower: Accepted to n1, up to 2
//! ```

use drystone_raft::{Body, Effect, Entry, Index, Message, NodeId, Payload, Raft, Role, Word};

use super::Lab;

/// What kind of thing an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something is said.
    Message,
    /// Something is written by a disk that is slow.
    Write,
    /// Something is read.
    Load,
    /// Something is committed.
    Commit,
    /// Anything that is news to whoever drives the group.
    News,
}

/// One thing that a member did.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// When, by true time.
    pub(crate) at: u64,
    pub(crate) id: NodeId,
    pub(crate) kind: Kind,
    /// What it was by then.
    pub(crate) state: String,
    pub(crate) what: String,
    /// To whom it is said.
    pub(crate) whom: Option<NodeId>,
    pub(crate) rest: String,
}

/// Events that are told together.
#[derive(Debug)]
struct Line {
    at: u64,
    ids: Vec<NodeId>,
    state: String,
    what: String,
    whom: Vec<NodeId>,
    rest: String,
    times: u64,
}

impl Line {
    /// Whether an event is the same once more.
    fn says_again(&self, event: &Event) -> bool {
        self.ids == [event.id] && event.whom.is_none() && self.is_like(event)
    }

    /// Whether an event only adds somebody who is spoken to.
    fn says_the_same(&self, event: &Event) -> bool {
        self.ids == [event.id] && event.whom.is_some() && self.is_like(event)
    }

    /// Whether an event only adds somebody who does the same.
    fn does_the_same(&self, event: &Event) -> bool {
        self.times == 1
            && self.at == event.at
            && self.whom.iter().eq(event.whom.iter())
            && self.is_like(event)
    }

    fn is_like(&self, event: &Event) -> bool {
        self.state == event.state && self.what == event.what && self.rest == event.rest
    }
}

/// Lines for these events. What one member does keeps its order.
pub(crate) fn lines<'a>(events: impl IntoIterator<Item = &'a Event>) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for event in events {
        let own = lines.iter().rposition(|line| line.ids.contains(&event.id));
        if let Some(at) = own.filter(|at| lines[*at].says_the_same(event)) {
            lines[at].whom.extend(event.whom);
            continue;
        }
        if let Some(at) = own.filter(|at| lines[*at].says_again(event)) {
            lines[at].times += 1;
            continue;
        }
        let after = own.map_or(0, |at| at + 1);
        match lines[after..].iter_mut().rev().find(|line| line.does_the_same(event)) {
            Some(line) => line.ids.push(event.id),
            None => lines.push(Line {
                at: event.at,
                ids: vec![event.id],
                state: event.state.clone(),
                what: event.what.clone(),
                whom: event.whom.into_iter().collect(),
                rest: event.rest.clone(),
                times: 1,
            }),
        }
    }
    let told = lines.into_iter().map(|line| {
        let Line { mut ids, state, what, whom, rest, times, .. } = line;
        ids.sort_unstable();
        let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
        format!("{} {state}: {what}{}{rest}{times}\n", names(&ids), names_behind(&whom))
    });
    told.collect()
}

/// The same of what came of it all: who leads, what is done, what is wrong, what slow disks are to
/// write. Of commits that follow each other, the last.
pub(crate) fn outcomes(events: &[Event], commits: bool) -> String {
    let told = |event: &&Event| match event.kind {
        Kind::Message | Kind::Load => false,
        Kind::Commit => commits,
        Kind::Write | Kind::News => true,
    };
    let news: Vec<&Event> = events.iter().filter(told).collect();
    let overtaken = |at: usize| {
        let next = news[at + 1..].iter().find(|event| event.id == news[at].id);
        news[at].kind == Kind::Commit && next.is_some_and(|next| next.kind == Kind::Commit)
    };
    lines((0..news.len()).filter(|at| !overtaken(*at)).map(|at| news[at]))
}

fn names(ids: &[NodeId]) -> String {
    let names: Vec<String> = ids.iter().map(|id| format!("n{id}")).collect();
    names.join(" ")
}

fn names_behind(ids: &[NodeId]) -> String {
    ids.iter().map(|id| format!(" n{id}")).collect()
}

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
        Body::PreVote { last } | Body::TimeoutNow { last } => format!(", last {last}"),
        Body::Vote { last, forced } => {
            format!(", last {last}{}", if *forced { ", forced" } else { "" })
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
            format!(", {} after {prev}, commit {commit}", positions(entries))
        }
        Body::Accepted { matched, .. } => format!(", up to {matched}"),
        Body::Rejected { prev, hint, .. } => format!(", not {prev}, perhaps {hint}"),
        Body::Heartbeat { commit, round, quiesce } => {
            let quiesce = if *quiesce { ", be silent" } else { "" };
            format!(", round {round}, commit {commit}{quiesce}")
        }
        Body::Alive { round, seen, .. } => format!(", round {round}, seen {seen}"),
        Body::ReadRequest { .. } | Body::Outdated => String::new(),
        Body::ReadReply { index: Some(index), .. } => format!(", at {index}"),
        Body::ReadReply { index: None, .. } => ", cannot know".to_owned(),
        Body::Offer { meta } => format!(", snapshot of {}", meta.last),
        Body::Delegate { to } => format!(", for n{to}"),
        Body::Mend { after, anchor } => format!(", after {after} before {anchor}"),
        Body::Mended { anchor, entries } => format!(", {} before {anchor}", positions(entries)),
        Body::Borrow { prev } => format!(", after {prev}"),
        Body::Lent { prev, entries } => format!(", {} after {prev}", positions(entries)),
    }
}

fn positions(entries: &[Entry]) -> String {
    runs(entries.iter().map(|entry| (entry.index, entry.term.0.to_string())))
}

/// `1@1 2@1 3@2`, and of one term that goes on `1..9@1`.
fn runs(positions: impl IntoIterator<Item = (Index, String)>) -> String {
    let mut runs: Vec<(Index, Index, String)> = Vec::new();
    for (index, term) in positions {
        match runs.last_mut() {
            Some((_, to, of)) if *of == term => *to = index,
            _ => runs.push((index, index, term)),
        }
    }
    let told = runs.into_iter().flat_map(|(from, to, term)| match to.0 - from.0 {
        0..3 => (from.0..=to.0).map(|index| format!("{index}@{term}")).collect(),
        _ => vec![format!("{from}..{to}@{term}")],
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(" ") }
}

/// What an effect looks like: its kind, what is done, to whom, and the rest. Nothing of it is told
/// if nobody waits for the answer, or if it only says that there is no leader.
pub(crate) fn effect(
    lab: &Lab,
    id: NodeId,
    effect: &Effect,
) -> Option<(Kind, String, Option<NodeId>, String)> {
    let news = |text: String| Some((Kind::News, text, None, String::new()));
    let of = |kind, text: String| Some((kind, text, None, String::new()));
    match effect {
        Effect::Send(Message { to, body, .. }) => {
            Some((Kind::Message, format!("{} to", kind(body)), Some(*to), detail(body)))
        }
        Effect::Write(_) if lab.seats[&id].stores => None,
        Effect::Write(write) => {
            let mut parts = Vec::new();
            if let Some(hard) = &write.hard {
                let vote = hard.vote.map_or(String::new(), |id| format!(" vote n{id}"));
                parts.push(format!("term {}{vote}", hard.term));
            }
            parts.extend(write.snapshot.iter().map(|meta| format!("snapshot of {}", meta.last)));
            if !write.mended.is_empty() {
                parts.push(format!("{} in its old place", positions(&write.mended)));
            }
            if !write.append.is_empty() {
                let last = write.append.end.prev();
                parts.push(format!("entries {}..{last}", write.append.start));
            }
            let number = lab.seats[&id].written + 1;
            of(Kind::Write, format!("writes ({number}) {}", parts.join(", ")))
        }
        Effect::Load { to, after, through, .. } => {
            of(Kind::Load, format!("loads {}..{through} for n{to}", after.next()))
        }
        Effect::Commit { through } => of(Kind::Commit, format!("commits {through}")),
        Effect::Answer { ticket, result } => {
            let name = lab.names.get(ticket)?;
            news(match result {
                Ok(index) => format!("answers {name}: done at {index}"),
                Err(drystone_raft::Refused::Unknown) => {
                    format!("answers {name}: perhaps, {}", drystone_raft::Refused::Unknown)
                }
                Err(why) => format!("answers {name}: refused, {why}"),
            })
        }
        Effect::Leader { leader: Some(leader), .. } if *leader == id => news("leads".to_owned()),
        Effect::Leader { leader: Some(leader), .. } => news(format!("follows n{leader}")),
        Effect::Leader { leader: None, .. } if lab.seats[&id].led => {
            news("leads no more".to_owned())
        }
        Effect::Leader { leader: None, .. } => None,
        Effect::Members(members) => news(format!("members {members}")),
        Effect::SendSnapshot { to } => news(format!("has a snapshot for n{to} opened")),
        Effect::FetchSnapshot { from, meta } => {
            news(format!("fetches a snapshot of {} from n{from}", meta.last))
        }
        Effect::Compact { through } => news(format!("compacts up to {through}")),
        Effect::Fault(fault) => news(format!("FAULT: {fault}")),
    }
}

/// One line on a member: its log, what it voted, what is committed and applied.
pub(crate) fn portrait(lab: &Lab, id: NodeId) -> String {
    let seat = &lab.seats[&id];
    if !seat.up {
        return format!("n{id} is down\n");
    }
    let raft = &seat.raft;
    let base = raft.base().index;
    let damaged = |index: Index| seat.disk.damaged.contains(&index.0) && !raft.is_sound();
    let term = |index: Index| match raft.term_at(index) {
        Some(term) if !damaged(index) => term.to_string(),
        _ => "?".to_owned(),
    };
    let range = base.0 + 1..=raft.last().index.0;
    let log = runs(range.map(Index).map(|index| (index, term(index))));
    let base = if base.0 > 0 { format!("[{}] ", raft.base()) } else { String::new() };
    let vote = raft.hard().vote.map_or(String::new(), |vote| format!(", vote n{vote}"));
    let doubt = raft.hard().lost_end.map_or(String::new(), |end| format!(" and perhaps {end}"));
    let (now, role, commit) = (raft.hard().term, role(raft), raft.commit());
    let applied = lab.applied(id);
    let applied = match applied.len() {
        0 => "nothing".to_owned(),
        1..9 => applied.join(" "),
        count => format!("{count} commands"),
    };
    format!(
        "n{id} term {now} {role}{vote}: log {base}{log}{doubt}, commit {commit}, \
         applied {applied}\n"
    )
}

/// What an entry says, if it is a command.
pub(crate) fn text(payload: &Payload) -> Option<String> {
    match payload {
        Payload::Data(data) => Some(String::from_utf8_lossy(data).into_owned()),
        _ => None,
    }
}
