//! A look into a database file, for people: what stands where, sound or not.
//!
//! Everything here is lenient. Nothing is locked, nothing is changed, and no bytes, however bad,
//! are an error: they are shown. So it works on a damaged file and beside a live writer; then,
//! however, what is seen is not of one moment, and pages may be written over meanwhile. Verdicts
//! about a whole database come from [`Db::open_read_only`](crate::Db::open_read_only) and
//! [`Db::verify`](crate::Db::verify).
//!
//! ```text
//!   Survey::open ─► slots       both records, their copies, the marks, a line each
//!                   walk        from the newest record down: catalog, trees, values, free map;
//!                               whatever is damaged is one part, and what it led to is missing
//!                   page        one page, with every cell
//! ```

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::bits::Bits;
use crate::cursor::Walk;
use crate::error::{Damage, Error, Result};
use crate::forest::{Entry, Forest};
use crate::freemap::FreeMap;
use crate::inspect::inspect;
use crate::meta::{Decoded, MARK_OFFSET, Mark, Meta, RECORD_BYTES, SLOT_BYTES, Written};
use crate::page::{Page, check, children, runs};
use crate::pages::{PageRef, Pages};
use crate::slice::Slice;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TreeRoot, crc};

/// A file that is being looked at.
#[derive(Debug)]
pub struct Survey {
    file: Arc<dyn File>,
    path: Arc<Path>,
    bytes: u64,
    head: Vec<u8>,
    page_bytes: usize,
}

/// Something that a pointer leads to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Part {
    /// Its first page.
    pub page: PageId,
    /// How many pointers lead to it from its tree's root.
    pub depth: usize,
    /// What is wrong with it; what is below it is not looked at then.
    pub damage: Option<Damage>,
    /// A description in one line.
    pub text: String,
}

