//! What belongs together at one instant: the state, and the engine that its records lie in.
//!
//! **The problem.** A state names records by revision; they must be looked for in the engine that
//! the state was made over. A store can be given another engine while it is read
//! (`Store::replace`), and a read takes the store's lock in turns.
//!
//! **The idea.** State and engine change under one lock. A read takes a [`Grip`] on what it began
//! with, which costs one reference, and at each later turn asks whether that still stands:
//!
//! ```text
//!   turn 1   index of A ──► records of A          Grip { engine A, pin at 7 }
//!                                                        │ replace
//!   turn 2   index of B: is 7 readable there?            ▼
//!            yes ──► records of B, which are the same    Grip { engine B, pin at 7 }
//!            no  ──► refused as compacted
//! ```
//!
//! What happened at a revision is the same in every state that knows it, so a read that goes on in
//! another state at its own revision returns what it would have returned.

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Refusal;
use crate::pins::{Pin, Pins};
use crate::state::State;

/// A state, its engine, and the revisions that are being read in them. Lives under the store's
/// lock.
pub(crate) struct Held<E> {
    pub(crate) state: State,
    pub(crate) engine: Arc<E>,
    /// Go with the state: a pin holds back the sweep of the engine that it was taken on.
    pub(crate) pins: Pins,
}

impl<E: Engine> Held<E> {
    pub(crate) fn new(state: State, engine: Arc<E>) -> Held<E> {
        Held { state, engine, pins: Pins::default() }
    }

    /// Keeps the engine, and in it everything that is visible at `at`, which must be readable.
    pub(crate) fn grip(&self, at: u64) -> Grip<E> {
        Grip { engine: Arc::clone(&self.engine), _pin: self.pins.pin(at) }
    }

    /// Whether `grip` is on what is held now.
    pub(crate) fn has(&self, grip: &Grip<E>) -> bool {
        Arc::ptr_eq(&self.engine, &grip.engine)
    }

    /// Moves a grip to what is held now, if that is something else.
    ///
    /// # Errors
    ///
    /// If `at`, which the grip is on, cannot be read here.
    pub(crate) fn renew(&self, grip: &mut Grip<E>, at: u64) -> Result<(), Refusal> {
        if !self.has(grip) {
            self.state.readable(Some(at), self.state.revision)?;
            *grip = self.grip(at);
        }
        Ok(())
    }
}

/// A read's hold on the engine it looks into, and on what it needs there.
pub(crate) struct Grip<E> {
    engine: Arc<E>,
    _pin: Pin,
}

impl<E> Grip<E> {
    pub(crate) fn engine(&self) -> &E {
        &self.engine
    }
}
