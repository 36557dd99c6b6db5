//! The agent: what mason decides on a node.
//!
//! # Problem
//! An agent starts what the store binds to its node and tells how it ended. It can be killed
//! between any two steps, while the containers run on; the store can be out of reach; what it knows
//! of the store can be minutes old when it speaks to it again. Whatever happens, no run may be
//! started twice, none that ran may be forgotten, and nothing may be left behind.
//!
//! # Idea
//! It is a value, as the leader is. It is told what the store, its journal and its containers say,
//! and answers with effects. Every run goes down one path, and never back:
//!
//! ```text
//!   bound ─ journal ─► noted ─ claim ─► claimed ─ prepare ─► prepared ─ start ─► running
//!     │                   │                │ pull, unpack        │   gate           │ exit
//!     └───────────────────┴── stopped before it ran ─────────────┴──────────────────▼
//!                                 gone ◄─ reap ◄─ settled ◄─ result ─────────── ended
//! ```
//!
//! * **Noted before claimed.** The claim is in the journal, synced, before the store hears of it.
//!   After a crash, a run whose keeper is there is adopted; one whose keeper is gone is
//!   [`Reason::Unknown`]; one that is noted and never had a keeper is over before it began.
//! * **The gate.** Between claim and start minutes can pass: an image is fetched. A container is
//!   started only if the lease is still the one under which the run was claimed, and the fence has
//!   not passed; otherwise it is claimed again, which the store refuses if the run was declared
//!   lost meanwhile.
//! * **The fence.** Strict runs are killed when the store has not been heard of for too long
//!   ([`crate::protocol::fence`]).
//! * **What the store does not know** is killed: a run whose key is gone was superseded.
//! * **What passes at once is not told.** With a warm image a run is prepared and created in some
//!   milliseconds; the store hears of that only if it lasts ([`PASSING`]). A start then costs the
//!   store a claim, one report and a result.

mod local;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::{Key, Keys};
use crate::leader::Outcome;
use crate::mirror::Change;
use crate::protocol::{self, fence};
use crate::record::{self, Exit, Reason, ResultRecord, RunPhase, RunRecord, SeenRecord, Wish};
use crate::spec::Concurrency;
use crate::txn::Txn;
use crate::types::{Ms, NodeId, Revision, RunId, UnixMs};

use local::{Local, Stage};
pub use recovery::{Found, Keeper, Note};

/// A phase before the container runs is told when it has lasted so long.
pub const PASSING: Ms = 200;

/// Two clocks: what people call the time, and one that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For records.
    pub wall: UnixMs,
    /// For the fence: since the machine was started, with sleep counted.
    pub mono: Ms,
}

/// Something to do. Whoever does it tells the agent how it went.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append to the journal and sync; then [`Agent::journaled`].
    Journal(Note),
    /// Send to the store; then [`Agent::outcome`].
    Commit(RunId, Txn),
    /// Fetch the image, make the container's folder; then [`Event::Prepared`] or [`Event::Ended`].
    Prepare(RunId, Box<RunRecord>),
    /// Start the container; then [`Event::Started`] or [`Event::Ended`].
    Start(RunId, Box<RunRecord>),
    /// Send the stop signal; after so long, or what its spec says, kill.
    Stop(RunId, Option<Ms>),
    /// Kill at once.
    Kill(RunId),
    /// Remove all that is left of it on this node; then [`Event::Reaped`].
    Reap(RunId),
    /// Keepers of strict runs kill them at that time of the second clock, unless told another.
    Fence(Ms),
}

/// Something that a container did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It waits for something: shown to people.
    Waits(String),
    /// It can be started.
    Prepared,
    /// It runs.
    Started,
    /// Its probe changed its mind.
    Ready(bool),
    /// Its probe says that it shall be stopped and started anew.
    Unhealthy(String),
    /// It is over; or could not be prepared or started.
    Ended(Exit),
    /// Nothing is left of it.
    Reaped,
}

/// What mason decides on a node.
///
/// Invariants, asserted by [`Agent::check`]:
/// * a run is started at most once, and only after its claim was acknowledged;
/// * a strict run is alive only before the fence.
#[derive(Clone, Debug)]
pub struct Agent {
    keys: Keys,
    node: NodeId,
    epoch: u64,
    /// Tells one start of the machine from the next.
    boot: Box<str>,
    /// When the key that says that this node lives was made, while the lease holds.
    alive: Option<Revision>,
    /// When strict runs must be dead.
    fence: Ms,
    runs: BTreeMap<RunId, Local>,
    effects: Vec<Effect>,
}

impl Agent {
    /// The agent of a node, at its `epoch`-th start.
    pub fn new(keys: Keys, node: NodeId, epoch: u64, boot: &str) -> Agent {
        let (runs, effects) = (BTreeMap::new(), Vec::new());
        Agent { keys, node, epoch, boot: boot.into(), alive: None, fence: 0, runs, effects }
    }

