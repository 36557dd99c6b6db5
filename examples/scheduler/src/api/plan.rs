//! Plan: what an apply would do.

mod diff;

pub(super) use diff::differences;
