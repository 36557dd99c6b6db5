//! From the entries of many places to the records that a snapshot sees.
//!
//! ```text
//!   memtable   ─┐
//!   memtable   ─┤                       (k, 9, Put) (k, 7, Merge) (k, 2, Put) (m, 4, Delete) ...
//!   sub-levels ─┼─► merged, in order ─►            │
//!   levels     ─┘                                  ▼ as of 8, merges applied, deletes left out
//!                                        (k, value)
//! ```
//!
//! Forwards the first version that is not too new decides; backwards versions come from the oldest,
//! and the last that is not too new does.
//!
//! **A row of a scan** costs a few copies of a few bytes, and so must not cost much beside. Of each
//! key the first eight bytes are compared as a number with those of the key before; the keys only
//! if they are equal. A value that lies under the entries' cursor is left there, and lent; it is
//! shared, or copied, for who wants to keep it.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo, head};
use crate::keyspace::Shared;
use crate::merge::MergeCursor;
use crate::read::{merge, unexpired};
use crate::slice::Slice;
use crate::source::Source;

/// Older versions of a key stepped over before it is cheaper to seek to the next key.
const STEPS_MAX: usize = 8;

/// The sources, merged if there are several.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each walk")]
enum Entries {
    One(Source),
    Many(MergeCursor<Source>),
}

/// A position among the records of one keyspace, as of one snapshot.
pub(crate) struct Walk {
    entries: Entries,
    keyspace: Arc<Shared>,
    seq: SeqNo,
    /// The record stood on, or the one that was passed last.
    key: Key,
    value: Value,
    /// Where the entries stand, seen from `key`.
    stand: Stand,
    failed: Option<Error>,
    now: u64,
}

/// A copy of a key, with its head.
#[derive(Default)]
struct Key {
    bytes: Vec<u8>,
    head: u64,
}

impl Key {
    #[inline]
    fn set(&mut self, key: &[u8], head: u64) {
        self.bytes.clear();
        self.bytes.extend_from_slice(key);
        self.head = head;
    }

    /// How `key` compares to this one.
    #[inline]
    fn order(&self, key: &[u8], head: u64) -> Ordering {
        head.cmp(&self.head).then_with(|| key.cmp(&self.bytes))
    }
}

/// The value of the record stood on.
enum Value {
    /// So many bytes of what lies under the entries' cursor.
    Here(usize),
    /// The outcome of a merge, or one that the cursor has left.
    Own(Slice),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Nowhere, or where nobody knows.
    Lost,
    /// At an entry to be looked at; those of no key precede it.
    Fresh,
    /// At some entry of `key`, or behind all of them.
    Within,
    /// Before all entries of `key`.
    Before,
}

impl Walk {
    pub(crate) fn new(mut sources: Vec<Source>, keyspace: Arc<Shared>, seq: SeqNo) -> Walk {
        let entries = match sources.pop() {
            Some(only) if sources.is_empty() => Entries::One(only),
            last => {
                sources.extend(last);
                Entries::Many(MergeCursor::new(sources))
            }
        };
        let now = if keyspace.expires { keyspace.time.now() } else { 0 };
        Walk {
            entries,
            keyspace,
            seq,
            key: Key::default(),
            value: Value::Own(Slice::default()),
            stand: Stand::Lost,
            failed: None,
            now,
        }
    }

