//! How many bytes of commands may be under way, by how long commands take.
//!
//! **The problem.** A bound on the number of commands is wrong on every machine but one: fifty
//! thousand small puts are a second's work here and ten seconds' there, and twenty large ones may
//! be a second's on the same disk.
//!
//! **The idea.** The least time that any command took within a tenth of a second is how long the
//! queue before it was (CoDel's insight: what comes in bursts leaves a small least, what stands
//! does not). While that is moderate there is no bound. When it is above [`TARGET`] time after
//! time, there is one: as many bytes as would have taken half of that, and it is looked at again
//! after half a second. When commands are quick again the bound grows, until it is of no use and
//! goes.
//!
//! ```text
//!   least of 100 ms ─── above TARGET, five times ──► bound = under way · (TARGET / 2) / least
//!                   ─── between the two ───────────► stays
//!                   ─── below half of TARGET ──────► grows by an eighth; at the maximum it goes
//! ```
//!
//! It is never less than [`FLOOR_BYTES`], which is about the five thousand small commands that etcd
//! stops at: a disk that is slow for reasons of its own is used as well as it can be.
//!
//! Commands that fail for want of a leader, or time out, say nothing about the queue, and so a
//! cluster that looks for a leader refuses nobody.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Class, pulse};

/// What the quickest command may take.
const TARGET: Duration = Duration::from_millis(500);
/// How often that is looked at.
const WINDOW: Duration = Duration::from_millis(100);
/// How often in turn it must be too much: a disk that hangs for a while lets go of everything at
/// once, which is once or twice.
const PATIENCE: u32 = 5;
/// How long a new bound takes to show what it does.
const PAUSE: Duration = Duration::from_millis(500);
/// What may always be under way.
const FLOOR_BYTES: u64 = 2 << 20;
/// What never is: the store's own bound is below.
const CEILING_BYTES: u64 = 96 << 20;
/// What a command costs beside its bytes.
const COMMAND_BYTES: usize = 128;

/// Decides. It has no clock: times are since the beginning.
#[derive(Debug, Default)]
struct Window {
    limit: Option<u64>,
    /// How often in turn commands have been slow.
    slow: u32,
    /// When the bound was last lowered.
    lowered_at: Option<Duration>,
}

impl Window {
    /// A tenth of a second has ended, in which the quickest command took `least`, if any came to
    /// its end.
    fn close(&mut self, now: Duration, least: Option<Duration>, under_way: u64) {
        let Some(least) = least else { return };
        if least <= TARGET {
            self.slow = 0;
            if least <= TARGET / 2 {
                self.limit = self.limit.map(|limit| limit + limit / 8);
                self.limit = self.limit.filter(|limit| *limit < CEILING_BYTES);
            }
            return;
        }
        self.slow = self.slow.saturating_add(1);
        let is_stale = self.lowered_at.is_none_or(|at| now.saturating_sub(at) >= PAUSE);
        if self.slow < PATIENCE || !is_stale {
            return;
        }
        // In a queue, what it holds and how long it takes are proportional.
        let share = (TARGET / 2).as_secs_f64() / least.as_secs_f64();
        let held = self.limit.map_or(under_way, |limit| limit.min(under_way));
        let limit = (held as f64 * share) as u64;
        self.limit = Some(limit.clamp(FLOOR_BYTES, CEILING_BYTES));
        self.lowered_at = Some(now);
    }
}

/// No bound.
const UNBOUNDED: u64 = u64::MAX;
/// No command has come to its end.
const NONE: u64 = u64::MAX;

/// Commands under way.
pub(super) struct Flow {
    under_way: AtomicUsize,
    limit: AtomicU64,
    /// The least microseconds since the window began.
    least: AtomicU64,
    /// When the window ends, milliseconds since the origin.
    ends: AtomicU64,
    origin: Instant,
    window: Mutex<Window>,
}

/// A command under way.
pub(crate) struct Pass<'a> {
    flow: &'a Flow,
    cost: usize,
    entered: Instant,
}

impl Flow {
    pub(super) fn new(now: Instant) -> Flow {
        Flow {
            under_way: AtomicUsize::new(0),
            limit: AtomicU64::new(UNBOUNDED),
            least: AtomicU64::new(NONE),
            ends: AtomicU64::new(WINDOW.as_millis() as u64),
            origin: now,
            window: Mutex::default(),
        }
    }

