//! `drystone-btree`: looks into a B+tree's file, verifies it, reads it.
//!
//! ```text
//!   drystone-btree stat FILE               what is in it, and how large that is
//!   drystone-btree dump FILE               records of the meta page, and every page of every tree
//!       [--page N]                         or one page, with every cell
//!       [--tree NAME] [--records hex|text] [--limit N]    or the records of one tree
//!   drystone-btree verify FILE             sound or not, and where
//!       [--min-txn N]
//! ```
//!
//! None of them changes one byte of the file, and none needs to write on its medium. `stat`,
//! `verify` and `dump --tree` keep writers out meanwhile and refuse a database that is in use; the
//! other dumps ask nobody.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | sound; dumped; counted |
//! | 1 | `verify` alone: the database is damaged, and the output says where |
//! | 2 | cannot tell: bad usage, no database there, in use, or the disk refuses |
//!
//! A reader that has seen enough (`dump FILE | head`) ends it without a word.

mod dump;
mod stat;
mod verify;

use std::error::Error as _;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use drystone_btree::{Db, Options, TxnId, Writer};
use drystone_vfs::OsVfs;

/// Look into a drystone B+tree's file, verify it, read it
#[derive(Debug, Parser)]
#[command(name = "drystone-btree", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what is in a database, and how large that is
    Stat {
        /// The database file
        file: PathBuf,
    },
    /// Print every page of a database, one page whole, or the records of a tree
    Dump(dump::Arguments),
    /// Read and check every byte of a database, and change nothing
    Verify(verify::Arguments),
}

/// What keeps a command from its answer.
enum Failure {
    /// Nobody reads on, or standard output refuses.
    Output(io::Error),
    Database(drystone_btree::Error),
    /// The command asks for something that is not there.
    Absent(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<drystone_btree::Error> for Failure {
    fn from(error: drystone_btree::Error) -> Failure {
        Failure::Database(error)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.command {
        Command::Stat { file } => stat::run(&file, &mut out),
        Command::Dump(arguments) => dump::run(&arguments, &mut out),
        Command::Verify(arguments) => verify::run(&arguments, &mut out),
    };
    // What was found out before a failure is printed even so.
    let flushed = out.flush();
    match outcome.and_then(|status| flushed.map(|()| status).map_err(Failure::from)) {
        Ok(status) => status,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => complain(&error.to_string()),
        Err(Failure::Absent(text)) => complain(&text),
        Err(Failure::Database(error)) => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            complain(&format!("{error}{source}"))
        }
    }
}

/// Opens a database for reading alone.
fn open(file: &Path, min_txn: u64) -> drystone_btree::Result<Db> {
    let options = Options::default().writer(Writer::Caller).min_txn(TxnId(min_txn));
    Db::open_read_only(Arc::new(OsVfs::new()), file, options)
}

/// Status 2, and why. If standard error refuses too, the status has to do.
fn complain(text: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "drystone-btree: {text}"));
    ExitCode::from(2)
}
