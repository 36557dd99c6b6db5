//! Long reads, of which a few are done at once; the others stand in line.
//!
//! A range over everything takes a thread for a while, and there are few. Who stands in line for
//! one is served in order, and is told that there is too much to do when it has taken too long:
//! after [`PATIENCE`], if the line was empty within that time; after a third of it, if the line has
//! been standing for longer, for then it will not empty while everybody waits. A client whose
//! deadline passes, or who goes away, leaves the line, and nothing is read for it.
//!
//! ```text
//!   enter ──► a place is free ─────────────────────────────► read
//!         └─► [ oldest … newest ] ── a place comes free ───► read
//!                  └── waited for too long, or LENGTH_MAX ─► too many requests
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How long one may stand in a line that comes and goes.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many may stand in it.
const LENGTH_MAX: usize = 1024;

thread_local! {
    /// The line of the worker that runs on this thread.
    static LINE: RefCell<Option<Arc<Line>>> = const { RefCell::new(None) };
}

/// Gives the current thread a line before so many places.
pub(crate) fn install(places: usize) {
    LINE.set(Some(Line::new(places)));
}

/// The line of this thread. Who is on no worker's thread has one before a single place to himself.
pub(crate) fn of_this_thread() -> Arc<Line> {
    LINE.with_borrow(Clone::clone).unwrap_or_else(|| Line::new(1))
}

/// A line before some places.
pub(crate) struct Line {
    state: Mutex<State>,
}

struct State {
    /// Places that nobody has.
    free: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
    history: History,
}

/// Whether the line comes and goes, or stands.
struct History {
    /// When nobody stood in it.
    empty_at: Instant,
}

impl History {
    /// How long one may wait who comes now.
    fn patience(&self, now: Instant) -> Duration {
        let stands = now - self.empty_at > PATIENCE;
        if stands { PATIENCE / 3 } else { PATIENCE }
    }
}

/// A place, until it is dropped.
pub(crate) struct Place {
    /// `None` once it was given back.
    line: Option<Arc<Line>>,
}

impl Line {
    /// Before so many places.
    pub(crate) fn new(places: usize) -> Arc<Line> {
        let history = History { empty_at: Instant::now() };
        let waiting = VecDeque::new();
        Arc::new(Line { state: Mutex::new(State { free: places, waiting, history }) })
    }

    /// Waits for a place; `None` if that takes too long.
    pub(crate) async fn enter(self: &Arc<Line>) -> Option<Place> {
        let (called, patience) = {
            let mut state = self.state.lock();
            let now = Instant::now();
            // Who went away is not before anybody.
            while state.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                state.waiting.pop_front();
            }
            if state.waiting.is_empty() {
                state.history.empty_at = now;
                if state.free > 0 {
                    state.free -= 1;
                    return Some(self.place());
                }
            }
            if state.waiting.len() >= LENGTH_MAX {
                return None;
            }
            let (call, called) = oneshot::channel();
            state.waiting.push_back(call);
            (called, state.history.patience(now))
        };
        timeout(patience, called).await.ok()?.ok()
    }

    fn place(self: &Arc<Line>) -> Place {
        Place { line: Some(self.clone()) }
    }

    /// A place came free: it goes to the first who still waits.
    fn call_next(self: Arc<Line>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.waiting.pop_front();
                if state.waiting.is_empty() {
                    state.history.empty_at = Instant::now();
                }
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(self.place()) {
                Ok(()) => return,
                // It is not to be called once more.
                Err(mut place) => place.line = None,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.call_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    async fn wait_in(line: &Arc<Line>) -> tokio::task::JoinHandle<Option<Place>> {
        let line = line.clone();
        let waits = tokio::spawn(async move { line.enter().await });
        tokio::task::yield_now().await;
        waits
    }

    // A read that overtakes another, or a place that is lost, shows here.
    #[tokio::test]
    async fn places_go_to_those_who_stand_in_line_in_order() {
        let line = Line::new(1);
        let first = line.enter().await.expect("it is free");
        let second = wait_in(&line).await;
        let gone = wait_in(&line).await;
        let third = wait_in(&line).await;
        gone.abort();
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().expect("its turn has come");
        assert!(!third.is_finished());
        drop(second);
        let third = third.await.unwrap().expect("who went away keeps nobody waiting");
        drop(third);
        assert!(line.enter().now_or_never().is_some(), "the place is free again");
    }

    // Whoever is late is late for nothing: it is told early that there is too much to do.
    #[test]
    fn in_a_line_that_stands_one_waits_a_third_as_long() {
        let empty_at = Instant::now();
        let history = History { empty_at };
        assert_eq!(history.patience(empty_at), PATIENCE);
        assert_eq!(history.patience(empty_at + PATIENCE), PATIENCE);
        let later = empty_at + PATIENCE + Duration::from_millis(1);
        assert_eq!(history.patience(later), PATIENCE / 3);
    }

    // A flood of long reads must not fill the memory while it waits.
    #[tokio::test]
    async fn a_line_has_an_end() {
        let line = Line::new(1);
        let _place = line.enter().await.expect("it is free");
        let mut waiting = Vec::new();
        for _ in 0..LENGTH_MAX {
            waiting.push(wait_in(&line).await);
        }
        assert!(line.enter().now_or_never().expect("at once").is_none());
    }
}
