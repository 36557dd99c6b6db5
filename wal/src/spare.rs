//! Segments made before they are needed.
//!
//! A write into a file that is already as long as it will ever be, over blocks that are already
//! there, needs one trip to the disk to become durable; a write that grows the file needs the file
//! system's journal as well. So segments are filled with zeros and synced first. That takes a
//! while, and is done here, ahead: by a thread of its own, or by whoever needs the segment if there
//! is none.
//!
//! **Where zeros do not pay.** A log whose groups are large (a load in batches) would write every
//! byte twice for a trip that it makes seldom. If it is to be [lean](crate::Options::lean), the
//! next segment is then made as a *hole*: as long as it will be, and without blocks. The small
//! groups that may follow fill the hole a little ahead of themselves, with zeros in the same write,
//! so that one in some hundred needs the second trip. The first segment of a lean log is a hole as
//! well: a log that stays small takes little room. To a reader all of this is the same, for a hole
//! reads as zeros.
//!
//! A record is written together with what the [marks](crate::format::MARKS_BYTES) behind it need,
//! so that the prefix can be cut when the disk is full. (Not so for records that were never
//! acknowledged and that a power cut left all the same: of those the end alone may have its block.)
//!
//! A segment that [`truncate_prefix`](crate::Wal::truncate_prefix) gives back is as good as a new
//! one, its old frames notwithstanding: see [`format`](crate::format) on "creation".
//!
//! **Where room is dear.** A disk that is nearly full has better use for a file that waits for its
//! turn. A [thrifty](crate::Wal::be_thrifty) log makes none ahead and keeps none for later; when it
//! needs a segment it begins a hole, which takes what is written to it.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::recovery::SPARE_NAME;

/// Zeros are synced after this many bytes, so that a record's sync never waits for the disk to
/// swallow a whole segment.
const STEP_BYTES: u64 = 1 << 20;

/// And written this many bytes at a time. The page cache keeps what one call writes as one piece (a
/// large folio), and each later record pays for the size of the piece that it lands in: writing a
/// mebibyte of zeros in one call makes a durable append 5 % slower ever after (`benches/versus`).
const WRITE_BYTES: u64 = 64 << 10;

/// A file of the right size under the name [`SPARE_NAME`].
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn File>,
    pub(crate) capacity: u64,
    /// The file has its blocks up to this byte.
    pub(crate) filled: u64,
}

/// What a new segment file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Zeros that were written and synced.
    Zeros,
    /// A hole.
    Hole,
}

/// What kind of file is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) capacity: u64,
    pub(crate) ground: Ground,
}

/// The place where at most one spare lies.
#[derive(Debug)]
pub(crate) struct Spares {
    vfs: Arc<dyn Vfs>,
    pub(crate) path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    /// There is a thread that runs [`prepare`](Spares::prepare).
    threaded: bool,
}

/// Invariant: while `place` is [`Making`](Place::Making), one thread alone touches the file.
#[derive(Debug)]
struct State {
    place: Place,
    stopped: bool,
    /// None is made before it is needed, nor kept.
    thrifty: bool,
}

#[derive(Debug)]
enum Place {
    Empty,
    Wanted(Want),
    /// Somebody is making the file, or moving one there.
    Making,
    Ready(Spare),
}

