//! Appends frames to a log, begins segments, and drops the oldest.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::frame::{self, Found, Frame, HEAD_BYTES, PAYLOAD_BYTES_MAX, Stream};
use super::segment::{self, Segment};

/// How much of a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A segment that is longer is followed by another.
    pub segment_bytes: u64,
    /// Of all together, as long as there is more than one.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment_bytes: 4 << 20, total_bytes: 16 << 20 }
    }
}

/// A log, open for more.
///
/// * The segments touch: each begins where the one before ends.
/// * The file of the last holds whole frames only, whenever no call is under way.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    limits: Limits,
    salt: u64,
    /// Bases of the segments, oldest first.
    bases: VecDeque<u64>,
    /// The last one; none until there is something to write.
    file: Option<File>,
    /// Where the next frame goes.
    end: u64,
    lost: u64,
    /// Of those, so many are noted in the log.
    lost_noted: u64,
}

impl Writer {
    /// Opens the log in a folder, which is made if need be; cuts off a torn frame at its end.
    ///
    /// # Errors
    /// The file system refuses, or the last segment is none.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Writer> {
        fs::create_dir_all(folder)?;
        let mut salt = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut salt)?;
        let mut writer = Writer {
            folder: folder.to_owned(),
            limits,
            salt: u64::from_le_bytes(salt),
            bases: VecDeque::new(),
            file: None,
            end: 0,
            lost: 0,
            lost_noted: 0,
        };
        let segments = Segment::list(folder)?;
        writer.bases = segments.iter().map(|segment| segment.base).collect();
        if let Some(last) = segments.last() {
            writer.resume(last)?;
        }
        Ok(writer)
    }

    /// Where the next frame goes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes of output could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends some output. It never fails: what cannot be written is counted.
    pub fn append(&mut self, stream: Stream, time: u64, bytes: &[u8]) {
        self.note_loss(time);
        for payload in bytes.chunks(PAYLOAD_BYTES_MAX) {
            if self.write(&Frame { stream, time, payload }).is_err() {
                self.lost += payload.len() as u64;
            }
        }
    }

    /// Says that nothing follows.
    pub fn finish(&mut self, time: u64) {
        self.note_loss(time);
        // Without room for it, a follower learns the end from the run's exit.
        let _ = self.write(&Frame { stream: Stream::End, time, payload: b"" });
    }

    fn note_loss(&mut self, time: u64) {
        let missing = self.lost - self.lost_noted;
        if missing > 0 {
            let text = format!("{missing} bytes of output could not be written down\n");
            let note = Frame { stream: Stream::Note, time, payload: text.as_bytes() };
            if self.write(&note).is_ok() {
                self.lost_noted = self.lost;
            }
        }
    }

    fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let begun = self.bases.back().copied().unwrap_or(self.end);
        if self.file.is_none() || self.end - begun >= self.limits.segment_bytes {
            self.begin()?;
        }
        let base = *self.bases.back().expect("a segment has begun");
        let file = self.file.as_mut().expect("a segment has begun");
        let head = frame::head(self.salt, self.end, frame);
        let whole = HEAD_BYTES + frame.payload.len();
        if let Err(error) = write_whole(file, &head, frame.payload) {
            // Half a frame in the middle would cost the reader those behind it.
            let _ = file.set_len(segment::HEAD_BYTES as u64 + self.end - base);
            return Err(error);
        }
        self.end += whole as u64;
        Ok(())
    }

    /// Begins a segment where the last one ends, and drops the oldest.
    fn begin(&mut self) -> io::Result<()> {
        let next = Segment::new(&self.folder, self.end);
        let mut file = OpenOptions::new().append(true).create(true).open(&next.path)?;
        // Left over from an attempt for which there was no room.
        file.set_len(0)?;
        if let Err(error) = file.write_all(&next.head(self.salt)) {
            let _ = fs::remove_file(&next.path);
            return Err(error);
        }
        if self.bases.back() != Some(&next.base) {
            self.bases.push_back(next.base);
        }
        self.file = Some(file);
        while let [oldest, _, ..] = *self.bases.make_contiguous() {
            if self.end - oldest + self.limits.segment_bytes <= self.limits.total_bytes {
                break;
            }
            fs::remove_file(Segment::new(&self.folder, oldest).path)?;
            self.bases.pop_front();
        }
        Ok(())
    }

    /// Goes on behind the last whole frame of a segment.
    fn resume(&mut self, last: &Segment) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).open(&last.path)?;
        self.end = last.base;
        let Some(salt) = last.salt(&mut file)? else {
            file.set_len(0)?;
            file.write_all(&last.head(self.salt))?;
            self.file = Some(file);
            return Ok(());
        };
        self.salt = salt;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut at = 0;
        let mut whole = 0;
        while at < bytes.len() {
            let offset = last.base + at as u64;
            match frame::find(salt, offset, &bytes[at..]) {
                Found::Frame(_, len) => {
                    at += len;
                    whole = at;
                }
                // Damage with whole frames behind it is no torn tail: it stays for the reader.
                Found::Short(_) | Found::Damaged => at += 1,
            }
        }
        file.set_len((segment::HEAD_BYTES + whole) as u64)?;
        self.end = last.base + whole as u64;
        self.file = Some(file);
        Ok(())
    }
}

