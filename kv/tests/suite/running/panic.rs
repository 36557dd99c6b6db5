//! A store one of whose threads dies of a bug: it ends as it does when its disk fails.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use drystone_kv::command::{Command, LeaseGrant};
use drystone_kv::{EngineKind, Error, Kv, LeaseId, Options};
use drystone_vfs::{Clock, SimVfs};

use crate::common::{put, read as request};
use crate::running::{Machine, ok, options, read};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that breaks on demand: a stand-in for a bug in the thread that asks for the time.
#[derive(Debug, Default)]
struct BrokenClock {
    broken: AtomicBool,
}

impl Clock for BrokenClock {
    fn monotonic(&self) -> Duration {
        assert!(!self.broken.load(Ordering::Acquire), "the clock is broken, as the test wants it");
        Duration::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

/// What `wait` returns, if it does so in time.
fn in_time<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answers) = channel();
    thread::spawn(move || answer.send(wait()));
    answers.recv_timeout(PATIENCE).expect("somebody waits for ever")
}

// Clients that hang, or a process that aborts while it cleans up, are worse than the bug itself.
#[test]
fn a_panic_of_the_apply_thread_ends_the_store_for_everyone() {
    let disk = SimVfs::new(1);
    let clock = Arc::new(BrokenClock::default());
    let on_memory = Options { engine: Some(EngineKind::Memory), ..options() };
    let kv = Kv::open(Arc::new(disk.clone()), clock.clone(), Path::new("data"), on_memory);
    let kv = kv.expect("an empty disk will do");
    ok(&kv, put("k", "kept"));
    clock.broken.store(true, Ordering::Release);
    // The countdown of a granted lease begins when it is applied.
    let grant = Command::LeaseGrant(LeaseGrant { id: LeaseId(7), ttl: 60 });
    let doomed: Vec<_> = [grant]
        .into_iter()
        .chain((0..20).map(|_| put("k", "lost")))
        .map(|c| kv.propose(c))
        .collect();
    for proposal in doomed {
        let answer = in_time(|| proposal.wait());
        assert!(matches!(answer, Err(Error::Stopped)), "{answer:?}");
    }
    let late = kv.propose(put("k", "late"));
    assert!(matches!(in_time(|| late.wait()), Err(Error::Stopped)));
    let failed = pin!(kv.failed()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(failed, Poll::Ready(Error::Stopped)), "the reason can be asked for");
    // Half of a command may be in memory, and nobody knows which half.
    assert!(matches!(kv.range(&request("k", "")), Err(Error::Stopped)));
    assert!(kv.persist().is_err(), "what is in memory must not be made durable");
    in_time(move || drop(kv));

    let kv = Machine::new(0).with(disk).open();
    let seen = read(&kv, &request("k", "")).expect("readable").kvs.remove(0);
    // What came while the thread was still going down may have been journaled as well.
    assert!(["kept", "lost", "late"].iter().any(|value| seen.value == *value), "{seen:?}");
    ok(&kv, put("k", "new life"));
}
