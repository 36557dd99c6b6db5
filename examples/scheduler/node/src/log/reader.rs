//! Where to begin in a log.

use std::io;
use std::path::PathBuf;

use mason_core::types::UnixMs;
use mason_shim::log::segment::Segment;

use super::{Cursor, Event, Stream};

/// The log of one run.
#[derive(Clone, Debug)]
pub struct Reader {
    folder: PathBuf,
}

impl Reader {
    /// The log in a folder; one that is not there is empty, and cannot be followed.
    pub fn new(folder: PathBuf) -> Reader {
        Reader { folder }
    }

    /// From an offset on; 0 is the beginning. Offsets are those of events, and of
    /// [`Cursor::offset`].
    pub fn from(&self, offset: u64) -> Cursor {
        Cursor::new(&self.folder, offset)
    }

    /// From the oldest that is still there, without a word about what is gone.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn oldest(&self) -> io::Result<Cursor> {
        let first = Segment::list(&self.folder)?.first().map_or(0, |segment| segment.base);
        Ok(self.from(first))
    }

    /// From the first output on that was read at this time or later. Clocks can be set back, so it
    /// is the first in the order of the log.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn since(&self, time: UnixMs) -> io::Result<Cursor> {
        let mut cursor = self.oldest()?;
        loop {
            let offset = cursor.offset();
            match cursor.read()? {
                Some(Event::Output { time: at, .. }) if at < time => {}
                Some(Event::Gone { .. } | Event::Damaged { .. }) => {}
                Some(_) | None => return Ok(self.from(offset)),
            }
        }
    }

    /// The last lines, of both streams as they were printed, and a cursor behind them. A line
    /// begins in the middle of a piece of output often; so the first piece may be cut, and its
    /// offset is that of the whole piece.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn tail(&self, lines: usize) -> io::Result<(Vec<Event>, Cursor)> {
        let segments = Segment::list(&self.folder)?;
        // Newer files are read first, and older ones only while lines are missing.
        for segment in segments.iter().rev() {
            let (events, cursor) = self.read_from(segment.base)?;
            if breaks(&events) > lines || segment.base == segments[0].base {
                return Ok((cut(events, lines), cursor));
            }
        }
        Ok((Vec::new(), self.from(0)))
    }

    /// The last bytes that it printed, on stdout alone or on both streams.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn tail_bytes(&self, bytes: usize, stdout_only: bool) -> io::Result<Vec<u8>> {
        let segments = Segment::list(&self.folder)?;
        for segment in segments.iter().rev() {
            let (events, _) = self.read_from(segment.base)?;
            let mut found = Vec::new();
            for event in &events {
                let Event::Output { stream, bytes, .. } = event else { continue };
                let wanted = *stream == Stream::Stdout || *stream == Stream::Stderr && !stdout_only;
                if wanted {
                    found.extend_from_slice(bytes);
                }
            }
            if found.len() >= bytes || segment.base == segments[0].base {
                return Ok(found.split_off(found.len().saturating_sub(bytes)));
            }
        }
        Ok(Vec::new())
    }

    fn read_from(&self, offset: u64) -> io::Result<(Vec<Event>, Cursor)> {
        let mut cursor = self.from(offset);
        let mut events = Vec::new();
        while let Some(event) = cursor.read()? {
            if event == Event::End {
                break;
            }
            events.push(event);
        }
        let behind = self.from(cursor.offset());
        Ok((events, if cursor.is_over() { cursor } else { behind }))
    }
}

fn output(event: &Event) -> &[u8] {
    match event {
        Event::Output { bytes, .. } => bytes,
        _ => b"",
    }
}

fn breaks(events: &[Event]) -> usize {
    events.iter().flat_map(output).filter(|&&byte| byte == b'\n').count()
}

/// Keeps the last lines, and what is told about them.
fn cut(mut events: Vec<Event>, lines: usize) -> Vec<Event> {
    // The last line need not have an end.
    let open = events.iter().rev().map(output).find(|bytes| !bytes.is_empty());
    let open = open.is_some_and(|bytes| bytes.last() != Some(&b'\n'));
    let mut skip = (breaks(&events) + usize::from(open)).saturating_sub(lines);
    let mut first = 0;
    for (at, event) in events.iter_mut().enumerate() {
        if skip == 0 {
            break;
        }
        first = at;
        let Event::Output { bytes, .. } = event else { continue };
        while skip > 0
            && let Some(end) = bytes.iter().position(|&byte| byte == b'\n')
        {
            bytes.drain(..=end);
            skip -= 1;
        }
        if skip > 0 || bytes.is_empty() {
            first = at + 1;
        }
    }
    events.split_off(first.min(events.len()))
}
