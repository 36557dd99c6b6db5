//! One place of a tree under a cursor, without what newer places have deleted by range.
//!
//! A range delete covers every older entry in its range. The places of a tree are ordered by age,
//! so that a source knows which range deletes may cover *all* it has: those of the places above it.
//! When it comes to an entry under one of them it does not step over what is covered, entry by
//! entry, but seeks to the end of the range. Those of its own place cover some of its versions and
//! not others; under these it steps.

use std::path::Path;
use std::sync::Arc;

use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::memtable::{MemtableCursor, Tiers};
use crate::range_del::Cover;
use crate::run::{Run, RunCursor};
use crate::slice::Slice;
use crate::state::State;
use crate::table::Fill;

/// The range deletes of one place.
#[derive(Debug, Clone)]
enum Ranges {
    Memtable(Tiers),
    Run(Arc<Run>),
}

impl Ranges {
    fn covering(&self, key: &[u8], seq: SeqNo) -> Option<Cover<'_>> {
        match self {
            Ranges::Memtable(tiers) => tiers.covering(key, seq),
            Ranges::Run(run) => run.range_dels(key)?.covering(key, seq),
        }
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most sources are runs")]
enum Place {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    place: Place,
    /// The snapshot: range deletes after it do not count.
    seq: SeqNo,
    /// Of the places above.
    newer: Vec<Ranges>,
    /// Of this place.
    own: Option<Ranges>,
    /// On the way forwards: the end of the range passed over last.
    floor: Vec<u8>,
    /// On the way back: the start of it.
    ceiling: Option<Vec<u8>>,
}

/// Which keys are asked for: from a key on, and up to a key or to the last.
pub(crate) type Bounds<'a> = (&'a [u8], Option<&'a [u8]>);

impl Source {
    /// A source for every place of a keyspace that may hold keys within `bounds`, the newest first.
    pub(crate) fn all(
        state: &State,
        keyspace: &Shared,
        seq: SeqNo,
        bounds: Bounds<'_>,
        fill: Fill,
    ) -> Vec<Source> {
        let mut sources = Vec::new();
        if keyspace.is_dropped() {
            return sources;
        }
        let mut newer: Vec<Ranges> = Vec::new();
        let mut add = |place: Place, own: Option<Ranges>| {
            let above = newer.clone();
            sources.push(Source {
                place,
                seq,
                newer: above,
                own: own.clone(),
                floor: Vec::new(),
                ceiling: None,
            });
            newer.extend(own);
        };
        for memtable in state.memtables().filter(|memtable| !memtable.is_empty()) {
            let own = memtable.range_dels(keyspace.id).map(Ranges::Memtable);
            add(Place::Memtable(MemtableCursor::new(Arc::clone(memtable), keyspace.id)), own);
        }
        let Some(tree) = state.version.tree(keyspace.id) else { return sources };
        for run in tree.runs().filter(|run| touches(run, bounds)) {
            let own = run.has_ranges().then(|| Ranges::Run(Arc::clone(run)));
            add(Place::Run(RunCursor::new(Arc::clone(run), fill)), own);
        }
        sources
    }

    fn cursor(&mut self) -> &mut dyn Cursor {
        match &mut self.place {
            Place::Memtable(cursor) => cursor,
            Place::Run(cursor) => cursor,
        }
    }

    /// What an entry where none can be says of its file: a checksum testifies that it is what was
    /// written, and not that it makes sense.
    pub(crate) fn out_of_order(&self) -> Error {
        let path = match &self.place {
            Place::Memtable(_) => None,
            Place::Run(cursor) => cursor.path(),
        };
        let path = path.unwrap_or(Path::new("memtable"));
        Error::corrupt(path, 0, "entries are out of order")
    }

    /// A seek may go anywhere.
    fn forget(&mut self) {
        self.floor.clear();
        self.ceiling = None;
    }

