//! The pages that can be written now, and which of them a commit gets.
//!
//! A commit's pages should lie side by side, so that one call writes them, and to find them must
//! cost next to nothing, in a file of millions of pages of which a few are free here and there. So
//! three things are known beside the bit of each page:
//!
//! ```text
//!   block, 4096 pages   longest run at most 3              longest run at most 900
//!   group, 64 pages     │ some │ none │ none │ some │ ...  │ some │ some │ ...
//!   page                ▪▪▪·▪·                ··▪▪·        ▪▪▪▪▪▪▪▪▪▪▪
//! ```
//!
//! Whoever needs one run, or would like to have one, asks the blocks, and looks into those alone
//! that may have it. If none has, a commit takes *pieces*: the longest of the next few from where
//! the last search ended; to look for the longest of all would be to look at most of them. A large
//! commit looks at all of them, once.

use crate::bits::Bits;
use crate::space::FIRST_PAGE;
use crate::types::{Extent, PageId};

const BLOCK_PAGES: u32 = 4096;
const GROUP_PAGES: u32 = u64::BITS;

/// A commit of more pages looks at all pieces at once.
const MANY_PAGES: u32 = 256;

/// Pieces that are looked at otherwise.
const PIECES_LOOKED_AT: usize = 32;

/// Longer pieces are as good as each other.
const PIECE_PAGES_MAX: u32 = 8;

/// See the module.
///
/// Invariants:
/// * `bits` holds pages from [`FIRST_PAGE`] to below `end` only, `count` of them.
/// * `groups` holds the groups with a page in `bits`, and no other.
/// * `longest[b]` is at least the length of every run within block b.
#[derive(Debug)]
pub(super) struct Free {
    bits: Bits,
    count: u64,
    groups: Bits,
    longest: Vec<u16>,
    /// Where the last search ended.
    cursor: u32,
    /// The first page behind the file, and the last that can ever be one.
    end: u32,
    end_max: u32,
    /// No page is taken from here on, as long as there are others.
    ceiling: u32,
}

