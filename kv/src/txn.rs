//! Transactions: which branch runs, and whether it can.
//!
//! A transaction is decided in full before it writes a byte:
//!
//! 1. *Path.* Every compare of the whole nested tree is evaluated against the state as it was
//!    before the outermost transaction. The result is one truth value for each transaction that
//!    will run.
//! 2. *Checks* along the path, in its order: that puts which keep something find it, that leases
//!    stand, that the revisions of reads are readable.
//! 3. *Run.* Nothing can be refused any more, so a refused transaction has left no trace, and
//!    every copy of the store refuses it alike.

use std::cmp::Ordering;

use crate::command::{Compare, CompareTarget, Put, RangeRequest, Relation, Txn, TxnOp};
use crate::error::{Error, Refusal};
use crate::state::State;
use crate::types::{KeyValue, LeaseId};

/// Which branches run: the outcome of each transaction's compares, outermost first, then those
/// nested in the chosen branch, in order.
pub(crate) type Path = Vec<bool>;

/// Loads the live key-values of a compare's range.
pub(crate) trait Lookup {
    /// The key-values of `compare.range` as they stand; their values may be left out when
    /// `values` is false.
    fn live(&self, compare: &Compare, values: bool) -> Result<Vec<KeyValue>, Error>;
}

/// Step 1: decides every branch.
pub(crate) fn decide(txn: &Txn, lookup: &impl Lookup) -> Result<Path, Error> {
    let mut path = Vec::new();
    decide_into(txn, lookup, &mut path)?;
    Ok(path)
}

fn decide_into(txn: &Txn, lookup: &impl Lookup, path: &mut Path) -> Result<(), Error> {
    let mut succeeded = true;
    for compare in &txn.compares {
        if !holds(compare, lookup)? {
            succeeded = false;
            break;
        }
    }
    path.push(succeeded);
    for op in branch(txn, succeeded) {
        if let TxnOp::Txn(nested) = op {
            decide_into(nested, lookup, path)?;
        }
    }
    Ok(())
}

/// The operations that run.
pub(crate) fn branch(txn: &Txn, succeeded: bool) -> &[TxnOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn holds(compare: &Compare, lookup: &impl Lookup) -> Result<bool, Error> {
    let by_value = matches!(compare.target, CompareTarget::Value(_));
    let kvs = lookup.live(compare, by_value)?;
    if kvs.is_empty() {
        // etcd compares an imagined key-value of zeros, but has no imagined value.
        return Ok(!by_value && relates(compare, &KeyValue::default()));
    }
    Ok(kvs.iter().all(|kv| relates(compare, kv)))
}

fn relates(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => compare_revision(kv.version, *version),
        CompareTarget::Create(revision) => compare_revision(kv.create_revision, *revision),
        CompareTarget::Mod(revision) => compare_revision(kv.mod_revision, *revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.0.cmp(&lease.0),
        CompareTarget::Unknown => Ordering::Equal,
    };
    match compare.relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::Greater => ordering == Ordering::Greater,
        Relation::Less => ordering == Ordering::Less,
        Relation::NotEqual => ordering != Ordering::Equal,
        Relation::Any => true,
    }
}

/// Compares a revision or version with a client's number, which may be negative.
fn compare_revision(ours: u64, theirs: i64) -> Ordering {
    u64::try_from(theirs).map_or(Ordering::Greater, |theirs| ours.cmp(&theirs))
}

/// Step 2: checks everything on `path` that could be refused.
pub(crate) fn check(txn: &Txn, path: &Path, state: &State) -> Result<(), Refusal> {
    walk(txn, &mut path.iter(), &mut |op| match op {
        TxnOp::Range(request) => check_range(request, state),
        TxnOp::Put(put) => check_put(put, state),
        TxnOp::DeleteRange(_) | TxnOp::Txn(_) => Ok(()),
    })
}

fn walk(
    txn: &Txn,
    path: &mut std::slice::Iter<'_, bool>,
    visit: &mut impl FnMut(&TxnOp) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let succeeded = *path.next().expect("the path has an entry for each transaction on it");
    for op in branch(txn, succeeded) {
        match op {
            TxnOp::Txn(nested) => walk(nested, path, visit)?,
            op => visit(op)?,
        }
    }
    Ok(())
}

fn check_put(put: &Put, state: &State) -> Result<(), Refusal> {
    let keeps = put.value.is_none() || put.lease.is_none();
    if keeps && state.index.latest(&put.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    check_lease(put, state)
}

/// Whether the lease that a put names stands.
pub(crate) fn check_lease(put: &Put, state: &State) -> Result<(), Refusal> {
    match put.lease {
        None | Some(LeaseId::NONE) => Ok(()),
        Some(lease) if state.leases.contains(lease) => Ok(()),
        Some(_) => Err(Refusal::LeaseNotFound),
    }
}

fn check_range(request: &RangeRequest, state: &State) -> Result<(), Refusal> {
    state.readable(request.revision, state.revision).map(drop)
}