impl Survey {
    /// Opens a file to look into it.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if it cannot be opened or read.
    pub fn open(vfs: &dyn Vfs, path: &Path) -> Result<Survey> {
        let failed = |error| Error::io("read", path, error);
        let file = vfs.open(path, OpenMode::Read).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let mut head = vec![0; 2 * SLOT_BYTES];
        let len = file.read_at(&mut head, 0).map_err(failed)?;
        head.truncate(len);
        let mut survey = Survey { file, path: Arc::from(path), bytes, head, page_bytes: 4096 };
        if let Some((_, meta)) = survey.newest() {
            survey.page_bytes = meta.page_bytes as usize;
        }
        Ok(survey)
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes in a page: those that the newest record says, or 4096.
    pub fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The records, their copies and the marks, a line each.
    pub fn slots(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for slot in 0..2 {
            let from = |at: usize| self.head.get(slot * SLOT_BYTES + at..).unwrap_or_default();
            let [first, second] = [0, RECORD_BYTES].map(|at| Meta::decode(from(at)));
            let same =
                matches!((&first, &second), (Decoded::Record(a), Decoded::Record(b)) if a == b);
            lines.push(format!("slot {slot}  record  {}", record_text(&first)));
            let copy = if same { "the same".into() } else { record_text(&second) };
            lines.push(format!("slot {slot}  copy    {copy}"));
            let mark = Mark::decode(from(MARK_OFFSET));
            let mark = mark.map_or_else(
                || "none".into(),
                |mark| format!("flush {} was durable, transaction {}", mark.seq, mark.txn),
            );
            lines.push(format!("slot {slot}  mark    {mark}"));
        }
        lines
    }

    /// The newest record that is sound in itself, with its slot.
    fn newest(&self) -> Option<(usize, Meta)> {
        let places = [0, RECORD_BYTES, SLOT_BYTES, SLOT_BYTES + RECORD_BYTES];
        let records = places.into_iter().filter_map(|at| {
            match Meta::decode(self.head.get(at..).unwrap_or_default()) {
                Decoded::Record(meta) => Some((at / SLOT_BYTES, meta)),
                _ => None,
            }
        });
        records.max_by_key(|(_, meta)| meta.seq)
    }

    /// Everything that the newest record leads to, in the order of the keys; the slot that it is
    /// in, or none if there is no record. Whether its flush was completed is not asked.
    ///
    /// # Errors
    /// What `visit` returns.
    pub fn walk<E>(
        &self,
        visit: &mut dyn FnMut(&Part) -> std::result::Result<(), E>,
    ) -> std::result::Result<Option<usize>, E> {
        let Some((slot, meta)) = self.newest() else {
            return Ok(None);
        };
        let mut walker = Walker { survey: self, end: meta.end, seen: Bits::default(), visit };
        walker.tree("catalog", meta.catalog)?;
        for entry in self.trees(&meta) {
            walker.tree(&entry.name, entry.root)?;
        }
        walker.free_map(&meta)?;
        Ok(Some(slot))
    }

    /// The trees that the catalog names: as many as can be read.
    fn trees(&self, meta: &Meta) -> Vec<Entry> {
        let pages = Lenient { survey: self, end: meta.end };
        if let Ok(forest) = Forest::load(&pages, meta.catalog) {
            return forest.entries().to_vec();
        }
        // A part of the catalog may be there.
        let mut walk = Walk::new(&pages, meta.catalog);
        let mut entries = Vec::new();
        let mut is_there = walk.first().unwrap_or(false);
        while is_there && entries.len() < crate::forest::TREES_MAX {
            let value = walk.value();
            entries.extend(value.ok().and_then(|value| crate::forest::decode(&walk.key(), &value)));
            is_there = walk.next().unwrap_or(false);
        }
        entries
    }

    /// One page, with every cell of it; also if nothing leads to it.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if it cannot be read.
    pub fn page(&self, page: PageId) -> Result<String> {
        let Some(bytes) = self.read(Extent { first: page, pages: 1 })? else {
            return Ok("the file ends before it\n".into());
        };
        if page.offset(self.page_bytes) < 2 * SLOT_BYTES as u64 {
            return Ok(self.slots().join("\n") + "\n");
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok("zeros\n".into());
        }
        let text = inspect(&bytes);
        Ok(if text.starts_with("damaged") { format!("no page of a tree: {text}") } else { text })
    }

    /// The bytes of pages, if the file has them.
    fn read(&self, extent: Extent) -> Result<Option<Vec<u8>>> {
        let offset = extent.first.offset(self.page_bytes);
        let len = u64::from(extent.pages) * self.page_bytes as u64;
        if offset + len > self.bytes {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        let read = self.file.read_exact_at(&mut bytes, offset);
        read.map_err(|error| Error::io("read", &self.path, error))?;
        Ok(Some(bytes))
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        let offset = page.offset(self.page_bytes);
        Error::Corrupt { file: Arc::clone(&self.path), offset, what }
    }
}

fn record_text(decoded: &Decoded) -> String {
    let meta = match decoded {
        Decoded::Bad(reason) => return reason.to_string(),
        Decoded::Future(version) => return format!("of format version {version}"),
        Decoded::Record(meta) => meta,
    };
    let written = match &meta.written {
        Written::Before => "synced before it".into(),
        Written::With { runs, .. } => {
            let pages: u64 = runs.iter().map(|run| u64::from(run.pages)).sum();
            format!("{pages} written with it")
        }
    };
    let journal = meta.journal.map(|lsn| format!(", journal from record {lsn}"));
    format!(
        "flush {}, transaction {}, database {:016x}, pages of {} bytes, {} of them, {written}{}",
        meta.seq,
        meta.txn,
        meta.db_id,
        meta.page_bytes,
        meta.end,
        journal.unwrap_or_default(),
    )
}

/// Goes down from a record.
struct Walker<'a, E> {
    survey: &'a Survey,
    end: u32,
    seen: Bits,
    visit: &'a mut dyn FnMut(&Part) -> std::result::Result<(), E>,
}

impl<E> Walker<'_, E> {
    fn tree(&mut self, name: &str, root: TreeRoot) -> std::result::Result<(), E> {
        let text = format!("tree {name:?}, {} records", root.records);
        (self.visit)(&Part { page: root.ptr.id, depth: 0, damage: None, text })?;
        if root.ptr.is_none() { Ok(()) } else { self.page(root.ptr, root.level, 1) }
    }

    fn damaged(
        &mut self,
        page: PageId,
        depth: usize,
        damage: Damage,
    ) -> std::result::Result<(), E> {
        let text = damage.to_string();
        (self.visit)(&Part { page, depth, damage: Some(damage), text })
    }

    /// Notes that pages are used.
    fn claim(&mut self, extent: Extent) -> std::result::Result<(), Damage> {
        let end = u64::from(extent.first.0) + u64::from(extent.pages);
        if extent.first.0 < 2 || extent.pages == 0 || end > u64::from(self.end) {
            return Err(Damage::Pointer(extent.first));
        }
        let is_new = self.seen.fill(extent.first.0, extent.pages, true) == extent.pages;
        if is_new { Ok(()) } else { Err(Damage::Twice) }
    }

