//! This project's core; its runtime is in [`Nodes`].

mod nodes;

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use anyhow::Result;
use bytes::Bytes;
use drystone_raft::{
    Boot, Config, Configuration, Effect, Entry, HardState, Index, Input, Lease, Payload as Content,
    Raft, ReadMode, Role, Ticket, Write,
};

use super::post::Post;
use super::replica::{
    Applied, ELECTION_TICKS, HEARTBEAT_TICKS, Payload, Reads, Replica, Settings, Shape,
};

pub use nodes::Nodes;

/// Tickets of reads begin here; those of proposals end before.
const READS: u64 = 1 << 63;

/// What its clocks are said to be off by, where reads are answered by them.
const DRIFT_PPM: u32 = 100;

/// Configurations are shared by all groups of a process, as a host of many would do.
static CONFIGS: LazyLock<[Arc<Config>; 4]> = LazyLock::new(|| {
    [(false, false), (false, true), (true, false), (true, true)].map(|(lease, quiesce)| {
        let mut config = Config::new(ELECTION_TICKS);
        config.heartbeat = HEARTBEAT_TICKS;
        config.lease = lease.then_some(Lease::Contact { drift_ppm: DRIFT_PPM });
        config.quiesce_after = quiesce.then_some(ELECTION_TICKS);
        Arc::new(config)
    })
});

fn config(shape: Shape) -> Arc<Config> {
    let lease = usize::from(shape.reads == Reads::Lease);
    Arc::clone(&CONFIGS[2 * lease + usize::from(shape.quiesce)])
}

/// A node with a log in memory, whose writes are done as soon as they are asked for.
pub struct Ours {
    raft: Raft,
    reads: Reads,
    disk: Disk,
    inputs: Vec<Input>,
    effects: Vec<Effect>,
    applied: Applied,
    applied_through: Index,
    asked: u64,
    reads_answered: u64,
}

/// What would be on a disk.
struct Disk {
    hard: HardState,
    /// The index before the first entry.
    base: Index,
    entries: VecDeque<Entry>,
}

impl Disk {
    fn write<'a>(&mut self, write: &Write, entries: impl Iterator<Item = &'a Entry>) {
        if let Some(hard) = &write.hard {
            self.hard = **hard;
        }
        self.entries.truncate((write.append.start.0 - self.base.0 - 1) as usize);
        self.entries.extend(entries.cloned());
    }

    fn range(&self, after: Index, through: Index) -> impl Iterator<Item = &Entry> {
        let place = |index: Index| (index.0 - self.base.0) as usize;
        self.entries.range(place(after)..place(through))
    }

    fn compact(&mut self, through: Index) {
        self.entries.drain(..(through.0 - self.base.0) as usize);
        self.base = through;
    }
}

impl Ours {
    /// Has the core take what is known and what is new, and does all that it wants done.
    fn drive(&mut self, now: u64, new: impl IntoIterator<Item = Input>, post: &mut Post<Input>) {
        self.inputs.extend(new);
        loop {
            self.raft.step_all(now, &mut self.inputs, &mut self.effects);
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Send(message) => post.send(message.to, Input::Peer(message)),
                    Effect::Write(write) => {
                        let entries = self.raft.entries(write.append.clone());
                        self.disk.write(&write, entries.expect("a write is in memory"));
                        self.inputs.push(Input::Stored(write.id));
                    }
                    Effect::Commit { through } => {
                        let from = self.applied_through;
                        match self.raft.entries(from.next()..through.next()) {
                            Some(entries) => apply(&mut self.applied, entries),
                            None => apply(&mut self.applied, self.disk.range(from, through)),
                        }
                        self.applied_through = through;
                    }
                    Effect::Answer { ticket, result } => {
                        self.reads_answered += u64::from(ticket.0 >= READS && result.is_ok());
                    }
                    Effect::Load { to, after, through, .. } => {
                        let entries = self.disk.range(after, through).cloned().collect();
                        self.inputs.push(Input::Loaded { to, after, entries });
                    }
                    Effect::Compact { through } => self.disk.compact(through),
                    Effect::Fault(fault) => panic!("nothing is wrong with this disk: {fault:?}"),
                    // Nobody is ever so far behind.
                    Effect::SendSnapshot { to } => {
                        self.inputs.push(Input::SnapshotUnsound { to });
                    }
                    Effect::FetchSnapshot { .. } | Effect::Leader { .. } | Effect::Members(_) => {}
                }
            }
            if self.inputs.is_empty() {
                return;
            }
        }
    }
}

