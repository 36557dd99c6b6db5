//! The free pages of a durable state, on disk.
//!
//! **The problem.** Whoever opens the file has to know which pages are free without reading all of
//! them, and every flush changes the set: it makes some pages used and some free, anywhere in the
//! file. A flush of five pages should not write five more to say so.
//!
//! **The idea.** A bitmap, one bit for each page of the file, in *chunks* of a page each; written
//! anew elsewhere when they change, like all pages. What has changed since the chunks were written
//! is kept as a few runs in the meta record, where there is room for them at no cost. When
//! the room is full, the chunks with the most changes are written, until half of it is free again.
//!
//! ```text
//!    meta record ──► directory ──► chunk 0   pages     0 .. 32 255   ┐
//!      │               page   └──► chunk 1   pages 32 256 .. 64 511  ├ xor  ──► free pages
//!      └─ changed: [812, 1] [64 100, 5] ─────────────────────────────┘
//!
//!    directory  0  8  "drydirec"          chunk  0  8  "drychunk"
//!               8  4  own page number            8  4  own page number
//!              12  4  which directory           12  4  which chunk
//!              16 48  zeros                     16 48  zeros
//!              64 12n chunks: id, checksum,     64     bits: 1 is free; bit 0 of byte 0 first
//!                     transaction; zeros if
//!                     it was never written
//! ```
//!
//! With pages of 4 KiB a chunk covers 126 MiB of the file and a directory page 336 chunks. Opening
//! reads one page in 32 256. Pages of the map are covered by it like all others.

use std::collections::BTreeSet;

use crate::bits::Bits;
use crate::crc::u32_at;
use crate::error::Result;
use crate::meta::{DIRECTORIES_MAX, runs_max};
use crate::space::{Change, FIRST_PAGE};
use crate::types::{Extent, PageId, PagePtr, TxnId, crc};

const HEADER_BYTES: usize = 64;
const CHUNK_MAGIC: &[u8; 8] = b"drychunk";
const DIRECTORY_MAGIC: &[u8; 8] = b"drydirec";
const WORD_BITS: usize = u64::BITS as usize;

/// Runs of pages written that are listed in a record; those of more runs are synced before it.
pub(crate) const WRITTEN_RUNS_MAX: usize = 64;

/// See the module.
///
/// Invariants:
/// * `now` and `base` have no bit at or after `end`.
/// * They differ only within chunks of `touched`.
/// * `chunks[c]` is where the bits of `base` for chunk c are on disk; none if they are all 0.
#[derive(Debug)]
pub(crate) struct FreeMap {
    page_bytes: usize,
    now: Bits,
    base: Bits,
    end: u32,
    chunks: Vec<PagePtr>,
    directories: Vec<PagePtr>,
    touched: BTreeSet<usize>,
    /// Pages of the map from here on are written anew, elsewhere.
    ceiling: u32,
}

/// A page of the map that is to be written.
#[derive(Debug)]
pub(crate) struct MapPage {
    pub ptr: PagePtr,
    pub bytes: Box<[u8]>,
}

/// What a flush has to write for the map.
#[derive(Debug)]
pub(crate) struct Plan {
    pub pages: Vec<MapPage>,
    pub changed: Vec<Extent>,
    pub directories: Vec<PagePtr>,
    /// Pages of the map that the plan replaces.
    pub replaced: Vec<Extent>,
    allocated: Vec<Extent>,
    undo: Undo,
}

#[derive(Debug)]
struct Undo {
    chunks: Vec<PagePtr>,
    directories: Vec<PagePtr>,
    base: Vec<(usize, Vec<u64>)>,
}

/// How many pages a file can have, for its map's sake.
pub(crate) fn pages_max(page_bytes: usize) -> u32 {
    let pages = DIRECTORIES_MAX as u64
        * chunks_per_directory(page_bytes) as u64
        * chunk_words(page_bytes) as u64
        * WORD_BITS as u64;
    pages.min(u64::from(u32::MAX - 1)) as u32
}

fn chunk_words(page_bytes: usize) -> usize {
    (page_bytes - HEADER_BYTES) / size_of::<u64>()
}

fn chunks_per_directory(page_bytes: usize) -> usize {
    (page_bytes - HEADER_BYTES) / PagePtr::BYTES
}

