//! What is done to the files of a store: calls fail, and what was durable goes bad.
//!
//! Only what the store must notice goes bad. A log whose newest records are zeroed looks like one
//! that ends there, unless a record behind them, or the note beside the log, says that they were
//! durable; so damage stays before the newest such word that is durable itself:
//!
//! ```text
//!                  LAST says 4              says: 7 is durable    says: 9 is durable
//!     ┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬──────────────────────┐
//!     │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ 8 │ 9 │10 │ …     not synced     │
//!     └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┴──────────────────────┘
//!     └──── these may go bad ─────┘  9 says so, and cannot be lost
//! ```
//!
//! What the store does about the others is the subject of `raft/tests/suite/store_damage.rs`.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use drystone_sim::Rng;
use drystone_vfs::{Fault, Harm, Op, OpenMode, SimVfs, Vfs};
use drystone_wal::Lsn;
use drystone_wal::inspect::{self, FrameKind, Part, Role};

use super::{DIR, is_snapshot};

/// Something that goes bad.
#[derive(Debug, Clone)]
pub struct Rot {
    /// In which file.
    pub path: PathBuf,
    kind: Kind,
    /// The store must say so the next time it is opened.
    pub(super) is_said: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A bit is another.
    Flip { offset: u64, bit: u8 },
    /// Nothing but zeros.
    Zeros { offset: u64, bytes: u64 },
    /// The file ends early.
    Short { bytes: u64 },
    /// The file is gone.
    Gone,
}

impl Rot {
    /// Draws what goes bad on a disk, if there is anything on it that may.
    pub(super) fn draw(vfs: &SimVfs, rng: &mut Rng) -> Option<Rot> {
        if rng.below(4) == 0 { Rot::of_snapshot(vfs, rng) } else { Rot::of_log(vfs, rng) }
    }

    fn of_snapshot(vfs: &SimVfs, rng: &mut Rng) -> Option<Rot> {
        let dir = Path::new(DIR).join("snapshots");
        let names = vfs.list(&dir).ok()?.into_iter().map(|name| dir.join(name));
        let paths: Vec<_> = names.filter(|path| is_snapshot(path)).collect();
        let path = (!paths.is_empty()).then(|| rng.pick(&paths).clone())?;
        let bytes = vfs.open(&path, OpenMode::Read).ok()?.len().ok()?;
        // One that was cut to nothing before cannot go worse.
        let offset = (bytes > 0).then(|| rng.below(bytes))?;
        let kind = match rng.below(4) {
            0 => Kind::Gone,
            1 => Kind::Short { bytes: offset },
            _ => Kind::Flip { offset, bit: bit(rng) },
        };
        Some(Rot { path, kind, is_said: false })
    }

    fn of_log(vfs: &SimVfs, rng: &mut Rng) -> Option<Rot> {
        let dir = current_log(vfs)?;
        let segments = segments(vfs, &dir);
        let limit = limit(&segments).max(noted(vfs, &dir));
        if rng.below(6) == 0 {
            let (_, others) = segments.split_last()?;
            let gone = (!others.is_empty()).then(|| rng.pick(others))?;
            let bad = gone.records.first().is_some_and(|record| record.lsn <= limit);
            let (path, kind) = (gone.path.clone(), Kind::Gone);
            return bad.then_some(Rot { path, kind, is_said: true });
        }
        let segment = (!segments.is_empty()).then(|| rng.pick(&segments))?;
        let records: Vec<_> = segment.records.iter().filter(|one| one.lsn <= limit).collect();
        let record = (!records.is_empty()).then(|| *rng.pick(&records))?;
        let (offset, bytes) = (record.offset + rng.below(record.bytes), record.bytes);
        let kind = match rng.below(4) {
            0 => Kind::Zeros { offset: record.offset, bytes },
            _ => Kind::Flip { offset, bit: bit(rng) },
        };
        Some(Rot { path: segment.path.clone(), kind, is_said: true })
    }

