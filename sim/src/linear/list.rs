//! Lists: each key holds a list, to which values are appended, and which is read whole.
//!
//! A read of a list tells the order of everything before it, so lists find more with fewer
//! operations than registers do. Let every appended value be another one.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

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

impl<K: Clone + Debug + Ord, V: Clone + Debug + Eq + Hash> Model for List<K, V> {
    type Op = Op<K, V>;
    type Ret = Ret<V>;
    type State = Chain<V>;
    type Key = K;

    fn initial() -> Chain<V> {
        Chain::new()
    }

    fn apply(state: &mut Chain<V>, op: &Op<K, V>) -> Ret<V> {
        match op {
            Op::Append(_, value) => {
                state.push(value.clone());
                Ret::Appended
            }
            Op::Read(_) => Ret::Values(state.to_vec()),
        }
    }

    fn admits(state: &Chain<V>, op: &Op<K, V>, ret: &Ret<V>) -> Option<Chain<V>> {
        match (op, ret) {
            (Op::Append(_, value), Ret::Appended) => {
                let mut next = state.clone();
                next.push(value.clone());
                Some(next)
            }
            (Op::Read(_), Ret::Values(values)) => state.is(values).then(|| state.clone()),
            _ => None,
        }
    }

    fn keys(op: &Op<K, V>) -> Option<Vec<K>> {
        let (Op::Append(key, _) | Op::Read(key)) = op;
        Some(vec![key.clone()])
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
