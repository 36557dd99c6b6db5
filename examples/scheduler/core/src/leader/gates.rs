//! What a job waits for: other jobs as a whole, or task by task.
//!
//! ```text
//!   the other           it waits for:  success    failure    any end
//!   ──────────────────────────────────────────────────────────────────
//!   has succeeded                      open       walled     open
//!   has failed                         walled     open       open
//!   was skipped, or stopped unbegun    walled     walled     open
//!   has not ended                      closed     closed     closed
//!   is not there                       closed     closed     closed
//! ```
//!
//! What is walled never begins: the whole job is skipped, or the one task is marked as cancelled,
//! in the marks alone, for it never was a key. What is closed is explained by the job's message,
//! with the name of what it waits for. One that is not there may be made yet: its manifest may come
//! later, or somebody removed it to make it anew.

use std::fmt;

use super::Leader;
use super::flights::Flight;
use super::jobs::Sight;
use crate::keys::Key;
use crate::mirror::{self, Job, Mirror};
use crate::record::{self, MARKS_CHUNK, Mark, Phase};
use crate::spec::{self, Dependency, DependencyMode, DependencyWhen};
use crate::txn::{Compare, Txn};
use crate::types::JobKey;

/// Why something never begins.
pub(super) const WALLED: &str = "what it waited for ended in another way";

/// Whether something may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate<'a> {
    Open,
    Closed(Why<'a>),
    /// It will never open.
    Walled,
}

/// What keeps a gate closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Why<'a> {
    on: &'a str,
    is_there: bool,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Why { on, is_there } = self;
        match is_there {
            true => write!(f, "it waits for `{on}`"),
            false => write!(f, "it waits for `{on}`, which is not there"),
        }
    }
}

/// How what is waited for has ended, if it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Badly,
    /// It never began, or was stopped.
    Not,
}

fn meets(end: End, when: DependencyWhen) -> bool {
    match when {
        DependencyWhen::Succeeded => end == End::Well,
        DependencyWhen::Failed => end == End::Badly,
        DependencyWhen::Finished => true,
    }
}

fn end_of(phase: Option<Phase>) -> Option<End> {
    match phase? {
        Phase::Succeeded => Some(End::Well),
        Phase::Failed => Some(End::Badly),
        Phase::Skipped => Some(End::Not),
        Phase::Waiting | Phase::Active | Phase::Suspended | Phase::Stopping => None,
    }
}

fn phase_of(job: Option<&Job>) -> Option<Phase> {
    job.and_then(|job| job.state.as_ref()).map(|state| state.value.phase)
}

/// Whether a job may begin, as far as whole jobs are concerned.
pub(super) fn gate<'a>(mirror: &Mirror, key: &JobKey, spec: &'a spec::Job) -> Gate<'a> {
    let mut all = Gate::Open;
    for dependency in spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Whole) {
        let on = mirror.job(&JobKey::new(&key.namespace, &dependency.job));
        match end_of(phase_of(on)) {
            Some(end) if meets(end, dependency.when) => {}
            Some(_) => return Gate::Walled,
            None if all == Gate::Open => all = Gate::Closed(why(dependency, on)),
            None => {}
        }
    }
    all
}

fn why<'a>(dependency: &'a Dependency, on: Option<&Job>) -> Why<'a> {
    let is_there = on.is_some_and(|it| it.record.is_some());
    Why { on: &dependency.job, is_there }
}

/// The jobs that the tasks of another wait for, index by index.
struct Gates<'a> {
    all: Vec<(&'a Dependency, Option<&'a Job>)>,
}

impl<'a> Gates<'a> {
    fn new(mirror: &'a Mirror, key: &JobKey, spec: &'a spec::Job) -> Gates<'a> {
        let its = spec.depends_on.iter().filter(|it| it.mode == DependencyMode::Index);
        let on = |it: &Dependency| mirror.job(&JobKey::new(&key.namespace, &it.job));
        Gates { all: its.map(|it| (it, on(it))).collect() }
    }

    /// Whether one task may begin.
    fn of(&self, index: u32) -> Gate<'a> {
        let mut all = Gate::Open;
        for (dependency, on) in &self.all {
            match end_at(*on, index) {
                Some(end) if meets(end, dependency.when) => {}
                Some(_) => return Gate::Walled,
                None if all == Gate::Open => all = Gate::Closed(why(dependency, *on)),
                None => {}
            }
        }
        all
    }
}

