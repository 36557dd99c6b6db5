//! How many bytes of commands may be under way, by how long commands take.
//!
//! **The problem.** A bound on the number of commands is wrong on every machine but one: fifty
//! thousand small puts are a second's work here and ten seconds' there, and twenty large ones may
//! be a second's on the same disk. And a bound that is found when things are slow comes too late:
//! what was let in by then stands in the log, before everything else.
//!
//! **The idea.** What is under way is what has been shown to be done in time. The bound begins low
//! ([`START_BYTES`]), and doubles as long as it is in somebody's way and commands are quick, but
//! never beyond what is done in [`TARGET`] at the rate of late. Whatever does not fit waits before
//! the log, in the [lobby](super::lobby), where it is in nobody's way.
//!
//! How quick commands are is told by the least time that any took within a tenth of a second: that
//! is how long the queue before it was (CoDel's insight: what comes in bursts leaves a small least,
//! what stands does not). When even that is above [`TARGET`] time after time, the bound falls to as
//! many bytes as would have taken half of it.
//!
//! ```text
//!   least of 100 ms ─── above TARGET, five times ──► bound = under way · (TARGET / 2) / least
//!                   ─── between ───────────────────► stays
//!                   ─── below half of TARGET ──────► comes back to START_BYTES, by eighths
//!                   ─── below a quarter, and ──────► doubles, up to what was done in these 100 ms
//!                       somebody had to wait          · (TARGET / 100 ms)
//! ```
//!
//! What was shown [`MEMORY`] ago shows nothing any more: a bound that has been in nobody's way for
//! so long falls back to where it began. It is never less than [`FLOOR_BYTES`], which is about the
//! five thousand small commands that etcd stops at: a disk that is slow for reasons of its own is
//! used as well as it can be.
//!
//! Where several members share a disk, or hand their commands on to one leader, each has a bound of
//! its own, and each shows what its own share of the rate is.
//!
//! Commands that fail for want of a leader, or time out, say nothing about the queue, and so a
//! cluster that looks for a leader refuses nobody for being slow.

use std::pin::Pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::lobby::{Lobby, Place};
use super::{Class, pulse};

/// What the quickest command may take.
const TARGET: Duration = Duration::from_millis(500);
/// What it takes while there is room for more.
const QUICK: Duration = Duration::from_millis(125);
/// How often that is looked at.
const WINDOW: Duration = Duration::from_millis(100);
/// How often in turn it must be too much: a disk that hangs for a while lets go of everything at
/// once, which is once or twice.
const PATIENCE: u32 = 5;
/// How long a new bound takes to show what it does.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a bound stands that is in nobody's way.
const MEMORY: Duration = Duration::from_secs(10);
/// What may be under way while nothing was shown yet.
const START_BYTES: u64 = 4 << 20;
/// What may always be under way.
const FLOOR_BYTES: u64 = 2 << 20;
/// What never is: the store's own bound is not far above.
const CEILING_BYTES: u64 = 48 << 20;
/// What a command costs beside its bytes.
const COMMAND_BYTES: usize = 128;

const _: () = assert!(FLOOR_BYTES <= START_BYTES && START_BYTES <= CEILING_BYTES);

/// Decides. It has no clock: times are since the beginning.
///
/// * The bound is between the floor and the ceiling.
#[derive(Debug)]
struct Window {
    limit: u64,
    /// How often in turn commands have been slow.
    slow: u32,
    /// When the bound was last lowered.
    lowered_at: Option<Duration>,
    /// When it was last in somebody's way.
    pressed_at: Duration,
    /// When it was last looked at.
    closed_at: Duration,
}

/// What was seen since the bound was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What the quickest command took, if any came to its end.
    least: Option<Duration>,
    /// Bytes of those that did.
    done: u64,
    /// Bytes that are under way now.
    under_way: u64,
    /// Somebody had to wait.
    pressed: bool,
}

impl Default for Window {
    fn default() -> Window {
        let (pressed_at, closed_at) = (Duration::ZERO, Duration::ZERO);
        Window { limit: START_BYTES, slow: 0, lowered_at: None, pressed_at, closed_at }
    }
}

