//! Servers: who leads, and what the leader may send.
//!
//! A leader acts on a view that is old, and what it sends arrives late. The two delays add up to
//! one, so here it looks and sends at once and only what it sent is late, for as long as one
//! likes. It keeps no memory, which lets it do anything that a real one may, in any order, with
//! one exception that a transaction cannot make up for: it binds a task only if its view shows one
//! that waits, and not while another bind of that task, sent by the same office, may still arrive.

use mason_core::protocol::{self, Bind, Bound, Next, Office};
use mason_core::record::{Mark, MarksRecord, Reason, ResultRecord, TaskWait};

use crate::mail::Kind;
use crate::mutant::Mutant;
use crate::names::{exit, node, run, run_record, task, task_record};
use crate::state::{Slot, State};
use crate::store::{NODES, RUNS, Res, SERVERS, TASKS, TaskKey, base};
use crate::world::{Step, World};

/// All that a leader's transaction is made of: what it does, by which office, and its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sending {
    step: Step,
    office: (usize, u8),
    task: TaskKey,
    slot: usize,
    node: u8,
    marks: ([u8; TASKS], u8),
    buried: u8,
    result: Res,
}

impl World {
    pub(crate) fn leader_steps(&self, state: &State, steps: &mut Vec<(Step, bool)>) {
        for server in 0..SERVERS {
            match state.store.lead[server] {
                0 => steps.push((Step::Campaign(server), false)),
                _ if state.left.offices > 0 => steps.push((Step::LoseOffice(server), true)),
                _ => {}
            }
        }
        let over = (0..self.config.tasks).all(|task| !state.store.tasks[task].there);
        if state.store.job && state.left.removals > 0 && over {
            steps.push((Step::RemoveJob, true));
        }
        if state.store.leader().is_none() || !state.has_room(self.config.mails) {
            return;
        }
        for task in 0..self.config.tasks {
            match state.store.tasks[task].run {
                None => self.bind_steps(state, task, steps),
                Some(run) => self.bound_steps(state, task, usize::from(run), steps),
            }
        }
    }

    fn bind_steps(&self, state: &State, task: usize, steps: &mut Vec<(Step, bool)>) {
        let store = &state.store;
        let waits = store.job && (store.tasks[task].there || !store.is_marked(task));
        let slot = state.slots.iter().any(|slot| !slot.used);
        if !waits || !slot || (self.has_bind(state, task) && !self.config.eager) {
            return;
        }
        // Before anything has happened, one node is as good as another.
        let is_first = state.slots.iter().all(|slot| !slot.used)
            && store.tasks.iter().all(|task| task.version == 0);
        for node in 0..if is_first { 1 } else { NODES } {
            let is_buried = store.buried[node] % 2 == 1;
            if !is_buried && (store.alive[node].there || self.config.sloppy) {
                steps.push((Step::Bind(task, node), false));
            }
        }
    }

    fn has_bind(&self, state: &State, task: usize) -> bool {
        let leader = state.store.leader().map(|at| (at, state.store.lead[at]));
        state.mails.iter().filter(|&&id| id != 0).any(|&id| {
            let mail = self.mails.read(id);
            mail.kind == Kind::Bind && mail.task == Some(task) && mail.office == leader
        })
    }

    fn bound_steps(&self, state: &State, task: usize, run: usize, steps: &mut Vec<(Step, bool)>) {
        let store = &state.store;
        let node = usize::from(state.slots[run].node);
        let open = store.results[run] == Res::None;
        if !open {
            steps.push((Step::Done(task), false));
        } else if self.config.sloppy {
            steps.push((Step::DoneBlindly(task), false));
        }
        if (open && !store.alive[node].there) || self.config.sloppy {
            steps.push((Step::Lost(task), false));
        }
        if open && store.buried[node] % 2 == 1 {
            steps.push((Step::Buried(task), false));
        }
        if state.left.stops > 0 && !store.runs[run].stop {
            steps.push((Step::Wish(task), true));
        }
    }

    pub(crate) fn campaign(&self, state: &mut State, server: usize) {
        state.store.offices += 1;
        state.store.lead[server] = state.store.offices;
    }

    pub(crate) fn lead(&mut self, state: &mut State, step: Step) {
        match step {
            Step::Campaign(server) => self.campaign(state, server),
            Step::LoseOffice(server) => {
                state.store.lead[server] = 0;
                state.left.offices -= 1;
            }
            Step::RemoveJob => {
                state.store.job = false;
                state.store.marks = [0; TASKS];
                state.store.marks_version = 0;
                state.left.removals -= 1;
            }
            Step::Bind(task, node) => self.send_bind(state, step, (task, node)),
            Step::Wish(task) => {
                state.left.stops -= 1;
                self.send_about(state, step, task);
            }
            Step::Lost(task) | Step::Buried(task) | Step::Done(task) | Step::DoneBlindly(task) => {
                self.send_about(state, step, task);
            }
            other => panic!("{other:?} is no server's step"),
        }
    }

    fn office(&self, state: &State) -> (Office, (usize, u8)) {
        let server = state.store.leader().expect("who sends leads");
        let made = state.store.lead[server];
        let key = format!("{}{server}", self.keys.candidates());
        (Office { key, made: base::LEAD + i64::from(made) }, (server, made))
    }