    fn page(&mut self, ptr: PagePtr, level: u8, depth: usize) -> std::result::Result<(), E> {
        let extent = Extent { first: ptr.id, pages: 1 };
        let sound = self.claim(extent).and_then(|()| self.survey.sound_page(ptr, level));
        let bytes = match sound {
            Ok(bytes) => bytes,
            Err(damage) => return self.damaged(ptr.id, depth, damage),
        };
        let page = Page(&bytes);
        let unit = if page.is_leaf() { "records" } else { "children" };
        let kind = if page.is_leaf() { "leaf" } else { "branch" };
        let text = format!(
            "{kind}, level {}, transaction {}, {} {unit}, {} bytes used",
            page.level(),
            page.txn(),
            page.count(),
            page.used_bytes(),
        );
        (self.visit)(&Part { page: ptr.id, depth, damage: None, text })?;
        for child in children(page) {
            self.page(child, level - 1, depth + 1)?;
        }
        for (_, run) in runs(page) {
            self.run(run, depth + 1)?;
        }
        Ok(())
    }

    fn run(&mut self, ptr: RunPtr, depth: usize) -> std::result::Result<(), E> {
        let extent = ptr.extent(self.survey.page_bytes);
        let sound = self.claim(extent).and_then(|()| self.survey.sound_run(ptr));
        match sound {
            Err(damage) => self.damaged(ptr.id, depth, damage),
            Ok(_) => {
                let text = format!("value of {} bytes in {} pages", ptr.bytes, extent.pages);
                (self.visit)(&Part { page: ptr.id, depth, damage: None, text })
            }
        }
    }

    fn free_map(&mut self, meta: &Meta) -> std::result::Result<(), E> {
        let survey = self.survey;
        let wrong = |ptr: PagePtr| (ptr.id, Damage::Checksum);
        let page = |ptr: PagePtr| match survey.read(Extent { first: ptr.id, pages: 1 }) {
            Ok(Some(bytes)) if crc(ptr.id, &bytes) == ptr.crc => Ok(bytes),
            _ => Err(wrong(ptr)),
        };
        if u64::from(meta.end) * survey.page_bytes as u64 > survey.bytes {
            return self.damaged(PageId(meta.end - 1), 0, Damage::FileEnds);
        }
        let (page_bytes, end) = (survey.page_bytes, meta.end);
        let map = FreeMap::load(page_bytes, end, &meta.directories, &meta.changed, page, wrong);
        match map {
            Err((page, damage)) => self.damaged(page, 0, damage),
            Ok(map) => {
                let (free, own) = (map.free().count(), map.own_pages().count());
                let text = format!("free map, {free} free pages, {own} pages of its own");
                (self.visit)(&Part { page: PageId(0), depth: 0, damage: None, text })
            }
        }
    }
}

impl Survey {
    fn sound_page(&self, ptr: PagePtr, level: u8) -> std::result::Result<Vec<u8>, Damage> {
        let read = self.read(Extent { first: ptr.id, pages: 1 });
        let bytes = read.map_err(|_| Damage::Unreadable)?.ok_or(Damage::FileEnds)?;
        if crc(ptr.id, &bytes) != ptr.crc {
            return Err(Damage::Checksum);
        }
        check(&bytes, ptr.id)?;
        if Page(&bytes).level() == level { Ok(bytes) } else { Err(Damage::Level) }
    }

    fn sound_run(&self, ptr: RunPtr) -> std::result::Result<Vec<u8>, Damage> {
        let read = self.read(ptr.extent(self.page_bytes));
        let mut bytes = read.map_err(|_| Damage::Unreadable)?.ok_or(Damage::FileEnds)?;
        bytes.truncate(ptr.bytes as usize);
        if crc(ptr.id, &bytes) == ptr.crc { Ok(bytes) } else { Err(Damage::Checksum) }
    }
}

/// The pages of the file for those who read the catalog.
struct Lenient<'a> {
    survey: &'a Survey,
    end: u32,
}

impl Pages for Lenient<'_> {
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let bytes = match self.survey.read(Extent { first: ptr.id, pages: 1 })? {
            Some(bytes) if crc(ptr.id, &bytes) == ptr.crc => bytes,
            _ => return Err(self.corrupt(ptr.id, Damage::Checksum)),
        };
        check(&bytes, ptr.id).map_err(|what| self.corrupt(ptr.id, what))?;
        Ok(PageRef::Shared(bytes.into()))
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        let bytes = self.survey.sound_run(ptr).map_err(|what| self.corrupt(ptr.id, what))?;
        Ok(Slice::shared(bytes.into()))
    }

    fn page_bytes(&self) -> usize {
        self.survey.page_bytes
    }

    fn page_count(&self) -> u32 {
        self.end
    }

    fn corrupt(&self, page: PageId, what: Damage) -> Error {
        self.survey.corrupt(page, what)
    }
}
