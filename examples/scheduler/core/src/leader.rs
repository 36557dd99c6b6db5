//! The leader: what a mason server decides while it holds the office.
//!
//! # Problem
//! The leader turns wishes into runs: which tasks are due, where they go, what a result means, what
//! becomes of the runs of a node that fell silent. It decides by a copy of the store that is always
//! a little old, while dozens of its own transactions are under way whose effects the copy does not
//! show yet. And it may have lost its office without knowing.
//!
//! # Idea
//! It is a value. It is told which keys of the [`Mirror`] changed, what became of its transactions,
//! and the time; it answers with transactions. Three rules keep it honest:
//!
//! * **What is in flight is locked.** A transaction locks what it changes (`flights`) until the
//!   copy shows its effect; nothing else is decided about it meanwhile. So no decision is ever made
//!   on half of one's own.
//! * **Refused means look again.** A transaction that was refused changed nothing; when the copy
//!   has caught up with whatever was in its way, everything that it was about is looked at anew.
//! * **Unknown means resign.** If nobody can say whether a transaction was done, it may still be
//!   done later. Only the end of the office makes sure that it is not, so the leader gives it up,
//!   and the next one starts from what the store holds.
//!
//! ```text
//!    keys that changed ─► heard ─┐            ┌─ jobs: phases, stops          ─┐
//!    outcome of a flight ────────┼─► step ────┼─ results: marks, next attempts │─► orders
//!    time ───────────────────────┘            ├─ nodes: lost, drained          │   (transactions)
//!                                             └─ places: binds                ─┘
//! ```
//!
//! All that it remembers can be had again from the store: a new leader builds it in
//! [`Leader::take_over`].

mod crons;
mod finishing;
mod flights;
mod gates;
mod jobs;
mod lanes;
mod makers;
mod memory;
mod nodes;
mod places;
mod placing;
mod removal;
mod services;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{Key, Keys};
use crate::mirror::{Entry, Mirror};
use crate::protocol::Office;
use crate::record::JobRecord;
use crate::spec::Work;
use crate::txn::Txn;
use crate::types::{JobKey, Ms, NodeId, Revision, RunId, UnixMs};

pub use flights::FlightId;
use flights::{Flight, Flights};
pub use jobs::spec_hash;
pub use lanes::partitions;
use memory::Memory;
pub use places::Places;
pub use placing::rest;
pub use services::new_places;
pub use workflows::workflow_nodes;

/// The leader's limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Transactions under way at most.
    pub flights_max: usize,
    /// Tasks bound by one transaction at most.
    pub binds_max: usize,
    /// Results taken to account by one transaction at most.
    pub finishes_max: usize,
    /// Last attempts that are kept of one job at most.
    pub pasts_max: usize,
    /// After a refusal, what it was about rests so long if the copy shows no change.
    pub refused_pause: Ms,
}

impl Default for Config {
    fn default() -> Config {
        // etcd takes 128 comparisons and operations a transaction: a bind has two comparisons and
        // two operations of its own and shares two; a finish has two of one and five of the other.
        Config {
            flights_max: 32,
            binds_max: 55,
            finishes_max: 24,
            pasts_max: 1000,
            refused_pause: 500,
        }
    }
}

/// A transaction to send, and how its outcome is to be called.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its name.
    pub flight: FlightId,
    /// What to send.
    pub txn: Txn,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, at this revision.
    Done(Revision),
    /// A comparison failed; the store was at this revision.
    Refused(Revision),
}

/// What a server decides while it holds the office.
///
/// Invariants, asserted by [`Leader::check`]:
/// * what is assigned to a place is a run in the copy, or one of a bind under way;
/// * a job's holes and due tasks have no run and no mark in the copy.
#[derive(Debug)]
pub struct Leader {
    config: Config,
    keys: Keys,
    office: Office,
    /// The number that its runs are named by.
    term: u64,
    runs_named: u64,
    flights: Flights,
    places: Places,
    jobs: BTreeMap<JobKey, Memory>,
    /// Jobs that wait for one of these to end, by the one.
    waiting_on: BTreeMap<JobKey, BTreeSet<JobKey>>,
    /// Jobs to look at.
    dirty: BTreeSet<JobKey>,
    /// Jobs to look at then.
    alarms: BTreeSet<(UnixMs, JobKey)>,
    /// Jobs with slots that want a place: the most important first, then the oldest.
    queue: BTreeSet<Rank>,
    /// Jobs with slots for which there was no place.
    stuck: BTreeSet<Rank>,
    /// Whether there may be a place for them now.
    room: bool,
    /// Results to take to account, by what shares its marks.
    ended: BTreeMap<(JobKey, u32), BTreeSet<RunId>>,
    /// Nodes to look at.
    dirty_nodes: BTreeSet<NodeId>,
    /// Nodes to look at then.
    node_alarms: BTreeSet<(UnixMs, NodeId)>,
    /// The time at the last step.
    last_step: UnixMs,
    orders: Vec<Order>,
}

