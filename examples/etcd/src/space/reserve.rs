//! Room that is kept back for the day when the disk is full.
//!
//! **The problem.** A log that cannot be written ends the member: what is not on disk cannot be
//! acknowledged, and what the disk holds after a failed write only a restart can tell. On a full
//! disk a restart does not help. And the way out, deletes and compactions, itself writes: to the
//! log, then to the engine.
//!
//! **The idea.** A file that takes room and holds nothing. Whoever finds the disk full cuts a step
//! off it and tries again ([`super::roomy`]); from then on what grows is refused
//! ([`super::outlook`]), and the rest of the file is for what makes room. A neighbour on the same
//! disk, who takes all that is free, cannot take the file.
//!
//! ```text
//!   <data-dir>/reserve, and <wal-dir>/reserve if that is on another disk
//!   ├─────────────┬─────────────┬────────────────────────────┤
//!   0      bytes / 4      bytes / 2                        bytes
//!    for the log   and for what  and for merges, once it is
//!    alone         the engine    known that the disk is full
//!                  has to save          ◄── cut off from the end, a step at a time
//! ```
//!
//! The last quarter is the log's alone, and the one before it is not for merges. These may want any
//! amount, and give up in good order when they do not get it; a log does not. And an engine that
//! cannot save itself keeps the log from being shortened, for ever if merges have taken what it
//! needs for that. While nobody knows yet that the disk is full, a merge gets nothing: it was begun
//! to tidy up, and what it takes before it fails is gone for those that make room.
//!
//! **Opened.** A reserve that was cut is *opened* until it is made whole again. So that a restart
//! knows, an opened one ends a little before a whole mebibyte or is empty, and any other ends at
//! one: to note it takes no room.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_kv::runtime::Disk;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tokio::sync::Notify;

use super::{outlook, volume};

/// What it is called in the data directory.
const NAME: &str = "reserve";
const MIB: u64 = 1 << 20;
/// How much an opened reserve ends before a whole mebibyte: a page, and a block of most disks.
const MARK_BYTES: u64 = 4096;
/// It is opened in so many steps, each a whole number of these.
const STEPS: u64 = 16;
const STEP_UNIT: u64 = 64 << 10;
/// The smallest one that is worth its name.
const BYTES_MIN: u64 = MIB;
/// If nobody says otherwise.
const BYTES_DEFAULT: u64 = 512 * MIB;
/// And then at most this part of the disk: each quarter of it holds twice what the log gathers
/// until the engine is saved ([`super::log_bytes`]). Once may have been saved on the way into need,
/// and has to be once more on the way out.
const DISK_PART: u64 = 8;

/// Room that is kept back.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// What it should be; a whole number of mebibytes, 0 for none.
    bytes: u64,
    held: Mutex<Held>,
    /// What the store is told.
    word: Arc<Word>,
    on: On,
}

/// One for the disk of the data, and one for that of the log if it is another.
#[derive(Clone, Debug)]
pub(crate) struct Reserves {
    pub(super) data: Arc<Reserve>,
    pub(super) log: Option<Arc<Reserve>>,
    word: Arc<Word>,
}

/// Which disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// That of the data directory, and of the log if it is there.
    Data,
    /// That of the log, if it is another.
    Log,
}

/// What the store is told of all its disks together: full is whoever has one that is.
#[derive(Debug, Default)]
struct Word {
    disk: Arc<Disk>,
    full: Mutex<[bool; 2]>,
    /// Told when a reserve is opened.
    opened: Notify,
}

impl Word {
    fn set_full(&self, on: On, full: bool) {
        let mut all = self.full.lock();
        all[on as usize] = full;
        self.disk.set_full(all.contains(&true));
    }

    fn is_full(&self, on: On) -> bool {
        self.full.lock()[on as usize]
    }
}

impl Reserves {
    /// Those of the data in `dir`, and of a log that is kept in `log_dir`: see [`Reserve::open`].
    pub(crate) fn open(dir: &Path, log_dir: Option<&Path>, wanted: Option<u64>) -> Reserves {
        let word = Arc::<Word>::default();
        let data = Arc::new(Reserve::open(dir, wanted, On::Data, &word));
        let other = log_dir.filter(|log_dir| volume::device(log_dir) != volume::device(dir));
        let log = other.map(|log_dir| Arc::new(Reserve::open(log_dir, wanted, On::Log, &word)));
        Reserves { data, log, word }
    }

