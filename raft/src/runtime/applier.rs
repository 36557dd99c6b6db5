//! The task that owns a shard's state machines: applies, replies, and has states saved.

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
use crate::runtime::machine::{SaveJob, StateMachine, Unsaved};
use crate::runtime::shard::Event;
use crate::runtime::tickets::Answer;
use crate::runtime::waiting::Waiting;
use crate::runtime::weights::Weights;
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
    /// Take a snapshot, whatever the policy says: a follower waits for it.
    Snapshot { slot: u32 },
    /// Save the state, whatever the policy says: the log must become shorter.
    Save { slot: u32 },
    /// What was being saved is, or is not.
    Saved { slot: u32 },
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

/// What is under way on a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saving {
    Nothing,
    /// A snapshot is being written.
    Snapshot,
    /// The state machine saves itself.
    Itself,
}

/// One state machine.
struct Bench<M: StateMachine> {
    group: GroupId,
    machine: M,
    applied: Index,
    /// Reads of an index that is not applied yet.
    waiting: Waiting,
    /// Entries and bytes since the last snapshot.
    unsaved: Unsaved,
    /// What it had kept itself when it began, as long as the log was not told.
    kept: Option<Index>,
    saving: Saving,
    /// A follower waits for a snapshot that could not be begun yet.
    wanted: bool,
    /// Where the bounds on the log's size lie.
    weights: Weights,
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
                let ready = match self.awaited(&job) {
                    None => Ok(()),
                    Some((slot, group, through)) => {
                        let held = log_holds(Arc::clone(&self.store), group, through).await;
                        if held { Ok(()) } else { Err((slot, Stop::Failed)) }
                    }
                };
                if let Err((slot, stop)) = ready.and_then(|()| self.perform(job)) {
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

    /// What the log must hold before a job is done, if the state machine keeps itself. A quorum may
    /// have it sooner. But what the machine keeps must not be ahead of the log: where an entry was
    /// to be, a crash could leave an older one, which would be taken for what was applied.
    fn awaited(&mut self, job: &Job<M>) -> Option<(u32, GroupId, Option<Index>)> {
        let (slot, through) = match job {
            Job::Apply { slot, through, .. } => (*slot, Some(*through)),
            Job::Restore { slot, .. } => (*slot, None),
            _ => return None,
        };
        let group = self.bench(slot).filter(|_| M::KEEPS_ITSELF)?.group;
        (!self.store.is_durable(group, through)).then_some((slot, group, through))
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
            Job::Snapshot { slot } => {
                let Some(bench) = self.bench(slot) else { return Ok(()) };
                // One that is being written will do.
                bench.wanted = bench.saving == Saving::Itself;
                self.take_snapshot(slot);
            }
            Job::Save { slot } => {
                if let Some(bench) = self.bench(slot) {
                    bench.unsaved.pressed = true;
                    self.save(slot);
                }
            }
            Job::Saved { slot } => {
                if let Some(bench) = self.bench(slot) {
                    bench.saving = Saving::Nothing;
                    // What could not be done while it was under way.
                    let pressed = bench.unsaved.pressed;
                    if std::mem::take(&mut bench.wanted) {
                        self.take_snapshot(slot);
                    } else if pressed {
                        self.save(slot);
                    }
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
        self.benches[at] = Some(Bench {
            group,
            machine,
            applied,
            waiting: Waiting::new(),
            unsaved: NOTHING,
            kept: Some(applied).filter(|_| M::KEEPS_ITSELF),
            saving: Saving::Nothing,
            wanted: false,
            weights: Weights::new(applied),
            stalled: VecDeque::new(),
            mended: BTreeMap::new(),
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
        let in_memory = || pieces.iter().flat_map(Piece::entries);
        let first = in_memory().next().map_or(through.next(), |entry| entry.index);
        while bench.applied.next() < first {
            // Not in memory any more: from the log.
            let loaded = store.load(bench.group, bench.applied, first.prev(), LOAD_BYTES);
            let Some(loaded) = loaded.map_err(|_| Stop::Failed)? else {
                if let Some(entry) = bench.mended.remove(&bench.applied.next()) {
                    bench.take([&entry], &mut replies);
                    continue;
                }
                let replies = replies.collect();
                bench.stalled.push_front(Work { pieces, through, replies });
                return Err(Stop::Damaged { after: bench.applied });
            };
            bench.take(&loaded, &mut replies);
        }
        bench.take(in_memory(), &mut replies);
        for (_, answer) in replies {
            // What a snapshot covers has no reply any more.
            drop(answer.send(Err(Refused::Unknown)));
        }
        Ok(())
    }

    /// Ends a batch: reads that waited for it, and the policy on saving.
    fn end_batch(&mut self, slot: u32) {
        let (entries, bytes) = (self.config.snapshot_entries, self.config.snapshot_bytes);
        let Some(bench) = self.bench(slot) else { return };
        bench.machine.settle(bench.applied);
        bench.waiting.answer(bench.applied);
        if bench.unsaved.entries >= entries || bench.unsaved.bytes >= bytes {
            self.save(slot);
        }
        self.tell_kept(slot);
    }

    /// The log needs not hold what the state machine had kept before it began. Nobody else says
    /// so: one that is saved whenever it stops would be saved in no life by its size, and its log
    /// would grow from life to life.
    fn tell_kept(&mut self, slot: u32) {
        let events = self.events.clone();
        let Some(bench) = self.bench(slot) else { return };
        if let Some(through) = bench.kept
            && events.try_send(Event::Kept { slot, through }).is_ok()
        {
            bench.kept = None;
        }
    }

    fn restore(&mut self, slot: u32, meta: &SnapshotMeta) -> io::Result<()> {
        let me = self.config.id;
        let store = Arc::clone(&self.store);
        let Some(bench) = self.bench(slot) else { return Ok(()) };
        if bench.applied >= meta.last.index {
            // Only the log was behind it.
            return Ok(());
        }
        let member = meta.configuration.member(me);
        if member.is_none_or(|member| member.suffrage != Suffrage::Witness) {
            let mut reader = match store.snapshots().read(bench.group, meta.last) {
                Ok(reader) => reader,
                // Another came while this one waited here, and it is not needed any more: the log
                // begins behind that one, which is the next to be put in place.
                Err(_) if store.base(bench.group).is_some_and(|base| base.last > meta.last) => {
                    return Ok(());
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            bench.machine.restore(&mut reader)?;
        }
        bench.applied = meta.last.index;
        bench.weights = Weights::new(bench.applied);
        bench.unsaved = NOTHING;
        Ok(())
    }

    /// Has the state saved in the state machine's way. Applying goes on.
    fn save(&mut self, slot: u32) {
        if !M::KEEPS_ITSELF {
            return self.take_snapshot(slot);
        }
        let kept_bytes_max = self.config.kept_bytes_max;
        let Some(bench) = self.bench(slot) else { return };
        if bench.saving != Saving::Nothing || bench.applied == Index(0) {
            return;
        }
        if let Some(job) = bench.machine.save(bench.unsaved) {
            bench.saving = Saving::Itself;
            bench.unsaved = NOTHING;
            let must = bench.weights.bound(kept_bytes_max);
            self.run_save(slot, job, must);
        }
    }

    fn run_save(&self, slot: u32, job: SaveJob, must: Index) {
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            // What fails is tried again when as much has gathered once more; the log stays.
            let through = job().ok();
            // The shard may be on its way out.
            let _ = events.blocking_send(Event::Saved { slot, through, must });
        });
    }

    /// Begins a snapshot on a thread of its own; applying goes on.
    fn take_snapshot(&mut self, slot: u32) {
        let kept_bytes_max = self.config.kept_bytes_max;
        let (store, events) = (Arc::clone(&self.store), self.events.clone());
        let Some(bench) = self.bench(slot) else { return };
        if bench.saving != Saving::Nothing || bench.applied == Index(0) {
            return;
        }
        let group = bench.group;
        let Some(meta) = store.meta_at(group, bench.applied) else { return };
        bench.saving = Saving::Snapshot;
        if !M::KEEPS_ITSELF {
            bench.unsaved = NOTHING;
        }
        let must = bench.weights.bound(kept_bytes_max);
        let job = bench.machine.snapshot();
        tokio::task::spawn_blocking(move || {
            let write = || -> io::Result<SnapshotMeta> {
                let mut writer = store.snapshots().write(group, &meta).map_err(io::Error::other)?;
                job(&mut writer)?;
                writer.finish().map_err(io::Error::other)
            };
            let taken = write().ok();
            // The shard may be on its way out.
            let _ = events.blocking_send(Event::Taken { slot, taken, must });
        });
    }
}

/// Waits until the log holds an entry of a group, or all that was written of it. Says whether it
/// does: a log that failed never will.
async fn log_holds(store: Arc<Store>, group: GroupId, through: Option<Index>) -> bool {
    let waiting = tokio::task::spawn_blocking(move || store.wait_durable(group, through));
    matches!(waiting.await, Ok(Ok(())))
}

const NOTHING: Unsaved = Unsaved { entries: 0, bytes: 0, pressed: false };

impl<M: StateMachine> Bench<M> {
    /// Applies entries that follow each other, but for those that are applied already.
    fn take<'e>(
        &mut self,
        entries: impl IntoIterator<Item = &'e Entry>,
        answers: &mut std::iter::Peekable<impl Iterator<Item = (Index, Answer<M::Reply>)>>,
    ) {
        let mut commands = Vec::new();
        for entry in entries {
            if entry.index <= self.applied {
                continue;
            }
            assert_eq!(entry.index, self.applied.next(), "entries are applied in order");
            self.applied = entry.index;
            self.unsaved.entries += 1;
            self.weights.push(entry.index, entry.bytes() as u64);
            if let Payload::Data(data) = &entry.payload {
                self.unsaved.bytes += data.len() as u64;
                commands.push((entry.index, data));
            }
        }
        if commands.is_empty() {
            return;
        }
        let mut replies = Vec::with_capacity(commands.len());
        self.machine.apply_all(&commands, &mut replies);
        assert_eq!(replies.len(), commands.len(), "each command has a reply");
        for ((index, _), reply) in commands.into_iter().zip(replies) {
            if let Some((_, answer)) = answers.next_if(|(of, _)| *of == index) {
                drop(answer.send(Ok(reply)));
            }
        }
    }
}
