//! Transactions over several keys: if all conditions hold, do this, and otherwise that.
//!
//! This is what etcd calls a Txn, without revisions: conditions on values, then reads, writes and
//! deletes, all at one moment. A plain read of several keys is a transaction without conditions.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::model::Model;

/// A store of keys of type `K`, empty at first, with values of type `V`.
#[derive(Debug, Clone)]
pub struct Txn<K, V>(PhantomData<(K, V)>);

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op<K, V> {
    /// The conditions.
    pub compare: Vec<Compare<K, V>>,
    /// What is done if all of them hold.
    pub then: Vec<Action<K, V>>,
    /// What is done if one does not.
    pub otherwise: Vec<Action<K, V>>,
}

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare<K, V> {
    /// The key is not there.
    Absent(K),
    /// The key is there.
    Present(K),
    /// The key has this value.
    Is(K, V),
    /// The key has another value, or is not there.
    IsNot(K, V),
}

/// One step of a transaction. Steps are carried out in their order, and see those before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<K, V> {
    /// Adds the value of the key, or `None`, to what is returned.
    Get(K),
    /// Sets the key.
    Put(K, V),
    /// Removes the key.
    Delete(K),
}

/// What a transaction returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ret<V> {
    /// Whether all conditions held.
    pub succeeded: bool,
    /// What the reads found, in their order.
    pub values: Vec<Option<V>>,
}

impl<K, V> Op<K, V> {
    /// Does all this, whatever is there.
    pub fn always(then: Vec<Action<K, V>>) -> Op<K, V> {
        Op { compare: Vec::new(), then, otherwise: Vec::new() }
    }

    fn actions(&self) -> impl Iterator<Item = &Action<K, V>> {
        self.then.iter().chain(&self.otherwise)
    }
}

impl<K: Clone + Debug + Ord + Hash, V: Clone + Debug + Eq + Hash> Model for Txn<K, V> {
    type Op = Op<K, V>;
    type Ret = Ret<V>;
    type State = BTreeMap<K, V>;
    type Key = K;

    fn initial() -> BTreeMap<K, V> {
        BTreeMap::new()
    }

    fn apply(state: &mut BTreeMap<K, V>, op: &Op<K, V>) -> Ret<V> {
        let succeeded = op.compare.iter().all(|compare| match compare {
            Compare::Absent(key) => !state.contains_key(key),
            Compare::Present(key) => state.contains_key(key),
            Compare::Is(key, value) => state.get(key) == Some(value),
            Compare::IsNot(key, value) => state.get(key) != Some(value),
        });
        let mut values = Vec::new();
        for action in if succeeded { &op.then } else { &op.otherwise } {
            match action {
                Action::Get(key) => values.push(state.get(key).cloned()),
                Action::Put(key, value) => drop(state.insert(key.clone(), value.clone())),
                Action::Delete(key) => drop(state.remove(key)),
            }
        }
        Ret { succeeded, values }
    }

    fn keys(op: &Op<K, V>) -> Option<Vec<K>> {
        let compared = op.compare.iter().map(|compare| match compare {
            Compare::Absent(key) | Compare::Present(key) => key,
            Compare::Is(key, _) | Compare::IsNot(key, _) => key,
        });
        let touched = op.actions().map(|action| match action {
            Action::Get(key) | Action::Put(key, _) | Action::Delete(key) => key,
        });
        Some(compared.chain(touched).cloned().collect())
    }

    fn changes(op: &Op<K, V>, ret: Option<&Ret<V>>) -> bool {
        let writes = |actions: &[Action<K, V>]| {
            actions.iter().any(|action| !matches!(action, Action::Get(_)))
        };
        match ret {
            Some(Ret { succeeded: true, .. }) => writes(&op.then),
            Some(Ret { succeeded: false, .. }) => writes(&op.otherwise),
            None => writes(&op.then) || writes(&op.otherwise),
        }
    }
}
