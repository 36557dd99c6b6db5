//! One state of the database, held: the pages of it, each verified before it is first seen.
//!
//! ```text
//!   pointer ─► stamp in the mirror equal? ── yes ─► borrow
//!                       │ no
//!                       ▼
//!              has it a place there? ─ no ─► cache ─ no ─► read, verify, keep
//!                       │ yes
//!                       ▼
//!              read from the file, verify checksum and structure, place, borrow
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Damage, Error, Result};
use crate::mirror::Stamp;
use crate::page;
use crate::pages::{PageRef, Pages};
use crate::readers::Pin;
use crate::root::Root;
use crate::slice::Slice;
use crate::space::FIRST_PAGE;
use crate::store::Body;
use crate::types::{Extent, PageId, PagePtr, RunPtr, crc};

/// See the module.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) body: Arc<Body>,
    pub(crate) root: Root,
    pin: Pin,
}

impl Snapshot {
    pub(crate) fn newest(body: &Arc<Body>) -> Snapshot {
        let (pin, root) = body.readers.enter(body.clock.monotonic());
        Snapshot { body: Arc::clone(body), root, pin }
    }

    pub(crate) fn durable(body: &Arc<Body>) -> Snapshot {
        let (pin, root) = body.readers.enter_durable(body.clock.monotonic());
        Snapshot { body: Arc::clone(body), root, pin }
    }

    /// The state of the last flush, for one who keeps the next one from being settled meanwhile:
    /// until then no page of it is given away.
    pub(crate) fn flushed(body: &Arc<Body>, root: &Root) -> Snapshot {
        let pin = body.readers.enter_at(root.txn, body.clock.monotonic());
        Snapshot { body: Arc::clone(body), root: root.clone(), pin }
    }

    /// Whether this state can hold what was written by a transaction that ends in these 31 bits.
    /// A pointer from the future must not be followed: its page is not kept for this reader.
    #[inline]
    fn is_past(&self, stamp: Stamp) -> bool {
        let ahead = (self.root.txn.low().wrapping_sub(stamp.txn())) & (u32::MAX >> 1);
        ahead < 1 << 30
    }