    /// Which node.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// The node's key was made at this revision, under a lease that was asked for at `asked`.
    pub fn registered(&mut self, made: Revision, asked: Ms) {
        self.alive = Some(made);
        self.renewed(asked);
    }

    /// The lease was renewed; the request had been sent at `asked`.
    pub fn renewed(&mut self, asked: Ms) {
        let deadline = fence::deadline(asked);
        if self.alive.is_some() && deadline > self.fence {
            self.fence = deadline;
            self.effects.push(Effect::Fence(deadline));
        }
    }

    /// The store says that there is no such lease any more.
    pub fn lease_lost(&mut self) {
        self.alive = None;
    }

    /// All keys of this node's runs, after a list.
    pub fn reset(&mut self, all: &[Change]) {
        let there: BTreeSet<RunId> = all.iter().filter_map(|it| self.heard(it)).collect();
        for (run, local) in &mut self.runs {
            if !there.contains(run) {
                local.forget_bound();
            }
        }
    }

    /// A key of one of this node's runs changed. Returns the run, if its key is there.
    pub fn heard(&mut self, change: &Change) -> Option<RunId> {
        let Some(Key::Run(node, run)) = self.keys.parse(&change.path) else { return None };
        if node != self.node {
            return None;
        }
        let Some(value) = &change.value else {
            if let Some(local) = self.runs.get_mut(&run) {
                local.forget_bound();
            }
            return None;
        };
        // One that does not read is as good as gone; servers tell people about it.
        let record: RunRecord = record::decode(&change.path, value).ok()?;
        let local = self.runs.entry(run.clone()).or_default();
        local.bind(record, change.made, change.changed);
        Some(run)
    }

    /// A note is in the journal.
    pub fn journaled(&mut self, note: &Note) {
        if let Note::Claim { run, .. } = note
            && let Some(local) = self.runs.get_mut(run)
            && local.stage == Stage::Noting
        {
            local.stage = Stage::Noted;
        }
    }

    /// What became of a run's transaction; none if nobody knows.
    pub fn outcome(&mut self, run: &RunId, outcome: Option<Outcome>) {
        let Some(local) = self.runs.get_mut(run) else { return };
        local.commit_is_open = false;
        if outcome.is_none() {
            // The store may not have heard it.
            local.told = None;
        }
        match (local.stage, outcome) {
            (Stage::Claiming { alive }, Some(Outcome::Done(_))) => {
                local.claimed_under = Some(alive);
                local.stage = local.after_claim;
            }
            // Refused: the run was told to stop, or is gone, or the lease is; unknown: ask again.
            // A claim changes nothing that it asks for, so it can be made any number of times.
            (Stage::Claiming { .. }, _) => local.stage = local.before_claim,
            // Done, or somebody else's result is there: either way the ledger is closed.
            (Stage::Ended, Some(_)) if local.is_reported => local.stage = Stage::Settled,
            (Stage::Ended, None) => local.is_reported = false,
            _ => {}
        }
    }

    /// A container did something.
    pub fn event(&mut self, run: &RunId, event: Event, now: Now) {
        let Some(local) = self.runs.get_mut(run) else { return };
        match event {
            Event::Waits(message) => local.say(message, now),
            Event::Prepared if local.stage == Stage::Preparing => {
                local.stage = Stage::Prepared;
                local.advance(RunPhase::Created, now);
            }
            Event::Started if local.stage == Stage::Starting => {
                local.stage = Stage::Running;
                local.started(now);
            }
            Event::Ready(ready) => local.set_ready(ready, now.wall),
            Event::Unhealthy(message) => local.stop(Reason::Unhealthy, None, message),
            Event::Ended(exit) => local.end(exit),
            Event::Reaped => {
                self.runs.remove(run);
                self.effects.push(Effect::Journal(Note::Gone { run: run.clone() }));
            }
            Event::Prepared | Event::Started => {}
        }
    }

    /// Decides what can be decided now.
    pub fn step(&mut self, now: Now) -> Vec<Effect> {
        let mut runs = std::mem::take(&mut self.runs);
        for (run, local) in &mut runs {
            self.step_run(run, local, now);
        }
        self.runs = runs;
        std::mem::take(&mut self.effects)
    }

    /// When [`Agent::step`] has something to do though nothing was heard, by the second clock.
    pub fn wake_at(&self) -> Option<Ms> {
        let waits = |it: &Local| it.is_strict() && it.stage.has_container() && !it.is_fenced();
        let fence = self.runs.values().any(waits).then_some(self.fence);
        self.runs.values().filter_map(Local::tell_at).chain(fence).min()
    }

