//! Locks and counters: the system's own, or the model checker's.
//!
//! The memtable's list and the ratchet that publishes writes are small enough to be checked over
//! *every* order in which a few threads can run. For that they are compiled against
//! [loom](https://docs.rs/loom) (`--cfg loom`), whose primitives look like these and are scheduled
//! by the checker.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(not(loom))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard as Guard};

#[cfg(loom)]
pub(crate) use self::model::{AtomicU32, AtomicU64, Condvar, Guard, Mutex};

#[cfg(loom)]
mod model {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64};

    use std::ops::{Deref, DerefMut};

    /// As `parking_lot`'s: no poisoning, and a guard that a condition can borrow.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) struct Guard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(self.0.lock().expect("a panic ends the model")))
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_deref().expect("held but while waiting")
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_deref_mut().expect("held but while waiting")
        }
    }

    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let held = guard.0.take().expect("held but while waiting");
            guard.0 = Some(self.0.wait(held).expect("a panic ends the model"));
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
