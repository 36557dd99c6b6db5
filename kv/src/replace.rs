//! Putting another engine's state in place of a store's own, under its readers and watchers.
//!
//! **The problem.** A copy that is too far behind is given a whole state ([`crate::checkpoint`]).
//! Clients hold on to its store all the while: they read, and wait for changes, some of which the
//! copy has never seen one by one.
//!
//! **The idea.** The new state is another point of the same history. Everything that looks into a
//! store is a position in that history, so it can go on from its position, or is told that the
//! position is compacted away, as it would be by any compaction:
//!
//! ```text
//!   revision      1 ── 2 ── 3 ── 4 ── 5 ── 6 ── 7 ── 8 ── 9
//!   old state     ├──────────────┤    │              │
//!   new state                    │    ├──────────────┤
//!                 │              │    compacted       newest
//!                 a range at 3,  a synced watcher: next is 5, read from the new history;
//!                 refused at     had the compaction been at 6, it would be canceled
//!                 its next turn
//! ```
//!
//! | who | what becomes of it |
//! |---|---|
//! | a read within one turn | ends in the old engine, which stays until it is done |
//! | a read in turns | goes on at its revision in the new state, or is refused as compacted |
//! | a hash | begins over |
//! | a synced watcher | lags, and reads what it has not seen from the new history |
//! | a watcher of the future | waits on |
//! | a sweep | begins over; pins of the old engine do not hold it back |

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::Engine;
use crate::error::Error;
use crate::held::Held;
use crate::state::State;
use crate::store::Store;
use crate::sweep::Sweep;

impl<E: Engine> Store<E> {
    /// Puts the state that `engine` holds in place of what there is. Takes as long as
    /// [`Store::open`]; readers and [`Store::apply`] are kept waiting for an instant only.
    ///
    /// The state must be of the same history: of the same commands, further on. The engine that was
    /// there is dropped with the last read in it ([`Store::engine`], taken before, tells when). A
    /// store that has given up after a failure of its engine is usable again.
    ///
    /// # Errors
    ///
    /// [`Error::Behind`] if it stands before what this store has shown. Otherwise those of
    /// [`Store::open`]. The store is then as it was.
    pub fn replace(&self, engine: E) -> Result<(), Error> {
        let state = State::load(&engine)?;
        let engine = Arc::new(engine);
        let turn = self.writer.lock();
        let mut sweep = self.sweep.lock();
        let mut held = self.held.write();
        self.check_not_behind(&held.state, &state)?;
        let revision = state.revision;
        *sweep = Sweep::default();
        *self.engine.write() = Arc::clone(&engine);
        self.auth_epoch.store(state.auth.epoch(), Ordering::Release);
        let old = std::mem::replace(&mut *held, Held::new(state, engine));
        self.broken.store(false, Ordering::Release);
        drop(held);
        drop(sweep);
        // Published first, told after; and still in the writer's turn, since the next group's
        // changes are told to those who have heard of these.
        self.hub.pass(revision);
        drop(turn);
        // An index of millions of keys takes its time to go, and keeps nobody waiting.
        drop(old);
        Ok(())
    }

    /// Time does not run backwards for anyone who looks into a store.
    fn check_not_behind(&self, old: &State, new: &State) -> Result<(), Error> {
        // Once the engine has failed, what is in memory may be ahead of all that was ever shown:
        // what was shown is what the watchers were told.
        let newest = self.hub.notified();
        let applied = if self.check_usable().is_ok() { old.applied } else { 0 };
        if new.revision < newest || new.applied < applied {
            let (found_revision, found_applied) = (new.revision, new.applied);
            return Err(Error::Behind { revision: newest, applied, found_revision, found_applied });
        }
        Ok(())
    }
}