    /// Whether a small command would be refused.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        limit != UNBOUNDED && self.under_way.load(Relaxed) as u64 >= limit
    }

    /// The bound, if there is one.
    pub(super) fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Relaxed)).filter(|limit| *limit != UNBOUNDED)
    }

    /// Lets a command in, if there is room.
    pub(super) fn enter(&self, class: Class, bytes: usize) -> Option<Pass<'_>> {
        let cost = bytes + COMMAND_BYTES;
        let before = self.under_way.fetch_add(cost, Relaxed) as u64;
        // From here on it is taken back whatever happens.
        let pass = Pass { flow: self, cost, entered: Instant::now() };
        let limit = self.limit.load(Relaxed);
        let limit = match class {
            Class::Vital => UNBOUNDED,
            Class::Small => limit,
            Class::Large if limit == UNBOUNDED => limit,
            Class::Large => limit / 2,
        };
        // One is let in however large it is, or it would never be.
        (before == 0 || before + cost as u64 <= limit).then_some(pass)
    }

    fn note(&self, took: Duration, now: Instant) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(NONE);
        if micros < self.least.load(Relaxed) {
            self.least.fetch_min(micros, Relaxed);
        }
        let now = now.saturating_duration_since(self.origin);
        if now.as_millis() as u64 >= self.ends.load(Relaxed)
            && let Some(mut window) = self.window.try_lock()
        {
            self.ends.store((now + WINDOW).as_millis() as u64, Relaxed);
            let least = Some(self.least.swap(NONE, Relaxed)).filter(|least| *least != NONE);
            let under_way = self.under_way.load(Relaxed) as u64;
            window.close(now, least.map(Duration::from_micros), under_way);
            self.limit.store(window.limit.unwrap_or(UNBOUNDED), Relaxed);
        }
    }
}

impl Pass<'_> {
    /// The command was done, or refused by the store when its turn came.
    pub(crate) fn done(self) {
        let now = Instant::now();
        // Before it came here, and after it leaves, it waits for its thread.
        let took = now.saturating_duration_since(self.entered) + 2 * pulse::late();
        self.flow.note(took, now);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.flow.under_way.fetch_sub(self.cost, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Closes a window every tenth of a second, each with this least; the time afterwards.
    fn run(
        window: &mut Window,
        from: Duration,
        count: u32,
        least: u64,
        under_way: u64,
    ) -> Duration {
        let mut now = from;
        for _ in 0..count {
            now += WINDOW;
            window.close(now, Some(millis(least)), under_way);
        }
        now
    }

    // A disk that hangs for a moment, or an election, must not cost anybody a refusal.
    #[test]
    fn moments_are_no_overload() {
        let mut window = Window::default();
        let now = run(&mut window, Duration::ZERO, 4, 3000, 50 << 20);
        assert_eq!(window.limit, None);
        let now = run(&mut window, now, 1, 400, 50 << 20);
        let now = run(&mut window, now + millis(60_000), 4, 3000, 50 << 20);
        assert_eq!(window.limit, None, "it began anew");
        // Nothing is done at all while nobody leads, and nothing follows from that.
        window.close(now + millis(60_000), None, 50 << 20);
        assert_eq!(window.limit, None);
    }

    // What stands before everybody for so long does not go by itself.
    #[test]
    fn a_standing_queue_is_cut_to_what_is_done_in_time() {
        let mut window = Window::default();
        let under_way = 40 << 20;
        let now = run(&mut window, Duration::ZERO, 5, 1000, under_way);
        assert_eq!(window.limit, Some(under_way / 4), "a quarter of it takes 250 ms");
        // The queue of before is still there, and is no reason to cut again at once.
        let now = run(&mut window, now, 4, 1000, under_way);
        assert_eq!(window.limit, Some(under_way / 4));
        run(&mut window, now, 1, 1000, under_way);
        assert_eq!(window.limit, Some(under_way / 16).max(Some(FLOOR_BYTES)));
    }

    // Whatever the disk, some commands are let in; and one that has recovered is used.
    #[test]
    fn the_bound_has_a_floor_and_goes_when_it_is_of_no_use() {
        let mut window = Window::default();
        let now = run(&mut window, Duration::ZERO, 100, 7000, 10 << 20);
        assert_eq!(window.limit, Some(FLOOR_BYTES));
        let now = run(&mut window, now, 10, 400, FLOOR_BYTES);
        assert_eq!(window.limit, Some(FLOOR_BYTES), "neither quick nor slow");
        run(&mut window, now, 40, 10, FLOOR_BYTES);
        assert_eq!(window.limit, None);
    }

    // The first to go are the large ones; what keeps leases alive never does.
    #[test]
    fn classes_are_refused_one_after_the_other() {
        let flow = Flow::new(Instant::now());
        flow.limit.store(10_000, Relaxed);
        let first = flow.enter(Class::Small, 4000).expect("there is room");
        assert!(flow.enter(Class::Large, 4000).is_none(), "half of the room is for small ones");
        let second = flow.enter(Class::Small, 4000).expect("there is room");
        assert!(flow.enter(Class::Small, 4000).is_none());
        let vital = flow.enter(Class::Vital, 4000).expect("always");
        assert!(flow.is_full());
        drop((first, second, vital));
        assert_eq!(flow.under_way.load(Relaxed), 0, "whoever is refused leaves nothing behind");
        assert!(flow.enter(Class::Large, 1 << 20).is_some(), "nobody is before it");
    }

    // A flow that took no note of its commands would never refuse one.
    #[test]
    fn commands_that_take_long_make_a_bound() {
        let origin = Instant::now();
        let flow = Flow::new(origin);
        let held: Vec<_> = (0..100).map(|_| flow.enter(Class::Small, 100_000).unwrap()).collect();
        for tenth in 1..=5 {
            flow.note(millis(900), origin + tenth * WINDOW + tenth * millis(1));
        }
        let limit = flow.limit().expect("they were slow five times in turn");
        assert!((FLOOR_BYTES..4 << 20).contains(&limit), "{limit}");
        assert!(flow.is_full());
        drop(held);
        assert!(!flow.is_full());
    }
}