impl Window {
    /// A tenth of a second has ended, or more if nothing came to its end.
    fn close(&mut self, now: Duration, seen: Seen) {
        let lasted = now.saturating_sub(self.closed_at).max(WINDOW);
        self.closed_at = now;
        if seen.pressed {
            self.pressed_at = now;
        }
        let Some(least) = seen.least else { return };
        if least > TARGET {
            return self.lower(now, least, seen.under_way);
        }
        self.slow = 0;
        if seen.pressed && least <= QUICK {
            let shown = seen.done as f64 * (TARGET.as_secs_f64() / lasted.as_secs_f64());
            self.limit = self.limit.max((2 * self.limit).min(shown as u64)).min(CEILING_BYTES);
        }
        if self.limit < START_BYTES && least <= TARGET / 2 {
            self.limit = (self.limit + self.limit / 8).min(START_BYTES);
        } else if now.saturating_sub(self.pressed_at) > MEMORY {
            self.limit = self.limit.min(START_BYTES);
        }
    }

    /// Even the quickest has taken too long.
    fn lower(&mut self, now: Duration, least: Duration, under_way: u64) {
        self.slow = self.slow.saturating_add(1);
        let is_stale = self.lowered_at.is_none_or(|at| now.saturating_sub(at) >= PAUSE);
        if self.slow < PATIENCE || !is_stale {
            return;
        }
        // In a queue, what it holds and how long it takes are proportional.
        let share = (TARGET / 2).as_secs_f64() / least.as_secs_f64();
        let limit = (self.limit.min(under_way) as f64 * share) as u64;
        self.limit = limit.clamp(FLOOR_BYTES, CEILING_BYTES);
        self.lowered_at = Some(now);
    }
}

/// Whether a command of this cost may join those that are under way.
fn fits(class: Class, cost: u64, under_way: u64, limit: u64) -> bool {
    match class {
        Class::Vital => true,
        // One is let in however large it is, or it would never be.
        Class::Small => under_way == 0 || under_way + cost <= limit,
        // Half of the room is for small ones, of which some may always be under way.
        Class::Large => under_way <= limit / 8 || under_way + cost <= limit / 2,
    }
}

/// No command has come to its end.
const NONE: u64 = u64::MAX;

/// Commands under way, and those that wait to be.
pub(super) struct Flow {
    under_way: AtomicU64,
    limit: AtomicU64,
    /// The least microseconds since the window began.
    least: AtomicU64,
    /// Bytes done since then.
    done: AtomicU64,
    /// Whether anybody had to wait since then.
    pressed: AtomicBool,
    /// When the window ends, milliseconds since the origin.
    ends: AtomicU64,
    origin: Instant,
    window: Mutex<Window>,
    lobby: Lobby,
}

/// A command under way.
pub(crate) struct Pass<'a> {
    flow: &'a Flow,
    cost: u64,
    entered: Instant,
}

/// A command that waits for room. Dropped, it does so no more.
pub(super) struct Wait<'a> {
    flow: &'a Flow,
    place: Place,
    cost: u64,
    entered: bool,
}

fn cost_of(bytes: usize) -> u64 {
    (bytes + COMMAND_BYTES) as u64
}

impl Flow {
    pub(super) fn new(now: Instant) -> Flow {
        Flow {
            under_way: AtomicU64::new(0),
            limit: AtomicU64::new(START_BYTES),
            least: AtomicU64::new(NONE),
            done: AtomicU64::new(0),
            pressed: AtomicBool::new(false),
            ends: AtomicU64::new(WINDOW.as_millis() as u64),
            origin: now,
            window: Mutex::default(),
            lobby: Lobby::default(),
        }
    }

