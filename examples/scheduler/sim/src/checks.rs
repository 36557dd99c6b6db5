//! What must hold whatever happens, looked at from outside after every step.
//!
//! | | what |
//! |---|---|
//! | I1 | a run has one result at most, and a task one outcome |
//! | I2 | a run is started once at most |
//! | I3 | of a strict task two runs are never alive at once |
//! | I4 | the runs bound to a node never ask for more than it has |
//! | I7 | what has not ended has somebody who will end it: when trouble is over, everything ends |
//! | I8 | what is bound is claimed or lost in the end: the same |
//! | I9 | nothing is alive for more than a minute that the store has not or says is over |
//! | N1 | nothing new is bound to a node that is drained, cordoned or tainted |
//! | N2 | an attempt that was interrupted, drained or lost uses up none of a task's |
//! | W1 | a step's job is made once an attempt, and is one that was wished for |
//! | W2 | it is made after all that it waits for ended as it should |
//! | W3 | a workflow ends once, or once more a retry, after its last job; none is made later |
//! | W4 | a step is told what the one before it printed |
//! | W5 | what a workflow or cron made is gone before it |
//! | W6 | a workflow succeeds if all that it needs did |
//!
//! Fair shares and gangs (I5, I6) are not there yet; secrets (I10) never come this far.

mod flows;
mod nodes;

use std::collections::{BTreeMap, BTreeSet};

use drystone_sim::World;
use mason_core::keys::{Key, Keys};
use mason_core::record::{
    self, MARKS_CHUNK, Mark, MarksRecord, NodeRecord, RunRecord, TaskRecord, TaskWait,
};
use mason_core::spec::Resources;
use mason_core::types::{JobKey, NodeId, Revision, RunId, TaskKey, Uid};

use crate::cluster::{Node, Part};
use crate::flows::Flow;
use crate::host::Host;
use flows::Flows;
use nodes::Closed;
pub use nodes::look_at_order;

/// How long something may live that the store does not have.
const STRAY_MAX: u64 = 60_000;

/// A looker-on.
#[derive(Debug, Default)]
pub struct Checks {
    seen_to: Revision,
    /// Runs that have, or had, a result.
    results: BTreeSet<RunId>,
    /// Runs that were started, and when they were first found alive.
    started: BTreeMap<RunId, u64>,
    marks: BTreeMap<(JobKey, u32), MarksRecord>,
    runs: BTreeMap<RunId, (NodeId, RunRecord)>,
    capacity: BTreeMap<NodeId, NodeRecord>,
    used: BTreeMap<NodeId, Resources>,
    requests: BTreeMap<record_hash::Hash, Resources>,
    strays: BTreeMap<RunId, u64>,
    tasks: BTreeMap<TaskKey, TaskRecord>,
    closed: Closed,
    flows: Flows,
    /// How many results were written.
    pub results_count: u64,
    /// How many containers were seen.
    pub starts_count: u64,
}

mod record_hash {
    pub(super) type Hash = mason_core::types::SpecHash;
}

impl Checks {
    /// Of a day with these workflows.
    pub fn new(flows: Vec<Flow>) -> Checks {
        Checks { flows: Flows::new(flows), ..Checks::default() }
    }

    /// Looks at everything. `strays_count` says whether it is long enough after trouble that what
    /// the store does not have must be gone.
    pub fn look(&mut self, world: &World<Node>) {
        self.look_at_store(world);
        let mut alive: BTreeMap<(TaskKey, Uid), RunId> = BTreeMap::new();
        for (place, node) in world.processes() {
            let Part::Host(host) = &node.part else { continue };
            if world.is_paused(place) {
                continue;
            }
            let now = world.local(place);
            self.look_at_host(host, now, world.now(), &mut alive);
        }
    }

    fn look_at_host(
        &mut self,
        host: &Host,
        now: u64,
        at: u64,
        alive: &mut BTreeMap<(TaskKey, Uid), RunId>,
    ) {
        let machine = host.machine();
        for (run, folder) in machine.folders().filter(|(_, folder)| folder.is_running()) {
            if !self.started.contains_key(run) {
                self.started.insert(run.clone(), at);
                self.starts_count += 1;
            }
            // One that is to be killed now is: the machine has just not had its turn.
            let is_fenced = folder.is_strict() && machine.fence <= now;
            if folder.is_strict() && !is_fenced {
                let task = (folder.record.task.clone(), folder.record.uid.clone());
                let other = alive.insert(task, run.clone());
                assert!(other.is_none(), "I3: {run} and {other:?} of {}", folder.record.task);
            }
            self.look_for_strays(host, run, at);
        }
        self.strays.retain(|run, _| self.started.contains_key(run));
    }

