//! Which replicas there are, and of which version.
//!
//! # Problem
//! A service is replaced while it is used. Between the old version and the new one lies a time with
//! some of both, in which replicas also crash, nodes are lost, and people change their minds: they
//! scale, they ask for yet another version, they want the old one back. Through all that enough
//! replicas must answer, and it must come to an end.
//!
//! # Idea
//! Nothing here is a script with a current line. Each step looks at what there is and asks two
//! questions whose answers are bounds: how many more may there be, and how many fewer may answer.
//! A start is allowed while there are fewer than `replicas + surge_max`; a stop, while at least
//! `replicas - unavailable_max` would answer without it. Whatever happens in between, the next step
//! asks again.
//!
//! ```text
//!   replicas 3, surge 1, unavailable 0                         answer   there are
//!   A A A            three of the old revision                    3        3
//!   A A A b          one more may be: a new one starts            3        4
//!   A A A B          it answers: one old one may go               4        4
//!   a A A B          … and is stopped                             3        4
//!   b A A B          its place is free: a new one starts          3        4
//! ```
//!
//! # Revisions
//! What is to run is a *revision*: a template, and how often somebody asked to start it all anew. A
//! revision that had all its replicas answer at once is *whole*. One that makes no progress for too
//! long has *failed*; then the last whole one takes its place, and the failed one is left alone
//! until somebody asks for something. A rollback that fails itself is not rolled back again: there
//! would be no end to it.
//!
//! # Restarts
//! A replica that ended is started again in its place: at once if it was no fault of its own, else
//! after a back-off that grows with each early death and is forgotten once it ran well for a while.
//!
//! # Omissions
//! Replicas keep the index that they were given; after an update that needed one more place, the
//! indexes may have a gap. Traffic is none of its business: it counts those that are ready.

mod plan;
mod revision;

use serde::{Deserialize, Serialize};

use crate::control::{self, BadProgress, Problem};
use crate::record::{Condition, Exit, Phase, Reason};
use crate::spec::{Service, Update};
use crate::types::{SpecHash, UnixMs};
pub use revision::{Asked, Revision, RevisionState, Rollout};

/// Replicas of one service, with those of an update.
pub const REPLICAS_MAX: u32 = 100_000;

/// What a user asks for besides the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The generation of the record.
    pub generation: u64,
    /// The hash of its task.
    pub spec: SpecHash,
    /// How often somebody asked to start it all anew.
    pub restarts: u32,
    /// Back to this revision. It is obeyed when it changes; so that the same can be asked again,
    /// it must be cleared in between.
    pub rollback_to: Option<u64>,
}

/// How far a service is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceProgress {
    /// What was last asked for and obeyed.
    #[serde(default)]
    pub asked: Asked,
    /// The revision that shall run; 0 before the first.
    #[serde(default)]
    pub target: u64,
    /// Those that are known, in the order of their numbers.
    #[serde(default)]
    pub revisions: Vec<Revision>,
    /// The update that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What people ask about, as last told.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What there is to say about the last update.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl ServiceProgress {
    /// As the store holds it; null is a beginning.
    ///
    /// # Errors
    /// Names the field that does not read.
    pub fn read(value: &serde_json::Value) -> Result<ServiceProgress, BadProgress> {
        control::read("service", value)
    }

    /// For the store.
    pub fn write(&self) -> serde_json::Value {
        control::write(self)
    }

    /// A revision by its number.
    pub fn revision(&self, number: u64) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

/// One replica's place: a task record, with its run if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSeen {
    /// Which.
    pub index: u32,
    /// What it runs.
    pub spec: SpecHash,
    /// The revision that it was started for.
    pub revision: u64,
    /// The attempt that is due, under way, or over.
    pub attempt: u32,
    /// Early deaths in a row before it.
    pub counted: u32,
    /// What it is doing.
    pub state: SlotState,
}

/// What a replica is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// It waits for its time, or a place.
    Due,
    /// It has a run, which has not started.
    Bound,
    /// It runs.
    Running {
        /// Since when.
        started_at: UnixMs,
        /// It answers, since then.
        ready_since: Option<UnixMs>,
    },
    /// Its run was told to end.
    Stopping,
    /// Its run is over.
    Ended(Exit),
}

/// What should become of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotWish {
    /// Which.
    pub index: u32,
    /// What.
    pub act: Act,
}

/// What should become of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Leave it as it is.
    Keep,
    /// Tell its run to end, for this reason; without one, remove the place.
    Stop(Reason),
    /// A new attempt: in a new place, after one that is over, or instead of one that is due.
    Start(Start),
}

/// A new attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// What it runs.
    pub spec: SpecHash,
    /// For which revision.
    pub revision: u64,
    /// The how manieth: 1-based.
    pub attempt: u32,
    /// Early deaths in a row.
    pub counted: u32,
    /// Not before.
    pub not_before: UnixMs,
}

/// What should change.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceStep {
    /// To be written.
    pub progress: ServiceProgress,
    /// One wish for each place that there is or shall be, by index.
    pub desired: Vec<SlotWish>,
    /// Where the service stands.
    pub phase: Phase,
    /// What people ask about.
    pub conditions: Vec<Condition>,
    /// For people.
    pub message: String,
    /// When to look again, if nothing happens before.
    pub wake_at: Option<UnixMs>,
}

