//! The harness against a protocol of which everything is known, and ours in twenty scenarios.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod chaos;
mod crowding;
mod faulty;
mod forge;
mod keys;
mod lab;
mod large;
mod leaving;
mod lifeguard;
mod packets;
mod partition;
mod refutation;
mod scenarios;
mod toy;
mod watches;