    /// The number of what a leader sends, if it has sent the like before.
    fn sending(&self, state: &State, step: Step, (at, slot): (usize, usize)) -> Sending {
        let server = state.store.leader().expect("who sends leads");
        let node = state.slots[slot].node;
        Sending {
            step,
            office: (server, state.store.lead[server]),
            task: state.store.tasks[at],
            slot,
            node,
            marks: (state.store.marks, state.store.marks_version),
            buried: state.store.buried[usize::from(node)],
            result: state.store.results[slot],
        }
    }

    fn send_bind(&mut self, state: &mut State, step: Step, (at, to): (usize, usize)) {
        let (office, who) = self.office(state);
        let slot = state.slots.iter().position(|slot| !slot.used).expect("a slot is free");
        state.slots[slot] = Slot { used: true, task: at as u8, node: to as u8, starts: 0 };
        let sending = self.sending(state, step, (at, slot));
        if let Some(&id) = self.sent.get(&sending) {
            assert!(state.mail(id), "there was room");
            return;
        }
        let key = state.store.tasks[at];
        let wait = TaskWait::Bound { node: node(to), run: run(slot) };
        let bind = Bind {
            task: task(at),
            task_changed: self.task_changed(state, at),
            job_made: base::JOB + 1,
            node: node(to),
            run: run(slot),
            bound: task_record(key.counted, wait),
            record: run_record(at, false, self.config.concurrency),
        };
        let txn = protocol::bind(&self.keys, &office, &bind);
        let id = self.mails.send((Kind::Bind, Some(who), Some(at)), txn);
        self.sent.insert(sending, id);
        assert!(state.mail(id), "there was room");
    }

    fn task_changed(&self, state: &State, at: usize) -> i64 {
        let key = state.store.tasks[at];
        if key.there { base::TASK + i64::from(key.version) } else { 0 }
    }

    /// Sends something about the run that a task is bound to.
    fn send_about(&mut self, state: &mut State, step: Step, at: usize) {
        let slot = usize::from(state.store.tasks[at].run.expect("it is bound"));
        let sending = self.sending(state, step, (at, slot));
        let id = match self.sent.get(&sending) {
            Some(&id) => id,
            None => {
                let id = self.write_about(state, step, (at, slot));
                self.sent.insert(sending, id);
                id
            }
        };
        if !state.mails.contains(&id) {
            assert!(state.mail(id), "there was room");
        }
    }

    fn write_about(&mut self, state: &State, step: Step, (at, slot): (usize, usize)) -> u16 {
        let (office, who) = self.office(state);
        let place = usize::from(state.slots[slot].node);
        let bound = Bound {
            task: task(at),
            task_changed: self.task_changed(state, at),
            node: node(place),
            run: run(slot),
            run_made: base::RUN + 1,
        };
        let (keys, office) = (&self.keys, &office);
        let over =
            ResultRecord { task: task(at), node: node(place), exit: exit(Reason::Lost, None) };
        let (kind, txn) = match step {
            Step::Lost(_) => (Kind::Lost, protocol::lost(keys, office, &bound, &over)),
            Step::Buried(_) => {
                let sworn = base::NODE + 1 + i64::from(state.store.buried[place]);
                (Kind::Buried, protocol::buried(keys, office, &bound, sworn, &over))
            }
            Step::Wish(_) => {
                let record = run_record(at, true, self.config.concurrency);
                (Kind::Wish, protocol::wish(keys, office, &bound, &record))
            }
            Step::Done(_) => {
                let seen = state.store.results[slot];
                let result = if self.is(Mutant::Rosy) { Res::Success } else { seen };
                let next = self.next(state, at, result);
                (Kind::Done, protocol::done(keys, office, &bound, base::RESULT + 1, &next))
            }
            _ => {
                // It saw no result, so whatever revision it names is not that of the real one.
                let next = self.next(state, at, Res::Success);
                (Kind::Done, protocol::done(keys, office, &bound, base::RESULT + 99, &next))
            }
        };
        self.mails.send((kind, Some(who), Some(at)), txn)
    }

    /// What a result means, by the leader's view of the task and the marks.
    fn next(&self, state: &State, at: usize, result: Res) -> Next {
        let task = state.store.tasks[at];
        let due = TaskWait::Due { not_before: 0 };
        let mark = match result {
            Res::Success => Mark::Succeeded,
            Res::Innocent => return Next::Again(task_record(task.counted, due)),
            _ if task.counted + 1 < self.config.attempts => {
                return Next::Again(task_record(task.counted + 1, due));
            }
            _ => Mark::Failed,
        };
        let mut marks = MarksRecord::default();
        for other in 0..TASKS {
            let old = [Mark::None, Mark::Succeeded, Mark::Failed, Mark::Cancelled];
            let old = old[usize::from(state.store.marks[other])];
            marks.set(other as u32, if other == at { mark } else { old });
        }
        let version = state.store.marks_version;
        let marks_changed = if version == 0 { 0 } else { base::MARKS + i64::from(version) };
        Next::Ended { chunk: 0, marks_changed, marks, past: None }
    }
}

const _: () = assert!(RUNS <= 36, "a run's number is one digit");
