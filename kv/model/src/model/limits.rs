//! etcd's rules for what may be tried at all, written as comparisons of everything with everything.

use bytes::Bytes;
use drystone_kv::Refusal;
use drystone_kv::command::{Command, Txn, TxnOp};
use drystone_kv::key_range::KeyRange;
use drystone_kv::limits::Limits;

use super::is_inside;

/// Whether a command may be tried.
///
/// # Errors
/// The refusal that the limits must give.
pub fn allowed(command: &Command, limits: &Limits) -> Result<(), Refusal> {
    match command {
        Command::Put(put) if put.key.is_empty() => Err(Refusal::EmptyKey),
        Command::DeleteRange(delete) if delete.range.start.is_empty() => Err(Refusal::EmptyKey),
        Command::LeaseGrant(grant) if grant.id.0 == 0 => Err(Refusal::LeaseNotFound),
        Command::Txn(txn) => {
            shape(txn, limits.txn_ops_max)?;
            touches(&txn.success)?;
            touches(&txn.failure)?;
            Ok(())
        }
        _ => super::cluster::sizes(command),
    }
}

/// Sizes and keys, from the outside in, first trouble first.
fn shape(txn: &Txn, budget: usize) -> Result<(), Refusal> {
    let lists = [txn.compares.len(), txn.success.len(), txn.failure.len()];
    if lists.iter().any(|&len| len > budget) {
        return Err(Refusal::TooManyOps);
    }
    let left = lists.iter().map(|len| budget - len).min().unwrap_or(budget);
    if txn.compares.iter().any(|compare| compare.range.start.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for op in [&txn.success, &txn.failure].into_iter().flatten() {
        let key = match op {
            TxnOp::Txn(nested) => {
                shape(nested, left)?;
                continue;
            }
            TxnOp::Range(request) => &request.range.start,
            TxnOp::Put(put) => &put.key,
            TxnOp::DeleteRange(delete) => &delete.range.start,
        };
        if key.is_empty() {
            return Err(Refusal::EmptyKey);
        }
    }
    Ok(())
}

/// One thing that a list of operations may do to keys.
#[derive(Clone)]
struct Touch {
    what: What,
    /// When etcd looks at it: this list's deletes at 0, its nested transactions at 1, 2, 3 in their
    /// order, its puts at the very end.
    turn: usize,
}

#[derive(Clone)]
enum What {
    Put(Bytes),
    Delete(KeyRange),
}

/// Everything that a list may do; refused if any two clash.
fn touches(ops: &[TxnOp]) -> Result<Vec<Touch>, Refusal> {
    let mut all = Vec::new();
    let mut nested_turn = 0;
    for op in ops {
        match op {
            TxnOp::Range(_) => {}
            // etcd does not see a delete that has no end.
            TxnOp::DeleteRange(delete) if delete.range.end.is_none() => {}
            TxnOp::DeleteRange(delete) => {
                all.push(Touch { what: What::Delete(delete.range.clone()), turn: 0 });
            }
            TxnOp::Put(put) => {
                all.push(Touch { what: What::Put(put.key.clone()), turn: usize::MAX });
            }
            TxnOp::Txn(nested) => {
                nested_turn += 1;
                for inner in [touches(&nested.success)?, touches(&nested.failure)?].concat() {
                    all.push(Touch { what: inner.what, turn: nested_turn });
                }
            }
        }
    }
    for (position, a) in all.iter().enumerate() {
        for b in &all[position + 1..] {
            if clash(a, b) || clash(b, a) {
                return Err(Refusal::DuplicateKey);
            }
        }
    }
    Ok(all)
}

fn clash(first: &Touch, second: &Touch) -> bool {
    let own_puts = first.turn == usize::MAX && second.turn == usize::MAX;
    match (&first.what, &second.what) {
        // Within one nested transaction the branches were judged one by one.
        (What::Put(a), What::Put(b)) => a == b && (first.turn != second.turn || own_puts),
        (What::Delete(range), What::Put(key)) => is_inside(key, range) && first.turn < second.turn,
        _ => false,
    }
}
