//! The store's keys as typed values in memory, kept up to date by its changes.
//!
//! Servers answer every read from it, and the leader decides by it. It is a copy: what it shows was
//! true at [`Mirror::revision`], and whoever acts on it says so in the comparisons of a transaction
//! ([`crate::protocol`]).
//!
//! ```text
//!   list ──► reset ──┐
//!   watch ─► apply ──┴─► jobs ── state, marks, tasks, pasts      by job
//!                        runs ── record, seen, result            by run
//!                        nodes ─ record, alive, which runs       by node
//! ```
//!
//! A value that does not read is kept out and remembered under [`Mirror::bad`], so that one broken
//! key stops nothing but itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::keys::{Key, Keys};
use crate::record::{
    self, AliveRecord, ConfigRecord, Counts, JobRecord, MARKS_CHUNK, Mark, MarksRecord, NodeRecord,
    PastRecord, ResultRecord, RunRecord, SecretRecord, SeenRecord, StateRecord, TaskRecord,
};
use crate::spec::Task;
use crate::types::{JobKey, NodeId, Revision, RunId, SpecHash};

/// A key as the store has it now.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub path: String,
    /// Its value; none if it is gone.
    pub value: Option<Vec<u8>>,
    /// When it was made; 0 if it is gone.
    pub made: Revision,
    /// When it was last changed.
    pub changed: Revision,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().map(String::from_utf8_lossy);
        let value = value.as_deref().unwrap_or("gone");
        write!(f, "{} @{}..{} = {value}", self.path, self.made, self.changed)
    }
}

/// A value with its revisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// What.
    pub value: T,
    /// When its key was made.
    pub made: Revision,
    /// When it was last changed.
    pub changed: Revision,
}

/// When the key was last changed; 0 if it is not there.
pub fn changed<T>(entry: Option<&Entry<T>>) -> Revision {
    entry.map_or(0, |entry| entry.changed)
}

/// All that is known of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// What a user wants.
    pub record: Option<Entry<JobRecord>>,
    /// How far it is.
    pub state: Option<Entry<StateRecord>>,
    /// How its tasks ended, by chunk.
    pub marks: BTreeMap<u32, Entry<MarksRecord>>,
    /// Its tasks with an attempt under way or due, by index.
    pub tasks: BTreeMap<u32, Entry<TaskRecord>>,
    /// The last attempts of tasks that have ended, by index.
    pub pasts: BTreeMap<u32, Entry<PastRecord>>,
    /// What the marks add up to.
    pub counts: Counts,
}

impl Job {
    fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.state.is_none()
            && self.marks.is_empty()
            && self.tasks.is_empty()
            && self.pasts.is_empty()
    }

    /// How a task ended.
    pub fn mark(&self, index: u32) -> Mark {
        let chunk = self.marks.get(&(index / MARKS_CHUNK));
        chunk.map_or(Mark::None, |marks| marks.value.get(index % MARKS_CHUNK))
    }
}

/// All that is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Where it is, and what it shall do.
    pub record: Option<(NodeId, Entry<RunRecord>)>,
    /// How far it is.
    pub seen: Option<Entry<SeenRecord>>,
    /// How it ended.
    pub result: Option<Entry<ResultRecord>>,
}

/// All that is known of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// What it is.
    pub record: Option<Entry<NodeRecord>>,
    /// That it lives.
    pub alive: Option<Entry<AliveRecord>>,
    /// What is bound to it.
    pub runs: BTreeSet<RunId>,
}

/// The copy.
#[derive(Clone, Debug)]
pub struct Mirror {
    keys: Keys,
    revision: Revision,
    jobs: BTreeMap<JobKey, Job>,
    /// Jobs with an owner, after it.
    children: BTreeSet<(JobKey, JobKey)>,
    /// In boxes, so that a map that grows moves pointers: a run is half a kilobyte, and a map that
    /// has just grown is half empty.
    runs: HashMap<RunId, Box<Run>>,
    nodes: BTreeMap<NodeId, Node>,
    specs: BTreeMap<SpecHash, Entry<Arc<Task>>>,
    /// How many jobs are made of each template.
    spec_users: BTreeMap<SpecHash, u32>,
    configs: BTreeMap<JobKey, Entry<ConfigRecord>>,
    secrets: BTreeMap<JobKey, Entry<SecretRecord>>,
    /// When each candidate's key was made, and what the candidate says of itself.
    leads: BTreeMap<Box<str>, (Revision, Box<str>)>,
    bad: BTreeMap<String, String>,
}

impl Mirror {
    /// Of nothing yet.
    pub fn new(keys: Keys) -> Mirror {
        Mirror {
            keys,
            revision: 0,
            jobs: BTreeMap::new(),
            children: BTreeSet::new(),
            runs: HashMap::new(),
            nodes: BTreeMap::new(),
            specs: BTreeMap::new(),
            spec_users: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            leads: BTreeMap::new(),
            bad: BTreeMap::new(),
        }
    }