    /// The bound.
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lobby.count()
    }

    /// Whether there is no room even to wait.
    pub(super) fn is_full(&self, class: Class) -> bool {
        self.lobby.is_full(class)
    }

    /// Lets a command in, if there is room and nobody was before it.
    pub(super) fn enter(&self, class: Class, bytes: usize) -> Option<Pass<'_>> {
        let cost = cost_of(bytes);
        let may = !self.lobby.is_before(class) && self.take(class, cost);
        may.then(|| self.pass(cost))
    }

    /// Stands in line for room; `None` if the line is too long.
    pub(super) fn wait(&self, class: Class, bytes: usize) -> Option<Wait<'_>> {
        let cost = cost_of(bytes);
        let place = self.lobby.join(class, cost)?;
        self.pressed.store(true, Relaxed);
        let wait = Wait { flow: self, place, cost, entered: false };
        // Room may have come while it was on its way into the line.
        self.call_in();
        Some(wait)
    }

    fn pass(&self, cost: u64) -> Pass<'_> {
        Pass { flow: self, cost, entered: Instant::now() }
    }

    /// Takes room, if there is any. Whoever does must give it back.
    fn take(&self, class: Class, cost: u64) -> bool {
        let limit = self.limit.load(SeqCst);
        let with = |before| fits(class, cost, before, limit).then_some(before + cost);
        self.under_way.fetch_update(SeqCst, SeqCst, with).is_ok()
    }

    fn give_back(&self, cost: u64) {
        self.under_way.fetch_sub(cost, SeqCst);
        self.call_in();
    }

    /// Lets in those who wait, as far as there is room. Who joins the line looks for room after
    /// that, and who gives room back looks at the line after that: one of them sees the other.
    fn call_in(&self) {
        if self.lobby.count() > 0 {
            self.lobby.call(|class, cost| self.take(class, cost));
        }
    }

    fn note(&self, took: Duration, cost: u64, now: Instant) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(NONE);
        if micros < self.least.load(Relaxed) {
            self.least.fetch_min(micros, Relaxed);
        }
        self.done.fetch_add(cost, Relaxed);
        let now = now.saturating_duration_since(self.origin);
        if now.as_millis() as u64 >= self.ends.load(Relaxed)
            && let Some(mut window) = self.window.try_lock()
        {
            self.ends.store((now + WINDOW).as_millis() as u64, Relaxed);
            let least = Some(self.least.swap(NONE, Relaxed)).filter(|least| *least != NONE);
            let seen = Seen {
                least: least.map(Duration::from_micros),
                done: self.done.swap(0, Relaxed),
                under_way: self.under_way.load(Relaxed),
                pressed: self.pressed.swap(false, Relaxed) || self.lobby.count() > 0,
            };
            window.close(now, seen);
            self.limit.store(window.limit, SeqCst);
        }
    }
}

impl Pass<'_> {
    /// The command was done, or refused by the store when its turn came.
    pub(crate) fn done(self) {
        let now = Instant::now();
        // Before it came here, and after it leaves, it waits for its thread.
        let took = now.saturating_duration_since(self.entered) + 2 * pulse::late();
        self.flow.note(took, self.cost, now);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.flow.give_back(self.cost);
    }
}

