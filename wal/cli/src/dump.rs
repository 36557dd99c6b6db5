//! `dump`: every part of every segment, a line each, in the order of the files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use drystone_vfs::{OsVfs, Vfs};
use drystone_wal::inspect::{self, Frame, FrameKind, Part, Role, Segment};

use crate::Failure;

/// Bytes of a payload in one line of hex.
const HEX_LINE_BYTES: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A log's directory, or one of its segment files
    path: PathBuf,
    /// Print the records' contents too
    #[arg(long, value_name = "HOW")]
    records: Option<Records>,
    /// Leave out frames before this record
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    from: u64,
    /// Stop after so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

/// How to print the contents of a record.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Records {
    /// Pairs of hexadecimal digits
    Hex,
    /// ASCII, with everything else escaped
    Text,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let vfs = OsVfs::new();
    let mut left = arguments.limit;
    if vfs.list(&arguments.path).is_err() {
        segment(&vfs, &arguments.path, arguments, &mut left, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    for file in inspect::files(&vfs, &arguments.path)? {
        if left == 0 {
            break;
        }
        writeln!(out, "{file}")?;
        if matches!(file.role, Role::Segment(_) | Role::Cut) {
            segment(&vfs, &file.path, arguments, &mut left, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn segment(
    vfs: &dyn Vfs,
    path: &Path,
    arguments: &Arguments,
    left: &mut u64,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut segment = inspect::segment(vfs, path)?;
    writeln!(out, "{}", segment.header)?;
    while let Some(part) = segment.next() {
        let Part::Frame(frame) = &part else {
            writeln!(out, "{part}")?;
            continue;
        };
        if frame.lsn.0 < arguments.from {
            continue;
        }
        let is_record = matches!(frame.kind, FrameKind::Record | FrameKind::GroupEnd);
        if is_record && *left == 0 {
            return Ok(());
        }
        writeln!(out, "{part}")?;
        if is_record {
            *left -= 1;
            if let Some(how) = arguments.records {
                record(&segment, frame, how, out)?;
            }
        }
    }
    Ok(())
}

fn record(
    segment: &Segment,
    frame: &Frame,
    how: Records,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let bytes = segment.payload(frame)?;
    match how {
        Records::Text => writeln!(out, "{:20}{}", "", bytes.escape_ascii())?,
        Records::Hex => {
            for line in bytes.chunks(HEX_LINE_BYTES) {
                write!(out, "{:20}", "")?;
                for byte in line {
                    write!(out, "{byte:02x}")?;
                }
                writeln!(out)?;
            }
        }
    }
    Ok(())
}
