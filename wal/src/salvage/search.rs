//! Walking all that is left of a log, and telling runs of sound frames from holes.
//!
//! ```text
//!     files ─► headers, those damaged guessed ─► the oldest segment needed
//!           ─► the last segment, once: which of its frames prove that others were promised?
//!           ─► each segment in turn: frames make runs; what is between runs is a hole,
//!              what is behind the last run is a hole only if it was promised
//! ```

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{Lock, Vfs};

use crate::error::{Damage, Error, Result};
use crate::format::{HEADER_BYTES, Kind, SegmentHeader};
use crate::patchy::Patchy;
use crate::report::Cut;
use crate::salvage::hearing::{self, Witness};
use crate::salvage::source::{Guess, Kin, Source, sources};
use crate::salvage::{Hole, Loss, Run, Salvage};
use crate::scan::{Scanner, Stop};
use crate::survey::{Piece, Survey};
use crate::types::{Lsn, SegmentId};
use crate::window::Window;

/// How many segments may have been made and cut away again between two neighbours.
const CREATIONS_BETWEEN_MAX: u64 = 1 << 20;

pub(super) fn search(vfs: &dyn Vfs, dir: &Path, lock: Option<Lock>) -> Result<Salvage> {
    let mut sources = sources(vfs, dir)?;
    if sources.is_empty() {
        return Err(Error::NoLog { dir: dir.to_path_buf() });
    }
    let log_id = log_id(&sources);
    let misnamed = rename(&mut sources, log_id);
    let mut search = Search {
        dir,
        log_id,
        runs: Vec::new(),
        holes: Vec::new(),
        next: None,
        first: None,
        whole: None,
        creation: 0,
        broken: None,
        cut: None,
    };
    let witness = search.hear(sources.last().expect("there are some"), &sources)?;
    let start = sources.iter().filter_map(|source| search.own(source)).map(|h| h.start_segment);
    let start = start.max().unwrap_or(sources[0].id).max(witness.start);
    sources.retain(|source| source.id >= start);
    let mut expected = start;
    for (i, source) in sources.iter().enumerate() {
        if source.id > expected {
            search.missing(expected);
        }
        if misnamed.contains(&source.id) {
            let harmless = search.next.is_none_or(|next| search.starts_at(source, next));
            search.hole(source, 0..0, Damage::Misplaced, harmless);
        }
        expected = source.id.next();
        let last = i + 1 == sources.len();
        search.segment(source, &sources[i + 1..], last.then_some(&witness))?;
    }
    Ok(search.finish(lock))
}

/// The log that most of the headers name.
fn log_id(sources: &[Source]) -> Option<u64> {
    let ids: Vec<u64> =
        sources.iter().filter_map(|source| Some(source.header.as_ref().ok()?.log_id)).collect();
    let count = |id: u64| ids.iter().filter(|other| **other == id).count();
    ids.iter().copied().max_by_key(|id| count(*id))
}

/// Gives files of this log that somebody renamed the number that their header names, unless another
/// has it. Returns these numbers.
fn rename(sources: &mut [Source], log_id: Option<u64>) -> Vec<SegmentId> {
    let named: Vec<SegmentId> = sources.iter().map(|source| source.id).collect();
    let right = |source: &Source| source.header.as_ref().ok().map(|h| h.segment) == Some(source.id);
    let taken: Vec<SegmentId> = sources.iter().filter(|s| right(s)).map(|s| s.id).collect();
    let mut misnamed = Vec::new();
    for source in sources.iter_mut().filter(|source| !right(source)) {
        let Ok(header) = &source.header else { continue };
        let free = !taken.contains(&header.segment) && !misnamed.contains(&header.segment);
        // A number that no file has would put a hole where none is.
        if Some(header.log_id) == log_id && free && named.contains(&header.segment) {
            source.id = header.segment;
            misnamed.push(source.id);
        }
    }
    sources.sort_by_key(|source| source.id);
    misnamed
}