impl<'a> Future for Wait<'a> {
    type Output = Pass<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pass<'a>> {
        if self.flow.lobby.still_waits(&self.place, cx.waker()) {
            return Poll::Pending;
        }
        self.entered = true;
        Poll::Ready(self.flow.pass(self.cost))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.entered {
            return;
        }
        if self.flow.lobby.leave(&self.place) {
            // It may have been in the way of smaller ones.
            self.flow.call_in();
        } else {
            // It was called, and went away before it heard of it.
            self.flow.give_back(self.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// What is seen in a tenth of a second in which the quickest took so many milliseconds.
    fn seen(least: u64, done: u64, under_way: u64, pressed: bool) -> Seen {
        Seen { least: Some(millis(least)), done, under_way, pressed }
    }

    /// Closes so many windows that all show the same; the time afterwards.
    fn run(window: &mut Window, from: Duration, count: u32, seen: Seen) -> Duration {
        let mut now = from;
        for _ in 0..count {
            now += WINDOW;
            window.close(now, seen);
            assert!((FLOOR_BYTES..=CEILING_BYTES).contains(&window.limit), "{}", window.limit);
        }
        now
    }

    // What was never shown must not be let in: it stands before everything else when it turns out
    // that the disk is slow.
    #[test]
    fn the_bound_grows_by_what_was_shown() {
        let mut window = Window::default();
        let now = run(&mut window, Duration::ZERO, 1, seen(20, 20 * MIB, 4 * MIB, true));
        assert_eq!(window.limit, 8 * MIB, "it doubles");
        let now = run(&mut window, now, 1, seen(20, 2 * MIB, 8 * MIB, true));
        assert_eq!(window.limit, 10 * MIB, "2 MiB in 100 ms are 10 MiB in half a second");
        let now = run(&mut window, now, 9, seen(20, MIB, 8 * MIB, true));
        assert_eq!(window.limit, 10 * MIB, "it is no less for that");
        let now = run(&mut window, now, 9, seen(200, 20 * MIB, 8 * MIB, true));
        assert_eq!(window.limit, 10 * MIB, "commands are not quick");
        let now = run(&mut window, now, 9, seen(20, 20 * MIB, 8 * MIB, false));
        assert_eq!(window.limit, 10 * MIB, "it is in nobody's way");
        run(&mut window, now, 9, seen(20, 20 * MIB, 8 * MIB, true));
        assert_eq!(window.limit, CEILING_BYTES);
        // Two seconds with one answer are no tenth of a second.
        let mut window = Window::default();
        window.close(millis(2000), seen(20, 4 * MIB, 4 * MIB, true));
        assert_eq!(window.limit, START_BYTES);
    }

    // A machine that was quick yesterday may be building something today.
    #[test]
    fn what_was_shown_long_ago_shows_nothing() {
        let mut window = Window::default();
        let now = run(&mut window, Duration::ZERO, 9, seen(20, 20 * MIB, 40 * MIB, true));
        assert_eq!(window.limit, CEILING_BYTES);
        let now = run(&mut window, now, 100, seen(20, MIB, 40 * MIB, false));
        assert_eq!(window.limit, CEILING_BYTES);
        run(&mut window, now, 1, seen(20, MIB, 40 * MIB, false));
        assert_eq!(window.limit, START_BYTES);
    }

    // A disk that hangs for a moment, or an election, must not cost anybody a refusal.
    #[test]
    fn moments_are_no_overload() {
        let mut window = Window::default();
        let slow = seen(3000, MIB, 4 * MIB, true);
        let now = run(&mut window, Duration::ZERO, 4, slow);
        assert_eq!(window.limit, START_BYTES);
        let now = run(&mut window, now, 1, seen(400, MIB, 4 * MIB, true));
        let now = run(&mut window, now + millis(60_000), 4, slow);
        assert_eq!(window.limit, START_BYTES, "it began anew");
        // Nothing is done at all while nobody leads, and nothing follows from that.
        window.close(now + millis(60_000), Seen { least: None, ..slow });
        assert_eq!(window.limit, START_BYTES);
    }

    // What stands before everybody for so long does not go by itself.
    #[test]
    fn a_standing_queue_is_cut_to_what_is_done_in_time() {
        let mut window = Window { limit: 40 * MIB, ..Window::default() };
        let slow = seen(1000, MIB, 40 * MIB, true);
        let now = run(&mut window, Duration::ZERO, 5, slow);
        assert_eq!(window.limit, 10 * MIB, "a quarter of it takes 250 ms");
        // The queue of before is still there, and is no reason to cut again at once.
        let now = run(&mut window, now, 4, slow);
        assert_eq!(window.limit, 10 * MIB);
        run(&mut window, now, 1, slow);
        assert_eq!(window.limit, 10 * MIB / 4);
    }

    // Whatever the disk, some commands are let in; and one that has recovered is used.
    #[test]
    fn the_bound_has_a_floor_and_comes_back() {
        let mut window = Window::default();
        let now = run(&mut window, Duration::ZERO, 100, seen(7000, MIB, 4 * MIB, true));
        assert_eq!(window.limit, FLOOR_BYTES);
        let now = run(&mut window, now, 10, seen(400, MIB, 2 * MIB, true));
        assert_eq!(window.limit, FLOOR_BYTES, "neither quick nor slow");
        run(&mut window, now, 10, seen(10, 1000, 1000, false));
        assert_eq!(window.limit, START_BYTES);
    }

    /// A flow with this bound.
    fn flow(limit: u64) -> Flow {
        let flow = Flow::new(Instant::now());
        flow.limit.store(limit, SeqCst);
        flow
    }

    // The first to wait are the large ones; what keeps leases alive never does.
    #[test]
    fn classes_wait_one_before_the_other() {
        let flow = flow(10_000);
        let first = flow.enter(Class::Small, 4000).expect("there is room");
        assert!(flow.enter(Class::Large, 4000).is_none(), "half of the room is for small ones");
        let second = flow.enter(Class::Small, 4000).expect("there is room");
        assert!(flow.enter(Class::Small, 4000).is_none());
        let vital = flow.enter(Class::Vital, 4000).expect("always");
        drop((first, second, vital));
        assert_eq!(flow.under_way.load(Relaxed), 0, "whoever found no room leaves nothing behind");
        let few = flow.enter(Class::Small, 1000).expect("there is room");
        let large = flow.enter(Class::Large, 1 << 20).expect("little is before it");
        assert!(flow.enter(Class::Large, 1 << 20).is_none(), "one at a time");
        drop((few, large));
    }

    // Room that comes free goes to who came first, and not to who comes now.
    #[test]
    fn who_waits_is_let_in_in_order() {
        let flow = flow(10_000);
        let first = flow.enter(Class::Small, 9000).expect("there is room");
        let mut second = flow.wait(Class::Small, 6000).expect("the line is short");
        let mut third = flow.wait(Class::Small, 6000).expect("the line is short");
        assert!((&mut second).now_or_never().is_none());
        assert!(flow.enter(Class::Small, 10).is_none(), "two are before it");
        assert!(flow.enter(Class::Vital, 10).is_some(), "nobody is");
        drop(first);
        assert!((&mut third).now_or_never().is_none());
        let second = (&mut second).now_or_never().expect("there is room for one");
        assert_eq!(flow.waiting(), 1);
        drop(second);
        let third = third.now_or_never().expect("and now for the other");
        drop(third);
        assert_eq!((flow.under_way.load(Relaxed), flow.waiting()), (0, 0));
    }

    // A client that goes away must not take its place along, in the line or behind it.
    #[test]
    fn who_goes_away_leaves_nothing_behind() {
        let flow = flow(10_000);
        let first = flow.enter(Class::Small, 9000).expect("there is room");
        let waits = flow.wait(Class::Small, 9000).expect("the line is short");
        let called = flow.wait(Class::Small, 9000).expect("the line is short");
        let last = flow.wait(Class::Small, 900).expect("the line is short");
        drop(waits);
        assert_eq!(flow.waiting(), 2);
        drop(first);
        assert_eq!(flow.waiting(), 1, "the next is called, and does not know it yet");
        drop(called);
        let last = last.now_or_never().expect("the room is given on");
        drop(last);
        assert_eq!((flow.under_way.load(Relaxed), flow.waiting()), (0, 0));
        // A large one in front that gives up lets the smaller behind it through.
        let first = flow.enter(Class::Small, 2000).expect("there is room");
        let large = flow.wait(Class::Large, 9000).expect("the line is short");
        let smaller = flow.wait(Class::Large, 1000).expect("the line is short");
        assert_eq!(flow.waiting(), 2);
        drop(large);
        assert_eq!(flow.waiting(), 0);
        drop((first, smaller));
        assert_eq!(flow.under_way.load(Relaxed), 0);
    }

    // Room that comes while somebody joins the line must not be missed by both sides: the one would
    // wait for nothing.
    #[test]
    fn nobody_waits_while_there_is_room() {
        let flow = flow(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    for _ in 0..2000 {
                        drop(flow.enter(Class::Small, 700).unwrap_or_else(|| {
                            let wait = flow.wait(Class::Small, 700).expect("the line is short");
                            runtime.block_on(wait)
                        }));
                    }
                });
            }
        });
        assert_eq!((flow.under_way.load(Relaxed), flow.waiting()), (0, 0));
    }

    // A flow that took no note of its commands would let in as many for ever.
    #[test]
    fn commands_that_take_long_lower_the_bound() {
        let origin = Instant::now();
        let flow = Flow::new(origin);
        let held: Vec<_> = (0..35).map(|_| flow.enter(Class::Small, 100_000).unwrap()).collect();
        for tenth in 1..=5 {
            flow.note(millis(900), 100_000, origin + tenth * WINDOW + tenth * millis(1));
        }
        assert_eq!(flow.limit(), FLOOR_BYTES, "they were slow five times in turn");
        assert!(flow.enter(Class::Small, 100_000).is_none());
        drop(held);
        assert!(flow.enter(Class::Small, 100_000).is_some());
    }
}
