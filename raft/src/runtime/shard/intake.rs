//! What a shard takes in, and which group it is for.

use std::sync::Arc;

use drystone_wal::Lsn;
use tokio::sync::{oneshot, watch};

use crate::boot::SnapshotMeta;
use crate::input::Input;
use crate::message::Message;
use crate::raft::{Raft, Role};
use crate::runtime::applier::Job;
use crate::runtime::courier;
use crate::runtime::group::{Rank, Status, refuse};
use crate::runtime::machine::StateMachine;
use crate::runtime::seat::Seat;
use crate::runtime::shard::{Event, Request, Shard};
use crate::runtime::tickets::Waiting;
use crate::runtime::transport::Inbound;
use crate::store::GroupId;
use crate::types::{Index, NodeId};

impl<M: StateMachine> Shard<M> {
    pub(super) fn on_stored(&mut self, outcome: &drystone_wal::Result<Lsn>) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.flying -= flight.bytes;
        match outcome {
            Ok(_) => {
                self.cleanable.extend(flight.compacted);
                for (slot, id) in flight.writes {
                    self.give(slot, Input::Stored(id));
                }
                for (slot, entries) in flight.mended {
                    self.jobs.push(Job::Mended { slot, entries });
                }
            }
            Err(_) => self.fail(),
        }
    }

    /// The disk failed: for everyone.
    pub(super) fn fail(&mut self) {
        self.flights.clear();
        self.backlog.clear();
        self.flying = 0;
        for slot in 0..self.seats.len() {
            self.give(slot as u32, Input::StorageFailed);
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Input { slot, input } => {
                let damaged = matches!(input, Input::Damaged { .. });
                self.give(slot, input);
                if damaged {
                    self.shorten(slot);
                }
            }
            Event::MachineFailed { slot } => self.give(slot, Input::StorageFailed),
            Event::Crowding { group } => {
                if let Some(slot) = self.slots.get(&group).copied() {
                    self.shorten(slot);
                }
            }
            Event::NoSnapshot { slot, to } => {
                self.wanting.push((slot, to));
                self.jobs.push(Job::Snapshot { slot });
            }
            Event::Taken { slot, taken, must } => self.on_taken(slot, taken, must),
            Event::Saved { slot, through, must } => {
                self.jobs.push(Job::Saved { slot });
                self.on_saved(slot, through, must);
            }
            Event::Kept { slot, through } => self.shorten_behind(slot, through, Index(0)),
        }
    }

    /// Saves the state and shortens the log to nothing: it crowds the others' out, or entries of
    /// it are damaged that the state machine has the effect of, and that no peer may have.
    fn shorten(&mut self, slot: u32) {
        if !self.crowding.contains(&slot) {
            self.crowding.push(slot);
            self.jobs.push(Job::Save { slot });
        }
    }

    /// Saves the state and shortens the log by what nobody in touch needs; and lets go at once of
    /// what was cut off before, and stayed because it is little.
    fn be_frugal(&mut self, slot: u32, yes: bool) {
        self.frugal = yes;
        self.store.be_thrifty(yes);
        let Some(seat) = self.seats.get(slot as usize).filter(|_| yes) else { return };
        self.cleanable.push((seat.group, seat.raft.base().index));
        self.jobs.push(Job::Save { slot });
    }

    /// A snapshot was taken, or could not be.
    fn on_taken(&mut self, slot: u32, taken: Option<SnapshotMeta>, must: Index) {
        self.jobs.push(Job::Saved { slot });
        let wanting = std::mem::take(&mut self.wanting);
        let (mine, others) = wanting.into_iter().partition(|(of, _)| *of == slot);
        self.wanting = others;
        for (_, to) in mine {
            let open = taken.clone().map(|meta| Input::SnapshotOpen { to, meta });
            self.give(slot, open.unwrap_or(Input::SnapshotUnsound { to }));
        }
        if !M::KEEPS_ITSELF {
            self.on_saved(slot, taken.map(|meta| meta.last.index), must);
        }
    }

    /// What was applied through this entry survives without the log, or could not be saved.
    fn on_saved(&mut self, slot: u32, through: Option<Index>, heavy: Index) {
        let crowds = self.crowding.contains(&slot);
        self.crowding.retain(|of| *of != slot);
        let Some(saved) = through else { return };
        if crowds {
            self.give(slot, Input::Compact { through: saved, must: saved });
        } else if self.frugal {
            self.give(slot, Input::Compact { through: saved, must: heavy.min(saved) });
        } else {
            self.shorten_behind(slot, saved, heavy);
        }
    }

    /// What was applied through `saved` survives without the log: lets go of it, but for what is
    /// kept for those who are a little behind. Behind `heavy` the log takes no more than it may.
    fn shorten_behind(&mut self, slot: u32, saved: Index, heavy: Index) {
        let back = |kept: u64| Index(saved.0.saturating_sub(kept));
        let must = back(self.config.kept_entries_max).max(heavy.min(saved));
        let through = back(self.config.kept_entries).max(must);
        self.give(slot, Input::Compact { through, must });
    }

    /// Bytes of entries that come with it: a step takes only so many.
    pub(super) fn bytes_of(inbound: &Inbound) -> usize {
        let sum = |messages: &[Message]| messages.iter().map(Message::entry_bytes).sum();
        match inbound {
            Inbound::Messages { messages, .. } => sum(messages),
            Inbound::Many { mail, .. } => mail.iter().map(|(_, messages)| sum(messages)).sum(),
            Inbound::Fetch { .. } | Inbound::Down(_) => 0,
        }
    }

    pub(super) fn on_inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Messages { from, group, messages } => self.deliver(from, group, messages),
            Inbound::Many { from, mail } => {
                for (group, messages) in mail {
                    self.deliver(from, group, messages);
                }
            }
            Inbound::Fetch { group, position, offset, reply, .. } => {
                let leave = Arc::clone(&self.serving).try_acquire_owned();
                courier::serve(Arc::clone(&self.store), leave.ok(), group, position, offset, reply);
            }
            Inbound::Down(id) => {
                for slot in 0..self.seats.len() {
                    let raft = &self.seats[slot].raft;
                    if raft.leader() == Some(id) || raft.role() == Role::Leader {
                        self.give(slot as u32, Input::Unreachable(id));
                    }
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, from: NodeId, group: GroupId, messages: Vec<Message>) {
        let Some(slot) = self.slots.get(&group).copied() else { return };
        self.touch(slot);
        // Whom a message comes from is for the transport to say.
        let sound = messages.into_iter().filter(|message| message.from == from);
        self.seats[slot as usize].inputs.extend(sound.map(Input::Peer));
    }

    pub(super) fn on_request(&mut self, request: Request<M>) {
        if self.stopping.is_some() {
            return refuse(request);
        }
        match request {
            Request::Propose { slot, data, answer } => {
                let ticket = self.tickets.issue(Waiting::Reply(answer));
                self.give(slot, Input::Propose { ticket, data });
            }
            Request::Read { slot, mode, answer } => {
                let ticket = self.tickets.issue(Waiting::Applied(answer));
                self.give(slot, Input::Read { ticket, mode });
            }
            Request::Change { slot, change, answer } => {
                let ticket = self.tickets.issue(Waiting::Done(answer));
                self.give(slot, Input::Change { ticket, change });
            }
            Request::Transfer { slot, to, answer } => {
                let ticket = self.tickets.issue(Waiting::Done(answer));
                self.give(slot, Input::Transfer { ticket, to });
            }
            Request::Campaign { slot } => self.give(slot, Input::Campaign),
            Request::Status { slot, answer } => self.answer_status(slot, answer),
            Request::Frugal { slot, yes } => self.be_frugal(slot, yes),
            Request::Add { group, raft, machine, applied, answer } => {
                let added = self.add(group, *raft, machine, applied);
                // Whoever went away finds the group when it asks again.
                let _ = answer.send(added);
            }
            Request::Stop { answer } => self.begin_stop(answer),
        }
    }

    pub(super) fn add(
        &mut self,
        group: GroupId,
        raft: Raft,
        machine: M,
        applied: Index,
    ) -> (u32, watch::Receiver<Rank>) {
        let slot = self.seats.len() as u32;
        let told = Rank::of(&raft);
        let (rank, watching) = watch::channel(told);
        let seat = Seat {
            group,
            handed: raft.commit(),
            raft,
            inputs: Vec::new(),
            touched: false,
            armed: None,
            late_heartbeats: 0,
            rank,
            told,
        };
        self.note_peers(&seat.raft);
        self.seats.push(seat);
        self.slots.insert(group, slot);
        self.jobs.push(Job::Add { slot, group, machine, applied });
        self.arm(slot);
        (slot, watching)
    }

    pub(super) fn note_peers(&self, raft: &Raft) {
        let others = raft.members().participants().into_iter().filter(|id| *id != raft.id());
        self.peers.lock().extend(others);
    }

    pub(super) fn answer_status(&self, slot: u32, answer: oneshot::Sender<Status>) {
        let Some(seat) = self.seats.get(slot as usize) else { return };
        let raft = &seat.raft;
        let status = Status {
            role: raft.role(),
            leader: raft.leader(),
            hard: raft.hard(),
            commit: raft.commit(),
            last: raft.last(),
            base: raft.base(),
            members: Arc::new(raft.members().clone()),
            sound: raft.is_sound(),
            followers: raft.followers(),
            late_heartbeats: seat.late_heartbeats,
        };
        // Whoever went away does not want to know.
        let _ = answer.send(status);
    }
}
