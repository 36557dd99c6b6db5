//! `verify`: the verdict of an opening, without opening; then every byte of every table.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use drystone_lsm::table::Table;
use drystone_lsm::{BlockCache, Db, Error};
use drystone_vfs::OsVfs;

use crate::Failure;

/// No block is read twice.
const CACHE_BYTES: u64 = 1 << 20;

pub(crate) fn run(dir: &Path, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match crate::open(dir) {
        Ok(db) => opened(dir, &db, out),
        Err(error @ Error::Corrupt { .. }) => {
            writeln!(out, "DAMAGED   {error}")?;
            // It stopped there; there may be more.
            let said = error.to_string();
            for other in damaged_tables(dir)?.iter().filter(|other| other.to_string() != said) {
                writeln!(out, "          {other}")?;
            }
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn opened(dir: &Path, db: &Db, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match db.verify() {
        Ok(()) => {}
        Err(Error::Corrupt { .. }) => {
            // The database's own verdict stops at the first.
            for error in damaged_tables(dir)? {
                writeln!(out, "DAMAGED   {error}")?;
            }
            writeln!(out, "          keys that stand there cannot be read; all others can")?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    }
    let (stats, spaces) = (db.stats(), db.keyspaces());
    let names: Vec<String> = spaces.iter().map(|name| name.escape_debug().to_string()).collect();
    writeln!(out, "keyspaces  {}: {}", names.len(), names.join(", "))?;
    writeln!(
        out,
        "tables     {}, {} bytes, every one of them read",
        stats.tables, stats.table_bytes
    )?;
    writeln!(out, "journal    {} bytes of records that are in no table", stats.memtable_bytes)?;
    let orphans = crate::tables(dir)?.len() as u64 - stats.tables;
    if orphans > 0 {
        writeln!(out, "orphans    {orphans}, which the next opening removes")?;
    }
    writeln!(out, "SOUND")?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with each table file that is not whole.
fn damaged_tables(dir: &Path) -> Result<Vec<Error>, Failure> {
    let mut damaged = Vec::new();
    for path in crate::tables(dir)? {
        match table(&path) {
            Ok(()) => {}
            Err(error @ Error::Corrupt { .. }) => damaged.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(damaged)
}

fn table(path: &Path) -> drystone_lsm::Result<()> {
    let vfs = OsVfs::new();
    let meta = Table::describe(&vfs, path)?;
    Table::open(&vfs, path, &meta, &Arc::new(BlockCache::new(CACHE_BYTES)))?.verify()
}