struct Search<'a> {
    dir: &'a Path,
    log_id: Option<u64>,
    runs: Vec<Run>,
    holes: Vec<Hole>,
    /// The record expected next, if that is known.
    next: Option<Lsn>,
    /// The first record of the log, once known.
    first: Option<Lsn>,
    /// The last record of the last whole group of the good prefix.
    whole: Option<Lsn>,
    /// That of the last header believed.
    creation: u64,
    /// The first hole in which a record may be lost: it ends the good prefix.
    broken: Option<usize>,
    cut: Option<Cut>,
}

/// Something that is not a frame, while it is not known whether frames follow.
struct Pending {
    offset: u64,
    reason: Damage,
}

impl Search<'_> {
    /// The header of a file that belongs where it is.
    fn own<'s>(&self, source: &'s Source) -> Option<&'s SegmentHeader> {
        let header = source.header.as_ref().ok()?;
        (Some(header.log_id) == self.log_id && header.segment == source.id).then_some(header)
    }

    /// How to read the frames of a file.
    fn key(&self, source: &Source, after: &[Source]) -> Option<Guess> {
        match &source.header {
            Ok(_) => self.own(source).map(|h| Guess { seed: h.seed(), first: h.first_lsn }),
            Err(_) => {
                let after = after.iter().find_map(|source| self.own(source));
                let limit = self.creation.saturating_add(CREATIONS_BETWEEN_MAX);
                source.guess(&Kin {
                    log_id: self.log_id,
                    made: self.creation + 1..after.map_or(limit, |h| h.creation.min(limit)),
                    first: self.next,
                    below: after.map(|h| h.first_lsn),
                })
            }
        }
    }

    /// Hears what the frames of the last file have to say.
    fn hear(&self, source: &Source, all: &[Source]) -> Result<Witness> {
        let born_end = self.own(source).map_or(0, |header| header.born_end);
        let mut here = Search { runs: vec![], holes: vec![], cut: None, ..*self };
        // Without a header of its own, it was made after all others.
        here.creation =
            all.iter().filter_map(|s| self.own(s)).map(|h| h.creation).max().unwrap_or(0);
        match here.key(source, &[]) {
            Some(key) => hearing::hear(source, key, born_end),
            None => Ok(Witness::new(born_end)),
        }
    }

    /// Records that segments from `first` on are missing.
    fn missing(&mut self, first: SegmentId) {
        self.holes.push(Hole {
            file: self.dir.join(first.file_name()),
            offset: 0,
            bytes: 0,
            first_lost: self.next.take(),
            last_lost: None,
            reason: Loss::Damage(Damage::SegmentMissing),
        });
        self.broken.get_or_insert(self.holes.len() - 1);
    }

    /// Records that a part of a file cannot be used; `harmless` if no record was in it.
    fn hole(&mut self, source: &Source, part: Range<u64>, reason: Damage, harmless: bool) {
        // A group that is not at its end has lost the rest.
        let at_end = self.whole.is_none_or(|whole| self.next == Some(whole.next()));
        self.holes.push(Hole {
            file: source.path.clone(),
            offset: part.start,
            bytes: part.end - part.start,
            first_lost: self.next.take(),
            last_lost: None,
            reason: source.loss(part.start, part.end, reason),
        });
        if !(harmless && at_end) {
            self.broken.get_or_insert(self.holes.len() - 1);
        }
    }

    fn starts_at(&self, source: &Source, lsn: Lsn) -> bool {
        self.own(source).is_some_and(|header| header.first_lsn == lsn)
    }

    /// Goes on at record `lsn`, behind a hole if the one expected is not known.
    fn resume(&mut self, lsn: Lsn) {
        if self.next.is_none()
            && let Some(hole) = self.holes.last_mut()
        {
            hole.last_lost = hole.last_lost.or(Some(lsn.previous()));
        }
        self.first = self.first.or(Some(lsn));
        self.next = Some(lsn);
    }

    /// Walks one file. `after` are the later ones, and for the last there is a witness.
    fn segment(
        &mut self,
        source: &Source,
        after: &[Source],
        witness: Option<&Witness>,
    ) -> Result<()> {
        let key = self.key(source, after);
        let header = self.own(source).filter(|header| header.creation > self.creation).cloned();
        if header.is_none() {
            let reason = if source.header.is_ok() { Damage::Misplaced } else { Damage::Header };
            let usable = key.is_some() && source.header.is_err();
            let end = if usable { HEADER_BYTES.min(source.length) } else { source.length };
            let first = key.filter(|_| usable).map(|key| key.first);
            if self.holes.is_empty() {
                // Nothing is known of what came before, because nothing did.
                self.next = self.next.or(first);
            }
            let harmless = first.is_some() && self.next == first;
            self.hole(source, 0..end, reason, harmless);
            if !usable {
                return Ok(());
            }
        }
        let (Some(key), Some(file)) = (key, source.file.clone()) else {
            return Ok(());
        };
        self.creation = header.as_ref().map_or(self.creation, |header| header.creation);
        if self.next.is_some_and(|next| next != key.first) {
            self.hole(source, 0..0, Damage::Sequence, false);
        }
        self.resume(key.first);
        let sealed = after.first().filter(|next| next.id == source.id.next());
        let sealed = sealed.and_then(|next| self.own(next)).map(|next| next.previous_end);
        let walk = Walk { source, file, key, sealed, witness, header: header.as_ref() };
        self.walk(&walk).map_err(|e| Error::io("read segment", &source.path, e))
    }

    fn walk(&mut self, walk: &Walk<'_>) -> io::Result<()> {
        let Walk { source, key, .. } = walk;
        let end = walk.sealed.unwrap_or(u64::MAX).min(source.end());
        let mut survey = Survey::new(Arc::clone(&walk.file) as _, key.seed, key.first, end);
        // Where the run, and the last whole group in it, end; and the record after that group.
        let (mut from, mut whole) = ((HEADER_BYTES, key.first), (HEADER_BYTES, key.first));
        let mut at = HEADER_BYTES;
        let mut pending: Option<Pending> = None;
        while let Some(piece) = survey.next()? {
            let (offset, reason) = match piece {
                Piece::Frame { offset, head, lsn } => {
                    if let Some(gap) = pending.take() {
                        if !walk.was_promised(gap.offset, self.next) {
                            pending = Some(gap);
                            break;
                        }
                        let first = if head.kind.is_record() { lsn } else { lsn.next() };
                        let harmless = self.next == Some(first) && at == whole.0;
                        self.close(walk, from, whole, at);
                        self.hole(source, gap.offset..offset, gap.reason, harmless);
                        self.adopt(walk, whole, at);
                        self.resume(first);
                        (from, whole) = ((offset, first), (offset, first));
                    }
                    at = offset + head.bytes();
                    self.next = Some(survey.next_lsn());
                    if head.kind != Kind::Record {
                        whole = (at, survey.next_lsn());
                    }
                    continue;
                }
                Piece::Zeros { offset, .. } => (offset, Damage::Zeros),
                Piece::Gap { offset, reason, .. } => (offset, reason),
            };
            pending.get_or_insert(Pending { offset, reason });
        }
        self.close(walk, from, whole, at);
        self.end(walk, whole, at, pending.map(|gap| gap.reason), survey.gave_up())
    }

    /// Keeps the run that has come to an end at `at`: all of it behind a hole, and whole groups of
    /// the good prefix.
    fn close(&mut self, walk: &Walk<'_>, from: (u64, Lsn), whole: (u64, Lsn), at: u64) {
        let hole = self.broken.map(|_| self.holes.len() - 1);
        // At the end of the log, a group without its end was never finished.
        let trim = hole.is_none() || walk.witness.is_some_and(|w| !w.succeeded && w.before < at);
        let to = if trim { whole.0.max(from.0) } else { at };
        if hole.is_none() {
            self.whole = Some(whole.1.previous());
        }
        self.run(walk, from, to, hole);
    }

    /// Keeps the head of a group that the newest hole has broken, if that ended the good prefix.
    fn adopt(&mut self, walk: &Walk<'_>, whole: (u64, Lsn), at: u64) {
        let newest = self.holes.len() - 1;
        if self.broken == Some(newest) {
            self.run(walk, whole, at, Some(newest));
        }
    }

    fn run(&mut self, walk: &Walk<'_>, from: (u64, Lsn), to: u64, hole: Option<usize>) {
        if from.0 < to {
            self.runs.push(Run {
                file: Arc::clone(&walk.file) as _,
                path: walk.source.path.clone(),
                seed: walk.key.seed,
                from: from.0,
                to,
                next: from.1,
                hole,
            });
        }
    }

    /// Judges what stands behind the last frame of a file, at `at`.
    fn end(
        &mut self,
        walk: &Walk<'_>,
        whole: (u64, Lsn),
        at: u64,
        damage: Option<Damage>,
        gave_up: bool,
    ) -> io::Result<()> {
        let (source, length) = (walk.source, walk.source.end());
        let stop = Stop { offset: at, lsn: self.next.unwrap_or_default(), damage };
        if let Some(end) = walk.sealed {
            // A group whose end is missing has no rest in the next segment either.
            if at < end || whole.0 < at {
                let missing = if at < end { Damage::FileEnds } else { Damage::Group };
                let reason = damage.unwrap_or(missing);
                self.hole(source, at..end.min(source.length).max(at), reason, false);
                self.adopt(walk, whole, at);
            }
            return Ok(());
        }
        let Some(witness) = walk.witness else {
            return Ok(());
        };
        let short = walk.header.is_some_and(|header| length < header.capacity);
        if witness.succeeded {
            self.missing(source.id.next());
        } else if short && !stop.before_end(length) {
            self.hole(source, at..length, Damage::FileEnds, false);
            self.adopt(walk, whole, at);
        } else if gave_up || at < walk.header.map_or(0, |header| header.born_end) {
            self.hole(source, at..length, damage.unwrap_or(Damage::FileEnds), false);
            self.adopt(walk, whole, at);
        } else {
            let mut window = Window::new(Arc::clone(&walk.file) as _, length);
            let bytes = window.dirty_end(whole.0)? - whole.0;
            let stale = bytes > 0 && walk.is_stale()?;
            let (file, reason) = (source.path.clone(), damage.unwrap_or(Damage::Group));
            let cut = Cut { file, offset: whole.0, bytes, reason };
            self.cut = (bytes > 0 && !stale).then_some(cut);
        }
        Ok(())
    }

    fn finish(self, lock: Option<Lock>) -> Salvage {
        let prefix = self.runs.first().is_some_and(|run| run.hole.is_none());
        let lost = self.broken.map(|hole| self.holes[hole].first_lost);
        let first = match self.whole {
            _ if prefix => self.first,
            // Not even one group is whole: the prefix is empty, and ends before its first record.
            Some(whole) => Some(whole.next()),
            None => lost.unwrap_or(self.first),
        };
        let first = first.unwrap_or(Lsn(1));
        let last = self.whole.unwrap_or(first.previous());
        let Search { runs, holes, cut, .. } = self;
        Salvage { first, last, runs, holes, cut, _lock: lock }
    }
}

/// One file being walked.
struct Walk<'a> {
    source: &'a Source,
    file: Arc<Patchy>,
    key: Guess,
    /// Where its frames end, if a sound successor says so.
    sealed: Option<u64>,
    witness: Option<&'a Witness>,
    header: Option<&'a SegmentHeader>,
}

impl Walk<'_> {
    /// Whether what stood at `offset`, where `next` was expected, had been durable.
    fn was_promised(&self, offset: u64, next: Option<Lsn>) -> bool {
        self.witness.is_none_or(|witness| {
            let born = self.header.is_some_and(|header| offset < header.born_end);
            born || next.is_some_and(|next| witness.proves(offset, next))
        })
    }

    /// Whether only the file's former life stands behind the end of the log.
    fn is_stale(&self) -> io::Result<bool> {
        let Some(header) = self.header else { return Ok(false) };
        let mut scanner = Scanner::new(Arc::clone(&self.file) as _, header, self.source.end());
        let scan = scanner.run()?;
        scanner.is_stale(&scan)
    }
}
