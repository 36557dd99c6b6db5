//! What must hold whatever happens, looked at from outside after every step.
//!
//! | | what |
//! |---|---|
//! | I1 | a run has one result, a task is bound to one run, and has the outcome of its last |
//! | I2 | a run is started once at most |
//! | I3 | of a strict task two runs are never alive at once, nor one past its fence |
//! | I4 | the runs bound to a node never ask for more than it has, nor are more than it takes |
//! | I7 | when trouble is over, everything ends, and no key or folder of it is left |
//! | I8 | what is bound is claimed or over within a minute, when trouble is over |
//! | I9 | nothing lives on for a minute that the store has not, nor when its folder goes |
//! | N1 | nothing new is bound to a node that is drained, cordoned or tainted |
//! | N2 | an attempt counts, unless it was interrupted, drained, fenced, lost or stopped |
//! | N3 | when as many count as the spec allows, and no sooner, the task has failed |
//! | N4 | a run is told to stop for a reason that is there |
//! | J1 | nothing is bound for a job that is suspended, deleted or over |
//! | J2 | no job, and no task, begins before what it depends on has ended as it asked |
//! | J3 | no more tasks of a job run at once than its parallelism |
//! | J4 | after an attempt that counts there is a pause |
//! | J5 | a job succeeds if its tasks did, but for as many as may fail |
//! | W1 | what a workflow or cron makes is made once an attempt, and is one that was wished for |
//! | W2 | a step is made after all that it waits for ended as it should; the exit handler last |
//! | W3 | what is over stays so unless it is tried again; a workflow ends after its last job |
//! | W4 | a step is told what the one before it printed |
//! | W5 | what a workflow or cron made is gone before it, and made while it is there |
//! | W6 | a workflow succeeds if all that it needs did |
//! | W7 | one that is tried again keeps nothing that failed, and what did well first |
//! | C1 | under `forbid` a cron makes nothing while a job of its goes on |
//! | C2 | the newest tick that a cron has dealt with has its job |
//! | C3 | a cron forgets what is over, and stops nothing but under `replace` |
//! | L1 | a leader declares the runs of a silent node lost within ten seconds of seeing it |
//! | L2 | and tells those of a node that is to be empty to stop |
//! | L3 | and takes results to account |
//! | L4 | and tells the runs of a job that stops |
//! | L5 | and removes what is deleted |
//! | L6 | and obeys deadlines and suspensions |
//! | L7 | and forgets what is over in its time |
//! | L8 | and tries again what somebody asks for |
//! | L9 | and tells the steps of a workflow that stops |
//!
//! Each can fail: `tests/suite/teeth.rs` breaks something for it ([`crate::flaw`]).
//!
//! Fair shares and gangs (I5, I6) are not there yet; secrets (I10) never come this far.

mod duties;
mod ends;
mod flows;
mod hosts;
mod nodes;
mod orders;
mod reach;

use std::collections::BTreeMap;

use drystone_sim::World;
use mason_core::keys::{Key, Keys};
use mason_core::mirror::Change;
use mason_core::record::{
    self, JobRecord, MarksRecord, NodeRecord, ResultRecord, RunRecord, StateRecord, TaskRecord,
    TaskWait,
};
use mason_core::spec::{Resources, Task};
use mason_core::types::{NodeId, Revision, RunId, SpecHash, TaskKey};

use crate::cluster::{Node, Part};
use crate::flows::Flow;
pub use duties::Duties;
use ends::Ends;
use flows::Flows;
use hosts::{Containers, Told};
use nodes::Closed;
pub use orders::look_at_order;
pub use reach::Reach;

/// How long what was sent over a bad link can still be under way: it is sent again after ever
/// longer pauses.
const STILL_LATE_MAX: u64 = 600_000;
/// How long a run may be bound and not claimed when there is no trouble.
const UNCLAIMED_MAX: u64 = 60_000;

/// A looker-on.
#[derive(Debug, Default)]
pub struct Checks {
    seen_to: Revision,
    ends: Ends,
    containers: Containers,
    runs: BTreeMap<RunId, (NodeId, RunRecord)>,
    /// Runs that nobody has claimed, and since when.
    unclaimed: BTreeMap<RunId, u64>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    used: BTreeMap<NodeId, (Resources, u32)>,
    requests: BTreeMap<SpecHash, Resources>,
    tasks: BTreeMap<TaskKey, TaskRecord>,
    closed: Closed,
    flows: Flows,
    /// What was seen to happen, and how often.
    pub reach: Reach,
}

impl Checks {
    /// Of a day with these workflows.
    pub fn new(flows: Vec<Flow>) -> Checks {
        Checks { flows: Flows::new(flows), ..Checks::default() }
    }

    /// Trouble is over: nothing breaks from now on. What was sent over bad links is still under
    /// way, and holds up what comes after it.
    pub fn healed(&mut self, now: u64) {
        self.containers.calm = Some(now + STILL_LATE_MAX);
    }

    /// How many results were written.
    pub fn results_count(&self) -> u64 {
        self.ends.count() as u64
    }

    /// How many containers were started.
    pub fn starts_count(&self) -> u64 {
        self.containers.starts_count
    }

