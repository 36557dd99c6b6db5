//! The load generator against servers whose behaviour is known, and the comparison of our server
//! with itself.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod load;
mod server;
mod versus;
