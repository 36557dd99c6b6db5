//! Through the public face: what a member keeps, and members as programs use them.

#![cfg_attr(
    feature = "runtime",
    expect(clippy::unwrap_used, reason = "helpers of tests fail the test")
)]

mod memory;
#[cfg(feature = "runtime")]
mod runtime;
