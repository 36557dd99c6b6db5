//! What should become of each place.
//!
//! Invariants, asserted at the end of each plan:
//! - a place is started anew only while there are no more than `replicas + surge_max`, those that
//!   are still stopping among them;
//! - of those that answer, none is stopped for the update that would leave fewer than
//!   `replicas - unavailable_max`;
//! - scaling down stops no more than are too many.

use std::collections::{BTreeMap, BTreeSet};

use super::revision::is_worthless;
use super::{Act, ServiceProgress, SlotSeen, SlotState, SlotWish, Start, View, small};
use crate::control::{name, retry};
use crate::record::{Exit, Reason};
use crate::spec::Service;
use crate::types::UnixMs;

/// A restart within so many times the longest back-off of its start is an early death.
const STEADY: u64 = 2;

/// All places go.
pub(super) fn nothing(slots: &[SlotSeen]) -> Vec<SlotWish> {
    let wishes: BTreeMap<u32, Act> = slots
        .iter()
        .map(|slot| match slot.state {
            SlotState::Stopping => (slot.index, Act::Keep),
            _ => (slot.index, Act::Stop(Reason::Stopped)),
        })
        .collect();
    wishes.into_iter().map(|(index, act)| SlotWish { index, act }).collect()
}

/// One place while a plan is made.
struct Place<'a> {
    slot: &'a SlotSeen,
    available: bool,
    target: bool,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays, or is started again where it is.
    Stay,
    /// It is on its way out already.
    Going,
    /// It shall go.
    Go(Reason),
}

/// One wish for each place that there is or shall be.
pub(super) fn desired(
    service: &Service,
    view: &View,
    progress: &ServiceProgress,
    slots: &[SlotSeen],
    now: UnixMs,
    salt: u64,
) -> Vec<SlotWish> {
    let mut places = places(service, progress, slots, now);
    scale_down(view, &mut places);
    if !service.paused {
        replace(view, progress, &mut places);
    }
    let starts = starts(service, view, progress, &places);
    check(view, &places, starts.len());
    let mut acts: BTreeMap<u32, Act> = places
        .iter()
        .map(|place| (place.slot.index, act(service, progress, place, now, salt)))
        .collect();
    // Where a replica has ended that is not started again, a new one may begin at once.
    for (index, start) in starts {
        acts.insert(index, Act::Start(Start { not_before: now, ..start }));
    }
    acts.into_iter().map(|(index, act)| SlotWish { index, act }).collect()
}

fn places<'a>(
    service: &Service,
    progress: &ServiceProgress,
    slots: &'a [SlotSeen],
    now: UnixMs,
) -> Vec<Place<'a>> {
    let mut seen = BTreeSet::new();
    let mut places: Vec<Place<'_>> = slots
        .iter()
        // Two of one index cannot be; were there, the first would count.
        .filter(|slot| seen.insert(slot.index))
        .map(|slot| {
            let available = slot.is_available(service, now);
            let fate = match &slot.state {
                SlotState::Stopping => Fate::Going,
                // It ended because we said so: it does not come back by itself.
                SlotState::Ended(exit) if is_ours(exit.reason) => Fate::Go(exit.reason),
                _ => Fate::Stay,
            };
            Place { slot, available, target: progress.is_target(slot), fate }
        })
        .collect();
    places.sort_by_key(|place| place.slot.index);
    places
}

fn is_ours(reason: Reason) -> bool {
    matches!(reason, Reason::Replaced | Reason::Stopped)
}

