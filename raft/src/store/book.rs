//! What the store knows of one group: where its entries stand in the shared log, and what was last
//! said of its term, its vote and its base.
//!
//! ```text
//!      shared log   … 40    41    42    43    44 …
//!                     Head  7–9   other Head  10
//!      extents      (from 7: 3 entries, term 2, at 41) (from 10: 1 entry, term 2, at 44)
//! ```
//!
//! An extent is what is needed of a run of entries, which is one record. An index between the base
//! and the end that is in no extent is *missing*. A book is kept by the same calls when the
//! log is written and when it is read back, so that the two cannot come to differ.
//!
//! One who only looks on (`inspection.rs`) keeps a *coarse* book: there, an extent is a stretch of
//! entries that stand in records one behind the other, so that a log of any length takes little
//! memory. Where each of them stands is found by reading on from the first.

use std::collections::VecDeque;
use std::sync::Arc;

use drystone_wal::Lsn;

use crate::boot::{Boot, HardState, Hole, SnapshotMeta};
use crate::configuration::Configuration;
use crate::entry::{Entry, Payload};
use crate::store::record::{Head, RUN_MAX, Record};
use crate::types::{Index, NodeId, Position, Term};

/// Entries of a stretch in a coarse book, at most: so many are read over to get to one of them.
const STRETCH_MAX: u32 = 64 << 10;

/// Entries in a row that stand in one record; in a coarse book, in that one and in those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: Index,
    pub(crate) count: u32,
    /// Entries of the record before the first of these.
    pub(crate) skip: u32,
    pub(crate) term: Term,
    pub(crate) lsn: Lsn,
}

impl Extent {
    pub(crate) fn end(&self) -> Index {
        Index(self.first.0 + u64::from(self.count))
    }

    /// Its entries, out of the bytes of its record; `None` if that is another.
    pub(crate) fn of(&self, record: &[u8]) -> Option<Vec<Entry>> {
        let mut entries = match Record::decode(record) {
            Ok((_, _, Record::Run(entries))) => entries,
            Ok((_, _, Record::Mended(entry))) => vec![entry],
            _ => return None,
        };
        let (skip, count) = (self.skip as usize, self.count as usize);
        let first = entries.get(skip)?.position();
        let fits = entries.len() - skip >= count;
        if !fits || first != Position::new(self.term, self.first) {
            return None;
        }
        entries.truncate(skip + count);
        entries.drain(..skip);
        Some(entries)
    }

    /// The part of it in `from..end`.
    pub(crate) fn part(&self, from: Index, end: Index) -> Option<Extent> {
        let (first, end) = (self.first.max(from), self.end().min(end));
        // Neither is more than the record holds.
        let skip = self.skip + first.0.saturating_sub(self.first.0).min(self.count.into()) as u32;
        (first < end).then(|| Extent { first, count: (end.0 - first.0) as u32, skip, ..*self })
    }
}

/// What the store knows of one group.
///
/// * Extents do not overlap, are in the order of their indexes, and their terms do not fall.
/// * All of them lie behind the base, and none behind the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// What is compacted away, and the members then; nothing while no mark was read.
    pub(crate) mark: Option<SnapshotMeta>,
    mark_lsn: Lsn,
    pub(crate) hard: HardState,
    head_lsn: Lsn,
    pub(crate) base: Position,
    /// Where the log ends, whether or not all of it is there.
    pub(crate) last: Position,
    /// The first index of the term of `last`.
    run: Index,
    extents: VecDeque<Extent>,
    /// The members that entries name.
    configurations: Vec<(Index, Arc<Configuration>)>,
    /// The serial of its next record; nothing before the first.
    serial: Option<u64>,
    /// The latest record.
    pub(crate) latest: Lsn,
    /// What the base is was lost.
    pub(crate) base_lost: bool,
    /// Records were lost, and nobody has said yet what the log was after them.
    doubt: bool,
    /// What its records take, about.
    pub(crate) bytes: u64,
    /// Entries up to here are known to be committed.
    pub(crate) commit: Index,
    /// Extents are stretches.
    coarse: bool,
    /// The last stretch goes on with the next run: nothing was cut off it, and no entry was put
    /// into an old place since it began.
    grows: bool,
}

