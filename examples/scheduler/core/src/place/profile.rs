//! What of a node's suitability does not change while tasks come and go: labels, taints, runtimes.
//!
//! Most jobs ask for the same few things, or for nothing. What they ask for is kept once, with its
//! answer for every node; an answer is found anew when the node changes, which is rare.

use crate::record::{NodeRecord, Taint, TaintEffect};
use crate::spec::{Constraint, Toleration};
use crate::types::NodeId;

use super::constraint::{self, NODE};
use super::score::{ONE, Term, preference};

/// What is asked of labels, taints and runtimes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    pub(crate) require: Vec<Constraint>,
    pub(crate) tolerate: Vec<Toleration>,
    pub(crate) runtime: Option<String>,
    /// With their weights.
    pub(crate) prefer: Vec<(u32, Vec<Constraint>)>,
    /// The sum of all weights, those of preferences about other tasks included.
    pub(crate) prefer_sum: u32,
}

/// A demand, and the answer for each node.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// The points that it adds; [`UNFIT`] if it cannot be.
    pub(crate) points: Vec<u32>,
}

/// The answer for a node that lacks what is required.
pub(crate) const UNFIT: u32 = u32::MAX;

/// The first thing that keeps tasks with this demand away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Taint(Taint),
    Label(Constraint),
    Runtime(String),
}

impl Demand {
    /// All that keeps tasks with this demand away, in the order in which it is looked at.
    pub(crate) fn lacks(&self, id: &NodeId, record: &NodeRecord) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let hard = |taint: &Taint| taint.effect != TaintEffect::PreferNoSchedule;
        let implied = record.interruptible.then(constraint::interruptible);
        for taint in implied.iter().chain(&record.taints) {
            if hard(taint) && !constraint::tolerated(taint, &self.tolerate) {
                lacks.push(Lack::Taint(taint.clone()));
            }
        }
        for one in &self.require {
            if !constraint::holds(one, &record.labels, (NODE, id.as_str())) {
                lacks.push(Lack::Label(one.clone()));
            }
        }
        if let Some(runtime) = &self.runtime
            && !record.runtimes.contains(runtime)
        {
            lacks.push(Lack::Runtime(runtime.clone()));
        }
        lacks
    }

    /// Whether a taint would rather have none of it.
    pub(crate) fn is_unwelcome(&self, record: &NodeRecord) -> bool {
        record.taints.iter().any(|taint| {
            taint.effect == TaintEffect::PreferNoSchedule
                && !constraint::tolerated(taint, &self.tolerate)
        })
    }

    /// What of the preferences about labels holds.
    pub(crate) fn preferred(&self, id: &NodeId, record: &NodeRecord) -> u32 {
        let holds = |one: &Constraint| constraint::holds(one, &record.labels, (NODE, id.as_str()));
        let met = self.prefer.iter().filter(|(_, all)| all.iter().all(holds));
        met.map(|&(weight, _)| preference(weight, self.prefer_sum)).sum()
    }

    /// The answer for one node.
    pub(crate) fn points(&self, id: &NodeId, record: &NodeRecord) -> u32 {
        if !self.lacks(id, record).is_empty() {
            return UNFIT;
        }
        let untainted = if self.is_unwelcome(record) { 0 } else { ONE };
        let steady = if record.interruptible { 0 } else { ONE };
        Term::Untainted.points(untainted)
            + Term::Steady.points(steady)
            + Term::Prefer.points(self.preferred(id, record))
    }
}
