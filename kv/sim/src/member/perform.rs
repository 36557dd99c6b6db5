//! What the core wants done, and what happens at a member by itself.

use std::collections::VecDeque;
use std::io::Write as _;

use drystone_raft::{
    Effect, Entry, Index, Input, Position, Refused, Role, SnapshotMeta, Ticket, Write,
};

use crate::disk::GROUP;
use crate::flaw::Flaw;
use crate::member::{Event, Job, Member, Order, Out, Parcel, Saving, Told, Waiting, node};

/// How long a member waits for a state that it has asked for, in ticks.
const PATIENCE: u64 = 400;

impl Member {
    /// A ticket, and who waits for it.
    pub(super) fn ticket(&mut self, waiting: Option<Waiting>) -> Ticket {
        self.ticket_next += 1;
        if let Some(waiting) = waiting {
            self.tickets.insert(self.ticket_next, waiting);
        }
        Ticket(self.ticket_next)
    }

    /// One step of the core, and all that it wants done.
    pub(super) fn feed(&mut self, now: u64, input: Option<Input>, out: &mut Out<'_>) {
        let mut effects = Vec::new();
        self.raft.step(now, input, &mut effects);
        for effect in effects {
            self.perform(effect, out);
        }
    }

    fn perform(&mut self, effect: Effect, out: &mut Out<'_>) {
        let slow = self.disk.ways.slow;
        match effect {
            Effect::Send(message) => out.send(node(message.to), Parcel::Raft(Box::new(message))),
            Effect::Write(write) => self.write(&write, out),
            Effect::Load { to, after, through, bytes_max } => {
                let delay = out.rng().range(1..slow);
                out.later(delay, Event::Load { to, after, through, bytes_max });
            }
            Effect::Commit { through } => {
                let first = self.queued().next();
                let entries = self.raft.entries(first..through.next());
                let entries = entries.map(|entries| entries.cloned().collect());
                self.push(Job::Apply { entries, through, replies: Vec::new() }, out);
            }
            Effect::Answer { ticket, result } => self.answer(ticket, result, out),
            Effect::Leader { .. } | Effect::Members(_) => {}
            Effect::SendSnapshot { to } => {
                let delay = out.rng().range(1..slow);
                out.later(delay, Event::Open(to));
            }
            Effect::FetchSnapshot { from, meta } => {
                out.send(node(from), Parcel::Pull(meta.last));
                out.later(PATIENCE, Event::NoSnapshot);
            }
            Effect::Compact { through } => {
                let mut batch = self.log.batch();
                batch.compact(GROUP, through).expect("the group is there");
                match batch.commit() {
                    Ok(Some(commit)) => {
                        self.orders.push_back(Order { write: None, commit, base: Some(through) });
                        let delay = out.rng().range(1..slow);
                        out.later(delay, Event::Stored);
                    }
                    Ok(None) => {}
                    Err(error) => self.refuse("compact", &error),
                }
            }
            // It gets a snapshot.
            Effect::Fault(drystone_raft::Fault::LeftBehind { .. }) => {}
            Effect::Fault(fault) => panic!("{}: {fault}", out.me()),
        }
    }

    /// How far what is applied or queued reaches.
    fn queued(&self) -> Index {
        let through = self.jobs.iter().filter_map(|job| match job {
            Job::Apply { through, .. } => Some(*through),
            Job::Restore(meta) => Some(meta.last.index),
            Job::Wait(..) => None,
        });
        through.max().unwrap_or(self.applied).max(self.applied)
    }

