//! Members as programs use them.

#![cfg_attr(
    feature = "runtime",
    expect(clippy::unwrap_used, reason = "helpers of tests fail the test")
)]

#[cfg(feature = "runtime")]
mod runtime;
