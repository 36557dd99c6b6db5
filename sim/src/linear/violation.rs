//! Why a history has no order, for the person who has to find the bug.

use std::fmt;

use super::search::{Pick, Search};
use super::{Model, Op};
use crate::history::Outcome;

/// How many of the operations before the trouble are shown.
const SHOWN_MAX: usize = 10;

/// How wide the picture is, in columns.
const WIDTH_MAX: usize = 60;

/// The shortest prefix of a history that has no order, and the order of all in it but the last.
#[derive(Debug, Clone)]
pub struct Violation<M: Model> {
    placed: Vec<Op<M>>,
    unplaced: Vec<Op<M>>,
    state: M::State,
    /// How many operations had returned at the end of the prefix.
    returned: usize,
    until: u64,
}

impl<M: Model> Violation<M> {
    /// What had happened in `part` by `until` has no order; `before` has found one for what had
    /// happened just before, unless its limit was reached.
    pub(super) fn new(part: &[&Op<M>], until: u64, before: Option<&Search<'_, M>>) -> Violation<M> {
        let ends = |operation: &&&Op<M>| end(operation, until);
        let last = part.iter().filter(|operation| ends(operation) == Some(until));
        let placed = before.map_or_else(Vec::new, |search| {
            let operation = |pick: &Pick| match pick {
                Pick::Returned(place) => search.calls()[*place as usize].operation.clone(),
                Pick::Unknown(place) => search.unknown(*place).clone(),
            };
            search.order().iter().map(operation).collect()
        });
        Violation {
            placed,
            unplaced: last.map(|operation| (*operation).clone()).collect(),
            state: before.map_or_else(M::initial, |search| search.state().clone()),
            returned: part.iter().filter_map(|operation| end(operation, until)).count(),
            until,
        }
    }

    /// How many operations have returned in the shortest prefix that has no order.
    pub fn returned(&self) -> usize {
        self.returned
    }

    /// When the last of them returned.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// One of the orders of all but the last. Empty if the limit was too low to find it again.
    pub fn placed(&self) -> &[Op<M>] {
        &self.placed
    }

    /// What returned last, and has no place in any order of the others: one operation, or several
    /// that returned at the same time.
    pub fn unplaced(&self) -> &[Op<M>] {
        &self.unplaced
    }

    /// The state that the order of the others leads to.
    pub fn state(&self) -> &M::State {
        &self.state
    }
}

impl<M: Model> fmt::Display for Violation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.placed.len().saturating_sub(SHOWN_MAX);
        writeln!(f, "not linearizable: the first {} operations have no order", self.returned)?;
        writeln!(f, "all but the last have this one:")?;
        if hidden > 0 {
            writeln!(f, "       ({hidden} before these)")?;
        }
        let placed = self.placed[hidden..].iter().map(|operation| (' ', operation));
        let unplaced = self.unplaced.iter().map(|operation| ('?', operation));
        let shown: Vec<_> = placed.collect();
        let open: Vec<_> = unplaced.collect();
        let picture = Picture::new(shown.iter().chain(&open).map(|(_, one)| *one), self.until);
        for (mark, operation) in shown {
            self.line(f, mark, operation, &picture)?;
        }
        writeln!(f, "the state is then {:?}, and in no order there is a place for", self.state)?;
        for (mark, operation) in open {
            self.line(f, mark, operation, &picture)?;
        }
        Ok(())
    }
}

impl<M: Model> Violation<M> {
    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        mark: char,
        operation: &Op<M>,
        picture: &Picture,
    ) -> fmt::Result {
        let bar = picture.bar(operation.invoked, end(operation, self.until));
        write!(f, "  {mark} c{:<3} {bar}  {:?}", operation.client, operation.op)?;
        match &operation.outcome {
            Outcome::Returned { at, ret } if *at <= self.until => writeln!(f, " -> {ret:?}"),
            _ => writeln!(f, " -> unknown by then"),
        }
    }
}

fn end<O, R>(operation: &crate::history::Operation<O, R>, until: u64) -> Option<u64> {
    match operation.outcome {
        Outcome::Returned { at, .. } if at <= until => Some(at),
        _ => None,
    }
}

/// Times as columns: only their order counts.
struct Picture {
    times: Vec<u64>,
}

impl Picture {
    fn new<'a, O: 'a, R: 'a>(
        operations: impl Iterator<Item = &'a crate::history::Operation<O, R>>,
        until: u64,
    ) -> Picture {
        let ends =
            operations.flat_map(|operation| [Some(operation.invoked), end(operation, until)]);
        let mut times: Vec<u64> = ends.flatten().collect();
        times.sort_unstable();
        times.dedup();
        Picture { times }
    }

    fn column(&self, time: u64) -> usize {
        let rank = self.times.partition_point(|other| *other < time);
        let most = self.times.len().saturating_sub(1).max(1);
        if 2 * most < WIDTH_MAX { 2 * rank } else { rank * (WIDTH_MAX - 1) / most }
    }

    /// `|---|` from call to return, `|--->` if there was none.
    fn bar(&self, from: u64, to: Option<u64>) -> String {
        let width = self.times.last().map_or(1, |last| self.column(*last) + 1);
        let first = self.column(from);
        let last = to.map_or(width - 1, |to| self.column(to));
        let mut bar = vec![b' '; width];
        bar[first..=last].fill(b'-');
        bar[last] = if to.is_some() { b'|' } else { b'>' };
        bar[first] = b'|';
        String::from_utf8(bar).expect("it is ASCII")
    }
}
