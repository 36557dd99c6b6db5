//! Tables that are wrong although every checksum is right: written by a bug, or by an enemy.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{MemVfs, OpenMode, Vfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{PATH, build, forms, is_damage, open, options, rows};
use crate::compress::{Compression, Packer};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::key::{SeqNo, hash};
use crate::table::block::Layout;
use crate::table::footer::{Extent, FOOTER_BYTES, Footer};
use crate::table::seal::{SEAL_BYTES, Seal};
use crate::table::{Fill, Show, Table, TableMeta, TableOptions, inspect};
use crate::testing::{Row, seeds};

/// The unpacked parts of a table: blocks, pages, leaves; then ranges, root and meta.
struct Apart {
    seal: Seal,
    parts: Vec<Vec<u8>>,
    blocks: usize,
    pages: usize,
    /// The first block of each leaf.
    firsts: Vec<usize>,
    meta: TableMeta,
}

impl Apart {
    fn take(disk: &MemVfs, meta: &TableMeta) -> Apart {
        let table = open(disk, meta).unwrap();
        let seal = Seal::new(meta.id, meta.salt);
        let footer = *table.footer();
        let (root, blocks) = (table.root(), table.blocks());
        let (pages, leaves) = (root.shape().pages(), root.leaves());
        let mut places: Vec<(u64, u64)> =
            (0..blocks).map(|block| table.place(block).unwrap()).collect();
        places.extend((0..pages).map(|page| root.page_place(page)));
        places.extend((0..leaves).map(|leaf| root.place(leaf)));
        for part in [footer.ranges, footer.root, footer.meta] {
            places.push((part.offset, part.end()));
        }
        let part = |(start, end): (u64, u64)| {
            let mut bytes = vec![0; (end - start) as usize];
            table.read(&mut bytes, start).unwrap();
            seal.unwrap(start, &bytes).unwrap().to_vec()
        };
        let parts = places.into_iter().map(part).collect();
        let firsts = (0..leaves).map(|leaf| root.span(leaf).0).collect();
        Apart { seal, parts, blocks, pages, firsts, meta: meta.clone() }
    }

    /// Puts the parts together again, with checksums as they should be; places and lengths too, if
    /// what says them can still be told from garbage.
    fn put(mut self, disk: &MemVfs, mend: bool) -> TableMeta {
        let mut bytes = Vec::new();
        let mut packer = Packer::new(Compression::None);
        let mut extents = Vec::new();
        for at in 0..self.parts.len() {
            if mend {
                self.mend(at, bytes.len(), &extents);
            }
            let offset = bytes.len() as u64;
            let len = self.seal.wrap(&mut packer, offset, &self.parts[at], &mut bytes);
            extents.push(Extent { offset, len: len as u32 });
        }
        let [ranges, root, meta] = *extents.last_chunk().unwrap();
        let span = |from: usize, to: usize| {
            let (offset, end) = (extents[from].offset, extents[to].offset);
            Extent { offset, len: (end - offset) as u32 }
        };
        let (pages, leaves) = (self.blocks, self.blocks + self.pages);
        let filter = span(pages, leaves);
        let leaves = span(leaves, leaves + self.firsts.len());
        let footer = Footer { filter, leaves, ranges, root, meta };
        bytes.extend(footer.encode(self.seal, bytes.len() as u64));
        let file = disk.open(Path::new(PATH), OpenMode::Write).unwrap();
        file.set_len(0).unwrap();
        file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
        self.meta
    }

    /// Makes part `at`, which will lie at `offset`, say where those before it are.
    fn mend(&mut self, at: usize, offset: usize, extents: &[Extent]) {
        let part = &mut self.parts[at];
        let (leaves, count) = (self.blocks + self.pages, self.firsts.len());
        if let Some(first) = at.checked_sub(leaves).and_then(|leaf| self.firsts.get(leaf)) {
            let Ok(layout) = Layout::check(part) else { return };
            for slot in 0..layout.count() {
                let value = layout.part(part, slot);
                if let (Some(block), 12) = (extents.get(first + slot), value.end - value.value) {
                    part[value.value..][..8].copy_from_slice(&block.offset.to_le_bytes());
                    part[value.value + 8..][..4].copy_from_slice(&block.len.to_le_bytes());
                }
            }
        } else if at == leaves + count + 1 {
            let lens = extents[leaves..].iter().take(count).flat_map(|e| e.len.to_le_bytes());
            let lens: Vec<u8> = lens.collect();
            let start = 13 + 4 * count + 4;
            if let Some(there) = part.get_mut(start..start + lens.len()) {
                there.copy_from_slice(&lens);
            }
        } else if at == leaves + count + 2 && part.len() >= 24 {
            let end = offset + part.len() + SEAL_BYTES + FOOTER_BYTES;
            part[16..24].copy_from_slice(&(end as u64).to_le_bytes());
            self.meta.bytes = end as u64;
        }
    }
}

fn small(rng: &mut ChaCha8Rng) -> (MemVfs, TableMeta, Vec<Row>) {
    let mut rows = rows(rng);
    rows.truncate(rng.random_range(1..40));
    let disk = MemVfs::new();
    let options = TableOptions { block_bytes: rng.random_range(1..600), ..options(rng) };
    let meta = build(&disk, options, &rows);
    (disk, meta, rows)
}

