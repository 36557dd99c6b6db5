//! What each kind of work needs.

pub mod retry;
