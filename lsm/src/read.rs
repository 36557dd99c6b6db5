//! Looks up one key: from the newest place to the oldest, until the answer is known.

use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo, hash};
use crate::keyspace::{EXPIRY_BYTES, Shared};
use crate::slice::Slice;
use crate::state::State;
use crate::table::Found;
use crate::time::WallTime;

/// The value of `key` in a snapshot at `seq`.
pub(crate) fn get(
    state: &State,
    keyspace: &Shared,
    key: &[u8],
    seq: SeqNo,
) -> Result<Option<Slice>> {
    if keyspace.is_dropped() {
        return Ok(None);
    }
    let mut search = Search { operands: Vec::new() };
    for memtable in state.memtables() {
        let cover = memtable
            .range_dels(keyspace.id)
            .and_then(|ranges| ranges.covering(key, seq).map(|cover| cover.seq));
        let lookup = |seq| {
            Ok(memtable.get(keyspace.id, key, seq).map(|entry| Found {
                seq: entry.seq,
                kind: entry.kind,
                value: Slice::from(entry.value),
            }))
        };
        if let Some(base) = search.ask(seq, cover, lookup)? {
            return search.answer(keyspace, key, base);
        }
    }
    let Some(tree) = state.version.tree(keyspace.id) else {
        return search.answer(keyspace, key, None);
    };
    // Computed once, for the filters and blocks of every table.
    let hash = hash(key);
    for run in tree.runs() {
        let Some(file) = run.find(key) else { continue };
        let cover = if file.meta().range_deletes == 0 {
            None
        } else {
            file.table.range_dels().covering(key, seq).map(|cover| cover.seq)
        };
        if let Some(base) = search.ask(seq, cover, |seq| file.table.get(key, hash, seq))? {
            return search.answer(keyspace, key, base);
        }
    }
    search.answer(keyspace, key, None)
}

/// What was found so far.
struct Search {
    /// Merge operands, the newest first.
    operands: Vec<Slice>,
}

impl Search {
    /// Asks one place. Something, if nothing older matters: the value below the operands, or that
    /// there is none.
    fn ask(
        &mut self,
        seq: SeqNo,
        cover: Option<SeqNo>,
        lookup: impl Fn(SeqNo) -> Result<Option<Found>>,
    ) -> Result<Option<Option<Slice>>> {
        let mut at = seq;
        while let Some(found) = lookup(at)? {
            if cover.is_some_and(|cover| found.seq < cover) {
                break;
            }
            match found.kind {
                Kind::Put => return Ok(Some(Some(found.value))),
                Kind::Delete => return Ok(Some(None)),
                Kind::Merge => self.operands.push(found.value),
            }
            match found.seq.0.checked_sub(1) {
                Some(before) => at = SeqNo(before),
                None => break,
            }
        }
        Ok(cover.map(|_| None))
    }

    fn answer(self, keyspace: &Shared, key: &[u8], base: Option<Slice>) -> Result<Option<Slice>> {
        let base = match base {
            Some(value) if keyspace.expires => {
                let len = unexpired(&value, &keyspace.time, keyspace.time.now())?;
                len.map(|len| value.shortened(len))
            }
            base => base,
        };
        if self.operands.is_empty() {
            return Ok(base);
        }
        merge(keyspace, key, base.as_deref(), &self.operands).map(Some)
    }
}

/// Applies merge operands, given from the newest to the oldest.
pub(crate) fn merge(
    keyspace: &Shared,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[Slice],
) -> Result<Slice> {
    let options = keyspace.options();
    let Some(operator) = &options.merge else {
        let rule = "must be given to read what was merged";
        return Err(Error::Options { option: "merge", rule });
    };
    let operands: Vec<&[u8]> = operands.iter().rev().map(|operand| &**operand).collect();
    Ok(Slice::from(operator.merge(key, base, &operands)))
}

/// The length of the value without its expiry, or nothing if that has come by `now`, which is then
/// noted in `time`.
pub(crate) fn unexpired(value: &[u8], time: &WallTime, now: u64) -> Result<Option<usize>> {
    let expiry = expiry(value).ok_or(Error::Options {
        option: "ttl",
        rule: "value of an expiring keyspace is too short",
    })?;
    if expiry <= now {
        time.act(now);
        return Ok(None);
    }
    Ok(Some(value.len() - EXPIRY_BYTES))
}

/// When a value of an expiring keyspace does.
pub(crate) fn expiry(value: &[u8]) -> Option<u64> {
    value.last_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
