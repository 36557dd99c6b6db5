//! `verify`: the verdict of an open and of a walk over everything; and of a damaged database, all
//! the places that are damaged.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use drystone_btree::survey::{Part, Survey};
use drystone_btree::{Error, Report, Tally};
use drystone_vfs::OsVfs;

use crate::{Failure, open};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The database file
    file: PathBuf,
    /// The last transaction known, from elsewhere, to have been durable
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_txn: u64,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match open(&arguments.file, arguments.min_txn).and_then(|db| db.verify()) {
        Ok(report) => {
            sound(&report, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ Error::Corrupt { .. }) => {
            writeln!(out, "DAMAGED      {error}")?;
            damaged(arguments, out)?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn sound(report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "transaction  {}", report.txn)?;
    let copies = match report.record_copies {
        2 => "two sound copies",
        _ => "one sound copy; the next flush writes two",
    };
    writeln!(out, "record       {copies}")?;
    line("(names)", &report.catalog, out)?;
    for (name, tally) in &report.trees {
        line(&format!("{name:?}"), tally, out)?;
    }
    writeln!(
        out,
        "free map     {} free pages, {} of its own",
        report.free_pages, report.map_pages
    )?;
    if report.lost_pages > 0 {
        writeln!(out, "lost         {} pages that nobody uses", report.lost_pages)?;
    }
    writeln!(out, "SOUND")?;
    Ok(())
}

fn line(name: &str, tally: &Tally, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(
        out,
        "tree         {name}: {} records, {} pages of {} levels, {} long values of {} pages",
        tally.records, tally.pages, tally.depth, tally.runs, tally.run_pages,
    )?;
    Ok(())
}

/// The meta page, and all that is wrong below it.
fn damaged(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let Ok(survey) = Survey::open(&OsVfs::new(), &arguments.file) else {
        // The error above has said it all.
        return Ok(());
    };
    for line in survey.slots() {
        writeln!(out, "{line}")?;
    }
    let (mut tree, mut sound) = (String::new(), 0_u64);
    survey.walk::<Failure>(&mut |part: &Part| {
        match &part.damage {
            Some(damage) => {
                writeln!(out, "damaged      page {}: {damage}, in {tree}", part.page)?;
            }
            None if part.depth == 0 => tree.clone_from(&part.text),
            None => sound += 1,
        }
        Ok(())
    })?;
    writeln!(out, "sound        {sound} pages and long values of the newest record")?;
    Ok(())
}
