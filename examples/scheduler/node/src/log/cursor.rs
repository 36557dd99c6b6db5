//! A place in a log that moves forward.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mason_core::types::UnixMs;
use mason_shim::log::frame::{self, Found};
use mason_shim::log::{Stream, segment, segment::Segment};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// So much is read at once.
const READ_BYTES: usize = 256 << 10;

/// What comes next in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Some output.
    Output {
        /// Where it begins.
        offset: u64,
        /// On which stream.
        stream: Stream,
        /// When it was read from the container.
        time: UnixMs,
        /// As it was printed.
        bytes: Vec<u8>,
    },
    /// So much was rotated away, or was lost with a file.
    Gone {
        /// From here.
        offset: u64,
        /// So many bytes of the log, which is a little more than of output.
        bytes: u64,
    },
    /// Something in a file is no frame; what follows comes from behind it.
    Damaged {
        /// In which file.
        file: PathBuf,
        /// From here.
        offset: u64,
        /// So many bytes.
        bytes: u64,
    },
    /// The log is over.
    End,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    segment: Segment,
    file: File,
    salt: u64,
    /// Read and not yet looked at: the bytes from the cursor's offset on.
    buffer: Vec<u8>,
    /// Where in the buffer the offset is.
    at: usize,
}

/// A place in a log that moves forward.
#[derive(Debug)]
pub struct Cursor {
    folder: PathBuf,
    offset: u64,
    open: Option<Open>,
    over: bool,
    watch: Option<rustix::fd::OwnedFd>,
}

impl Cursor {
    pub(super) fn new(folder: &Path, offset: u64) -> Cursor {
        Cursor { folder: folder.to_owned(), offset, open: None, over: false, watch: None }
    }

