//! A transaction arrives at the store: what it changes, and what it must not.

use mason_core::record::Mark;
use mason_core::txn::Compare;

use crate::mail::{Kind, Mail};
use crate::mutant::Mutant;
use crate::state::{Budget, State};
use crate::store::{KeyOf, Res, Value};
use crate::world::{Broken, World};

impl World {
    /// Whether it was done.
    pub(crate) fn execute(&mut self, state: &mut State, id: u16) -> Result<bool, Broken> {
        let mail = self.mails.read(id);
        let node_of = state.node_of();
        let no_gate = self.config.mutant == Some(Mutant::NoGate);
        let holds = |when: &(KeyOf, Compare)| match when.0 {
            // It names no life, but has one.
            KeyOf::Alive(node) if no_gate && mail.kind == Kind::Claim => {
                state.store.alive[node].there
            }
            _ => state.store.holds(when, node_of),
        };
        if !mail.when.iter().all(holds) {
            return Ok(false);
        }
        self.judge(state, mail)?;
        for &(key, value) in &mail.then {
            state.store.put(key, value);
            if let KeyOf::Run(node, run) = key {
                state.machines[node].push(run, state.store.runs[run].version);
            }
        }
        Ok(true)
    }

    /// What a transaction that is done must not do.
    fn judge(&self, state: &State, mail: &Mail) -> Result<(), Broken> {
        let store = &state.store;
        if let Some((server, made)) = mail.office
            && self.config.offices_count
            && (store.leader() != Some(server) || store.lead[server] != made)
        {
            return Err("office: a transaction of an earlier leader was done");
        }
        for &(key, value) in &mail.then {
            match (key, value) {
                (KeyOf::Result(run), Some(_)) if store.results[run] != Res::None => {
                    return Err("promise 2: a run has a second result");
                }
                (KeyOf::Task(task), Some(Value::Bound(..))) if store.is_marked(task) => {
                    return Err("promise 2: a task that has its outcome has another run");
                }
                (KeyOf::Task(task), Some(Value::Bound(..)))
                    if store.tasks[task].version >= self.versions_max() =>
                {
                    return Err("effort: a task is bound more often than faults can explain");
                }
                (KeyOf::Marks, Some(Value::Marks(marks))) => {
                    for (task, &mark) in marks.iter().enumerate() {
                        let old = store.marks[task];
                        if mail.task == Some(task) && old != Mark::None as u8 {
                            return Err("promise 2: a task has a second outcome");
                        }
                        if mail.task != Some(task) && old != mark {
                            return Err("promise 2: the outcome of another task is lost");
                        }
                    }
                }
                _ => {}
            }
        }
        if mail.kind == Kind::Done { self.judge_done(state, mail) } else { Ok(()) }
    }

    /// A task's key changes twice an attempt. Each fault costs two attempts at most: that which
    /// it hits, and one that was bound to a node which nobody knew to be cut off.
    fn versions_max(&self) -> u8 {
        let Budget { faults, stops, .. } = self.config.budget;
        2 * (self.config.attempts + stops + 2 * faults)
    }

    /// What is noted must be what the result says.
    fn judge_done(&self, state: &State, mail: &Mail) -> Result<(), Broken> {
        let task = mail.task.expect("a leader's transaction is about a task");
        let run = mail.then.iter().find_map(|(key, _)| match key {
            KeyOf::Result(run) => Some(*run),
            _ => None,
        });
        let result = state.store.results[run.expect("a result is taken to account")];
        let counted = state.store.tasks[task].counted;
        let (mut mark, mut again) = (Mark::None as u8, None);
        for (_, value) in &mail.then {
            match value {
                Some(Value::Marks(marks)) => mark = marks[task],
                Some(Value::Due(counted)) => again = Some(*counted),
                _ => {}
            }
        }
        let good = match result {
            Res::None => return Err("promise 2: an outcome is noted without a result"),
            Res::Success => mark == Mark::Succeeded as u8,
            Res::Innocent => again == Some(counted),
            Res::Failure if counted + 1 < self.config.attempts => again == Some(counted + 1),
            Res::Failure => mark == Mark::Failed as u8,
        };
        if good { Ok(()) } else { Err("promise 2: what is noted is not what the result says") }
    }
}
