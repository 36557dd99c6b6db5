//! Numbered buffers that can be brought back to an earlier state without having been copied.
//!
//! **The problem.** A savepoint must cost nothing, and a rollback must restore every private page.
//!
//! **The idea.** What is in the slab at a savepoint is *frozen*: whoever wants to change it makes a
//! copy under a new number, as for a committed page. Numbers only grow while a savepoint stands, so
//! one comparison tells what is frozen, and rolling back is to cut off what came after.
//!
//! ```text
//!    0  1  2  3  4 │ 5  6  7 │ 8  9           free, replaced: lists since the latest mark
//!    ──────────────┴─────────┴─────
//!                  mark 1    mark 2 = floor: below is frozen
//! ```
//!
//! A frozen buffer that nothing of the present uses is *replaced*: kept for the rollback, and given
//! back if the savepoint is released.

use std::ops::Deref;

/// Numbered buffers.
///
/// Invariants:
/// - a number in `free` has no buffer, and is at or above `floor`;
/// - a number in `replaced` has a buffer, and is below `floor`;
/// - `floor` is where the latest mark was set, or 0.
#[derive(Debug)]
pub(crate) struct Slab<B> {
    buffers: Vec<Option<B>>,
    free: Vec<u32>,
    replaced: Vec<u32>,
    floor: u32,
    marks: Vec<Mark>,
    bytes: usize,
}

/// The lists as they were at a savepoint, out of the way.
#[derive(Debug)]
struct Mark {
    free: Vec<u32>,
    replaced: Vec<u32>,
    floor: u32,
}

impl<B> Default for Slab<B> {
    fn default() -> Slab<B> {
        let (free, replaced, marks) = (Vec::new(), Vec::new(), Vec::new());
        Slab { buffers: Vec::new(), free, replaced, floor: 0, marks, bytes: 0 }
    }
}

impl<B: Deref<Target = [u8]>> Slab<B> {
    /// Bytes in all buffers, frozen ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn insert(&mut self, buffer: B) -> u32 {
        self.bytes += buffer.len();
        if let Some(slot) = self.free.pop() {
            self.buffers[slot as usize] = Some(buffer);
            return slot;
        }
        self.buffers.push(Some(buffer));
        u32::try_from(self.buffers.len() - 1).expect("memory ends before the numbers do")
    }

    #[inline]
    pub(crate) fn buffer(&self, slot: u32) -> &B {
        self.buffers[slot as usize].as_ref().expect("a slot in use has a buffer")
    }

    #[inline]
    pub(crate) fn buffer_mut(&mut self, slot: u32) -> &mut B {
        debug_assert!(!self.is_frozen(slot), "a frozen buffer is copied before it is changed");
        self.buffers[slot as usize].as_mut().expect("a slot in use has a buffer")
    }

    /// Whether a savepoint needs the buffer as it is.
    #[inline]
    pub(crate) fn is_frozen(&self, slot: u32) -> bool {
        slot < self.floor
    }

    /// Lets go of a buffer; it comes back unless a savepoint needs it.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<B> {
        if self.is_frozen(slot) {
            self.replaced.push(slot);
            return None;
        }
        self.free.push(slot);
        self.take(slot)
    }

    /// Sets a mark, and freezes everything.
    pub(crate) fn mark(&mut self) {
        let (free, replaced) = (std::mem::take(&mut self.free), std::mem::take(&mut self.replaced));
        self.marks.push(Mark { free, replaced, floor: self.floor });
        self.floor = self.buffers.len() as u32;
    }

    /// Goes back to mark `depth`, which stays the latest; what is cut off goes to `spare`.
    pub(crate) fn rollback(&mut self, depth: usize, spare: &mut Vec<B>) {
        if let Some(later) = self.marks.get(depth + 1) {
            self.floor = later.floor;
        }
        self.marks.truncate(depth + 1);
        self.free.clear();
        self.replaced.clear();
        for buffer in self.buffers.drain(self.floor as usize..).flatten() {
            self.bytes -= buffer.len();
            spare.push(buffer);
        }
        self.check();
    }

    /// Forgets mark `depth` and all later ones.
    pub(crate) fn release(&mut self, depth: usize, spare: &mut Vec<B>) {
        let replaced = |marks: &[Mark]| marks.iter().flat_map(|m| m.replaced.clone()).collect();
        // Each mark holds the lists that were current *before* it.
        let mut before: Vec<u32> = replaced(&self.marks[depth + 1..]);
        before.append(&mut self.replaced);
        for mark in self.marks.drain(depth..).rev() {
            self.floor = mark.floor;
            self.free.extend(mark.free);
            self.replaced = mark.replaced;
        }
        for slot in before {
            spare.extend(self.remove(slot));
        }
        self.check();
    }

    fn take(&mut self, slot: u32) -> Option<B> {
        let buffer = self.buffers[slot as usize].take();
        self.bytes -= buffer.as_ref().map_or(0, |buffer| buffer.len());
        buffer
    }

    /// Empties a slot for good: the slab is being sealed.
    pub(crate) fn take_sealed(&mut self, slot: u32) -> B {
        self.buffers[slot as usize].take().expect("a page is sealed once")
    }

    /// How many numbers were given.
    pub(crate) fn len(&self) -> usize {
        self.buffers.len()
    }

    /// Every buffer there is.
    pub(crate) fn into_buffers(self) -> impl Iterator<Item = B> {
        self.buffers.into_iter().flatten()
    }

    fn check(&self) {
        let has = |slot: &u32| self.buffers[*slot as usize].is_some();
        debug_assert!(self.free.iter().all(|slot| !has(slot) && !self.is_frozen(*slot)));
        debug_assert!(self.replaced.iter().all(|slot| has(slot) && self.is_frozen(*slot)));
        debug_assert!(self.floor as usize <= self.buffers.len());
    }
}