    /// The key of the record stood on.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key.bytes
    }

    /// The value of the record stood on.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        match &self.value {
            Value::Here(len) => {
                let entry = self.entries.entry().expect("stands on the record's entry");
                &entry.value[..*len]
            }
            Value::Own(value) => value,
        }
    }

    /// The value of the record stood on, for keeps.
    #[inline]
    pub(crate) fn share_value(&self) -> Slice {
        match &self.value {
            Value::Here(len) => {
                let value = self.entries.value().expect("stands on the record's entry");
                if value.len() == *len { value } else { value.shortened(*len) }
            }
            Value::Own(value) => value.clone(),
        }
    }

    /// The error that it failed with, if it did.
    pub(crate) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// To the first record at or after `key`; whether there is one.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.guard(|walk| {
            walk.value = Value::Own(Slice::default());
            walk.entries.seek(key, walk.seq)?;
            walk.stand = Stand::Fresh;
            walk.find_next()
        })
    }

    /// To the last record before `key`, or the very last; whether there is one.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<bool> {
        self.guard(|walk| {
            walk.value = Value::Own(Slice::default());
            match key {
                Some(key) => walk.entries.seek_back(key, SeqNo::MAX)?,
                None => walk.entries.last()?,
            }
            walk.find_prev(false)
        })
    }

    /// To the record after this one; whether there is one.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool> {
        self.guard(|walk| {
            match walk.stand {
                // Away from the entry that the record is; from one of a key behind it, not yet.
                Stand::Within if matches!(walk.value, Value::Here(_)) => walk.leave()?,
                Stand::Within => {}
                Stand::Before | Stand::Lost => {
                    walk.entries.seek(&walk.key.bytes, SeqNo::ZERO)?;
                    walk.stand = Stand::Within;
                }
                Stand::Fresh => unreachable!("a call ends beside a key"),
            }
            walk.find_next()
        })
    }

    #[inline]
    fn leave(&mut self) -> Result<()> {
        self.value = Value::Own(Slice::default());
        self.entries.next()
    }

    /// To the record before this one; whether there is one.
    pub(crate) fn prev(&mut self) -> Result<bool> {
        self.guard(|walk| {
            if walk.stand != Stand::Before {
                walk.entries.seek_back(&walk.key.bytes, SeqNo::MAX)?;
            }
            walk.find_prev(true)
        })
    }

    /// A walk that failed goes on failing: it must not skip what it could not read.
    #[inline]
    fn guard(&mut self, call: impl FnOnce(&mut Walk) -> Result<bool>) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = call(self);
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        outcome
    }

    /// The next record, from where the entries stand.
    ///
    /// Every key is above the one before it, whatever the blocks say, or a forged one could send
    /// the walk in circles.
    fn find_next(&mut self) -> Result<bool> {
        let mut steps = 0;
        let mut sought_on = false;
        loop {
            let Some(entry) = self.entries.entry() else {
                self.stand = Stand::Within;
                return Ok(false);
            };
            let head = head(entry.key);
            let order = match self.stand {
                Stand::Within => self.key.order(entry.key, head),
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Less => return Err(self.entries.out_of_order()),
                Ordering::Equal => {
                    steps += 1;
                    if steps > STEPS_MAX && !sought_on {
                        sought_on = true;
                        self.entries.seek(&self.key.bytes, SeqNo::ZERO)?;
                        // One version may be that old.
                        if self.entries.entry().is_none_or(|entry| entry.key != self.key.bytes) {
                            continue;
                        }
                    }
                    self.entries.next()?;
                    continue;
                }
                Ordering::Greater if entry.seq > self.seq => {
                    self.entries.next()?;
                    continue;
                }
                Ordering::Greater => {}
            }
            let (kind, len) = (entry.kind, entry.value.len());
            self.key.set(entry.key, head);
            self.stand = Stand::Within;
            (steps, sought_on) = (0, false);
            let value = match kind {
                Kind::Delete => None,
                Kind::Put if self.keyspace.expires => self.measure()?.map(Value::Here),
                Kind::Put => Some(Value::Here(len)),
                Kind::Merge => Some(Value::Own(self.merge_on()?)),
            };
            if let Some(value) = value {
                self.value = value;
                return Ok(true);
            }
        }
    }

    /// The length of the value under the entries' cursor, unless it has expired.
    fn measure(&self) -> Result<Option<usize>> {
        let value = self.entries.entry().expect("stands on an entry").value;
        if self.keyspace.expires {
            unexpired(value, &self.keyspace.time, self.now)
        } else {
            Ok(Some(value.len()))
        }
    }

    /// The value under the entries' cursor, for keeps, unless it has expired.
    fn current(&self) -> Result<Option<Slice>> {
        let Some(len) = self.measure()? else { return Ok(None) };
        Ok(self.entries.value().map(|value| value.shortened(len)))
    }

    /// Applies the operands from here on to the value below them.
    fn merge_on(&mut self) -> Result<Slice> {
        let mut operands = Vec::new();
        let mut base = None;
        while let Some(entry) = self.entries.entry()
            && entry.key == self.key.bytes
        {
            match entry.kind {
                Kind::Merge => operands.push(self.entries.value().expect("stands on an entry")),
                Kind::Put => {
                    base = self.current()?;
                    break;
                }
                Kind::Delete => break,
            }
            self.entries.next()?;
        }
        merge(&self.keyspace, &self.key.bytes, base.as_deref(), &operands)
    }

    /// The last record up to where the entries stand; below the key, if it is `known`.
    fn find_prev(&mut self, mut known: bool) -> Result<bool> {
        loop {
            let Some(entry) = self.entries.entry() else {
                self.stand = Stand::Before;
                return Ok(false);
            };
            let head = head(entry.key);
            if known && self.key.order(entry.key, head).is_ge() {
                return Err(self.entries.out_of_order());
            }
            known = true;
            self.key.set(entry.key, head);
            if let Some(value) = self.gather_back()? {
                self.value = Value::Own(value);
                self.stand = Stand::Before;
                return Ok(true);
            }
        }
    }

    /// Moves back over every version of the key, from the oldest, and returns what they come to.
    fn gather_back(&mut self) -> Result<Option<Slice>> {
        let mut base = None;
        // Oldest first here.
        let mut operands = Vec::new();
        while let Some(entry) = self.entries.entry()
            && entry.key == self.key.bytes
        {
            if entry.seq <= self.seq {
                match entry.kind {
                    Kind::Merge => operands.push(self.entries.value().expect("on an entry")),
                    Kind::Put => {
                        operands.clear();
                        base = self.current()?;
                    }
                    Kind::Delete => {
                        operands.clear();
                        base = None;
                    }
                }
            }
            self.entries.prev()?;
        }
        if operands.is_empty() {
            return Ok(base);
        }
        operands.reverse();
        merge(&self.keyspace, &self.key.bytes, base.as_deref(), &operands).map(Some)
    }
}

