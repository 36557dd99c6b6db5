//! What a command weighs against the quota.

use crate::command::{Command, Put, Txn, TxnOp};

/// What etcd adds to the size of a key and value when it weighs a put.
const PUT_OVERHEAD_BYTES: u64 = 256;
/// What a lease weighs.
const LEASE_BYTES: u64 = 64;

/// What a command weighs against the quota, bytes: etcd's estimate. 0 for what needs no space.
pub(crate) fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_cost(put),
        Command::Txn(txn) => txn_cost(txn),
        Command::LeaseGrant(_) => LEASE_BYTES,
        _ => 0,
    }
}

fn put_cost(put: &Put) -> u64 {
    let value_bytes = put.value.as_ref().map_or(0, bytes::Bytes::len);
    PUT_OVERHEAD_BYTES + (put.key.len() + value_bytes) as u64
}

fn txn_cost(txn: &Txn) -> u64 {
    ops_cost(&txn.success).max(ops_cost(&txn.failure))
}

fn ops_cost(ops: &[TxnOp]) -> u64 {
    let cost = |op: &TxnOp| match op {
        TxnOp::Put(put) => put_cost(put),
        TxnOp::Txn(nested) => txn_cost(nested),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => 0,
    };
    ops.iter().map(cost).sum()
}