    #[cold]
    fn load_page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let (extent, stamp) = (Extent { first: ptr.id, pages: 1 }, Stamp::page(ptr));
        self.check_extent(extent, stamp)?;
        let mirrored = self.body.mirror.takes(extent, stamp);
        if !mirrored && let Some(bytes) = self.body.cache.find(ptr.id, stamp) {
            return Ok(PageRef::Shared(bytes));
        }
        let bytes = self.verified_page(ptr)?;
        if mirrored {
            let placed = self.body.mirror.load(&self.pin, extent, stamp, &bytes);
            return placed
                .map(PageRef::Borrowed)
                .ok_or_else(|| self.corrupt(ptr.id, Damage::Pointer(ptr.id)));
        }
        let bytes = Bytes::from(bytes);
        self.body.cache.keep(ptr.id, stamp, bytes.clone());
        Ok(PageRef::Shared(bytes))
    }

    #[cold]
    fn load_run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let (extent, stamp) = (ptr.extent(self.body.page_bytes), Stamp::run(ptr));
        let len = ptr.bytes as usize;
        self.check_extent(extent, stamp)?;
        let mirrored = self.body.mirror.takes(extent, stamp);
        if !mirrored
            && let Some(bytes) = self.body.cache.find(ptr.id, stamp)
            && bytes.len() == extent.pages as usize * self.body.page_bytes
        {
            return Ok(Slice::shared(bytes.slice(..len)));
        }
        let bytes = self.verified_run(ptr)?;
        if mirrored {
            let placed = self.body.mirror.load(&self.pin, extent, stamp, &bytes);
            return placed
                .map(|bytes| Slice::borrowed(&bytes[..len]))
                .ok_or_else(|| self.corrupt(ptr.id, Damage::Pointer(ptr.id)));
        }
        let bytes = Bytes::from(bytes);
        self.body.cache.keep(ptr.id, stamp, bytes.clone());
        Ok(Slice::shared(bytes.slice(..len)))
    }

    fn verified_page(&self, ptr: PagePtr) -> Result<Vec<u8>> {
        let bytes = self.body.read(Extent { first: ptr.id, pages: 1 })?;
        if crc(ptr.id, &bytes) != ptr.crc {
            return Err(self.corrupt(ptr.id, Damage::Checksum));
        }
        page::check(&bytes, ptr.id).map_err(|what| self.corrupt(ptr.id, what))?;
        Ok(bytes)
    }

    /// The pages of a value, with what fills the last one.
    fn verified_run(&self, ptr: RunPtr) -> Result<Vec<u8>> {
        let bytes = self.body.read(ptr.extent(self.body.page_bytes))?;
        if crc(ptr.id, &bytes[..ptr.bytes as usize]) != ptr.crc {
            return Err(self.corrupt(ptr.id, Damage::Checksum));
        }
        Ok(bytes)
    }

    /// The page as it is in the file now, whatever is in memory.
    pub(crate) fn page_on_disk(&self, ptr: PagePtr) -> Result<Vec<u8>> {
        self.check_bounds(Extent { first: ptr.id, pages: 1 }, Stamp::page(ptr))?;
        self.verified_page(ptr)
    }

    /// The value as it is in the file now.
    pub(crate) fn run_on_disk(&self, ptr: RunPtr) -> Result<Vec<u8>> {
        self.check_bounds(ptr.extent(self.body.page_bytes), Stamp::run(ptr))?;
        let mut bytes = self.verified_run(ptr)?;
        bytes.truncate(ptr.bytes as usize);
        Ok(bytes)
    }

    /// What is read has to be in the file, and in this state of it. Bounds what is allocated.
    fn check_bounds(&self, extent: Extent, stamp: Stamp) -> Result<()> {
        let end = u64::from(extent.first.0) + u64::from(extent.pages);
        let inside = extent.first.0 >= FIRST_PAGE
            && extent.pages > 0
            && end <= u64::from(self.root.pages_end);
        if !inside || !self.is_past(stamp) {
            return Err(self.corrupt(extent.first, Damage::Pointer(extent.first)));
        }
        Ok(())
    }

    fn check_extent(&self, extent: Extent, stamp: Stamp) -> Result<()> {
        self.check_bounds(extent, stamp)?;
        // What is in the mirror under another stamp, or retired, is not what the pointer means.
        if self.body.mirror.takes(extent, stamp) && !self.body.mirror.is_absent(extent) {
            let borrowed = self.body.mirror.borrow(&self.pin, extent, stamp, 0);
            return borrowed.map(drop).ok_or_else(|| self.corrupt(extent.first, Damage::Checksum));
        }
        Ok(())
    }
}

impl Pages for Snapshot {
    #[inline]
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let (extent, stamp) = (Extent { first: ptr.id, pages: 1 }, Stamp::page(ptr));
        let mirror = &self.body.mirror;
        if mirror.covers(extent)
            && self.is_past(stamp)
            && let Some(bytes) = mirror.borrow(&self.pin, extent, stamp, self.body.page_bytes)
        {
            return Ok(PageRef::Borrowed(bytes));
        }
        self.load_page(ptr)
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let (extent, stamp) = (ptr.extent(self.body.page_bytes), Stamp::run(ptr));
        let mirror = &self.body.mirror;
        if mirror.covers(extent)
            && self.is_past(stamp)
            && let Some(bytes) = mirror.borrow(&self.pin, extent, stamp, ptr.bytes as usize)
        {
            return Ok(Slice::borrowed(bytes));
        }
        self.load_run(ptr)
    }

    fn page_bytes(&self) -> usize {
        self.body.page_bytes
    }

    fn page_count(&self) -> u32 {
        self.root.pages_end
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        self.body.corrupt(page, what)
    }
}
