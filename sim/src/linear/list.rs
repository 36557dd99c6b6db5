//! Lists: each key holds a list, to which values are appended, and which is read whole.
//!
//! A read of a list tells the order of everything before it, so lists find more with fewer
//! operations than registers do. Let every appended value be another one.

use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::rc::Rc;

use super::chain::Chain;
use super::model::Model;

/// One list for each key of type `K`, empty at first, of values of type `V`.
#[derive(Debug, Clone)]
pub struct List<K, V>(PhantomData<(K, V)>);

/// What can be done to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<K, V> {
    /// Returns [`Ret::Appended`].
    Append(K, V),
    /// Returns [`Ret::Values`].
    Read(K),
}

/// What a list returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ret<V> {
    /// The value is at the end.
    Appended,
    /// All values, the first one first.
    Values(Vec<V>),
}

/// A list, and what it must become.
///
/// All that is ever read of a list is one list at different times. So the longest read says which
/// value is appended where, and an append of another value there leads nowhere. Without this the
/// search would try every append that is under way, and find out at the next read.
#[derive(Clone)]
pub struct State<V> {
    values: Chain<V>,
    longest: Rc<[V]>,
}

impl<V: Clone + Eq + Hash> State<V> {
    /// The values of the list.
    pub fn values(&self) -> Vec<V> {
        self.values.to_vec()
    }

    /// Appends a value, if one of the reads allows it here.
    fn append(&self, value: &V) -> Option<State<V>> {
        let expected = self.longest.get(self.values.len());
        expected.is_none_or(|expected| expected == value).then(|| {
            let mut next = self.clone();
            next.values.push(value.clone());
            next
        })
    }
}

impl<V: Debug> Debug for State<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

// The longest read is the same for all states of one search.
impl<V: Eq> PartialEq for State<V> {
    fn eq(&self, other: &State<V>) -> bool {
        self.values == other.values
    }
}

impl<V: Eq> Eq for State<V> {}

impl<V> Hash for State<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}

impl<K: Clone + Debug + Ord, V: Clone + Debug + Eq + Hash> Model for List<K, V> {
    type Op = Op<K, V>;
    type Ret = Ret<V>;
    type State = State<V>;
    type Key = K;

    fn initial() -> State<V> {
        State { values: Chain::new(), longest: Rc::new([]) }
    }

    fn apply(state: &mut State<V>, op: &Op<K, V>) -> Ret<V> {
        match op {
            Op::Append(_, value) => {
                state.values.push(value.clone());
                Ret::Appended
            }
            Op::Read(_) => Ret::Values(state.values()),
        }
    }

    fn admits(state: &State<V>, op: &Op<K, V>, ret: &Ret<V>) -> Option<State<V>> {
        match (op, ret) {
            (Op::Append(_, value), Ret::Appended) => state.append(value),
            (Op::Read(_), Ret::Values(values)) => state.values.is(values).then(|| state.clone()),
            _ => None,
        }
    }

    fn begin(returned: &[(&Op<K, V>, &Ret<V>)]) -> State<V> {
        let reads = returned.iter().filter_map(|(_, ret)| match ret {
            Ret::Values(values) => Some(values),
            Ret::Appended => None,
        });
        let longest = reads.max_by_key(|values| values.len()).map_or(&[][..], Vec::as_slice);
        State { values: Chain::new(), longest: Rc::from(longest) }
    }

    fn effect(state: &State<V>, op: &Op<K, V>) -> Option<State<V>> {
        match op {
            Op::Append(_, value) => state.append(value),
            Op::Read(_) => None,
        }
    }

    fn keys(op: &Op<K, V>) -> Option<Vec<K>> {
        let (Op::Append(key, _) | Op::Read(key)) = op;
        Some(vec![key.clone()])
    }

    fn changes(op: &Op<K, V>, _: Option<&Ret<V>>) -> bool {
        matches!(op, Op::Append(..))
    }

    /// An append that no read has seen came behind all of them, or not at all.
    fn shows(op: &Op<K, V>, returned: &[(&Op<K, V>, &Ret<V>)]) -> bool {
        let Op::Append(_, value) = op else { return false };
        returned.iter().any(|(_, ret)| match ret {
            Ret::Values(values) => values.contains(value),
            Ret::Appended => false,
        })
    }
}
