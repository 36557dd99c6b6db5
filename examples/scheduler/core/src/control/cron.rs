//! Which ticks of a schedule become jobs.
//!
//! # Problem
//! A schedule is by the clock on the wall, and that clock is a bad one: an hour of it is missing in
//! spring and comes twice in autumn, an operator sets it back, and for a while nobody looks at it
//! at all, because the leader has died. Through all that each tick shall make one job, not none and
//! not two.
//!
//! # Idea
//! All that is remembered is how far the schedule has been dealt with, a point in time that only
//! goes forward. What is due is what lies between it and now. So a clock that is set back makes
//! nothing happen until it has caught up, and one that jumps ahead makes the ticks between late
//! ones, of which the spec says what becomes. And the name of a job is made of its tick, so that
//! two leaders that both make it make the same.
//!
//! ```text
//!   dealt with           now
//!   ────────┤ · · · · · · ├──────► time
//!             late  late  │ on time: at most 30 s old
//!   catchup none: none of the late     last: only the newest of all     all: the newest hundred
//! ```
//!
//! # Summer time
//! The schedule is kept as people mean it. A tick at a time that does not exist (02:30 on the night
//! when 02:00 becomes 03:00) comes at the first moment after the gap; one at a time that comes
//! twice comes once, the first time. A schedule by the hour or minute (`*`, `*/15`) goes by elapsed
//! time: none is left out and none is added, so it ticks in both of the hours that are called
//! 02:00.
//!
//! # Overlap
//! Under `forbid` a tick is left out while a job of an earlier one runs. Together with
//! `catchup: all`, whose point is that no tick is left out, it waits in line instead, behind the
//! jobs before it.

mod schedule;

use serde::{Deserialize, Serialize};

use crate::control::{self, BadProgress, Problem, name};
use crate::record::Phase;
use crate::spec::{Catchup, Cron, CronWork, Overlap};
use crate::types::{Ms, UnixMs};
use schedule::Schedule;

/// A tick that is no older counts as on time, whatever catching up says: so long may a change of
/// leaders take.
pub const ON_TIME: Ms = 30_000;

/// So many ticks are made up for at most: the newest.
pub const CATCHUP_MAX: usize = 100;

/// So many jobs are made by one step at most, so that they fit into one transaction. What is left
/// comes at once after.
pub const CREATES_MAX: usize = 40;

/// How far a cron is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronProgress {
    /// Every tick up to then is dealt with; it never goes back.
    #[serde(default)]
    pub last_tick: UnixMs,
    /// The schedule and time zone that this is of; when they change, ticks count from then on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schedule: String,
    /// It was suspended when last looked at: ticks meanwhile are left out.
    #[serde(default)]
    pub suspended: bool,
    /// The last tick that was made into a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<UnixMs>,
}

impl CronProgress {
    /// As the store holds it; null is a beginning.
    ///
    /// # Errors
    /// Names the field that does not read.
    pub fn read(value: &serde_json::Value) -> Result<CronProgress, BadProgress> {
        control::read("cron", value)
    }

    /// For the store.
    pub fn write(&self) -> serde_json::Value {
        control::write(self)
    }
}

/// A job, or workflow, that this cron has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSeen {
    /// Its name, which tells the tick that it is of.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// It is already on its way out: deleted.
    pub deleted: bool,
}

/// A job to make, unless there is one of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it is due.
    pub time: UnixMs,
    /// Tells its job from others of the cron; see [`child_name`].
    pub suffix: String,
}

/// What should change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronStep {
    /// To be written together with `create`, or after it; never before.
    pub progress: CronProgress,
    /// Jobs to make.
    pub create: Vec<Tick>,
    /// Jobs to stop, by deleting or otherwise.
    pub stop: Vec<String>,
    /// Jobs that have ended and are not worth keeping any more.
    pub forget: Vec<String>,
    /// When to look again, if nothing happens before.
    pub wake_at: Option<UnixMs>,
    /// For people.
    pub message: String,
}

/// The name of the job of a tick.
pub fn child_name(cron: &str, suffix: &str) -> String {
    name::join(cron, suffix)
}

/// The tick that a job of this name is of, if it is of one.
pub fn tick_of(child: &str) -> Option<UnixMs> {
    let (_, digits) = child.rsplit_once('-')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(60_000)).flatten()
}

