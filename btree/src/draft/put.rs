//! Putting a record: into the leaf, and up the tree if that is full.
//!
//! A full leaf gives records to a neighbour that has room (see [`share`](super::share)); if none
//! has, the page is split where its bytes are halved, unless the new record is at an end of the tree:
//! then what comes next will likely be there too, the old page stays full, and the new one begins
//! with the new record alone.
//!
//! ```text
//!   random   [a c e g]  + d   ──►  [a c d] [e g]
//!   sorted   [a c e g]  + k   ──►  [a c e g] [k]
//! ```

use smallvec::SmallVec;

use super::edit::{Edit, Hint, Path};
use crate::error::{Error, Result};
use crate::page::{
    Bias, Cell, HEADER_BYTES, Item, Page, Value, build, built_bytes, is_inline, key_bytes_max,
    separator, split_point,
};
use crate::pages::Pages;
use crate::types::{PagePtr, TreeRoot};

/// The longest value: 1 GiB.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// A key that tells two pages apart.
type Separator = SmallVec<[u8; 64]>;

impl<P: Pages> Edit<'_, P> {
    /// Sets a record; true if the key was there before.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        check_sizes(self.dirty.page_bytes(), key, value)?;
        let mut path = Path::new();
        if self.root.ptr.is_none() {
            self.plant(key, value);
            return Ok(false);
        }
        let (hint, end) = match self.hint.and_then(|hint| self.belongs(hint, key)) {
            Some(hinted) => hinted,
            None => (self.descend(Some(key), &mut path)?, None),
        };
        *self.hint = Some(hint);
        let leaf = self.dirty.page(hint.leaf);
        let (at, found) = match end.map_or_else(|| leaf.find(key), Err) {
            Ok(at) => (at, Some(leaf.value(at))),
            Err(at) => (at, None),
        };
        let inline = is_inline(self.dirty.page_bytes(), key.len(), value.len());
        if let Some(old) = found {
            if inline && self.dirty.page_mut(hint.leaf).overwrite(at, value) {
                return Ok(true);
            }
            if let Value::Run(ptr) = old {
                self.dirty.free_run(ptr);
            }
            self.dirty.page_mut(hint.leaf).remove(at);
        }
        let cell = if inline { Cell::value(value) } else { Cell::run(self.dirty.add_run(value)) };
        if !self.dirty.page_mut(hint.leaf).insert(at, key, &cell) {
            self.make_room(hint, at, key, &cell, path)?;
        }
        // The count comes from the catalog, which may say anything.
        self.root.records = self.root.records.saturating_add(u64::from(found.is_none()));
        Ok(found.is_some())
    }

    /// The hint, if a key is within the leaf of the last change; with its place, if that is the
    /// leaf's end.
    fn belongs(&self, hint: Hint, key: &[u8]) -> Option<(Hint, Option<usize>)> {
        let leaf = self.dirty.page(hint.leaf);
        let count = leaf.count();
        if leaf.key(count - 1).cmp(key).is_lt() {
            return hint.is_last.then_some((hint, Some(count)));
        }
        (hint.is_first || leaf.key(0).cmp(key).is_le()).then_some((hint, None))
    }

    /// The first record of a tree.
    fn plant(&mut self, key: &[u8], value: &[u8]) {
        let inline = is_inline(self.dirty.page_bytes(), key.len(), value.len());
        let cell = if inline { Cell::value(value) } else { Cell::run(self.dirty.add_run(value)) };
        let mut page = self.dirty.buffer();
        build(&mut page, 0, &[cell.item(key)], 0);
        let leaf = self.dirty.add(page);
        *self.root = TreeRoot { ptr: PagePtr::draft(leaf), level: 0, records: 1 };
        *self.hint = Some(Hint { leaf, is_first: true, is_last: true });
    }

    /// Puts a cell into a leaf that has no room for it as it is.
    fn make_room(
        &mut self,
        hint: Hint,
        at: usize,
        key: &[u8],
        cell: &Cell<'_>,
        mut path: Path,
    ) -> Result<()> {
        let count = self.dirty.page(hint.leaf).count();
        let bias = match at {
            _ if at == count && hint.is_last => Bias::Right,
            0 if hint.is_first => Bias::Left,
            _ => Bias::Middle,
        };
        if path.is_empty() && self.root.level > 0 {
            // The hint spared the way down; all pages on it are private, so nothing is read.
            self.descend(Some(key), &mut path)?;
        }
        if bias == Bias::Middle
            && !self.fits_anew(hint.leaf, key, cell)
            && self.share(&path, at, key, cell)
        {
            *self.hint = None;
            return Ok(());
        }
        let Some((mut key, mut right)) = self.grow(hint.leaf, at, key, cell, bias) else {
            return Ok(());
        };
        *self.hint = match bias {
            Bias::Right => Some(Hint { leaf: right, is_first: false, is_last: true }),
            _ => None,
        };
        while let Some(step) = path.pop() {
            let cell = Cell::child(PagePtr::draft(right));
            let at = step.at + 1;
            let bias = if at == self.dirty.page(step.slot).count() { bias } else { Bias::Middle };
            if self.dirty.page_mut(step.slot).insert(at, &key, &cell) {
                return Ok(());
            }
            match self.grow(step.slot, at, &key, &cell, bias) {
                Some(split) => (key, right) = split,
                None => return Ok(()),
            }
        }
        self.raise(&key, right);
        Ok(())
    }

    /// Whether the leaf has room for one cell more once its dead bytes are gone, for all that is
    /// known without a look at the keys.
    fn fits_anew(&self, leaf: u32, key: &[u8], cell: &Cell<'_>) -> bool {
        let page = self.dirty.page(leaf);
        let bytes = HEADER_BYTES + page.used_bytes() + cell.item(key).bytes();
        bytes <= self.dirty.page_bytes() + page.prefix().len()
    }

    /// Builds a page anew with one cell more; if that is too much, as two pages, and answers with
    /// the second and the separator in front of it.
    fn grow(
        &mut self,
        slot: u32,
        at: usize,
        key: &[u8],
        cell: &Cell<'_>,
        bias: Bias,
    ) -> Option<(Separator, u32)> {
        if let Some(split) = self.grow_beside(slot, at, cell.item(key), bias) {
            return Some(split);
        }
        let (mut left, mut right) = (self.dirty.buffer(), self.dirty.buffer());
        match build_grown(self.dirty.page(slot), at, cell.item(key), bias, &mut left, &mut right) {
            Grown::One => {
                self.dirty.replace(slot, left);
                self.dirty.recycle(right);
                None
            }
            Grown::Two(separator) => {
                self.dirty.replace(slot, left);
                Some((separator, self.dirty.add(right)))
            }
            Grown::Beside(separator) => {
                self.dirty.recycle(left);
                Some((separator, self.dirty.add(right)))
            }
        }
    }

    /// What [`grow`](Self::grow) comes to for a record behind the end of a leaf that is full, of
    /// which nothing has to be built anew: sorted loads get here once for each page.
    fn grow_beside(
        &mut self,
        slot: u32,
        at: usize,
        item: Item<'_>,
        bias: Bias,
    ) -> Option<(Separator, u32)> {
        let page = self.dirty.page(slot);
        if bias != Bias::Right || !page.is_leaf() || at == 0 || at != page.count() {
            return None;
        }
        let prefix = page.prefix().len();
        let fits = HEADER_BYTES + page.used_bytes() + item.bytes() <= page.0.len() + prefix;
        // A page whose keys have more in common than it knows gets smaller when it is built anew.
        if fits || page.key(0).common(item.key) > prefix {
            return None;
        }
        let mut right = self.dirty.buffer();
        let last = self.dirty.page(slot).key(at - 1);
        let separator = separator(last, item.key);
        build(&mut right, 0, &[item], last.common(item.key));
        Some((separator, self.dirty.add(right)))
    }

    /// Puts a branch above the root, which was split.
    fn raise(&mut self, key: &[u8], right: u32) {
        let level = self.root.level + 1;
        let mut page = self.dirty.buffer();
        let (left, right) = (Cell::child(self.root.ptr), Cell::child(PagePtr::draft(right)));
        build(&mut page, level, &[left.item(&[]), right.item(key)], 0);
        self.root.ptr = PagePtr::draft(self.dirty.add(page));
        self.root.level = level;
    }
}