impl Book {
    /// A book for one who only looks on.
    pub(crate) fn coarse() -> Book {
        Book { coarse: true, ..Book::default() }
    }

    /// The serial of the next record.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.unwrap_or(1)
    }

    /// Takes in a record at `lsn`. Returns how many of this group's were lost before it. The error
    /// is what cannot be.
    pub(crate) fn take(
        &mut self,
        lsn: Lsn,
        serial: u64,
        record: &Record,
    ) -> Result<u64, &'static str> {
        let lost = self.turn(lsn, serial)?;
        match record {
            Record::Head(head) => self.head(lsn, head)?,
            Record::Run(entries) => {
                let first = entries.first().expect("a run has an entry").position();
                // No more than a run may have.
                self.put(lsn, first, entries.len() as u32)?;
                self.note_members(entries);
            }
            Record::Mended(entry) => self.mend(lsn, entry),
            Record::Cut(last) => self.cut(*last),
            Record::Mark { fresh, meta } => self.mark(lsn, *fresh, meta),
            Record::Gap(_, last) => {
                // The next entry says its own term; until then this is the least it can be.
                self.last.index = self.last.index.max(*last);
            }
            Record::Start { .. } => {}
        }
        Ok(lost)
    }

    /// The same for a run: its first entry, and how many it has. Which of them name members is for
    /// [`Book::note_members`] to say.
    pub(crate) fn take_run(
        &mut self,
        lsn: Lsn,
        serial: u64,
        first: Position,
        count: u32,
    ) -> Result<u64, &'static str> {
        let lost = self.turn(lsn, serial)?;
        self.put(lsn, first, count)?;
        Ok(lost)
    }

    fn turn(&mut self, lsn: Lsn, serial: u64) -> Result<u64, &'static str> {
        let expected = self.serial.unwrap_or(serial);
        if serial < expected {
            return Err("a record of a group that comes twice");
        }
        let lost = serial - expected;
        self.doubt |= lost > 0;
        self.serial = Some(serial + 1);
        self.latest = lsn;
        Ok(lost)
    }

    /// What the next write begins with.
    pub(crate) fn next_head(&self, hard: HardState) -> Head {
        let run = self.run;
        let before = self.term_before(run);
        let Book { base, last, base_lost, commit, .. } = *self;
        Head { hard, base, last, run, before, base_lost, commit }
    }

    /// The log ends here, whatever of it was put in.
    pub(crate) fn end_at(&mut self, last: Position) {
        self.last = last;
        self.run = self.run_start();
    }

    fn run_start(&self) -> Index {
        let last = self.last.term;
        let mut run = self.last.index;
        for extent in self.extents.iter().rev() {
            if extent.term != last || extent.end() < run {
                break;
            }
            run = extent.first;
        }
        run
    }

    fn term_before(&self, index: Index) -> Term {
        self.term_at(index.prev()).unwrap_or_default()
    }

    /// The term of an entry that is here, or of the base.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.find(index).map(|at| self.extents[at].term)
    }

    /// Whether a snapshot that ends there can be one of this log. One that was not `taken` here is
    /// so only if the log is known to hold what it ends with.
    pub(crate) fn may_hold(&self, end: Position, taken: bool) -> bool {
        self.term_at(end.index).map_or(taken, |term| term == end.term)
    }

    /// Where the record of an entry stands, if it is here.
    pub(crate) fn place(&self, index: Index) -> Option<Lsn> {
        self.find(index).map(|at| self.extents[at].lsn)
    }

    fn find(&self, index: Index) -> Option<usize> {
        let at = self.extents.partition_point(|extent| extent.end() <= index);
        self.extents.get(at).is_some_and(|extent| extent.first <= index).then_some(at)
    }

    fn head(&mut self, lsn: Lsn, head: &Head) -> Result<(), &'static str> {
        let known = self.mark.is_some() || !self.extents.is_empty();
        if self.doubt {
            self.settle(head);
        } else if known && self.head_lsn > Lsn::NONE && head.last != self.last {
            return Err("a head that contradicts what came before");
        }
        (self.hard, self.head_lsn) = (head.hard, lsn);
        self.base_lost = head.base_lost;
        if head.commit > Index(0) {
            self.commit = head.commit;
        }
        if head.base.index > self.base.index {
            self.compact(head.base);
        }
        (self.last, self.run) = (head.last, head.run);
        self.doubt = false;
        Ok(())
    }

    /// Records were lost, and this is how the log ended after them: keeps the entries that are
    /// still in it for sure.
    ///
    /// An entry of the term of one that is in the log, and not behind it, is in the log, with all
    /// that stood before it when it was appended: one leader made both (Raft §5.3).
    fn settle(&mut self, head: &Head) {
        let kept = self.newest_of(head.last.term, head.last.index);
        let kept = kept.or_else(|| self.newest_of(head.before, head.run.prev()));
        self.drop_after(kept.unwrap_or(head.base.index));
    }

    /// As [`Book::settle`], when nothing is known but that this entry is next.
    fn settle_before(&mut self, next: Position) {
        if self.doubt {
            let kept = self.newest_of(next.term, next.index.prev());
            self.drop_after(kept.unwrap_or(self.base.index));
            self.last = Position::new(next.term, next.index.prev());
            self.run = self.run_start();
            self.doubt = false;
        }
    }

    /// The last entry of `term` that is here and not behind `index`.
    fn newest_of(&self, term: Term, index: Index) -> Option<Index> {
        let of_term = self.extents.iter().rev().filter(|extent| extent.term == term);
        let mut inside = of_term.filter_map(|extent| extent.part(Index(0), index.next()));
        inside.next().map(|extent| extent.end().prev())
    }

    /// Puts entries in their places, and cuts what was there and behind them.
    fn put(&mut self, lsn: Lsn, first: Position, count: u32) -> Result<(), &'static str> {
        self.settle_before(first);
        let Position { term, index } = first;
        if index <= self.last.index {
            self.cut(index.prev());
        }
        let known = self.mark.is_some() || !self.extents.is_empty();
        if known && index != self.last.index.next() {
            return Err("an entry that does not follow the one before");
        }
        if term < self.extents.back().map_or(self.base.term, |extent| extent.term) {
            return Err("an entry of an older term than the one before");
        }
        let run = Extent { first: index, count, skip: 0, term, lsn };
        self.push(run);
        if term != self.last.term {
            self.run = index;
        }
        self.last = Position::new(term, run.end().prev());
        Ok(())
    }

    fn push(&mut self, run: Extent) {
        let grows = self.coarse && std::mem::replace(&mut self.grows, true);
        let fits = |back: &&mut Extent| {
            let follows = back.term == run.term && back.end() == run.first;
            grows && follows && back.count + run.count <= STRETCH_MAX
        };
        match self.extents.back_mut().filter(fits) {
            Some(back) => back.count += run.count,
            None => self.extents.push_back(run),
        }
    }

    /// These entries are in the log now: members that they name are known.
    pub(crate) fn note_members<'e>(&mut self, entries: impl IntoIterator<Item = &'e Entry>) {
        for entry in entries {
            if let Payload::Configuration(found) = &entry.payload {
                self.configurations.push((entry.index, Arc::clone(found)));
            }
        }
    }

    /// Puts an entry into its old place. What was written there before, if anything, is damaged.
    fn mend(&mut self, lsn: Lsn, entry: &Entry) {
        let Position { term, index } = entry.position();
        let wanted = index > self.base.index && index <= self.last.index;
        if !wanted || !self.make_room(index, term) {
            return;
        }
        self.grows = false;
        let at = self.extents.partition_point(|extent| extent.end() <= index);
        self.extents.insert(at, Extent { first: index, count: 1, skip: 0, term, lsn });
        if let Payload::Configuration(found) = &entry.payload {
            let at = self.configurations.partition_point(|(known, _)| *known < index);
            if self.configurations.get(at).is_none_or(|(known, _)| *known != index) {
                self.configurations.insert(at, (index, Arc::clone(found)));
            }
        }
    }

    /// Forgets where the entry at `index` stands. `false` if it is of another term, and so cannot
    /// be the one that is mended.
    fn make_room(&mut self, index: Index, term: Term) -> bool {
        let Some(at) = self.find(index) else { return true };
        let old = self.extents[at];
        if old.term != term {
            return false;
        }
        self.extents.remove(at);
        let around = [old.part(index.next(), Index(u64::MAX)), old.part(Index(0), index)];
        for part in around.into_iter().flatten() {
            self.extents.insert(at, part);
        }
        true
    }

    /// Forgets the entries behind `last`, which stay a part of what the log should be.
    fn drop_after(&mut self, last: Index) {
        self.grows = false;
        while let Some(back) = self.extents.pop_back() {
            if let Some(kept) = back.part(Index(0), last.next()) {
                self.extents.push_back(kept);
                break;
            }
        }
        self.configurations.retain(|(index, _)| *index <= last);
    }

    /// Cuts the log behind `last`.
    fn cut(&mut self, last: Index) {
        self.drop_after(last);
        if last < self.last.index {
            let term = self.extents.back().map_or(self.base.term, |extent| extent.term);
            self.last = Position::new(term, last);
            self.run = self.run_start();
        }
    }

    fn mark(&mut self, lsn: Lsn, fresh: bool, meta: &SnapshotMeta) {
        if fresh {
            let Book { serial, latest, bytes, coarse, .. } = *self;
            *self = Book { serial, latest, bytes, coarse, ..Book::default() };
        }
        self.compact(meta.last);
        self.mark = Some(meta.clone());
        (self.mark_lsn, self.base_lost) = (lsn, false);
    }

    fn compact(&mut self, base: Position) {
        let before = self.count();
        while let Some(front) = self.extents.pop_front() {
            if let Some(kept) = front.part(base.index.next(), Index(u64::MAX)) {
                self.extents.push_front(kept);
                break;
            }
        }
        self.configurations.retain(|(index, _)| *index > base.index);
        self.base = base;
        if self.last.index <= base.index {
            self.last = base;
        }
        self.run = self.run.max(base.index);
        // What is left of the bytes is taken to be what is left of the entries.
        self.bytes = self.bytes / (before + 1) * (self.count() + 1);
    }

    fn count(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.count)).sum()
    }

    /// The oldest record of the shared log that is still needed.
    pub(crate) fn needs(&self) -> Lsn {
        let mut needs = self.mark_lsn.min(self.head_lsn);
        for extent in &self.extents {
            needs = needs.min(extent.lsn);
        }
        needs
    }

    /// What is known of the group as of `index`: what a snapshot of it, or a mark there, says.
    pub(crate) fn meta_at(&self, index: Index) -> Option<SnapshotMeta> {
        let term = self.term_at(index)?;
        let mark = self.mark.as_ref()?;
        let newest = self.configurations.iter().rev().find(|(at, _)| *at <= index);
        let (configuration_index, configuration) = match newest {
            Some((at, found)) => (*at, Arc::clone(found)),
            None => (mark.configuration_index, Arc::clone(&mark.configuration)),
        };
        Some(SnapshotMeta { last: Position::new(term, index), configuration, configuration_index })
    }

    /// Where the entries after `after` and up to `through` stand, as far as they are here in a row.
    pub(crate) fn places(&self, after: Index, through: Index) -> Vec<Extent> {
        let mut next = after.next();
        let mut places = Vec::new();
        let from = self.extents.partition_point(|extent| extent.end() <= next);
        for extent in self.extents.range(from..) {
            match extent.part(next, through.next()) {
                Some(part) if part.first == next => {
                    next = part.end();
                    places.push(part);
                }
                _ => break,
            }
        }
        places
    }

    /// All that is here.
    pub(crate) fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.extents.iter()
    }

    /// Records were lost after the last that was found, or may have been: no more than `count`.
    pub(crate) fn suspect(&mut self, count: u64) {
        self.hard.lost_vote = true;
        // Nobody can tell in which term: no candidate's log is good enough.
        let entries = count.saturating_mul(u64::from(RUN_MAX));
        let index = self.last.index.0.saturating_add(entries).min(u64::MAX / 2);
        self.hard.lost_end = Some(Position::new(Term(u64::MAX), Index(index)));
    }

    /// Closes the book of a group that was read from a damaged log. `snapshot` is one that may
    /// stand in for a mark that is lost. Says whether anything is missing.
    pub(crate) fn close(&mut self, snapshot: Option<&SnapshotMeta>) -> bool {
        if self.doubt {
            self.suspect(u64::MAX);
        }
        if self.mark.as_ref().is_none_or(|mark| mark.last != self.base) {
            let covers = snapshot.filter(|meta| meta.last.index >= self.base.index);
            let nobody = SnapshotMeta {
                last: self.base,
                configuration: Arc::default(),
                configuration_index: Index(0),
            };
            let mark = covers.unwrap_or(&nobody).clone();
            self.compact(mark.last);
            self.base_lost = covers.is_none();
            self.mark = Some(mark);
        }
        let back = self.extents.back();
        let here = back.map_or(self.base, |back| Position::new(back.term, back.end().prev()));
        if here.index < self.last.index {
            self.hard.lost_end = self.hard.lost_end.max(Some(self.last));
            self.last = here;
            self.run = self.run_start();
        }
        self.is_harmed()
    }

    /// The newest members that are known.
    pub(crate) fn newest_members(&self) -> Option<Configuration> {
        let named = self.configurations.last().map(|(_, members)| members);
        let mark = self.mark.as_ref().map(|mark| &mark.configuration);
        named.or(mark).map(|members| Configuration::clone(members))
    }

    /// The same, and the entry that names them.
    pub(crate) fn newest_configuration(&self) -> Option<(Index, Arc<Configuration>)> {
        let mark = self.mark.as_ref();
        let marked = || mark.map(|mark| (mark.configuration_index, mark.configuration.clone()));
        self.configurations.last().cloned().or_else(marked)
    }

    /// Whether every voter but `me` is out of all configurations that the entries behind the base
    /// are under: what is durable here is then committed.
    pub(crate) fn is_alone(&self, me: NodeId) -> bool {
        let alone = |members: &Configuration| members.sole_voter() == Some(me);
        let first = self.mark.as_ref().is_some_and(|mark| alone(&mark.configuration));
        first && self.configurations.iter().all(|(_, members)| alone(members))
    }

    fn is_harmed(&self) -> bool {
        let hard = &self.hard;
        let lost = hard.lost_end.is_some() || hard.lost_vote || self.base_lost;
        lost || !self.holes().is_empty()
    }

    /// Whether the entry that is worth keeping at `index` is the one in the record at `lsn`.
    pub(crate) fn stands_at(&self, index: Index, lsn: Lsn) -> bool {
        self.find(index).is_some_and(|at| self.extents[at].lsn == lsn)
    }

    /// What a node begins with: with the log, or with as much of it as lies `behind` a snapshot.
    pub(crate) fn boot(&self, life: u64, behind: Option<&SnapshotMeta>) -> Boot {
        let mark = behind.or(self.mark.as_ref()).expect("a book that is open has a mark");
        let mut boot = Boot::after(mark).hard(self.hard).life(life);
        let mut next = mark.last.index.next();
        let named = self.configurations.iter();
        let mut configurations = named.skip_while(|(at, _)| *at <= mark.last.index).peekable();
        for extent in &self.extents {
            for index in extent.first.0.max(next.0)..extent.end().0 {
                let named = configurations.next_if(|(at, _)| at.0 == index);
                let payload = named
                    .map_or(Payload::Blank, |(_, found)| Payload::Configuration(Arc::clone(found)));
                let entry = Entry { term: extent.term, index: Index(index), payload };
                if index > next.0 {
                    boot.hole_before(&entry);
                } else {
                    boot.entry(&entry);
                }
                next = Index(index + 1);
            }
        }
        boot.snapshot_lost = self.base_lost && behind.is_none();
        boot
    }

    /// The holes of its log: the last index before each, and the first behind it.
    pub(crate) fn holes(&self) -> Vec<Hole> {
        let mut after = self.base.index;
        let mut holes = Vec::new();
        for extent in &self.extents {
            if extent.first > after.next() {
                holes.push(Hole { after, anchor: Position::new(extent.term, extent.first) });
            }
            after = extent.end().prev();
        }
        holes
    }

    /// Asserts what always holds.
    pub(crate) fn check(&self) {
        let mut end = self.base.index.next();
        let mut term = self.base.term;
        for extent in &self.extents {
            assert!(extent.first >= end, "extents are in order and do not overlap");
            assert!(extent.term >= term, "terms do not fall");
            (end, term) = (extent.end(), extent.term);
        }
        assert!(end <= self.last.index.next(), "nothing lies behind the end");
    }
}
