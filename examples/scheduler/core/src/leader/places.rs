//! Where runs are and may go: the bridge between runs, which have names, and
//! [`place`](crate::place), which counts.

use std::collections::HashMap;

use crate::mirror::{Job, Mirror, Node};
use crate::place::{Ask, ClassId, Cluster, NodeIx, Shape};
use crate::record::RunRecord;
use crate::spec::{Placement, Resources, Task, Work};
use crate::types::{JobKey, NodeId, RunId};

/// Nodes and what is on them.
#[derive(Debug, Default)]
pub(super) struct Places {
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

    pub(super) fn set_suspect(&mut self, node: &NodeId, suspected: bool) {
        self.cluster.set_suspect(node, suspected);
    }

    /// The class of a job's tasks; none if nobody could place them.
    pub(super) fn class(
        &mut self,
        key: &JobKey,
        task: &Task,
        placement: &Placement,
        memory: Option<u64>,
    ) -> Option<ClassId> {
        self.cluster.class(&Shape::of(key.clone(), task, placement, memory)).ok()
    }

    /// No more tasks of this class will come.
    pub(super) fn retire(&mut self, class: ClassId) {
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
    pub(super) fn release(&mut self, run: &RunId) {
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
