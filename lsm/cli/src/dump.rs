//! `dump`: the records of a database, or the entries of one table, a line each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use drystone_lsm::cursor::Cursor as _;
use drystone_lsm::key::{Kind, SeqNo};
use drystone_lsm::table::{Fill, Table};
use drystone_lsm::{BlockCache, KeyspaceOptions};
use drystone_vfs::OsVfs;

use crate::Failure;
use crate::stat::{quoted, table_text};

/// Memory for blocks of a single table: each is read once.
const CACHE_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A database's directory, or one of its table files
    path: PathBuf,
    /// Only this keyspace
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
    /// Leave out keys before this one
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    from: String,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    if arguments.path.is_dir() {
        records(arguments, out)?;
    } else {
        table(&arguments.path, arguments, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn records(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let db = crate::open(&arguments.path)?;
    let names = match &arguments.keyspace {
        Some(name) => vec![name.clone()],
        None => db.keyspaces(),
    };
    let snapshot = db.snapshot();
    let mut left = arguments.limit;
    for name in names {
        let space = db.keyspace(&name, KeyspaceOptions::default())?;
        writeln!(out, "keyspace {}", name.escape_debug())?;
        for record in snapshot.range(&space, arguments.from.as_bytes()..) {
            if left == 0 {
                return Ok(());
            }
            let (key, value) = record?;
            writeln!(out, "  {} {}", quoted(&key), quoted(&value))?;
            left -= 1;
        }
    }
    Ok(())
}

/// All entries, also those that no reader sees any more.
fn table(path: &Path, arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let vfs = OsVfs::new();
    let meta = Table::describe(&vfs, path)?;
    let table = Table::open(&vfs, path, &meta, &Arc::new(BlockCache::new(CACHE_BYTES)))?;
    writeln!(out, "table {}: {}", meta.id.0, table_text(&meta))?;
    for range in table.range_dels().iter() {
        let (start, end) = (quoted(&range.start), quoted(&range.end));
        writeln!(out, "  {:>8}  delete all from {start} up to, without, {end}", range.seq)?;
    }
    let mut cursor = table.cursor(Fill::Private);
    cursor.seek(arguments.from.as_bytes(), SeqNo::MAX)?;
    for _ in 0..arguments.limit {
        let Some(entry) = cursor.entry() else { break };
        let (kind, value) = match entry.kind {
            Kind::Put => ("put   ", quoted(entry.value)),
            Kind::Merge => ("merge ", quoted(entry.value)),
            Kind::Delete => ("delete", String::new()),
        };
        let line = format!("  {:>8}  {kind} {} {value}", entry.seq, quoted(entry.key));
        writeln!(out, "{}", line.trim_end())?;
        cursor.next()?;
    }
    Ok(())
}