fn write_whole(file: &mut File, head: &[u8], payload: &[u8]) -> io::Result<()> {
    let written = file.write_vectored(&[IoSlice::new(head), IoSlice::new(payload)])?;
    if written < head.len() {
        file.write_all(&head[written..])?;
        return file.write_all(payload);
    }
    file.write_all(&payload[written - head.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { segment_bytes: 200, total_bytes: 600 };

    fn length(folder: &Path) -> u64 {
        let segments = Segment::list(folder).unwrap();
        segments.iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).sum()
    }

    /// A chatty container must not fill the disk, and a place in its log must keep its meaning.
    #[test]
    fn rotation_bounds_the_log_and_offsets_only_grow() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), LIMITS).unwrap();
        for time in 0..200 {
            let before = writer.end();
            writer.append(Stream::Stdout, time, b"sixteen bytes ok");
            assert_eq!(writer.end(), before + 40);
            assert!(length(folder.path()) <= LIMITS.total_bytes + 40 + 4 * 24);
        }
        let segments = Segment::list(folder.path()).unwrap();
        assert!(segments.len() > 1 && segments[0].base > 0, "{segments:?}");
        for pair in segments.windows(2) {
            let len = fs::metadata(&pair[0].path).unwrap().len() - 24;
            assert_eq!(pair[0].base + len, pair[1].base, "segments touch");
        }
    }

    /// A writer that was killed leaves half a frame; the next one must not write behind it.
    #[test]
    fn a_torn_tail_is_cut_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let mut writer = Writer::open(folder.path(), limits).unwrap();
        writer.append(Stream::Stdout, 1, b"first");
        let first = writer.end();
        writer.append(Stream::Stderr, 2, b"second");
        let whole = writer.end();
        let path = Segment::list(folder.path()).unwrap()[0].path.clone();
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let mut writer = Writer::open(folder.path(), limits).unwrap();
            let kept = cut as u64;
            let end = if kept >= 24 + first { first } else { 0 };
            assert_eq!(writer.end(), end, "cut at {cut} of {whole}");
            writer.append(Stream::Stdout, 3, b"third");
            let again = Writer::open(folder.path(), limits).unwrap();
            assert_eq!(again.end(), end + 29, "cut at {cut}");
        }
    }

    /// A full disk must neither stop the container nor lose output without a word.
    #[test]
    fn what_cannot_be_written_is_counted_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), LIMITS).unwrap();
        let inner = folder.path().join("away");
        writer.folder = inner.clone();
        writer.append(Stream::Stdout, 1, b"lost");
        writer.append(Stream::Stdout, 1, b"too");
        assert_eq!((writer.lost(), writer.end()), (7, 0));
        fs::create_dir(&inner).unwrap();
        writer.append(Stream::Stdout, 2, b"back");
        let path = &Segment::list(&inner).unwrap()[0].path;
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        assert!(text.contains("7 bytes of output") && text.contains("back"), "{text}");
    }
}
