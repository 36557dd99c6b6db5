//! Machines: agents, keepers and containers, and all that can happen to them.
//!
//! What an agent wants done at once is done at once where a delay would show nothing new: a note
//! that is not synced yet is as good as an agent that has not heard yet; an order to kill that is
//! late is as good as one that was given late. What takes long is a step of its own: to prepare,
//! to launch, to end, to reap, and every way from and to the store.

use mason_core::spec::Concurrency;

use crate::agents::{Act, End, Folder, Heard, Input, Noted, Remains};
use crate::mail::Kind;
use crate::mutant::{Forgets, Mutant};
use crate::state::{Commit, Machine, State};
use crate::store::RUNS;
use crate::world::{Broken, Step, World};

impl World {
    pub(crate) fn machine_steps(&self, state: &State, n: usize, steps: &mut Vec<(Step, bool)>) {
        let machine = &state.machines[n];
        let alive = &state.store.alive[n];
        let faults = state.left.faults > 0;
        if alive.there && machine.span > alive.asked {
            steps.push((Step::Expire(n), false));
        } else if alive.there && faults && self.is(Mutant::EarlyExpiry) {
            steps.push((Step::Expire(n), true));
        }
        if let Some((version, _)) = machine.stray
            && (version == if alive.there { alive.version } else { 0 }
                || self.is(Mutant::BlindRegister))
        {
            steps.push((Step::Stray(n), false));
        }
        for run in 0..RUNS {
            self.run_steps(state, (n, run), steps);
        }
        if faults && !machine.is_off {
            steps.push((Step::PassFence(n), true));
            steps.push((Step::CrashMachine(n), true));
        }
        if machine.agent == 0 {
            steps.push((Step::Recover(n), false));
            let buried = state.store.buried[n] % 2 == 1;
            if self.config.oddities && faults && machine.is_off && !buried {
                steps.push((Step::Bury(n), true));
            }
            return;
        }
        if machine.watch[0] != 0 {
            steps.push((Step::Hear(n), false));
        }
        let lives = alive.there && alive.made == machine.lease;
        match machine.lease {
            0 => steps.push((Step::Register(n), false)),
            _ if !lives => steps.push((Step::HearLeaseLost(n), false)),
            _ if machine.told < machine.span => steps.push((Step::Renew(n), false)),
            _ => {}
        }
        if faults {
            steps.push((Step::CrashAgent(n), true));
            if known(self.list(state, n)) || machine.watch[0] != 0 {
                steps.push((Step::CutWatch(n), true));
            }
        }
    }

    fn run_steps(&self, state: &State, (n, r): (usize, usize), steps: &mut Vec<(Step, bool)>) {
        let machine = &state.machines[n];
        let faults = state.left.faults > 0;
        match machine.commits[r] {
            Commit::None => {}
            Commit::Sent(_) => steps.push((Step::Arrive(n, r), false)),
            Commit::Answered(..) => steps.push((Step::Answer(n, r), false)),
        }
        if machine.commits[r] != Commit::None && faults && state.has_room(self.config.mails) {
            steps.push((Step::LoseAnswer(n, r), true));
        }
        if machine.preparing & 1 << r != 0 {
            steps.push((Step::Prepared(n, r), false));
        }
        if machine.starting[r] != 0 {
            steps.push((Step::Launch(n, r), false));
        }
        if machine.alive & 1 << r != 0 {
            // Nobody may rely on a run ending by itself after it was superseded.
            let is_luck = !state.store.runs[r].there;
            steps.push((Step::Exit(n, r, End::Well), is_luck));
            if self.config.failures {
                steps.push((Step::Exit(n, r, End::Badly), is_luck));
            }
            if faults && machine.folders[r] == Folder::Answers {
                steps.push((Step::CrashKeeper(n, r), true));
            }
        }
        if machine.ended[r] != End::None && machine.agent != 0 {
            steps.push((Step::Ended(n, r), false));
        }
        if machine.reaped & 1 << r != 0 && machine.agent != 0 {
            steps.push((Step::Reaped(n, r), false));
        }
    }