    /// Whether no range delete says anything here.
    #[inline]
    fn is_plain(&self) -> bool {
        self.newer.is_empty() && self.own.is_none()
    }

    /// On to the first entry that is not covered. Each seek goes further than the one before,
    /// whatever a forged block says: a walk comes to an end.
    #[inline]
    fn settle_on(&mut self) -> Result<()> {
        if self.is_plain() { Ok(()) } else { self.pass_on() }
    }

    fn pass_on(&mut self) -> Result<()> {
        self.ceiling = None;
        let mut floor = std::mem::take(&mut self.floor);
        let outcome = self.step_on(&mut floor);
        self.floor = floor;
        outcome
    }

    fn step_on(&mut self, floor: &mut Vec<u8>) -> Result<()> {
        loop {
            let Some(entry) = self.entry() else { return Ok(()) };
            if *entry.key < floor[..] {
                return Err(self.out_of_order());
            }
            if let Some(cover) = cover(&self.newer, entry.key, self.seq) {
                floor.clear();
                floor.extend_from_slice(cover.end);
                self.cursor().seek(floor, SeqNo::MAX)?;
            } else if self.is_covered_here(&entry) {
                self.cursor().next()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Back to the last entry that is not covered; each seek goes further, too.
    fn settle_back(&mut self) -> Result<()> {
        self.floor.clear();
        if self.is_plain() {
            return Ok(());
        }
        let mut ceiling = self.ceiling.take();
        let outcome = self.step_back(&mut ceiling);
        self.ceiling = ceiling;
        outcome
    }

    fn step_back(&mut self, ceiling: &mut Option<Vec<u8>>) -> Result<()> {
        loop {
            let Some(entry) = self.entry() else { return Ok(()) };
            if ceiling.as_ref().is_some_and(|ceiling| *entry.key >= ceiling[..]) {
                return Err(self.out_of_order());
            }
            if let Some(cover) = cover(&self.newer, entry.key, self.seq) {
                let start = ceiling.insert(cover.start.to_vec());
                self.cursor().seek_back(start, SeqNo::MAX)?;
            } else if self.is_covered_here(&entry) {
                self.cursor().prev()?;
            } else {
                return Ok(());
            }
        }
    }

    fn is_covered_here(&self, entry: &Entry<'_>) -> bool {
        let cover = self.own.as_ref().and_then(|own| own.covering(entry.key, self.seq));
        cover.is_some_and(|cover| entry.seq < cover.seq)
    }
}

fn cover<'a>(ranges: &'a [Ranges], key: &[u8], seq: SeqNo) -> Option<Cover<'a>> {
    ranges.iter().find_map(|ranges| ranges.covering(key, seq))
}

fn touches(run: &Run, (start, end): Bounds<'_>) -> bool {
    match end {
        Some(end) => !run.overlapping(start, end).is_empty(),
        None => run.tables().last().is_some_and(|table| table.meta().largest.covers(start)),
    }
}

impl Cursor for Source {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.forget();
        self.cursor().seek(user_key, seq)?;
        self.settle_on()
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.forget();
        self.cursor().seek_back(user_key, seq)?;
        self.settle_back()
    }

    fn first(&mut self) -> Result<()> {
        self.forget();
        self.cursor().first()?;
        self.settle_on()
    }

    fn last(&mut self) -> Result<()> {
        self.forget();
        self.cursor().last()?;
        self.settle_back()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Memtable(cursor) => cursor.next()?,
            Place::Run(cursor) => cursor.next()?,
        }
        self.settle_on()
    }

    fn prev(&mut self) -> Result<()> {
        self.cursor().prev()?;
        self.settle_back()
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        match &self.place {
            Place::Memtable(cursor) => cursor.entry(),
            Place::Run(cursor) => cursor.entry(),
        }
    }

    #[inline]
    fn value(&self) -> Option<Slice> {
        match &self.place {
            Place::Memtable(cursor) => cursor.value(),
            Place::Run(cursor) => cursor.value(),
        }
    }
}