    /// What the store is told: while that is full, what grows is refused.
    pub(crate) fn disk(&self) -> Arc<Disk> {
        Arc::clone(&self.word.disk)
    }

    /// The one on that disk.
    pub(super) fn on(&self, on: On) -> &Arc<Reserve> {
        match on {
            On::Data => &self.data,
            On::Log => self.log.as_ref().unwrap_or(&self.data),
        }
    }

    /// The first look, before anything is let in: see [`Reserve::look_first`].
    pub(crate) fn look_first(&self, unsaved: u64) {
        self.data.look_first(unsaved);
        // What the engine has to write does not go there.
        self.log.iter().for_each(|log| log.look_first(0));
    }

    /// Resolves when one of them is opened.
    pub(super) async fn opened(&self) {
        self.word.opened.notified().await;
    }
}

#[derive(Debug)]
struct Held {
    file: Option<File>,
    len: u64,
    /// The file system cannot set room aside.
    unable: bool,
}

/// Who wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The log, which cannot do without.
    Log,
    /// Who brings what is there into a better order, and may make room by it.
    Merge,
    /// Anybody else, and so an engine that saves itself: only then can the log be shortened.
    Other,
}

impl Reserve {
    /// The reserve in `dir` as an earlier life left it. `wanted` is what the operator asked for.
    /// Nothing is made yet.
    fn open(dir: &Path, wanted: Option<u64>, on: On, word: &Arc<Word>) -> Reserve {
        let total = volume::room(dir).map(|room| room.total);
        let by_disk = total.map_or(BYTES_DEFAULT, |total| BYTES_DEFAULT.min(total / DISK_PART));
        let bytes = match wanted {
            Some(0) => 0,
            Some(bytes) => bytes.max(BYTES_MIN),
            None => by_disk.max(BYTES_MIN),
        };
        let path = dir.join(NAME);
        let file = OpenOptions::new().write(true).open(&path).ok();
        let len = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |it| it.len());
        let was_open = file.is_some() && (len == 0 || is_cut(len)) && bytes > 0;
        let reserve = Reserve {
            path,
            bytes: bytes / MIB * MIB,
            held: Mutex::new(Held { file, len, unable: false }),
            word: Arc::clone(word),
            on,
        };
        if was_open {
            word.set_full(on, true);
            // What a start writes outside of the store is little, and nobody tries it again.
            reserve.give(Writer::Other);
        }
        reserve
    }

    pub(super) fn is_full(&self) -> bool {
        self.word.is_full(self.on)
    }

    /// The directory that it is in.
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().expect("it is in a directory")
    }

    /// What it should be, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What of it others than the log may have, bytes.
    pub(super) fn for_engine(&self) -> u64 {
        self.held.lock().len.saturating_sub(self.bytes / 4)
    }

    /// Whether others than the log can have so many bytes, with what is free.
    pub(super) fn is_enough_for(&self, bytes: u64) -> bool {
        self.available().is_none_or(|free| bytes <= free.saturating_add(self.for_engine()))
    }

    /// What it lacks, bytes; nothing where there cannot be any.
    pub(super) fn missing(&self) -> u64 {
        let held = self.held.lock();
        if held.unable { 0 } else { self.bytes.saturating_sub(held.len) }
    }

    /// Free bytes of the disk that it is on, if that is known.
    pub(super) fn available(&self) -> Option<u64> {
        volume::room(self.dir()).map(|room| room.available)
    }

    /// The first look, before anything is let in: on a disk that is low what grows is refused from
    /// the start, whoever has taken the room while nobody looked. The engine's next save takes
    /// `unsaved` bytes of it.
    fn look_first(&self, unsaved: u64) {
        let room = outlook::room(self.available(), unsaved);
        if self.bytes > 0 && outlook::is_low(room, self.bytes) {
            self.refuse();
        }
    }

    /// From now on what grows is refused; a restart will know, if there is a file.
    pub(super) fn refuse(&self) {
        self.word.set_full(self.on, true);
        let mut held = self.held.lock();
        if !is_cut(held.len) && held.len > MARK_BYTES {
            let len = held.len - MARK_BYTES;
            // Without a mark a restart decides anew.
            let _ = held.cut(len);
        }
    }

    /// Cuts a step off for `writer`, who found the disk full; whether there was any.
    pub(super) fn give(&self, writer: Writer) -> bool {
        if self.bytes == 0 {
            return false;
        }
        if writer == Writer::Merge && !self.is_full() {
            return false;
        }
        let mut held = self.held.lock();
        let kept = match writer {
            Writer::Log => 0,
            Writer::Other => self.bytes / 4,
            Writer::Merge => self.bytes / 2,
        };
        self.word.set_full(self.on, true);
        self.word.opened.notify_one();
        let step = (self.bytes / STEPS / STEP_UNIT).max(1) * STEP_UNIT;
        // Ends before a whole mebibyte, as long as there is anything left.
        let next = held.len.div_ceil(step).saturating_mul(step).saturating_sub(step);
        let next = next.max(kept).saturating_sub(MARK_BYTES);
        next < held.len && held.cut(next).is_ok()
    }

    /// Makes it whole, as far as `room` bytes go, and lets what grows come again.
    ///
    /// # Errors
    ///
    /// If the file system cannot set room aside. What grows is let in all the same: how much is
    /// free is looked at as well.
    pub(super) fn refill(&self, room: u64) -> io::Result<()> {
        let mut held = self.held.lock();
        let goal = self.bytes.min((held.len + room) / MIB * MIB);
        let filled = if goal == held.len { Ok(()) } else { held.fill(&self.path, goal) };
        self.word.set_full(self.on, false);
        filled
    }
}

