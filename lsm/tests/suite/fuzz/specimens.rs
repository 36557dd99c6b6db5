//! Databases to hurt, and how a recipe hurts them.
//!
//! | layer | pieces |
//! |---|---|
//! | 0, 1 | the parts of tables, with their wrapping, and the footers: their checksums fit |
//! | 2 | the records of the manifest and of the journal: the logs are written anew |
//! | 3 | files; one that is left empty is taken away |

use std::path::PathBuf;
use std::sync::Arc;

use drystone_lsm::{Batch, Compression, KeyspaceOptions};
use drystone_vfs::SimVfs;
use drystone_wal::{Lsn, Options as WalOptions, Wal, Writer};

use super::entry::TTL;
use super::recipe::{Piece, Recipe};
use crate::forge::{
    FOOTER_BYTES, FOOTER_FIELDS, Part, parts, seal, seal_footer, table_id, unpacked, unpacked_large,
};
use crate::hurt::{End, Specimen as Whole, key, noise, open, remove, store, tables};
use crate::support::{dir, keyspace_options};

const RECORD_BYTES_MAX: usize = 1 << 20;

/// A sound database, taken apart.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) name: &'static str,
    disk: SimVfs,
    tables: Vec<Apart>,
    logs: Vec<Log>,
}

/// One table.
#[derive(Debug)]
struct Apart {
    path: PathBuf,
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// The records of one log.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    first: Lsn,
    records: Vec<Vec<u8>>,
}

fn wal_options() -> WalOptions {
    WalOptions::default().record_bytes_max(RECORD_BYTES_MAX)
}

impl Log {
    fn read(disk: &SimVfs, folder: &str) -> Option<Log> {
        let path = dir().join(folder);
        let view = Wal::open_read_only(Arc::new(disk.clone()), &path, &wal_options()).ok()?;
        let records = view.records().map(|record| record.unwrap().1.to_vec()).collect();
        Some(Log { path, first: view.first_lsn(), records })
    }

    /// Writes a log with these records in its place.
    fn write(&self, disk: &SimVfs, records: &[Piece]) {
        let files = disk.files().into_iter().map(|(file, _)| file);
        files.filter(|file| file.starts_with(&self.path)).for_each(|file| remove(disk, &file));
        let options = wal_options().segment_bytes(64 << 10).writer(Writer::Caller).log_id(42);
        let options = options.first_lsn(self.first);
        let (wal, _) = Wal::open(Arc::new(disk.clone()), &self.path, options).unwrap();
        let records: Vec<&[u8]> = records.iter().map(|record| &record.bytes[..]).collect();
        for record in records {
            drop(wal.append(&[record]).unwrap());
        }
        wal.close().unwrap();
    }
}

/// A keyspace whose records expire, in tables and in the journal.
fn mortal() -> SimVfs {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let options = KeyspaceOptions::default().ttl(TTL).compression(Compression::None);
    let space = db.keyspace("mortal", options).unwrap();
    for n in 0..40 {
        drop(db.put(&space, &key(n), &noise(n, 50)).unwrap());
        if n % 10 == 5 {
            db.flush().unwrap();
        }
    }
    db.close().unwrap();
    disk
}

/// A journal of batches that are large enough to be packed, and no larger.
pub(crate) fn packed() -> SimVfs {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let space = db.keyspace("packed", keyspace_options()).unwrap();
    for round in 0..6 {
        let mut batch = Batch::new();
        for n in 0..30 {
            let value = [&noise(round * 100 + n, 20)[..], &[b'.'; 110]].concat();
            batch.put(&space, &key(n), &value);
        }
        batch.delete_range(&space, &key(round), &key(round + 3));
        batch.merge(&space, &key(5), b"operand");
        drop(db.write(batch).unwrap());
    }
    db.persist().unwrap();
    disk.crash()
}

/// All of them.
pub(crate) fn make() -> Vec<Specimen> {
    let journal = Whole::new(End::Killed).disk.crash();
    let made = [
        ("unpacked", unpacked(), true),
        ("journal", journal, false),
        ("packed", packed(), false),
        ("mortal", mortal(), true),
        ("large", unpacked_large(), true),
    ];
    made.map(|(name, disk, apart)| {
        let paths = if apart { tables(&disk) } else { Vec::new() };
        let take = |path: PathBuf| {
            let bytes = crate::hurt::load(&disk, &path);
            Apart { parts: parts(&bytes).all(), path, bytes }
        };
        let tables = paths.into_iter().map(take).collect();
        let folders = ["manifest.a", "manifest.b", "journal"];
        let logs = folders.iter().filter_map(|folder| Log::read(&disk, folder)).collect();
        Specimen { name, disk, tables, logs }
    })
    .into()
}

/// The disk that a recipe makes.
pub(crate) fn hurt(specimens: &[Specimen], recipe: &[u8]) -> SimVfs {
    let recipe = Recipe::read(recipe);
    let specimen = &specimens[recipe.specimen % specimens.len()];
    let disk = specimen.disk.crash_copy(0);
    hurt_tables(&recipe, specimen, &disk);
    hurt_records(&recipe, specimen, &disk);
    let files: Vec<(PathBuf, Vec<u8>)> = disk.files();
    let mut pieces: Vec<Piece> = files.iter().map(|(_, bytes)| Piece::loose(bytes)).collect();
    recipe.apply(3..4, &mut pieces, |_| Vec::new());
    for ((path, _), piece) in files.iter().zip(&pieces).filter(|(_, piece)| piece.changed) {
        if piece.bytes.is_empty() {
            remove(&disk, path);
        } else {
            store(&disk, path, &piece.bytes);
        }
    }
    disk
}

fn hurt_tables(recipe: &Recipe, specimen: &Specimen, disk: &SimVfs) {
    let mut pieces = Vec::new();
    for Apart { bytes, parts, .. } in &specimen.tables {
        // All but the checksum at the end.
        let sealed = |part: &Part| Piece::rigid(&bytes[part.offset..part.offset + part.len - 4]);
        pieces.extend(parts.iter().map(sealed));
        let footer = bytes.len() - FOOTER_BYTES;
        pieces.push(Piece::rigid(&bytes[footer..footer + FOOTER_FIELDS]));
    }
    recipe.apply(0..2, &mut pieces, |_| Vec::new());
    let mut pieces = pieces.into_iter();
    for Apart { path, bytes, parts } in &specimen.tables {
        let (mut table, id) = (bytes.clone(), table_id(path));
        let mut changed = false;
        for part in parts {
            let piece = pieces.next().expect("one for each part");
            if piece.changed {
                table[part.offset..part.offset + part.len - 4].copy_from_slice(&piece.bytes);
                seal(id, &mut table, *part);
                changed = true;
            }
        }
        let piece = pieces.next().expect("and one for the footer");
        if piece.changed {
            let footer = table.len() - FOOTER_BYTES;
            table[footer..footer + FOOTER_FIELDS].copy_from_slice(&piece.bytes);
            seal_footer(id, &mut table);
            changed = true;
        }
        if changed {
            store(disk, path, &table);
        }
    }
}

fn hurt_records(recipe: &Recipe, specimen: &Specimen, disk: &SimVfs) {
    let records = specimen.logs.iter().flat_map(|log| &log.records);
    let mut pieces: Vec<Piece> = records.map(|record| Piece::loose(record)).collect();
    recipe.apply(2..3, &mut pieces, |_| Vec::new());
    let mut rest = &pieces[..];
    for log in &specimen.logs {
        let (own, others) = rest.split_at(log.records.len());
        rest = others;
        if own.iter().any(|piece| piece.changed) {
            log.write(disk, own);
        }
    }
}
