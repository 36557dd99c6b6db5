//! What a transaction did, as the journal has it.
//!
//! ```text
//!   record   0  8    transaction
//!            8  ..   operations, one after another:
//!
//!     put           1, tree u32, key length u16, value length u32, key, value
//!     delete        2, tree u32, key length u16, key
//!     delete range  3, tree u32, start length u32, end length u32, start, end
//!                   (end length FFFF FFFF: there is no end)
//!     create tree   4, name length u16, name         its id follows from the state before
//!     drop tree     5, tree u32
//! ```
//!
//! They are logical: applied in their order to the state before they give the records of the state
//! after, in whatever pages. Moved pages are no operation, so the record of a compaction step has
//! none.

use crate::crc::{u16_at, u32_at, u64_at};
use crate::draft::Savepoint;
use crate::types::{TreeId, TxnId};

/// A transaction of more bytes is not logged: its pages are flushed before the next one begins.
const OPS_BYTES_MAX: usize = 8 << 20;

const TXN_BYTES: usize = 8;
const NO_END: u32 = u32::MAX;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put { tree: TreeId, key: &'a [u8], value: &'a [u8] },
    Delete { tree: TreeId, key: &'a [u8] },
    DeleteRange { tree: TreeId, start: &'a [u8], end: Option<&'a [u8]> },
    CreateTree { name: &'a str },
    DropTree { tree: TreeId },
}

/// The operations of a transaction that is being made.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    bytes: Vec<u8>,
    /// How long the record was at each savepoint.
    points: Vec<(Savepoint, usize)>,
    is_too_large: bool,
}

impl Ops {
    /// No operations yet; `buffer` is used again.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Ops {
        buffer.clear();
        buffer.resize(TXN_BYTES, 0);
        Ops { bytes: buffer, points: Vec::new(), is_too_large: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, op: Op<'_>) {
        if self.is_too_large {
            return;
        }
        op.encode(&mut self.bytes);
        if self.bytes.len() > OPS_BYTES_MAX {
            self.is_too_large = true;
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn savepoint(&mut self, point: Savepoint) {
        self.points.push((point, self.bytes.len()));
    }

    /// Drops what was added since the savepoint.
    pub(crate) fn rollback_to(&mut self, point: Savepoint) {
        if let Some(at) = self.points.iter().position(|(p, _)| *p == point) {
            self.bytes.truncate(self.points[at].1);
            self.points.truncate(at + 1);
        }
    }

    /// The record, or nothing if it is too large for the journal.
    pub(crate) fn record(&mut self, txn: TxnId) -> Option<&[u8]> {
        if self.is_too_large {
            return None;
        }
        self.bytes[..TXN_BYTES].copy_from_slice(&txn.0.to_le_bytes());
        Some(&self.bytes)
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

impl Op<'_> {
    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Op::Put { tree, key, value } => {
                out.push(1);
                out.extend_from_slice(&tree.0.to_le_bytes());
                out.extend_from_slice(&(key.len() as u16).to_le_bytes());
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Op::Delete { tree, key } => {
                out.push(2);
                out.extend_from_slice(&tree.0.to_le_bytes());
                out.extend_from_slice(&(key.len() as u16).to_le_bytes());
                out.extend_from_slice(key);
            }
            Op::DeleteRange { tree, start, end } => {
                out.push(3);
                out.extend_from_slice(&tree.0.to_le_bytes());
                out.extend_from_slice(&(start.len() as u32).to_le_bytes());
                out.extend_from_slice(&end.map_or(NO_END, |end| end.len() as u32).to_le_bytes());
                out.extend_from_slice(start);
                out.extend_from_slice(end.unwrap_or_default());
            }
            Op::CreateTree { name } => {
                out.push(4);
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Op::DropTree { tree } => {
                out.push(5);
                out.extend_from_slice(&tree.0.to_le_bytes());
            }
        }
    }
}

/// A record that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub txn: TxnId,
    ops: &'a [u8],
}

impl<'a> Record<'a> {
    /// `None` if it is too short to be one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Record<'a>> {
        let ops = bytes.get(TXN_BYTES..)?;
        let txn = TxnId(u64_at(bytes, 0));
        (txn.0 < u64::MAX / 2).then_some(Record { txn, ops })
    }

    /// The operations in their order. An error says that the bytes are none; it is the last item.
    pub(crate) fn ops(self) -> impl Iterator<Item = Result<Op<'a>, NoOp>> {
        let mut rest = self.ops;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let op = take_op(&mut rest).ok_or(NoOp);
            if op.is_err() {
                rest = &[];
            }
            Some(op)
        })
    }
}

/// Bytes that are no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoOp;

fn take_op<'a>(rest: &mut &'a [u8]) -> Option<Op<'a>> {
    let kind = take(rest, 1)?[0];
    let op = match kind {
        1 => {
            let head = take(rest, 10)?;
            let key = take(rest, usize::from(u16_at(head, 4)))?;
            let value = take(rest, u32_at(head, 6) as usize)?;
            Op::Put { tree: TreeId(u32_at(head, 0)), key, value }
        }
        2 => {
            let head = take(rest, 6)?;
            let key = take(rest, usize::from(u16_at(head, 4)))?;
            Op::Delete { tree: TreeId(u32_at(head, 0)), key }
        }
        3 => {
            let head = take(rest, 12)?;
            let start = take(rest, u32_at(head, 4) as usize)?;
            let end = match u32_at(head, 8) {
                NO_END => None,
                len => Some(take(rest, len as usize)?),
            };
            Op::DeleteRange { tree: TreeId(u32_at(head, 0)), start, end }
        }
        4 => {
            let len = usize::from(u16_at(take(rest, 2)?, 0));
            Op::CreateTree { name: str::from_utf8(take(rest, len)?).ok()? }
        }
        5 => Op::DropTree { tree: TreeId(u32_at(take(rest, 4)?, 0)) },
        _ => return None,
    };
    Some(op)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ALL: [Op<'_>; 7] = [
        Op::CreateTree { name: "größen" },
        Op::Put { tree: TreeId(1), key: b"k", value: b"value" },
        Op::Put { tree: TreeId(1), key: b"", value: b"" },
        Op::Delete { tree: TreeId(7), key: b"gone" },
        Op::DeleteRange { tree: TreeId(1), start: b"a", end: Some(b"") },
        Op::DeleteRange { tree: TreeId(1), start: b"", end: None },
        Op::DropTree { tree: TreeId(u32::MAX) },
    ];

    fn record() -> Vec<u8> {
        let mut ops = Ops::new(vec![9; 99]);
        ALL.into_iter().for_each(|op| ops.add(op));
        ops.record(TxnId(5)).unwrap().to_vec()
    }

    // A replay does what was done, in the same order.
    #[test]
    fn every_operation_comes_back() {
        let bytes = record();
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.txn, TxnId(5));
        let ops: Vec<Op<'_>> = record.ops().map(Result::unwrap).collect();
        assert_eq!(ops, ALL);
    }

    // The journal's checksums keep damage out; what has a right one and makes no sense must still
    // end in an answer.
    #[test]
    fn any_bytes_are_operations_or_none() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let whole = record();
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            bytes.truncate(rng.random_range(0..=whole.len()));
            for _ in 0..rng.random_range(0..4) {
                if !bytes.is_empty() {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
            }
            if let Some(record) = Record::decode(&bytes) {
                assert!(record.ops().count() <= bytes.len());
            }
        }
    }
}
