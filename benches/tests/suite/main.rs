//! The load generator against servers whose behaviour is known.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod load;
mod server;
