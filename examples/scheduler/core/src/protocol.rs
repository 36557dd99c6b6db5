//! The life of a run, as transactions: bind, claim, result, lost, done.
//!
//! # Problem
//! A task shall run once. Yet the leader that placed it can be paused for a minute and act on what
//! it knew then; another can have been elected meanwhile; the agent can be killed between starting
//! the container and telling; a message can arrive when nobody waits for it any more.
//!
//! # Idea
//! Nobody trusts what they remember. Each step is one transaction whose comparisons name what it
//! relies on, so that the store, which has one order, decides:
//!
//! ```text
//!            when (all must hold)                               then
//!  bind      lead made at L, job made at J, alive/node there,   task = bound to run
//!            task changed at T (0: not there)                   run  = …
//!  claim     run changed at R, alive/node made at A,            seen = claimed
//!            result absent
//!  result    run made at B, result absent                       result = how it ended
//!  lost      lead made at L, alive/node absent, task            result = lost
//!            changed at T, run made at B, result absent
//!  done      lead made at L, task changed at T, result made     task = next attempt, or gone;
//!            at X, marks changed at M                           marks; run, seen, result gone
//! ```
//!
//! * **Two leaders.** A leader is who holds the election's oldest key; every transaction of its
//!   asks that this key is still the one it was elected with. A leader that was paused past its
//!   lease has no key, so whatever it still sends changes nothing.
//! * **One run at a time.** A bind asks that the task is as the leader saw it. Two binds of one
//!   task cannot both find it so.
//! * **One result.** `result/<run>` is made once, by the agent or, when the node's lease is gone,
//!   by the leader; whoever is second is refused. Only `done` reads it, and removes it in the same
//!   transaction that notes the outcome.
//! * **One start.** An agent starts a run only after its claim was acknowledged, and notes the
//!   claim in its own journal first. After a crash it adopts what its keepers still hold; a
//!   claimed run without a keeper is over ([`crate::agent`]), and never started again.
//!
//! # What is promised, and what is not
//! Running something exactly once is impossible: an agent can be lost with its machine after the
//! container did its work and before anyone heard. What holds, under any crashes, pauses and
//! partitions:
//!
//! 1. A run is started at most once.
//! 2. A run has at most one result that counts, and a task at most one outcome.
//! 3. Under [`Concurrency::Strict`](crate::spec::Concurrency) no two runs of a task are alive at
//!    once, **if** clocks of different machines run at the same rate within a tenth and a kernel
//!    delivers SIGKILL within the margin of [`crate::protocol::fence`]. A machine that is frozen
//!    whole and thawed can overlap until its keeper runs its first instruction.
//! 4. While there is a leader and a node to run on, a task is tried again until it succeeds or its
//!    retries are used up.
//!
//! A run that is started twice is impossible; work that is *done* twice is not: the next attempt of
//! a lost run does it again. Tasks that cannot bear that ask for one attempt and
//! `count_interruptions`.

pub mod fence;

use crate::keys::{Key, Keys};
use crate::record::{
    self, MarksRecord, PastRecord, ResultRecord, RunRecord, SeenRecord, TaskRecord,
};
use crate::txn::{Compare, Txn};
use crate::types::{JobKey, NodeId, Revision, RunId, TaskKey};

/// The right to decide: the key of a won election, and the revision that made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Office {
    /// The key.
    pub key: String,
    /// When it was made.
    pub made: Revision,
}

impl Office {
    /// What every transaction of a leader asks.
    pub fn fence(&self) -> Compare {
        Compare::Made(self.key.clone(), self.made)
    }
}

/// A task that gets a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Which.
    pub task: TaskKey,
    /// When its key was last changed; 0 if it has none yet.
    pub task_changed: Revision,
    /// When its job was made: it was not deleted, nor replaced by another of its name.
    pub job_made: Revision,
    /// Where it goes.
    pub node: NodeId,
    /// Which run.
    pub run: RunId,
    /// The task, bound.
    pub bound: TaskRecord,
    /// The run.
    pub record: RunRecord,
}

/// Gives a task a run.
pub fn bind(keys: &Keys, office: &Office, bind: &Bind) -> Txn {
    let path = |key| keys.path(&key);
    let (task, run) = (Key::Task(bind.task.clone()), Key::Run(bind.node.clone(), bind.run.clone()));
    Txn::new()
        .when(office.fence())
        .when(Compare::Made(path(Key::Job(bind.task.job.clone())), bind.job_made))
        .when(Compare::Present(path(Key::Alive(bind.node.clone()))))
        .when(Compare::Changed(path(task.clone()), bind.task_changed))
        .put(path(task), record::encode(&bind.bound))
        .put(path(run), record::encode(&bind.record))
}

/// Takes a run on: the agent's first word about it.
///
/// `run_changed` is the revision of the run's key that the agent acts on: a run that was told to
/// stop meanwhile is not claimed. `alive_made` is that of the agent's own life: one that has lost
/// its lease claims nothing. And a run that has a result is over, though its key stays until the
/// result is taken to account: it may have been declared lost, or its agent may have forgotten that
/// it ran.
pub fn claim(
    keys: &Keys,
    (node, run): (&NodeId, &RunId),
    (run_changed, alive_made): (Revision, Revision),
    seen: &SeenRecord,
) -> Txn {
    let path = |key| keys.path(&key);
    Txn::new()
        .when(Compare::Changed(path(Key::Run(node.clone(), run.clone())), run_changed))
        .when(Compare::Made(path(Key::Alive(node.clone())), alive_made))
        .when(Compare::Absent(path(Key::Result(run.clone()))))
        .put(path(Key::Seen(node.clone(), run.clone())), record::encode(seen))
}

