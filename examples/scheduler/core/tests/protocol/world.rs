//! What can happen next, and what is then.

use std::collections::HashMap;

use mason_core::keys::Keys;
use mason_core::spec::Concurrency;

use crate::agents::{Agents, End};
use crate::mail::Mails;
use crate::mutant::Mutant;
use crate::quick::Quick;
use crate::servers::Sending;
use crate::state::{Budget, Commit, Slot, State};
use crate::store::{NODES, RUNS, Res, SERVERS};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    // Servers.
    Campaign(usize),
    LoseOffice(usize),
    Bind(usize, usize),
    Lost(usize),
    Buried(usize),
    Wish(usize),
    Done(usize),
    /// A leader takes to account a result that it has not seen.
    DoneBlindly(usize),
    // The store.
    Deliver(u16),
    RemoveJob,
    Expire(usize),
    Bury(usize),
    // An agent and the store.
    Arrive(usize, usize),
    Answer(usize, usize),
    LoseAnswer(usize, usize),
    Hear(usize),
    CutWatch(usize),
    Register(usize),
    Stray(usize),
    Renew(usize),
    HearLeaseLost(usize),
    // A machine.
    PassFence(usize),
    Prepared(usize, usize),
    Launch(usize, usize),
    Exit(usize, usize, End),
    Ended(usize, usize),
    Reaped(usize, usize),
    CrashAgent(usize),
    CrashKeeper(usize, usize),
    CrashMachine(usize),
    Recover(usize),
}

/// A promise that was broken.
pub(crate) type Broken = &'static str;

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) concurrency: Concurrency,
    pub(crate) tasks: usize,
    /// Attempts that count.
    pub(crate) attempts: u8,
    pub(crate) budget: Budget,
    /// Transactions of leaders under way at once.
    pub(crate) mails: usize,
    /// A leader tries what its view does not suggest.
    pub(crate) sloppy: bool,
    /// A leader sends a second bind of a task while the first may still arrive.
    pub(crate) eager: bool,
    /// Reports of progress travel as everything else does, and so do answers about results, and
    /// the word that a run is reaped; otherwise they arrive at once. Images take long to fetch, so
    /// that there is something to report; otherwise no phase lasts long enough to be told.
    pub(crate) chatty: bool,
    /// Containers can fail.
    pub(crate) failures: bool,
    /// Operators bury machines that are off; agents that crash leave registrations under way.
    pub(crate) oddities: bool,
    /// Whether a success of who is not the leader is held against it.
    pub(crate) offices_count: bool,
    pub(crate) mutant: Option<Mutant>,
}

/// Who explores: the instance, and all that was met so far.
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) config: Config,
    pub(crate) mails: Mails,
    pub(crate) agents: Agents,
    /// What leaders sent, by all that it was made of.
    pub(crate) sent: HashMap<Sending, u16, Quick>,
}

impl World {
    pub(crate) fn new(config: Config) -> World {
        let agents = Agents::new(config.concurrency, config.chatty);
        let mails = Mails::new(config.mutant);
        World { keys: Keys::default(), config, mails, agents, sent: HashMap::default() }
    }

    /// Both servers are candidates, both agents are registered, the job was made.
    pub(crate) fn first(&mut self) -> State {
        let mut state = State { left: self.config.budget, ..State::default() };
        state.store.job = true;
        for server in 0..SERVERS {
            self.campaign(&mut state, server);
        }
        for node in 0..NODES {
            state.machines[node].span = 1;
            self.recover(&mut state, node).expect("nothing has happened yet");
            self.register(&mut state, node).expect("nothing has happened yet");
        }
        state
    }

    /// All that can happen next; and whether it is somebody's fault.
    pub(crate) fn steps(&self, state: &State) -> Vec<(Step, bool)> {
        let mut steps = Vec::new();
        self.leader_steps(state, &mut steps);
        let mut before = 0;
        for id in state.mails.into_iter().filter(|&id| id != 0) {
            if id != before {
                steps.push((Step::Deliver(id), false));
            }
            before = id;
        }
        for node in 0..NODES {
            self.machine_steps(state, node, &mut steps);
        }
        steps
    }

    /// What is after a step.
    pub(crate) fn take(&mut self, from: &State, step: Step) -> Result<State, Broken> {
        let mut state = *from;
        match step {
            Step::Campaign(_)
            | Step::LoseOffice(_)
            | Step::RemoveJob
            | Step::Bind(..)
            | Step::Lost(_)
            | Step::Buried(_)
            | Step::Wish(_)
            | Step::Done(_)
            | Step::DoneBlindly(_) => self.lead(&mut state, step),
            Step::Deliver(id) => {
                state.unmail(id);
                self.execute(&mut state, id)?;
            }
            other => self.run_machine(&mut state, other)?,
        }
        for machine in &mut state.machines {
            let known = self.agents.runs(machine.agent);
            while machine.next_is_gone().is_some_and(|run| known & 1 << run == 0) {
                machine.pop();
            }
        }
        self.forget_runs(&mut state);
        self.check(&state)?;
        Ok(state)
    }

