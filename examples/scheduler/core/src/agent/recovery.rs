//! The first minute of an agent: what its journal, its disk and the store say about runs of old.
//!
//! | journal | keeper | then |
//! |---|---|---|
//! | claimed, this boot | answers | adopted |
//! | claimed, this boot | left how it ended | told to the store |
//! | claimed, this boot | left word that it was never started | lost: no fault of the task |
//! | claimed, this boot | gone without a word | unknown; what is left is killed |
//! | claimed, this boot | never was | over before it began: see below |
//! | claimed, earlier boot | whatever | unknown, unless how it ended is on the disk |
//! | nothing | answers | adopted: the journal was lost |
//! | nothing | else | unknown if the store says that it was claimed: the journal was lost |
//!
//! A run that was claimed and never had a keeper cannot have been started, and still must not be
//! now: the agent before this one may have sent how it ended (its image could not be had, its fence
//! passed), and the store may take that in at any time, after which the task runs elsewhere. Two
//! agents that contradict each other about a run's end are harmless, for the ledger takes one word;
//! one that says it is over and one that starts it are not.

use std::collections::BTreeMap;

use super::local::Stage;
use super::{Agent, Now};
use crate::record::{Exit, Reason};
use crate::types::{Ms, RunId};

/// A line of the agent's journal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Note {
    /// A run is about to be claimed.
    Claim {
        /// Which.
        run: RunId,
        /// At which start of the machine.
        boot: Box<str>,
    },
    /// Nothing is left of a run.
    Gone {
        /// Which.
        run: RunId,
    },
}

/// A folder of a run that lies on this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which.
    pub run: RunId,
    /// What its keeper says.
    pub keeper: Keeper,
}

/// What the keeper of a run says.
#[derive(Clone, Debug, PartialEq)]
pub enum Keeper {
    /// It answers, and the container runs.
    Answers,
    /// It left word how the container ended.
    Left(Exit),
    /// It is gone, and left no word.
    Gone,
}

impl Agent {
    /// Takes up what an earlier start of this agent left. Call it before anything else.
    ///
    /// `claimed` are the runs that the store has as claimed by this node, `fence` is what keepers
    /// were told last.
    pub fn recover(
        &mut self,
        notes: &[Note],
        found: Vec<Found>,
        (claimed, fence): (&[RunId], Ms),
        now: Now,
    ) {
        self.fence = fence;
        let mut boots: BTreeMap<&RunId, &str> = BTreeMap::new();
        for note in notes {
            match note {
                Note::Claim { run, boot } => drop(boots.insert(run, boot)),
                Note::Gone { run } => drop(boots.remove(run)),
            }
        }
        for (&run, &boot) in &boots {
            let local = self.runs.entry(run.clone()).or_default();
            if boot != &*self.boot {
                local.end(unknown("the machine was restarted", now));
            } else if !found.iter().any(|it| it.run == *run) {
                // No fault of the task, so it does not use up an attempt.
                let message = "its agent was restarted before it began";
                local.end(Exit { reason: Reason::Lost, ..unknown(message, now) });
            }
        }
        for Found { run, keeper } in found {
            let local = self.runs.entry(run).or_default();
            match keeper {
                Keeper::Left(exit) => {
                    local.stage = Stage::Running;
                    local.end(exit);
                }
                Keeper::Answers => {
                    local.stage = Stage::Running;
                    local.is_adopted = true;
                    local.started(now);
                }
                Keeper::Gone => {
                    if !local.stage.is_over() {
                        local.end(unknown("its keeper is gone", now));
                    }
                }
            }
        }
        for run in claimed {
            if !self.runs.contains_key(run) {
                let local = self.runs.entry(run.clone()).or_default();
                local.end(unknown("the agent's journal does not know it", now));
            }
        }
    }
}

fn unknown(message: &str, now: Now) -> Exit {
    Exit::without_code(Reason::Unknown, message, now.wall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    /// An agent that is killed while it hands a run to its keeper leaves one that was never
    /// started. A job of one attempt must not fail of that.
    #[test]
    fn a_start_that_broke_off_with_its_agent_is_no_fault_of_the_task() {
        for (started_at, reason) in [(None, Reason::Lost), (Some(7), Reason::Start)] {
            let now = Now { wall: 9, mono: 9 };
            let mut agent = Agent::new(Keys::default(), "n1".into(), 2, "boot");
            let run = RunId::new(1, 1);
            let note = Note::Claim { run: run.clone(), boot: "boot".into() };
            let exit = Exit { started_at, ..Exit::without_code(Reason::Start, "", 8) };
            let found = Found { run: run.clone(), keeper: Keeper::Left(exit.clone()) };
            agent.recover(std::slice::from_ref(&note), vec![found], (&[], 0), now);
            assert_eq!(agent.runs[&run].exit.as_ref().map(|exit| exit.reason), Some(reason));
            // The same if its keeper finds out after the agent has come back.
            let mut agent = Agent::new(Keys::default(), "n1".into(), 2, "boot");
            let found = Found { run: run.clone(), keeper: Keeper::Answers };
            agent.recover(&[note], vec![found], (&[], 0), now);
            agent.event(&run, crate::agent::Event::Ended(exit), now);
            assert_eq!(agent.runs[&run].exit.as_ref().map(|exit| exit.reason), Some(reason));
        }
    }
}
