//! What a service is asked to run, and how that went.

use serde::{Deserialize, Serialize};

use super::{ServiceProgress, SlotSeen, SlotState, View, Wanted, small};
use crate::spec::Service;
use crate::types::{SpecHash, UnixMs};

/// What was last asked for and obeyed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The generation of the record.
    pub generation: u64,
    /// The hash of its task; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<SpecHash>,
    /// How often somebody asked to start it all anew.
    #[serde(default)]
    pub restarts: u32,
    /// Back to this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
}

/// A version that ran, or was meant to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Counts them: 1-based.
    pub number: u64,
    /// What its replicas run.
    pub spec: SpecHash,
    /// The restart that made it.
    #[serde(default)]
    pub restarts: u32,
    /// The generation that first asked for it.
    pub generation: u64,
    /// How it went.
    pub state: RevisionState,
}

/// How a revision went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevisionState {
    /// Nobody knows yet.
    Trying,
    /// All its replicas answered at once, the last time then.
    Whole(UnixMs),
    /// It made no progress for too long.
    Failed,
}

/// An update that is under way: some replica is missing, or not of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// It takes back a failed one.
    #[serde(default)]
    pub back: bool,
    /// The most replicas of the target that answered.
    pub best: u32,
    /// The fewest places that were not of the target.
    pub old: u32,
    /// The replicas that were asked for: when they change, so does what progress is.
    pub replicas: u32,
    /// When it last got further.
    pub progressed_at: UnixMs,
    /// It stands still: the deadline counts from when it goes on.
    #[serde(default)]
    pub paused: bool,
    /// It is past its deadline, and there is nothing to go back to.
    #[serde(default)]
    pub late: bool,
}

impl Rollout {
    fn new(back: bool, now: UnixMs) -> Rollout {
        let (best, old, replicas) = (0, u32::MAX, u32::MAX);
        Rollout { back, best, old, replicas, progressed_at: now, paused: false, late: false }
    }
}

impl ServiceProgress {
    /// Whether a place is of the revision that shall run.
    pub(super) fn is_target(&self, slot: &SlotSeen) -> bool {
        slot.revision == self.target
    }

    fn of(&self, spec: &SpecHash, restarts: u32) -> Option<&Revision> {
        let same = |it: &&Revision| it.spec == *spec && it.restarts == restarts;
        self.revisions.iter().find(same)
    }

    /// The one that was whole last, other than this.
    pub(super) fn last_whole(&self, except: u64) -> Option<&Revision> {
        let whole = self.revisions.iter().filter_map(|revision| match revision.state {
            RevisionState::Whole(at) if revision.number != except => Some((at, revision)),
            _ => None,
        });
        whole.max_by_key(|(at, revision)| (*at, revision.number)).map(|(_, revision)| revision)
    }

    fn aim(&mut self, number: u64, back: bool, now: UnixMs) {
        if self.target == number {
            return;
        }
        self.target = number;
        self.rollout = Some(Rollout::new(back, now));
    }
}

/// Whether what was asked for has failed.
pub(super) fn is_failed(progress: &ServiceProgress, asked: &Asked) -> bool {
    let spec = asked.spec.as_ref();
    let revision = spec.and_then(|spec| progress.of(spec, asked.restarts));
    revision.is_some_and(|revision| revision.state == RevisionState::Failed)
}

/// Aims at what is asked for, if that is new. A service that is paused stays as it is.
pub(super) fn obey(
    service: &Service,
    wanted: &Wanted,
    progress: &mut ServiceProgress,
    now: UnixMs,
) {
    let old = progress.asked.clone();
    let first = old.spec.is_none();
    if service.paused && !first {
        return;
    }
    let anew = old.spec.as_ref() != Some(&wanted.spec) || old.restarts != wanted.restarts;
    let back = wanted.rollback_to.filter(|_| wanted.rollback_to != old.rollback_to);
    progress.asked = Asked {
        generation: wanted.generation,
        spec: Some(wanted.spec.clone()),
        restarts: wanted.restarts,
        rollback_to: wanted.rollback_to,
    };
    if let Some(number) = back {
        progress.note.clear();
        match progress.revision(number) {
            Some(_) => progress.aim(number, false, now),
            None => progress.note = format!("there is no revision {number} to go back to"),
        }
    } else if anew {
        progress.note.clear();
        let number = find_or_add(&template(&old, wanted, progress), wanted, progress);
        progress.aim(number, false, now);
    }
    // Asked for again, it has another chance.
    if back.is_some() || anew {
        let target = progress.target;
        let target = progress.revisions.iter_mut().find(|revision| revision.number == target);
        if let Some(revision) = target.filter(|it| it.state == RevisionState::Failed) {
            revision.state = RevisionState::Trying;
        }
    }
}

/// What shall run. A restart starts what runs: after somebody went back to an older revision, that
/// one, and not what they went back from. But what failed by itself has another chance.
fn template(old: &Asked, wanted: &Wanted, progress: &ServiceProgress) -> SpecHash {
    let restarted = old.spec.as_ref() == Some(&wanted.spec) && !is_failed(progress, old);
    let runs = progress.revision(progress.target).filter(|_| restarted);
    runs.map_or_else(|| wanted.spec.clone(), |revision| revision.spec.clone())
}

