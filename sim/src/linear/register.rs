//! Registers: each key holds one value, which can be read, written, and swapped for another.
//!
//! Let every write be of another value: then a read tells whose write it saw, a wrong one cannot
//! pass for a right one, and the search has hardly a choice.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::model::Model;

/// One register for each key of type `K`, empty at first, with values of type `V`.
#[derive(Debug, Clone)]
pub struct Register<K, V>(PhantomData<(K, V)>);

/// What can be done to a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<K, V> {
    /// Returns [`Ret::Value`].
    Read(K),
    /// Returns [`Ret::Written`].
    Write(K, V),
    /// Writes if the register holds what is expected. Returns [`Ret::Swapped`].
    Cas {
        /// The register.
        key: K,
        /// What it must hold; `None` is empty.
        old: Option<V>,
        /// What it holds afterwards.
        new: V,
    },
}

/// What a register returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ret<V> {
    /// What it holds; `None` if nothing was ever written.
    Value(Option<V>),
    /// It is written.
    Written,
    /// Whether it held what was expected, and now holds the new value.
    Swapped(bool),
}

impl<K: Clone + Debug + Ord, V: Clone + Debug + Eq + Hash> Model for Register<K, V> {
    type Op = Op<K, V>;
    type Ret = Ret<V>;
    // Operations on different keys are checked apart, so this is the one key that they share.
    type State = Option<V>;
    type Key = K;

    fn initial() -> Option<V> {
        None
    }

    fn apply(state: &mut Option<V>, op: &Op<K, V>) -> Ret<V> {
        match op {
            Op::Read(_) => Ret::Value(state.clone()),
            Op::Write(_, value) => {
                *state = Some(value.clone());
                Ret::Written
            }
            Op::Cas { old, new, .. } => {
                let fits = state == old;
                if fits {
                    *state = Some(new.clone());
                }
                Ret::Swapped(fits)
            }
        }
    }

    fn keys(op: &Op<K, V>) -> Option<Vec<K>> {
        let (Op::Read(key) | Op::Write(key, _) | Op::Cas { key, .. }) = op;
        Some(vec![key.clone()])
    }

    fn needs(op: &Op<K, V>, ret: Option<&Ret<V>>) -> Option<Option<V>> {
        match (op, ret) {
            (Op::Read(_), Some(Ret::Value(value))) => Some(value.clone()),
            (Op::Cas { old, .. }, Some(Ret::Swapped(true)) | None) => Some(old.clone()),
            _ => None,
        }
    }

    fn avoids(op: &Op<K, V>, ret: &Ret<V>) -> Option<Option<V>> {
        match (op, ret) {
            (Op::Cas { old, .. }, Ret::Swapped(false)) => Some(old.clone()),
            _ => None,
        }
    }

    fn makes(op: &Op<K, V>) -> Option<Option<V>> {
        match op {
            Op::Read(_) => None,
            Op::Write(_, value) | Op::Cas { new: value, .. } => Some(Some(value.clone())),
        }
    }

    fn changes(op: &Op<K, V>, ret: Option<&Ret<V>>) -> bool {
        !matches!(op, Op::Read(_)) && ret != Some(&Ret::Swapped(false))
    }
}