/// A job's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The lower the earlier: its priority, negated.
    order: i64,
    created_at: UnixMs,
    job: JobKey,
}

impl Leader {
    /// Takes office. `mirror` shows the store at or after the revision that made the office: no
    /// earlier leader's transaction can change it any more. `term` is drawn by chance.
    pub fn take_over(config: Config, office: Office, term: u64, mirror: &Mirror) -> Leader {
        assert!(mirror.revision() >= office.made, "a leader starts from what its office fenced");
        let mut leader = Leader {
            config,
            keys: mirror.keys().clone(),
            office,
            term,
            runs_named: 0,
            flights: Flights::default(),
            places: Places::default(),
            jobs: BTreeMap::new(),
            waiting_on: BTreeMap::new(),
            dirty: mirror.jobs().map(|(key, _)| key.clone()).collect(),
            alarms: BTreeSet::new(),
            queue: BTreeSet::new(),
            stuck: BTreeSet::new(),
            room: true,
            ended: BTreeMap::new(),
            dirty_nodes: BTreeSet::new(),
            node_alarms: BTreeSet::new(),
            last_step: 0,
            orders: Vec::new(),
        };
        for (node, it) in mirror.nodes() {
            leader.dirty_nodes.insert(node.clone());
            leader.places.fill(mirror, node);
            for run in &it.runs {
                leader.heard_result(mirror, run);
            }
        }
        leader
    }

    /// By which right it decides.
    pub fn office(&self) -> &Office {
        &self.office
    }

    /// The copy shows another value of this key. Call it when *all* changes up to a revision are in
    /// the copy: a transaction's changes come one by one, and only together do they mean something.
    pub fn heard(&mut self, mirror: &Mirror, key: &Key) {
        match key {
            Key::Job(job) => {
                self.heard_job(mirror, job);
                let record = mirror.job(job).and_then(|it| it.record.as_ref());
                if record.is_none_or(|it| it.value.deleted) {
                    // What it made goes with it.
                    self.dirty.extend(mirror.children_of(job).cloned());
                }
            }
            Key::State(job) => self.heard_job(mirror, job),
            Key::Marks(job, chunk) => {
                self.look_at(job);
                self.heard_marks(job, *chunk);
            }
            Key::Task(task) => {
                self.look_at(&task.job);
                if let Some(memory) = self.jobs.get_mut(&task.job) {
                    memory.recheck(task.index, mirror.job(&task.job));
                }
            }
            Key::Run(_, run) => self.heard_run(mirror, run),
            Key::Result(run) => self.heard_result(mirror, run),
            Key::Node(node) | Key::Alive(node) => {
                self.dirty_nodes.insert(node.clone());
            }
            Key::Seen(_, run) => self.heard_seen(mirror, run),
            Key::Past(_) | Key::Spec(_) => {}
            Key::Config(_) | Key::Secret(_) | Key::Lead(_) => {}
        }
    }

    fn heard_job(&mut self, mirror: &Mirror, job: &JobKey) {
        self.look_at(job);
        self.look_at_dependents(mirror, job);
        let record = mirror.job(job).and_then(|it| it.record.as_ref());
        let owner = match record {
            Some(record) => record.value.owner.clone(),
            None => self.jobs.get(job).and_then(|memory| memory.owner.clone()),
        };
        self.dirty.extend(owner);
    }

    fn heard_run(&mut self, mirror: &Mirror, run: &RunId) {
        match mirror.run(run).and_then(|it| it.record.as_ref()) {
            Some((node, entry)) => {
                let job = mirror.job(&entry.value.task.job);
                self.places.assign(run, node, &entry.value, job, mirror);
            }
            None => {
                self.places.release(run);
                self.room = true;
            }
        }
    }

    fn heard_result(&mut self, mirror: &Mirror, run: &RunId) {
        let Some(result) = mirror.run(run).and_then(|it| it.result.as_ref()) else { return };
        let task = &result.value.task;
        let record = mirror.job(&task.job).and_then(|job| job.record.as_ref());
        let is_service = |it: &Entry<JobRecord>| matches!(it.value.work, Work::Service(_));
        if record.is_some_and(|it| is_service(it) && !it.value.deleted) {
            // Its controller says what follows.
            self.look_at(&task.job);
            return;
        }
        let chunk = task.index / crate::record::MARKS_CHUNK;
        self.ended.entry((task.job.clone(), chunk)).or_default().insert(run.clone());
    }

