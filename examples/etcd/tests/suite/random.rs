//! Random requests, the same to real etcd and to ours, and the answers compared field by field.
//!
//! ```text
//!   proptest ──► bytes ──► steps ──┬──► real etcd ──► answer ──┐
//!                                  └──► ours ───────► answer ──┴──► equal, or the steps are
//!                                                                   shrunk to the few that matter
//! ```
//!
//! Both servers have heard the same requests since their start, so they stand at the same revision,
//! and nothing has to be hidden but their ids and terms. A case begins by deleting all keys and
//! leases; when a case fails, it is played again and again with fewer and smaller steps, on servers
//! that go on.
//!
//! What etcd 3.4 does otherwise than 3.6, which ours follows, is listed in [`exceptions`], or is
//! not asked, and what it is stands where a step would have been made of it, in [`step`].
//!
//! `SEED=… cargo test -p drystone-etcd --test suite random` plays the same requests again, and
//! `REQUESTS=1000000` plays more of them.

mod answer;
mod draw;
mod exceptions;
mod play;
mod step;

use std::cell::RefCell;
use std::path::Path;

use proptest::collection::vec;
use proptest::num::u8::ANY;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tempfile::TempDir;

use crate::random::play::Pair;
use crate::random::step::Step;
use crate::support::programs;
use crate::support::server::Server;

/// Requests that are played with each release unless the environment asks for more.
const REQUESTS: usize = 12_000;
/// Steps of a case: enough for history to come together, few enough to be shrunk soon.
const STEPS_MAX: usize = 400;
/// Bytes that a step is made of; what needs more goes on with zeros.
const STEP_BYTES: usize = 64;
/// How long a case that failed is played again with fewer steps.
const SHRINK_MILLIS_MAX: u32 = 60_000;

// Whatever anybody asks, nobody can tell from the answer which of the two it was.
#[test]
fn requests_are_answered_as_by_etcd_3_4() {
    let test = "random::requests_are_answered_as_by_etcd_3_4";
    let Some(real) = programs::real_or_skip(test) else { return };
    compare(test, &real.etcd);
}

// The same, of a release with another way to transactions and watches.
#[test]
fn requests_are_answered_as_by_etcd_3_5() {
    let test = "random::requests_are_answered_as_by_etcd_3_5";
    let Some(later) = programs::later_or_skip(test) else { return };
    compare(test, &later.etcd);
}

fn compare(test: &str, etcd: &Path) {
    let requests = std::env::var("REQUESTS").ok();
    let requests = requests.map(|count| count.parse().expect("REQUESTS is a number"));
    let requests: usize = requests.unwrap_or(REQUESTS);
    let seed = crate::support::seed(test);
    let theirs = Server::start_in(folder(), etcd, &[]);
    let ours = Server::start_in(folder(), &programs::ours(), &[]);
    let runtime = crate::support::calls::runtime();
    let pair = RefCell::new(runtime.block_on(Pair::new(&theirs, &ours)));
    let played = || pair.borrow().played();
    for case in 0.. {
        if played() >= requests {
            break;
        }
        let outcome = runner(seed, case).run(&vec(vec(ANY, STEP_BYTES), 1..=STEPS_MAX), |bytes| {
            let steps: Vec<Step> = bytes.iter().map(|bytes| Step::of(bytes)).collect();
            let played = runtime.block_on(pair.borrow_mut().play(&steps));
            played.map_err(TestCaseError::fail)
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, bytes)) => {
                let logs = [theirs.log(), ours.log()].join("\nlog of ours:\n");
                panic!("{why}\n{}\nlog of etcd:\n{logs}", list(&bytes));
            }
            Err(TestError::Abort(why)) => panic!("{why}"),
        }
    }
    println!("{} requests were answered alike, but for {:?}", played(), pair.borrow().excused());
}

/// Plays a case once, and shrinks that if it fails.
fn runner(seed: u64, case: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&case.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: u32::MAX,
        max_shrink_time: SHRINK_MILLIS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// A folder in memory where the system has one: twenty thousand syncs of a disk prove nothing here.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a temporary folder can be made")
}

/// What a case that failed was shrunk to.
fn list(bytes: &[Vec<u8>]) -> String {
    let lines: Vec<String> = bytes.iter().map(|bytes| format!("{:?}", Step::of(bytes))).collect();
    format!("after {} steps:\n{}", lines.len(), lines.join("\n"))
}
