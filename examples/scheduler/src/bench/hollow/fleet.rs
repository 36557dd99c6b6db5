//! The agents of all hollow nodes, and what they have to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use mason_core::agent::{Agent, Effect, Event, Now};
use mason_core::keys::{Key, Keys};
use mason_core::leader::Outcome;
use mason_core::mirror::Change;
use mason_core::record::{Exit, Reason};
use mason_core::txn::Txn;
use mason_core::types::{NodeId, Revision, RunId};

use super::{Progress, name};
use crate::server::{change_of, unix_now};
use crate::store::{self, Committed, Feed, now};

/// A word of a node to the store.
#[derive(Debug)]
pub(super) struct Said {
    node: usize,
    run: RunId,
    pub(super) txn: Txn,
}

/// All hollow nodes.
#[derive(Debug)]
pub(super) struct Fleet {
    keys: Keys,
    agents: Vec<Agent>,
    places: BTreeMap<NodeId, usize>,
    is_mute: bool,
    ends: bool,
    /// Agents that were told something.
    told: BTreeSet<usize>,
    unsaid: VecDeque<Said>,
    progress: Progress,
}

impl Fleet {
    /// Of so many nodes. Mute ones do not answer; those that end what they start do so at once.
    pub(super) fn new(keys: &Keys, nodes: usize, is_mute: bool, ends: bool) -> Fleet {
        let agent = |node| Agent::new(keys.clone(), name(node), 1, "hollow");
        Fleet {
            keys: keys.clone(),
            agents: (0..nodes).map(agent).collect(),
            places: (0..nodes).map(|node| (name(node), node)).collect(),
            is_mute,
            ends,
            told: BTreeSet::new(),
            unsaid: VecDeque::new(),
            progress: Progress { ready: true, ..Progress::default() },
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { unsaid: self.unsaid.len() as u64, ..self.progress }
    }

    pub(super) fn registered(&mut self, node: usize, made: Revision, asked: u64) {
        self.agents[node].registered(made, asked);
    }

    pub(super) fn renewed(&mut self, nodes: Range<usize>, asked: u64) {
        for node in nodes {
            self.agents[node].renewed(asked);
        }
    }

    /// What the next word to the store is.
    pub(super) fn next(&mut self) -> Option<Said> {
        self.unsaid.pop_front()
    }

    /// What became of it; none if nobody knows.
    pub(super) fn landed(&mut self, said: &Said, ended: Option<Committed>) {
        let outcome = ended.map(|done| match done.succeeded {
            true => Outcome::Done(done.revision),
            false => Outcome::Refused(done.revision),
        });
        if !matches!(outcome, Some(Outcome::Done(_))) {
            self.progress.refused += 1;
        }
        self.agents[said.node].outcome(&said.run, outcome);
        self.told.insert(said.node);
    }

    /// Runs came or went.
    pub(super) fn hear(&mut self, feed: Feed) {
        match feed {
            Feed::Reset(_, all) => {
                let mut by_node: BTreeMap<usize, Vec<Change>> =
                    (0..self.agents.len()).map(|node| (node, Vec::new())).collect();
                for change in all.into_iter().map(change_of) {
                    if let Some(node) = self.node_of(&change) {
                        by_node.entry(node).or_default().push(change);
                    }
                }
                if !self.is_mute {
                    by_node.iter().for_each(|(node, all)| self.agents[*node].reset(all));
                    self.told.extend(by_node.keys());
                }
            }
            Feed::Batch(_, changes) => {
                for change in changes {
                    self.hear_one(&match change {
                        store::Change::Put(kv) => change_of(kv),
                        store::Change::Delete { key, at } => {
                            Change { path: key, value: None, made: 0, changed: at }
                        }
                    });
                }
            }
        }
    }

    fn hear_one(&mut self, change: &Change) {
        let Some(node) = self.node_of(change) else { return };
        if change.value.is_some() && change.made == change.changed {
            self.progress.bound += 1;
            self.progress.last_at = now();
            if self.progress.first_at == 0 {
                self.progress.first_at = self.progress.last_at;
            }
        }
        if !self.is_mute {
            self.agents[node].heard(change);
            self.told.insert(node);
        }
    }

    fn node_of(&self, change: &Change) -> Option<usize> {
        match self.keys.parse(&change.path)? {
            Key::Run(node, _) => self.places.get(&node).copied(),
            _ => None,
        }
    }

    /// Lets those decide who were told something, or all.
    pub(super) fn step(&mut self, all: bool) {
        if all && !self.is_mute {
            let late = |agent: &Agent| agent.wake_at().is_some_and(|at| at <= now());
            let late = self.agents.iter().enumerate().filter(|(_, agent)| late(agent));
            self.told.extend(late.map(|(node, _)| node));
        }
        for node in std::mem::take(&mut self.told) {
            while self.step_one(node) {}
        }
    }

    /// Says whether it was told anything by that.
    fn step_one(&mut self, node: usize) -> bool {
        let clocks = Now { wall: unix_now(), mono: now() };
        let agent = &mut self.agents[node];
        let mut again = false;
        for effect in agent.step(clocks) {
            let (run, events) = match effect {
                Effect::Journal(note) => {
                    agent.journaled(&note);
                    again = true;
                    continue;
                }
                Effect::Commit(run, txn) => {
                    self.unsaid.push_back(Said { node, run, txn });
                    continue;
                }
                Effect::Fence(_) => continue,
                Effect::Prepare(run, _) => (run, vec![Event::Prepared]),
                Effect::Start(run, _) => {
                    self.progress.started += 1;
                    let end = self.ends.then(|| Event::Ended(exit(0)));
                    (run, [Event::Started, Event::Ready(true)].into_iter().chain(end).collect())
                }
                Effect::Stop(run, _) | Effect::Kill(run) => (run, vec![Event::Ended(exit(143))]),
                Effect::Reap(run) => (run, vec![Event::Reaped]),
            };
            for event in events {
                agent.event(&run, event, clocks);
                again = true;
            }
        }
        again
    }
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::without_code(Reason::Exited, "", unix_now()) }
}
