//! Reads what a container printed: the last lines, from a place on, as it comes.
//!
//! The log itself, and what is promised about it, is `mason_shim::log`. Reading it has three
//! difficulties, and each is told, never hidden:
//!
//! * The beginning may have been rotated away: [`Event::Gone`].
//! * A disk may have damaged the middle: [`Event::Damaged`], with file and offset; the reader goes
//!   on at the next frame that is whole.
//! * The end may not be there yet: what looks like a torn frame at the end of the newest file is
//!   being written, until the log says that it is over.
//!
//! ```text
//!   Reader ── all, from an offset, tail ──► Cursor ── read ──► Event
//!                                             └── wait: inotify on the folder
//! ```

mod cursor;
mod reader;

pub use cursor::{Cursor, Event};
pub use mason_shim::log::Stream;
pub use reader::Reader;

#[cfg(test)]
mod tests;
