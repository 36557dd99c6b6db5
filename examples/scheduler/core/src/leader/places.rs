//! Where runs are and may go: the bridge between runs, which have names, and
//! [`place`](crate::place), which counts.

use std::collections::HashMap;

use crate::mirror::{Job, Mirror, Node};
use crate::place::{Ask, ClassId, Cluster, Explanation, NodeIx, Shape};
use crate::record::RunRecord;
use crate::spec::{Placement, Resources, Task, Work};
use crate::types::{JobKey, NodeId, RunId};

/// Nodes and what is on them: what the leader places by, and others explain by.
#[derive(Debug, Default)]
pub struct Places {
    cluster: Cluster,
    runs: HashMap<RunId, (ClassId, NodeIx)>,
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) node: NodeId,
    pub(super) partition: Option<u32>,
}

impl Places {
    /// A node as the copy has it, with all that is bound to it.
    pub fn fill(&mut self, mirror: &Mirror, id: &NodeId) {
        let Some(node) = mirror.node(id) else { return };
        self.set_node(id, node);
        for run in &node.runs {
            let Some((node, entry)) = mirror.run(run).and_then(|it| it.record.as_ref()) else {
                continue;
            };
            self.assign(run, node, &entry.value, mirror.job(&entry.value.task.job), mirror);
        }
    }

    /// What a node is, and whether it lives.
    pub(super) fn set_node(&mut self, id: &NodeId, node: &Node) {
        let alive = node.alive.as_ref();
        let images = alive.map_or(&[][..], |entry| &entry.value.images);
        match &node.record {
            Some(record) => {
                self.cluster.set_node(id, &record.value, alive.is_some(), images);
            }
            None => self.cluster.remove_node(id),
        }
    }

    /// It is known no more; what still runs there stays counted.
    pub(super) fn remove_node(&mut self, id: &NodeId) {
        self.cluster.remove_node(id);
    }

    /// Gossip suspects it, or does not any more: meanwhile nothing new goes there.
    pub fn set_suspect(&mut self, node: &NodeId, suspected: bool) {
        self.cluster.set_suspect(node, suspected);
    }

    /// The class of a job's tasks; none if nobody could place them.
    pub fn class(
        &mut self,
        key: &JobKey,
        task: &Task,
        placement: &Placement,
        memory: Option<u64>,
    ) -> Option<ClassId> {
        self.cluster.class(&Shape::of(key.clone(), task, placement, memory)).ok()
    }

    /// No more tasks of this class will come.
    pub fn retire(&mut self, class: ClassId) {
        self.cluster.retire(class);
    }

    /// A run is there, as the store says.
    pub(super) fn assign(
        &mut self,
        run: &RunId,
        node: &NodeId,
        record: &RunRecord,
        job: Option<&Job>,
        mirror: &Mirror,
    ) {
        if self.runs.contains_key(run) {
            return;
        }
        let key = &record.task.job;
        let work = job.and_then(|job| job.record.as_ref()).map(|entry| &entry.value.work);
        let placement = work.and_then(placement).cloned().unwrap_or_default();
        let task = mirror.spec(&record.spec).map(|entry| entry.value.clone());
        let shape = match task {
            Some(task) => Shape::of(key.clone(), &task, &placement, record.memory),
            None => Shape::new(key.clone(), Resources::SMALL),
        };
        // What cannot be placed was placed all the same: it is counted for what it uses.
        let plain = Shape::new(key.clone(), shape.request);
        let class = self.cluster.class(&shape).or_else(|_| self.cluster.class(&plain));
        let class = class.expect("a task that asks for no particular place can be placed");
        let at = self.cluster.node(node);
        self.cluster.assign(class, at);
        self.runs.insert(run.clone(), (class, at));
    }

    /// It is not there any more.
    pub fn release(&mut self, run: &RunId) {
        if let Some((class, node)) = self.runs.remove(run) {
            self.cluster.release(class, node);
        }
    }

    /// Takes a place for a run, if there is one.
    pub(super) fn place(&mut self, run: &RunId, class: ClassId, ask: Ask) -> Option<Found> {
        let placed = self.cluster.try_place(class, ask)?;
        self.runs.insert(run.clone(), (class, placed.node));
        let node = self.cluster.name(placed.node).clone();
        Some(Found { node, partition: placed.partition })
    }

    /// Where a run that is not bound yet would go; it is counted there until it is released.
    pub fn try_place(&mut self, run: &RunId, class: ClassId, ask: Ask) -> Option<NodeId> {
        self.place(run, class, ask).map(|found| found.node)
    }

    /// Why a task of this class waits, or where it would go.
    pub fn explain(&mut self, class: ClassId, ask: Ask) -> Explanation {
        self.cluster.explain(class, ask)
    }

    /// Why a run is where it is; none if it is not known here.
    pub fn explain_run(&mut self, run: &RunId, index: u32) -> Option<Explanation> {
        let &(class, node) = self.runs.get(run)?;
        self.cluster.explain_at(class, index, node)
    }

    pub(super) fn check(&mut self) {
        self.cluster.check();
    }
}

/// How the tasks of a job or service are placed.
pub(super) fn placement(work: &Work) -> Option<&Placement> {
    match work {
        Work::Job(job) => Some(&job.placement),
        Work::Service(service) => Some(&service.placement),
        Work::Cron(_) | Work::Workflow(_) => None,
    }
}
