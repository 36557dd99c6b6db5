//! A machine: its containers, their keepers, and the page that says when strict ones must be dead.

use std::collections::BTreeMap;

use mason_core::agent::{Found, Keeper};
use mason_core::record::{Exit, PRINTED, Reason, RunRecord};
use mason_core::spec::Concurrency;
use mason_core::types::{RunId, UnixMs};

use crate::flaw::Flaw;

/// What lies on the machine of a run.
#[derive(Debug)]
pub struct Folder {
    /// The run's key, as it was when it was started.
    pub record: RunRecord,
    /// What its container does.
    pub state: State,
    /// What it will do if nobody stops it.
    fate: Fate,
    /// Which start of a container on this machine it was: 1-based; 0 before.
    pub serial: u64,
}

/// How long a container runs, and how it ends.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Milliseconds; for ever if none.
    pub lasts: Option<u64>,
    /// Its exit code.
    pub code: i32,
    /// How long it takes to obey a signal.
    pub obeys: u64,
    /// What it prints, if anybody wants to know.
    pub prints: Option<u64>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its keeper is making it.
    Starting,
    /// It runs.
    Running {
        /// Since then, by the machine's clock.
        since: u64,
        /// It ends then, if not before.
        ends: Option<u64>,
        /// And so.
        code: i32,
    },
    /// Its keeper wrote down how it ended.
    Left(Exit),
    /// Its keeper is gone, and with it the container.
    Gone,
}

/// A machine.
#[derive(Debug, Default)]
pub struct Machine {
    folders: BTreeMap<RunId, Folder>,
    /// When strict containers are killed, by its clock.
    pub fence: u64,
    /// How many containers it has started.
    starts: u64,
    flaw: Flaw,
}

impl Machine {
    /// One with nothing on it.
    pub fn new(flaw: Flaw) -> Machine {
        Machine { flaw, ..Machine::default() }
    }

    /// All that lies there of runs is gone, and their containers with it.
    pub fn wipe(&mut self) {
        self.folders.clear();
    }

    /// A keeper is started for a run: its folder is there first.
    pub fn start(&mut self, run: &RunId, record: RunRecord, fate: Fate) {
        let folder = Folder { record, state: State::Starting, fate, serial: 0 };
        let old = self.folders.insert(run.clone(), folder);
        assert!(old.is_none(), "I2: {run} is started, and its folder is there");
    }

    /// Its keeper has made the container, unless it was reaped meanwhile.
    pub fn launched(&mut self, run: &RunId, now: u64) -> bool {
        let fence = self.fence;
        let Some(folder) = self.folders.get_mut(run) else { return false };
        if folder.state != State::Starting {
            return false;
        }
        if folder.is_strict() && fence <= now {
            folder.state = State::Left(exit(Reason::Fenced, None, now));
            return false;
        }
        let Fate { lasts, code, .. } = folder.fate;
        folder.state = State::Running { since: now, ends: lasts.map(|it| now + it), code };
        self.starts += 1;
        folder.serial = self.starts;
        true
    }

    /// It is asked to end within this time.
    pub fn stop(&mut self, run: &RunId, grace: u64, now: u64) {
        let Some(folder) = self.folders.get_mut(run) else { return };
        let obeys = folder.fate.obeys;
        match &mut folder.state {
            State::Running { ends, code, .. } => {
                let end = now + obeys.min(grace);
                if ends.is_none_or(|it| end < it) {
                    (*ends, *code) = (Some(end), if obeys <= grace { 143 } else { 137 });
                }
            }
            State::Starting => folder.state = State::Left(exit(Reason::Exited, Some(143), now)),
            State::Left(_) | State::Gone => {}
        }
    }

    /// Its keeper dies, and the container with it.
    pub fn kill_keeper(&mut self, run: &RunId) {
        if let Some(folder) = self.folders.get_mut(run)
            && matches!(folder.state, State::Starting | State::Running { .. })
        {
            folder.state = State::Gone;
        }
    }

    /// Nothing is left of it. It must be dead.
    pub fn reap(&mut self, run: &RunId) {
        if let Some(folder) = self.folders.remove(run) {
            assert!(
                !matches!(folder.state, State::Running { .. }),
                "I9: {run} is reaped, and alive"
            );
        }
    }

    /// The power fails: containers are gone, and what is on the disk is there.
    pub fn power_loss(&mut self) {
        for folder in self.folders.values_mut() {
            if !matches!(folder.state, State::Left(_)) {
                folder.state = State::Gone;
            }
        }
        self.fence = 0;
    }

    /// Time has passed. Returns whose containers have ended.
    pub fn tick(&mut self, now: u64) -> Vec<RunId> {
        let mut ended = Vec::new();
        for (run, folder) in &mut self.folders {
            let is_strict = folder.is_strict();
            let State::Running { ends, code, .. } = folder.state else { continue };
            let fenced = is_strict && self.fence <= now && self.flaw != Flaw::IdleKeepers;
            if fenced {
                folder.state = State::Left(exit(Reason::Fenced, Some(137), now));
            } else if ends.is_some_and(|it| it <= now) {
                let mut left = exit(Reason::Exited, Some(code), now);
                if let Some(printed) = folder.fate.prints {
                    left.outputs.insert(PRINTED.to_owned(), format!("{printed}\n"));
                }
                folder.state = State::Left(left);
            } else {
                continue;
            }
            ended.push(run.clone());
        }
        ended
    }

    /// When time has to be told.
    pub fn deadline(&self) -> Option<u64> {
        let alive = self.folders.values().filter_map(|folder| match folder.state {
            State::Running { ends, .. } => Some((ends, folder.is_strict())),
            _ => None,
        });
        let ends = alive.map(|(ends, strict)| {
            let fence = (strict && self.flaw != Flaw::IdleKeepers).then_some(self.fence);
            [ends, fence].into_iter().flatten().min()
        });
        ends.flatten().min()
    }

    /// What an agent finds when it starts.
    pub fn find(&self) -> Vec<Found> {
        let found = self.folders.iter().map(|(run, folder)| {
            let keeper = match &folder.state {
                State::Starting | State::Running { .. } => Keeper::Answers,
                State::Left(exit) => Keeper::Left(exit.clone()),
                State::Gone => Keeper::Gone,
            };
            Found { run: run.clone(), keeper }
        });
        found.collect()
    }

    /// All folders.
    pub fn folders(&self) -> impl Iterator<Item = (&RunId, &Folder)> {
        self.folders.iter()
    }

    /// One folder.
    pub fn folder(&self, run: &RunId) -> Option<&Folder> {
        self.folders.get(run)
    }
}

impl Folder {
    /// Whether two copies of it must not run.
    pub fn is_strict(&self) -> bool {
        self.record.concurrency == Concurrency::Strict
    }

    /// Whether its container runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }
}

/// How something ended.
pub(crate) fn exit(reason: Reason, code: Option<i32>, now: UnixMs) -> Exit {
    Exit { code, ..Exit::without_code(reason, "", now) }
}
