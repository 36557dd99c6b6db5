//! A small laboratory: databases on a simulated disk, and a merge operator that shows its order.

use std::path::PathBuf;
use std::sync::Arc;

use drystone_lsm::Policy;
use drystone_lsm::{Compression, Db, Error, Keyspace, KeyspaceOptions, MergeOperator, Options};
use drystone_vfs::{SimClock, SimVfs};

/// The seeds to run: `SEED=n` alone, or `count` of them, ten times as many if `SLOW=1`.
pub(crate) fn seeds(filter: &'static str, count: u64) -> impl Iterator<Item = u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let range = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None if number("SLOW") == Some(1) => 0..count * 10,
        None => 0..count,
    };
    range.inspect(move |seed| println!("replay: SEED={seed} cargo test -p drystone-lsm {filter}"))
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("db")
}

/// Small memtables, no threads, the same bytes every time.
pub(crate) fn options() -> Options {
    Options::default().memory_bytes(64 << 10).threads(0).seed(42)
}

pub(crate) fn try_open(disk: &SimVfs, options: Options) -> Result<Db, Error> {
    Db::open(Arc::new(disk.clone()), Arc::new(SimClock::new()), &dir(), options)
}

/// Strings the operands together, so that their order shows.
#[derive(Debug)]
pub(crate) struct Concat;

impl MergeOperator for Concat {
    fn merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Vec<u8> {
        concat(base, operands)
    }
}

pub(crate) fn concat(base: Option<&[u8]>, operands: &[&[u8]]) -> Vec<u8> {
    let mut value = base.unwrap_or(b"").to_vec();
    for operand in operands {
        value.extend_from_slice(operand);
    }
    value
}

pub(crate) fn keyspace_options() -> KeyspaceOptions {
    KeyspaceOptions::default().merge(Arc::new(Concat))
}

/// Options that change the files, and must not change an answer.
pub(crate) fn varied(choice: u64) -> KeyspaceOptions {
    let compression = if choice.is_multiple_of(2) { Compression::Lz4 } else { Compression::None };
    let policy = if choice % 3 == 2 { Policy::Tiered } else { Policy::Leveled };
    keyspace_options().compression(compression).policy(policy)
}

pub(crate) fn keyspace(db: &Db, name: &str) -> Keyspace {
    db.keyspace(name, keyspace_options()).unwrap()
}