/// Says how far a run is. It has no effect on a run that is gone.
pub fn report(
    keys: &Keys,
    (node, run): (&NodeId, &RunId),
    run_made: Revision,
    seen: &SeenRecord,
) -> Txn {
    let path = |key| keys.path(&key);
    Txn::new()
        .when(Compare::Made(path(Key::Run(node.clone(), run.clone())), run_made))
        .put(path(Key::Seen(node.clone(), run.clone())), record::encode(seen))
}

/// Says how a run ended: the agent's last word about it.
pub fn result(
    keys: &Keys,
    (node, run): (&NodeId, &RunId),
    run_made: Revision,
    result: &ResultRecord,
) -> Txn {
    let path = |key| keys.path(&key);
    let ledger = path(Key::Result(run.clone()));
    Txn::new()
        .when(Compare::Made(path(Key::Run(node.clone(), run.clone())), run_made))
        .when(Compare::Absent(ledger.clone()))
        .put(ledger, record::encode(result))
}

/// A run as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of which task.
    pub task: TaskKey,
    /// When the task's key was last changed.
    pub task_changed: Revision,
    /// Where.
    pub node: NodeId,
    /// Which.
    pub run: RunId,
    /// When the run's key was made.
    pub run_made: Revision,
}

/// Says that a run is lost: its node's lease is gone.
///
/// The comparison that the node's key is absent is the whole authority for this. Gossip may have
/// said so long before; it is not asked.
pub fn lost(keys: &Keys, office: &Office, bound: &Bound, result: &ResultRecord) -> Txn {
    declare(keys, office, bound, result)
        .when(Compare::Absent(keys.path(&Key::Alive(bound.node.clone()))))
}

/// Says that a run is over because an operator swore that its node is off: `node_changed` is the
/// revision of the node's key that says so.
pub fn buried(
    keys: &Keys,
    office: &Office,
    bound: &Bound,
    node_changed: Revision,
    result: &ResultRecord,
) -> Txn {
    let node = keys.path(&Key::Node(bound.node.clone()));
    declare(keys, office, bound, result).when(Compare::Changed(node, node_changed))
}

fn declare(keys: &Keys, office: &Office, bound: &Bound, result: &ResultRecord) -> Txn {
    let path = |key| keys.path(&key);
    let ledger = path(Key::Result(bound.run.clone()));
    Txn::new()
        .when(office.fence())
        .when(Compare::Changed(path(Key::Task(bound.task.clone())), bound.task_changed))
        .when(Compare::Made(path(Key::Run(bound.node.clone(), bound.run.clone())), bound.run_made))
        .when(Compare::Absent(ledger.clone()))
        .put(ledger, record::encode(result))
}

/// Changes what a run shall do.
pub fn wish(keys: &Keys, office: &Office, bound: &Bound, record: &RunRecord) -> Txn {
    let run = keys.path(&Key::Run(bound.node.clone(), bound.run.clone()));
    Txn::new()
        .when(office.fence())
        .when(Compare::Made(run.clone(), bound.run_made))
        .put(run, record::encode(record))
}

/// What a result means for its task.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Another attempt is due.
    Again(TaskRecord),
    /// It has ended: its chunk's marks, when they were last changed, and its last attempt.
    Ended {
        /// Which chunk.
        chunk: u32,
        /// When its key was last changed; 0 if it has none yet.
        marks_changed: Revision,
        /// With this one noted.
        marks: MarksRecord,
        /// What is kept of its last attempt, if anything.
        past: Option<PastRecord>,
    },
    /// The slot is not needed any more: a service that was scaled down.
    Gone,
}

/// Takes a result to account: it is read once, here, and gone.
///
/// The marks of a chunk are shared by its tasks: of several that end at once, merge the
/// transactions with the last one's marks.
pub fn done(
    keys: &Keys,
    office: &Office,
    bound: &Bound,
    result_made: Revision,
    next: &Next,
) -> Txn {
    let path = |key| keys.path(&key);
    let task = path(Key::Task(bound.task.clone()));
    let ledger = path(Key::Result(bound.run.clone()));
    let txn = Txn::new()
        .when(office.fence())
        .when(Compare::Changed(task.clone(), bound.task_changed))
        .when(Compare::Made(ledger.clone(), result_made))
        .delete(path(Key::Run(bound.node.clone(), bound.run.clone())))
        .delete(path(Key::Seen(bound.node.clone(), bound.run.clone())))
        .delete(ledger);
    match next {
        Next::Again(record) => txn.put(task, record::encode(record)),
        Next::Gone => txn.delete(task),
        Next::Ended { chunk, marks_changed, marks, past } => {
            let marks_at = marks_path(keys, &bound.task.job, *chunk);
            let txn = txn
                .delete(task)
                .when(Compare::Changed(marks_at.clone(), *marks_changed))
                .put(marks_at, record::encode(marks));
            match past {
                Some(past) => txn.put(path(Key::Past(bound.task.clone())), record::encode(past)),
                None => txn,
            }
        }
    }
}

fn marks_path(keys: &Keys, job: &JobKey, chunk: u32) -> String {
    keys.path(&Key::Marks(job.clone(), chunk))
}