    fn look_for_strays(&mut self, host: &Host, run: &RunId, at: u64) {
        let is_known = self.runs.contains_key(run) && !self.results.contains(run);
        if is_known || !host.is_attended() {
            self.strays.remove(run);
            return;
        }
        let since = *self.strays.entry(run.clone()).or_insert(at);
        assert!(
            at - since <= STRAY_MAX + 60_000,
            "I9: {run} on {} lives, and the store has not had it since {since}",
            host.node()
        );
    }

    fn look_at_store(&mut self, world: &World<Node>) {
        let store = world.processes().find_map(|(_, node)| match &node.part {
            Part::Store(store) => Some(store),
            _ => None,
        });
        let Some(store) = store else { return };
        let keys = Keys::default();
        let news: Vec<_> = store.since(self.seen_to).flat_map(|(_, it)| it.clone()).collect();
        self.seen_to = store.revision();
        for change in news {
            let Some(key) = keys.parse(&change.path) else { continue };
            let value = change.value.as_deref();
            match key {
                Key::Result(run) if value.is_some() => {
                    assert!(self.results.insert(run.clone()), "I1: {run} has a second result");
                    self.results_count += 1;
                }
                Key::Marks(job, chunk) => {
                    let marks = value.map_or(MarksRecord::default(), |value| {
                        record::decode(&change.path, value).expect("marks read")
                    });
                    self.look_at_marks(job, chunk, marks);
                }
                Key::Node(node) => {
                    let value = value.expect("nodes stay");
                    let record = record::decode(&change.path, value).expect("nodes read");
                    self.closed.node(&node, &record, world.now());
                    self.capacity.insert(node, record);
                }
                Key::Spec(hash) => {
                    if let Some(value) = value {
                        let task: mason_core::spec::Task =
                            record::decode(&change.path, value).expect("templates read");
                        self.requests.insert(hash, task.request);
                    }
                }
                Key::Task(task) => match value {
                    Some(value) => {
                        let record = record::decode(&change.path, value).expect("tasks read");
                        if let Some(old) = self.tasks.get(&task) {
                            nodes::look_at_next(old, &record);
                        }
                        self.tasks.insert(task, record);
                    }
                    None => drop(self.tasks.remove(&task)),
                },
                Key::Run(node, run) => match value {
                    Some(value) => {
                        let record = record::decode(&change.path, value).expect("runs read");
                        if !self.runs.contains_key(&run) {
                            self.closed.bound(&node, &record, world.now());
                        }
                        self.runs.insert(run, (node, record));
                    }
                    None => drop(self.runs.remove(&run)),
                },
                key => self.look_at_work(key, &change.path, value),
            }
        }
        self.look_at_nodes();
        self.look_at_bindings();
    }

    fn look_at_work(&mut self, key: Key, path: &str, value: Option<&[u8]>) {
        match key {
            Key::Job(job) => {
                let record = value.map(|it| record::decode(path, it).expect("jobs read"));
                self.flows.job(&job, record);
            }
            Key::State(job) => {
                let state = value.map(|it| record::decode(path, it).expect("states read"));
                self.flows.state(&job, state.as_ref());
            }
            Key::Past(task) => {
                let past = value.map(|it| record::decode(path, it).expect("pasts read"));
                self.flows.past(task.job, past.as_ref());
            }
            _ => {}
        }
    }

    /// A run and its task know each other, always.
    fn look_at_bindings(&self) {
        for (run, (node, record)) in &self.runs {
            let task = self.tasks.get(&record.task).map(|task| &task.wait);
            let bound = TaskWait::Bound { node: node.clone(), run: run.clone() };
            assert_eq!(task, Some(&bound), "{run} is what {} is bound to", record.task);
        }
    }

    fn look_at_marks(&mut self, job: JobKey, chunk: u32, new: MarksRecord) {
        let old = self.marks.get(&(job.clone(), chunk)).cloned().unwrap_or_default();
        if new.uid == old.uid {
            for place in 0..MARKS_CHUNK.min(4 * u32::try_from(old.bits.len()).expect("small")) {
                let (was, is) = (old.get(place), new.get(place));
                assert!(
                    was == Mark::None || was == is,
                    "I1: {job}/{place} was {was:?} and is {is:?}"
                );
            }
        }
        self.marks.insert((job, chunk), new);
    }

    fn look_at_nodes(&mut self) {
        self.used.clear();
        for (run, (node, record)) in &self.runs {
            // What is over asks for nothing.
            if self.results.contains(run) {
                continue;
            }
            let request = self.requests.get(&record.spec).copied().unwrap_or_default();
            let used = self.used.entry(node.clone()).or_default();
            used.cpu += request.cpu;
            used.memory += record.memory.unwrap_or(request.memory);
        }
        for (node, used) in &self.used {
            let Some(record) = self.capacity.get(node) else { continue };
            let has = record.capacity;
            assert!(
                used.cpu <= has.cpu && used.memory <= has.memory,
                "I4: {node} has {has:?}, and its runs ask for {used:?}"
            );
        }
    }
}
