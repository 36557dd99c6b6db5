//! Counts the nodes that reads look at, for the tests that bound it. Outside of tests it is
//! nothing.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static VISITED: Cell<u64> = const { Cell::new(0) };
}

/// A read looks at a node.
#[inline]
pub(super) fn visit() {
    #[cfg(test)]
    VISITED.set(VISITED.get() + 1);
}

/// How many nodes `read` looks at.
#[cfg(test)]
pub(super) fn nodes_visited(read: impl FnOnce()) -> u64 {
    let before = VISITED.get();
    read();
    VISITED.get() - before
}
