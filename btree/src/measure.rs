//! What does the tree cost without its store?
//!
//! **Method.** 2 M records (keys of 16 to 24 bytes, values of 150 bytes) over pages in anonymous
//! memory laid out as the mirror lays them out, no file, no locks. One thread; CPU time is wall
//! time.
//!
//! **Expectation**, from counting cache misses at about 90 ns: a get has one TLB miss and five
//! cache misses in the leaf and one or two above it: 0.7 µs. A scan of 100 rows crosses five
//! leaves: 0.7 µs for the seek and 5 × 0.5 µs. A random put in batches of 10 k copies, checksums
//! and publishes one page: 4 KiB read and written three times, 1.5 µs with the way down. Sorted: 24
//! records a page, 0.1 µs.
//!
//! `MEASURE=2000000 cargo test --release -p drystone-btree measure -- --nocapture`; without the
//! variable it runs over a few records, so that it cannot rot.

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{Clock, OsClock};
use memmap2::{Advice, MmapMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cursor::Cursor;
use crate::draft::{Allocate, Buffer, Draft, Spare};
use crate::error::{Damage, Error, Result};
use crate::forest::Forest;
use crate::pages::{PageRef, Pages};
use crate::range::Range;
use crate::slice::Slice;
use crate::tree::get;
use crate::types::{Extent, PageId, PagePtr, RunPtr, TxnId};
use crate::verify::{Seen, verify};

const PAGE: usize = 4096;
const CHUNK_PAGES: usize = 1 << 14;

struct Mirror {
    chunks: Vec<MmapMut>,
    free: Vec<u32>,
    end: u32,
}

impl Mirror {
    fn place(&mut self, id: PageId) -> &mut [u8] {
        let (chunk, at) = (id.0 as usize / CHUNK_PAGES, id.0 as usize % CHUNK_PAGES * PAGE);
        while self.chunks.len() <= chunk {
            let map = MmapMut::map_anon(CHUNK_PAGES * PAGE).unwrap();
            map.advise(Advice::HugePage).unwrap();
            self.chunks.push(map);
        }
        &mut self.chunks[chunk][at..at + PAGE]
    }
}

struct Numbers<'a>(&'a mut Vec<u32>, &'a mut u32);

impl Allocate for Numbers<'_> {
    fn allocate(&mut self, pages: u32) -> Result<Extent> {
        match self.0.pop() {
            Some(id) => Ok(Extent { first: PageId(id), pages: 1 }),
            None => self.allocate_run(pages),
        }
    }

    fn allocate_run(&mut self, pages: u32) -> Result<Extent> {
        let first = PageId(*self.1);
        *self.1 += pages;
        Ok(Extent { first, pages })
    }
}

impl Pages for Mirror {
    #[inline]
    fn page(&self, ptr: PagePtr) -> Result<PageRef<'_>> {
        let (chunk, at) = (ptr.id.0 as usize / CHUNK_PAGES, ptr.id.0 as usize % CHUNK_PAGES * PAGE);
        Ok(PageRef::Borrowed(&self.chunks[chunk][at..at + PAGE]))
    }

    fn run(&self, ptr: RunPtr) -> Result<Slice<'_>> {
        Err(self.corrupt(ptr.id, Damage::FileEnds))
    }

    fn page_bytes(&self) -> usize {
        PAGE
    }

    fn page_count(&self) -> u32 {
        self.end
    }

    fn corrupt(&self, _: PageId, what: Damage) -> Error {
        Error::Corrupt { file: Arc::from(Path::new("memory")), offset: 0, what }
    }
}

fn commit(mirror: &mut Mirror, draft: Draft, txn: u64) -> (Forest, Vec<Buffer>) {
    let (mut free, mut end) = (std::mem::take(&mut mirror.free), mirror.end);
    let sealed = draft.seal(mirror, TxnId(txn), &mut Numbers(&mut free, &mut end)).unwrap();
    (mirror.free, mirror.end) = (free, end);
    let mut spare = sealed.spare.0;
    for page in sealed.pages {
        mirror.place(page.ptr.id).copy_from_slice(&page.bytes);
        spare.push(page.bytes);
    }
    mirror.free.extend(sealed.freed.iter().map(|extent| extent.first.0));
    (sealed.forest, spare)
}

fn key(n: u64) -> Vec<u8> {
    let mut key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
    key.extend(n.to_be_bytes());
    key.resize(16 + (n % 9) as usize, b'x');
    key
}

