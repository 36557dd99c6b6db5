//! The page numbers that a write transaction takes.
//!
//! ```text
//!            free in `space`                     the draft's buffers
//!     ─┬────────┬───┬───────────┬─  supply
//!      │ 70..76 │   │ 90 91     │ ────────►  70 71 72 73 74 75 76 90 91     spare
//!     ─┴────────┴───┴───────────┴─                 ▼
//!                          ▲                 70 71 72 73 74                  pages
//!                          └─ what is not used ─── 75 76 90 91
//! ```
//!
//! Numbers are taken in chunks: first about as many as the last transaction needed, then ever more
//! as the draft grows. To ask for one at a time would tear up what lies side by side, and cost a
//! lock for each; to ask for too many keeps them from nobody, since there is one writer, but makes
//! the file longer if none are free: then few are asked for, and it is made shorter again by what
//! was too much.
//!
//! What was taken is known here and not only by the draft, so that it is given back whatever
//! becomes of that.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::draft::{Allocate, Buffer, Spare, Supply};
use crate::error::Result;
use crate::space::Space;
use crate::store::Body;
use crate::types::{Extent, PageId};

/// Asked for at least, and at most if the file has to grow for it.
const PAGES_MIN: u32 = 4;
const PAGES_GROWN_MAX: u32 = 64;
/// Asked for at most.
const PAGES_MAX: u32 = 1 << 14;
/// Boxes kept for the next transaction.
const BOXES_MAX: usize = 1 << 14;

/// See the module. Used by one transaction after the other.
#[derive(Debug)]
pub(crate) struct Taking {
    body: Arc<Body>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything the transaction has taken.
    taken: Vec<Extent>,
    /// Where the file ended before.
    end_before: Option<u32>,
    /// How many pages of those were supplied.
    supplied: u32,
    /// How many pages the last transaction has used.
    expected: u32,
    /// Memory for pages without a place in the mirror.
    boxes: Vec<Box<[u8]>>,
}

/// What became of the numbers that were taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub used: Vec<Extent>,
    pub unused: Vec<Extent>,
    end_before: u32,
}

impl Taken {
    pub(crate) fn give_back_unused(&self, space: &mut Space) {
        space.give_back(&self.unused);
        space.retract(self.end_before);
    }

    pub(crate) fn give_back_all(&self, space: &mut Space) {
        space.give_back(&self.used);
        self.give_back_unused(space);
    }
}

impl Taking {
    pub(crate) fn new(body: &Arc<Body>) -> Taking {
        Taking { body: Arc::clone(body), state: Mutex::default() }
    }

    /// Gives back all numbers: the draft has become nothing.
    pub(crate) fn give_up(&self, spare: Spare) {
        let mut state = self.state.lock();
        // First the places, then their numbers.
        drop(state.take_apart(spare));
        let taken = state.begin_anew(Vec::new());
        drop(state);
        if !taken.used.is_empty() {
            taken.give_back_all(&mut self.body.space.lock());
        }
    }

    /// Ends the transaction: what is not among the spare buffers is used.
    pub(crate) fn settle(&self, spare: Spare) -> Taken {
        let mut state = self.state.lock();
        let unused = state.take_apart(spare);
        let taken = state.begin_anew(unused);
        state.expected = taken.used.iter().map(|extent| extent.pages).sum();
        taken
    }

    fn take(&self, from: impl FnOnce(&mut Space) -> Result<Extent>) -> Result<Extent> {
        let mut state = self.state.lock();
        let mut space = self.body.space.lock();
        state.end_before.get_or_insert(space.end());
        let extent = from(&mut space)?;
        state.taken.push(extent);
        Ok(extent)
    }

    /// Keeps memory for the next transaction.
    pub(crate) fn keep(&self, memory: Box<[u8]>) {
        self.state.lock().keep(memory);
    }
}

impl State {
    /// Takes the numbers off buffers that are not used.
    fn take_apart(&mut self, spare: Spare) -> Vec<Extent> {
        let mut unused: Vec<PageId> = Vec::new();
        for buffer in spare.0 {
            unused.extend(buffer.id());
            if let Buffer::Loose(_, memory) = buffer {
                self.keep(memory);
            }
        }
        unused.sort_unstable();
        let mut extents: Vec<Extent> = Vec::new();
        for id in unused {
            match extents.last_mut() {
                Some(last) if last.first.0 + last.pages == id.0 => last.pages += 1,
                _ => extents.push(Extent { first: id, pages: 1 }),
            }
        }
        extents
    }