impl Free {
    /// The free pages of a file of `end` pages.
    pub(super) fn new(bits: Bits, end: u32, end_max: u32) -> Free {
        let mut groups = Bits::default();
        for (group, word) in (0..).zip(bits.words()) {
            groups.fill(group, u32::from(*word != 0), true);
        }
        Free {
            count: bits.count(),
            bits,
            groups,
            longest: vec![BLOCK_PAGES as u16; end.div_ceil(BLOCK_PAGES) as usize],
            cursor: FIRST_PAGE,
            end,
            end_max,
            ceiling: u32::MAX,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn end(&self) -> u32 {
        self.end
    }

    pub(super) fn bytes(&self) -> usize {
        self.bits.bytes() + self.groups.bytes()
    }

    /// How many within `from..end` are free.
    pub(super) fn count_within(&self, from: u32, end: u32) -> u64 {
        self.bits.count_within(from, end.min(self.end))
    }

    /// How many at the end of the file, and not before `floor`, are free.
    pub(super) fn tail(&self, floor: u32) -> u32 {
        self.bits.run_before(self.end, floor.min(self.end))
    }

    /// Whether any of `from..end` is free.
    pub(super) fn has_any(&self, from: u32, end: u32) -> bool {
        self.bits.next(from, end).is_some()
    }

    pub(super) fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling;
    }

    /// Whether the file is to get shorter.
    pub(super) fn has_ceiling(&self) -> bool {
        self.ceiling < u32::MAX
    }

    /// The runs within `from..end`, in the order of the file.
    pub(super) fn runs(&self, from: u32, end: u32) -> impl Iterator<Item = Extent> {
        let mut at = from;
        std::iter::from_fn(move || {
            let first = self.next(at, end)?;
            let pages = self.bits.run(first, end);
            at = first + pages;
            Some(Extent { first: PageId(first), pages })
        })
    }

    /// The first free page within `from..end`.
    fn next(&self, from: u32, end: u32) -> Option<u32> {
        let group = from / GROUP_PAGES;
        let here = self.bits.next(from, end.min((group + 1).saturating_mul(GROUP_PAGES)));
        here.or_else(|| {
            let group = self.groups.next(group + 1, end.div_ceil(GROUP_PAGES))?;
            self.bits.next(group * GROUP_PAGES, end)
        })
    }

    /// Exactly `pages` pages side by side.
    pub(super) fn take_run(&mut self, pages: u32) -> Option<Extent> {
        let found = self.limits().find_map(|limit| {
            // While the file is to get shorter, what does not fit below the ceiling goes as low as
            // it can.
            if pages > BLOCK_PAGES || self.has_ceiling() {
                self.runs(FIRST_PAGE, limit).find(|run| run.pages >= pages).map(|run| run.first.0)
            } else {
                self.find(pages, limit)
            }
        });
        found.map(|first| self.occupy(first, pages)).or_else(|| self.grow(pages))
    }

    /// Up to `pages` pages side by side, and not none.
    pub(super) fn take(&mut self, pages: u32) -> Option<Extent> {
        let wish = pages.min(BLOCK_PAGES);
        for limit in self.limits() {
            if let Some(first) = self.find(wish, limit) {
                return Some(self.occupy(first, wish));
            }
            let longest = self.pieces(PIECES_LOOKED_AT, limit).into_iter().next();
            if let Some(piece) = longest {
                return Some(self.occupy(piece.first.0, piece.pages.min(pages)));
            }
        }
        self.grow(pages)
    }

    /// Exactly `pages` pages, in few runs and in the order of the file. Nothing is taken if there
    /// are not that many.
    pub(super) fn take_many(&mut self, pages: u32) -> Option<Vec<Extent>> {
        let mut taken = Vec::new();
        let mut left = pages;
        let count = if pages > MANY_PAGES { usize::MAX } else { PIECES_LOOKED_AT };
        for limit in self.limits() {
            left = self.gather(left, count, limit, &mut taken);
        }
        if left > 0 {
            let Some(extent) = self.grow(left) else {
                taken.into_iter().for_each(|extent| self.release(extent));
                return None;
            };
            taken.push(extent);
        }
        taken.sort_unstable_by_key(|extent| extent.first);
        Some(taken)
    }

    /// Takes up to `left` pages below `limit`: one run if there is such, else pieces, `count` of
    /// them looked at together. How many are left then.
    fn gather(&mut self, mut left: u32, count: usize, limit: u32, taken: &mut Vec<Extent>) -> u32 {
        while left > 0 {
            if let Some(first) = self.find(left, limit) {
                taken.push(self.occupy(first, left));
                return 0;
            }
            let pieces = self.pieces(count, limit);
            if pieces.is_empty() {
                break;
            }
            for piece in pieces {
                let pages = piece.pages.min(left);
                if pages > 0 {
                    taken.push(self.occupy(piece.first.0, pages));
                    left -= pages;
                }
            }
        }
        left
    }

    /// The next `count` runs below `limit`, or all of them, longer ones first.
    fn pieces(&self, count: usize, limit: u32) -> Vec<Extent> {
        let limit = limit.min(self.end);
        let cursor = if count == usize::MAX { FIRST_PAGE } else { self.cursor.min(limit) };
        let ahead = self.runs(cursor, limit);
        let mut pieces: Vec<Extent> =
            ahead.chain(self.runs(FIRST_PAGE, cursor)).take(count).collect();
        // Stable: of those that are as long, the first one comes first.
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.pages.min(PIECE_PAGES_MAX)));
        pieces
    }

    /// A run of `pages` free pages, within one block and below `limit`.
    fn find(&mut self, pages: u32, limit: u32) -> Option<u32> {
        let blocks = self.longest.len() as u32;
        let start = self.cursor / BLOCK_PAGES;
        for i in 0..=blocks {
            let block = (start + i) % blocks.max(1);
            if block >= blocks || u32::from(self.longest[block as usize]) < pages {
                continue;
            }
            let (from, end) = block_pages(block, self.end.min(limit));
            // The block of the cursor is looked at twice: behind it first, then all of it.
            let from = if i == 0 { from.max(self.cursor) } else { from };
            let mut longest = 0;
            for run in self.runs(from, end) {
                if run.pages >= pages {
                    return Some(run.first.0);
                }
                longest = longest.max(run.pages);
            }
            if i > 0 && end == block_pages(block, self.end).1 {
                self.longest[block as usize] = longest as u16;
            }
        }
        None
    }

    /// Below the ceiling if that can be; above it sooner than that the file grows.
    fn limits(&self) -> impl Iterator<Item = u32> + use<> {
        let ceiling = (self.ceiling < self.end).then_some(self.ceiling);
        ceiling.into_iter().chain([self.end])
    }

    fn occupy(&mut self, first: u32, pages: u32) -> Extent {
        self.set(first, pages, false);
        self.cursor = first + pages;
        Extent { first: PageId(first), pages }
    }

    /// Takes back what was given out, or is given up.
    pub(super) fn release(&mut self, extent: Extent) {
        let (first, pages) = (extent.first.0, extent.pages);
        assert!(first >= FIRST_PAGE && first + pages <= self.end, "freed pages are in the file");
        self.set(first, pages, true);
        for block in first / BLOCK_PAGES..=(first + pages - 1) / BLOCK_PAGES {
            let (start, end) = block_pages(block, self.end);
            let (from, to) = (first.max(start), (first + pages).min(end));
            let before = self.bits.run_before(from, start);
            let run = before + (to - from) + self.bits.run(to, end);
            let longest = &mut self.longest[block as usize];
            *longest = (*longest).max(run as u16);
        }
    }

    fn set(&mut self, first: u32, pages: u32, free: bool) {
        let changed = self.bits.fill(first, pages, free);
        assert!(changed == pages, "what is given out was free, and what is freed was not");
        let (from, to) = (first / GROUP_PAGES, (first + pages).div_ceil(GROUP_PAGES));
        if free {
            self.count += u64::from(pages);
            self.groups.fill(from, to - from, true);
            return;
        }
        self.count -= u64::from(pages);
        for group in from..to {
            let is_empty = self.bits.words()[group as usize] == 0;
            self.groups.fill(group, u32::from(is_empty), false);
        }
    }

    /// Pages at the end of the file, which grows.
    fn grow(&mut self, pages: u32) -> Option<Extent> {
        let first = self.end;
        self.end = first.checked_add(pages).filter(|end| *end <= self.end_max)?;
        self.longest.resize(self.end.div_ceil(BLOCK_PAGES) as usize, 0);
        Some(Extent { first: PageId(first), pages })
    }

    /// Cuts the free pages at the end of the file off, but for those before `floor`: returns the
    /// new end, if it is another.
    pub(super) fn retract(&mut self, floor: u32) -> Option<u32> {
        let pages = self.tail(floor);
        if pages == 0 {
            return None;
        }
        self.set(self.end - pages, pages, false);
        self.end -= pages;
        self.longest.truncate(self.end.div_ceil(BLOCK_PAGES) as usize);
        self.cursor = self.cursor.min(self.end);
        Some(self.end)
    }

    /// Asserts the invariants; O(pages).
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.bits.count(), self.count);
        assert!(self.bits.last(u32::MAX).is_none_or(|last| last < self.end));
        assert!(!self.has_any(0, FIRST_PAGE));
        for (group, word) in (0..).zip(self.bits.words()) {
            assert_eq!(self.groups.contains(group), *word != 0, "group {group}");
        }
        for block in 0..self.longest.len() as u32 {
            let (start, end) = block_pages(block, self.end);
            let longest = u32::from(self.longest[block as usize]);
            assert!(self.runs(start, end).all(|run| run.pages <= longest), "block {block}");
        }
    }
}

fn block_pages(block: u32, end: u32) -> (u32, u32) {
    let start = (block * BLOCK_PAGES).max(FIRST_PAGE);
    (start, (block.saturating_add(1)).saturating_mul(BLOCK_PAGES).min(end))
}
