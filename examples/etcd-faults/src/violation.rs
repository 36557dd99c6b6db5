//! What was broken, and who says so.

use std::fmt;

/// A promise of the server, and the checker that holds it to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// What happened: each revision has one author, and what was acknowledged happened.
    Log,
    /// Each answer is what the store would say at its revision.
    Reply,
    /// Answers come in an order that fits the order of the calls in time.
    Order,
    /// What one process tells never goes back.
    Member,
    /// Watches show what happened: all of it, once, in order.
    Watch,
    /// A watch that says "all up to here" has shown all up to there.
    Progress,
    /// What was compacted is refused, and nothing else is.
    Compaction,
    /// Leases end, and not before their time.
    Lease,
    /// At the end all members have the same.
    Agreement,
    /// No server ends by itself, unless its disk is full.
    Alive,
    /// The cluster is well again once it is left alone.
    Recovery,
}

impl Checker {
    /// All of them.
    pub const ALL: [Checker; 11] = [
        Checker::Log,
        Checker::Reply,
        Checker::Order,
        Checker::Member,
        Checker::Watch,
        Checker::Progress,
        Checker::Compaction,
        Checker::Lease,
        Checker::Agreement,
        Checker::Alive,
        Checker::Recovery,
    ];
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub checker: Checker,
    /// What was seen, for people.
    pub text: String,
}

impl Violation {
    /// A promise was broken.
    pub(crate) fn new(checker: Checker, text: impl Into<String>) -> Violation {
        Violation { checker, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.checker, self.text)
    }
}