/// How a task of this job ended, if it has. One that has no mark when all is over never began.
fn end_at(on: Option<&Job>, index: u32) -> Option<End> {
    match on?.mark(index) {
        Mark::Succeeded => Some(End::Well),
        Mark::Failed => Some(End::Badly),
        Mark::Cancelled => Some(End::Not),
        Mark::None => end_of(phase_of(on)).map(|_| End::Not),
    }
}

/// What a job says whose tasks wait for those of another that has not ended.
pub(super) fn waits_by_index(mirror: &Mirror, key: &JobKey, spec: &spec::Job) -> String {
    let gates = Gates::new(mirror, key, spec);
    let first = gates.all.iter().find(|(_, on)| end_of(phase_of(*on)).is_none());
    first.map_or_else(String::new, |(it, on)| format!("task by task {}", why(it, *on)))
}

impl Leader {
    /// Of a job that waits index by index: looks which may begin, and which never will.
    pub(super) fn open_gates(&mut self, mirror: &Mirror, sight: &Sight<'_>) {
        let Sight { key, job, spec, .. } = *sight;
        let memory = self.jobs.get_mut(key).expect("remembered above");
        if !memory.gated {
            return;
        }
        let chunks = std::mem::take(&mut memory.chunks);
        let ranges: Vec<_> = match std::mem::replace(&mut memory.is_opened, true) {
            true => chunks
                .into_iter()
                .map(|chunk| chunk * MARKS_CHUNK)
                .map(|first| first..spec.count.min(first.saturating_add(MARKS_CHUNK)))
                .collect(),
            false => std::iter::once(0..spec.count).collect(),
        };
        let gates = Gates::new(mirror, key, spec);
        for index in ranges.into_iter().flatten() {
            if memory.is_open(index) {
                continue;
            }
            match gates.of(index) {
                Gate::Open => memory.open(index, job),
                Gate::Closed(_) => {}
                Gate::Walled => {
                    let is_new = job.mark(index) == Mark::None && !job.tasks.contains_key(&index);
                    if is_new {
                        memory.walled.insert(index);
                    }
                }
            }
        }
    }

    /// Tasks of a chunk of this job have ended: those that wait for just them may begin.
    pub(super) fn heard_marks(&mut self, on: &JobKey, chunk: u32) {
        let Some(waiting) = self.waiting_on.get(on) else { return };
        for key in waiting {
            self.dirty.insert(key.clone());
            if let Some(memory) = self.jobs.get_mut(key).filter(|it| it.gated) {
                memory.chunks.insert(chunk);
            }
        }
    }

    /// Tasks that never may begin are over, a chunk at a time.
    pub(super) fn cancel_walled(&mut self, sight: &Sight<'_>) {
        let Sight { key, job, record, .. } = *sight;
        let memory = self.jobs.get_mut(key).expect("remembered above");
        memory.walled.retain(|&index| job.mark(index) == Mark::None);
        let Some(chunk) = memory.walled.first().map(|index| index / MARKS_CHUNK) else { return };
        let lock = Key::Marks(key.clone(), chunk);
        if !self.flights.is_free(&lock) {
            return;
        }
        let old = job.marks.get(&chunk);
        let mut marks = old.map(|it| it.value.clone()).unwrap_or_default();
        marks.uid = Some(record.value.uid.clone());
        let first = chunk * MARKS_CHUNK;
        for index in memory.walled.range(first..first.saturating_add(MARKS_CHUNK)) {
            marks.set(index % MARKS_CHUNK, Mark::Cancelled);
        }
        let path = self.keys.path(&lock);
        let txn = Txn::new()
            .when(self.office.fence())
            .when(Compare::Made(self.keys.path(&Key::Job(key.clone())), record.made))
            .when(Compare::Changed(path.clone(), mirror::changed(old)))
            .put(path, record::encode(&marks));
        self.send(txn, Flight::of(lock));
    }
}

/// Whether some of a job's tasks wait for those of another, index by index.
pub(super) fn is_gated(spec: &spec::Job) -> bool {
    spec.depends_on.iter().any(|it| it.mode == DependencyMode::Index)
}
