//! Elections: who stands, when, and who votes for whom.
//!
//! Raft draws election timeouts at random and lets collisions happen. Here the followers of a dead
//! leader take turns: all know the members and the term, so all can work out one order, another
//! each term, and lose patience in it (`patience.rs`). The first is rarely met by a second.
//!
//! A member that lost patience first asks whether it could win (pre-vote, thesis §9.6), so that one
//! with a bad link does not push the term up for all. A voter says yes only when it has no leader
//! itself and the candidate's log is not older than its own (Raft §5.4.1).
//!
//! One case cannot be won by these rules: a candidate that alone reaches a quorum, and whose log is
//! old. Those with newer logs cannot reach a quorum, and those who can be reached will not vote.
//! Voters therefore say *why* they refuse, and a candidate that has a quorum of "your log is old"
//! asks for what it lacks: see `borrow.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::borrow::Borrowing;
use crate::config::Lease;
use crate::effect::{Effect, Refused};
use crate::entry::Payload;
use crate::message::{Body, Word};
use crate::quorum::Verdict;
use crate::raft::{Raft, Standing};
use crate::reign::Reign;
use crate::types::{NodeId, Position, Term};
use crate::writes::Promise;

/// An election that this node stands in.
#[derive(Debug)]
pub(crate) struct Candidacy {
    /// Only asking.
    pub(crate) pre: bool,
    /// A leader asked for it.
    pub(crate) forced: bool,
    /// What was said, the latest of each.
    pub(crate) words: Vec<(NodeId, Word, Position)>,
    pub(crate) borrowing: Option<Borrowing>,
}

impl Candidacy {
    fn new(pre: bool, forced: bool) -> Box<Candidacy> {
        Box::new(Candidacy { pre, forced, words: Vec::new(), borrowing: None })
    }

    fn word(&self, id: NodeId) -> Option<Word> {
        self.words.iter().find(|(from, ..)| *from == id).map(|(_, word, _)| *word)
    }

    pub(crate) fn hear(&mut self, from: NodeId, word: Word, last: Position) {
        self.words.retain(|(other, ..)| *other != from);
        self.words.push((from, word, last));
    }
}

impl Raft {
    /// No word of a leader for too long.
    pub(crate) fn lose_patience(&mut self, out: &mut Vec<Effect>) {
        self.attempts = self.attempts.saturating_add(1);
        self.quiet = false;
        if !self.may_stand() {
            self.set_patience(self.config.election);
        } else if self.config.pre_vote {
            self.ask_around(out);
        } else {
            self.stand(false, out);
        }
    }

    /// [`Input::Campaign`](crate::Input::Campaign).
    pub(crate) fn campaign_now(&mut self, out: &mut Vec<Effect>) {
        let leads = matches!(self.standing, Standing::Leader(_));
        if !leads && self.may_stand() {
            self.stand(false, out);
        }
    }

    /// Whether it may lead at all: a voter with a whole log.
    pub(crate) fn may_stand(&self) -> bool {
        let sound = self.damage.as_ref().is_none_or(|damage| damage.is_nothing());
        let known = !self.hard.lost_vote && self.hard.lost_end.is_none();
        sound && known && self.history.can_lead(self.id, self.commit)
    }

    /// Asks whether an election could be won. Nothing is decided by it.
    fn ask_around(&mut self, out: &mut Vec<Effect>) {
        self.drop_asks(Refused::NotLeader(None), out);
        self.standing = Standing::Candidate(Candidacy::new(true, false));
        self.leader = None;
        self.set_patience(self.config.election / 2);
        let last = self.log.last();
        for id in self.others() {
            self.send(id, Body::PreVote { last }, out);
        }
    }

    /// Stands for election in the next term. The vote for itself counts when it is durable, and no
    /// other is asked for before: after a crash the node must not ask again in this term with a
    /// log that has become shorter.
    pub(crate) fn stand(&mut self, forced: bool, out: &mut Vec<Effect>) {
        self.drop_asks(Refused::NotLeader(None), out);
        let (term, me) = (self.hard.term.next(), self.id);
        let hard = self.hard_mut();
        (hard.term, hard.vote) = (term, Some(me));
        self.forget_leader();
        self.leader = None;
        self.standing = Standing::Candidate(Candidacy::new(false, forced));
        self.take_turns();
        self.set_patience(self.config.election / 2);
        self.ask_for_votes();
    }

    /// Asks everyone who has not said yes.
    pub(crate) fn ask_for_votes(&mut self) {
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        candidacy.words.retain(|(_, word, _)| *word == Word::Granted);
        let forced = candidacy.forced;
        let granted: Vec<NodeId> = candidacy.words.iter().map(|(from, ..)| *from).collect();
        let last = self.log.last();
        for id in self.others() {
            if !granted.contains(&id) {
                self.promise(id, Promise::Vote { last, forced });
            }
        }
    }

    /// All voters but this one.
    fn others(&self) -> Vec<NodeId> {
        let mut others = self.history.active().electorate();
        others.retain(|id| *id != self.id);
        others
    }

