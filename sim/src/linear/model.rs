//! What a history is measured by: a machine that does one thing at a time.

use std::fmt::Debug;
use std::hash::Hash;

/// A sequential machine.
///
/// ```
/// use drystone_sim::history::History;
/// use drystone_sim::linear::{Model, Verdict, check};
///
/// /// Hands out each number once.
/// #[derive(Debug, Clone)]
/// struct Counter;
///
/// impl Model for Counter {
///     type Op = ();
///     type Ret = u64;
///     type State = u64;
///     type Key = ();
///
///     fn initial() -> u64 {
///         0
///     }
///
///     fn apply(state: &mut u64, (): &()) -> u64 {
///         *state += 1;
///         *state
///     }
/// }
///
/// let mut history = History::new();
/// let (one, other) = (history.invoke(1, ()), history.invoke(2, ()));
/// history.returned(one, 2);
/// history.returned(other, 1);
/// assert!(matches!(check::<Counter>(&history), Verdict::Linearizable));
/// ```
pub trait Model {
    /// What a client asks for.
    type Op: Clone + Debug + PartialEq;
    /// What it is told.
    type Ret: Clone + Debug + PartialEq;
    /// What the machine holds. It is cloned at every step of the search, and should be small.
    type State: Clone + Debug + Eq + Hash;
    /// What an operation is about.
    type Key: Clone + Debug + Ord;

    /// The state before the first operation.
    fn initial() -> Self::State;

    /// Carries out an operation, and says what it returns.
    fn apply(state: &mut Self::State, op: &Self::Op) -> Self::Ret;

    /// The state after `op`, if it may return `ret` in `state`. To be replaced where that can be
    /// told without a copy, or where an operation may return more than one thing.
    fn admits(state: &Self::State, op: &Self::Op, ret: &Self::Ret) -> Option<Self::State> {
        let mut next = state.clone();
        (Self::apply(&mut next, op) == *ret).then_some(next)
    }

    /// The state before the first operation of a part in which these `returned`. To be replaced
    /// where what they returned tells early which states lead nowhere: see `list.rs`.
    fn begin(_returned: &[(&Self::Op, &Self::Ret)]) -> Self::State {
        Self::initial()
    }

    /// The state after an operation of unknown outcome; `None` if it is certain to lead nowhere.
    fn effect(state: &Self::State, op: &Self::Op) -> Option<Self::State> {
        let mut next = state.clone();
        Self::apply(&mut next, op);
        Some(next)
    }

    /// The keys that the operation reads or changes; `None` if that may be any. What it does and
    /// returns must not depend on other keys: operations without a common key are checked apart.
    fn keys(_op: &Self::Op) -> Option<Vec<Self::Key>> {
        None
    }

    /// Whether an operation that returned this (or, without a `ret`, anything) can have changed the
    /// state. A read cannot, nor can a condition that did not hold. The search is much shorter
    /// where the answer is no, and wrong if that is not true.
    fn changes(_op: &Self::Op, _ret: Option<&Self::Ret>) -> bool {
        true
    }

    /// The one state in which the operation can return this, if there is just one; without a `ret`,
    /// the one in which it can change anything.
    ///
    /// This, [`avoids`](Model::avoids) and [`makes`](Model::makes) are for machines like registers,
    /// of which they spare the search nearly everything. All answers may always be `None`.
    fn needs(_op: &Self::Op, _ret: Option<&Self::Ret>) -> Option<Self::State> {
        None
    }

    /// The one state in which the operation cannot return this, if it can in every other.
    fn avoids(_op: &Self::Op, _ret: &Self::Ret) -> Option<Self::State> {
        None
    }

    /// The one state that the operation leads to if it changes the state at all, if there is just
    /// one.
    fn makes(_op: &Self::Op) -> Option<Self::State> {
        None
    }

    /// Whether an operation whose outcome is unknown can have made a difference to one of those
    /// that `returned`. Where the answer is no it is left out.
    fn shows(_op: &Self::Op, _returned: &[(&Self::Op, &Self::Ret)]) -> bool {
        true
    }
}