/// What a service should do now. `salt` should differ from service to service.
pub fn step(
    service: &Service,
    wanted: &Wanted,
    progress: &ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
    salt: u64,
) -> ServiceStep {
    let mut progress = progress.clone();
    let view = View::new(service, slots, now);
    revision::obey(service, wanted, &mut progress, now);
    revision::judge(service, &view, &mut progress, slots, now);
    let desired = match service.suspend {
        true => plan::nothing(slots),
        false => plan::desired(service, &view, &progress, slots, now, salt),
    };
    let conditions = conditions(service, &view, &progress, slots, now);
    progress.conditions.clone_from(&conditions);
    let gone = slots.is_empty();
    let phase = match service.suspend {
        true if gone => Phase::Suspended,
        true => Phase::Stopping,
        false => Phase::Active,
    };
    let message = message(service, &view, &progress, slots);
    let wake_at = wake(service, &view, &progress, slots, now);
    ServiceStep { progress, desired, phase, conditions, message, wake_at }
}

/// What could not be carried out.
pub fn check(service: &Service) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |path: &str, message: &str| {
        problems.push(Problem { path: path.to_owned(), message: message.to_owned() });
    };
    let Update { surge_max, unavailable_max, ready_min, progress_deadline, .. } = service.update;
    if service.replicas.saturating_add(surge_max) > REPLICAS_MAX {
        add("replicas", "more than 100000, with `update.surge_max`");
    }
    if surge_max == 0 && unavailable_max == 0 {
        add("update", "with `surge_max` and `unavailable_max` both 0 nothing could be replaced");
    }
    if progress_deadline <= ready_min {
        add("update.progress_deadline", "not more than `ready_min`: every update would fail");
    }
    problems
}

/// The numbers that decide, of one service at one time.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Replicas that shall be.
    replicas: u32,
    /// Places that there may be during an update.
    places_max: u32,
    /// Replicas that must answer during an update.
    available_min: u32,
    /// Replicas that answer.
    available: u32,
}

impl View {
    fn new(service: &Service, slots: &[SlotSeen], now: UnixMs) -> View {
        let replicas = service.replicas.min(REPLICAS_MAX);
        let Update { surge_max, unavailable_max, .. } = service.update;
        // With neither, nothing could move; one fewer is what a service of one can bear, too.
        let stuck = surge_max == 0 && unavailable_max == 0;
        let unavailable_max = if stuck { 1 } else { unavailable_max };
        let available = slots.iter().filter(|slot| slot.is_available(service, now)).count();
        View {
            replicas,
            places_max: replicas.saturating_add(surge_max).min(REPLICAS_MAX),
            available_min: replicas.saturating_sub(unavailable_max),
            available: small(available),
        }
    }
}

impl SlotSeen {
    /// It has answered for long enough.
    fn is_available(&self, service: &Service, now: UnixMs) -> bool {
        self.available_at(service).is_some_and(|at| at <= now)
    }

    fn available_at(&self, service: &Service) -> Option<UnixMs> {
        match self.state {
            SlotState::Running { ready_since: Some(since), .. } => {
                Some(since.saturating_add(service.update.ready_min))
            }
            _ => None,
        }
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn conditions(
    service: &Service,
    view: &View,
    progress: &ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
) -> Vec<Condition> {
    let available = view.available_min <= view.available && !service.suspend;
    let why = if available { "EnoughReplicas" } else { "TooFewReplicas" };
    let (moving, reason) = match &progress.rollout {
        _ if service.suspend => (false, "Suspended"),
        Some(rollout) if rollout.late => (false, "ProgressDeadlineExceeded"),
        Some(_) if service.paused => (false, "Paused"),
        Some(rollout) if rollout.back => (true, "RollingBack"),
        Some(_) => (true, "Updating"),
        None if revision::is_failed(progress, &progress.asked) => (false, "RolledBack"),
        None => (true, "Whole"),
    };
    let failing = slots.iter().any(|slot| slot.counted >= 3);
    let loops = if failing { "ReplicasKeepEnding" } else { "ReplicasRun" };
    [("Available", available, why), ("Progressing", moving, reason), ("Crashing", failing, loops)]
        .into_iter()
        .map(|(name, holds, reason)| {
            let old = progress.conditions.iter().find(|old| old.name == name);
            let same = old.filter(|old| old.holds == holds && old.reason == reason);
            let since = same.map_or(now, |old| old.since);
            Condition { name: name.to_owned(), holds, reason: reason.to_owned(), since }
        })
        .collect()
}

fn message(
    service: &Service,
    view: &View,
    progress: &ServiceProgress,
    slots: &[SlotSeen],
) -> String {
    if service.suspend {
        return match slots.len() {
            0 => "suspended".to_owned(),
            left => format!("suspended; {left} still stopping"),
        };
    }
    let mut text = format!("{} of {} available", view.available, view.replicas);
    if let Some(rollout) = &progress.rollout {
        let new = slots.iter().filter(|slot| progress.is_target(slot)).count();
        let verb = if rollout.back { "rolling back" } else { "updating" };
        text += &format!("; {verb} to revision {}: {new} replaced", progress.target);
        if service.paused {
            text += ", paused";
        }
    }
    if !progress.note.is_empty() {
        text += "; ";
        text += &progress.note;
    }
    text
}

/// The next time at which something changes by itself.
fn wake(
    service: &Service,
    view: &View,
    progress: &ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
) -> Option<UnixMs> {
    if service.suspend {
        return None;
    }
    let ready = slots.iter().filter_map(|slot| slot.available_at(service));
    let deadline = progress.rollout.as_ref().filter(|rollout| !rollout.late && !service.paused);
    let deadline = deadline
        .filter(|_| view.replicas > 0)
        .map(|rollout| rollout.progressed_at.saturating_add(service.update.progress_deadline));
    ready.chain(deadline).filter(|&at| now < at).min()
}

#[cfg(test)]
mod tests;
