//! The harness against a protocol of which everything is known.

mod chaos;
mod scenarios;
mod toy;
mod watches;
