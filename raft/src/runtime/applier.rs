//! The task that owns a shard's state machines: applies, replies, and has snapshots taken.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::boot::SnapshotMeta;
use crate::configuration::Suffrage;
use crate::effect::Refused;
use crate::entry::{Entry, Payload};
use crate::input::Input;
use crate::runtime::config::NodeConfig;
use crate::runtime::machine::StateMachine;
use crate::runtime::shard::Event;
use crate::runtime::tickets::Answer;
use crate::runtime::waiting::Waiting;
use crate::store::{GroupId, Store};
use crate::tail::Piece;
use crate::types::Index;

/// Bytes of entries that are read from the log at once, to be applied.
const LOAD_BYTES: usize = 4 << 20;

/// Something for the state machines to do, in order.
#[derive(Debug)]
pub(crate) enum Job<M: StateMachine> {
    /// A group that begins here.
    Add { slot: u32, group: GroupId, machine: M, applied: Index },
    /// Apply up to an index; the entries that are not here are in the log.
    Apply {
        slot: u32,
        /// What is in memory of it.
        pieces: Vec<Piece>,
        through: Index,
        replies: Vec<(Index, Answer<M::Reply>)>,
    },
    /// Answer when this index is applied.
    Wait { slot: u32, index: Index, answer: Answer<Index> },
    /// Put the state of this snapshot in place of what there is.
    Restore { slot: u32, meta: SnapshotMeta },
    /// Take a snapshot, whatever the policy says.
    Snapshot { slot: u32 },
    /// The snapshot that was under way is done, or not.
    Taken { slot: u32 },
    /// These entries were damaged, and are in their places again.
    Mended { slot: u32, entries: Vec<Entry> },
}

/// Entries to apply, and who waits for them.
struct Work<M: StateMachine> {
    pieces: Vec<Piece>,
    through: Index,
    replies: Vec<(Index, Answer<M::Reply>)>,
}

/// Why a group's state machine does not go on.
enum Stop {
    /// It cannot any more, or the log cannot be read.
    Failed,
    /// The entry behind this one is damaged, and has to come from another node.
    Damaged { after: Index },
}

/// One state machine.
struct Bench<M: StateMachine> {
    group: GroupId,
    machine: M,
    applied: Index,
    /// Reads of an index that is not applied yet.
    waiting: Waiting,
    /// Entries and bytes since the last snapshot.
    entries: u64,
    bytes: u64,
    taking: bool,
    /// What waits for entries to be mended.
    stalled: VecDeque<Work<M>>,
    /// Entries that came from other nodes for it: what is damaged close by may keep the log from
    /// giving them out.
    mended: BTreeMap<Index, Entry>,
}

/// A shard's state machines.
pub(crate) struct Applier<M: StateMachine> {
    config: Arc<NodeConfig>,
    store: Arc<Store>,
    events: mpsc::Sender<Event>,
    benches: Vec<Option<Bench<M>>>,
}

impl<M: StateMachine> Applier<M> {
    pub(crate) fn new(
        config: Arc<NodeConfig>,
        store: Arc<Store>,
        events: mpsc::Sender<Event>,
    ) -> Applier<M> {
        Applier { config, store, events, benches: Vec::new() }
    }

    /// Works until the shard is gone.
    pub(crate) async fn run(mut self, mut rounds: mpsc::Receiver<Vec<Job<M>>>) {
        while let Some(jobs) = rounds.recv().await {
            for job in jobs {
                if let Err((slot, stop)) = self.perform(job) {
                    let event = match stop {
                        Stop::Failed => Event::MachineFailed { slot },
                        Stop::Damaged { after } => {
                            let input = Input::Damaged { after, through: after.next() };
                            Event::Input { slot, input }
                        }
                    };
                    // The shard may be on its way out.
                    let _ = self.events.send(event).await;
                }
            }
        }
    }

