//! What must not be collected: counted by digest, held by guards.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{Staged, Store, lock};
use crate::image::digest::Digest;
use crate::image::error::Error;

/// How many hold each digest. The digest of a manifest stands for all that it leads to.
#[derive(Debug, Default)]
pub(super) struct Pins(HashMap<Digest, u64>);

impl Pins {
    pub(super) fn add(&mut self, digest: Digest) {
        *self.0.entry(digest).or_insert(0) += 1;
    }

    pub(super) fn drop(&mut self, digest: Digest) {
        if let Some(count) = self.0.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&digest);
            }
        }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// All, in order.
    pub(super) fn all(&self) -> Vec<Digest> {
        let mut all: Vec<Digest> = self.0.keys().copied().collect();
        all.sort_unstable();
        all
    }
}

/// One hold on one digest.
#[derive(Debug)]
pub(super) struct Pin {
    store: Store,
    digest: Digest,
}

impl Pin {
    /// Takes over a hold that was counted already.
    pub(super) fn held(store: &Store, digest: Digest) -> Pin {
        Pin { store: store.clone(), digest }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.state().pins.drop(self.digest);
    }
}

/// Work that stores blobs before a name leads to them.
#[derive(Debug)]
pub(crate) struct Session {
    store: Store,
    held: Mutex<Vec<Pin>>,
}

impl Session {
    pub(super) fn new(store: &Store) -> Session {
        Session { store: store.clone(), held: Mutex::default() }
    }

    /// Keeps a blob, if it is or comes here, until the session ends.
    pub(crate) fn pin(&self, digest: Digest) {
        self.store.state().pins.add(digest);
        lock(&self.held).push(Pin::held(&self.store, digest));
    }

    /// Makes a staged file a blob.
    pub(crate) fn keep(&self, staged: Staged) -> Result<Digest, Error> {
        let digest = staged.digest;
        self.pin(digest);
        staged.keep_as(&self.store.blob_path(digest))?;
        Ok(digest)
    }

    /// Makes these bytes a blob.
    pub(crate) fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let mut staging = self.store.stage()?;
        staging.write(bytes)?;
        self.keep(staging.finish()?)
    }
}