    /// The runs that anything knows of.
    pub(crate) fn known_runs(&self, state: &State) -> u8 {
        let mut all = state.runs();
        for id in state.mails.into_iter().filter(|&id| id != 0) {
            all |= self.mails.read(id).runs;
        }
        for machine in &state.machines {
            all |= self.agents.runs(machine.agent);
            for commit in machine.commits {
                if let Commit::Sent(id) | Commit::Answered(id, _) = commit {
                    all |= self.mails.read(id).runs;
                }
            }
        }
        all
    }

    fn forget_runs(&self, state: &mut State) {
        let known = self.known_runs(state);
        for run in 0..RUNS {
            if known & 1 << run == 0 {
                state.slots[run] = Slot::default();
            }
        }
    }

    /// What must hold in every state.
    pub(crate) fn check(&self, state: &State) -> Result<(), Broken> {
        let store = &state.store;
        for run in 0..RUNS {
            let there = store.runs[run].there;
            if state.slots[run].starts > 1 {
                return Err("promise 1: a run was started twice");
            }
            if there {
                let task = store.tasks[usize::from(state.slots[run].task)];
                if task.run != Some(run as u8) {
                    return Err("reference: a run whose task is not bound to it");
                }
                if !store.job {
                    return Err("reference: a run of a job that is gone");
                }
            } else if store.results[run] != Res::None {
                return Err("reference: a result of a run that is gone");
            } else if store.seen[run] {
                return Err("reference: a report of a run that is gone");
            }
        }
        for task in 0..self.config.tasks {
            if self.config.concurrency == Concurrency::Strict && state.copies(task) > 1 {
                return Err("promise 3: two strict runs of a task are alive");
            }
        }
        Ok(())
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.config.mutant == Some(mutant)
    }

    /// A step in words.
    pub(crate) fn describe(&self, before: &State, step: Step) -> String {
        let mail = |id: u16| self.mails.read(id).words.clone();
        let commit = |node: usize, run: usize| match before.machines[node].commits[run] {
            Commit::None => String::new(),
            Commit::Sent(id) => mail(id),
            Commit::Answered(id, done) => {
                format!("{}: {}", mail(id), if done { "done" } else { "refused" })
            }
        };
        match step {
            Step::Campaign(s) => format!("s{s} becomes a candidate"),
            Step::LoseOffice(s) => format!("s{s} is paused; its office expires"),
            Step::Bind(t, n) => format!("the leader sends a bind of task {t} to n{n}"),
            Step::Lost(t) => format!("the leader sends that the run of task {t} is lost"),
            Step::Buried(t) => format!("the leader sends that the run of task {t} is buried"),
            Step::Wish(t) => format!("the leader sends that the run of task {t} shall stop"),
            Step::Done(t) => format!("the leader sends what the result of task {t} means"),
            Step::DoneBlindly(t) => format!("the leader guesses the result of task {t}"),
            Step::Deliver(id) => format!("store: {}", mail(id)),
            Step::RemoveJob => "store: the job is removed".to_owned(),
            Step::Expire(n) => format!("store: the lease of n{n} expires"),
            Step::Bury(n) => format!("store: an operator swears that n{n} is off"),
            Step::Arrive(n, r) => format!("store: {}", commit(n, r)),
            Step::Answer(n, r) => format!("n{n} is answered, {}", commit(n, r)),
            Step::LoseAnswer(n, r) => format!("n{n} will never be answered, {}", commit(n, r)),
            Step::Hear(n) => format!("n{n} hears the next change of its runs"),
            Step::CutWatch(n) => format!("n{n} lists its runs anew"),
            Step::Register(n) => format!("n{n} registers"),
            Step::Stray(n) => format!("store: an earlier agent of n{n} registers"),
            Step::Renew(n) => format!("n{n} renews its lease"),
            Step::HearLeaseLost(n) => format!("n{n} hears that its lease is gone"),
            Step::PassFence(n) => format!("n{n}: its fence passes, keepers kill"),
            Step::Prepared(n, r) => format!("n{n}: run {r} is prepared"),
            Step::Launch(n, r) => format!("n{n}: the keeper of run {r} is launched"),
            Step::Exit(n, r, end) => format!("n{n}: run {r} ends: {end:?}"),
            Step::Ended(n, r) => format!("n{n} learns that run {r} has ended"),
            Step::Reaped(n, r) => format!("n{n} learns that run {r} is reaped"),
            Step::CrashAgent(n) => format!("n{n}: the agent is killed"),
            Step::CrashKeeper(n, r) => format!("n{n}: the keeper of run {r} is killed"),
            Step::CrashMachine(n) => format!("n{n}: the machine crashes"),
            Step::Recover(n) => format!("n{n}: an agent starts and recovers"),
        }
    }
}
