//! The suites of the consensus core.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod basics;
mod elections;
mod flow;
mod lab;
mod log_safety;
mod membership;
mod reading;