/// Whether a file of this length was cut off.
fn is_cut(len: u64) -> bool {
    !len.is_multiple_of(MIB)
}

impl Held {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.set_len(len)?;
        self.len = len;
        // Some file systems give blocks back when their journal has been written.
        file.sync_all()
    }

    fn fill(&mut self, path: &Path, len: u64) -> io::Result<()> {
        if len <= self.len {
            return self.cut(len);
        }
        if self.file.is_none() {
            let made = OpenOptions::new().write(true).create(true).truncate(false).open(path);
            self.file = Some(made?);
        }
        let file = self.file.as_ref().expect("it was made above");
        let filled = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len);
        if let Err(error) = filled {
            // Half of it may be there.
            self.len = file.metadata()?.len();
            self.unable = matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL);
            if self.len == 0 {
                // An empty one would be taken for one that was opened to its end.
                self.file = None;
                std::fs::remove_file(path)?;
            }
            return Err(error.into());
        }
        self.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use drystone_vfs::Vfs as _;

    use super::super::Roomy;
    use super::*;

    fn reserve(dir: &Path) -> Reserve {
        reserve_of(dir, 16 * MIB)
    }

    fn reserve_of(dir: &Path, bytes: u64) -> Reserve {
        Reserve::open(dir, Some(bytes), On::Data, &Arc::default())
    }

    fn len(dir: &Path) -> u64 {
        std::fs::metadata(dir.join(NAME)).map_or(0, |it| it.len())
    }

    // The engine must not take what the log needs to go on at all.
    #[test]
    fn the_last_quarter_is_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = reserve(dir.path());
        assert!(!reserve.give(Writer::Log), "there is nothing to give yet");
        reserve.refill(u64::MAX / 2).unwrap();
        assert_eq!((len(dir.path()), reserve.missing()), (16 * MIB, 0));
        while reserve.give(Writer::Other) {}
        assert_eq!(len(dir.path()), 4 * MIB - MARK_BYTES);
        assert!(reserve.give(Writer::Log));
        while reserve.give(Writer::Log) {}
        assert_eq!(len(dir.path()), 0);
        assert!(reserve.is_full());
        let again = Reserve::open(dir.path(), Some(16 * MIB), On::Data, &Arc::default());
        assert!(again.is_full(), "after a restart, too");
    }

    // A state that is saved whole or not at all must not eat what a smaller one will need.
    #[test]
    fn what_it_is_not_enough_for_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = reserve(dir.path());
        reserve.refill(u64::MAX / 2).unwrap();
        assert!(reserve.is_enough_for(MIB));
        // Others write to this disk as well.
        assert!(!reserve.is_enough_for(reserve.available().unwrap() + 1024 * 1024 * MIB));
        let reserves = Reserves { data: Arc::new(reserve), log: None, word: Arc::default() };
        let roomy = Roomy::new(reserves.clone(), None);
        let path = dir.path().join("file");
        let refused = roomy.create_sized(&path, u64::MAX / 4).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(!path.exists() && !reserves.data.is_full() && len(dir.path()) == 16 * MIB);
        let file = roomy.create_sized(&path, MIB).unwrap();
        assert_eq!((file.len().unwrap(), file.allocated().unwrap() >= MIB), (0, true));
    }

    // A merge that was begun to tidy up gets nothing, and none may take what the engine needs to
    // save itself: until it has, the log cannot be shortened.
    #[test]
    fn merges_get_half_of_it_and_only_in_need() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = reserve(dir.path());
        reserve.refill(u64::MAX / 2).unwrap();
        assert!(!reserve.give(Writer::Merge), "nobody is in need");
        assert_eq!((len(dir.path()), reserve.is_full()), (16 * MIB, false));
        reserve.refuse();
        while reserve.give(Writer::Merge) {}
        assert_eq!(len(dir.path()), 8 * MIB - MARK_BYTES);
        assert!(reserve.give(Writer::Other), "there is some for what must be saved");
    }

    // A member that is restarted in need must not take puts until it has looked around.
    #[test]
    fn a_restart_knows_that_it_was_opened() {
        let dir = tempfile::tempdir().unwrap();
        let first = reserve(dir.path());
        first.refill(u64::MAX / 2).unwrap();
        drop(first);
        let second = reserve(dir.path());
        assert!(!second.is_full(), "it is whole");
        second.refuse();
        drop(second);
        let third = reserve(dir.path());
        assert!(third.is_full());
        third.refill(u64::MAX / 2).unwrap();
        assert!(!third.is_full());
        assert!(!reserve(dir.path()).is_full());
    }

    // Its disk was filled while it was away, or right before it was killed: nothing is noted, and
    // the first put may be what the log has no room for.
    #[test]
    fn a_start_on_a_low_disk_knows_it_before_anything_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let whole = reserve(dir.path());
        whole.refill(u64::MAX / 2).unwrap();
        whole.look_first(0);
        assert!(!whole.is_full(), "there is room");
        whole.look_first(u64::MAX);
        assert!(whole.is_full(), "the engine has to write more than there is room for");
        drop(whole);
        let huge = reserve_of(dir.path(), 1 << 60);
        huge.look_first(0);
        assert!(huge.is_full());
        let none = reserve_of(dir.path(), 0);
        none.look_first(u64::MAX);
        assert!(!none.is_full(), "nobody wants to know");
    }

    // Room that is not there cannot be kept, and is not asked for.
    #[test]
    fn it_is_filled_as_far_as_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = reserve(dir.path());
        reserve.refill(5 * MIB + 7).unwrap();
        assert_eq!((len(dir.path()), reserve.missing()), (5 * MIB, 11 * MIB));
        assert!(!reserve.is_full());
    }

    // One disk that has room again does not make the other one less full.
    #[test]
    fn the_store_is_told_of_whichever_disk_is_full() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let word = Arc::<Word>::default();
        let [data, log] = [(On::Data, &data), (On::Log, &log)]
            .map(|(on, dir)| Reserve::open(dir.path(), Some(MIB), on, &word));
        data.refuse();
        log.refuse();
        data.refill(0).unwrap();
        assert!(word.disk.is_full() && log.is_full() && !data.is_full());
        log.refill(0).unwrap();
        assert!(!word.disk.is_full());
    }

    // Nobody who wants no file shall find one.
    #[test]
    fn none_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), Some(0), On::Data, &Arc::default());
        reserve.refill(u64::MAX / 2).unwrap();
        assert!(!reserve.give(Writer::Log));
        assert!(!dir.path().join(NAME).exists());
    }
}