    /// It goes bad, whether the file is durable or not.
    pub(super) fn strike(&self, vfs: &SimVfs) -> std::io::Result<()> {
        match self.kind {
            Kind::Gone => {
                vfs.remove(&self.path)?;
                vfs.sync_dir(self.path.parent().expect("it lies in a directory"))
            }
            Kind::Short { bytes } => {
                let file = vfs.open(&self.path, OpenMode::Write)?;
                file.set_len(bytes)?;
                file.sync_data()
            }
            Kind::Zeros { offset, bytes } => {
                let zeros = vec![0; usize::try_from(bytes).expect("a record is small")];
                let file = vfs.open(&self.path, OpenMode::Write)?;
                file.write_at(&[IoSlice::new(&zeros)], offset)?;
                file.sync_data()
            }
            Kind::Flip { offset, bit } => {
                let file = vfs.open(&self.path, OpenMode::Write)?;
                let mut byte = [0];
                file.read_exact_at(&mut byte, offset)?;
                file.write_at(&[IoSlice::new(&[byte[0] ^ bit])], offset)?;
                file.sync_data()
            }
        }
    }
}

fn bit(rng: &mut Rng) -> u8 {
    1 << rng.below(8)
}

/// Draws which of the next calls fails, and how.
pub(super) fn draw_fault(rng: &mut Rng) -> Fault {
    let ops = [Op::Write, Op::Sync, Op::Create, Op::Rename, Op::Remove, Op::SetLen, Op::SyncDir];
    let harms = [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops, Harm::Forgets];
    let (op, harm, times) = match rng.below(8) {
        // What cannot be read twice is damaged, and that is drawn elsewhere.
        0 => (Op::Read, Harm::Error, 1),
        1..=3 => (*rng.pick(&[Op::Write, Op::Sync]), *rng.pick(&harms), 1 + rng.below(3)),
        _ => (*rng.pick(&ops), *rng.pick(&harms), 1 + rng.below(3)),
    };
    Fault::new(op, harm).after(rng.below(8)).times(times)
}

/// A record in a segment.
struct Place {
    lsn: Lsn,
    durable: Lsn,
    offset: u64,
    bytes: u64,
}

struct Segment {
    path: PathBuf,
    records: Vec<Place>,
}

/// The log that a store would open, as [`drystone_raft::store`] names them.
fn current_log(vfs: &SimVfs) -> Option<PathBuf> {
    let numbers = vfs.list(Path::new(DIR)).ok()?.into_iter().filter_map(|name| {
        let number: u64 = name.to_str()?.strip_prefix("log-")?.parse().ok()?;
        let dir = Path::new(DIR).join(name);
        vfs.list(&dir).ok()?.iter().any(|name| name == "WHOLE").then_some((number, dir))
    });
    numbers.max().map(|(_, dir)| dir)
}

/// The segments of a log that are needed, and their records, in order.
fn segments(vfs: &SimVfs, dir: &Path) -> Vec<Segment> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for file in inspect::files(vfs, dir).into_iter().flatten() {
        if let Role::Segment(number) = file.role {
            files.push((number, file.path));
        }
    }
    files.sort_unstable();
    let mut segments = Vec::new();
    for (_, path) in files {
        let mut records: Vec<Place> = Vec::new();
        for part in inspect::segment(vfs, &path).into_iter().flatten() {
            let Part::Frame(frame) = part else { continue };
            match frame.kind {
                FrameKind::Record | FrameKind::GroupEnd => {
                    let (lsn, durable, offset) = (frame.lsn, frame.durable, frame.offset);
                    let bytes = u64::from(frame.len).max(1);
                    records.push(Place { lsn, durable, offset, bytes });
                }
                // Nobody looks at those before it any more.
                FrameKind::Start(_) => segments.clear(),
                _ => {}
            }
        }
        segments.push(Segment { path, records });
    }
    segments
}

/// The last record of which a record that is durable says that it is.
fn limit(segments: &[Segment]) -> Lsn {
    let records = || segments.iter().flat_map(|segment| &segment.records);
    let durable = records().map(|record| record.durable).max().unwrap_or(Lsn::NONE);
    let sure = records().filter(|record| record.lsn <= durable);
    sure.map(|record| record.durable).max().unwrap_or(Lsn::NONE)
}

/// The record that is noted beside the log.
fn noted(vfs: &SimVfs, dir: &Path) -> Lsn {
    let mut number = [0; 8];
    let read = vfs.open(&dir.join("LAST"), OpenMode::Read);
    let read = read.and_then(|file| file.read_exact_at(&mut number, 0));
    read.map_or(Lsn::NONE, |()| Lsn(u64::from_le_bytes(number)))
}
