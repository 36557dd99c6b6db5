//! How late a worker gets to what has been there for it.
//!
//! A worker does one thing after the other. While it has thousands of them to do, whatever comes
//! waits for all; nothing on the way measures that, for what waits has not begun. So each worker
//! has a task that sleeps for a moment, and looks how much later than it wanted it was woken. The
//! least of that within half a second is what everything waits here.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Class;

/// How long the task sleeps.
const BEAT: Duration = Duration::from_millis(50);
/// The least is that of so long.
const WINDOW: Duration = Duration::from_millis(500);
/// And of so many beats.
const BEATS_MIN: u32 = 3;
/// What large requests, and small ones, may have to wait.
const LARGE_LATE: Duration = Duration::from_millis(250);
const SMALL_LATE: Duration = Duration::from_millis(500);

thread_local! {
    /// How late this thread is.
    static LATE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How late this thread is.
pub(super) fn late() -> Duration {
    LATE.get()
}

/// Whether this thread is too late for a request of this class.
pub(super) fn is_late(class: Class) -> bool {
    let late = LATE.get();
    match class {
        Class::Vital => false,
        Class::Small => late > SMALL_LATE,
        Class::Large => late > LARGE_LATE,
    }
}

/// Measures the current thread for as long as its runtime runs, in whose context this must be
/// called.
pub(crate) fn install() {
    tokio::spawn(async {
        let mut least = Least::new(Instant::now());
        loop {
            let due = Instant::now() + BEAT;
            sleep_until(due).await;
            let now = Instant::now();
            if let Some(late) = least.note(now, now.saturating_duration_since(due)) {
                LATE.set(late);
            }
        }
    });
}

/// The least of what was noted within a while.
struct Least {
    begun: Instant,
    least: Option<Duration>,
    beats: u32,
}

impl Least {
    fn new(now: Instant) -> Least {
        Least { begun: now, least: None, beats: 0 }
    }

    /// Takes note; what the least was, if a while has passed.
    fn note(&mut self, now: Instant, late: Duration) -> Option<Duration> {
        let least = self.least.map_or(late, |least| least.min(late));
        (self.least, self.beats) = (Some(least), self.beats + 1);
        // One beat may take longer than the while, and says nothing by itself: a machine may have
        // stood still.
        let is_over = now - self.begun > WINDOW && self.beats >= BEATS_MIN;
        is_over.then(|| {
            *self = Least::new(now);
            least
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A process that was stopped for a minute is no overloaded one.
    #[test]
    fn one_late_beat_is_none() {
        let start = Instant::now();
        let mut least = Least::new(start);
        let (mut now, mut told) = (start, Vec::new());
        for beat in 0..20 {
            let late = if beat == 0 { Duration::from_secs(60) } else { Duration::ZERO };
            now += BEAT + late;
            told.extend(least.note(now, late));
        }
        assert!(!told.is_empty());
        assert!(told.iter().all(Duration::is_zero), "{told:?}");
    }

    // What every beat shows is how long everything waits.
    #[test]
    fn a_thread_that_is_always_late_is_late() {
        let start = Instant::now();
        let mut least = Least::new(start);
        let (mut now, mut told) = (start, Vec::new());
        for beat in 0..10 {
            let late = Duration::from_millis(300 + beat);
            now += BEAT + late;
            told.extend(least.note(now, late));
        }
        assert_eq!(told[0], Duration::from_millis(300));
        LATE.set(told[0]);
        assert!(is_late(Class::Large) && !is_late(Class::Small) && !is_late(Class::Vital));
        LATE.set(Duration::from_secs(2));
        assert!(is_late(Class::Small) && !is_late(Class::Vital));
    }
}
