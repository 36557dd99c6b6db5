//! One round: every group that was touched takes a step; what comes of all is handed on together.

use std::sync::Arc;

use crate::effect::{Effect, Fault, Refused};
use crate::runtime::applier::Job;
use crate::runtime::courier;
use crate::runtime::machine::StateMachine;
use crate::runtime::shard::backlog::Page;
use crate::runtime::shard::{Event, Flight, INPUTS_KEPT, ROOMS_KEPT, Shard};
use crate::runtime::tickets::Waiting;
use crate::store::{Batch, GroupId};
use crate::types::{Index, Ticket};

impl<M: StateMachine> Shard<M> {
    /// Lets every group that was touched take one step, and does what comes of it.
    pub(super) fn round(&mut self) {
        let now = self.now();
        let store = Arc::clone(&self.store);
        let mut page = Page::of(&store);
        self.write_backlog(&mut page);
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.iter().copied() {
            let seat = &mut self.seats[slot as usize];
            seat.touched = false;
            let mut effects = std::mem::take(&mut self.effects);
            seat.raft.step_all(now, &mut seat.inputs, &mut effects);
            if seat.inputs.capacity() > INPUTS_KEPT {
                let room = std::mem::take(&mut seat.inputs);
                if self.rooms.len() < ROOMS_KEPT {
                    self.rooms.push(room);
                }
            }
            for effect in effects.drain(..) {
                match effect {
                    Effect::Write(write) => self.write(slot, write, &mut page),
                    Effect::Compact { through } => self.shorten_log(slot, through, &mut page),
                    other => self.perform(slot, other),
                }
            }
            self.effects = effects;
            self.seats[slot as usize].tell();
            self.arm(slot);
        }
        self.hand_on(page);
        touched.clear();
        if self.touched.is_empty() {
            self.touched = touched;
        }
        for (to, mail) in self.mail.drain() {
            if let [(group, _)] = mail[..] {
                let messages = mail.into_iter().next().expect("there is one").1;
                self.transport.send(to, group, messages);
            } else {
                self.transport.send_many(to, mail);
            }
        }
        self.clean();
    }

    /// Hands a page to the log.
    pub(super) fn hand_on(&mut self, page: Page<'_>) {
        let bytes = page.bytes();
        let Page { batch, writes, .. } = page;
        match batch.map_or(Ok(None), Batch::commit) {
            Ok(Some(commit)) => {
                self.flying += bytes;
                let mended = std::mem::take(&mut self.mended);
                let compacted = std::mem::take(&mut self.compacted);
                self.flights.push_back(Flight { commit, bytes, writes, mended, compacted });
            }
            Ok(None) => {}
            Err(_) => self.fail(),
        }
    }

    pub(super) fn perform(&mut self, slot: u32, effect: Effect) {
        let seat = &mut self.seats[slot as usize];
        let group = seat.group;
        match effect {
            Effect::Send(message) => {
                let mail = self.mail.entry(message.to).or_default();
                match mail.last_mut() {
                    Some((last, messages)) if *last == group => messages.push(message),
                    _ => mail.push((group, vec![message])),
                }
            }
            Effect::Commit { through } => {
                let range = seat.handed.next()..through.next();
                seat.handed = through;
                let pieces = seat.raft.pieces(&range).unwrap_or_default();
                let count = pieces.iter().map(|piece| piece.entries().len()).sum::<usize>();
                let replies = Vec::with_capacity(count.min(self.tickets.len()));
                self.jobs.push(Job::Apply { slot, pieces, through, replies });
            }
            Effect::Answer { ticket, result } => self.answer(slot, ticket, result),
            Effect::Members(_) => self.note_peers(&self.seats[slot as usize].raft),
            Effect::Load { to, after, through, bytes_max } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                let wanted = courier::Wanted { to, after, through, bytes_max };
                courier::load(store, events, slot, group, wanted);
            }
            Effect::SendSnapshot { to } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                courier::open(store, events, slot, group, to, seat.raft.base().index);
            }
            Effect::FetchSnapshot { from, meta } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                let offered = courier::Offered { from, group, position: meta.last };
                courier::fetch(store, Arc::clone(&self.transport), events, slot, offered);
            }
            Effect::Fault(fault) => self.report(group, &fault),
            Effect::Leader { .. } => {}
            Effect::Write(_) | Effect::Compact { .. } => unreachable!("these are in the batch"),
        }
    }

    pub(super) fn report(&self, group: GroupId, fault: &Fault) {
        if let Some(watch) = &self.config.fault_watch {
            watch(group, fault);
        }
    }

    pub(super) fn answer(&mut self, slot: u32, ticket: Ticket, result: Result<Index, Refused>) {
        // The core may hand over by itself, under a ticket that nobody took.
        let Some(waiting) = self.tickets.take(ticket) else { return };
        let index = match result {
            Ok(index) => index,
            Err(why) => return waiting.refuse(why),
        };
        match waiting {
            Waiting::Reply(answer) => {
                // The core says that it is committed before it answers, in the same step.
                match self.jobs.last_mut() {
                    Some(Job::Apply { slot: of, replies, through, .. })
                        if *of == slot && index <= *through =>
                    {
                        replies.push((index, answer));
                    }
                    _ => Waiting::<M::Reply>::Reply(answer).refuse(Refused::Unknown),
                }
            }
            Waiting::Applied(answer) => self.jobs.push(Job::Wait { slot, index, answer }),
            // Whoever went away does not want to know.
            Waiting::Done(answer) => drop(answer.send(Ok(index))),
            Waiting::Nobody => {}
        }
    }

    /// Gives room back for groups whose log was shortened, and will be after a crash: until then
    /// they may have to stand on what is older.
    pub(super) fn clean(&mut self) {
        if self.cleanable.is_empty() {
            return;
        }
        let (store, events) = (Arc::clone(&self.store), self.events.clone());
        let (bases, frugal) = (std::mem::take(&mut self.cleanable), self.frugal);
        tokio::task::spawn_blocking(move || {
            for (group, base) in bases {
                // What is left is removed the next time.
                let _ = store.snapshots().remove_before(group, base);
            }
            let cleaned = if frugal { store.clean_all() } else { store.clean() };
            for group in cleaned.unwrap_or_default() {
                let _ = events.blocking_send(Event::Crowding { group });
            }
        });
    }
}
