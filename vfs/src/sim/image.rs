//! One file of the hostile disk: what a crash cannot touch, and what it can.
//!
//! ```text
//!    durable   ████████████████████░░░          as of the last sync
//!    cache     ████▒▒▒▒████████████░░░▒▒▒▒▒▒    what reads see
//!    versions      s2: [v1, v2]      s5: [v1] s6: [v1]   every content an unsynced sector has had
//!    lengths                          [old, new]         every length since the last sync
//! ```
//!
//! The kernel writes back whenever it likes, so a crash may find any version of any sector beside
//! any length. Bytes that were durable and that no later write covered never change: that is the
//! one kindness of this disk (power-safe overwrite, see [`Vfs`](crate::Vfs)).

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

/// Disks write whole sectors.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Older versions of one sector are forgotten beyond this many; a crash still picks among the rest.
const VERSIONS_PER_SECTOR_MAX: usize = 4;

type Sector = Box<[u8]>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    durable: Vec<u8>,
    cache: Vec<u8>,
    /// By sector number: contents since the last sync, oldest first, the cache's own last.
    versions: BTreeMap<usize, Vec<Sector>>,
    /// Lengths since the last sync, oldest first.
    lengths: Vec<usize>,
}

impl Image {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.cache
    }

    pub(crate) fn write(&mut self, buf: &[u8], at: usize) {
        if buf.is_empty() {
            return;
        }
        let end = at + buf.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
            self.lengths.push(end);
        }
        self.cache[at..end].copy_from_slice(buf);
        self.remember(at, end);
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        let old = self.cache.len();
        if len == old {
            return;
        }
        self.cache.resize(len, 0);
        self.lengths.push(len);
        // What is cut may survive as it was, or be gone; if the file grows again it reads as zeros.
        self.remember(len.min(old), old.max(len));
    }

    /// Adds the cache's present content of `at..end` to the versions a crash may choose.
    fn remember(&mut self, at: usize, end: usize) {
        for number in at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let versions = self.versions.entry(number).or_default();
            if versions.len() == VERSIONS_PER_SECTOR_MAX {
                versions.remove(0);
            }
            versions.push(sector(&self.cache, number));
        }
    }

    pub(crate) fn sync(&mut self) {
        for &number in self.versions.keys() {
            let start = number * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(self.cache.len());
            if self.durable.len() < end {
                self.durable.resize(end, 0);
            }
            if start < end {
                self.durable[start..end].copy_from_slice(&self.cache[start..end]);
            }
        }
        self.durable.resize(self.cache.len(), 0);
        self.versions.clear();
        self.lengths.clear();
    }

    /// Drops what was not synced, as a kernel does that failed to write its dirty pages and then
    /// calls them clean.
    pub(crate) fn revert(&mut self) {
        self.cache.clone_from(&self.durable);
        self.versions.clear();
        self.lengths.clear();
    }

    /// Calls every dirty page clean without saving it; reads still see it.
    pub(crate) fn forget(&mut self) {
        self.versions.clear();
        self.lengths.clear();
    }

    /// What the disk holds after the power fails, as `rng` has it.
    pub(crate) fn crash(&self, rng: &mut impl Rng) -> Image {
        let mut lengths = vec![self.durable.len()];
        lengths.extend(&self.lengths);
        let len = lengths[rng.random_range(0..lengths.len())];
        let mut bytes = self.durable.clone();
        bytes.resize(len, 0);
        // A crash that loses nearly everything and one that loses nearly nothing are both likelier
        // in life than a fair coin for each sector.
        let loss = [0.03, 0.5, 0.97][rng.random_range(0..3)];
        for (&number, versions) in &self.versions {
            let start = number * SECTOR_BYTES;
            if start >= len {
                continue;
            }
            let end = (start + SECTOR_BYTES).min(len);
            let found = self.settle(number, versions, loss, rng);
            bytes[start..end].copy_from_slice(&found[..end - start]);
        }
        Image { durable: bytes.clone(), cache: bytes, ..Image::default() }
    }

    /// Chooses what one unsynced sector holds after a crash.
    fn settle(&self, number: usize, versions: &[Sector], loss: f64, rng: &mut impl Rng) -> Vec<u8> {
        let old = sector(&self.durable, number);
        let kept = self.durable.len().saturating_sub(number * SECTOR_BYTES).min(SECTOR_BYTES);
        let new = &versions[versions.len() - 1];
        if !rng.random_bool(loss) {
            return new.to_vec();
        }
        // Bytes that a write since the last sync changed, or that lie in newly allocated space.
        let touched = |i: usize| i >= kept || versions.iter().any(|version| version[i] != old[i]);
        let mut found = old.to_vec();
        match rng.random_range(0..8) {
            0 => found = versions[rng.random_range(0..versions.len())].to_vec(),
            1 => {
                // Torn within the sector: the first bytes new, the rest old.
                let tear = rng.random_range(0..=SECTOR_BYTES);
                found[..tear].copy_from_slice(&new[..tear]);
            }
            2 => (0..SECTOR_BYTES).filter(|&i| touched(i)).for_each(|i| found[i] = 0),
            3 => {
                for i in (0..SECTOR_BYTES).filter(|&i| touched(i)) {
                    found[i] = rng.random();
                }
            }
            _ => {} // As if never written.
        }
        found
    }
}

/// Sector `number` of `bytes`, filled up with zeros.
fn sector(bytes: &[u8], number: usize) -> Sector {
    let mut out = vec![0; SECTOR_BYTES];
    let start = (number * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    out[..end - start].copy_from_slice(&bytes[start..end]);
    out.into_boxed_slice()
}
