//! The slow half of a compaction: taking garbage out of the engine.
//!
//! A compaction has two halves. The first is a command: it moves the oldest readable revision, at
//! once and on every copy of the store. The second is this: the records that nobody can read any
//! more leave the index and the engine, a few keys at a time, so that no write ever waits long.
//! It is not part of the replicated state; a store that is swept and one that is not give the same
//! answers, and a crash in the middle only means that the sweep starts over.
//!
//! A key keeps, of all its records below the compacted revision, the put that is still visible
//! there, if there is one. Of the compacted revision itself everything stays, deletes and puts that
//! it superseded itself included: a watch that starts there has yet to see them.

use crate::engine::{Batch, Space};
use crate::pins::Pins;
use crate::state::State;

/// How many keys one step looks at, which bounds how long it holds the store's lock, and how long a
/// write waits for it in the engine.
pub(crate) const SWEEP_KEYS_MAX: usize = 32;

/// Where a sweep stands.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The compaction that the present pass sweeps for, and the last key it looked at.
    pass: Option<(u64, Option<Vec<u8>>)>,
}

/// What one step does.
pub(crate) struct Step {
    /// What the engine has to forget.
    pub(crate) batch: Batch,
    /// The compaction whose garbage is all gone with it.
    pub(crate) ends: Option<u64>,
}

impl Sweep {
    /// Takes the garbage of the next few keys out of the index, and returns what the engine has to
    /// forget; `None` when there is nothing to sweep. The caller writes the batch.
    pub(crate) fn step(&mut self, state: &mut State, pins: &Pins) -> Option<Step> {
        let compacted = state.compacted?;
        let (target, cursor) = match self.pass.take() {
            Some(pass) => pass,
            None if state.swept >= Some(compacted) => return None,
            None => {
                // A reader may still need what this compaction dropped: sweep up to it, and the
                // rest in a later pass.
                let horizon = pins.oldest().map_or(compacted, |oldest| compacted.min(oldest));
                if state.swept >= Some(horizon) {
                    return None;
                }
                (horizon, None)
            }
        };
        let mut removed = Vec::new();
        let cursor =
            state.index.compact_step(target, cursor.as_deref(), SWEEP_KEYS_MAX, &mut removed);
        let mut batch = Batch::with_capacity(removed.len() + 1);
        for revision in removed {
            batch.delete(Space::Record, &revision.to_bytes());
        }
        if let Some(cursor) = cursor {
            self.pass = Some((target, Some(cursor)));
            return Some(Step { batch, ends: None });
        }
        state.swept = Some(target);
        State::save_swept(target, &mut batch);
        Some(Step { batch, ends: Some(target) })
    }
}
