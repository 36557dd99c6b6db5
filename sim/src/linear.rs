//! Whether a history could have come from one machine that does one thing at a time.
//!
//! A history is *linearizable* (Herlihy and Wing, 1990) if every operation can be given one moment
//! between its call and its return, so that carried out in the order of those moments they return
//! what they did. It is what a client expects of a store that claims to be one store.
//!
//! ```text
//!     c1  |--write 1--|                          read 2 must stand behind write 2, write 2
//!     c2       |------write 2------|             behind read 1, which follows write 1:
//!     c3           |--read 1--|                  write 1, read 1, write 2, read 2. There is an
//!     c4                    |--read 2--|         order, so the history is linearizable.
//! ```
//!
//! ```
//! use drystone_sim::history::History;
//! use drystone_sim::linear::register::{Op, Register, Ret};
//! use drystone_sim::linear::{Verdict, check};
//!
//! let mut history = History::new();
//! let write = history.invoke(1, Op::Write("x", 1));
//! history.returned(write, Ret::Written);
//! let read = history.invoke(2, Op::Read("x"));
//! history.returned(read, Ret::Value(None));            // the write had returned: a stale read
//!
//! let Verdict::Violation(violation) = check::<Register<_, _>>(&history) else { panic!() };
//! println!("{violation}");                             // which prefix, what could not be placed
//! assert_eq!(violation.unplaced().len(), 1);
//! ```
//!
//! **The search** is that of Wing and Gong (1993) with the memory of Lowe (2017): try each
//! operation that may come first, go on with the rest, and come back when nothing fits; a
//! *configuration* (the set of operations placed, and the state they lead to) that has failed once
//! is not entered again. Four things keep it short:
//!
//! * Operations on different keys cannot hinder each other. The history is cut into parts that have
//!   no key in common, also where a transaction ties keys together.
//! * An operation of unknown outcome may be left out. Of two configurations with the same state and
//!   the same returned operations, the one that has used up fewer unknown ones can do all that the
//!   other can, so only the lesser is searched; unknown operations are tried last, and one that
//!   changes nothing not at all.
//! * What changes nothing is placed as soon as it fits: whatever order there is, there is one with
//!   it there. For registers much more is known (`tokens.rs`).
//! * Only operations under way at the same time can change places, so a configuration is the place
//!   up to which everything is in, and a few bits.
//!
//! The problem is NP-complete, and a bad history may take forever. So configurations are counted,
//! and beyond a limit the verdict is [`Verdict::Unknown`]. No verdict is ever a guess.

mod chain;
pub mod list;
mod model;
mod parts;
pub mod register;
mod search;
mod tokens;
pub mod txn;
mod violation;

pub use model::Model;
pub use violation::Violation;

use crate::history::{History, Operation, Outcome};
use search::{Found, Search};

/// Configurations that a check may visit unless it is told otherwise. Some hundred bytes each.
pub const CONFIGURATIONS_MAX: u64 = 4_000_000;

/// What a check has found.
#[derive(Debug, Clone)]
pub enum Verdict<M: Model> {
    /// There is an order.
    Linearizable,
    /// There is none: all were tried.
    Violation(Box<Violation<M>>),
    /// So many configurations were visited, and the limit ended the search.
    Unknown {
        /// How many.
        configurations: u64,
    },
}

/// Checks a history within the usual limit.
pub fn check<M: Model>(history: &History<M::Op, M::Ret>) -> Verdict<M> {
    check_within(history, CONFIGURATIONS_MAX)
}

/// Checks a history, and gives up when it has visited `configurations_max` configurations.
pub fn check_within<M: Model>(
    history: &History<M::Op, M::Ret>,
    configurations_max: u64,
) -> Verdict<M> {
    let mut left = configurations_max;
    let mut unknown = false;
    for part in parts::parts::<M>(history.operations()) {
        match search::<M>(&part, u64::MAX, &mut left) {
            Found::Order => {}
            Found::Limit => unknown = true,
            Found::None => {
                return Verdict::Violation(Box::new(shortest(&part, configurations_max)));
            }
        }
    }
    if unknown {
        return Verdict::Unknown { configurations: configurations_max - left };
    }
    Verdict::Linearizable
}

/// Panics with the violation unless the history is linearizable.
///
/// # Panics
///
/// If it is not, or if the limit is reached before that is known.
#[track_caller]
pub fn expect<M: Model>(history: &History<M::Op, M::Ret>) {
    match check::<M>(history) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => panic!("{violation}"),
        Verdict::Unknown { configurations } => {
            panic!(
                "after {configurations} configurations it is not known whether there is an order"
            )
        }
    }
}

type Op<M> = Operation<<M as Model>::Op, <M as Model>::Ret>;

/// Searches what had happened in `part` by `until`, and takes what it visits from `left`.
fn search<M: Model>(part: &[&Op<M>], until: u64, left: &mut u64) -> Found {
    let mut search = Search::<M>::new(part, until, *left);
    let found = search.run();
    *left -= search.visited().min(*left);
    found
}

/// The shortest prefix of a part that has no order. Every longer one has none either, so it is
/// found by halving; a prefix for which the limit does not suffice counts as one that has an order.
fn shortest<M: Model>(part: &[&Op<M>], configurations_max: u64) -> Violation<M> {
    let returned = |operation: &&Op<M>| match operation.outcome {
        Outcome::Returned { at, .. } => Some(at),
        _ => None,
    };
    let mut returns: Vec<u64> = part.iter().filter_map(returned).collect();
    returns.sort_unstable();
    let (mut sound, mut bad) = (0, returns.len());
    while sound + 1 < bad {
        let middle = sound.midpoint(bad);
        match search::<M>(part, returns[middle - 1], &mut configurations_max.clone()) {
            Found::None => bad = middle,
            Found::Order | Found::Limit => sound = middle,
        }
    }
    let until = returns[bad - 1];
    let mut search = Search::new(part, until.saturating_sub(1), configurations_max);
    let found = search.run();
    Violation::new(part, until, (found == Found::Order).then_some(&search))
}

#[cfg(test)]
mod tests;
