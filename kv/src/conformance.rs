//! The tests that every engine must pass, as functions to be run on any of them.
//!
//! The store above trusts [`Engine`]'s promises without looking; this suite is where they are
//! looked at. Each function is one claim, takes the way to open the engine under test, and panics
//! with the reason if the claim does not hold. A crate or test that has an engine runs all of
//! them with one line, which makes a test of each:
//!
//! ```no_run
//! drystone_kv::engine_conformance!(drystone_kv::mem::Mem::open);
//! ```
//!
//! The disk is [`SimVfs`], which loses, tears and reorders all that was not synced, at every call
//! of a workload in turn. Every batch of a workload notes its own number in [`Space::Meta`], as
//! the store does with its applied index; so a recovered engine says itself how far it got, and
//! the suite compares all it holds with the state after just so many batches.
//!
//! Random tests print the seed and the way to run it alone: set `SEED`.

mod damage;
mod durability;
mod isolation;
mod model;
mod reads;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use drystone_vfs::{SimVfs, Vfs};

use crate::engine::{Batch, Direction, Engine, EngineError, Snapshot, Space};

pub use damage::*;
pub use durability::*;
pub use isolation::*;
pub use model::*;
pub use reads::*;

/// Opens the engine under test in a folder, or makes it there.
pub type Open<E> = dyn Fn(Arc<dyn Vfs>, &Path) -> Result<E, EngineError> + Sync;

/// Makes a test of each claim of the suite for one engine, given how to open it: a closure or
/// function of `Arc<dyn Vfs>` and `&Path`.
#[macro_export]
macro_rules! engine_conformance {
    ($open:expr) => {
        $crate::engine_conformance! { $open =>
            the_last_put_wins
            spaces_do_not_mix
            a_batch_applies_in_order
            every_bound_is_exact_in_both_directions
            keys_and_values_of_any_length_read_back
            statistics_follow_the_records
            a_snapshot_never_changes
            a_batch_is_seen_whole
            racing_writers_lose_nothing
            persist_runs_beside_writers
            what_was_persisted_is_there_after_reopening
            a_power_cut_at_any_call_leaves_a_prefix
            a_failed_call_harms_nothing
            a_restart_does_not_trust_what_is_not_synced
            a_full_disk_harms_nothing
            a_checkpoint_opens_at_one_point
            a_failed_checkpoint_never_opens_as_a_whole_one
            damaged_bytes_never_become_records
            unreadable_sectors_never_become_absent_records
            random_work_matches_the_model
        }
    };
    ($open:expr => $($claim:ident)*) => {
        $(
            #[test]
            fn $claim() {
                $crate::conformance::$claim(&$open);
            }
        )*
    };
}

/// The key under which every batch of a workload notes its number.
const APPLIED: &[u8] = b"applied";

/// The folder that the engine under test lives in.
fn home() -> &'static Path {
    Path::new("data/engine")
}

fn dyn_vfs(vfs: &SimVfs) -> Arc<dyn Vfs> {
    Arc::new(vfs.clone())
}

/// Opens the engine on a disk that is in order.
fn open_sound<E: Engine>(open: &Open<E>, vfs: &SimVfs) -> E {
    match open(dyn_vfs(vfs), home()) {
        Ok(engine) => engine,
        Err(error) => panic!("the engine must open on a sound disk: {error:?}"),
    }
}

/// How many batches of the workload the engine shows.
fn applied<E: Engine>(engine: &E) -> usize {
    let value = engine.get(Space::Meta, APPLIED).expect("the record is readable");
    let Some(value) = value else { return 0 };
    let bytes = value[..].try_into().expect("the note has 8 bytes");
    usize::try_from(u64::from_be_bytes(bytes)).expect("a small count")
}

/// Asserts that `engine` holds exactly what `model` holds, however it is read.
fn assert_equal<E: Engine>(engine: &E, model: &Model) {
    let snapshot = engine.snapshot();
    assert_snapshot(&snapshot, model);
    for space in Space::ALL {
        for (key, value) in model.space(space) {
            let found = engine.get(space, key).expect("the record is readable");
            assert_eq!(found.as_ref(), Some(value), "get in {space:?}");
        }
        assert_eq!(
            engine.stats().records[space.index()],
            model.space(space).len() as u64,
            "the statistics count records of {space:?}",
        );
    }
}

/// Asserts that `snapshot` holds exactly what `model` holds, read one by one, up and down.
fn assert_snapshot(snapshot: &impl Snapshot, model: &Model) {
    for space in Space::ALL {
        let mut expected: Vec<(Vec<u8>, Bytes)> =
            model.space(space).iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, value) in &expected {
            let found = snapshot.get(space, key).expect("the record is readable");
            assert_eq!(found.as_ref(), Some(value), "get in {space:?}");
        }
        assert_eq!(scan(snapshot, space, b"", None, Direction::Forward), expected);
        expected.reverse();
        assert_eq!(scan(snapshot, space, b"", None, Direction::Backward), expected);
    }
}

/// All records of a range.
fn scan(
    snapshot: &impl Snapshot,
    space: Space,
    start: &[u8],
    end: Option<&[u8]>,
    direction: Direction,
) -> Vec<(Vec<u8>, Bytes)> {
    let records = snapshot.range(space, start, end, direction);
    records
        .map(|record| record.expect("the records are readable"))
        .map(|(key, value)| (key.to_vec(), value))
        .collect()
}

/// A batch of one put.
fn put(space: Space, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(space, key, Bytes::copy_from_slice(value));
    batch
}

/// The seeds that a random test runs: the one in `SEED`, or the first `count`.
fn seeds(count: u64, claim: &str) -> Vec<u64> {
    let Ok(seed) = std::env::var("SEED") else {
        println!("replay one seed: SEED=n cargo test -p drystone-kv {claim}");
        return (0..count).collect();
    };
    vec![seed.parse().expect("SEED is a number")]
}

/// A small stream of random numbers (SplitMix64, Steele, Lea and Flood 2014), the same for one
/// seed on every machine and in every version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..below`; the bias does not matter to tests.
    fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below as u64).expect("below a usize")
    }

    /// Whether something that happens once in `times` happens now.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
