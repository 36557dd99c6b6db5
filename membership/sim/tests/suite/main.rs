//! The harness against a protocol of which everything is known.

mod chaos;
mod lifeguard;
mod scenarios;
mod toy;
mod watches;