    fn step_run(&mut self, run: &RunId, local: &mut Local, now: Now) {
        let is_fenced = now.mono >= self.fence;
        if !local.is_bound() {
            self.step_stranger(run, local);
            return;
        }
        if let Wish::Stop { grace, why } = local.record().wish {
            local.stop(why, grace, String::new());
        }
        if is_fenced && local.is_strict() && local.stage.has_container() {
            local.fence();
        }
        match local.stage {
            Stage::Bound if local.stopped.is_some() => local.end_unstarted(now.wall),
            Stage::Bound => {
                local.stage = Stage::Noting;
                let boot = self.boot.clone();
                self.effects.push(Effect::Journal(Note::Claim { run: run.clone(), boot }));
            }
            Stage::Noted | Stage::Prepared if local.stopped.is_some() => {
                local.end_unstarted(now.wall);
            }
            Stage::Noted => self.claim(run, local, Stage::Claimed, now),
            Stage::Claimed => {
                local.stage = Stage::Preparing;
                local.advance(RunPhase::Pulling, now);
                let record = Box::new(local.record().clone());
                self.effects.push(Effect::Prepare(run.clone(), record));
            }
            Stage::Prepared if is_fenced => {}
            Stage::Prepared if local.claimed_under == self.alive => {
                local.stage = Stage::Starting;
                local.starts += 1;
                let record = Box::new(local.record().clone());
                self.effects.push(Effect::Start(run.clone(), record));
            }
            Stage::Prepared => self.claim(run, local, Stage::Prepared, now),
            Stage::Preparing | Stage::Starting | Stage::Running => {
                let told = local.tell(run, now);
                self.effects.extend(told);
            }
            Stage::Noting | Stage::Claiming { .. } | Stage::Ended | Stage::Settled => {}
            Stage::Reaping => {}
        }
        self.report(run, local, now);
        self.close(run, local);
    }

    /// A run whose key is gone: whatever is left of it goes.
    fn step_stranger(&mut self, run: &RunId, local: &mut Local) {
        match local.stage {
            Stage::Starting | Stage::Running | Stage::Preparing => {
                if !local.is_killed {
                    local.is_killed = true;
                    self.effects.push(Effect::Kill(run.clone()));
                }
            }
            Stage::Noting => {}
            Stage::Reaping => {}
            _ => {
                local.stage = Stage::Reaping;
                self.effects.push(Effect::Reap(run.clone()));
            }
        }
    }

    fn claim(&mut self, run: &RunId, local: &mut Local, then: Stage, now: Now) {
        let Some(alive) = self.alive else { return };
        if local.commit_is_open {
            return;
        }
        local.before_claim = local.stage;
        local.after_claim = then;
        local.stage = Stage::Claiming { alive };
        local.advance(RunPhase::Claimed, now);
        let seen = local.seen(self.epoch);
        local.told = Some(seen.clone());
        local.commit_is_open = true;
        let at = (local.changed(), alive);
        let txn = protocol::claim(&self.keys, (&self.node, run), at, &seen);
        self.effects.push(Effect::Commit(run.clone(), txn));
    }

    /// Tells how far it is, if that is news.
    fn report(&mut self, run: &RunId, local: &mut Local, now: Now) {
        let is_ours = local.claimed_under.is_some() || local.is_adopted;
        let news = is_ours && !local.stage.is_over();
        if !news || local.is_passing(now) || local.commit_is_open {
            return;
        }
        let seen = local.seen(self.epoch);
        if local.told.as_ref() != Some(&seen) {
            let txn = protocol::report(&self.keys, (&self.node, run), local.made(), &seen);
            local.told = Some(seen);
            local.commit_is_open = true;
            self.effects.push(Effect::Commit(run.clone(), txn));
        }
    }

    /// Tells how it ended; then nothing of it needs to be kept.
    fn close(&mut self, run: &RunId, local: &mut Local) {
        match local.stage {
            Stage::Ended if !local.commit_is_open => {
                local.commit_is_open = true;
                local.is_reported = true;
                let exit = local.exit.clone().expect("what has ended ended somehow");
                let (task, node) = (local.record().task.clone(), self.node.clone());
                let result = ResultRecord { task, node, exit };
                let at = (&self.node, run);
                let txn = protocol::result(&self.keys, at, local.made(), &result);
                self.effects.push(Effect::Commit(run.clone(), txn));
            }
            Stage::Settled => {
                local.stage = Stage::Reaping;
                self.effects.push(Effect::Reap(run.clone()));
            }
            _ => {}
        }
    }

    /// Runs that it knows of, and how far they are.
    pub fn runs(&self) -> impl Iterator<Item = (&RunId, Option<&RunRecord>, SeenRecord)> {
        self.runs.iter().map(|(run, local)| (run, local.try_record(), local.seen(self.epoch)))
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        for (run, local) in &self.runs {
            assert!(local.starts <= 1, "{run} is started at most once");
            let claimed = local.claimed_under.is_some() || local.is_adopted;
            assert!(local.starts == 0 || claimed, "{run} is started after its claim");
        }
    }
}

impl Local {
    fn is_strict(&self) -> bool {
        self.try_record().is_none_or(|record| record.concurrency == Concurrency::Strict)
    }
}
