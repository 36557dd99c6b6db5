//! The threads of a running store: one applies, one keeps house, one persists.
//!
//! Each is a loop around a method that can be called by hand; none decides anything by itself.
//! They stop when the queue is closed: the apply thread after it has answered what was in it. One
//! that panics, of a bug in the store or in a waker, ends the store for everyone: nobody is left
//! waiting, and nothing that may be half done is shown or made durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use drystone_wal::Lsn;
use parking_lot::{Condvar, Mutex};

use crate::command::Command;
use crate::engine::{Engine, Progress};
use crate::error::Error;
use crate::kv::{Applier, Queued, Shared};
use crate::reply::Reply;

/// How many commands are applied under one turn of the store's lock.
const GROUP_MAX: usize = 512;
/// How often leases are looked at, at least.
const HOUSE_PERIOD: Duration = Duration::from_millis(500);
/// How often they are looked at, at most. Without it a lease that is due and cannot be revoked (a
/// full queue, an alarm) would be tried again without a pause.
const HOUSE_PERIOD_MIN: Duration = Duration::from_millis(10);

/// The threads that have been started, until they are joined.
pub(crate) struct Threads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    house: Arc<House>,
}

/// What wakes the two background threads before their time.
#[derive(Default)]
struct House {
    stopped: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Threads {
    pub(crate) fn start<E: Engine>(shared: &Arc<Shared<E>>) -> Threads {
        let house = Arc::new(House::default());
        let mut handles = vec![spawn("kv-apply", shared, apply_loop)];
        if shared.options.background {
            for (name, run) in [
                ("kv-house", house_loop as fn(&Shared<E>, &House)),
                ("kv-persist", persist_loop as fn(&Shared<E>, &House)),
            ] {
                let house = house.clone();
                handles.push(spawn(name, shared, move |shared| run(shared, &house)));
            }
        }
        Threads { handles: Mutex::new(handles), house }
    }

    /// Stops the background threads and waits for all to end. The queue must be closed already.
    pub(crate) fn join(&self) {
        self.house.stopped.store(true, Ordering::Release);
        // Taking the lock orders the flag before a sleeper's next look at it.
        drop(self.house.lock.lock());
        self.house.wake.notify_all();
        let handles = std::mem::take(&mut *self.handles.lock());
        for handle in handles {
            // The last handle to a store may be dropped by one of its own threads' wakers.
            if handle.thread().id() != thread::current().id() {
                // A panic has ended the store; whoever asks is told.
                drop(handle.join());
            }
        }
    }
}

fn spawn<E: Engine>(
    name: &str,
    shared: &Arc<Shared<E>>,
    run: impl FnOnce(&Shared<E>) + Send + 'static,
) -> JoinHandle<()> {
    let shared = shared.clone();
    let thread = thread::Builder::new().name(name.to_owned());
    let guarded = move || {
        let _guard = FailOnPanic(&shared);
        run(&shared);
    };
    thread.spawn(guarded).expect("the system can start a thread")
}

/// Ends the store when its thread panics.
struct FailOnPanic<'a, E: Engine>(&'a Shared<E>);

impl<E: Engine> Drop for FailOnPanic<'_, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store.give_up();
            fail(self.0, &Error::Stopped);
        }
    }
}

/// Takes what has become durable, applies it and answers, until the queue is closed and empty.
fn apply_loop<E: Engine>(shared: &Shared<E>) {
    while let Some(first) = next_index(shared) {
        let durable = match shared.journal.wait_durable(Lsn(first)) {
            Ok(durable) => durable,
            Err(error) => return fail(shared, &Error::Journal(error)),
        };
        let group = take_durable(shared, durable);
        if let Err(error) = apply_group(shared, group) {
            return fail(shared, &error);
        }
    }
}

/// The journal position of the oldest proposal; blocks while there is none.
fn next_index<E: Engine>(shared: &Shared<E>) -> Option<u64> {
    let mut queue = shared.queue.lock();
    loop {
        if let Some(first) = queue.proposals.front() {
            let index = first.index;
            queue.applier = Applier::Comes;
            return Some(index);
        }
        if queue.closed {
            return None;
        }
        queue.applier = Applier::Sleeps;
        shared.arrived.wait(&mut queue);
    }
}