    pub(crate) fn run_machine(&mut self, state: &mut State, step: Step) -> Result<(), Broken> {
        match step {
            Step::Expire(n) => self.expire(state, n),
            Step::Bury(n) => {
                state.store.buried[n] += 1;
                state.left.faults -= 1;
            }
            Step::Arrive(n, r) => {
                let Commit::Sent(id) = state.machines[n].commits[r] else { panic!("it was sent") };
                let done = self.execute(state, id)?;
                state.machines[n].commits[r] = Commit::Answered(id, done);
                if !self.config.chatty && self.mails.read(id).kind == Kind::Result {
                    self.run_machine(state, Step::Answer(n, r))?;
                }
            }
            Step::Answer(n, r) => {
                let was = std::mem::take(&mut state.machines[n].commits[r]);
                let Commit::Answered(_, done) = was else { panic!("it was answered") };
                self.tell(state, n, Input::Outcome(r as u8, Some(done)))?;
            }
            Step::LoseAnswer(n, r) => {
                state.left.faults -= 1;
                let was = std::mem::take(&mut state.machines[n].commits[r]);
                if let Commit::Sent(id) = was {
                    assert!(state.mail(id), "there was room");
                }
                self.tell(state, n, Input::Outcome(r as u8, None))?;
            }
            Step::Hear(n) => {
                let (run, version) = state.machines[n].pop().expect("there was a change");
                let task = state.slots[usize::from(run)].task;
                self.tell(state, n, Input::Heard(Heard { run, task, version }))?;
            }
            Step::CutWatch(n) => {
                state.left.faults -= 1;
                state.machines[n].watch = Default::default();
                let list = self.list(state, n);
                self.tell(state, n, Input::Listed(list))?;
            }
            Step::Register(n) => self.register(state, n)?,
            Step::Stray(n) => stray(state, n),
            Step::Renew(n) => {
                let asked = state.machines[n].span;
                if !state.store.alive[n].stray {
                    state.store.alive[n].asked = asked;
                }
                self.tell(state, n, Input::Renewed { asked })?;
            }
            Step::HearLeaseLost(n) => {
                state.machines[n].lease = 0;
                self.tell(state, n, Input::LeaseLost)?;
            }
            other => self.run_container(state, other)?,
        }
        Ok(())
    }

    fn run_container(&mut self, state: &mut State, step: Step) -> Result<(), Broken> {
        match step {
            Step::PassFence(n) => {
                state.left.faults -= 1;
                self.pass_fence(&mut state.machines[n]);
            }
            Step::Prepared(n, r) => {
                state.machines[n].preparing &= !(1 << r);
                self.tell(state, n, Input::Prepared(r as u8))?;
            }
            Step::Launch(n, r) => self.launch(state, (n, r))?,
            Step::Exit(n, r, end) => {
                let machine = &mut state.machines[n];
                machine.alive &= !(1 << r);
                if machine.folders[r] == Folder::Answers {
                    leave(machine, r, end);
                }
            }
            Step::Ended(n, r) => {
                let end = std::mem::take(&mut state.machines[n].ended[r]);
                self.tell(state, n, Input::Ended(r as u8, end))?;
            }
            Step::Reaped(n, r) => {
                state.machines[n].reaped &= !(1 << r);
                self.tell(state, n, Input::Reaped(r as u8))?;
            }
            Step::CrashAgent(n) => {
                state.left.faults -= 1;
                self.crash_agent(state, n);
            }
            Step::CrashKeeper(n, r) => {
                state.left.faults -= 1;
                let is_orphan = self.is(Mutant::Orphan);
                let machine = &mut state.machines[n];
                machine.folders[r] = Folder::Gone;
                if !is_orphan {
                    machine.alive &= !(1 << r);
                }
                if machine.agent != 0 {
                    machine.ended[r] = End::Unseen;
                }
            }
            Step::CrashMachine(n) => self.crash_machine(state, n),
            Step::Recover(n) => self.recover(state, n)?,
            other => panic!("{other:?} is no machine's step"),
        }
        Ok(())
    }

    fn expire(&self, state: &mut State, n: usize) {
        let alive = &mut state.store.alive[n];
        if state.machines[n].span <= alive.asked {
            state.left.faults -= 1;
        }
        *alive = crate::store::AliveKey { version: alive.version, ..Default::default() };
    }

