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
//! any length. Bytes that were durable and that no later write changed stay as they were: that is
//! the one kindness of this disk (see [`Overwrite`]), and it can be taken away.
//!
//! A sector that the file grew over without writing it is a *hole*: it reads as zeros and has no
//! block of the disk. The first write gives it one, which is new space like that behind the end:
//! until it is synced, anything may be found there.

use std::collections::BTreeMap;
use std::fmt;

use rand::{Rng, RngExt};

/// Disks write whole sectors.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Older versions of one sector are forgotten beyond this many; a crash still picks among the rest.
const VERSIONS_PER_SECTOR_MAX: usize = 4;

/// Of every file, this many sectors may turn up in newly allocated blocks after one crash.
const STALE_PER_FILE: usize = 4;

pub(crate) type Sector = Box<[u8]>;

/// What a power cut may do to the bytes around those that were being written.
///
/// Engines that append small records write into a sector that already holds durable ones. Whether
/// that is safe is for the disk to say, and disks are asked to by the name of *power-safe
/// overwrite* (SQLite's word, on by default there since 2012): the energy left in a drive finishes
/// the sector that is under the head, so that a sector is written whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Bytes that no write changed keep their durable value, in whatever sector they are. Anything
    /// may be found in place of those that were being changed.
    #[default]
    PowerSafe,
    /// Every byte of a sector that a write touched may be lost: the sector is torn, and reads as
    /// zeros or garbage throughout.
    WholeSector,
}

/// How a crash chooses.
pub(crate) struct Fate<'a, R> {
    pub(crate) rng: &'a mut R,
    pub(crate) overwrite: Overwrite,
    /// Durable sectors of other files: what newly allocated blocks may hold.
    pub(crate) stale: &'a [&'a Sector],
}

#[derive(Clone, Default)]
pub(crate) struct Image {
    durable: Vec<u8>,
    cache: Vec<u8>,
    /// By sector number: contents since the last sync, oldest first, the cache's own last.
    versions: BTreeMap<usize, Vec<Sector>>,
    /// Lengths since the last sync, oldest first.
    lengths: Vec<usize>,
    /// By sector number: whether it has a block, as reads see it and as of the last sync.
    blocks: Vec<bool>,
    durable_blocks: Vec<bool>,
}

