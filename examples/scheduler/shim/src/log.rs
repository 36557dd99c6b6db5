//! What a container printed, in files that can be followed, cut and trusted.
//!
//! # Problem
//! Output is bytes, not lines, in two streams whose order matters; it can be endless; its writer
//! can be killed in the middle of a write; and whoever reads it later asks for "the last hundred
//! lines" or "from where I was".
//!
//! # Idea
//! Each piece that was read from a pipe is one [frame] with a checksum, the time and its
//! stream. Frames fill [segments](segment); when one is full the next begins, and the oldest goes
//! when all are too long together. A place in the log is an offset, counted in bytes of frames
//! since the container started: it only grows, and means the same after rotation.
//!
//! ```text
//!   log/0000000000000000.log   0000000000400000.log   0000000000800000.log
//!       │ header │ frame │ frame │ …   named by the offset of its first frame
//! ```
//!
//! # What is promised
//! * What was read from the pipe is kept byte for byte, until it is rotated away.
//! * A writer that is killed leaves at most one torn frame, at the end; whoever opens the log for
//!   writing next cuts it off.
//! * A disk that is full never stops the container: what cannot be written is counted, and a frame
//!   says how much is missing as soon as there is room.
//! * The last frame of a log that is over says so, so that a follower knows.
//!
//! Nothing is synced: a machine that loses power may lose the last seconds.

pub mod frame;

pub mod segment;

mod writer;

pub use frame::Stream;
pub use segment::Segment;
pub use writer::{Limits, Writer};