    /// Whether a container must be dead at the fence.
    fn is_strict(&self) -> bool {
        self.config.concurrency == Concurrency::Strict
    }

    /// The next span begins: keepers kill what is strict, whether their agent lives or not.
    fn pass_fence(&self, machine: &mut Machine) {
        machine.span += 1;
        if !self.is_strict() || self.is(Mutant::IdleKeeper) {
            return;
        }
        for run in 0..RUNS {
            if machine.alive & 1 << run != 0 && machine.folders[run] == Folder::Answers {
                machine.alive &= !(1 << run);
                leave(machine, run, End::Fenced);
            }
        }
    }

    /// A keeper is launched. A strict one looks at its deadline, which it was handed with the
    /// decision to start it, before it does anything.
    fn launch(&mut self, state: &mut State, (n, r): (usize, usize)) -> Result<(), Broken> {
        let machine = &mut state.machines[n];
        let decided = std::mem::take(&mut machine.starting[r]);
        let deadline = match self.config.mutant {
            Some(Mutant::LateStart) => machine.span,
            Some(Mutant::NewestFence) => machine.told,
            _ => decided,
        };
        if self.config.concurrency == Concurrency::Strict && deadline < machine.span {
            machine.ended[r] = End::Fenced;
            return Ok(());
        }
        machine.folders[r] = Folder::Answers;
        machine.alive |= 1 << r;
        state.slots[r].starts += 1;
        // Before its agent hears of it, and perhaps thinks better of it.
        self.check(state)?;
        self.tell(state, n, Input::Started(r as u8))
    }

    fn crash_agent(&self, state: &mut State, n: usize) {
        let machine = &mut state.machines[n];
        if self.config.oddities && machine.lease == 0 {
            let alive = state.store.alive[n];
            machine.stray = Some((if alive.there { alive.version } else { 0 }, machine.span));
        }
        (machine.agent, machine.lease) = (0, 0);
        machine.watch = Default::default();
        (machine.preparing, machine.reaped) = (0, 0);
        machine.starting = Default::default();
        machine.ended = Default::default();
        let commits = std::mem::take(&mut machine.commits);
        for commit in commits {
            // One that finds no room is lost on its way.
            if let Commit::Sent(id) = commit
                && state.has_room(self.config.mails)
            {
                state.mail(id);
            }
        }
    }

    fn crash_machine(&self, state: &mut State, n: usize) {
        state.left.faults -= 1;
        self.crash_agent(state, n);
        let machine = &mut state.machines[n];
        machine.is_off = true;
        machine.alive = 0;
        machine.span += 1;
        for run in 0..RUNS {
            if machine.notes[run] == Noted::Now {
                machine.notes[run] = Noted::Before;
            }
            if machine.folders[run] == Folder::Answers {
                machine.folders[run] = Folder::Gone;
            }
        }
    }

    fn list(&self, state: &State, n: usize) -> [Option<Heard>; RUNS] {
        std::array::from_fn(|run| {
            let (key, slot) = (state.store.runs[run], state.slots[run]);
            let here = key.there && usize::from(slot.node) == n;
            here.then_some(Heard { run: run as u8, task: slot.task, version: key.version })
        })
    }

    pub(crate) fn recover(&mut self, state: &mut State, n: usize) -> Result<(), Broken> {
        let list = self.list(state, n);
        let machine = &mut state.machines[n];
        let was_off = std::mem::take(&mut machine.is_off);
        if state.store.buried[n] % 2 == 1 {
            state.store.buried[n] += 1;
        }
        let mut claimed = 0;
        for run in 0..RUNS {
            let here = usize::from(state.slots[run].node) == n;
            claimed |= u8::from(here && state.store.seen[run]) << run;
        }
        if let Some(Mutant::Forgetful(forgets)) = self.config.mutant {
            match forgets {
                Forgets::Journal => machine.notes = Default::default(),
                Forgets::Keepers => machine.folders = Default::default(),
                Forgets::Folders if was_off => machine.folders = Default::default(),
                Forgets::Disk | Forgets::All if was_off => {
                    machine.folders = Default::default();
                    machine.notes = Default::default();
                    claimed &= if forgets == Forgets::All { 0 } else { claimed };
                }
                _ => {}
            }
        }
        let (notes, folders) = (machine.notes, machine.folders);
        self.tell(state, n, Input::Recover(Remains { notes, folders, claimed, list }))
    }

