//! Finding a key in a page: heads first.

use std::cmp::Ordering;

use super::{Page, SLOT_BYTES, Slot, head_of};

impl Page<'_> {
    /// Where the key is in a leaf, or where it would have to be.
    #[inline]
    pub(crate) fn find(self, key: &[u8]) -> Result<usize, usize> {
        match self.suffix_of(key) {
            Ok(suffix) => self.find_suffix(suffix, 0),
            Err(Ordering::Less) => Err(0),
            Err(_) => Err(self.count()),
        }
    }

    /// Which child of a branch holds the key, if any does.
    #[inline]
    pub(crate) fn find_child(self, key: &[u8]) -> usize {
        match self.suffix_of(key) {
            // A separator belongs to the child on its right.
            Ok(suffix) => match self.find_suffix(suffix, 1) {
                Ok(at) => at,
                Err(at) => at - 1,
            },
            Err(Ordering::Less) => 0,
            Err(_) => self.count() - 1,
        }
    }

    /// The key without the page's prefix, or on which side of all keys it lies.
    #[inline]
    fn suffix_of(self, key: &[u8]) -> Result<&[u8], Ordering> {
        let prefix = self.prefix();
        match key.split_at_checked(prefix.len()) {
            Some((head, suffix)) if head == prefix => Ok(suffix),
            // A key that ends within the prefix sorts before all that have the whole of it.
            _ => Err(key.cmp(prefix)),
        }
    }

    /// Binary search among the slots from `first` on.
    #[inline]
    fn find_suffix(self, suffix: &[u8], first: usize) -> Result<usize, usize> {
        let head = head_of(suffix);
        let slots = &self.slots()[first..];
        let at = first + lower_bound(slots, u64::from(head) << 32);
        match slots.get(at - first) {
            Some(slot) if Slot(u64::from_le_bytes(*slot)).head() == head => {
                self.find_among_equals(suffix, head, at)
            }
            _ => Err(at),
        }
    }

    /// Goes on behind the heads: `at` is the first slot with that head.
    #[inline]
    fn find_among_equals(self, suffix: &[u8], head: u32, at: usize) -> Result<usize, usize> {
        match suffix.cmp(self.suffix(at)) {
            Ordering::Equal => return Ok(at),
            Ordering::Less => return Err(at),
            Ordering::Greater => {}
        }
        let (mut lo, mut hi) = (at + 1, self.count());
        if lo < hi && self.slot(lo).head() > head {
            return Err(lo);
        }
        while lo < hi {
            let mid = lo.midpoint(hi);
            let order = self.slot(mid).head().cmp(&head).then_with(|| self.suffix(mid).cmp(suffix));
            match order {
                Ordering::Equal => return Ok(mid),
                Ordering::Less => lo = mid + 1,
                Ordering::Greater => hi = mid,
            }
        }
        Err(lo)
    }
}

/// How many slots are below `least`. A comparison becomes a number and never a jump: the search
/// runs through all its steps whatever the data.
#[inline]
fn lower_bound(slots: &[[u8; SLOT_BYTES]], least: u64) -> usize {
    let mut rest = slots;
    let mut below = 0;
    while rest.len() > 1 {
        let half = rest.len() / 2;
        let step = usize::from(u64::from_le_bytes(rest[half - 1]) < least) * half;
        below += step;
        rest = &rest[step..step + rest.len() - half];
    }
    below + usize::from(rest.first().is_some_and(|slot| u64::from_le_bytes(*slot) < least))
}