    /// Where its keys lie.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// It shows the store as of this revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Forgets everything, and begins with all keys as of a revision.
    pub fn reset(&mut self, revision: Revision, all: &[Change]) {
        *self = Mirror::new(self.keys.clone());
        for change in all {
            self.apply(change);
        }
        self.revision = revision;
    }

    /// All changes up to a revision are in.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Takes in one change. Returns which key it was, if one of ours that reads.
    pub fn apply(&mut self, change: &Change) -> Option<Key> {
        let key = self.keys.parse(&change.path)?;
        match self.put(&key, change) {
            Ok(()) => {
                self.bad.remove(&change.path);
                Some(key)
            }
            Err(error) => {
                // What it held before is not true any more, either.
                let gone = Change { value: None, made: 0, ..change.clone() };
                self.put(&key, &gone).expect("to remove reads nothing");
                let source = std::error::Error::source(&error);
                let why = source.map_or_else(|| error.to_string(), ToString::to_string);
                self.bad.insert(change.path.clone(), why);
                Some(key)
            }
        }
    }

    fn put(&mut self, key: &Key, change: &Change) -> Result<(), record::BadRecord> {
        match key {
            Key::Job(job) => {
                let entry: Option<Entry<JobRecord>> = entry(change)?;
                let old = self.job(job).and_then(|it| it.record.as_ref());
                if let Some(owner) = old.and_then(|it| it.value.owner.clone()) {
                    self.children.remove(&(owner, job.clone()));
                }
                if let Some(owner) = entry.as_ref().and_then(|it| it.value.owner.clone()) {
                    self.children.insert((owner, job.clone()));
                }
                self.job_mut(job, |it| it.record = entry);
            }
            Key::State(job) => {
                let entry: Option<Entry<StateRecord>> = entry(change)?;
                let old = self.job(job).and_then(|it| it.state.as_ref());
                let old = old.map_or_else(Vec::new, |it| it.value.progress.specs());
                let new = entry.as_ref().map_or_else(Vec::new, |it| it.value.progress.specs());
                self.job_mut(job, |it| it.state = entry);
                self.count_users(old, new);
            }
            Key::Marks(job, chunk) => {
                let entry = entry(change)?;
                self.job_mut(job, |it| put_marks(it, *chunk, entry));
            }
            Key::Task(task) => {
                let entry = entry(change)?;
                self.job_mut(&task.job, |it| put_in(&mut it.tasks, task.index, entry));
            }
            Key::Past(task) => {
                let entry = entry(change)?;
                self.job_mut(&task.job, |it| put_in(&mut it.pasts, task.index, entry));
            }
            Key::Run(node, run) => {
                let entry = entry(change)?;
                let there = entry.is_some();
                self.run_mut(run, |it| it.record = entry.map(|entry| (node.clone(), entry)));
                self.node_mut(node, |it| match there {
                    true => drop(it.runs.insert(run.clone())),
                    false => drop(it.runs.remove(run)),
                });
            }
            Key::Seen(_, run) => {
                let entry = entry(change)?;
                self.run_mut(run, |it| it.seen = entry);
            }
            Key::Result(run) => {
                let entry = entry(change)?;
                self.run_mut(run, |it| it.result = entry);
            }
            Key::Node(node) => {
                let entry = entry(change)?;
                self.node_mut(node, |it| it.record = entry);
            }
            Key::Alive(node) => {
                let entry = entry(change)?;
                self.node_mut(node, |it| it.alive = entry);
            }
            Key::Spec(hash) => put_in(&mut self.specs, hash.clone(), entry(change)?),
            Key::Config(name) => put_in(&mut self.configs, name.clone(), entry(change)?),
            Key::Secret(name) => put_in(&mut self.secrets, name.clone(), entry(change)?),
            Key::Lead(lease) => match &change.value {
                Some(name) => {
                    let name = String::from_utf8_lossy(name).into();
                    self.leads.insert(lease.clone(), (change.made, name));
                }
                None => drop(self.leads.remove(lease)),
            },
        }
        Ok(())
    }

    fn job_mut(&mut self, key: &JobKey, edit: impl FnOnce(&mut Job)) {
        let job = self.jobs.entry(key.clone()).or_default();
        edit(job);
        if job.is_empty() {
            self.jobs.remove(key);
        }
    }

    fn count_users(&mut self, old: Vec<SpecHash>, new: Vec<SpecHash>) {
        for new in new {
            *self.spec_users.entry(new).or_default() += 1;
        }
        for old in old {
            let users = self.spec_users.get_mut(&old).expect("it was counted");
            *users -= 1;
            if *users == 0 {
                self.spec_users.remove(&old);
            }
        }
    }

    fn run_mut(&mut self, run: &RunId, edit: impl FnOnce(&mut Run)) {
        let it = self.runs.entry(run.clone()).or_default();
        edit(it);
        if **it == Run::default() {
            self.runs.remove(run);
        }
    }