    /// A replica has started, or its probe changed its mind.
    fn heard_seen(&mut self, mirror: &Mirror, run: &RunId) {
        let Some((_, entry)) = mirror.run(run).and_then(|it| it.record.as_ref()) else { return };
        let key = &entry.value.task.job;
        let record = mirror.job(key).and_then(|job| job.record.as_ref());
        if record.is_some_and(|it| matches!(it.value.work, Work::Service(_))) {
            self.look_at(key);
        }
    }

    fn look_at(&mut self, job: &JobKey) {
        self.dirty.insert(job.clone());
    }

    fn look_at_dependents(&mut self, mirror: &Mirror, job: &JobKey) {
        let Some(dependents) = self.waiting_on.get(job) else { return };
        let state = mirror.job(job).and_then(|it| it.state.as_ref());
        let is_over = state.is_some_and(|it| it.value.phase.is_final());
        for key in dependents {
            self.dirty.insert(key.clone());
            if let Some(memory) = self.jobs.get_mut(key).filter(|_| is_over) {
                // Tasks of its that never began will not.
                memory.is_opened = false;
            }
        }
    }

    /// Whether gossip has a node under suspicion: nothing new goes there until it is refuted.
    pub fn suspect(&mut self, node: &NodeId, suspected: bool) {
        self.places.set_suspect(node, suspected);
        self.room |= !suspected;
    }

    /// A transaction of this name came to this end.
    ///
    /// One whose end nobody knows has no place here: drop the leader and resign the office.
    pub fn outcome(&mut self, flight: FlightId, outcome: Outcome, mirror: &Mirror, now: UnixMs) {
        let flight = self.flights.land(flight, outcome, now + self.config.refused_pause);
        if let Outcome::Refused(_) = outcome {
            for bind in flight.binds {
                self.places.release(&bind.run);
                self.room = true;
                if let Some(memory) = self.jobs.get_mut(&bind.task.job) {
                    memory.unfly(bind.task.index, mirror.job(&bind.task.job));
                }
            }
        }
    }

    /// Decides what can be decided now. What it says must be sent, in any order.
    pub fn step(&mut self, mirror: &Mirror, now: UnixMs) -> Vec<Order> {
        if now < self.last_step {
            self.clock_went_back(mirror, now);
        }
        self.last_step = now;
        for flight in self.flights.settle(mirror.revision(), now) {
            self.settle(flight, mirror);
        }
        while let Some((at, job)) = self.alarms.first().filter(|(at, _)| *at <= now).cloned() {
            self.alarms.remove(&(at, job.clone()));
            self.dirty.insert(job);
        }
        self.look_at_nodes(mirror, now);
        self.look_at_jobs(mirror, now);
        self.finish(mirror, now);
        self.place(mirror, now);
        std::mem::take(&mut self.orders)
    }

    /// Somebody set the clock: what was to happen at a time of the old clock is looked at now.
    fn clock_went_back(&mut self, mirror: &Mirror, now: UnixMs) {
        self.alarms.clear();
        self.node_alarms.clear();
        self.flights.rest_until(now + self.config.refused_pause);
        self.dirty.extend(mirror.jobs().map(|(key, _)| key.clone()));
        self.dirty_nodes.extend(mirror.nodes().map(|(node, _)| node.clone()));
    }

    /// What a flight was about can be decided again.
    fn settle(&mut self, flight: Flight, mirror: &Mirror) {
        for bind in flight.binds {
            if let Some(memory) = self.jobs.get_mut(&bind.task.job) {
                memory.unfly(bind.task.index, mirror.job(&bind.task.job));
            }
        }
        for key in flight.locks {
            match key {
                Key::Job(job) | Key::State(job) | Key::Marks(job, _) => self.look_at(&job),
                // A past alone changes nothing, but a job that goes has waited for it.
                Key::Task(task) | Key::Past(task) => self.look_at(&task.job),
                Key::Run(node, _) => drop(self.dirty_nodes.insert(node)),
                _ => {}
            }
        }
    }

    /// When [`Leader::step`] has something to do though nothing was heard; none if never.
    pub fn wake_at(&self) -> Option<UnixMs> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let node = self.node_alarms.first().map(|(at, _)| *at);
        [alarm, node, self.flights.wake_at()].into_iter().flatten().min()
    }

    fn has_wings(&self) -> bool {
        self.flights.count() < self.config.flights_max
    }

    fn send(&mut self, txn: Txn, flight: Flight) {
        assert!(txn.fits(), "a transaction within etcd's limits");
        let flight = self.flights.start(flight);
        self.orders.push(Order { flight, txn });
    }

    fn set_alarm(&mut self, at: UnixMs, job: &JobKey) {
        self.alarms.insert((at, job.clone()));
    }

    /// Asserts the invariants.
    pub fn check(&mut self, mirror: &Mirror) {
        self.places.check();
        for (key, memory) in &self.jobs {
            if let Some(job) = mirror.job(key) {
                memory.check(job);
            }
        }
    }
}

#[cfg(test)]
mod tests;
