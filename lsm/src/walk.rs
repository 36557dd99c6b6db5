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

use std::path::Path;
use std::sync::Arc;

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::{Kind, SeqNo};
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
    key: Vec<u8>,
    value: Slice,
    /// Where the entries stand, seen from `key`.
    stand: Stand,
    failed: Option<Error>,
    now: u64,
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
            key: Vec::new(),
            value: Slice::default(),
            stand: Stand::Lost,
            failed: None,
            now,
        }
    }

    /// The key of the record stood on.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value of the record stood on.
    pub(crate) fn value(&self) -> &Slice {
        &self.value
    }

    /// The value of the record stood on, which is then no longer known here.
    pub(crate) fn take_value(&mut self) -> Slice {
        std::mem::take(&mut self.value)
    }

    /// The error that it failed with, if it did.
    pub(crate) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// To the first record at or after `key`; whether there is one.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.guard(|walk| {
            walk.entries.seek(key, walk.seq)?;
            walk.stand = Stand::Fresh;
            walk.find_next()
        })
    }

    /// To the last record before `key`, or the very last; whether there is one.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<bool> {
        self.guard(|walk| {
            match key {
                Some(key) => walk.entries.seek_back(key, SeqNo::MAX)?,
                None => walk.entries.last()?,
            }
            walk.find_prev(false)
        })
    }

    /// To the record after this one; whether there is one.
    pub(crate) fn next(&mut self) -> Result<bool> {
        self.guard(|walk| {
            match walk.stand {
                Stand::Within => {}
                Stand::Before | Stand::Lost => {
                    let key = std::mem::take(&mut walk.key);
                    let sought = walk.entries.seek(&key, SeqNo::ZERO);
                    walk.key = key;
                    sought?;
                    walk.stand = Stand::Within;
                }
                Stand::Fresh => unreachable!("a call ends beside a key"),
            }
            walk.find_next()
        })
    }

    /// To the record before this one; whether there is one.
    pub(crate) fn prev(&mut self) -> Result<bool> {
        self.guard(|walk| {
            if walk.stand != Stand::Before {
                let key = std::mem::take(&mut walk.key);
                let sought = walk.entries.seek_back(&key, SeqNo::MAX);
                walk.key = key;
                sought?;
            }
            walk.find_prev(true)
        })
    }

    /// A walk that failed goes on failing: it must not skip what it could not read.
    fn guard(&mut self, call: impl FnOnce(&mut Walk) -> Result<bool>) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = call(self);
        self.failed = outcome.as_ref().err().cloned();
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
            if self.stand == Stand::Within && *entry.key < self.key[..] {
                return Err(self.entries.out_of_order());
            }
            if self.stand == Stand::Within && entry.key == self.key {
                steps += 1;
                if steps > STEPS_MAX && !sought_on {
                    sought_on = true;
                    let key = std::mem::take(&mut self.key);
                    let sought = self.entries.seek(&key, SeqNo::ZERO);
                    self.key = key;
                    sought?;
                    // One version may be that old.
                    if self.entries.entry().is_none_or(|entry| entry.key != self.key) {
                        continue;
                    }
                }
                self.entries.next()?;
                continue;
            }
            if entry.seq > self.seq {
                self.entries.next()?;
                continue;
            }
            let kind = entry.kind;
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.stand = Stand::Within;
            (steps, sought_on) = (0, false);
            let value = match kind {
                Kind::Delete => None,
                Kind::Put => self.current()?,
                Kind::Merge => Some(self.merge_on()?),
            };
            if let Some(value) = value {
                self.value = value;
                return Ok(true);
            }
        }
    }

    /// The value under the entries' cursor, unless it has expired.
    fn current(&self) -> Result<Option<Slice>> {
        let value = self.entries.value().expect("stands on an entry");
        if self.keyspace.expires {
            unexpired(value, &self.keyspace.time, self.now)
        } else {
            Ok(Some(value))
        }
    }

    /// Applies the operands from here on to the value below them.
    fn merge_on(&mut self) -> Result<Slice> {
        let mut operands = Vec::new();
        let mut base = None;
        while let Some(entry) = self.entries.entry()
            && entry.key == self.key
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
        merge(&self.keyspace, &self.key, base.as_deref(), &operands)
    }

    /// The last record up to where the entries stand; below the key, if it is `known`.
    fn find_prev(&mut self, mut known: bool) -> Result<bool> {
        loop {
            let Some(entry) = self.entries.entry() else {
                self.stand = Stand::Before;
                return Ok(false);
            };
            if known && *entry.key >= self.key[..] {
                return Err(self.entries.out_of_order());
            }
            known = true;
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            if let Some(value) = self.gather_back()? {
                self.value = value;
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
            && entry.key == self.key
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
        merge(&self.keyspace, &self.key, base.as_deref(), &operands).map(Some)
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

    fn entry(&self) -> Option<Entry<'_>> {
        match self {
            Entries::One(one) => one.entry(),
            Entries::Many(many) => many.entry(),
        }
    }

    fn value(&self) -> Option<Slice> {
        match self {
            Entries::One(one) => one.value(),
            Entries::Many(many) => many.value(),
        }
    }
}
