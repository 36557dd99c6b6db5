//! What every suite needs: programs to run, servers that clean up after themselves, and the one
//! list of what two honest servers may answer differently.
//!
//! Everything listens on loopback, on ports and in data folders of its own, so suites can run side
//! by side and next to an etcd that somebody uses.

pub(crate) mod calls;
pub(crate) mod debian;
pub(crate) mod mask;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod tree;
pub(crate) mod watch;

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// For tests that measure the whole machine or fill it: no two of them run at once.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that could hurt the next.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a test of each function for every storage engine: `memory::name`, `btree::name`,
/// `lsm::name`.
macro_rules! on_every_engine {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Memory); })*
        }

        mod btree {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Btree); })*
        }

        mod lsm {
            $(#[test] fn $name() { super::$name(drystone_kv::EngineKind::Lsm); })*
        }
    };
}
pub(crate) use on_every_engine;

/// The seed of a random test: the one in `SEED`, or a new one. Prints how to play it again.
pub(crate) fn seed(test: &str) -> u64 {
    let named = std::env::var("SEED").ok();
    let named = named.map(|seed| seed.parse().expect("SEED is a number"));
    let seed = named.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("replay: SEED={seed} cargo test -p drystone-etcd --test suite {test}");
    seed
}

/// Says that a test was left out, past the capture of the test harness; fails it when `CI=true`.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run: {reason}");
    say(&format!("SKIPPED {test}: {reason}"));
}

/// Whether there is time for a test that takes some: with `SLOW=1`. Without, it says that the test
/// was left out.
pub(crate) fn has_time_for(test: &str) -> bool {
    let has_time = std::env::var_os("SLOW").is_some();
    if !has_time {
        say(&format!("SKIPPED {test}: SLOW=1 runs it"));
    }
    has_time
}

/// Writes a line past the capture of the test harness.
pub(crate) fn say(line: &str) {
    // Nothing better can be done about a broken standard error than to go on.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
