//! Upkeep of the engine: space that it does not need goes back.

use std::time::Duration;

use crate::engine::{Engine, EngineStats, Progress};
use crate::error::Error;
use crate::store::Store;

/// How long a step takes, roughly. Clients share cores and disk with it.
const STEP: Duration = Duration::from_millis(5);
/// Slack of the engine that is left alone: it will be used again. Where less than this part of the
/// disk's free room would come of it, less.
const SLACK_BYTES_MIN: u64 = 64 << 20;
const FREE_PART: u64 = 4;

/// Does a step, if the engine takes far more than it needs; `free` bytes are there beside it.
pub(crate) fn step<E: Engine>(store: &Store<E>, free: u64) -> Result<Progress, Error> {
    if !has_slack(store, free) {
        return Ok(Progress::Done);
    }
    let bytes = store.engine().stats().bytes;
    if bytes < free { store.maintain(STEP) } else { store.lighten(STEP) }
}

/// Whether the engine takes far more than it needs.
pub(crate) fn has_slack<E: Engine>(store: &Store<E>, free: u64) -> bool {
    let EngineStats { bytes, bytes_in_use, .. } = store.engine().stats();
    let slack = bytes.saturating_sub(bytes_in_use);
    slack > bytes_in_use.max(SLACK_BYTES_MIN.min(free / FREE_PART))
}

/// Does steps until there is nothing left to give back, or `goes_on` says no. Says whether
/// anything moved.
pub(crate) fn all<E: Engine>(
    store: &Store<E>,
    free: u64,
    goes_on: impl Fn() -> bool,
) -> Result<bool, Error> {
    let mut moved = false;
    let step = || match store.engine().stats().bytes < free {
        true => store.maintain(STEP),
        false => store.lighten(STEP),
    };
    while step()? == Progress::More {
        moved = true;
        if !goes_on() {
            break;
        }
    }
    Ok(moved)
}
