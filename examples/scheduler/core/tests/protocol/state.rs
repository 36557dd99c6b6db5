//! A state: the store, the machines, what is under way between them, and what was counted.

use crate::agents::{End, Folder, Noted};
use crate::store::{NODES, RUNS, Res, Store, TASKS};

/// Transactions under way of leaders, and of agents that do not wait for them any more.
pub(crate) const MAILS: usize = 4;
/// Changes under way to an agent.
pub(crate) const WATCH: usize = 10;

/// A run that anything still knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) used: bool,
    pub(crate) task: u8,
    pub(crate) node: u8,
    /// How often its container was started.
    pub(crate) starts: u8,
}

/// An agent's transaction that it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Commit {
    #[default]
    None,
    Sent(u16),
    /// The store has answered: whether it was done.
    Answered(u16, bool),
}

/// A machine, its agent, and its containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) is_off: bool,
    /// 0 if there is none.
    pub(crate) agent: u32,
    /// The span that its clock is in.
    pub(crate) span: u8,
    /// The last fence that keepers were told is of this span.
    pub(crate) told: u8,
    /// The life under which its agent is registered; 0 if under none.
    pub(crate) lease: u8,
    pub(crate) notes: [Noted; RUNS],
    pub(crate) folders: [Folder; RUNS],
    /// Containers that run, a bit each.
    pub(crate) alive: u8,
    pub(crate) preparing: u8,
    /// Containers about to be started: by a decision of this span; 0 if it is none.
    pub(crate) starting: [u8; RUNS],
    /// Ends that the agent is yet to be told.
    pub(crate) ended: [End; RUNS],
    pub(crate) reaped: u8,
    pub(crate) commits: [Commit; RUNS],
    /// Changes of its runs that it is yet to hear of.
    pub(crate) watch: [u8; WATCH],
    /// What an agent that is gone sent to register itself: the version that it saw, and when.
    pub(crate) stray: Option<(u8, u8)>,
}

impl Machine {
    /// A change is under way to the agent. `version` is 0 if the key is gone.
    pub(crate) fn push(&mut self, run: usize, version: u8) {
        if self.agent == 0 {
            return;
        }
        assert!(version <= 2, "a run is told to stop once");
        let free = self.watch.iter().position(|&it| it == 0).expect("few changes are under way");
        self.watch[free] = 1 + run as u8 * 3 + version;
    }

    /// The next change: the run and the version.
    pub(crate) fn pop(&mut self) -> Option<(u8, u8)> {
        let code = self.watch[0].checked_sub(1)?;
        self.watch.copy_within(1.., 0);
        self.watch[WATCH - 1] = 0;
        Some((code / 3, code % 3))
    }

    /// The run whose key is gone by the next change. It is no news to an agent that has no such
    /// run.
    pub(crate) fn next_is_gone(&self) -> Option<u8> {
        let code = self.watch[0].checked_sub(1)?;
        (code % 3 == 0).then_some(code / 3)
    }

    /// The runs that it knows of, besides its agent.
    fn runs(&self) -> u8 {
        let mut all = self.alive | self.preparing | self.reaped;
        for run in 0..RUNS {
            let known = self.notes[run] != Noted::No
                || self.folders[run] != Folder::None
                || self.starting[run] != 0
                || self.ended[run] != End::None;
            all |= u8::from(known) << run;
        }
        for &code in self.watch.iter().filter(|&&code| code != 0) {
            all |= 1 << ((code - 1) / 3);
        }
        all
    }
}

/// What may still happen to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Crashes, fences that pass, answers that are lost, watches that are cut.
    pub(crate) faults: u8,
    /// Leaders that lose their office.
    pub(crate) offices: u8,
    /// Runs that are told to stop.
    pub(crate) stops: u8,
    /// Jobs that are removed.
    pub(crate) removals: u8,
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) slots: [Slot; RUNS],
    pub(crate) machines: [Machine; NODES],
    pub(crate) mails: [u16; MAILS],
    pub(crate) left: Budget,
}

impl State {
    /// Where each run is.
    pub(crate) fn node_of(&self) -> [u8; RUNS] {
        self.slots.map(|slot| slot.node)
    }

    /// Another transaction is under way, if there is room for it.
    pub(crate) fn mail(&mut self, id: u16) -> bool {
        let Some(free) = self.mails.iter().position(|&it| it == 0) else { return false };
        self.mails[free] = id;
        self.mails.sort_unstable_by(|a, b| b.cmp(a));
        true
    }

    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.mails.iter().filter(|&&it| it != 0).count() < most
    }

    pub(crate) fn unmail(&mut self, id: u16) {
        let at = self.mails.iter().position(|&it| it == id).expect("it was under way");
        self.mails[at] = 0;
        self.mails.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Runs that the store or a machine knows of; not those that only agents or mails name.
    pub(crate) fn runs(&self) -> u8 {
        let mut all = self.machines.iter().fold(0, |all, machine| all | machine.runs());
        for run in 0..RUNS {
            let known = self.store.runs[run].there
                || self.store.seen[run]
                || self.store.results[run] != Res::None;
            all |= u8::from(known) << run;
        }
        for run in self.store.tasks.iter().filter_map(|task| task.run) {
            all |= 1 << run;
        }
        all
    }

    /// Nothing is left to do: every task has its outcome, and nobody knows a run any more.
    pub(crate) fn is_final(&self, tasks: usize) -> bool {
        let over = (0..tasks).all(|task| {
            !self.store.tasks[task].there && (self.store.is_marked(task) || !self.store.job)
        });
        over && self.slots.iter().all(|slot| !slot.used) && self.mails[0] == 0
    }

    /// Running containers of a task.
    pub(crate) fn copies(&self, task: usize) -> usize {
        let alive = self.machines.iter().fold(0, |all, machine| all | machine.alive);
        let of = |run: &usize| alive & 1 << run != 0 && usize::from(self.slots[*run].task) == task;
        (0..RUNS).filter(of).count()
    }
}

const _: () = assert!(TASKS <= 8 && RUNS <= 8, "a bit each");
