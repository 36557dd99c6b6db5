//! `drystone-etcd backup`: what changed since the last time, often, and any moment of it back.
//!
//! ```sh
//! drystone-etcd backup --endpoints http://127.0.0.1:2379 --dir backups --every 10s
//! drystone-etcd backup list backups --verify
//! drystone-etcd backup restore backups --to-time 2026-11-30T05:51:00Z --data-dir new.etcd …
//! drystone-etcd backup restore backups --to-revision 4711 --to copy.db
//! ```
//!
//! **The problem.** A whole copy is as large as the data, so it is made once in a while, and a
//! restore loses what came since. It also goes back in the revisions: clients that have seen newer
//! ones see the same numbers again with other content, and do not notice.
//!
//! **The idea.** A member keeps all history since the last compaction anyway. So what came after a
//! revision can be asked of any member at any time, and a copy and what followed make any revision
//! from there on, exactly:
//!
//! ```text
//!   member ── Snapshot + metadata ──► base ─┬─ increment ─┬─ increment ─┬─ …      a chain
//!            (label, increment)             5             9            12   revisions
//!                                           │
//!                   compose: the records up to the point, what else there was at the last file
//!                            before it, a revision that nobody has seen
//!                                           └──► a database of etcd's ──► data directory, or file
//! ```
//!
//! Putting together takes one record at a time, and the leases, into memory. A data directory is
//! read once in the end, as at a start.

mod chain;
mod compose;
mod folder;
pub(crate) mod label;
mod list;
mod manifest;
mod restore;
mod source;
mod take;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Does what the words say, `backup` first.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    crate::data_dir::for_owner_only();
    match words.get(1).and_then(|word| word.to_str()) {
        Some("list") => parsed(&words[1..], list::run),
        Some("restore") => parsed(&words[1..], restore::run),
        _ => parsed(words, take::run),
    }
}

/// A line on standard output. A backup goes on where nobody reads what it says.
fn tell(line: &str) {
    drop(writeln!(io::stdout(), "{line}"));
}

/// A line on standard error, likewise.
fn say(line: &str) {
    drop(writeln!(io::stderr(), "drystone-etcd backup: {line}"));
}

fn parsed<T: Parser>(words: &[OsString], run: impl FnOnce(&T) -> ExitCode) -> ExitCode {
    match T::try_parse_from(words) {
        Ok(told) => run(&told),
        Err(error) => crate::program::misread(&error),
    }
}
