//! `stat`: how much there is, and where.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use drystone_lsm::table::{Table, TableMeta, Upper};
use drystone_lsm::{LevelStats, SeqNo};
use drystone_vfs::{OpenMode, OsVfs, Vfs};

use crate::Failure;

pub(crate) fn run(dir: &Path, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let db = crate::open(dir)?;
    let stats = db.stats();
    writeln!(out, "writes     {} so far", db.snapshot().seq())?;
    writeln!(out, "in memory  {} bytes, from the journal", stats.memtable_bytes)?;
    for folder in ["journal", "manifest.a", "manifest.b"] {
        let (files, bytes) = folder_bytes(&dir.join(folder));
        if files > 0 {
            writeln!(out, "{folder:10} {files} {}, {bytes} bytes", plural(files, "file"))?;
        }
    }
    for space in &stats.keyspaces {
        writeln!(out, "keyspace   {}", space.name.escape_debug())?;
        for (number, level) in space.sublevels.iter().enumerate().rev() {
            writeln!(out, "  level 0.{number:<2}  {}", level_text(level))?;
        }
        for (number, level) in space.levels.iter().enumerate().filter(|(_, l)| l.tables > 0) {
            writeln!(out, "  level {:<4}  {}", number + 1, level_text(level))?;
        }
        if space.sublevels.is_empty() && space.levels.iter().all(|level| level.tables == 0) {
            writeln!(out, "  no tables")?;
        }
    }
    for path in crate::tables(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Table::describe(&OsVfs::new(), &path) {
            Ok(meta) => writeln!(out, "{name}  {}", table_text(&meta))?,
            // An orphan, or the database would not have opened.
            Err(error) => writeln!(out, "{name}  {error}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// Files and bytes in a folder; none if it is not there.
fn folder_bytes(dir: &Path) -> (u64, u64) {
    let vfs = OsVfs::new();
    let names = vfs.list(dir).unwrap_or_default();
    let files = names.iter().filter(|name| *name != "LOCK");
    let len = |name| vfs.open(&dir.join(name), OpenMode::Read).and_then(|file| file.len()).ok();
    files.filter_map(len).fold((0, 0), |(files, bytes), len| (files + 1, bytes + len))
}

fn level_text(level: &LevelStats) -> String {
    let LevelStats { tables, bytes, entries, .. } = *level;
    let mut text = format!(
        "{tables} {}, {bytes} bytes, {entries} {}",
        plural(tables, "table"),
        if entries == 1 { "entry" } else { "entries" }
    );
    if level.deletes > 0 {
        text += &format!(", {} of them deletes", level.deletes);
    }
    if level.range_deletes > 0 {
        text +=
            &format!(", {} {}", level.range_deletes, plural(level.range_deletes, "range delete"));
    }
    text
}

/// One line on a table.
pub(crate) fn table_text(meta: &TableMeta) -> String {
    let (bound, end) = match &meta.largest {
        Upper::At(key) => ("to", key),
        Upper::Before(key) => ("up to, without,", key),
    };
    let mut text = format!(
        "{} bytes, {} entries from {} {bound} {}, writes {} to {}",
        meta.bytes,
        meta.entries,
        quoted(&meta.smallest),
        quoted(end),
        meta.seq_min,
        meta.seq_max
    );
    if meta.range_deletes > 0 {
        text += &format!(", {} range deletes", meta.range_deletes);
    }
    if meta.ingested != SeqNo::ZERO {
        text += &format!(", taken in as write {}", meta.ingested);
    }
    text
}

/// ASCII in quotes, with everything else escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
