//! `verify`: the verdict of an open, without opening; and of a damaged log, all that is lost.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use drystone_vfs::OsVfs;
use drystone_wal::{Error, Lsn, Options, Salvage, View, Wal};

use crate::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The log's directory
    dir: PathBuf,
    /// The last record known, from elsewhere, to have been durable
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_lsn: u64,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let options = Options::default().min_lsn(Lsn(arguments.min_lsn));
    match Wal::open_read_only(Arc::new(OsVfs::new()), &arguments.dir, &options) {
        Ok(view) => {
            sound(&view, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ Error::Corrupt { .. }) => {
            writeln!(out, "DAMAGED   {error}")?;
            match Wal::salvage(&OsVfs::new(), &arguments.dir) {
                Ok(salvage) => lost(&salvage, out)?,
                // The error above has said it all.
                Err(Error::NoLog { .. } | Error::Io { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn sound(view: &View, out: &mut dyn Write) -> Result<(), Failure> {
    let report = view.report();
    let files = if report.segments == 1 { "file" } else { "files" };
    writeln!(out, "records   {}", range(view.first_lsn(), view.last_lsn()))?;
    writeln!(out, "segments  {} {files}, {} bytes", report.segments, view.bytes())?;
    let closed =
        if report.closed { "by its last writer" } else { "no: its last writer was killed" };
    writeln!(out, "closed    {closed}")?;
    match &report.cut {
        None => writeln!(out, "tail      clean")?,
        Some(cut) => writeln!(
            out,
            "tail      torn: opening cuts {} bytes, never acknowledged, at byte {} of {}: {}",
            cut.bytes,
            cut.offset,
            cut.file.display(),
            cut.reason
        )?,
    }
    if let Some(short) = &report.short {
        writeln!(
            out,
            "short     {} has {} bytes and was made with {}; the log ends before",
            short.file.display(),
            short.bytes,
            short.capacity
        )?;
    }
    writeln!(out, "SOUND")?;
    Ok(())
}

/// What a salvage would bring and not bring.
pub(crate) fn lost(salvage: &Salvage, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "good      records {}", range(salvage.first_lsn(), salvage.last_lsn()))?;
    let mut behind = vec![0_u64; salvage.holes().len()];
    for remain in salvage.remains() {
        behind[remain?.hole] += 1;
    }
    for (hole, count) in salvage.holes().iter().zip(behind) {
        writeln!(out, "hole      {hole}")?;
        if count > 0 {
            let records = if count == 1 { "record" } else { "records" };
            writeln!(out, "          then {count} sound {records}, not in the good part")?;
        }
    }
    Ok(())
}

pub(crate) fn range(first: Lsn, last: Lsn) -> String {
    if first > last { format!("none, the next is {first}") } else { format!("{first} to {last}") }
}