fn find_or_add(spec: &SpecHash, wanted: &Wanted, progress: &mut ServiceProgress) -> u64 {
    if let Some(revision) = progress.of(spec, wanted.restarts) {
        return revision.number;
    }
    let last = progress.revisions.last().map_or(0, |revision| revision.number);
    // A target that is not on the list can only be a number that somebody else wrote.
    let number = last.max(progress.target).saturating_add(1);
    progress.revisions.push(Revision {
        number,
        spec: spec.clone(),
        restarts: wanted.restarts,
        generation: wanted.generation,
        state: RevisionState::Trying,
    });
    number
}

/// How the update goes: further, whole, or nowhere for too long.
pub(super) fn judge(
    service: &Service,
    view: &View,
    progress: &mut ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
) {
    measure(service, view, progress, slots, now);
    let target = progress.target;
    fail_if_late(service, view, progress, now);
    if progress.target != target {
        measure(service, view, progress, slots, now);
    }
    forget(service, progress, slots);
}

/// How far the update is, and whether it is done.
fn measure(
    service: &Service,
    view: &View,
    progress: &mut ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
) {
    let target = progress.target;
    let ours = slots.iter().filter(|slot| slot.revision == target);
    let new = small(ours.filter(|slot| slot.is_available(service, now)).count());
    let foreign = |slot: &&SlotSeen| slot.revision != target;
    let old = small(slots.iter().filter(foreign).count());
    if let Some(rollout) = &mut progress.rollout {
        let resumed = rollout.paused && !service.paused && !service.suspend;
        rollout.paused = service.paused || service.suspend;
        let rescaled = rollout.replicas != view.replicas;
        if rescaled {
            (rollout.best, rollout.old, rollout.replicas) = (new, old, view.replicas);
        }
        if rescaled || resumed || rollout.best < new || old < rollout.old {
            rollout.progressed_at = rollout.progressed_at.max(now);
            rollout.late = false;
        }
        rollout.best = rollout.best.max(new);
        rollout.old = rollout.old.min(old);
    }
    let whole = view.replicas > 0 && view.replicas <= new && old == 0 && !service.suspend;
    if let Some(rollout) = progress.rollout.take_if(|_| whole) {
        if !rollout.back {
            progress.note.clear();
        }
        let found = progress.revisions.iter_mut().find(|revision| revision.number == target);
        if let Some(revision) = found {
            revision.state = RevisionState::Whole(now);
        }
    }
}

/// Takes an update back that has got nowhere for too long.
fn fail_if_late(service: &Service, view: &View, progress: &mut ServiceProgress, now: UnixMs) {
    let target = progress.target;
    let Some(rollout) = &mut progress.rollout else { return };
    let deadline = rollout.progressed_at.saturating_add(service.update.progress_deadline);
    if rollout.paused || rollout.late || view.replicas == 0 || now < deadline {
        return;
    }
    rollout.late = true;
    let seconds = service.update.progress_deadline / 1_000;
    progress.note = format!("revision {target} made no progress for {seconds} s");
    if rollout.back {
        return;
    }
    let whole = progress.last_whole(target).map(|revision| revision.number);
    // What was whole once and cannot be made so now has not failed as a version; but going from
    // it to an older one is as right as from any other.
    for revision in &mut progress.revisions {
        if revision.number == target {
            revision.state = RevisionState::Failed;
        }
    }
    if let Some(number) = whole.filter(|_| service.update.rollback) {
        progress.note += &format!(": back to revision {number}");
        progress.aim(number, true, now);
    }
}

/// Drops the oldest revisions that nobody can want any more.
fn forget(service: &Service, progress: &mut ServiceProgress, slots: &[SlotSeen]) {
    let keep = usize::try_from(service.update.revisions_max.min(100)).expect("a small number");
    let whole = progress.last_whole(progress.target).map(|revision| revision.number);
    let needed = |revision: &Revision| {
        revision.number == progress.target
            || Some(revision.number) == whole
            || progress.asked.spec.as_ref() == Some(&revision.spec)
                && revision.restarts == progress.asked.restarts
            || slots.iter().any(|slot| slot.revision == revision.number)
    };
    let mut spare: Vec<u64> =
        progress.revisions.iter().filter(|it| !needed(it)).map(|it| it.number).collect();
    spare.truncate(spare.len().saturating_sub(keep));
    progress.revisions.retain(|revision| !spare.contains(&revision.number));
}

/// Whether a place holds a version that has failed and does not answer: nothing is lost with it.
pub(super) fn is_worthless(progress: &ServiceProgress, slot: &SlotSeen) -> bool {
    let running = matches!(slot.state, SlotState::Running { ready_since: Some(_), .. });
    let revision = progress.revision(slot.revision);
    !running && revision.is_none_or(|revision| revision.state == RevisionState::Failed)
}
