//! Transactions of the [`Model`]: decided whole, checked whole, then run.

use bytes::Bytes;
use drystone_kv::Refusal;
use drystone_kv::command::{Compare, CompareTarget, Relation, Txn, TxnOp};
use drystone_kv::reply::{TxnOpReply, TxnReply};
use drystone_kv::types::KeyValue;

use super::{Model, Moment, check_revision};

/// A transaction whose compares have all been evaluated.
struct Decided<'t> {
    succeeded: bool,
    steps: Vec<Step<'t>>,
}

enum Step<'t> {
    Op(&'t TxnOp),
    Nested(Decided<'t>),
}

impl<'t> Decided<'t> {
    /// Every operation that will run, in the order of running.
    fn ops(&self) -> Vec<&'t TxnOp> {
        let ops = self.steps.iter().flat_map(|step| match step {
            Step::Op(op) => vec![*op],
            Step::Nested(nested) => nested.ops(),
        });
        ops.collect()
    }
}

impl Model {
    /// A transaction as a command.
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnReply, Refusal> {
        let decided = self.decide(txn, u64::MAX);
        self.check(&decided)?;
        Ok(self.run_txn(&decided))
    }

    /// A transaction that only reads, outside of any command.
    ///
    /// # Errors
    /// The refusal that the store must give.
    ///
    /// # Panics
    /// If it could write.
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnReply, Refusal> {
        self.refuse_if_corrupt()?;
        self.read_txn_then(txn, self.moment())
    }

    /// A transaction that only reads, as a store answers that stood where this one did at `then`.
    /// Alarms are not looked at.
    ///
    /// # Errors
    /// The refusal that the store must give.
    ///
    /// # Panics
    /// If it could write.
    pub fn read_txn_then(&self, txn: &Txn, then: Moment) -> Result<TxnReply, Refusal> {
        let decided = self.decide(txn, then.revision);
        let read = |op: &TxnOp| {
            let TxnOp::Range(request) = op else { panic!("{op:?} is no read") };
            self.range_then(request, then).map(TxnOpReply::Range)
        };
        let replies = decided.ops().into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(TxnReply { revision: then.revision, succeeded: decided.succeeded, replies })
    }

    fn check(&self, decided: &Decided<'_>) -> Result<(), Refusal> {
        for op in decided.ops() {
            match op {
                TxnOp::Range(request) => check_revision(request, self.moment())?,
                TxnOp::Put(put) => {
                    self.check_kept(put)?;
                    self.check_lease(put)?;
                }
                TxnOp::DeleteRange(_) | TxnOp::Txn(_) => {}
            }
        }
        Ok(())
    }

    /// Decides all branches by what was alive after main revision `at`.
    fn decide<'t>(&self, txn: &'t Txn, at: u64) -> Decided<'t> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare, at));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let step = |op: &'t TxnOp| match op {
            TxnOp::Txn(nested) => Step::Nested(self.decide(nested, at)),
            op => Step::Op(op),
        };
        Decided { succeeded, steps: branch.iter().map(step).collect() }
    }

    fn run_txn(&mut self, decided: &Decided<'_>) -> TxnReply {
        let mut replies = Vec::new();
        for step in &decided.steps {
            replies.push(match step {
                Step::Nested(nested) => TxnOpReply::Txn(self.run_txn(nested)),
                Step::Op(TxnOp::Range(request)) => {
                    TxnOpReply::Range(self.read(request, self.newest()))
                }
                Step::Op(TxnOp::Put(put)) => TxnOpReply::Put(self.put(put)),
                Step::Op(TxnOp::DeleteRange(delete)) => {
                    TxnOpReply::DeleteRange(self.delete_range(delete))
                }
                Step::Op(TxnOp::Txn(_)) => unreachable!("decided as nested"),
            });
        }
        TxnReply { revision: self.newest(), succeeded: decided.succeeded, replies }
    }

    fn holds(&self, compare: &Compare, at: u64) -> bool {
        let kvs = self.alive(&compare.range, at);
        if !kvs.is_empty() {
            return kvs.iter().all(|kv| relates(compare, kv));
        }
        let by_value = matches!(compare.target, CompareTarget::Value(_));
        !by_value && relates(compare, &KeyValue::default())
    }
}

fn relates(compare: &Compare, kv: &KeyValue) -> bool {
    // Both sides as bytes-or-number pairs whose order is the order meant.
    let number = |value: i128| (value, Bytes::new());
    let (ours, theirs) = match &compare.target {
        CompareTarget::Version(theirs) => (number(kv.version.into()), number((*theirs).into())),
        CompareTarget::Create(theirs) => {
            (number(kv.create_revision.into()), number((*theirs).into()))
        }
        CompareTarget::Mod(theirs) => (number(kv.mod_revision.into()), number((*theirs).into())),
        CompareTarget::Value(theirs) => ((0, kv.value.clone()), (0, theirs.clone())),
        CompareTarget::Lease(theirs) => (number(kv.lease.0.into()), number(theirs.0.into())),
        CompareTarget::Unknown => (number(0), number(0)),
    };
    match compare.relation {
        Relation::Equal => ours == theirs,
        Relation::Greater => ours > theirs,
        Relation::Less => ours < theirs,
        Relation::NotEqual => ours != theirs,
        Relation::Any => true,
    }
}

/// Whether a transaction could set a key, in any branch at any depth.
pub(super) fn has_put(txn: &Txn) -> bool {
    [&txn.success, &txn.failure].into_iter().flatten().any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(nested) => has_put(nested),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}