/// Every way in. What is found may be wrong, as the table is; it must be found without a panic.
fn use_all(disk: &MemVfs, meta: &TableMeta, rows: &[Row]) -> Result<()> {
    inspect(disk, Path::new(PATH), Show::Entries, &mut |_| ())?;
    drop(Table::describe(disk, Path::new(PATH)));
    for table in forms(disk, meta) {
        use_table(&table?, rows)?;
    }
    Ok(())
}

fn use_table(table: &Arc<Table>, rows: &[Row]) -> Result<()> {
    for (key, seq, ..) in rows {
        drop(table.get(key, hash(key), *seq));
        let mut cursor = table.cursor(Fill::Cache);
        drop(cursor.seek(key, *seq).and_then(|()| cursor.next()));
        let mut cursor = table.cursor(Fill::Private);
        drop(cursor.seek_back(key, *seq).and_then(|()| cursor.prev()));
    }
    let mut cursor = table.cursor(Fill::Private);
    let mut result = cursor.first();
    let mut steps = 0;
    while result.is_ok() && cursor.entry().is_some() {
        steps += 1;
        assert!(steps < 1_000_000, "a walk ends");
        result = cursor.next();
    }
    table.verify()
}

// Scenario 48: an enemy computes checksums too.
#[test]
fn hostile_tables_get_an_answer() {
    let (mut opened, mut refused) = (0, 0);
    for seed in seeds("hostile_tables", 300) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (disk, meta, rows) = small(&mut rng);
        for _ in 0..10 {
            let mut apart = Apart::take(&disk, &meta);
            for _ in 0..rng.random_range(1..4) {
                let part = rng.random_range(0..apart.parts.len());
                let part = &mut apart.parts[part];
                if part.is_empty() {
                    continue;
                }
                let end = [part.len(), part.len().min(40)][rng.random_range(0..2)];
                let at = rng.random_range(0..end);
                part[at] = [0, 1, 127, 255, rng.random()][rng.random_range(0..5)];
                if rng.random_range(0..20) == 0 {
                    part.truncate(at);
                }
            }
            let changed = MemVfs::new();
            build(&changed, TableOptions::default(), &rows);
            let meta = apart.put(&changed, rng.random());
            let bytes = changed.open(Path::new(PATH), OpenMode::Read).unwrap().len().unwrap();
            let memory = allocation_counter::measure(|| match use_all(&changed, &meta, &rows) {
                Ok(()) => opened += 1,
                Err(_) => refused += 1,
            });
            let bytes_max = 10 * bytes + (64 << 10);
            assert!(memory.bytes_max <= bytes_max, "{} for {bytes}", memory.bytes_max);
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused: too little was tried");
}

// What nobody but `verify` looks at must be seen by it.
#[test]
fn verify_sees_a_sound_lie() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let rows: Vec<Row> = (0..40u8)
        .map(|n| (vec![b'k', n, n], SeqNo(9), crate::key::Kind::Put, vec![rng.random(); 20]))
        .collect();
    let disk = MemVfs::new();
    let options = TableOptions { block_bytes: 300, ..TableOptions::default() };
    let meta = build(&disk, options.clone(), &rows);
    let lie = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut apart = Apart::take(&disk, &meta);
        change(&mut apart.parts);
        let changed = MemVfs::new();
        build(&changed, options.clone(), &rows);
        let meta = apart.put(&changed, true);
        open(&changed, &meta).and_then(|table| table.verify())
    };
    lie(&|_| ()).unwrap();
    is_damage(lie(&|parts| parts.swap(0, 1)), "blocks in each other's place");
    is_damage(lie(&|parts| parts[1][16] ^= 1), "a wrong mark");
    is_damage(lie(&|parts| parts[2][8] ^= 1), "a wrong write number");
    // The last key's last byte, just before the last value.
    is_damage(lie(&|parts| *parts[1].iter_mut().rev().nth(20).unwrap() ^= 0x80), "a wrong key");
    is_damage(lie(&|parts| parts[1].truncate(0)), "an empty block");
    let filter = parts_before_filter(&disk, &meta);
    is_damage(lie(&|parts| parts[filter].fill(0)), "an empty filter");
}

fn parts_before_filter(disk: &MemVfs, meta: &TableMeta) -> usize {
    open(disk, meta).unwrap().blocks()
}

// A tool for bad days must say what it sees, line for line.
#[test]
fn inspect_shows_every_part() {
    let disk = MemVfs::new();
    let kind = crate::key::Kind::Delete;
    let rows = [
        (b"apple".to_vec(), SeqNo(4), kind, vec![]),
        (b"apple".to_vec(), SeqNo(2), crate::key::Kind::Put, b"red\n".to_vec()),
    ];
    let meta = build(&disk, TableOptions::default(), &rows);
    let shown = |show| {
        let mut lines = Vec::new();
        inspect(&disk, Path::new(PATH), show, &mut |line| lines.push(line.to_string())).unwrap();
        lines.join("\n")
    };
    let text = shown(Show::Entries);
    for part in [
        "2 entries (1 deletes, 0 merges), 0 range deletes",
        "from \"apple\" to \"apple\"",
        "plain: 2 entries, \"apple\" 4 to \"apple\" 2\n",
        "  \"apple\" 4 delete\n  \"apple\" 2 put \"red\\n\"",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!shown(Show::Parts).contains("block 0"));
    super::flip(&disk, 3, 1);
    assert!(shown(Show::Blocks).contains("block checksum does not match"));
    super::flip(&disk, meta.bytes - 1, 1);
    assert!(shown(Show::Blocks).contains("file does not end as a table does"));
}
