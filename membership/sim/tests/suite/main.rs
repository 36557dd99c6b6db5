//! The harness against a protocol of which everything is known.

mod scenarios;
mod toy;
mod watches;