/// Stops what is more than the update needs: those that do not answer first, then the old, then the
/// highest.
fn scale_down(view: &View, places: &mut [Place<'_>]) {
    let mut staying: Vec<&mut Place<'_>> =
        places.iter_mut().filter(|place| place.fate == Fate::Stay).collect();
    let mixed = staying.iter().any(|place| !place.target);
    let room = if mixed { view.places_max } else { view.replicas };
    let over = staying.len().saturating_sub(usize::try_from(room).expect("32 bits fit"));
    staying
        .sort_by_key(|place| (place.available, place.target, std::cmp::Reverse(place.slot.index)));
    for place in staying.into_iter().take(over) {
        place.fate = Fate::Go(Reason::Stopped);
    }
}

/// Stops places of other revisions, as many as may be missing.
fn replace(view: &View, progress: &ServiceProgress, places: &mut [Place<'_>]) {
    let staying = |place: &&Place<'_>| place.fate == Fate::Stay;
    let mut answer = small(places.iter().filter(staying).filter(|it| it.available).count());
    // Those that answer, and those of the old that may do so again before any of the new does.
    let mut could = small(
        places
            .iter()
            .filter(staying)
            .filter(|it| it.available || !it.target && !is_worthless(progress, it.slot))
            .count(),
    );
    let mut old: Vec<&mut Place<'_>> =
        places.iter_mut().filter(|place| place.fate == Fate::Stay && !place.target).collect();
    old.sort_by_key(|place| (place.available, place.slot.index));
    for place in old {
        if is_worthless(progress, place.slot) {
            place.fate = Fate::Go(Reason::Replaced);
        } else if could > view.available_min && (!place.available || answer > view.available_min) {
            could -= 1;
            answer -= u32::from(place.available);
            place.fate = Fate::Go(Reason::Replaced);
        }
    }
}

/// New places, at the lowest indexes that are free.
fn starts(
    service: &Service,
    view: &View,
    progress: &ServiceProgress,
    places: &[Place<'_>],
) -> Vec<(u32, Start)> {
    let (mut target, mut other, mut going) = (0_u32, 0_u32, 0_u32);
    let mut taken = BTreeSet::new();
    for place in places {
        let over = matches!(place.slot.state, SlotState::Ended(_) | SlotState::Due);
        match place.fate {
            Fate::Stay if place.target => target += 1,
            Fate::Stay => other += 1,
            // What has no run is gone as soon as it is told so.
            Fate::Go(_) if over => continue,
            Fate::Go(_) | Fate::Going => going += 1,
        }
        taken.insert(place.slot.index);
    }
    // During a pause the old stay, so only what is missing is added.
    let wanted = match service.paused {
        true => view.replicas.saturating_sub(target + other),
        false => view.replicas.saturating_sub(target),
    };
    let count = wanted.min(view.places_max.saturating_sub(target + other + going));
    let revision = match service.paused && progress.rollout.is_some() {
        true => progress.last_whole(0).or_else(|| progress.revision(progress.target)),
        false => progress.revision(progress.target),
    };
    let Some(revision) = revision else { return Vec::new() };
    let free = (0..).filter(|index| !taken.contains(index));
    let attempt = |index: u32| {
        let before = places.binary_search_by_key(&index, |place| place.slot.index);
        before.map_or(1, |at| places[at].slot.attempt.saturating_add(1))
    };
    free.take(usize::try_from(count).expect("32 bits fit"))
        .map(|index| {
            let (spec, revision) = (revision.spec.clone(), revision.number);
            let attempt = attempt(index);
            (index, Start { spec, revision, attempt, counted: 0, not_before: 0 })
        })
        .collect()
}

fn act(
    service: &Service,
    progress: &ServiceProgress,
    place: &Place<'_>,
    now: UnixMs,
    salt: u64,
) -> Act {
    match (place.fate, &place.slot.state) {
        (Fate::Go(why), _) => Act::Stop(why),
        (Fate::Stay, SlotState::Ended(exit)) => {
            Act::Start(again(service, progress, place.slot, exit, now, salt))
        }
        (Fate::Stay | Fate::Going, _) => Act::Keep,
    }
}

/// The next attempt of a replica that ended by itself.
fn again(
    service: &Service,
    progress: &ServiceProgress,
    slot: &SlotSeen,
    exit: &Exit,
    now: UnixMs,
    salt: u64,
) -> Start {
    let spec = match progress.revision(slot.revision) {
        Some(revision) => revision.spec.clone(),
        None => slot.spec.clone(),
    };
    let ran = exit.started_at.map_or(0, |at| exit.finished_at.saturating_sub(at));
    let steady = service.restart.backoff.max.saturating_mul(STEADY);
    let free = retry::is_free(&service.restart, exit.reason);
    let before = if ran >= steady { 0 } else { slot.counted };
    let counted = if free { before } else { before.saturating_add(1) };
    let salt = name::mix(salt ^ u64::from(slot.index) << 32 ^ u64::from(slot.attempt));
    let wait = if free { 0 } else { retry::backoff(&service.restart.backoff, counted, salt) };
    // From its end, so that asking later does not make it later; but an agent's clock that is
    // ahead must not hold it back.
    let not_before = exit.finished_at.min(now).saturating_add(wait);
    let (revision, attempt) = (slot.revision, slot.attempt.saturating_add(1));
    Start { spec, revision, attempt, counted, not_before }
}

fn check(view: &View, places: &[Place<'_>], starts: usize) {
    let gone = |place: &&Place<'_>| {
        matches!(place.fate, Fate::Go(_))
            && matches!(place.slot.state, SlotState::Ended(_) | SlotState::Due)
    };
    let there = places.len() - places.iter().filter(gone).count() + starts;
    assert!(starts == 0 || small(there) <= view.places_max, "more places than an update may have");
    let answered = small(places.iter().filter(|it| it.available && it.fate != Fate::Going).count());
    let count =
        |fate| small(places.iter().filter(|place| place.available && place.fate == fate).count());
    let (replaced, scaled) = (count(Fate::Go(Reason::Replaced)), count(Fate::Go(Reason::Stopped)));
    let left = answered - replaced - scaled;
    assert!(replaced == 0 || view.available_min <= left, "an update took one too many");
    assert!(scaled == 0 || view.available_min.min(answered) <= left, "scaling took one too many");
}