impl FreeMap {
    /// The map of a file in which nothing is free.
    pub(crate) fn new(page_bytes: usize, end: u32) -> FreeMap {
        FreeMap {
            page_bytes,
            now: Bits::default(),
            base: Bits::default(),
            end,
            chunks: Vec::new(),
            directories: Vec::new(),
            touched: BTreeSet::new(),
            ceiling: u32::MAX,
        }
    }

    /// The map of a file in which all is free but for `used`.
    pub(crate) fn with_used(page_bytes: usize, end: u32, used: &Bits) -> FreeMap {
        let mut map = FreeMap::new(page_bytes, FIRST_PAGE);
        map.extend(end);
        let mut at = FIRST_PAGE;
        while let Some(first) = used.next(at, end) {
            let pages = used.run(first, end);
            map.fill(first, pages, false);
            at = first + pages;
        }
        map
    }

    /// Reads the map; `page` reads one page and checks its checksum.
    pub(crate) fn load<E>(
        page_bytes: usize,
        end: u32,
        directories: &[PagePtr],
        changed: &[Extent],
        mut page: impl FnMut(PagePtr) -> std::result::Result<Vec<u8>, E>,
        wrong: impl Fn(PagePtr) -> E,
    ) -> std::result::Result<FreeMap, E> {
        let mut map = FreeMap::new(page_bytes, end);
        map.directories = directories.to_vec();
        let words = chunk_words(page_bytes);
        let inside = |ptr: PagePtr| (FIRST_PAGE..end).contains(&ptr.id.0);
        let per = chunks_per_directory(page_bytes);
        map.chunks.resize(directories.len() * per, PagePtr::NONE);
        for (i, directory) in directories.iter().enumerate().filter(|(_, ptr)| !ptr.is_none()) {
            let bytes = page(*directory)?;
            if !has_header(&bytes, DIRECTORY_MAGIC, directory.id, i) {
                return Err(wrong(*directory));
            }
            let entries = bytes[HEADER_BYTES..].chunks_exact(PagePtr::BYTES);
            for (chunk, entry) in (i * per..).zip(entries) {
                let ptr = PagePtr::decode(entry.try_into().expect("twelve bytes"));
                if !ptr.is_none() && !inside(ptr) {
                    return Err(wrong(*directory));
                }
                map.chunks[chunk] = ptr;
            }
        }
        for (chunk, ptr) in map.chunks.iter().enumerate().filter(|(_, ptr)| !ptr.is_none()) {
            let bytes = page(*ptr)?;
            let start = chunk * words;
            for (i, word) in bytes[HEADER_BYTES..].chunks_exact(size_of::<u64>()).enumerate() {
                let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                // A chunk that lies behind the end as a whole says nothing: the file was cut.
                if word != 0 && (start + i) * WORD_BITS >= end as usize {
                    return Err(wrong(*ptr));
                }
                if word != 0 {
                    map.base.words_mut(start + i + 1)[start + i] = word;
                }
            }
            let last = map.base.last(u32::MAX).is_none_or(|last| last < end);
            if !has_header(&bytes, CHUNK_MAGIC, ptr.id, chunk) || !last {
                return Err(wrong(*ptr));
            }
        }
        map.now = map.base.clone();
        for run in changed {
            for page in run.first.0..run.first.0 + run.pages {
                let free = !map.now.contains(page);
                map.fill(page, 1, free);
            }
        }
        // The pages of the map are used, each once.
        let mut own = Bits::default();
        for ptr in map.chunks.iter().chain(&map.directories).filter(|ptr| !ptr.is_none()) {
            if map.now.contains(ptr.id.0) || own.fill(ptr.id.0, 1, true) == 0 {
                return Err(wrong(*ptr));
            }
        }
        Ok(map)
    }

    /// The free pages.
    pub(crate) fn free(&self) -> &Bits {
        &self.now
    }

