//! Where runs are and may go: what [`Leader`](super::Leader) asks of placement.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::mirror::{Job, Mirror, Node};
use crate::record::{NodeRecord, RunRecord};
use crate::spec::{Resources, Task};
use crate::types::{NodeId, RunId};

/// Nodes and what is on them.
#[derive(Debug, Default)]
pub(super) struct Places {
    nodes: BTreeMap<NodeId, Place>,
    runs: HashMap<RunId, (NodeId, Resources)>,
    suspects: BTreeSet<NodeId>,
}

#[derive(Debug, Default)]
struct Place {
    node: NodeRecord,
    alive: bool,
    used: Resources,
    tasks: u32,
}

impl Places {
    pub(super) fn set_node(&mut self, id: &NodeId, node: &Node) {
        let place = self.nodes.entry(id.clone()).or_default();
        place.node = node.record.as_ref().map(|it| it.value.clone()).unwrap_or_default();
        place.alive = node.alive.is_some() && node.record.is_some();
    }

    /// It is known no more; what still runs there stays counted.
    pub(super) fn remove_node(&mut self, id: &NodeId) {
        if let Some(place) = self.nodes.get_mut(id) {
            place.alive = false;
        }
    }

    pub(super) fn set_suspect(&mut self, node: &NodeId, suspected: bool) {
        match suspected {
            true => drop(self.suspects.insert(node.clone())),
            false => drop(self.suspects.remove(node)),
        }
    }

    /// A run is there.
    pub(super) fn assign(
        &mut self,
        run: &RunId,
        node: &NodeId,
        record: &RunRecord,
        _job: Option<&Job>,
        mirror: &Mirror,
    ) {
        let task = mirror.spec(&record.spec).map(|entry| entry.value.clone());
        let request = task.map_or(Resources::SMALL, |task| request(&task, record.memory));
        self.take(run, node, request);
    }

    fn take(&mut self, run: &RunId, node: &NodeId, request: Resources) {
        if self.runs.contains_key(run) {
            return;
        }
        let place = self.nodes.entry(node.clone()).or_default();
        place.used.cpu += request.cpu;
        place.used.memory += request.memory;
        place.used.disk += request.disk;
        place.used.pids += request.pids;
        place.tasks += 1;
        self.runs.insert(run.clone(), (node.clone(), request));
    }

    pub(super) fn release(&mut self, run: &RunId) {
        let Some((node, request)) = self.runs.remove(run) else { return };
        let place = self.nodes.get_mut(&node).expect("what has runs is known");
        place.used.cpu -= request.cpu;
        place.used.memory -= request.memory;
        place.used.disk -= request.disk;
        place.used.pids -= request.pids;
        place.tasks -= 1;
    }

    /// Takes a place for a run, if there is one.
    pub(super) fn place(
        &mut self,
        run: &RunId,
        task: &Task,
        memory: Option<u64>,
    ) -> Option<NodeId> {
        let request = request(task, memory);
        let fits = |place: &Place| {
            let node = &place.node;
            place.alive
                && !node.cordoned
                && node.drain.is_none()
                && !node.confirmed_dead
                && place.used.cpu + request.cpu <= node.capacity.cpu
                && place.used.memory + request.memory <= node.capacity.memory
                && (node.tasks_max == 0 || place.tasks < node.tasks_max)
        };
        let free =
            self.nodes.iter().filter(|(id, place)| !self.suspects.contains(*id) && fits(place));
        let node = free.min_by_key(|(_, place)| place.tasks).map(|(id, _)| id.clone())?;
        self.take(run, &node, request);
        Some(node)
    }

    pub(super) fn check(&self) {
        let mut counts: BTreeMap<&NodeId, u32> = BTreeMap::new();
        for (node, _) in self.runs.values() {
            *counts.entry(node).or_default() += 1;
        }
        for (id, place) in &self.nodes {
            let count = counts.get(id).copied().unwrap_or(0);
            assert_eq!(place.tasks, count, "tasks are counted where they are: {id}");
        }
    }
}

fn request(task: &Task, memory: Option<u64>) -> Resources {
    Resources { memory: memory.unwrap_or(task.request.memory), ..task.request }
}