/// Whether this can be carried out.
///
/// # Errors
/// Names the fields that are wrong: a schedule that does not read or never fires, a time zone that
/// nobody knows, a deadline that no tick can meet.
pub fn check(cron: &Cron) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut add = |path: &str, message: String| {
        problems.push(Problem { path: path.to_owned(), message });
    };
    let zone = schedule::zone(&cron.timezone);
    if let Err(message) = &zone {
        add("timezone", message.clone());
    }
    // A schedule that is wrong in itself is wrong in any zone.
    if let Err(message) = Schedule::parse(&cron.schedule, zone.as_ref().ok()) {
        add("schedule", message);
    }
    if cron.start_deadline.is_some_and(|deadline| deadline < 10_000) {
        add("start_deadline", "less than 10 s: most ticks would be left out".to_owned());
    }
    if let CronWork::Workflow(workflow) = &cron.each {
        for problem in control::workflow::check(workflow) {
            add(&format!("each.workflow.{}", problem.path), problem.message);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What a cron should do now.
pub fn step(
    cron: &Cron,
    created_at: UnixMs,
    progress: &CronProgress,
    children: &[ChildSeen],
    now: UnixMs,
) -> CronStep {
    let mut progress = progress.clone();
    begin(cron, created_at, &mut progress, now);
    let mut step = CronStep {
        progress,
        create: Vec::new(),
        stop: Vec::new(),
        forget: surplus(cron, children),
        wake_at: None,
        message: String::new(),
    };
    if cron.suspend {
        "suspended".clone_into(&mut step.message);
        return step;
    }
    let zone = schedule::zone(&cron.timezone);
    let schedule = zone.and_then(|zone| Schedule::parse(&cron.schedule, Some(&zone)));
    match schedule {
        Err(message) => step.message = message,
        Ok(schedule) => {
            make(cron, &schedule, children, now, &mut step);
            replace(cron, children, &mut step);
            finish(&schedule, now, &mut step);
        }
    }
    assert!(step.progress.last_tick >= created_at.min(now), "time that is dealt with only grows");
    step
}

/// From when on ticks count.
fn begin(cron: &Cron, created_at: UnixMs, progress: &mut CronProgress, now: UnixMs) {
    let schedule = format!("{} {}", cron.schedule, cron.timezone);
    let resumed = progress.suspended && !cron.suspend;
    if progress.schedule.is_empty() {
        progress.last_tick = progress.last_tick.max(created_at);
    } else if progress.schedule != schedule || resumed {
        progress.last_tick = progress.last_tick.max(now);
    }
    progress.schedule = schedule;
    progress.suspended = cron.suspend;
}

/// Jobs of the ticks that are due.
fn make(
    cron: &Cron,
    schedule: &Schedule,
    children: &[ChildSeen],
    now: UnixMs,
    step: &mut CronStep,
) {
    let (due, many) = schedule.newest(step.progress.last_tick, now, CATCHUP_MAX);
    let chosen = chosen(cron, &due, now);
    let mut left_out = due.len() - chosen.len();
    let lines_up = cron.overlap == Overlap::Forbid && cron.catchup == Catchup::All;
    let mut active = children.iter().any(|child| !child.phase.is_final());
    let mut dealt_with = due.last().copied();
    for &time in &chosen {
        if step.create.len() == CREATES_MAX || lines_up && active {
            dealt_with = due.iter().copied().take_while(|&tick| tick < time).last();
            break;
        }
        if cron.overlap == Overlap::Forbid && active {
            left_out += 1;
            continue;
        }
        active = true;
        step.progress.made = Some(time);
        step.create.push(Tick { time, suffix: (time / 60_000).to_string() });
    }
    step.progress.last_tick = step.progress.last_tick.max(dealt_with.unwrap_or(0));
    if step.create.len() == CREATES_MAX {
        step.wake_at = Some(now);
    }
    if left_out > 0 {
        let more = if many { "more than " } else { "" };
        step.message = format!("{more}{left_out} ticks left out; ");
    }
}

/// Those of the ticks that are due of which jobs are made.
fn chosen(cron: &Cron, due: &[UnixMs], now: UnixMs) -> Vec<UnixMs> {
    let age = |tick: UnixMs| now.saturating_sub(tick);
    let newest = due.last().copied();
    let mut chosen: Vec<UnixMs> = due
        .iter()
        .copied()
        .filter(|&tick| match cron.catchup {
            Catchup::None => age(tick) <= ON_TIME,
            Catchup::Last => Some(tick) == newest,
            Catchup::All => true,
        })
        .filter(|&tick| cron.start_deadline.is_none_or(|deadline| age(tick) <= deadline))
        .collect();
    // All but the newest would be stopped at once.
    if cron.overlap == Overlap::Replace {
        chosen.drain(..chosen.len().saturating_sub(1));
    }
    chosen
}

/// Under `replace`, only the newest runs.
fn replace(cron: &Cron, children: &[ChildSeen], step: &mut CronStep) {
    if cron.overlap != Overlap::Replace {
        return;
    }
    let seen = children.iter().filter_map(|child| tick_of(&child.name));
    let newest = seen.chain(step.create.iter().map(|tick| tick.time)).max();
    let old = children.iter().filter(|child| {
        let ticks = tick_of(&child.name).is_some_and(|tick| Some(tick) < newest);
        ticks && !child.phase.is_final() && child.phase != Phase::Stopping && !child.deleted
    });
    step.stop = old.map(|child| child.name.clone()).collect();
    step.stop.sort();
}

/// Jobs that have ended, beyond those that are kept; the oldest go first.
fn surplus(cron: &Cron, children: &[ChildSeen]) -> Vec<String> {
    let mut forget = Vec::new();
    for (succeeded, keep) in [(true, cron.keep_succeeded), (false, cron.keep_failed)] {
        let mut ended: Vec<&ChildSeen> = children
            .iter()
            .filter(|child| child.phase.is_final() && !child.deleted)
            .filter(|child| (child.phase == Phase::Succeeded) == succeeded)
            .collect();
        ended.sort_by_key(|child| (tick_of(&child.name), &child.name));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let over = ended.len().saturating_sub(keep);
        forget.extend(ended[..over].iter().map(|child| child.name.clone()));
    }
    forget
}

/// When to look again, and what to say until then.
fn finish(schedule: &Schedule, now: UnixMs, step: &mut CronStep) {
    // Of a clock that was set back, the next tick is after what has been dealt with.
    let from = now.max(step.progress.last_tick);
    let next = schedule.after(from);
    step.wake_at = step.wake_at.or(next);
    match next {
        Some(next) => step.message += &format!("next tick at {}", schedule.show(next)),
        None => step.message += "the schedule never fires again",
    }
}

#[cfg(test)]
mod tests;
