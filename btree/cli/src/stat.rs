//! `stat`: what is in a database, and how large that is.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use drystone_vfs::OsVfs;

use drystone_btree::survey::Survey;

use crate::{Failure, open};

pub(crate) fn run(file: &Path, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let db = open(file, 0)?;
    let (stats, r) = (db.stats(), db.read());
    let kib = |bytes: u64| format!("{} KiB", bytes / 1024);
    writeln!(out, "transaction  {}", r.txn())?;
    writeln!(
        out,
        "file         {}, {} pages of {} bytes",
        kib(stats.sizes.file_bytes),
        stats.pages,
        stats.page_bytes,
    )?;
    writeln!(out, "in use       {}", kib(stats.sizes.used_bytes))?;
    writeln!(out, "free         {} pages", stats.pages_free)?;
    for line in Survey::open(&OsVfs::new(), file)?.slots() {
        writeln!(out, "{line}")?;
    }
    let trees: Vec<_> = r.trees().collect();
    writeln!(out, "trees        {}", trees.len())?;
    for (tree, name) in trees {
        writeln!(out, "  {:10} {} records", format!("{name:?}"), r.len(tree)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
