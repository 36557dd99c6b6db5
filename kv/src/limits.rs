//! What a request may cost, and the checks that need no state.
//!
//! These run before a command is journaled, in etcd's order, so that a request that can never
//! succeed costs nothing and answers as etcd's would. What depends on the state is checked again,
//! by the apply room, in the order of the journal.

use std::collections::HashSet;

use bytes::Bytes;

use crate::command::{Command, RangeRequest, Txn, TxnOp};
use crate::error::Refusal;
use crate::format::NESTING_MAX;
use crate::key_range::KeyRange;
use crate::members::Member;

// The bounds on what is said of members are a part of the format: what one copy of a store accepts
// every other has to. They can grow in a new version of the format, and never shrink.

/// Most members that a cluster is formed of.
pub const MEMBERS_MAX: usize = 256;
/// Most bytes of a member's name.
pub const MEMBER_NAME_BYTES_MAX: usize = 1024;
/// Most peer URLs, and most client URLs, of a member.
pub const MEMBER_URLS_MAX: usize = 64;
/// Most bytes of one URL.
pub const MEMBER_URL_BYTES_MAX: usize = 2048;

/// Bounds on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most compares, and most operations in either branch, of a transaction. A nested transaction
    /// has what its parent left. Whatever stands here, transactions nest at most 256 deep.
    pub txn_ops_max: usize,
    /// Most bytes of an encoded command.
    pub command_bytes_max: usize,
}

impl Default for Limits {
    /// etcd's: 128 operations, 1.5 MiB.
    fn default() -> Limits {
        Limits { txn_ops_max: 128, command_bytes_max: 1536 * 1024 }
    }
}

impl Limits {
    /// Whether the command may be tried at all. Its encoded size is the caller's to check, with
    /// [`Limits::check_bytes`], since the caller has the bytes.
    pub fn check(&self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Put(put) => check_key(&put.key),
            Command::DeleteRange(delete) => check_key(&delete.range.start),
            Command::Txn(txn) => self.check_txn(txn),
            Command::LeaseGrant(grant) if grant.id.0 == 0 => Err(Refusal::LeaseNotFound),
            Command::Compact(_)
            | Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
            | Command::Alarm(_)
            | Command::Auth(_) => Ok(()),
            Command::ClusterInit { .. }
            | Command::MemberAdd { .. }
            | Command::MemberRemove { .. }
            | Command::MemberUpdate { .. }
            | Command::MemberPromote { .. }
            | Command::MemberPublish { .. }
            | Command::ClusterForce { .. } => check_members(command),
        }
    }

    /// Whether a read may be tried at all.
    pub fn check_range(&self, request: &RangeRequest) -> Result<(), Refusal> {
        check_key(&request.range.start)
    }

    /// Whether a transaction may be tried at all: its size first, then every key, then whether it
    /// changes a key twice.
    pub fn check_txn(&self, txn: &Txn) -> Result<(), Refusal> {
        check_ops(txn, self.txn_ops_max, NESTING_MAX)?;
        touched(&txn.success)?;
        touched(&txn.failure)?;
        Ok(())
    }

    /// Whether an encoded command is small enough.
    pub fn check_bytes(&self, command_bytes: usize) -> Result<(), Refusal> {
        if command_bytes > self.command_bytes_max { Err(Refusal::TooLarge) } else { Ok(()) }
    }
}

/// Whether what a command says of members can be read back. Checked again when it is applied: what
/// has come into the engine must come out of it.
pub(crate) fn check_members(command: &Command) -> Result<(), Refusal> {
    let fits = match command {
        Command::ClusterInit { members, .. } => {
            members.len() <= MEMBERS_MAX && members.iter().all(member_fits)
        }
        Command::MemberAdd { member, .. } | Command::ClusterForce { member, .. } => {
            member_fits(member)
        }
        Command::MemberUpdate { peer_urls, .. } => urls_fit(peer_urls),
        Command::MemberPublish { name, client_urls, .. } => {
            name.len() <= MEMBER_NAME_BYTES_MAX && urls_fit(client_urls)
        }
        _ => true,
    };
    if fits { Ok(()) } else { Err(Refusal::TooLarge) }
}

fn member_fits(member: &Member) -> bool {
    member.name.len() <= MEMBER_NAME_BYTES_MAX
        && urls_fit(&member.peer_urls)
        && urls_fit(&member.client_urls)
}

fn urls_fit(urls: &[String]) -> bool {
    urls.len() <= MEMBER_URLS_MAX && urls.iter().all(|url| url.len() <= MEMBER_URL_BYTES_MAX)
}

fn check_key(key: &Bytes) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// Counts operations and looks at keys. The largest of the three lists is what a transaction
/// costs; a nested one has to fit in what is left. A nesting that the journal could not be read
/// back with is refused alike, or a store that has accepted it would never open again.
fn check_ops(txn: &Txn, ops_max: usize, nesting_max: usize) -> Result<(), Refusal> {
    let ops = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    if ops > ops_max || nesting_max == 0 {
        return Err(Refusal::TooManyOps);
    }
    for compare in &txn.compares {
        check_key(&compare.range.start)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(request) => check_key(&request.range.start)?,
            TxnOp::Put(put) => check_key(&put.key)?,
            TxnOp::DeleteRange(delete) => check_key(&delete.range.start)?,
            TxnOp::Txn(nested) => check_ops(nested, ops_max - ops, nesting_max - 1)?,
        }
    }
    Ok(())
}

