//! Who saw what was in the database after each transaction, and compares.
//!
//! A damaged database may refuse a question. It may not answer it wrongly: an answer is the one of
//! the transaction that the database says it is at, or an error, and an error stays one.

use std::collections::BTreeMap;

use drystone_btree::{Db, Error, Result, Slice};

use crate::oracle::{State, whole};

/// States by transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness {
    states: BTreeMap<u64, State>,
}

/// What was found in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) txn: u64,
    /// Keys whose value was there.
    pub(crate) right: usize,
    /// Keys for which there was an error.
    pub(crate) refused: usize,
}

/// Whether an error is one that damage may lead to.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::Io { .. })
}

impl Witness {
    /// Looks at a sound database, and remembers.
    pub(crate) fn note(&mut self, db: &Db) -> u64 {
        let txn = db.read().txn().0;
        self.states.insert(txn, whole(db));
        txn
    }

    /// The state after a transaction, if somebody looked.
    pub(crate) fn at(&self, txn: u64) -> Option<&State> {
        self.states.get(&txn)
    }

    /// Asks a database everything, in every way. Panics at a wrong answer.
    #[track_caller]
    pub(crate) fn examine(&self, db: &Db, what: &str) -> Found {
        let r = db.read();
        let txn = r.txn().0;
        let Some(state) = self.states.get(&txn) else {
            panic!("{what}: the database is at transaction {txn}, which never was");
        };
        let mut found = Found { txn, right: 0, refused: 0 };
        assert!(r.trees().map(|(_, name)| name).eq(names_by_age(&r, state)), "{what}: trees");
        for (name, records) in state {
            let tree = r.tree(name).unwrap_or_else(|| panic!("{what}: tree {name} is gone"));
            assert_eq!(r.len(tree).unwrap(), records.len() as u64, "{what}: {name}");
            for (key, value) in records {
                match r.get(tree, key) {
                    Ok(Some(got)) if got == *value => found.right += 1,
                    Ok(got) => panic!("{what}: {name}: {key:?} is {:?}", got.map(|v| v.len())),
                    Err(error) if is_damage(&error) => found.refused += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            let forward = records.iter();
            walk(r.iter(tree), forward.clone(), what);
            walk(r.iter(tree).rev(), forward.rev(), what);
        }
        found
    }
}

/// The trees of a state in the order in which the database lists them.
fn names_by_age<'a>(r: &'a drystone_btree::ReadTxn, state: &State) -> Vec<&'a str> {
    let listed: Vec<&str> = r.trees().map(|(_, name)| name).collect();
    assert!(listed.iter().all(|name| state.contains_key(*name)), "nobody made {listed:?}");
    assert_eq!(listed.len(), state.len());
    listed
}

/// The items are the expected ones up to an error, and that error from then on.
#[track_caller]
fn walk<'a>(
    mut items: impl Iterator<Item = Result<(Slice<'a>, Slice<'a>)>>,
    mut expected: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
    what: &str,
) {
    let first = loop {
        match items.next() {
            Some(Ok((key, value))) => {
                let Some((k, v)) = expected.next() else {
                    panic!("{what}: a record that nobody put there: {key:?}");
                };
                assert!(key == *k && value == *v, "{what}: another record than {k:?}");
            }
            Some(Err(error)) => break error,
            None => {
                assert!(expected.next().is_none(), "{what}: records are missing in a walk");
                assert!(items.next().is_none(), "{what}: the end stays the end");
                return;
            }
        }
    };
    assert!(is_damage(&first), "{what}: {first}");
    for _ in 0..3 {
        match items.next() {
            Some(Err(again)) => assert_eq!(again.to_string(), first.to_string()),
            other => panic!("{what}: after an error: {:?}", other.is_some()),
        }
    }
}
