//! The numbers of consensus, each a type of its own so that none is taken for another.

use core::fmt;

/// Names a member of a group. Chosen by the caller, never 0, and never given to another machine or
/// to the same machine with an empty disk: a member is its log.
pub type NodeId = u64;

/// A reign: at most one leader is elected in each (Raft §5.1). 0 is before the first election.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// A place in the log. The first entry is 1; 0 is the place before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// What identifies an entry: two logs that have one at the same position agree on it and on all
/// before it (log matching, Raft §5.3).
///
/// The order is that of §5.4.1: of two logs, the one whose last position is greater is the more
/// up to date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term in which the entry was made.
    pub term: Term,
    /// Its place.
    pub index: Index,
}

/// Names a question of the caller's, so that its answer can be told from others. The core gives no
/// meaning to it; each ticket is answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a write. Later writes have greater ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

impl Term {
    /// The term that a candidate in this one asks votes for.
    #[must_use]
    pub fn next(self) -> Term {
        Term(self.0 + 1)
    }
}

impl Index {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The place before this one; 0 has none before it and stays.
    #[must_use]
    pub fn prev(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl Position {
    /// The entry of `term` at `index`.
    #[must_use]
    pub fn new(term: Term, index: Index) -> Position {
        Position { term, index }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
