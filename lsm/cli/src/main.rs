//! `drystone-lsm`: looks into a database, and verifies it.
//!
//! ```text
//!   drystone-lsm stat DIR                  keyspaces, levels, files
//!   drystone-lsm dump DIR                  every record, a line each
//!       [--keyspace NAME] [--from KEY] [--limit N]
//!   drystone-lsm dump FILE.table           every entry of one table, old versions and deletes too
//!       [--from KEY] [--limit N]
//!   drystone-lsm verify DIR                sound or not, and where
//! ```
//!
//! None of them changes one byte, and none needs to write on its medium: a journal that was not
//! closed is replayed in memory. They keep writers out meanwhile and refuse a database that is in
//! use; a single table asks nobody.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | sound; shown |
//! | 1 | `verify` alone: the database is damaged, and the output says where |
//! | 2 | cannot tell: bad usage, no database, in use, damaged (`stat`, `dump`), or the disk refuses |
//!
//! A reader that has seen enough (`dump DIR | head`) ends it without a word.

mod dump;
mod stat;
mod verify;

use std::error::Error as _;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use drystone_lsm::{Db, Options};
use drystone_vfs::{OsClock, OsVfs, Vfs};

/// Look into a drystone log-structured merge tree, verify it
#[derive(Debug, Parser)]
#[command(name = "drystone-lsm", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print how much there is: keyspaces, levels, files
    Stat {
        /// The database's directory
        dir: PathBuf,
    },
    /// Print every record of a database, or every entry of one table file
    Dump(dump::Arguments),
    /// Read every file and check it against everything else, and change nothing
    Verify {
        /// The database's directory
        dir: PathBuf,
    },
}

/// What keeps a command from its answer.
enum Failure {
    /// Nobody reads on, or standard output refuses.
    Output(io::Error),
    Database(drystone_lsm::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<drystone_lsm::Error> for Failure {
    fn from(error: drystone_lsm::Error) -> Failure {
        Failure::Database(error)
    }
}

/// Opens a database as every command does.
fn open(dir: &Path) -> drystone_lsm::Result<Db> {
    let options = Options::default().memory_bytes(64 << 20).threads(0);
    Db::open_read_only(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), dir, options)
}

/// The table files of a database, by their numbers.
fn tables(dir: &Path) -> drystone_lsm::Result<Vec<PathBuf>> {
    let names = OsVfs::new().list(dir).map_err(|source| drystone_lsm::Error::Io {
        action: "list",
        path: dir.to_path_buf(),
        source: Arc::new(source),
    })?;
    let is_table = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.strip_suffix(".table").is_some_and(|number| {
            number.len() == 16 && number.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        })
    };
    let mut tables: Vec<PathBuf> =
        names.into_iter().filter(is_table).map(|name| dir.join(name)).collect();
    tables.sort();
    Ok(tables)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.command {
        Command::Stat { dir } => stat::run(&dir, &mut out),
        Command::Dump(arguments) => dump::run(&arguments, &mut out),
        Command::Verify { dir } => verify::run(&dir, &mut out),
    };
    // What was found out before a failure is printed even so.
    let flushed = out.flush();
    match outcome.and_then(|status| flushed.map(|()| status).map_err(Failure::from)) {
        Ok(status) => status,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => complain(&error.to_string()),
        Err(Failure::Database(error)) => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            complain(&format!("{error}{source}"))
        }
    }
}

/// Status 2, and why. If standard error refuses too, the status has to do.
fn complain(text: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "drystone-lsm: {text}"));
    ExitCode::from(2)
}