    /// Where the next event begins: give it to [`Reader::from`](super::Reader::from) to go on
    /// there.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the log has said that it is over.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What comes next; none if there is no more yet.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn read(&mut self) -> io::Result<Option<Event>> {
        if self.over {
            return Ok(Some(Event::End));
        }
        loop {
            if self.open.is_none() {
                match self.enter()? {
                    Entered::Here => {}
                    Entered::Nothing => return Ok(None),
                    Entered::Event(event) => return Ok(Some(event)),
                }
            }
            match self.step()? {
                Step::Event(event) => return Ok(Some(event)),
                Step::Next => self.open = None,
                Step::Wait => return Ok(None),
            }
        }
    }

    /// Waits until there may be more, so long at most.
    ///
    /// # Errors
    /// The system refuses.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let wait = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        let Some(watch) = &self.watch else { return Ok(()) };
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        while events.next().is_ok() {}
        Ok(())
    }

    /// What comes next; waits for it, so long at most. This is what follows a log. None if nothing
    /// came: it may be over all the same, if whoever wrote it was killed; ask the run.
    ///
    /// # Errors
    /// There is no such log, or the file system refuses.
    pub fn follow(&mut self, time: Duration) -> io::Result<Option<Event>> {
        let until = std::time::Instant::now() + time;
        // The watch comes first, or what is written between a look and the wait is missed.
        if self.watch.is_none() {
            self.watch = Some(watch(&self.folder)?);
        }
        loop {
            if let Some(event) = self.read()? {
                return Ok(Some(event));
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    /// Opens the file that the offset is in.
    fn enter(&mut self) -> io::Result<Entered> {
        let segments = Segment::list(&self.folder)?;
        let Some(first) = segments.first() else { return Ok(Entered::Nothing) };
        if self.offset < first.base {
            let (offset, bytes) = (self.offset, first.base - self.offset);
            self.offset = first.base;
            return Ok(Entered::Event(Event::Gone { offset, bytes }));
        }
        let segment = segments.into_iter().rev().find(|segment| segment.base <= self.offset);
        let segment = segment.expect("the first is not behind the offset");
        let mut file = match File::open(&segment.path) {
            // Rotated away just now: look again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.enter(),
            file => file?,
        };
        let salt = match segment.salt(&mut file) {
            Ok(Some(salt)) => salt,
            Ok(None) => return Ok(Entered::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return self.skip_file(&segment);
            }
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Current(i64::try_from(self.offset - segment.base).unwrap_or(0)))?;
        self.open = Some(Open { segment, file, salt, buffer: Vec::new(), at: 0 });
        Ok(Entered::Here)
    }

    /// Nothing in a file can be trusted if its head cannot.
    fn skip_file(&mut self, segment: &Segment) -> io::Result<Entered> {
        let len = std::fs::metadata(&segment.path)?.len();
        let end = self.next_base(segment)?;
        let end = end.unwrap_or(segment.base + len.saturating_sub(segment::HEAD_BYTES as u64));
        if end <= self.offset {
            return Ok(Entered::Nothing);
        }
        let (offset, bytes) = (self.offset, end - self.offset);
        self.offset = end;
        Ok(Entered::Event(Event::Damaged { file: segment.path.clone(), offset, bytes }))
    }

    /// Where the file after this one begins, if there is one.
    fn next_base(&self, segment: &Segment) -> io::Result<Option<u64>> {
        let segments = Segment::list(&self.folder)?;
        Ok(segments.iter().map(|other| other.base).find(|&base| base > segment.base))
    }

    /// Looks at what is at the offset.
    fn step(&mut self) -> io::Result<Step> {
        let open = self.open.as_mut().expect("a file is open");
        let (salt, offset) = (open.salt, self.offset);
        let wanted = match frame::find(salt, offset, &open.buffer[open.at..]) {
            Found::Frame(found, len) => {
                let (stream, time, bytes) = (found.stream, found.time, found.payload.to_vec());
                open.at += len;
                self.offset += len as u64;
                if stream == Stream::End {
                    self.over = true;
                    return Ok(Step::Event(Event::End));
                }
                return Ok(Step::Event(Event::Output { offset, stream, time, bytes }));
            }
            Found::Short(wanted) => wanted,
            Found::Damaged => return self.find_way(),
        };
        if open.more(wanted)? {
            return self.step();
        }
        self.at_end()
    }

    /// No more in this file: another follows, or the writer is about to go on.
    fn at_end(&mut self) -> io::Result<Step> {
        let open = self.open.as_mut().expect("a file is open");
        let segment = open.segment.clone();
        let Some(base) = self.next_base(&segment)? else {
            // A torn frame may be cut off and another written in its place: read it again then.
            self.open = None;
            return Ok(Step::Wait);
        };
        let open = self.open.as_mut().expect("a file is open");
        // The writer may have written more here before it began the next.
        if open.more(open.buffer.len() - open.at + 1)? {
            return self.step();
        }
        let left = open.buffer.len() - open.at;
        if self.offset >= base {
            return Ok(Step::Next);
        }
        if left > 0 {
            return self.find_way();
        }
        let (offset, bytes) = (self.offset, base - self.offset);
        self.offset = base;
        self.open = None;
        Ok(Step::Event(Event::Gone { offset, bytes }))
    }

    /// Looks for the next frame behind something that is none.
    fn find_way(&mut self) -> io::Result<Step> {
        let segment = self.open.as_ref().expect("a file is open").segment.clone();
        let complete = self.next_base(&segment)?.is_some();
        let open = self.open.as_mut().expect("a file is open");
        let begin = self.offset;
        let mut skipped = 1;
        loop {
            let rest = &open.buffer[open.at + skipped..];
            match frame::find(open.salt, begin + skipped as u64, rest) {
                Found::Frame(..) => break,
                Found::Damaged => skipped += 1,
                Found::Short(wanted) => {
                    if open.more(skipped + wanted)? {
                        continue;
                    }
                    let is_end = open.buffer.len() == open.at + skipped;
                    // Nothing more here. It may be on its way, if this is the newest file.
                    if is_end || !complete {
                        break;
                    }
                    skipped += 1;
                }
            }
        }
        open.at += skipped;
        self.offset += skipped as u64;
        let bytes = skipped as u64;
        Ok(Step::Event(Event::Damaged { file: segment.path, offset: begin, bytes }))
    }
}

impl Open {
    /// Reads until there are `wanted` bytes from the offset on; whether there are more than before.
    fn more(&mut self, wanted: usize) -> io::Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        while self.buffer.len() < wanted {
            let room = READ_BYTES.max(wanted - self.buffer.len());
            let limit = u64::try_from(room).expect("it is small");
            if (&mut self.file).take(limit).read_to_end(&mut self.buffer)? == 0 {
                break;
            }
        }
        Ok(self.buffer.len() >= wanted && self.buffer.len() > before)
    }
}

enum Entered {
    Here,
    Nothing,
    Event(Event),
}

enum Step {
    Event(Event),
    Next,
    Wait,
}

fn watch(folder: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, folder, events)?;
    Ok(watch)
}