    /// Does one job. The error is the group whose state machine does not go on.
    fn perform(&mut self, job: Job<M>) -> Result<(), (u32, Stop)> {
        match job {
            Job::Add { slot, group, machine, applied } => self.add(slot, group, machine, applied),
            Job::Apply { slot, pieces, through, replies } => {
                let Some(bench) = self.bench(slot) else { return Ok(()) };
                // An entry that nothing stands behind cannot be mended, and has to be named again.
                let last = |work: &Work<M>| bench.applied.next() >= work.through;
                let goes_on = bench.stalled.front().is_none_or(last);
                bench.stalled.push_back(Work { pieces, through, replies });
                if goes_on {
                    self.go_on(slot).map_err(|stop| (slot, stop))?;
                }
            }
            Job::Mended { slot, entries } => {
                let Some(bench) = self.bench(slot) else { return Ok(()) };
                bench.mended.extend(entries.into_iter().map(|entry| (entry.index, entry)));
                self.go_on(slot).map_err(|stop| (slot, stop))?;
            }
            Job::Wait { slot, index, answer } => {
                let Some(bench) = self.bench(slot) else { return Ok(()) };
                if index <= bench.applied {
                    let _ = answer.send(Ok(index));
                } else {
                    bench.waiting.push(index, answer);
                }
            }
            Job::Restore { slot, meta } => {
                self.restore(slot, &meta).map_err(|_| (slot, Stop::Failed))?;
                self.end_batch(slot);
                self.go_on(slot).map_err(|stop| (slot, stop))?;
            }
            Job::Snapshot { slot } => self.take_snapshot(slot),
            Job::Taken { slot } => {
                if let Some(bench) = self.bench(slot) {
                    bench.taking = false;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, slot: u32, group: GroupId, machine: M, applied: Index) {
        let at = slot as usize;
        if self.benches.len() <= at {
            self.benches.resize_with(at + 1, || None);
        }
        let (waiting, (stalled, mended)) = (Waiting::new(), Default::default());
        let (entries, bytes, taking) = (0, 0, false);
        self.benches[at] = Some(Bench {
            group,
            machine,
            applied,
            waiting,
            entries,
            bytes,
            taking,
            stalled,
            mended,
        });
    }

    fn bench(&mut self, slot: u32) -> Option<&mut Bench<M>> {
        self.benches.get_mut(slot as usize)?.as_mut()
    }

    /// Applies what is there to be applied, as far as it can be read.
    fn go_on(&mut self, slot: u32) -> Result<(), Stop> {
        while let Some(bench) = self.bench(slot)
            && let Some(work) = bench.stalled.pop_front()
        {
            self.apply(slot, work)?;
            self.end_batch(slot);
        }
        if let Some(bench) = self.bench(slot) {
            bench.mended.clear();
        }
        Ok(())
    }

    fn apply(&mut self, slot: u32, work: Work<M>) -> Result<(), Stop> {
        let Work { pieces, through, replies } = work;
        let store = Arc::clone(&self.store);
        let Some(bench) = self.bench(slot) else { return Ok(()) };
        let mut replies = replies.into_iter().peekable();
        let mut entries = pieces.iter().flat_map(Piece::entries).peekable();
        let first = entries.peek().map_or(through.next(), |entry| entry.index);
        while bench.applied.next() < first {
            // Not in memory any more: from the log.
            let loaded = store.load(bench.group, bench.applied, first.prev(), LOAD_BYTES);
            let Some(loaded) = loaded.map_err(|_| Stop::Failed)? else {
                if let Some(entry) = bench.mended.remove(&bench.applied.next()) {
                    bench.take(&entry, &mut replies);
                    continue;
                }
                let replies = replies.collect();
                bench.stalled.push_front(Work { pieces, through, replies });
                return Err(Stop::Damaged { after: bench.applied });
            };
            for entry in loaded {
                bench.take(&entry, &mut replies);
            }
        }
        for entry in entries {
            bench.take(entry, &mut replies);
        }
        for (_, answer) in replies {
            // What a snapshot covers has no reply any more.
            drop(answer.send(Err(Refused::Unknown)));
        }
        Ok(())
    }

    /// Ends a batch: reads that waited for it, and the policy on snapshots.
    fn end_batch(&mut self, slot: u32) {
        let (entries, bytes) = (self.config.snapshot_entries, self.config.snapshot_bytes);
        let Some(bench) = self.bench(slot) else { return };
        bench.machine.settle(bench.applied);
        bench.waiting.answer(bench.applied);
        if bench.entries >= entries || bench.bytes >= bytes {
            self.take_snapshot(slot);
        }
    }

    fn restore(&mut self, slot: u32, meta: &SnapshotMeta) -> io::Result<()> {
        let me = self.config.id;
        let store = Arc::clone(&self.store);
        let Some(bench) = self.bench(slot) else { return Ok(()) };
        let member = meta.configuration.member(me);
        if member.is_none_or(|member| member.suffrage != Suffrage::Witness) {
            let reader = store.snapshots().read(bench.group, meta.last);
            bench.machine.restore(&mut reader.map_err(io::Error::other)?)?;
        }
        bench.applied = bench.applied.max(meta.last.index);
        (bench.entries, bench.bytes) = (0, 0);
        Ok(())
    }

    /// Begins a snapshot on a thread of its own; applying goes on.
    fn take_snapshot(&mut self, slot: u32) {
        let (store, events) = (Arc::clone(&self.store), self.events.clone());
        let Some(bench) = self.bench(slot) else { return };
        if bench.taking || bench.applied == Index(0) {
            return;
        }
        let group = bench.group;
        let Some(meta) = store.meta_at(group, bench.applied) else { return };
        bench.taking = true;
        (bench.entries, bench.bytes) = (0, 0);
        let job = bench.machine.snapshot();
        tokio::task::spawn_blocking(move || {
            let write = || -> io::Result<SnapshotMeta> {
                let mut writer = store.snapshots().write(group, &meta).map_err(io::Error::other)?;
                job(&mut writer)?;
                writer.finish().map_err(io::Error::other)
            };
            let taken = write().ok();
            // The shard may be on its way out.
            let _ = events.blocking_send(Event::Taken { slot, taken });
        });
    }
}

impl<M: StateMachine> Bench<M> {
    fn take(
        &mut self,
        entry: &Entry,
        replies: &mut std::iter::Peekable<impl Iterator<Item = (Index, Answer<M::Reply>)>>,
    ) {
        if entry.index <= self.applied {
            return;
        }
        assert_eq!(entry.index, self.applied.next(), "entries are applied in order");
        self.applied = entry.index;
        self.entries += 1;
        if let Payload::Data(data) = &entry.payload {
            self.bytes += data.len() as u64;
            let reply = self.machine.apply(entry.index, data);
            if let Some((_, answer)) = replies.next_if(|(index, _)| *index == entry.index) {
                drop(answer.send(Ok(reply)));
            }
        }
    }
}
