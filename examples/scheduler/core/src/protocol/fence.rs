//! When an agent that cannot reach the store must have killed its strict runs.
//!
//! ```text
//!   agent   ──── asks at t0 ──────────────── fence: t0 + TTL - MARGIN ─► kills ─► all dead
//!                    \                                                             │ before
//!   store             └─ renews at t1 >= t0 ──────── expires at t1 + TTL ───────▼─► lost, rebound
//! ```
//!
//! The store renews the lease at some moment after the agent asked. Counting from when it *asked*
//! is therefore safe whatever the network did, and no clock is compared with another: only their
//! rates matter. The margin covers rates that differ by a tenth over the whole TTL, and the kill.

use crate::types::Ms;

/// How long a node's lease lasts without a word of its agent.
pub const TTL: Ms = 15_000;
/// How much earlier than that its strict runs are killed.
pub const MARGIN: Ms = 5_000;
/// How often an agent renews its lease.
pub const RENEW: Ms = 3_000;
/// Clocks of different machines run at the same rate within one part in so many.
pub const RATE_ERROR: Ms = 10;
/// A kernel delivers SIGKILL, and a process is gone, within this.
pub const KILL: Ms = 2_000;

// The slowest agent's margin still holds the error of its clock and the kill.
const _: () =
    assert!((TTL - MARGIN) + (TTL - MARGIN) / RATE_ERROR + KILL <= TTL - TTL / RATE_ERROR);
const _: () = assert!(RENEW * 3 <= TTL - MARGIN, "two renewals may be lost");

/// When strict runs must be killed, by the agent's monotonic clock: `asked` is when it sent the
/// last renewal that was granted.
pub fn deadline(asked: Ms) -> Ms {
    asked + TTL - MARGIN
}
