//! Reads that see every write acknowledged before them, without writing anything.
//!
//! A leader knows what is committed, and may be a leader no more without knowing it. So before it
//! answers it makes sure, after the read arrived, that a quorum still follows it (ReadIndex, thesis
//! §6.4):
//!
//! ```text
//!   reads come in ──►  early  ──► open ──────────► asked ──────────────► answered: index i
//!                      no entry   wait for the     round r is under      a quorum acknowledged r
//!                      of this    next round       way; i = commit
//!                      term yet                    at its beginning
//! ```
//!
//! All that gather while a round is under way share the next: one round of heartbeats for a
//! thousand reads. Rounds have numbers that are never used twice in a term, so an acknowledgement
//! that comes late speaks for old reads alone. A follower's reads go to the leader the same way,
//! one request for all that wait.
//!
//! A leader with a lease (thesis §6.4.1, or LeaseGuard) has been told for how long nobody else can
//! lead, and answers at once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Lease;
use crate::effect::{Effect, Refused};
use crate::entry::Payload;
use crate::input::ReadMode;
use crate::message::Body;
use crate::raft::{Raft, Standing};
use crate::types::{Index, NodeId, Ticket};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A caller of this node.
    Here(Ticket),
    /// The callers of a follower, under its name for them.
    There(NodeId, u64),
}

/// Reads that wait for the same round.
#[derive(Debug)]
struct Batch {
    round: u64,
    index: Index,
    readers: Vec<Reader>,
}

/// A leader's reads.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// Those that wait for a round that is not begun.
    open: Vec<Reader>,
    asked: VecDeque<Batch>,
    count: usize,
}

impl Readers {
    fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The tickets of this node's callers.
    pub(crate) fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        let asked = self.asked.into_iter().flat_map(|batch| batch.readers);
        asked.chain(self.open).filter_map(|reader| match reader {
            Reader::Here(ticket) => Some(ticket),
            Reader::There(..) => None,
        })
    }
}

/// A follower's reads, on their way to the leader and back.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// Under this name, asked then.
    asked: Option<(u64, Vec<Ticket>, bool)>,
    waiting: Vec<(Ticket, bool)>,
    again_at: u64,
    next_id: u64,
}

impl Asks {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.asked.as_ref().map(|_| self.again_at)
    }
}

impl Raft {
    /// [`Input::Read`](crate::Input::Read).
    pub(crate) fn read(&mut self, ticket: Ticket, mode: ReadMode, out: &mut Vec<Effect>) {
        let mut answer = |result| out.push(Effect::Answer { ticket, result });
        if self.history.active().is_witness(self.id) {
            // It has nothing to read from.
            return answer(Err(Refused::NotLeader(self.leader)));
        }
        match mode {
            ReadMode::Stale => answer(Ok(self.told)),
            ReadMode::Lease if self.config.lease.is_none() => answer(Err(Refused::NoClockBound)),
            ReadMode::Log => match self.may_append(crate::Entry::OVERHEAD_BYTES) {
                Ok(()) => self.append_own_noted(Payload::Blank, Some(ticket)),
                Err(why) => answer(Err(why)),
            },
            ReadMode::Lease | ReadMode::Index => {
                self.wake();
                let lease = mode == ReadMode::Lease;
                match (&self.standing, self.leader) {
                    (Standing::Leader(_), _) => self.admit(Reader::Here(ticket), lease, out),
                    (_, Some(leader)) => self.ask(ticket, lease, leader, out),
                    (_, None) => answer(Err(Refused::NotLeader(None))),
                }
            }
        }
    }

    /// A read at the leader.
    fn admit(&mut self, reader: Reader, lease: bool, out: &mut Vec<Effect>) {
        let now = self.now;
        if lease && self.holds_lease() {
            return self.answer_reader(reader, Some(self.commit), out);
        }
        let (limit, heartbeat) = (self.config.reads_max, self.config.heartbeat);
        let Standing::Leader(reign) = &mut self.standing else { return };
        if reign.readers.len() >= limit {
            return match reader {
                Reader::Here(ticket) => {
                    out.push(Effect::Answer { ticket, result: Err(Refused::Overloaded) });
                }
                Reader::There(..) => self.answer_reader(reader, None, out),
            };
        }
        reign.readers.open.push(reader);
        reign.readers.count += 1;
        reign.stir(now, heartbeat);
        let by_log = lease && matches!(self.config.lease, Some(Lease::Log { .. }));
        if by_log && reign.pending.is_empty() && reign.handover.is_none() {
            // A lease held by the log is renewed by an entry, and nobody writes one.
            self.append_own_noted(Payload::Blank, None);
        }
    }

    /// Whether nobody else can lead by now (thesis §6.4.1). Counted from when the round was
    /// *begun*: a follower is loyal from some later moment on.
    fn holds_lease(&self) -> bool {
        let Standing::Leader(reign) = &self.standing else { return false };
        let Some((lease, ticks)) = self.lease_ticks() else { return false };
        let since = match lease {
            Lease::Contact { .. } => Some(reign.contact_at()),
            Lease::Log { .. } => reign.leased_at,
        };
        let known = self.commit >= reign.first.max(reign.lease_from);
        known && reign.handover.is_none() && since.is_some_and(|at| self.now - at < ticks)
    }