    fn keep(&mut self, memory: Box<[u8]>) {
        if self.boxes.len() < BOXES_MAX {
            self.boxes.push(memory);
        }
    }

    fn begin_anew(&mut self, unused: Vec<Extent>) -> Taken {
        self.supplied = 0;
        let mut taken = std::mem::take(&mut self.taken);
        taken.sort_unstable_by_key(|extent| extent.first);
        let used = without(&taken, &unused);
        Taken { used, unused, end_before: self.end_before.take().unwrap_or(u32::MAX) }
    }

    /// How many pages to ask for, of which `free` are there.
    fn wanted(&self, free: u64) -> u32 {
        let wanted = if self.supplied == 0 { self.expected + 1 } else { self.supplied / 8 };
        let most = free.clamp(PAGES_GROWN_MAX.into(), PAGES_MAX.into()) as u32;
        wanted.clamp(PAGES_MIN, most)
    }
}

impl Supply for Taking {
    fn supply(&self, spare: &mut Vec<Buffer>) {
        let mut state = self.state.lock();
        let mut space = self.body.space.lock();
        state.end_before.get_or_insert(space.end());
        let wanted = state.wanted(space.free_count());
        // Whoever goes without asks again when it is sealed, and is told why.
        let Ok(extents) = space.allocate_many(wanted) else { return };
        drop(space);
        let before = spare.len();
        for extent in &extents {
            let placed = spare.len();
            spare.extend(self.body.mirror.claim(*extent).map(Buffer::Place));
            let placed = (spare.len() - placed) as u32;
            for id in extent.first.0 + placed..extent.first.0 + extent.pages {
                let memory = state.boxes.pop();
                let memory = memory.unwrap_or_else(|| vec![0; self.body.page_bytes].into());
                spare.push(Buffer::Loose(Some(PageId(id)), memory));
            }
        }
        // They are taken from the end.
        spare[before..].reverse();
        state.supplied += wanted;
        state.taken.extend(extents);
    }
}

impl Allocate for &Taking {
    fn allocate(&mut self, pages: u32) -> Result<Extent> {
        self.take(|space| space.allocate(pages))
    }

    fn allocate_run(&mut self, pages: u32) -> Result<Extent> {
        self.take(|space| space.allocate_run(pages))
    }
}

/// The pages of `all` that are not in `some`, which are among them; both in the order of the file.
fn without(all: &[Extent], some: &[Extent]) -> Vec<Extent> {
    let mut rest = Vec::with_capacity(all.len());
    let mut some = some.iter().copied().peekable();
    for extent in all {
        let (mut at, end) = (extent.first.0, extent.first.0 + extent.pages);
        while at < end {
            let next = some.peek().map_or(end, |next| next.first.0.min(end));
            if next > at {
                rest.push(Extent { first: PageId(at), pages: next - at });
            }
            at = next;
            // One of `some` may reach over the border between two of `all`.
            while let Some(next) = some.peek_mut()
                && next.first.0 == at
                && at < end
            {
                let pages = next.pages.min(end - at);
                at += pages;
                *next = Extent { first: PageId(next.first.0 + pages), pages: next.pages - pages };
                if next.pages == 0 {
                    some.next();
                }
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(first: u32, pages: u32) -> Extent {
        Extent { first: PageId(first), pages }
    }

    // A number that is counted as used and is not would be lost; the other way round, overwritten.
    #[test]
    fn what_is_not_unused_is_used() {
        let all = [extent(5, 4), extent(9, 3), extent(20, 2), extent(30, 1)];
        assert_eq!(without(&all, &[]), all);
        assert_eq!(without(&all, &all), []);
        let some = [extent(6, 1), extent(8, 2), extent(30, 1)];
        let rest = [extent(5, 1), extent(7, 1), extent(10, 2), extent(20, 2)];
        assert_eq!(without(&all, &some), rest);
    }
}
