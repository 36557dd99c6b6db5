//! The lines that people read: one for each part, its offset first.

use std::fmt;

use crate::inspect::{End, File, Frame, FrameKind, Header, Part, Role};

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let size = self.bytes.map_or("unreadable".into(), |bytes| format!("{bytes} bytes"));
        let role = match self.role {
            Role::Segment(id) => format!("segment {id}"),
            Role::Spare => "spare, not part of the log".into(),
            Role::Cut => "shorter edition of a segment, unfinished cut".into(),
            Role::Lock => "lock".into(),
            Role::Foreign => "not the log's".into(),
        };
        write!(f, "{name}: {role}, {size}")
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}  header  ", 0)?;
        match self {
            Header::Sound(h) => write!(
                f,
                "log {:016x}, segment {}, creation {}, records from {}, needs segments from {}, \
                 previous ends at {}, born with {} bytes, made {} bytes long",
                h.log_id,
                h.segment,
                h.creation,
                h.first_lsn,
                h.start_segment,
                h.previous_end,
                h.born_end,
                h.capacity
            ),
            Header::Damaged { reason, readable: true } => {
                write!(f, "{reason}; the frames tell how to read them")
            }
            Header::Damaged { reason, readable: false } => write!(f, "{reason}"),
            Header::Unsupported { version } => write!(f, "format version {version}, not ours"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Frame(frame) => frame.fmt(f),
            Part::Zeros { offset, bytes } => write!(f, "{offset:>10}  zeros   {bytes} bytes"),
            Part::Damaged { offset, bytes, expected, reason } => write!(
                f,
                "{offset:>10}  unsound {bytes} bytes: {reason}, record {expected} expected"
            ),
            Part::End(end) => end.fmt(f),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { offset, kind, lsn, durable, len } = self;
        write!(f, "{offset:>10}  ")?;
        match kind {
            FrameKind::Record => write!(f, "record  {lsn}, {len} bytes, {durable} was durable, "),
            FrameKind::GroupEnd => write!(f, "record  {lsn}, {len} bytes, {durable} was durable"),
            FrameKind::Close => write!(f, "close   after record {lsn}"),
            FrameKind::Start(id) => write!(f, "start   segments before {id} may be gone"),
            FrameKind::Next => write!(f, "next    after record {lsn}, another segment follows"),
        }?;
        if *kind == FrameKind::Record { f.write_str("group goes on") } else { Ok(()) }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}  end     {} records", self.bytes, self.records)?;
        if self.holes > 0 {
            let places = if self.holes == 1 { "place" } else { "places" };
            write!(f, ", {} damaged {places} between", self.holes)?;
        }
        write!(f, ", frames end at {}", self.frames_end)?;
        f.write_str(if self.closed { ", closed" } else { "" })?;
        f.write_str(if self.succeeded { ", another segment follows" } else { "" })?;
        f.write_str(if self.short { ", FILE IS SHORTER THAN MADE" } else { "" })
    }
}
