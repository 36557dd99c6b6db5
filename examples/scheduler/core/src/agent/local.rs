//! One run, as its agent knows it.

use super::{Effect, Now, PASSING};
use crate::record::{Exit, Reason, RunPhase, RunRecord, SeenRecord};
use crate::types::{Ms, Revision, RunId, UnixMs};

/// How far a run is on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The store binds it here.
    #[default]
    Bound,
    /// Its note is being synced.
    Noting,
    /// It is in the journal.
    Noted,
    /// The store is asked, under the life that began at this revision.
    Claiming {
        alive: Revision,
    },
    /// The store knows that it is here.
    Claimed,
    Preparing,
    Prepared,
    Starting,
    Running,
    /// How it ended is known here.
    Ended,
    /// How it ended is known, whoever said it.
    Settled,
    Reaping,
}

impl Stage {
    /// Whether something of it may be running.
    pub(super) fn has_container(self) -> bool {
        matches!(self, Stage::Starting | Stage::Running)
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, Stage::Ended | Stage::Settled | Stage::Reaping)
    }
}

/// The run's key.
#[derive(Clone, Debug)]
struct Bound {
    record: RunRecord,
    made: Revision,
    changed: Revision,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    bound: Option<Bound>,
    pub(super) stage: Stage,
    /// The life under which it was claimed last.
    pub(super) claimed_under: Option<Revision>,
    pub(super) before_claim: Stage,
    pub(super) after_claim: Stage,
    /// A transaction about it is under way.
    pub(super) commit_is_open: bool,
    /// The transaction under way says how it ended.
    pub(super) is_reported: bool,
    /// It was found running at this agent's start.
    pub(super) is_adopted: bool,
    pub(super) starts: u32,
    /// It shall end: why, in what time, and whether that was passed on.
    pub(super) stopped: Option<(Reason, Option<Ms>, String)>,
    stop_is_told: bool,
    pub(super) is_killed: bool,
    pub(super) exit: Option<Exit>,
    phase: Option<RunPhase>,
    ready: bool,
    since: UnixMs,
    started_at: Option<UnixMs>,
    message: String,
    /// While what is to be told may pass at once: until when, by the second clock.
    tell_at: Option<Ms>,
    /// What the store was told last.
    pub(super) told: Option<SeenRecord>,
}

impl Local {
    pub(super) fn bind(&mut self, record: RunRecord, made: Revision, changed: Revision) {
        self.bound = Some(Bound { record, made, changed });
    }

    /// The store knows it no more.
    pub(super) fn forget_bound(&mut self) {
        self.bound = None;
    }

    pub(super) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    pub(super) fn try_record(&self) -> Option<&RunRecord> {
        self.bound.as_ref().map(|it| &it.record)
    }

    pub(super) fn record(&self) -> &RunRecord {
        self.try_record().expect("asked of bound runs alone")
    }

    pub(super) fn made(&self) -> Revision {
        self.bound.as_ref().expect("asked of bound runs alone").made
    }

    pub(super) fn changed(&self) -> Revision {
        self.bound.as_ref().expect("asked of bound runs alone").changed
    }

    /// It is so far; it never goes back.
    pub(super) fn advance(&mut self, phase: RunPhase, now: Now) {
        if self.phase.is_none_or(|it| it < phase) {
            self.phase = Some(phase);
            self.since = now.wall;
            self.message.clear();
            let passes = matches!(phase, RunPhase::Pulling | RunPhase::Created);
            self.tell_at = passes.then_some(now.mono + PASSING);
        }
    }

    /// Whether what there is to tell may be over at once.
    pub(super) fn is_passing(&mut self, now: Now) -> bool {
        self.tell_at = self.tell_at.filter(|&at| now.mono < at);
        self.tell_at.is_some()
    }

    /// When something is to be told that has not passed by then.
    pub(super) fn tell_at(&self) -> Option<Ms> {
        self.tell_at.filter(|_| self.is_bound() && !self.stage.is_over())
    }

    pub(super) fn say(&mut self, message: String, now: Now) {
        self.message = message;
        self.since = now.wall;
        self.tell_at = None;
    }

    pub(super) fn started(&mut self, now: Now) {
        self.advance(RunPhase::Running, now);
        self.started_at = Some(now.wall);
    }

    pub(super) fn set_ready(&mut self, ready: bool, now: UnixMs) {
        if self.ready != ready {
            self.ready = ready;
            self.since = now;
        }
    }

    /// It shall end. The first reason stays.
    pub(super) fn stop(&mut self, why: Reason, grace: Option<Ms>, message: String) {
        if self.stopped.is_none() {
            self.stopped = Some((why, grace, message));
        }
    }

    /// It must be dead at once, whatever was said before.
    pub(super) fn fence(&mut self) {
        if !self.is_fenced() {
            self.stopped = Some((Reason::Fenced, Some(0), "the store is out of reach".to_owned()));
            self.stop_is_told = false;
        }
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.stopped.as_ref().is_some_and(|(why, ..)| *why == Reason::Fenced)
    }

    /// What must be passed on to its keeper.
    pub(super) fn tell(&mut self, run: &RunId, now: Now) -> Option<Effect> {
        let (why, grace, _) = self.stopped.as_ref()?;
        if std::mem::replace(&mut self.stop_is_told, true) {
            return None;
        }
        // From now on it is stopping; what it was waiting for is of no interest any more.
        self.since = now.wall;
        self.message.clear();
        Some(match why {
            Reason::Fenced => Effect::Kill(run.clone()),
            _ => Effect::Stop(run.clone(), *grace),
        })
    }

    /// It is over.
    pub(super) fn end(&mut self, mut exit: Exit) {
        if self.stage.is_over() {
            return;
        }
        // What we ended did not end by itself; how it took it, its code says.
        // A keeper says that it was told to stop, and knows no more than that.
        let by_itself = matches!(exit.reason, Reason::Exited | Reason::Signalled | Reason::Stopped);
        if let Some((why, _, message)) = self.stopped.take_if(|_| self.stop_is_told)
            && by_itself
        {
            exit.reason = why;
            exit.message = message;
        }
        // The store takes no value that is longer.
        exit.bound();
        // The agent that should have handed it all to its keeper died in the midst of that; or it
        // is the spec's fault, and will be found out again.
        if self.starts == 0 && exit.reason == Reason::Start && exit.started_at.is_none() {
            exit.reason = Reason::Lost;
        }
        self.stage = Stage::Ended;
        self.exit = Some(exit);
    }

    /// It is over before it began.
    pub(super) fn end_unstarted(&mut self, now: UnixMs) {
        let (reason, _, message) = self.stopped.clone().expect("it was stopped");
        self.stage = Stage::Ended;
        self.exit = Some(Exit::without_code(reason, message, now));
    }

    /// As the store is told.
    pub(super) fn seen(&self, epoch: u64) -> SeenRecord {
        let stopping = self.stop_is_told && self.stage.has_container();
        let phase = self.phase.unwrap_or(RunPhase::Claimed);
        SeenRecord {
            epoch,
            phase: if stopping { RunPhase::Stopping } else { phase },
            ready: self.ready && !stopping,
            since: self.since,
            started_at: self.started_at,
            message: self.message.clone(),
        }
    }
}