    /// No page has this number or a higher one.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Has the pages of the map from `ceiling` on written anew by the next plan.
    pub(crate) fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling;
    }

    /// Bytes of memory taken.
    pub(crate) fn bytes(&self) -> usize {
        let pointers = self.chunks.capacity() + self.directories.capacity();
        self.now.bytes() + self.base.bytes() + pointers * size_of::<PagePtr>()
    }

    /// The pages of the map itself.
    pub(crate) fn own_pages(&self) -> impl Iterator<Item = PageId> {
        self.chunks.iter().chain(&self.directories).filter(|ptr| !ptr.is_none()).map(|ptr| ptr.id)
    }

    /// How many pages of the map lie at or after `limit`.
    pub(crate) fn pages_from(&self, limit: u32) -> u64 {
        self.own_pages().filter(|page| page.0 >= limit).count() as u64
    }

    fn fill(&mut self, first: u32, pages: u32, free: bool) -> u32 {
        if pages == 0 {
            return 0;
        }
        let bits = (chunk_words(self.page_bytes) * WORD_BITS) as u32;
        self.touched.extend((first / bits) as usize..=((first + pages - 1) / bits) as usize);
        self.now.fill(first, pages, free)
    }

    /// The file has grown. Who takes its new pages says so.
    fn extend(&mut self, end: u32) {
        if end > self.end {
            self.fill(self.end, end - self.end, true);
            self.end = end;
        }
    }

    /// What a commit did. Commits come in their order.
    pub(crate) fn apply(&mut self, change: &Change) {
        self.extend(change.root.pages_end);
        for extent in &change.used {
            let changed = self.fill(extent.first.0, extent.pages, false);
            assert!(changed == extent.pages, "a commit takes free pages");
        }
        for extent in &change.freed {
            let changed = self.fill(extent.first.0, extent.pages, true);
            assert!(changed == extent.pages, "a commit frees used pages");
        }
    }

    /// The pages end at `end`, if they did not before: all from there on are free.
    pub(crate) fn truncate(&mut self, end: u32) {
        if end >= self.end {
            return;
        }
        assert!(self.now.contains_all(end, self.end - end), "only free pages are cut");
        self.fill(end, self.end - end, false);
        self.end = end;
    }

    /// Decides what has to be written so that the disk knows `now`.
    pub(crate) fn plan(
        &mut self,
        txn: TxnId,
        mut allocate: impl FnMut(u32) -> Result<Extent>,
    ) -> Result<Plan> {
        let undo = Undo {
            chunks: self.chunks.clone(),
            directories: self.directories.clone(),
            base: Vec::new(),
        };
        let mut plan = Plan {
            pages: Vec::new(),
            changed: Vec::new(),
            directories: Vec::new(),
            replaced: Vec::new(),
            allocated: Vec::new(),
            undo,
        };
        let mut spilled: BTreeSet<usize> = BTreeSet::new();
        let mut places: Vec<PageId> = Vec::new();
        loop {
            let spill = self.choose_spill(&spilled);
            if spill.is_empty() {
                break;
            }
            let before = places.len();
            if let Err(error) = self.claim(&spill, &mut spilled, &mut places, &mut allocate) {
                plan.allocated = one_each(&places);
                self.undo(&plan);
                return Err(error);
            }
            assert!(places.len() > before, "each round writes another chunk");
            self.let_go_of_old(&spill, &mut plan);
        }
        plan.allocated = one_each(&places);
        self.write_chunks(txn, &spilled, places, &mut plan);
        self.collect_changed(&mut plan.changed);
        plan.directories = self.directories.clone();
        Ok(plan)
    }

    /// Chunks to write so that the rest of the changes fit: none, if they fit already.
    fn choose_spill(&mut self, spilled: &BTreeSet<usize>) -> Vec<usize> {
        let mut counts = Vec::new();
        let mut sum = 0;
        let touched: Vec<usize> = self.touched.iter().copied().collect();
        for chunk in touched {
            if spilled.contains(&chunk) {
                continue;
            }
            let count = self.runs(chunk, |_| ());
            if count == 0 {
                self.touched.remove(&chunk);
                continue;
            }
            sum += count;
            counts.push((count, chunk));
        }
        // One more directory may come to be by what is written.
        let room = runs_max((self.directories.len() + 1).min(DIRECTORIES_MAX)) - WRITTEN_RUNS_MAX;
        let mut spill = self.too_high(spilled);
        let cut = self.cut(spilled).filter(|chunk| !spill.contains(chunk)).collect::<Vec<_>>();
        spill.extend(cut);
        if sum <= room {
            return spill;
        }
        counts.retain(|(_, chunk)| !spill.contains(chunk));
        counts.sort_unstable_by_key(|(count, chunk)| (std::cmp::Reverse(*count), *chunk));
        for (count, chunk) in counts {
            if sum <= room / 2 {
                break;
            }
            sum -= count;
            spill.push(chunk);
        }
        spill
    }

    /// Chunks that lie above the ceiling, or whose directory does.
    fn too_high(&self, spilled: &BTreeSet<usize>) -> Vec<usize> {
        let per = chunks_per_directory(self.page_bytes);
        let high = |ptr: &PagePtr| !ptr.is_none() && ptr.id.0 >= self.ceiling;
        let is_high = |(chunk, ptr): (usize, &PagePtr)| {
            let of_high = !ptr.is_none() && high(&self.directories[chunk / per]);
            (high(ptr) || of_high).then_some(chunk)
        };
        let all = self.chunks.iter().enumerate().filter_map(is_high);
        all.filter(|chunk| !spilled.contains(chunk)).collect()
    }

    /// Chunks on disk that know of free pages behind the end. No record may speak of those, not
    /// even to say that they are gone.
    fn cut(&self, spilled: &BTreeSet<usize>) -> impl Iterator<Item = usize> {
        let bits = (chunk_words(self.page_bytes) * WORD_BITS) as u32;
        let mut at = self.end;
        let chunks = std::iter::from_fn(move || {
            let behind = self.base.next(at, u32::MAX)?;
            let chunk = behind / bits;
            at = (chunk + 1) * bits;
            Some(chunk as usize)
        });
        chunks.filter(|chunk| !spilled.contains(chunk))
    }

    /// Takes a page for each chunk, and for each directory that has none yet.
    fn claim(
        &mut self,
        spill: &[usize],
        spilled: &mut BTreeSet<usize>,
        places: &mut Vec<PageId>,
        allocate: &mut impl FnMut(u32) -> Result<Extent>,
    ) -> Result<()> {
        let per = chunks_per_directory(self.page_bytes);
        let known = |spilled: &BTreeSet<usize>, at| spilled.range(at * per..(at + 1) * per).count();
        let mut need = 0;
        for chunk in spill {
            need += 1 + u32::from(known(spilled, chunk / per) == 0);
            spilled.insert(*chunk);
        }
        while need > 0 {
            let extent = allocate(need)?;
            need -= extent.pages;
            self.extend(extent.first.0 + extent.pages);
            let changed = self.fill(extent.first.0, extent.pages, false);
            assert!(changed == extent.pages, "pages for the map are free in the state it is of");
            places.extend((0..extent.pages).map(|i| PageId(extent.first.0 + i)));
        }
        Ok(())
    }

    /// The chunks that are written anew, and their directories, leave their old places.
    fn let_go_of_old(&mut self, spill: &[usize], plan: &mut Plan) {
        let per = chunks_per_directory(self.page_bytes);
        let mut old = Vec::new();
        for chunk in spill {
            if self.chunks.len() <= *chunk {
                self.chunks.resize(chunk / per * per + per, PagePtr::NONE);
                self.directories.resize(chunk / per + 1, PagePtr::NONE);
            }
            old.push(std::mem::replace(&mut self.chunks[*chunk], PagePtr::NONE));
            old.push(std::mem::replace(&mut self.directories[chunk / per], PagePtr::NONE));
        }
        for ptr in old.into_iter().filter(|ptr| !ptr.is_none()) {
            let changed = self.fill(ptr.id.0, 1, true);
            assert!(changed == 1, "the map's pages are used");
            plan.replaced.push(Extent { first: ptr.id, pages: 1 });
        }
    }

    fn write_chunks(
        &mut self,
        txn: TxnId,
        spilled: &BTreeSet<usize>,
        places: Vec<PageId>,
        plan: &mut Plan,
    ) {
        let words = chunk_words(self.page_bytes);
        let per = chunks_per_directory(self.page_bytes);
        let mut places = places.into_iter();
        let mut place = || places.next().expect("a place was claimed for each");
        for &chunk in spilled {
            let start = chunk * words;
            let new = self.now.words_mut(start + words)[start..start + words].to_vec();
            let base = &mut self.base.words_mut(start + words)[start..start + words];
            plan.undo.base.push((chunk, base.to_vec()));
            base.copy_from_slice(&new);
            let mut bytes = page_of(self.page_bytes, CHUNK_MAGIC, chunk);
            for (at, word) in bytes[HEADER_BYTES..].chunks_exact_mut(size_of::<u64>()).zip(&new) {
                at.copy_from_slice(&word.to_le_bytes());
            }
            self.chunks[chunk] = push(plan, txn, place(), bytes);
            self.touched.remove(&chunk);
        }
        let anew: BTreeSet<usize> = spilled.iter().map(|chunk| chunk / per).collect();
        for directory in anew {
            let mut bytes = page_of(self.page_bytes, DIRECTORY_MAGIC, directory);
            let chunks = &self.chunks[directory * per..(directory + 1) * per];
            for (at, ptr) in bytes[HEADER_BYTES..].chunks_exact_mut(PagePtr::BYTES).zip(chunks) {
                at.copy_from_slice(&ptr.encode());
            }
            self.directories[directory] = push(plan, txn, place(), bytes);
        }
    }

    fn collect_changed(&mut self, changed: &mut Vec<Extent>) {
        let touched: Vec<usize> = self.touched.iter().copied().collect();
        for chunk in touched {
            if self.runs(chunk, |extent| changed.push(extent)) == 0 {
                self.touched.remove(&chunk);
            }
        }
    }

    /// The runs in which `now` and `base` differ within a chunk; how many.
    fn runs(&self, chunk: usize, mut run: impl FnMut(Extent)) -> usize {
        let words = chunk_words(self.page_bytes);
        let (now, base) = (self.now.words(), self.base.words());
        let word = |words: &[u64], at: usize| words.get(at).copied().unwrap_or(0);
        let mut open: Option<u32> = None;
        let mut count = 0;
        let mut close = |first: u32, end: u32| {
            run(Extent { first: PageId(first), pages: end - first });
            count += 1;
        };
        for at in chunk * words..(chunk + 1) * words {
            let mut diff = word(now, at) ^ word(base, at);
            let start = (at * WORD_BITS) as u32;
            if (diff == 0 && open.is_none()) || (diff == u64::MAX && open.is_some()) {
                continue;
            }
            let mut bit = 0;
            while bit < u64::BITS {
                let ones = open.is_some();
                let same = if ones { diff.trailing_ones() } else { diff.trailing_zeros() };
                let same = same.min(u64::BITS - bit);
                bit += same;
                diff = if same == u64::BITS { 0 } else { diff >> same };
                if bit < u64::BITS {
                    match open.take() {
                        Some(first) => close(first, start + bit),
                        None => open = Some(start + bit),
                    }
                }
            }
        }
        if let Some(first) = open {
            close(first, ((chunk + 1) * words * WORD_BITS) as u32);
        }
        count
    }

    /// The plan did not reach the disk. Returns the pages that were to be written for it.
    pub(crate) fn undo(&mut self, plan: &Plan) -> Vec<Extent> {
        let words = chunk_words(self.page_bytes);
        self.chunks.clone_from(&plan.undo.chunks);
        self.directories.clone_from(&plan.undo.directories);
        for (chunk, base) in &plan.undo.base {
            let start = chunk * words;
            self.base.words_mut(start + words)[start..start + words].copy_from_slice(base);
            self.touched.insert(*chunk);
        }
        for extent in &plan.replaced {
            self.fill(extent.first.0, extent.pages, false);
        }
        for extent in &plan.allocated {
            self.fill(extent.first.0, extent.pages, true);
        }
        plan.allocated.clone()
    }
}

fn one_each(places: &[PageId]) -> Vec<Extent> {
    places.iter().map(|first| Extent { first: *first, pages: 1 }).collect()
}

fn push(plan: &mut Plan, txn: TxnId, id: PageId, mut bytes: Box<[u8]>) -> PagePtr {
    bytes[8..12].copy_from_slice(&id.0.to_le_bytes());
    let ptr = PagePtr { id, crc: crc(id, &bytes), txn: txn.low() };
    plan.pages.push(MapPage { ptr, bytes });
    ptr
}

fn page_of(page_bytes: usize, magic: &[u8; 8], number: usize) -> Box<[u8]> {
    let mut bytes = vec![0; page_bytes].into_boxed_slice();
    bytes[..8].copy_from_slice(magic);
    bytes[12..16].copy_from_slice(&(number as u32).to_le_bytes());
    bytes
}

fn has_header(bytes: &[u8], magic: &[u8; 8], id: PageId, number: usize) -> bool {
    bytes[..8] == *magic && u32_at(bytes, 8) == id.0 && u32_at(bytes, 12) as usize == number
}

#[cfg(test)]
mod tests;