/// What a list of operations may change.
#[derive(Default)]
struct Touched {
    puts: HashSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Touched {
    /// Adds a key that is set; refused where it lies in what is deleted.
    fn put(&mut self, key: &Bytes) -> Result<(), Refusal> {
        if self.deletes.iter().any(|range| range.contains(key)) {
            return Err(Refusal::DuplicateKey);
        }
        self.puts.insert(key.clone());
        Ok(())
    }
}

/// Collects what one list of operations may change, and refuses a list that could set a key twice,
/// or set a key that it deletes. Deleting a key twice is fine.
///
/// A nested transaction runs either of its branches: both count, and a key that both set is fine.
/// Following etcd, this list's own deletes count wherever they stand in it, a nested delete counts
/// against what comes after it alone, and a delete that has no end does not count at all: clients
/// clear "everything from here on" and write in one transaction.
fn touched(ops: &[TxnOp]) -> Result<Touched, Refusal> {
    let mut all = Touched::default();
    for op in ops {
        if let TxnOp::DeleteRange(delete) = op
            && delete.range.end.is_some()
        {
            all.deletes.push(delete.range.clone());
        }
    }
    for op in ops {
        if let TxnOp::Txn(nested) = op {
            let success = touched(&nested.success)?;
            let failure = touched(&nested.failure)?;
            for key in success.puts.union(&failure.puts) {
                if all.puts.contains(key) {
                    return Err(Refusal::DuplicateKey);
                }
            }
            for key in success.puts.iter().chain(&failure.puts) {
                all.put(key)?;
            }
            all.deletes.extend(success.deletes);
            all.deletes.extend(failure.deletes);
        }
    }
    for op in ops {
        if let TxnOp::Put(put) = op {
            if all.puts.contains(&put.key) {
                return Err(Refusal::DuplicateKey);
            }
            all.put(&put.key)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{DeleteRange, Put};

    fn put(key: &'static str) -> TxnOp {
        TxnOp::Put(Put { key: key.into(), value: Some(Bytes::new()), ..Put::default() })
    }

    fn delete(key: &'static str, end: &'static str) -> TxnOp {
        let range = KeyRange::from_etcd(key.into(), end.into());
        TxnOp::DeleteRange(DeleteRange { range, prev_kv: false })
    }

    fn nested(success: Vec<TxnOp>, failure: Vec<TxnOp>) -> TxnOp {
        TxnOp::Txn(Txn { compares: Vec::new(), success, failure })
    }

    fn check(success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Result<(), Refusal> {
        Limits::default().check_txn(&Txn { compares: Vec::new(), success, failure })
    }

    // etcd's trap 9: a put may meet neither another put nor a delete of its own list.
    #[test]
    fn a_key_is_changed_once_in_a_branch() {
        assert_eq!(check(vec![put("a"), put("a")], vec![]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![delete("a", "c"), put("b")], vec![]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![put("b"), delete("a", "c")], vec![]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![], vec![put("a"), put("a")]), Err(Refusal::DuplicateKey));
        assert_eq!(check(vec![delete("a", "c"), delete("b", "")], vec![]), Ok(()));
        assert_eq!(check(vec![put("a")], vec![put("a")]), Ok(()));
        assert_eq!(check(vec![put("a"), delete("b", "")], vec![]), Ok(()));
    }

    // The check reaches into nested transactions, whose branches exclude each other.
    #[test]
    fn a_nested_branch_counts_and_its_twin_does_not_clash() {
        assert_eq!(check(vec![nested(vec![put("a")], vec![put("a")])], vec![]), Ok(()));
        assert_eq!(
            check(vec![nested(vec![put("a")], vec![]), put("a")], vec![]),
            Err(Refusal::DuplicateKey)
        );
        assert_eq!(
            check(vec![nested(vec![], vec![put("a")]), nested(vec![put("a")], vec![])], vec![]),
            Err(Refusal::DuplicateKey)
        );
        assert_eq!(
            check(vec![delete("a", ""), nested(vec![], vec![put("a")])], vec![]),
            Err(Refusal::DuplicateKey)
        );
        assert_eq!(
            check(vec![nested(vec![delete("a", "")], vec![]), put("a")], vec![]),
            Err(Refusal::DuplicateKey)
        );
    }

    // etcd's trap 10: the longest list is the cost, and nesting has only what is left.
    #[test]
    fn the_budget_of_operations_shrinks_with_nesting() {
        let reads = |count: usize| {
            let range = KeyRange::single("r");
            vec![TxnOp::Range(RangeRequest::new(range)); count]
        };
        assert_eq!(check(reads(128), reads(128)), Ok(()));
        assert_eq!(check(reads(129), vec![]), Err(Refusal::TooManyOps));
        let mut outer = reads(99);
        outer.push(nested(reads(28), vec![]));
        assert_eq!(check(outer.clone(), vec![]), Ok(()));
        outer[99] = nested(reads(29), vec![]);
        assert_eq!(check(outer, vec![]), Err(Refusal::TooManyOps));
    }

    // Keys are looked at before duplicates, everywhere.
    #[test]
    fn an_empty_key_is_refused_wherever_it_stands() {
        assert_eq!(check(vec![put("a"), put("a"), put("")], vec![]), Err(Refusal::EmptyKey));
        assert_eq!(
            check(vec![nested(vec![delete("", "a")], vec![])], vec![]),
            Err(Refusal::EmptyKey)
        );
    }
}
