//! Locks, counters and bells: the system's own, or the model checker's.
//!
//! The queue and the rooms of the readers are small enough to be checked over *every* order in
//! which their threads can run. For that they are compiled against
//! [loom](https://docs.rs/loom) (`--cfg loom`), whose primitives look like these and are scheduled
//! by the checker.

#[cfg(not(loom))]
pub(crate) use self::system::{AtomicU64, Bell, Condvar, Mutex};

#[cfg(all(loom, test))]
pub(crate) use self::model::TIME_PASSES;
#[cfg(loom)]
pub(crate) use self::model::{AtomicU64, Bell, Condvar, Mutex};

#[cfg(not(loom))]
mod system {
    pub(crate) use std::sync::atomic::AtomicU64;

    use std::sync::atomic::{AtomicU32, Ordering};

    pub(crate) use parking_lot::{Condvar, Mutex};

    /// Wakes everyone who listens, with one system call, and hands nobody a lock to queue for.
    #[derive(Debug, Default)]
    pub(crate) struct Bell(AtomicU32);

    impl Bell {
        /// The strokes so far, for [`wait`](Bell::wait).
        pub(crate) fn strokes(&self) -> u32 {
            self.0.load(Ordering::Acquire)
        }

        /// Blocks until there have been other than `heard` strokes. May return early.
        pub(crate) fn wait(&self, heard: u32) {
            atomic_wait::wait(&self.0, heard);
        }

        pub(crate) fn ring(&self) {
            self.0.fetch_add(1, Ordering::Release);
            atomic_wait::wake_all(&self.0);
        }
    }
}

#[cfg(loom)]
mod model {
    pub(crate) use loom::sync::atomic::AtomicU64;

    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    /// As `parking_lot`'s: no poisoning, and a guard that a condition can borrow.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) struct Guard<'a, T> {
        mutex: &'a loom::sync::Mutex<T>,
        held: Option<loom::sync::MutexGuard<'a, T>>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            let held = Some(self.0.lock().expect("a panic ends the model"));
            Guard { mutex: &self.0, held }
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.held.as_deref().expect("held but while waiting")
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.held.as_deref_mut().expect("held but while waiting")
        }
    }

    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    /// Whether a wait with a limit ends by itself at once, or never: what a model knows of time.
    /// What holds in both holds for every limit.
    pub(crate) static TIME_PASSES: std::sync::atomic::AtomicBool =
        std::sync::atomic::AtomicBool::new(true);

    pub(crate) struct TimedOut(bool);

    impl TimedOut {
        pub(crate) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let held = guard.held.take().expect("held but while waiting");
            guard.held = Some(self.0.wait(held).expect("a panic ends the model"));
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut Guard<'_, T>, _: Duration) -> TimedOut {
            let passes = TIME_PASSES.load(std::sync::atomic::Ordering::Relaxed);
            if passes {
                drop(guard.held.take());
                loom::thread::yield_now();
                guard.held = Some(guard.mutex.lock().expect("a panic ends the model"));
            } else {
                self.wait(guard);
            }
            TimedOut(passes)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// A bell as the system's, of parts that the model knows.
    #[derive(Debug)]
    pub(crate) struct Bell {
        strokes: loom::sync::Mutex<u32>,
        rung: loom::sync::Condvar,
    }

    impl Default for Bell {
        fn default() -> Bell {
            Bell { strokes: loom::sync::Mutex::new(0), rung: loom::sync::Condvar::new() }
        }
    }

    impl Bell {
        pub(crate) fn strokes(&self) -> u32 {
            *self.strokes.lock().expect("a panic ends the model")
        }

        pub(crate) fn wait(&self, heard: u32) {
            let mut strokes = self.strokes.lock().expect("a panic ends the model");
            while *strokes == heard {
                strokes = self.rung.wait(strokes).expect("a panic ends the model");
            }
        }

        pub(crate) fn ring(&self) {
            *self.strokes.lock().expect("a panic ends the model") += 1;
            self.rung.notify_all();
        }
    }
}
