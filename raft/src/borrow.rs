//! Entries that one member lends to another without leading it.
//!
//! Two cases. A hole is mended with entries that an anchor vouches for (`damage.rs`). And a
//! candidate that alone reaches a quorum, but whose log is old, borrows what it lacks:
//!
//! ```text
//!        B(new) ─── A(old) ─── C          B reaches A alone: no quorum, ever.
//!                   │  │                  A reaches all, and gets no vote for its old log.
//!                   D  E                  A borrows from B, and asks again.
//! ```
//!
//! Raft's own rules leave this group without a leader for as long as the links stay so. Borrowing
//! is safe for the same reason that voting by logs is. Call a log newer if its last position is
//! greater. If an entry was acknowledged by a quorum in its leader's term t, every log whose last
//! entry is of a later term contains it (leader completeness, Raft §5.4.3), and so does every log
//! that ends in t behind it. A log that is replaced by a *newer* one therefore keeps all that may
//! be committed. Two conditions make that whole:
//!
//! * The borrower has left every term in which it acknowledged anything: it is a candidate, and has
//!   followed nobody in its term. No leader counts on what it had.
//! * Cutting and appending are one step, and make the log newer; otherwise nothing is done.
//!
//! And one for leases: a candidate that was told to take over borrows nothing. Its votes are cast
//! in spite of loyalty, and only the old end of its log keeps a late word from being taken up.

use alloc::vec::Vec;

use crate::effect::{Effect, Fault};
use crate::entry::{Entry, Payload};
use crate::message::{Body, Word};
use crate::raft::{Raft, Standing};
use crate::types::{Index, NodeId, Position};

/// What a candidate is borrowing.
#[derive(Debug)]
pub(crate) struct Borrowing {
    from: NodeId,
    /// Where the lender's log ends.
    target: Position,
    /// Where the logs are believed to meet.
    prev: Position,
}

/// Why entries are read from the log for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To fill a hole before this anchor.
    Mend(Position),
    /// To lend them to a candidate, behind this position.
    Lend(Position),
}

/// Entries that were asked of the driver for another member.
#[derive(Debug)]
pub(crate) struct Loan {
    to: NodeId,
    pub(crate) after: Index,
    purpose: Purpose,
}

/// Most loans that wait for the log to be read.
const LOANS_MAX: usize = 64;

impl Raft {
    /// A quorum would vote for this candidate, were its log newer: asks the newest of them.
    pub(crate) fn borrow(&mut self, out: &mut Vec<Effect>) {
        let own = self.log.last();
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        // Who was told to take over stands with the log it was told with. With another it could win
        // votes that a leader with a lease counts on: the word may be old (`transfer.rs`).
        if candidacy.forced || candidacy.borrowing.is_some() {
            return;
        }
        let stale = candidacy.words.iter().filter(|(_, word, _)| *word == Word::Stale);
        let Some((from, _, target)) = stale.max_by_key(|(_, _, last)| *last).copied() else {
            return;
        };
        let prev = self.log.meeting(own.index.min(target.index), target.term);
        candidacy.borrowing = Some(Borrowing { from, target, prev });
        self.send(from, Body::Borrow { prev }, out);
    }

    /// A candidate of this term asks for what follows `prev`.
    pub(crate) fn on_borrow(&mut self, from: NodeId, prev: Position, out: &mut Vec<Effect>) {
        if self.leader.is_some() || self.history.active().is_witness(self.id) {
            return;
        }
        let last = self.log.last().index;
        let sound = self.sound_between(prev.index, last) == last && !self.in_hole(prev.index);
        if self.log.has(prev) && sound {
            if prev.index < last {
                self.lend(from, Purpose::Lend(prev), prev.index, last, out);
            }
        } else {
            let prev = self.log.meeting(prev.index.prev(), prev.term);
            self.send(from, Body::Lent { prev, entries: Vec::new() }, out);
        }
    }