    /// Registers under a lease of its own, if the key of its node is as it was just read.
    pub(crate) fn register(&mut self, state: &mut State, n: usize) -> Result<(), Broken> {
        let asked = state.machines[n].span;
        let made = put_alive(state, n, asked, false);
        state.machines[n].lease = made;
        // One that does not look under which life it claimed takes all for the same.
        let made = if self.is(Mutant::NoGate) { 99 } else { made };
        self.tell(state, n, Input::Registered { made, asked })
    }

    /// Tells an agent something, and does what it wants done.
    fn tell(&mut self, state: &mut State, n: usize, input: Input) -> Result<(), Broken> {
        let machine = &mut state.machines[n];
        let at = (n, machine.span);
        let (agent, acts) = self.agents.tell(machine.agent, at, input, &mut self.mails);
        machine.agent = agent;
        for &act in &*acts {
            self.act(state, n, act)?;
        }
        Ok(())
    }

    fn act(&mut self, state: &mut State, n: usize, act: Act) -> Result<(), Broken> {
        let missed = self.is(Mutant::MissedKill) || self.is(Mutant::NewestFence);
        let machine = &mut state.machines[n];
        match act {
            Act::Note(run) => {
                machine.notes[usize::from(run)] = Noted::Now;
                self.tell(state, n, Input::Journaled(run))?;
            }
            Act::Forget(run) => machine.notes[usize::from(run)] = Noted::No,
            Act::Commit(run, kind, id) => self.commit(state, (n, run), (kind, id))?,
            Act::Prepare(run) => machine.preparing |= 1 << run,
            Act::Start(run) => machine.starting[usize::from(run)] = machine.span,
            // It may end at any time; that it was told to shows nothing new.
            Act::Stop(_) => {}
            Act::Kill(run) => {
                let at = usize::from(run);
                if machine.alive & 1 << run != 0 {
                    machine.alive &= !(1 << run);
                    leave(machine, at, End::Killed);
                } else if machine.starting[at] != 0 && !missed {
                    machine.starting[at] = 0;
                    machine.ended[at] = End::Killed;
                }
            }
            Act::Reap(run) => {
                let at = usize::from(run);
                machine.alive &= !(1 << run);
                machine.preparing &= !(1 << run);
                machine.starting[at] = 0;
                machine.ended[at] = End::None;
                machine.folders[at] = Folder::None;
                machine.reaped |= 1 << run;
                if !self.config.chatty {
                    self.run_container(state, Step::Reaped(n, at))?;
                }
            }
            Act::Fence(span) => machine.told = span,
        }
        Ok(())
    }

    fn commit(
        &mut self,
        state: &mut State,
        (n, run): (usize, u8),
        (kind, id): (Kind, u16),
    ) -> Result<(), Broken> {
        if kind == Kind::Report && !self.config.chatty {
            let done = self.execute(state, id)?;
            return self.tell(state, n, Input::Outcome(run, Some(done)));
        }
        // An answer to what was asked about an earlier life of this run here is not waited for.
        state.machines[n].commits[usize::from(run)] = Commit::Sent(id);
        Ok(())
    }
}

/// A keeper writes how its container ended, and its agent, if there is one, is about to learn it.
fn leave(machine: &mut Machine, run: usize, end: End) {
    machine.folders[run] = Folder::Left(end);
    if machine.agent != 0 {
        machine.ended[run] = end;
    }
}

fn stray(state: &mut State, n: usize) {
    let (_, asked) = state.machines[n].stray.take().expect("it was under way");
    put_alive(state, n, asked, true);
}

/// Writes the key that says that a node lives. Returns when it was made.
fn put_alive(state: &mut State, n: usize, asked: u8, stray: bool) -> u8 {
    let alive = &mut state.store.alive[n];
    alive.version += 1;
    if !alive.there {
        alive.made = alive.version;
    }
    (alive.there, alive.asked, alive.stray) = (true, asked, stray);
    alive.made
}

fn known(list: [Option<Heard>; RUNS]) -> bool {
    list.iter().any(Option::is_some)
}
