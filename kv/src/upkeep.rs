//! Upkeep of the engine: space that it does not need goes back.

use std::time::Duration;

use crate::engine::{Engine, EngineStats, Progress};
use crate::error::Error;
use crate::store::Store;

/// How long a step takes, roughly. Clients share cores and disk with it.
const STEP: Duration = Duration::from_millis(5);
/// Slack of the engine that is left alone: it will be used again.
const SLACK_BYTES_MIN: u64 = 64 << 20;

/// Does a step, if the engine takes far more than it needs.
pub(crate) fn step<E: Engine>(store: &Store<E>) -> Result<Progress, Error> {
    let EngineStats { bytes, bytes_in_use, .. } = store.engine().stats();
    let slack = bytes.saturating_sub(bytes_in_use);
    if slack <= bytes_in_use.max(SLACK_BYTES_MIN) {
        return Ok(Progress::Done);
    }
    store.maintain(STEP)
}

/// Does steps until there is nothing left to give back, or `goes_on` says no. Says whether
/// anything moved.
pub(crate) fn all<E: Engine>(store: &Store<E>, goes_on: impl Fn() -> bool) -> Result<bool, Error> {
    let mut moved = false;
    while store.maintain(STEP)? == Progress::More {
        moved = true;
        if !goes_on() {
            break;
        }
    }
    Ok(moved)
}
