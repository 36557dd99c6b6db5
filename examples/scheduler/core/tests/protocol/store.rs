//! A store with etcd's transactions, small enough to be a part of a million states.
//!
//! Every key has a version of its own in the place of etcd's one revision: comparisons only ever
//! compare a key with an older version of itself, so nothing is lost, and states that differ in
//! nothing but how long ago something happened are one state. The families count from numbers far
//! apart: a builder that compared a key with the revision of another would never find it equal.

use mason_core::record::Mark;
use mason_core::txn::Compare;
use mason_core::types::Revision;

/// Most tasks of an instance.
pub(crate) const TASKS: usize = 2;
/// Most runs that anything in a state still knows of.
pub(crate) const RUNS: usize = 4;
/// Nodes.
pub(crate) const NODES: usize = 2;
/// Servers.
pub(crate) const SERVERS: usize = 2;

/// Revisions of each family of keys begin here.
pub(crate) mod base {
    pub(crate) const JOB: i64 = 1000;
    pub(crate) const TASK: i64 = 2000;
    pub(crate) const RUN: i64 = 3000;
    pub(crate) const ALIVE: i64 = 4000;
    pub(crate) const LEAD: i64 = 5000;
    pub(crate) const RESULT: i64 = 6000;
    pub(crate) const MARKS: i64 = 7000;
    pub(crate) const NODE: i64 = 8000;
}

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyOf {
    Job,
    Task(usize),
    Run(usize, usize),
    Seen(usize, usize),
    Result(usize),
    Marks,
    Alive(usize),
    Node(usize),
    Lead(usize),
}

/// What is written there, as far as anybody decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// A task without a run; so many attempts count.
    Due(u8),
    /// A task with a run.
    Bound(usize, u8),
    /// A run; whether it was told to stop.
    Run(bool),
    Seen,
    Result(Res),
    Marks([u8; TASKS]),
}

/// How a run ended, as far as anybody decides by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Res {
    #[default]
    None,
    Success,
    Failure,
    /// By no fault of the task.
    Innocent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TaskKey {
    pub(crate) there: bool,
    pub(crate) run: Option<u8>,
    pub(crate) counted: u8,
    /// Counts its changes.
    pub(crate) version: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RunKey {
    pub(crate) there: bool,
    pub(crate) stop: bool,
    pub(crate) version: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AliveKey {
    pub(crate) there: bool,
    pub(crate) made: u8,
    pub(crate) version: u8,
    /// In which span of its machine's clock the renewal was asked for that its lease got last.
    pub(crate) asked: u8,
    /// It hangs on a lease that nobody renews.
    pub(crate) stray: bool,
}

/// What the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) job: bool,
    pub(crate) tasks: [TaskKey; TASKS],
    pub(crate) marks: [u8; TASKS],
    pub(crate) marks_version: u8,
    pub(crate) runs: [RunKey; RUNS],
    pub(crate) seen: [bool; RUNS],
    pub(crate) results: [Res; RUNS],
    pub(crate) alive: [AliveKey; NODES],
    /// An operator swore that it is off; each change of mind counts.
    pub(crate) buried: [u8; NODES],
    /// When each server's candidacy was made; 0 if it has none.
    pub(crate) lead: [u8; SERVERS],
    pub(crate) offices: u8,
}

impl Store {
    /// Who leads: the oldest candidate.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..SERVERS).filter(|&at| self.lead[at] > 0).min_by_key(|&at| self.lead[at])
    }

    /// When a key was made and last changed; 0 if it is not there.
    pub(crate) fn revisions(&self, key: KeyOf, node_of: [u8; RUNS]) -> (Revision, Revision) {
        let at = |there: bool, base: i64, made: u8, changed: u8| match there {
            true => (base + i64::from(made), base + i64::from(changed)),
            false => (0, 0),
        };
        match key {
            KeyOf::Job => at(self.job, base::JOB, 1, 1),
            KeyOf::Task(task) => {
                let it = self.tasks[task];
                at(it.there, base::TASK, 1, it.version)
            }
            KeyOf::Run(node, run) => {
                let it = self.runs[run];
                at(it.there && usize::from(node_of[run]) == node, base::RUN, 1, it.version)
            }
            KeyOf::Seen(_, run) => at(self.seen[run], base::RUN, 1, 1),
            KeyOf::Result(run) => at(self.results[run] != Res::None, base::RESULT, 1, 1),
            KeyOf::Marks => at(self.marks_version > 0, base::MARKS, 1, self.marks_version),
            KeyOf::Alive(node) => {
                let it = self.alive[node];
                at(it.there, base::ALIVE, it.made, it.version)
            }
            KeyOf::Node(node) => at(true, base::NODE, 1, 1 + self.buried[node]),
            KeyOf::Lead(server) => {
                at(self.lead[server] > 0, base::LEAD, self.lead[server], self.lead[server])
            }
        }
    }

    /// Whether a comparison holds.
    pub(crate) fn holds(&self, when: &(KeyOf, Compare), node_of: [u8; RUNS]) -> bool {
        let (made, changed) = self.revisions(when.0, node_of);
        when.1.holds(made, changed)
    }

    /// Writes, or removes if there is no value.
    pub(crate) fn put(&mut self, key: KeyOf, value: Option<Value>) {
        match (key, value) {
            (KeyOf::Task(task), None) => {
                let version = self.tasks[task].version;
                self.tasks[task] = TaskKey { version, ..TaskKey::default() };
            }
            (KeyOf::Task(task), Some(value)) => {
                let (run, counted) = match value {
                    Value::Due(counted) => (None, counted),
                    Value::Bound(run, counted) => (Some(run as u8), counted),
                    _ => panic!("a task's key holds a task"),
                };
                let version = self.tasks[task].version + 1;
                self.tasks[task] = TaskKey { there: true, run, counted, version };
            }
            (KeyOf::Run(_, run), Some(Value::Run(stop))) => {
                let version = self.runs[run].version + 1;
                self.runs[run] = RunKey { there: true, stop, version };
            }
            (KeyOf::Run(_, run), None) => self.runs[run] = RunKey::default(),
            (KeyOf::Seen(_, run), value) => self.seen[run] = value.is_some(),
            (KeyOf::Result(run), Some(Value::Result(result))) => self.results[run] = result,
            (KeyOf::Result(run), None) => self.results[run] = Res::None,
            (KeyOf::Marks, Some(Value::Marks(marks))) => {
                self.marks = marks;
                self.marks_version += 1;
            }
            other => panic!("nobody in here writes {other:?}"),
        }
    }

    /// Whether a task has ended for good.
    pub(crate) fn is_marked(&self, task: usize) -> bool {
        self.marks[task] != Mark::None as u8
    }
}
