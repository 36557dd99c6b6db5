//! `salvage`: the good prefix of a log, written as a new one, and what could not be saved.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use drystone_vfs::OsVfs;
use drystone_wal::Wal;

use crate::Failure;
use crate::verify::{lost, range};

pub(crate) fn run(dir: &Path, to: &Path, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let salvage = Wal::salvage(&OsVfs::new(), dir)?;
    lost(&salvage, out)?;
    let report = salvage.write_to(Arc::new(OsVfs::new()), to)?;
    writeln!(out, "wrote     records {} to {}", range(report.first, report.last), to.display())?;
    Ok(ExitCode::SUCCESS)
}
