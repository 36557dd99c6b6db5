//! What every disk promises, and what the hostile one does on top.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod conformance;
mod crash;
mod model;