fn take_durable<E: Engine>(shared: &Shared<E>, durable: Lsn) -> Vec<Queued> {
    let mut queue = shared.queue.lock();
    queue.applier = Applier::Busy;
    let ready = queue.proposals.partition_point(|queued| queued.index <= durable.0);
    let group: Vec<_> = queue.proposals.drain(..ready.min(GROUP_MAX)).collect();
    queue.bytes -= group.iter().map(|queued| queued.bytes).sum::<usize>();
    // What came too late for this write must not wait until the group is applied.
    if let Some(last) = queue.proposals.back_mut() {
        last.commit = None;
    }
    group
}

fn apply_group<E: Engine>(shared: &Shared<E>, group: Vec<Queued>) -> Result<(), Error> {
    let commands = group.iter().map(|queued| (queued.index, &queued.command));
    let outcomes = shared.store.apply(commands);
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => {
            for queued in group {
                if let Some(waker) = queued.answer.give(Err(error.clone())) {
                    waker.wake();
                }
            }
            return Err(error);
        }
    };
    let mut leases_went = false;
    for (queued, outcome) in group.iter().zip(&outcomes) {
        leases_went |= keep_time(shared, &queued.command, outcome.as_ref().ok());
    }
    for (queued, outcome) in group.into_iter().zip(outcomes) {
        if let Some(waker) = queued.answer.give(outcome.map_err(Error::Refused)) {
            waker.wake();
        }
    }
    if leases_went {
        shared.bell.ring();
    }
    Ok(())
}

/// Starts and ends the countdowns of leases that a command granted or revoked.
fn keep_time<E: Engine>(shared: &Shared<E>, command: &Command, reply: Option<&Reply>) -> bool {
    match (command, reply) {
        (Command::LeaseGrant(grant), Some(_)) => {
            shared.expiry.lock().grant(grant.id, grant.ttl, shared.clock.monotonic());
            false
        }
        (Command::LeaseRevoke(revoke), Some(_)) => {
            shared.expiry.lock().revoke(revoke.id);
            true
        }
        _ => false,
    }
}

/// Ends a store whose journal, engine or thread has failed: everything under way gets the error,
/// and nothing new comes in.
fn fail<E: Engine>(shared: &Shared<E>, error: &Error) {
    shared.failure.lock().get_or_insert_with(|| error.clone());
    let mut queue = shared.queue.lock();
    queue.closed = true;
    let left = std::mem::take(&mut queue.proposals);
    queue.bytes = 0;
    drop(queue);
    shared.arrived.notify_all();
    for queued in left {
        if let Some(waker) = queued.answer.give(Err(error.clone())) {
            waker.wake();
        }
    }
    shared.bell.ring();
}

/// Expires leases, sweeps garbage, and has the engine give back what it does not need.
fn house_loop<E: Engine>(shared: &Shared<E>, house: &House) {
    // Leases that could not be revoked, and those beyond one portion, wait until then.
    let mut leases_from = Duration::ZERO;
    while !house.stopped.load(Ordering::Acquire) {
        let now = shared.clock.monotonic();
        if leases_from <= now && shared.expire_leases() == Progress::More {
            leases_from = now + HOUSE_PERIOD;
        }
        let progress = shared.sweep_step();
        if let Ok(Progress::More) = progress {
            // A sweep lets clients have the lock between two steps.
            thread::yield_now();
            continue;
        }
        let pause = match crate::upkeep::step(&shared.store, u64::MAX) {
            Ok(Progress::More) => Some(Duration::ZERO),
            Ok(Progress::Done) | Err(_) => shared.next_expiry(),
        };
        let pause = pause.map(|pause| pause.max(leases_from.saturating_sub(now)));
        house.pause(pause.unwrap_or(HOUSE_PERIOD).clamp(HOUSE_PERIOD_MIN, HOUSE_PERIOD));
    }
}

/// Persists the engine whenever enough was journaled. A failure leaves the journal as it is, and
/// is tried again at the next turn.
fn persist_loop<E: Engine>(shared: &Shared<E>, house: &House) {
    while !house.stopped.load(Ordering::Acquire) {
        if shared.persist_is_due() {
            shared.note_persist(shared.persist());
        }
        house.pause(HOUSE_PERIOD);
    }
}

impl House {
    fn pause(&self, period: Duration) {
        let mut guard = self.lock.lock();
        if !self.stopped.load(Ordering::Acquire) {
            self.wake.wait_for(&mut guard, period);
        }
    }
}
