//! The clock from which fences are counted.

use mason_core::types::Ms;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine started, the time that it slept among them: a lease runs out in
/// the store while the machine sleeps, and so must whatever is derived from it.
pub fn now() -> Ms {
    let time = clock_gettime(ClockId::Boottime);
    let part = |n: i64| Ms::try_from(n).expect("a machine starts before it asks");
    part(time.tv_sec) * 1000 + part(time.tv_nsec) / 1_000_000
}