fn apply<'a>(applied: &mut Applied, entries: impl Iterator<Item = &'a Entry>) {
    for entry in entries {
        if let Content::Data(data) = &entry.payload {
            applied.take(data);
        }
    }
}

impl Replica for Ours {
    /// As it is taken in at the other end, so that nobody has to move it from one list to another.
    type Message = Input;

    const NAME: &'static str = "ours";

    const INLINE_BYTES: usize = size_of::<Raft>();

    fn start(settings: &Settings) -> Result<Ours> {
        let boot = Boot::new(Configuration::voters(1..=settings.shape.voters)).life(1);
        let raft = Raft::restore(settings.id, config(settings.shape), boot, 0, settings.seed)?;
        let disk = Disk { hard: HardState::default(), base: Index(0), entries: VecDeque::new() };
        Ok(Ours {
            raft,
            reads: settings.shape.reads,
            disk,
            inputs: Vec::new(),
            effects: Vec::new(),
            applied: Applied::default(),
            applied_through: Index(0),
            asked: 0,
            reads_answered: 0,
        })
    }

    fn receive(
        &mut self,
        now: u64,
        arrived: &mut Vec<Input>,
        post: &mut Post<Input>,
    ) -> Result<()> {
        std::mem::swap(&mut self.inputs, arrived);
        self.drive(now, [], post);
        Ok(())
    }

    fn tick(&mut self, now: u64, post: &mut Post<Input>) -> Result<()> {
        if self.raft.deadline().is_some_and(|at| at <= now) {
            self.drive(now, [], post);
        }
        Ok(())
    }

    fn propose(&mut self, now: u64, payloads: &[Payload], post: &mut Post<Input>) -> Result<()> {
        let first = self.asked + 1;
        self.asked += payloads.len() as u64;
        let propose = |(ticket, payload): (u64, &Payload)| Input::Propose {
            ticket: Ticket(ticket),
            data: Bytes::from_owner(payload.bytes()),
        };
        self.drive(now, (first..).zip(payloads).map(propose), post);
        Ok(())
    }

    fn read(&mut self, now: u64, count: u64, post: &mut Post<Input>) -> Result<()> {
        let mode = match self.reads {
            Reads::Index => ReadMode::Index,
            Reads::Lease => ReadMode::Lease,
        };
        let first = READS + self.asked + 1;
        self.asked += count;
        let read = |ticket| Input::Read { ticket: Ticket(ticket), mode };
        self.drive(now, (first..first + count).map(read), post);
        Ok(())
    }

    fn reads_answered(&self) -> u64 {
        self.reads_answered
    }

    fn leads(&self) -> Option<u64> {
        (self.raft.role() == Role::Leader).then_some(self.raft.hard().term.0)
    }

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn needs_ticks(&self) -> bool {
        self.raft.deadline().is_some()
    }

    fn compact(&mut self, now: u64, keep: u64, post: &mut Post<Input>) -> Result<()> {
        let through = Index(self.applied_through.0.saturating_sub(keep));
        self.drive(now, [Input::Compact { through, must: Index(0) }], post);
        Ok(())
    }

    fn shrink(&mut self) {
        self.disk.entries.shrink_to_fit();
        self.inputs.shrink_to_fit();
        self.effects.shrink_to_fit();
    }
}