impl fmt::Debug for Image {
    /// Not its bytes: nobody wants to read a whole disk in a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (durable, cache) = (self.durable.len(), self.cache.len());
        write!(f, "Image({cache} bytes, {durable} durable, {} dirty)", self.versions.len())
    }
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
            self.blocks.resize(end.div_ceil(SECTOR_BYTES), false);
            self.lengths.push(end);
        }
        self.cache[at..end].copy_from_slice(buf);
        self.blocks[at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)].fill(true);
        self.remember(at, end);
    }

    /// Bytes that are not in holes.
    pub(crate) fn allocated(&self) -> u64 {
        let len = self.cache.len();
        (0..self.blocks.len()).map(|number| self.allocated_in(number, len)).sum()
    }

    /// Bytes of sector `number` that take room, in a file of `len` bytes.
    fn allocated_in(&self, number: usize, len: usize) -> u64 {
        let has_block = self.blocks.get(number).is_some_and(|has| *has);
        if has_block { part_of(number, len) } else { 0 }
    }

    /// The room that a write of `count` bytes, not none, would take in addition.
    pub(crate) fn growth(&self, at: usize, count: usize) -> u64 {
        let (len, end) = (self.cache.len(), at + count);
        let (first, len_after) = (at / SECTOR_BYTES, len.max(end));
        let growth = |number: usize| {
            let written = number >= first;
            let after = if written {
                part_of(number, len_after)
            } else {
                self.allocated_in(number, len_after)
            };
            after - self.allocated_in(number, len)
        };
        // A gap behind the end is a hole, but for the sector that the end is in.
        (first.min(len / SECTOR_BYTES)..end.div_ceil(SECTOR_BYTES)).map(growth).sum()
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        let old = self.cache.len();
        if len == old {
            return;
        }
        self.cache.resize(len, 0);
        self.blocks.resize(len.div_ceil(SECTOR_BYTES), false);
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
        self.durable_blocks.clone_from(&self.blocks);
        self.versions.clear();
        self.lengths.clear();
    }

    /// Drops what was not synced, as a kernel does that failed to write its dirty pages and then
    /// calls them clean.
    pub(crate) fn revert(&mut self) {
        self.cache.clone_from(&self.durable);
        self.blocks.clone_from(&self.durable_blocks);
        self.versions.clear();
        self.lengths.clear();
    }

    /// Calls every dirty page clean without saving it; reads still see it.
    pub(crate) fn forget(&mut self) {
        self.versions.clear();
        self.lengths.clear();
    }

    /// What the disk holds after the power fails, as `fate` has it.
    pub(crate) fn crash(&self, fate: &mut Fate<'_, impl Rng>) -> Image {
        let mut lengths = vec![self.durable.len()];
        lengths.extend(&self.lengths);
        let len = lengths[fate.rng.random_range(0..lengths.len())];
        let mut bytes = self.durable.clone();
        bytes.resize(len, 0);
        let mut blocks = self.durable_blocks.clone();
        blocks.resize(len.div_ceil(SECTOR_BYTES), false);
        // A crash that loses nearly everything and one that loses nearly nothing are both likelier
        // in life than a fair coin for each sector.
        let loss = [0.03, 0.5, 0.97][fate.rng.random_range(0..3)];
        for (&number, versions) in &self.versions {
            let start = number * SECTOR_BYTES;
            if start >= len {
                continue;
            }
            let end = (start + SECTOR_BYTES).min(len);
            let found = self.settle(number, versions, loss, fate);
            bytes[start..end].copy_from_slice(&found[..end - start]);
            blocks[number] |= found.iter().any(|byte| *byte != 0);
        }
        Image {
            durable: bytes.clone(),
            cache: bytes,
            blocks: blocks.clone(),
            durable_blocks: blocks,
            ..Image::default()
        }
    }

    /// Chooses what one unsynced sector holds after a crash.
    fn settle(
        &self,
        number: usize,
        versions: &[Sector],
        loss: f64,
        fate: &mut Fate<'_, impl Rng>,
    ) -> Vec<u8> {
        let old = sector(&self.durable, number);
        let had_block = self.durable_blocks.get(number).is_some_and(|had| *had);
        let kept = if had_block { part_of(number, self.durable.len()) as usize } else { 0 };
        let new = &versions[versions.len() - 1];
        if !fate.rng.random_bool(loss) {
            return new.to_vec();
        }
        // Bytes that a write since the last sync changed, or that lie in newly allocated space.
        let whole = fate.overwrite == Overwrite::WholeSector;
        let changed = |i: usize| i >= kept || versions.iter().any(|version| version[i] != old[i]);
        let touched: Vec<usize> = (0..SECTOR_BYTES).filter(|&i| whole || changed(i)).collect();
        let mut found = old.to_vec();
        let rng = &mut *fate.rng;
        match rng.random_range(0..8) {
            0 => found = versions[rng.random_range(0..versions.len())].to_vec(),
            1 => {
                // Torn within the sector: the first bytes new, the rest old, or the other way.
                let tear = rng.random_range(0..=SECTOR_BYTES);
                let part = if rng.random_bool(0.5) { 0..tear } else { tear..SECTOR_BYTES };
                found[part.clone()].copy_from_slice(&new[part]);
            }
            2 => touched.iter().for_each(|&i| found[i] = 0),
            3 if fate.stale.is_empty() || rng.random_bool(0.5) => {
                touched.iter().for_each(|&i| found[i] = rng.random());
            }
            3 => {
                let stale = &fate.stale[rng.random_range(0..fate.stale.len())];
                touched.iter().for_each(|&i| found[i] = stale[i]);
            }
            _ => {} // As if never written.
        }
        found
    }

    /// A few of this file's durable sectors, for the blocks of others to be found in.
    pub(crate) fn some_sectors(&self, rng: &mut impl Rng) -> Vec<Sector> {
        let count = self.durable.len() / SECTOR_BYTES;
        let some = if count == 0 { 0 } else { STALE_PER_FILE };
        (0..some).map(|_| sector(&self.durable, rng.random_range(0..count))).collect()
    }

    /// Bytes of the sectors of `cache`, or of what is durable, that are not all zeros.
    pub(crate) fn thick_bytes(&self, cache: bool) -> u64 {
        let bytes = if cache { &self.cache } else { &self.durable };
        let thick = bytes.chunks(SECTOR_BYTES).filter(|sector| sector.iter().any(|b| *b != 0));
        (thick.count() * SECTOR_BYTES) as u64
    }
}

/// How many bytes of sector `number` a file of `len` bytes has.
fn part_of(number: usize, len: usize) -> u64 {
    len.saturating_sub(number * SECTOR_BYTES).min(SECTOR_BYTES) as u64
}

/// Sector `number` of `bytes`, filled up with zeros.
fn sector(bytes: &[u8], number: usize) -> Sector {
    let mut out = vec![0; SECTOR_BYTES];
    let start = (number * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    out[..end - start].copy_from_slice(&bytes[start..end]);
    out.into_boxed_slice()
}
