//! `dump`: every page in the order of the keys, a line each; one page whole; or a tree's records.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use drystone_btree::PageId;
use drystone_btree::survey::{Part, Survey};
use drystone_vfs::OsVfs;

use crate::{Failure, open};

/// Bytes of a value in one line of hex.
const HEX_LINE_BYTES: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The database file
    file: PathBuf,
    /// One page, with every cell of it, used or not
    #[arg(long, value_name = "N", conflicts_with = "tree")]
    page: Option<u32>,
    /// The records of one tree
    #[arg(long, value_name = "NAME")]
    tree: Option<String>,
    /// How to print them
    #[arg(long, value_name = "HOW", default_value = "text", requires = "tree")]
    records: Records,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

/// How to print a record.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Records {
    /// Pairs of hexadecimal digits
    Hex,
    /// ASCII, with everything else escaped
    Text,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    if let Some(name) = &arguments.tree {
        return tree(arguments, name, out);
    }
    let survey = Survey::open(&OsVfs::new(), &arguments.file)?;
    if let Some(page) = arguments.page {
        write!(out, "{}", survey.page(PageId(page))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in survey.slots() {
        writeln!(out, "{line}")?;
    }
    let slot = survey.walk::<Failure>(&mut |part: &Part| {
        let indent = 2 * part.depth;
        match (&part.damage, part.depth) {
            (Some(damage), _) => {
                writeln!(out, "{:indent$}page {}: DAMAGED: {damage}", "", part.page)?;
            }
            (None, 0) => writeln!(out, "{}", part.text)?,
            (None, _) => writeln!(out, "{:indent$}page {}: {}", "", part.page, part.text)?,
        }
        Ok(())
    })?;
    match slot {
        Some(slot) => writeln!(out, "end, as slot {slot} has it")?,
        None => writeln!(out, "end, without a sound record")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tree(arguments: &Arguments, name: &str, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let r = open(&arguments.file, 0)?.read();
    let Some(tree) = r.tree(name) else {
        let file = arguments.file.display();
        return Err(Failure::Absent(format!("{file}: there is no tree {name:?}")));
    };
    for record in r.iter(tree).take(usize::try_from(arguments.limit).unwrap_or(usize::MAX)) {
        let (key, value) = record?;
        match arguments.records {
            Records::Text => writeln!(out, "{}: {}", key.escape_ascii(), value.escape_ascii())?,
            Records::Hex => {
                hex(&key, "", out)?;
                hex(&value, "    ", out)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn hex(bytes: &[u8], indent: &str, out: &mut dyn Write) -> Result<(), Failure> {
    for line in bytes.chunks(HEX_LINE_BYTES) {
        write!(out, "{indent}")?;
        for byte in line {
            write!(out, "{byte:02x}")?;
        }
        writeln!(out)?;
    }
    if bytes.is_empty() {
        writeln!(out, "{indent}(empty)")?;
    }
    Ok(())
}
