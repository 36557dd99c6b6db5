//! How things really are, which no member knows: what sightings are held against.

use drystone_sim::NodeId;

use crate::gossiper::What;

/// One member said something of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When, in microseconds of the world.
    pub at: u64,
    /// Who says it.
    pub observer: NodeId,
    /// Of whom.
    pub about: NodeId,
    /// What.
    pub what: What,
    /// How many members the observer believes in now, itself among them.
    pub view: usize,
}

/// How a node really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Up, and nothing is done to it.
    Healthy,
    /// Up, and something is done to it: it may rightly be taken for dead.
    Troubled,
    /// Crashed, or left.
    Gone,
}

/// How all nodes really are.
#[derive(Debug, Clone)]
pub struct Truth {
    standings: Vec<Standing>,
    /// How often it has changed.
    changes: u64,
}

impl Truth {
    pub(crate) fn new(members: usize) -> Truth {
        Truth { standings: vec![Standing::Healthy; members], changes: 0 }
    }

    /// How a node is. One that does not exist is gone.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Standing {
        let at = (node.0 as usize).wrapping_sub(1);
        self.standings.get(at).copied().unwrap_or(Standing::Gone)
    }

    pub(crate) fn set(&mut self, node: NodeId, standing: Standing) {
        self.standings[node.0 as usize - 1] = standing;
        self.changes += 1;
    }

    /// A number that is another one when anything has been [`set`](Truth::set) since.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// All nodes of one standing, in order.
    pub fn all(&self, standing: Standing) -> impl Iterator<Item = NodeId> {
        NodeId::first(self.standings.len()).filter(move |node| self.of(*node) == standing)
    }

    /// All nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = NodeId> {
        NodeId::first(self.standings.len()).filter(|node| self.of(*node) != Standing::Gone)
    }
}