    /// Looks at everything.
    pub fn look(&mut self, world: &World<Node>) {
        self.look_at_store(world);
        self.containers.begin();
        for (place, node) in world.processes() {
            let Part::Host(host) = &node.part else { continue };
            // A machine that stands still is the residue that is promised nothing.
            if world.is_paused(place) {
                continue;
            }
            let times = (world.local(place), world.now());
            for (run, folder) in host.machine().folders().filter(|(_, it)| it.is_running()) {
                let RunRecord { task, uid, .. } = &folder.record;
                let told = Told {
                    is_under_way: self.runs.contains_key(run) && !self.ends.has_ended(run),
                    is_strict: self.ends.is_strict(task, uid).unwrap_or(folder.is_strict()),
                };
                self.containers.look((run, folder), (place, host), times, told);
            }
        }
    }

    fn look_at_store(&mut self, world: &World<Node>) {
        let store = world.processes().find_map(|(_, node)| match &node.part {
            Part::Store(store) => Some(store),
            _ => None,
        });
        let Some(store) = store else { return };
        self.look_for_unclaimed(world.now());
        if store.revision() == self.seen_to {
            return;
        }
        let keys = Keys::default();
        let news: Vec<_> = store.since(self.seen_to).flat_map(|(_, it)| it.clone()).collect();
        self.seen_to = store.revision();
        for change in news {
            if let Some(key) = keys.parse(&change.path) {
                self.look_at_change(key, &change, world.now());
            }
        }
        self.flows.look_at_ticks();
        self.look_at_bindings();
        self.look_at_nodes();
    }

    fn look_at_change(&mut self, key: Key, change: &Change, now: u64) {
        let (path, value) = (&change.path, change.value.as_deref());
        match (key, value) {
            (Key::Result(run), Some(value)) => {
                let result: ResultRecord = record::decode(path, value).expect("results read");
                self.reach.saw_end(result.exit.reason);
                self.unclaimed.remove(&run);
                self.ends.result(&run, result);
            }
            (Key::Marks(job, chunk), value) => {
                let marks = value.map_or(MarksRecord::default(), |value| {
                    record::decode(path, value).expect("marks read")
                });
                self.ends.marks(job, chunk, marks);
            }
            (Key::Node(node), value) => {
                let value = value.expect("nodes stay");
                let record = record::decode(path, value).expect("nodes read");
                self.closed.node(&node, &record, now);
                self.nodes.insert(node, record);
            }
            (Key::Spec(hash), Some(value)) => {
                let task: Task = record::decode(path, value).expect("templates read");
                self.requests.insert(hash, task.request);
            }
            (Key::Task(task), Some(value)) => {
                let record = record::decode(path, value).expect("tasks read");
                self.ends.task(&task, &record);
                self.tasks.insert(task, record);
            }
            (Key::Task(task), None) => drop(self.tasks.remove(&task)),
            (Key::Run(node, run), Some(value)) => {
                let record = record::decode(path, value).expect("runs read");
                if !self.runs.contains_key(&run) {
                    self.closed.bound(&node, &record, now);
                    self.ends.bound(&record, &self.tasks);
                    self.unclaimed.insert(run.clone(), now);
                }
                self.runs.insert(run, (node, record));
            }
            (Key::Run(_, run), None) => {
                self.runs.remove(&run);
                self.unclaimed.remove(&run);
            }
            (Key::Seen(_, run), Some(_)) => drop(self.unclaimed.remove(&run)),
            (key, value) => self.look_at_work(key, path, value),
        }
    }

    fn look_at_work(&mut self, key: Key, path: &str, value: Option<&[u8]>) {
        match key {
            Key::Job(job) => {
                let record: Option<JobRecord> =
                    value.map(|it| record::decode(path, it).expect("jobs read"));
                if let Some(JobRecord { uid, work, .. }) = &record {
                    self.ends.job(&job, uid, work);
                }
                self.flows.job(&job, record, &mut self.reach);
            }
            Key::State(job) => {
                let state: Option<StateRecord> =
                    value.map(|it| record::decode(path, it).expect("states read"));
                if let Some(state) = &state {
                    self.ends.state(&job, state);
                }
                self.flows.state(&job, state, &mut self.reach);
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
            let task = self.tasks.get(&record.task).map(|task| (&task.wait, task.attempt));
            let bound = TaskWait::Bound { node: node.clone(), run: run.clone() };
            let is_so = task == Some((&bound, record.attempt));
            assert!(is_so, "I1: {run} is not what {} is bound to, {task:?}", record.task);
        }
    }

    /// What is bound is claimed, or over.
    fn look_for_unclaimed(&self, now: u64) {
        let Some(calm) = self.containers.calm else { return };
        for (run, since) in &self.unclaimed {
            let lasts = now.saturating_sub(*since.max(&calm));
            assert!(lasts <= UNCLAIMED_MAX, "I8: {run} is bound, and nobody has claimed it");
        }
    }

    fn look_at_nodes(&mut self) {
        self.used.clear();
        for (run, (node, record)) in &self.runs {
            // What is over asks for nothing.
            if self.ends.has_ended(run) {
                continue;
            }
            let request = self.requests.get(&record.spec).copied().unwrap_or_default();
            let (used, count) = self.used.entry(node.clone()).or_default();
            used.cpu += request.cpu;
            used.memory += record.memory.unwrap_or(request.memory);
            *count += 1;
        }
        for (node, (used, count)) in &self.used {
            let Some(record) = self.nodes.get(node) else { continue };
            let has = record.capacity;
            assert!(
                used.cpu <= has.cpu && used.memory <= has.memory,
                "I4: {node} has {has:?}, and its runs ask for {used:?}"
            );
            let most = record.tasks_max;
            assert!(*count <= most, "I4: {node} takes {most} tasks, and has {count}");
        }
    }
}