    /// A member of term `term` asks whether it would get this node's vote in the next one.
    pub(crate) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last: Position,
        out: &mut Vec<Effect>,
    ) {
        let own = self.log.last();
        let word = if self.is_unsure(last) {
            Word::Unsure
        } else if self.is_loyal() {
            Word::Refused
        } else if own > last {
            Word::Stale
        } else {
            Word::Granted
        };
        let asks = matches!(&self.standing, Standing::Candidate(candidacy) if candidacy.pre);
        if asks && word == Word::Granted && last > own && !self.gave_way {
            // Two that stand at once split the votes. Once only: the newer log may belong to one
            // that reaches nobody else.
            self.gave_way = true;
            self.standing = Standing::Follower;
        }
        self.wake();
        let asked = term.next();
        self.send(from, Body::Ballot { pre: true, asked, word, last: own }, out);
    }

    /// A candidate of this term asks for a vote (Raft §5.2, §5.4.1).
    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        last: Position,
        forced: bool,
        out: &mut Vec<Effect>,
    ) {
        if !forced && self.is_loyal() {
            return;
        }
        let own = self.log.last();
        let free = match self.hard.vote {
            Some(id) => id == from,
            None => self.leader.is_none(),
        };
        let word = if self.is_unsure(last) {
            Word::Unsure
        } else if !free {
            Word::Refused
        } else if own > last {
            Word::Stale
        } else {
            Word::Granted
        };
        if word == Word::Granted {
            // Who has just given its vote away no longer asks whether it could win itself: it would
            // stand against the leader that it helps to elect.
            self.standing = Standing::Follower;
            if self.hard.vote.is_none() {
                self.hard_mut().vote = Some(from);
            }
            self.set_patience(self.config.election);
            self.promise(from, Promise::Granted { last: own });
        } else {
            let asked = self.hard.term;
            self.send(from, Body::Ballot { pre: false, asked, word, last: own }, out);
        }
    }

    /// What a voter said. Counted in [`Raft::tally`], after all of a step.
    pub(crate) fn on_ballot(
        &mut self,
        from: NodeId,
        pre: bool,
        asked: Term,
        word: Word,
        last: Position,
    ) {
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        // An answer from an earlier election says nothing about this one.
        let current = if candidacy.pre { self.hard.term.next() } else { self.hard.term };
        if pre == candidacy.pre && asked == current {
            candidacy.hear(from, word, last);
        }
    }

    /// Counts the votes.
    pub(crate) fn tally(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.standing, Standing::Candidate(_)) && !self.may_stand() {
            // What made it a voter was cut off its log.
            return self.become_follower(self.hard.term, None, out);
        }
        let Standing::Candidate(candidacy) = &self.standing else { return };
        let (pre, me) = (candidacy.pre, self.id);
        let voted = pre || self.is_hard_stored();
        let said = |id: NodeId, old_log_counts: bool| {
            if id == me {
                return voted.then_some(true);
            }
            candidacy
                .word(id)
                .map(|word| word == Word::Granted || (old_log_counts && word == Word::Stale))
        };
        let quorum = self.history.active().quorum();
        let votes = quorum.verdict(|id| said(id, false));
        let reach = quorum.verdict(|id| said(id, true));
        match (votes, pre) {
            (Verdict::Won, true) => self.stand(false, out),
            (Verdict::Won, false) => self.lead(out),
            (Verdict::Open, _) if reach != Verdict::Won => {}
            // A quorum would vote, were the log not so old. One with a newer log may stand and
            // win: it is given a turn before terms are spent on borrowing.
            _ if reach == Verdict::Won => {
                if !pre {
                    self.borrow(out);
                } else if self.attempts > 1 {
                    self.stand(false, out);
                }
            }
            _ => {}
        }
    }

    /// The vote is won.
    fn lead(&mut self, out: &mut Vec<Effect>) {
        self.drop_asks(Refused::NotLeader(Some(self.id)), out);
        self.leader = Some(self.id);
        self.election_at = None;
        self.attempts = 0;
        self.fetching = None;
        self.loans.clear();
        let last = self.log.last().index;
        let commit_from = match self.config.lease {
            Some(Lease::Log { .. }) => self.entries_at + self.config.loyalty(),
            _ => 0,
        };
        let reign = Reign::new(self.now, last.next(), commit_from, self.config.heartbeat);
        self.standing = Standing::Leader(Box::new(reign));
        self.meet_members();
        // Thesis §6.4: an entry of the new term, so that what is before it can be committed.
        self.append_own_noted(Payload::Blank, None);
    }

    /// The term is `term`, and `leader` leads in it if that is known.
    pub(crate) fn become_follower(
        &mut self,
        term: Term,
        leader: Option<NodeId>,
        out: &mut Vec<Effect>,
    ) {
        if term > self.hard.term {
            let hard = self.hard_mut();
            (hard.term, hard.vote) = (term, None);
            self.forget_leader();
        }
        self.resign(Refused::Unknown, out);
        self.drop_asks(Refused::NotLeader(leader), out);
        self.standing = Standing::Follower;
        (self.leader, self.quiet) = (leader, false);
        self.take_turns();
        let before = self.election_at;
        let hurry = leader.is_none() && !self.is_loyal();
        self.set_patience(if hurry { self.config.election / 2 } else { self.config.election });
        if let (Some(at), Some(before), None) = (self.election_at, before, leader) {
            // A candidate that cannot win must not make those wait for ever who can.
            self.election_at = Some(at.min(before));
        }
    }

    /// Takes word of a leader of this term. Says whether it may be one.
    pub(crate) fn follow(&mut self, from: NodeId, out: &mut Vec<Effect>) -> bool {
        if self.leader.is_some_and(|leader| leader != from) {
            let fault = crate::Fault::TwoLeaders { peer: from, term: self.hard.term };
            out.push(Effect::Fault(fault));
            return false;
        }
        if self.leader.is_none() {
            self.become_follower(self.hard.term, Some(from), out);
        }
        self.heard_at = Some(self.now);
        (self.attempts, self.gave_way, self.quiet) = (0, false, false);
        self.set_patience(self.config.election);
        true
    }
}