fn load(keys: &[Vec<u8>], batch: usize) -> (Mirror, Forest) {
    let mut mirror = Mirror { chunks: Vec::new(), free: Vec::new(), end: 2 };
    let (mut forest, mut spare) = (Forest::default(), Vec::new());
    for (i, keys) in keys.chunks(batch).enumerate() {
        let mut draft = Draft::new(&forest, PAGE, Spare(spare));
        let tree = draft.create_tree("t").unwrap();
        for key in keys {
            draft.put(&mirror, tree, key, &[7; 150]).unwrap();
        }
        (forest, spare) = commit(&mut mirror, draft, i as u64 + 1);
    }
    (mirror, forest)
}

fn remove(mirror: &mut Mirror, mut forest: Forest, keys: &[Vec<u8>]) {
    let (tree, mut spare) = (forest.entries()[0].id, Vec::new());
    for (i, keys) in keys.chunks(10_000).enumerate() {
        let mut draft = Draft::new(&forest, PAGE, Spare(spare));
        for key in keys {
            assert!(draft.delete(mirror, tree, key).unwrap());
        }
        (forest, spare) = commit(mirror, draft, 1_000_000 + i as u64);
    }
    assert!(forest.root(tree).unwrap().ptr.is_none());
}

fn timed<T>(what: &str, ops: usize, run: impl FnOnce() -> T) -> T {
    let clock = OsClock::new();
    let result = run();
    let taken = clock.monotonic();
    println!("{what:30} {:8.3} us/op", taken.as_secs_f64() * 1e6 / ops as f64);
    result
}

fn reads(mirror: &Mirror, forest: &Forest, keys: &[Vec<u8>]) {
    let root = forest.entries()[0].root;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let ops = keys.len();
    let picks: Vec<usize> = (0..ops).map(|_| rng.random_range(0..keys.len())).collect();
    timed("get, hit", ops, || {
        let mut sum = 0;
        for pick in &picks {
            sum += get(mirror, root, &keys[*pick]).unwrap().unwrap()[149] as usize;
        }
        assert_eq!(sum, ops * 7);
    });
    timed("get, miss", ops, || {
        for pick in &picks {
            let key = &keys[*pick];
            assert!(get(mirror, root, &key[..15]).unwrap().is_none());
        }
    });
    let scans = ops / 100 + 1;
    timed("scan of 100, range", scans, || {
        for pick in &picks[..scans] {
            let lower = std::ops::Bound::Included(&keys[*pick][..]);
            let range = Range::new(mirror, root, lower, std::ops::Bound::Unbounded);
            let mut sum = 0;
            for record in range.take(100) {
                let (key, value) = record.unwrap();
                sum += usize::from(key[0]) + usize::from(value[149]);
            }
            assert!(sum > 0);
        }
    });
    timed("scan of 100, cursor", scans, || {
        for pick in &picks[..scans] {
            let mut cursor = Cursor::new(mirror, root);
            let mut is_on = cursor.seek(&keys[*pick]).unwrap();
            let (mut sum, mut rows) = (0, 0);
            while is_on && rows < 100 {
                let value = cursor.value().unwrap().unwrap();
                sum += usize::from(cursor.key().unwrap()[0]) + usize::from(value[149]);
                rows += 1;
                is_on = cursor.next().unwrap();
            }
            assert!(sum > 0);
        }
    });
    timed("full scan, a row", ops, || {
        let range =
            Range::new(mirror, root, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let values: usize = range.map(|record| record.unwrap().1.len()).sum();
        assert_eq!(values, keys.len() * 150);
    });
    let tally = verify(mirror, root, PAGE, &mut Seen::default()).unwrap();
    let whole = (tally.pages * PAGE as u64) as f64;
    println!(
        "{} pages, {} levels, {:.0} % full, {:.0} MiB",
        tally.pages,
        tally.depth,
        tally.bytes_used as f64 / whole * 100.0,
        whole / 1048576.0
    );
}

fn keys() -> Vec<Vec<u8>> {
    let count = std::env::var("MEASURE").map_or(20_000, |count| count.parse().unwrap());
    (0..count).map(key).collect()
}

// The paths that are measured are those that are used.
#[test]
fn measure_random() {
    let keys = keys();
    let (mut mirror, forest) = timed("random load, 10 k a txn", keys.len(), || load(&keys, 10_000));
    if std::env::var("READS").as_deref() != Ok("0") {
        reads(&mirror, &forest, &keys);
    }
    timed("random removal, 10 k a txn", keys.len(), || remove(&mut mirror, forest, &keys));
}

// As above.
#[test]
fn measure_sorted() {
    let mut keys = keys();
    keys.sort_unstable();
    let (mirror, forest) = timed("sorted load, 10 k a txn", keys.len(), || load(&keys, 10_000));
    if std::env::var("READS").as_deref() != Ok("0") {
        reads(&mirror, &forest, &keys);
    }
}
