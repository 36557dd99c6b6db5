//! What a node keeps of its images: blobs by digest, layers unpacked once, names in one small file.
//!
//! ```text
//!   <root>/                      mode 0700: setuid files of strangers lie below
//!     lock                       held by the process that has the store open
//!     index.json                 names ──► manifest digests, and when last used; replaced whole
//!     blobs/sha256/<hex>         manifests, configurations, packed layers
//!     layers/<diff id>/          one unpacked layer, a lowerdir of overlayfs; never changed
//!     layers/<diff id>.bytes     what it takes, in decimal
//!     tmp/                       everything in the making; emptied when the store is opened
//! ```
//!
//! Nothing has its final name before it is whole, verified and on disk: a blob is written to `tmp`,
//! synced and renamed; a layer is unpacked to `tmp`, its file system synced, and renamed; the index
//! is replaced by rename. A crash at any point leaves at worst files in `tmp`, and blobs or layers
//! that no name leads to, which [`Store::gc`] takes away. A name is written last, so it always
//! leads to everything.
//!
//! Whoever holds an [`Image`] holds a pin: `gc` and `remove` leave its blobs and layers alone. Work
//! in progress pins what it has stored so far (`Session`). Pins are not on disk: an agent that
//! restarts takes its images again, by digest, before it collects.
//!
//! Two threads that unpack one layer at once do it once: the second waits for the first.

mod disk;
mod gc;
mod pins;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::builtin;
use super::digest::Digest;
use super::error::Error;
use super::manifest::{ConfigBlob, DOCUMENT_BYTES_MAX, ImageConfig, Manifest, Platform};
use super::reference::Reference;
use super::unpack::{self, Limits};
pub(crate) use disk::{Staged, Staging};
pub use gc::{Swept, Watermarks};
pub(crate) use pins::Session;
use pins::{Pin, Pins};

/// Where a store is and what a layer may cost.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Its folder; made if missing.
    pub root: PathBuf,
    /// What a layer may cost.
    pub limits: Limits,
    /// Whether the built-in image is put in if missing.
    pub builtin: bool,
}

impl StoreConfig {
    /// The usual limits, and the built-in image.
    pub fn new(root: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig { root: root.into(), limits: Limits::default(), builtin: true }
    }
}

/// The images of a node. Cloning gives another handle on the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    root: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    /// Layers that some thread unpacks right now.
    unpacking: Mutex<Vec<Digest>>,
    /// Layers unpacked since it was opened.
    unpack_count: AtomicU64,
    unpacked: Condvar,
    /// Keeps other processes out for as long as it is open.
    _lock: std::fs::File,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, Named>,
    pins: Pins,
    next_temp: u64,
}

/// What a name leads to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Named {
    manifest: Digest,
    /// Milliseconds since 1970, as far as it was written down.
    used: u64,
}

/// The index file.
#[derive(Serialize, Deserialize)]
struct IndexFile {
    version: u32,
    names: BTreeMap<String, Named>,
}

/// An image that a container can be made of. As long as it or a clone is held, it stays.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of its manifest.
    pub digest: Digest,
    /// What a container of it does unless told otherwise.
    pub config: ImageConfig,
    /// What it runs on, as it says.
    pub platform: Platform,
    /// Its layers, unpacked, the lowest first. Overlayfs' `lowerdir` wants the topmost first.
    pub layers: Vec<PathBuf>,
    /// What it takes on disk, packed and unpacked; layers are shared with other images.
    pub bytes: u64,
    _pin: Arc<Pin>,
}

/// A line of [`Store::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, in full.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// What it takes on disk, shared layers included.
    pub bytes: u64,
    /// Whether somebody holds it.
    pub pinned: bool,
    /// When it was last asked for, in milliseconds since 1970.
    pub used: u64,
}

/// The blobs and layers that a manifest leads to.
#[derive(Clone, Debug)]
struct Parts {
    manifest: Manifest,
    config: ConfigBlob,
}