    fn node_mut(&mut self, node: &NodeId, edit: impl FnOnce(&mut Node)) {
        let it = self.nodes.entry(node.clone()).or_default();
        edit(it);
        if *it == Node::default() {
            self.nodes.remove(node);
        }
    }

    /// All jobs, by key.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobKey, &Job)> {
        self.jobs.iter()
    }

    /// One job.
    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.jobs.get(key)
    }

    /// Jobs that this one made.
    pub fn children_of(&self, owner: &JobKey) -> impl Iterator<Item = &JobKey> {
        let from = (owner.clone(), JobKey::new("", ""));
        let rest = self.children.range(from..);
        let owner = owner.clone();
        rest.take_while(move |(of, _)| *of == owner).map(|(_, child)| child)
    }

    /// All runs, in no order.
    pub fn runs(&self) -> impl Iterator<Item = (&RunId, &Run)> {
        self.runs.iter().map(|(id, it)| (id, &**it))
    }

    /// One run.
    pub fn run(&self, run: &RunId) -> Option<&Run> {
        self.runs.get(run).map(|it| &**it)
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, &Node)> {
        self.nodes.iter()
    }

    /// One node.
    pub fn node(&self, node: &NodeId) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// A template.
    pub fn spec(&self, hash: &SpecHash) -> Option<&Entry<Arc<Task>>> {
        self.specs.get(hash)
    }

    /// How many jobs are made of a template.
    pub fn users_of(&self, hash: &SpecHash) -> u32 {
        self.spec_users.get(hash).copied().unwrap_or(0)
    }

    /// All templates.
    pub fn specs(&self) -> impl Iterator<Item = (&SpecHash, &Entry<Arc<Task>>)> {
        self.specs.iter()
    }

    /// A config map.
    pub fn config(&self, key: &JobKey) -> Option<&Entry<ConfigRecord>> {
        self.configs.get(key)
    }

    /// A secret, sealed.
    pub fn secret(&self, key: &JobKey) -> Option<&Entry<SecretRecord>> {
        self.secrets.get(key)
    }

    /// All config maps.
    pub fn configs(&self) -> impl Iterator<Item = (&JobKey, &Entry<ConfigRecord>)> {
        self.configs.iter()
    }

    /// All secrets, sealed.
    pub fn secrets(&self) -> impl Iterator<Item = (&JobKey, &Entry<SecretRecord>)> {
        self.secrets.iter()
    }

    /// Who leads: the oldest candidate's lease.
    pub fn leader(&self) -> Option<&str> {
        let oldest = self.leads.iter().min_by_key(|(_, (made, _))| *made);
        oldest.map(|(lease, _)| &**lease)
    }

    /// What a candidate says of itself.
    pub fn lead_name(&self, lease: &str) -> Option<&str> {
        self.leads.get(lease).map(|(_, name)| &**name)
    }

    /// When a candidate's key was made.
    pub fn lead(&self, lease: &str) -> Option<Revision> {
        self.leads.get(lease).map(|(made, _)| *made)
    }

    /// Keys whose values do not read, and why.
    pub fn bad(&self) -> &BTreeMap<String, String> {
        &self.bad
    }
}

fn entry<T: DeserializeOwned>(change: &Change) -> Result<Option<Entry<T>>, record::BadRecord> {
    let Some(value) = &change.value else { return Ok(None) };
    let value = record::decode(&change.path, value)?;
    Ok(Some(Entry { value, made: change.made, changed: change.changed }))
}

fn put_in<K: Ord, T>(map: &mut BTreeMap<K, Entry<T>>, key: K, entry: Option<Entry<T>>) {
    match entry {
        Some(entry) => drop(map.insert(key, entry)),
        None => drop(map.remove(&key)),
    }
}

fn put_marks(job: &mut Job, chunk: u32, entry: Option<Entry<MarksRecord>>) {
    let new = entry.as_ref().map_or(Counts::default(), |it| count(&it.value));
    let old = job.marks.get(&chunk).map_or(Counts::default(), |it| count(&it.value));
    put_in(&mut job.marks, chunk, entry);
    let counts = &mut job.counts;
    counts.succeeded = counts.succeeded - old.succeeded + new.succeeded;
    counts.failed = counts.failed - old.failed + new.failed;
    counts.cancelled = counts.cancelled - old.cancelled + new.cancelled;
}

/// What the marks of a chunk add up to.
fn count(marks: &MarksRecord) -> Counts {
    // Bit n of `lo` and `hi` are the two bits of one mark.
    let mut counts = Counts::default();
    for &byte in &marks.bits {
        let (lo, hi) = (byte & 0x55, byte >> 1 & 0x55);
        counts.succeeded += (lo & !hi).count_ones();
        counts.failed += (hi & !lo).count_ones();
        counts.cancelled += (hi & lo).count_ones();
    }
    counts
}

#[cfg(test)]
mod tests;