    /// Sends entries after `after` up to `through`, from memory or from the log.
    pub(crate) fn lend(
        &mut self,
        to: NodeId,
        purpose: Purpose,
        after: Index,
        through: Index,
        out: &mut Vec<Effect>,
    ) {
        let bytes_max = self.config.message_bytes_max;
        let found = self.log.batch(after.next()..through.next(), bytes_max);
        if let Some(entries) = found {
            if let Some(body) = loan(purpose, entries) {
                self.send(to, body, out);
            }
            return;
        }
        let known = self.loans.iter().any(|loan| loan.to == to && loan.after == after);
        if !known && self.can_load() && self.loans.len() < LOANS_MAX {
            self.loans.push(Loan { to, after, purpose });
            out.push(Effect::Load { to, after, through, bytes_max });
        }
    }

    /// Entries that were read for a loan. Says whether they were.
    pub(crate) fn lend_loaded(
        &mut self,
        to: NodeId,
        after: Index,
        entries: &[Entry],
        out: &mut Vec<Effect>,
    ) -> bool {
        let found = self.loans.iter().position(|loan| loan.to == to && loan.after == after);
        let Some(at) = found else { return false };
        let Loan { purpose, .. } = self.loans.swap_remove(at);
        // The log may have changed while it was read.
        let ours = entries.iter().all(|entry| self.log.has(entry.position()));
        let still = match purpose {
            Purpose::Mend(anchor) => self.log.has(anchor),
            Purpose::Lend(prev) => self.log.has(prev),
        };
        if ours
            && still
            && let Some(body) = loan(purpose, entries.to_vec())
        {
            self.send(to, body, out);
        }
        true
    }

    /// What was borrowed.
    pub(crate) fn on_lent(
        &mut self,
        from: NodeId,
        prev: Position,
        entries: Vec<Entry>,
        out: &mut Vec<Effect>,
    ) {
        let own = self.log.last();
        let Standing::Candidate(candidacy) = &mut self.standing else { return };
        let Some(borrowing) = &mut candidacy.borrowing else { return };
        if candidacy.pre || borrowing.from != from {
            return;
        }
        if entries.is_empty() {
            // The logs meet further back.
            let meeting = self.log.meeting(prev.index, prev.term);
            if meeting.index < borrowing.prev.index && meeting.index >= self.commit {
                borrowing.prev = meeting;
                self.send(from, Body::Borrow { prev: meeting }, out);
            }
            return;
        }
        let target = borrowing.target;
        let reached = entries.last().expect("there is one").position();
        if !self.log.has(prev) || reached <= own {
            return;
        }
        let differs = |entry: &&Entry| self.log.term_at(entry.index) != Some(entry.term);
        let Some(first) = entries.iter().find(differs).map(|entry| entry.index) else { return };
        if first <= self.commit {
            return self.stop(Fault::Diverged { peer: from, index: first }, out);
        }
        if first <= own.index {
            self.truncate(first.prev());
        }
        for entry in entries.into_iter().filter(|entry| entry.index >= first) {
            self.append(entry);
        }
        self.entries_at = self.now;
        self.set_patience(self.config.election / 2);
        if reached >= target {
            // What was borrowed is durable before the request leaves, as in any election.
            self.ask_for_votes();
        } else if let Standing::Candidate(candidacy) = &mut self.standing
            && let Some(borrowing) = &mut candidacy.borrowing
        {
            borrowing.prev = reached;
            self.send(from, Body::Borrow { prev: reached }, out);
        }
    }
}

/// Entries as they are lent. One that is a witness, or was one once, has nothing to lend from where
/// its commands are missing.
fn loan(purpose: Purpose, mut entries: Vec<Entry>) -> Option<Body> {
    let withheld = entries.iter().position(|entry| entry.payload == Payload::Withheld);
    entries.truncate(withheld.unwrap_or(entries.len()));
    let body = match purpose {
        _ if entries.is_empty() => return None,
        Purpose::Mend(anchor) => Body::Mended { anchor, entries },
        Purpose::Lend(prev) => Body::Lent { prev, entries },
    };
    Some(body)
}