impl Store {
    /// Opens a store, sweeps what a crash may have left in `tmp`, and sees to the built-in image.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it open; [`Error::BadImage`] if the index is broken;
    /// [`Error::Io`].
    pub fn open(config: StoreConfig) -> Result<Store, Error> {
        let StoreConfig { root, limits, builtin } = config;
        let lock = disk::prepare(&root)?;
        let busy = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        busy.map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => Error::Busy { root: root.display().to_string() },
            error => Error::io(&root.join("lock"), error),
        })?;
        disk::sweep(&root)?;
        let mut state = State::default();
        let path = root.join("index.json");
        match std::fs::read(&path) {
            Ok(bytes) => {
                let file: IndexFile = super::manifest::json(&path.display().to_string(), &bytes)?;
                if file.version != 1 {
                    let reason = format!("version {} is not known", file.version);
                    return Err(Error::bad(path.display().to_string(), reason));
                }
                state.names = file.names;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path, error)),
        }
        let store = Store(Arc::new(Inner {
            root,
            limits,
            state: Mutex::new(state),
            unpacking: Mutex::default(),
            unpack_count: AtomicU64::new(0),
            unpacked: Condvar::new(),
            _lock: lock,
        }));
        if builtin {
            builtin::install(&store)?;
        }
        Ok(store)
    }

    /// The image of that name, if it is here.
    ///
    /// # Errors
    /// As [`Store::image_by_digest`].
    pub fn image(&self, name: &Reference) -> Result<Option<Image>, Error> {
        let digest = {
            let mut state = self.state();
            let text = name.to_string();
            let found = match state.names.get_mut(&text) {
                Some(named) => {
                    named.used = now();
                    Some(named.manifest)
                }
                // With a digest, the tag is a remark: any name that leads there will do.
                None => name.digest.filter(|&digest| state.leads_to(digest)),
            };
            let Some(digest) = found else { return Ok(None) };
            state.pins.add(digest);
            digest
        };
        let pin = Pin::held(self, digest);
        self.assemble(digest, pin).map(Some)
    }

    /// The image of that manifest, if some name leads to it or somebody holds it.
    ///
    /// A layer that is missing is unpacked again from its blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::WrongDigest`] if somebody took files out of the store.
    pub fn image_by_digest(&self, digest: Digest) -> Result<Option<Image>, Error> {
        {
            let mut state = self.state();
            if !state.leads_to(digest) && !state.pins.has(&digest) {
                return Ok(None);
            }
            state.pins.add(digest);
        }
        let pin = Pin::held(self, digest);
        self.assemble(digest, pin).map(Some)
    }

    /// All images, by name.
    ///
    /// # Errors
    /// As [`Store::image_by_digest`].
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let state = self.state();
        let mut lines = Vec::new();
        for (name, named) in &state.names {
            let parts = self.parts(named.manifest)?;
            lines.push(Listed {
                name: name.clone(),
                digest: named.manifest,
                bytes: self.bytes_of(named.manifest, &parts),
                pinned: state.pins.has(&named.manifest),
                used: named.used,
            });
        }
        Ok(lines)
    }

    /// Forgets a name; whether it was there. What only it led to goes with the next
    /// [`Store::gc`], unless somebody holds it.
    ///
    /// # Errors
    /// [`Error::Io`] if the index cannot be written; then the name is still there.
    pub fn remove(&self, name: &Reference) -> Result<bool, Error> {
        let mut state = self.state();
        let Some(old) = state.names.remove(&name.to_string()) else { return Ok(false) };
        if let Err(error) = self.write_index(&state) {
            state.names.insert(name.to_string(), old);
            return Err(error);
        }
        Ok(true)
    }

    /// Layers unpacked since it was opened: what came out of the cache does not count.
    pub fn unpack_count(&self) -> u64 {
        self.0.unpack_count.load(Ordering::Relaxed)
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// What a name leads to. Nothing is read or pinned.
    pub fn digest_of(&self, name: &Reference) -> Option<Digest> {
        self.state().names.get(&name.to_string()).map(|named| named.manifest)
    }

    /// Keeps an image for as long as the store is open.
    pub(crate) fn hold_for_good(&self, digest: Digest) {
        self.state().pins.add(digest);
    }

    /// Begins work that stores blobs: they are pinned until it is dropped.
    pub(crate) fn session(&self) -> Session {
        Session::new(self)
    }

    /// Begins a file in the making.
    pub(crate) fn stage(&self) -> Result<Staging, Error> {
        Staging::new(self.temp("blob"))
    }

    /// Whether a blob is here. Ask after it was pinned, or it may go away.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// A small blob's bytes.
    pub(crate) fn document(&self, what: &str, digest: Digest) -> Result<Vec<u8>, Error> {
        let path = self.blob_path(digest);
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { what: format!("{what} {digest}") },
            _ => Error::io(&path, error),
        })?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            let (limit_name, limit) = ("document_bytes_max", DOCUMENT_BYTES_MAX);
            return Err(Error::TooLarge { what: format!("{what} {digest}"), limit_name, limit });
        }
        Ok(bytes)
    }

    /// Unpacks what is not yet unpacked of an image whose blobs are all here, and names it.
    pub(crate) fn commit(
        &self,
        session: &Session,
        names: &[Reference],
        digest: Digest,
        wanted: Option<&Platform>,
    ) -> Result<Image, Error> {
        session.pin(digest);
        let parts = self.parts(digest)?;
        if let Some(wanted) = wanted {
            let (os, architecture) = (&parts.config.os, &parts.config.architecture);
            let said = !architecture.is_empty();
            if said && (*os != wanted.os || *architecture != wanted.architecture) {
                let reason = format!("it is for {os}/{architecture}, not {wanted}");
                return Err(Error::bad(format!("image {digest}"), reason));
            }
        }
        self.state().pins.add(digest);
        let image = self.assemble(digest, Pin::held(self, digest))?;
        let mut state = self.state();
        let old = state.names.clone();
        for name in names {
            state.names.insert(name.to_string(), Named { manifest: digest, used: now() });
        }
        if let Err(error) = self.write_index(&state) {
            state.names = old;
            return Err(error);
        }
        Ok(image)
    }

    /// Reads an image and sees to its layers. Its manifest must be pinned.
    fn assemble(&self, digest: Digest, pin: Pin) -> Result<Image, Error> {
        let parts = self.parts(digest)?;
        let mut layers = Vec::new();
        for (packed, diff) in parts.manifest.layers.iter().zip(&parts.config.rootfs.diff_ids) {
            layers.push(self.layer(packed.digest, *diff)?);
        }
        let bytes = self.bytes_of(digest, &parts);
        let ConfigBlob { config, os, architecture, .. } = parts.config;
        Ok(Image {
            digest,
            config: config.unwrap_or_default(),
            platform: Platform { os, architecture, variant: None },
            layers,
            bytes,
            _pin: Arc::new(pin),
        })
    }

    fn parts(&self, digest: Digest) -> Result<Parts, Error> {
        let what = format!("manifest {digest}");
        let manifest = Manifest::parse(&what, &self.document("manifest", digest)?)?;
        let what = format!("configuration {}", manifest.config.digest);
        let bytes = self.document("configuration", manifest.config.digest)?;
        let config = ConfigBlob::parse(&what, &bytes, &manifest)?;
        Ok(Parts { manifest, config })
    }

    /// The folder of an unpacked layer: unpacks it, or waits for who does.
    fn layer(&self, packed: Digest, diff: Digest) -> Result<PathBuf, Error> {
        let path = self.layer_path(diff);
        let mut unpacking = lock(&self.0.unpacking);
        while unpacking.contains(&diff) {
            let woken = self.0.unpacked.wait(unpacking);
            unpacking = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if path.exists() {
            return Ok(path);
        }
        unpacking.push(diff);
        drop(unpacking);
        let done = Turn { inner: &self.0, diff };
        let result = self.unpack(packed, diff, &path);
        drop(done);
        result.map(|()| path)
    }

    fn unpack(&self, packed: Digest, diff: Digest, path: &Path) -> Result<(), Error> {
        let blob = self.blob_path(packed);
        let file = std::fs::File::open(&blob).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { what: format!("layer {packed}") },
            _ => Error::io(&blob, error),
        })?;
        let temp = disk::TempFolder::new(self.temp("layer"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&temp.path, flags, Mode::empty());
        let root = root.map_err(|error| Error::io(&temp.path, error))?;
        let handle = root.try_clone().map_err(|error| Error::io(&temp.path, error))?;
        let out = unpack::unpack(file, handle, &packed.to_string(), &self.0.limits)?;
        if out.diff_id != diff {
            let what = format!("layer {packed}, unpacked");
            return Err(Error::WrongDigest { what, expected: diff, found: out.diff_id });
        }
        // Its thousands of files must be on disk before its name is: one call for all of them.
        rustix::fs::syncfs(&root).map_err(|error| Error::io(&temp.path, error))?;
        disk::replace(
            &self.temp("bytes"),
            &self.bytes_path(diff),
            out.bytes.to_string().as_bytes(),
        )?;
        temp.keep_as(path)?;
        self.0.unpack_count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What an image takes, packed and unpacked.
    fn bytes_of(&self, digest: Digest, parts: &Parts) -> u64 {
        let blobs = [digest, parts.manifest.config.digest].into_iter();
        let mut blobs: Vec<Digest> =
            blobs.chain(parts.manifest.layers.iter().map(|layer| layer.digest)).collect();
        blobs.sort_unstable();
        blobs.dedup();
        let packed: u64 = blobs.into_iter().map(|blob| disk::bytes(&self.blob_path(blob))).sum();
        let mut diffs = parts.config.rootfs.diff_ids.clone();
        diffs.sort_unstable();
        diffs.dedup();
        packed + diffs.into_iter().map(|diff| self.layer_bytes(diff)).sum::<u64>()
    }

    fn layer_bytes(&self, diff: Digest) -> u64 {
        let text = std::fs::read_to_string(self.bytes_path(diff)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn write_index(&self, state: &State) -> Result<(), Error> {
        let file = IndexFile { version: 1, names: state.names.clone() };
        let bytes = serde_json::to_vec_pretty(&file).expect("names and digests are JSON");
        let temp = self.0.root.join("tmp").join("index");
        disk::replace(&temp, &self.0.root.join("index.json"), &bytes)
    }

    fn temp(&self, what: &str) -> PathBuf {
        let mut state = self.state();
        state.next_temp += 1;
        self.0.root.join("tmp").join(format!("{what}-{}", state.next_temp))
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.0.root.join("blobs").join("sha256").join(digest.hex())
    }

    fn layer_path(&self, diff: Digest) -> PathBuf {
        self.0.root.join("layers").join(diff.hex())
    }

    fn bytes_path(&self, diff: Digest) -> PathBuf {
        self.0.root.join("layers").join(format!("{}.bytes", diff.hex()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.root).finish()
    }
}

impl State {
    fn leads_to(&self, digest: Digest) -> bool {
        self.names.values().any(|named| named.manifest == digest)
    }
}

/// A thread's turn at unpacking a layer; passed on when dropped, however the work ended.
struct Turn<'a> {
    inner: &'a Inner,
    diff: Digest,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.inner.unpacking).retain(|diff| *diff != self.diff);
        self.inner.unpacked.notify_all();
    }
}

/// A panic of another thread leaves the maps whole: each change to them is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
