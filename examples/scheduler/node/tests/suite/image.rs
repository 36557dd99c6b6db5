//! Images from real registries and tools, and from servers that lie.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod lying;
mod server;
mod tools;

use std::sync::Arc;

use mason_node::image::pull::{OnProgress, PullConfig, Puller};
use mason_node::image::{Error, Image, Reference, Store, StoreConfig};

/// A store of its own, without the built-in image.
fn store() -> (tempfile::TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let config = StoreConfig { builtin: false, ..StoreConfig::new(temp.path().join("store")) };
    let store = Store::open(config).unwrap();
    (temp, store)
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

/// Waits for a pull, on a runtime of its own.
fn pull(store: &Store, config: PullConfig, text: &str) -> Result<Image, Error> {
    let puller = Puller::new(store.clone(), config).unwrap();
    run(async { puller.pull(&name(text), silent()).await })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