    fn write(&mut self, write: &Write, out: &mut Out<'_>) {
        let entries = self.raft.entries(write.append.clone());
        let entries = entries.expect("what is to be written is there");
        let entries: Vec<Entry> = entries.cloned().collect();
        let mut batch = self.log.batch();
        batch.put(GROUP, write, &entries).expect("the group is there");
        let committed = batch.commit();
        let Some(commit) = self.heed("write", committed) else { return };
        let commit = commit.expect("there is a head at least");
        let base = write.snapshot.as_ref().map(|meta| meta.last.index);
        self.orders.push_back(Order { write: Some(write.id), commit, base });
        let delay = out.rng().range(1..self.disk.ways.slow);
        out.later(delay, Event::Stored);
        if let Some(meta) = &write.snapshot {
            self.push(Job::Restore((**meta).clone()), out);
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Index, Refused>, out: &mut Out<'_>) {
        let Some(waiting) = self.tickets.remove(&ticket.0) else { return };
        match (result, waiting) {
            (Ok(index), waiting @ (Waiting::Command(_) | Waiting::Revoke(_))) => {
                // The core says that it is committed before it answers, in the same step.
                if let Some(Job::Apply { replies, through, .. }) = self.jobs.back_mut()
                    && index <= *through
                {
                    replies.push((index, waiting));
                }
            }
            (Ok(index), waiting) => self.push(Job::Wait(index, waiting), out),
            (Err(Refused::Unknown), Waiting::Command(_)) => {}
            (Err(_), Waiting::Command(call) | Waiting::Linear(call, _)) => {
                self.answers.push((call, Told::NotDone));
            }
            (Err(_), Waiting::Revoke(lease)) => self.lessor.retry(lease),
            (Err(_), Waiting::Office(..) | Waiting::TakeUp(_)) => {}
        }
    }

    pub(super) fn occur(&mut self, now: u64, event: Event, out: &mut Out<'_>) {
        match event {
            Event::Stored => self.stored(now, out),
            Event::Load { to, after, through, bytes_max } => {
                match self.log.answer_load(GROUP, to, after, through, bytes_max) {
                    Ok(input) => self.feed(now, Some(input), out),
                    Err(error) => self.refuse("load for another", &error),
                }
            }
            Event::Work => self.work(now, out),
            Event::Tidy => {
                let base = self.raft.base().index;
                // What is left is removed the next time.
                let _ = self.log.snapshots().remove_before(GROUP, base);
                if self.log.clean().is_ok_and(|held| held.contains(&GROUP)) {
                    self.shorten(out);
                }
            }
            Event::Save => {
                let through = self.save_engine();
                let delay = out.rng().range(1..self.disk.ways.slow);
                out.later(delay, Event::Saved(through));
            }
            Event::Saved(through) => self.saved(now, through, out),
            Event::Write(meta, frozen) => {
                let write = || -> Result<SnapshotMeta, Box<dyn std::error::Error>> {
                    let mut writer = self.log.snapshots().write(GROUP, &meta)?;
                    frozen.0.write(&mut writer)?;
                    Ok(writer.finish()?)
                };
                let written = write().ok();
                let delay = out.rng().range(1..self.disk.ways.slow);
                out.later(delay, Event::Written(written));
            }
            Event::Written(meta) => {
                self.ended(out);
                for to in std::mem::take(&mut self.wanting) {
                    let open = meta.clone().map(|meta| Input::SnapshotOpen { to, meta });
                    let input = open.unwrap_or(Input::SnapshotUnsound { to });
                    self.feed(now, Some(input), out);
                }
            }
            Event::Open(to) => self.open_snapshot(now, to, out),
            Event::NoSnapshot => self.feed(now, Some(Input::SnapshotFetched(None)), out),
            Event::Duty => self.duty(now, out),
            Event::Ask(call, ask) => self.ask(now, call, ask, out),
            Event::Feed(input) => self.feed(now, Some(*input), out),
        }
    }

    /// The oldest of what was ordered is durable.
    fn stored(&mut self, now: u64, out: &mut Out<'_>) {
        let Some(order) = self.orders.pop_front() else { return };
        let durable = order.commit.wait();
        if self.disk.flaw != Some(Flaw::DeafToDisk) && self.heed("sync", durable).is_none() {
            return;
        }
        if order.base.is_some() {
            let delay = out.rng().range(1..self.disk.ways.slow);
            out.later(delay, Event::Tidy);
        }
        if let Some(id) = order.write {
            self.feed(now, Some(Input::Stored(id)), out);
        }
    }

    fn open_snapshot(&mut self, now: u64, to: u64, out: &mut Out<'_>) {
        let base = self.raft.base().index;
        let newest = self.log.snapshots().newest(GROUP).ok().flatten();
        match newest.filter(|meta| meta.last.index >= base && meta.last.index.0 > 0) {
            None => {
                self.wanting.push(to);
                self.wanted = self.saving == Saving::Itself;
                self.take_snapshot(out);
            }
            Some(meta) => {
                let sound = self.log.snapshots().verify(GROUP, meta.last);
                let open = matches!(sound, Ok(true)).then_some(Input::SnapshotOpen { to, meta });
                self.feed(now, Some(open.unwrap_or(Input::SnapshotUnsound { to })), out);
            }
        }
    }

    pub(super) fn read_snapshot(&self, position: Position) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let offset = bytes.len() as u64;
            let part = self.log.snapshots().part(GROUP, position, offset).ok()?;
            if part.is_empty() {
                return Some(bytes);
            }
            bytes.extend(part);
        }
    }

    pub(super) fn receive_snapshot(&self, at: Position, bytes: &[u8]) -> Option<SnapshotMeta> {
        let mut writer = self.log.snapshots().receive(GROUP, at).ok()?;
        writer.write_all(bytes).ok()?;
        writer.finish().ok()
    }

    /// Whether it leads, and in which term.
    pub(super) fn office(&self) -> Option<drystone_raft::Term> {
        (self.raft.role() == Role::Leader).then(|| self.raft.hard().term)
    }

    fn push(&mut self, job: Job, out: &mut Out<'_>) {
        self.jobs.push_back(job);
        self.go_on(out);
    }

    pub(super) fn go_on(&mut self, out: &mut Out<'_>) {
        if !self.working && !self.jobs.is_empty() {
            self.working = true;
            let delay = 1 + out.rng().below(self.disk.ways.lag);
            out.later(delay, Event::Work);
        }
    }

    /// The jobs, oldest first.
    pub(super) fn take_jobs(&mut self) -> VecDeque<Job> {
        self.working = false;
        std::mem::take(&mut self.jobs)
    }
}