impl Spares {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, dir: &std::path::Path, threaded: bool) -> Spares {
        Spares {
            vfs,
            path: dir.join(SPARE_NAME),
            state: Mutex::new(State { place: Place::Empty, stopped: false, thrifty: false }),
            changed: Condvar::new(),
            threaded,
        }
    }

    /// Asks for a spare to be made ready, if none is.
    pub(crate) fn want(&self, want: Want) {
        let mut state = self.state.lock();
        let may = self.threaded && !state.stopped && !state.thrifty;
        if may && matches!(state.place, Place::Empty) {
            state.place = Place::Wanted(want);
            self.changed.notify_all();
        }
    }

    /// Whether a used segment file may become the spare. If so, the place is the caller's until it
    /// says how that went, by [`settle`](Spares::settle).
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let free = matches!(state.place, Place::Empty | Place::Wanted(_));
        let free = free && !state.stopped && !state.thrifty;
        if free {
            state.place = Place::Making;
        }
        free
    }

    /// Ends a claim: the file that now has the spare's name, or nothing.
    pub(crate) fn settle(&self, spare: Option<Spare>) {
        let mut state = self.state.lock();
        assert!(matches!(state.place, Place::Making), "a claim is settled once");
        state.place = spare.map_or(Place::Empty, Place::Ready);
        self.changed.notify_all();
    }

    /// The spare, of at least the size wanted; made here and now if need be.
    pub(crate) fn take(&self, want: Want) -> io::Result<Spare> {
        let mut state = self.settled();
        match std::mem::replace(&mut state.place, Place::Empty) {
            Place::Ready(spare) if spare.capacity >= want.capacity => return Ok(spare),
            Place::Empty | Place::Wanted(_) | Place::Making | Place::Ready(_) => {}
        }
        // Nobody else may make the file meanwhile: the lock is held, and an empty place starts no
        // one.
        make(&*self.vfs, &self.path, want)
    }

    /// From now on none is made ahead and none kept, or again as usual. What lies ready stays.
    pub(crate) fn be_thrifty(&self, yes: bool) {
        self.state.lock().thrifty = yes;
    }

    /// Whether none is made ahead.
    pub(crate) fn are_thrifty(&self) -> bool {
        self.state.lock().thrifty
    }

    /// Removes the spare that lies ready, if there is one, and forgets what was wanted.
    pub(crate) fn discard(&self) -> io::Result<()> {
        let mut state = self.settled();
        match std::mem::replace(&mut state.place, Place::Empty) {
            Place::Ready(_) => self.vfs.remove(&self.path),
            Place::Empty | Place::Wanted(_) | Place::Making => Ok(()),
        }
    }

    /// The state once nobody is making a spare.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        // Even if the maker has been told to stop: it is still writing.
        while matches!(state.place, Place::Making) {
            self.changed.wait(&mut state);
        }
        state
    }

    /// Bytes of disk that the spare which lies ready takes.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.state.lock().place {
            Place::Ready(spare) => spare.filled,
            _ => 0,
        }
    }

    /// Makes spares as they are wanted, until [`stop`](Spares::stop). For a thread.
    pub(crate) fn prepare(&self) {
        let mut state = self.state.lock();
        while !state.stopped {
            if let Place::Wanted(want) = state.place {
                state.place = Place::Making;
                drop(state);
                // If it fails, whoever needs the segment will try again and report.
                self.settle(make(&*self.vfs, &self.path, want).ok());
                state = self.state.lock();
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Ends [`prepare`](Spares::prepare).
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Makes the spare.
fn make(vfs: &dyn Vfs, path: &std::path::Path, want: Want) -> io::Result<Spare> {
    let file = vfs.open(path, OpenMode::Create)?;
    // One that is too small, or was given up halfway: nobody knows what of it is a hole, nor what
    // a sync that failed has lost.
    if file.len()? > 0 {
        file.set_len(0)?;
    }
    let filled = match want.ground {
        Ground::Zeros => {
            fill(&*file, 0, want.capacity)?;
            want.capacity
        }
        Ground::Hole => {
            // Durable with the header.
            file.set_len(want.capacity)?;
            0
        }
    };
    Ok(Spare { file, capacity: want.capacity, filled })
}

/// Writes zeros from byte `from` up to `to`, durably.
pub(crate) fn fill(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; WRITE_BYTES.min(to.saturating_sub(from)) as usize];
    let mut at = from;
    while at < to {
        let step = to.min(at + STEP_BYTES);
        while at < step {
            let count = (step - at).min(WRITE_BYTES);
            file.write_at(&[IoSlice::new(&zeros[..count as usize])], at)?;
            at += count;
        }
        file.sync_data()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