    /// Begins rounds for reads that wait, and answers those whose round a quorum acknowledged.
    ///
    /// Who is a quorum is asked anew each time: members may have changed while a round was under
    /// way.
    pub(crate) fn serve_readers(&mut self, out: &mut Vec<Effect>) {
        let (now, me, commit) = (self.now, self.id, self.commit);
        let Standing::Leader(reign) = &mut self.standing else { return };
        if reign.readers.is_empty() || commit < reign.first {
            return;
        }
        let quorum = self.history.active().quorum();
        let confirmed = quorum.reached(|id| reign.acknowledged(id, me));
        let mut served = Vec::new();
        while reign.readers.asked.front().is_some_and(|batch| batch.round <= confirmed) {
            let batch = reign.readers.asked.pop_front().expect("the first was looked at");
            reign.readers.count -= batch.readers.len();
            served.push(batch);
        }
        let begin = reign.readers.asked.is_empty() && !reign.readers.open.is_empty();
        let alone = confirmed == u64::MAX;
        if begin {
            let readers = core::mem::take(&mut reign.readers.open);
            if alone {
                reign.readers.count -= readers.len();
                served.push(Batch { round: 0, index: commit, readers });
            } else {
                reign.begin_round(now);
                let round = reign.round;
                reign.readers.asked.push_back(Batch { round, index: commit, readers });
                self.greet(false, out);
            }
        }
        for batch in served {
            for reader in batch.readers {
                self.answer_reader(reader, Some(batch.index), out);
            }
        }
    }

    fn answer_reader(&self, reader: Reader, index: Option<Index>, out: &mut Vec<Effect>) {
        match reader {
            Reader::Here(ticket) => {
                let result = index.ok_or(Refused::Overloaded);
                out.push(Effect::Answer { ticket, result });
            }
            Reader::There(from, id) => self.send(from, Body::ReadReply { id, index }, out),
        }
    }

    /// A read at a follower.
    fn ask(&mut self, ticket: Ticket, lease: bool, leader: NodeId, out: &mut Vec<Effect>) {
        let limit = self.config.reads_max;
        // Names are not used again after a restart: old replies may still be on their way.
        let first_id = self.life.wrapping_shl(20);
        let asks = self
            .asks
            .get_or_insert_with(|| Box::new(Asks { next_id: first_id, ..Asks::default() }));
        if asks.waiting.len() >= limit {
            out.push(Effect::Answer { ticket, result: Err(Refused::Overloaded) });
            return;
        }
        asks.waiting.push((ticket, lease));
        self.ask_next(leader, out);
    }

    fn ask_next(&mut self, leader: NodeId, out: &mut Vec<Effect>) {
        let (now, again) = (self.now, 2 * self.config.heartbeat);
        let Some(asks) = &mut self.asks else { return };
        if asks.asked.is_some() || asks.waiting.is_empty() {
            return;
        }
        let lease = asks.waiting.iter().all(|(_, lease)| *lease);
        let tickets = asks.waiting.drain(..).map(|(ticket, _)| ticket).collect();
        let id = asks.next_id;
        asks.next_id = id.wrapping_add(1);
        asks.asked = Some((id, tickets, lease));
        asks.again_at = now + again;
        self.send(leader, Body::ReadRequest { id, lease }, out);
    }

    /// Asks again when nothing came back: a request or its reply may be lost.
    pub(crate) fn ask_again(&mut self, out: &mut Vec<Effect>) {
        let (now, again) = (self.now, 2 * self.config.heartbeat);
        let Some(asks) = &mut self.asks else { return };
        let (Some((id, _, lease)), Some(leader)) = (&asks.asked, self.leader) else { return };
        if asks.again_at <= now {
            asks.again_at = now + again;
            let body = Body::ReadRequest { id: *id, lease: *lease };
            self.send(leader, body, out);
        }
    }

    /// Reads of a follower's.
    pub(crate) fn on_read_request(
        &mut self,
        from: NodeId,
        id: u64,
        lease: bool,
        out: &mut Vec<Effect>,
    ) {
        let reader = Reader::There(from, id);
        match &self.standing {
            Standing::Leader(_) => self.admit(reader, lease, out),
            _ => self.answer_reader(reader, None, out),
        }
    }

    /// The index for reads of this follower.
    pub(crate) fn on_read_reply(
        &mut self,
        from: NodeId,
        id: u64,
        index: Option<Index>,
        out: &mut Vec<Effect>,
    ) {
        if self.leader != Some(from) {
            return;
        }
        let Some(asks) = &mut self.asks else { return };
        let Some((_, tickets, _)) = asks.asked.take_if(|(asked, ..)| *asked == id) else { return };
        for ticket in tickets {
            let result = index.ok_or(Refused::NotLeader(None));
            out.push(Effect::Answer { ticket, result });
        }
        self.ask_next(from, out);
        if self.asks.as_ref().is_some_and(|asks| asks.asked.is_none()) {
            self.rest_asks();
        }
    }

    fn rest_asks(&mut self) {
        let Some(asks) = &mut self.asks else { return };
        asks.waiting = Vec::new();
    }

    /// The leader that was asked leads no more.
    pub(crate) fn drop_asks(&mut self, why: Refused, out: &mut Vec<Effect>) {
        let Some(asks) = &mut self.asks else { return };
        let asked = asks.asked.take().map(|(_, tickets, _)| tickets).unwrap_or_default();
        let waiting = asks.waiting.drain(..).map(|(ticket, _)| ticket);
        for ticket in asked.into_iter().chain(waiting) {
            out.push(Effect::Answer { ticket, result: Err(why) });
        }
    }
}
