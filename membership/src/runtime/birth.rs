//! What a life begins with: a number that is higher than that of the life before, and chance.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::TryRng;
use rand::rngs::SysRng;

use super::error::{Error, Result};

/// Seconds since 1970. If the clock was set back since the last life, the cluster notices that the
/// number is too low, and says so.
#[expect(clippy::disallowed_methods, reason = "a life is numbered once, by the clock on the wall")]
pub(super) fn life() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX - 1)
}

/// 64 bits from the operating system.
pub(super) fn seed() -> Result<u64> {
    SysRng.try_next_u64().map_err(|error| Error::Seed(error.to_string()))
}