impl Entries {
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        match self {
            Entries::One(one) => one.seek(key, seq),
            Entries::Many(many) => many.seek(key, seq),
        }
    }

    fn seek_back(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        match self {
            Entries::One(one) => one.seek_back(key, seq),
            Entries::Many(many) => many.seek_back(key, seq),
        }
    }

    fn last(&mut self) -> Result<()> {
        match self {
            Entries::One(one) => one.last(),
            Entries::Many(many) => many.last(),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match self {
            Entries::One(one) => one.next(),
            Entries::Many(many) => many.next(),
        }
    }

    fn prev(&mut self) -> Result<()> {
        match self {
            Entries::One(one) => one.prev(),
            Entries::Many(many) => many.prev(),
        }
    }

    fn out_of_order(&self) -> Error {
        match self {
            Entries::One(one) => one.out_of_order(),
            Entries::Many(many) => match many.standing() {
                Some(one) => one.out_of_order(),
                None => Error::corrupt(Path::new("memtable"), 0, "entries are out of order"),
            },
        }
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        match self {
            Entries::One(one) => one.entry(),
            Entries::Many(many) => many.entry(),
        }
    }

    #[inline]
    fn value(&self) -> Option<Slice> {
        match self {
            Entries::One(one) => one.value(),
            Entries::Many(many) => many.value(),
        }
    }
}
