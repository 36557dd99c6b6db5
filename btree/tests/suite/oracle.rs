//! What the database was told and what it answered, and what it may therefore hold: the judge of
//! every random crash test that has one thread.
//!
//! ```text
//!     states    after 0, 1, 2 ...... acknowledged ........ last committed
//!     found                          one of these ────────────────┘
//! ```

use std::collections::BTreeMap;

use drystone_btree::{Commit, Db, Result, TreeId, TxnId, WriteTxn};

/// All trees by name.
pub(crate) type State = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Invariants:
/// * `states` holds the state after each transaction that a crash may have kept, by its number. A
///   number may stand for two transactions: one that a crash took back, and one made after it.
/// * The transactions up to `durable` were acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    states: Vec<(TxnId, State)>,
    durable: TxnId,
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle { states: vec![(TxnId(0), State::new())], durable: TxnId(0) }
    }
}

impl Oracle {
    /// The newest state.
    pub(crate) fn last(&self) -> &State {
        &self.states.last().unwrap().1
    }

    /// A transaction is about to be committed, and will leave this state. It is written down first,
    /// because a crash within may keep it.
    pub(crate) fn commit(&mut self, w: WriteTxn, state: State) -> Result<Commit> {
        if state != *self.last() {
            self.states.push((w.txn(), state));
        }
        w.commit()
    }

    /// The database has changed without changing its records.
    pub(crate) fn same(&mut self, txn: TxnId) {
        let state = self.last().clone();
        self.states.push((txn, state));
    }

    /// What was expected beyond `txn` has not come to be.
    pub(crate) fn forget_after(&mut self, txn: TxnId) {
        while self.states.len() > 1 && self.states.last().unwrap().0 > txn {
            self.states.pop();
        }
    }

    pub(crate) fn acknowledged(&mut self, txn: TxnId) {
        self.durable = self.durable.max(txn);
    }

    /// Finds which state the database is in.
    #[track_caller]
    pub(crate) fn judge(&self, db: &Db, what: &str) -> usize {
        let r = db.read();
        let txn = r.txn();
        assert!(txn >= self.durable, "{what}: {txn} was found, {} was acknowledged", self.durable);
        let found = whole(db);
        let is_it = |(number, state): &(TxnId, State)| *number == txn && *state == found;
        self.states.iter().rposition(is_it).unwrap_or_else(|| {
            let same: Vec<_> = self.states.iter().filter(|(_, state)| *state == found).collect();
            let numbers: Vec<_> = same.iter().map(|(number, _)| number.0).collect();
            panic!("{what}: says it is {txn}, and is like {numbers:?}; known: {}", self.numbers())
        })
    }

    fn numbers(&self) -> String {
        format!("{:?}", self.states.iter().map(|(number, _)| number.0).collect::<Vec<_>>())
    }

    /// As [`judge`](Oracle::judge), and goes on from the state that was found.
    #[track_caller]
    pub(crate) fn settle(&mut self, db: &Db, what: &str) {
        let at = self.judge(db, what);
        let found = self.states[at].clone();
        self.durable = self.durable.max(found.0);
        // A process that was killed leaves behind what no disk has promised yet.
        self.states.push(found);
    }
}

/// Everything in a database; fails on damage.
#[track_caller]
pub(crate) fn whole(db: &Db) -> State {
    let r = db.read();
    let records = |tree: TreeId| {
        let range = r.iter(tree).map(|item| item.unwrap());
        range.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    r.trees().map(|(tree, name)| (name.to_owned(), records(tree))).collect()
}
