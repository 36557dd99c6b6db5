//! Holds the compiled interface against etcd's, as written down by hand.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod client;
mod numbers;
mod wire;