/// What became of a page that had no room.
enum Grown {
    /// It has, built anew.
    One,
    /// Two pages, and what tells them apart.
    Two(Separator),
    /// The old page is as it was; the new cell is alone in the right one.
    Beside(Separator),
}

/// Builds the page with one item more, as one or as two.
fn build_grown(
    page: Page<'_>,
    at: usize,
    item: Item<'_>,
    bias: Bias,
    left: &mut [u8],
    right: &mut [u8],
) -> Grown {
    let level = page.level();
    let mut items: SmallVec<[Item<'_>; 64]> = (0..at).map(|i| page.item(i)).collect();
    items.push(item);
    items.extend((at..page.count()).map(|i| page.item(i)));
    if built_bytes(level, &items) <= left.len() {
        build(left, level, &items, 0);
        return Grown::One;
    }
    let split = split_point(left.len(), level, &items, bias);
    let (last, first) = (items[split - 1].key, items[split].key);
    let separator = if level == 0 { separator(last, first) } else { first.truncated(first.len()) };
    // Neighbours that follow will have in common what these two have.
    build(right, level, &items[split..], last.common(first));
    if split == at && at == page.count() {
        return Grown::Beside(separator);
    }
    build(left, level, &items[..split], 0);
    Grown::Two(separator)
}

/// Refuses what no page can hold.
fn check_sizes(page_bytes: usize, key: &[u8], value: &[u8]) -> Result<()> {
    let limits = [(key.len(), key_bytes_max(page_bytes)), (value.len(), VALUE_BYTES_MAX)];
    for (bytes, bytes_max) in limits {
        if bytes > bytes_max {
            return Err(Error::TooLarge { bytes: bytes as u64, bytes_max: bytes_max as u64 });
        }
    }
    Ok(())
}
