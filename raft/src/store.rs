//! The log, the vote and the term of many groups, on disk.

mod record;

pub use record::GroupId;
