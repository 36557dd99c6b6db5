//! Names of the few things that there are, and the records that are written about them.

use std::collections::BTreeMap;

use mason_core::record::{Exit, Reason, RunRecord, TaskRecord, TaskWait, Wish};
use mason_core::spec::Concurrency;
use mason_core::types::{JobKey, NodeId, RunId, TaskKey};

pub(crate) fn job() -> JobKey {
    JobKey::new("a", "job")
}

pub(crate) fn task(at: usize) -> TaskKey {
    job().task(u32::try_from(at).expect("few tasks"))
}

pub(crate) fn task_at(task: &TaskKey) -> usize {
    task.index as usize
}

pub(crate) fn node(at: usize) -> NodeId {
    format!("n{at}").into()
}

pub(crate) fn node_at(node: &NodeId) -> usize {
    node.as_str()[1..].parse().expect("nodes are numbers here")
}

pub(crate) fn run(at: usize) -> RunId {
    RunId::new(0, at as u64)
}

pub(crate) fn run_at(run: &RunId) -> usize {
    let (_, count) = run.as_str().split_once('-').expect("a run's name has two parts");
    count.parse().expect("few runs")
}

pub(crate) fn task_record(counted: u8, wait: TaskWait) -> TaskRecord {
    TaskRecord {
        uid: "u".into(),
        attempt: 1,
        counted: u32::from(counted),
        spec: "s".into(),
        revision: 0,
        wait,
        memory: None,
        last: None,
    }
}

pub(crate) fn run_record(of: usize, stop: bool, concurrency: Concurrency) -> RunRecord {
    let wish = match stop {
        true => Wish::Stop { grace: None, why: Reason::Drained },
        false => Wish::Run,
    };
    RunRecord {
        task: task(of),
        uid: "u".into(),
        attempt: 1,
        spec: "s".into(),
        wish,
        concurrency,
        count: 1,
        partition: None,
        memory: None,
        bound_at: 0,
    }
}

pub(crate) fn exit(reason: Reason, code: Option<i32>) -> Exit {
    Exit {
        reason,
        code,
        signal: None,
        message: String::new(),
        started_at: None,
        finished_at: 0,
        outputs: BTreeMap::new(),
    }
}
