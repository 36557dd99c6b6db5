//! `drystone-wal`: looks into a write-ahead log, verifies it, salvages it.
//!
//! ```text
//!   drystone-wal dump DIR|FILE             every frame, a line each
//!       [--records hex|text] [--from LSN] [--limit N]
//!   drystone-wal verify DIR                sound or not, and where
//!       [--min-lsn N]
//!   drystone-wal salvage DIR --to NEWDIR   the good prefix, as a new log
//! ```
//!
//! None of them changes one byte of the log, and none needs to write on its medium. `verify` and
//! `salvage` keep writers out meanwhile and refuse a log that is in use; `dump` asks nobody.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | sound; dumped; salvaged |
//! | 1 | `verify` alone: the log is damaged, and the output says where and what is lost |
//! | 2 | cannot tell: bad usage, no log there, in use, or the disk refuses |
//!
//! A reader that has seen enough (`dump DIR | head`) ends it without a word.

mod dump;
mod salvage;
mod verify;

use std::error::Error as _;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Look into a drystone write-ahead log, verify it, salvage it
#[derive(Debug, Parser)]
#[command(name = "drystone-wal", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print every frame of a log, or of one segment file, sound or not
    Dump(dump::Arguments),
    /// Check every byte of a log, as opening it would, and change nothing
    Verify(verify::Arguments),
    /// Write what is good of a damaged log as a new one
    Salvage {
        /// The log's directory
        dir: PathBuf,
        /// Where to make the new log
        #[arg(long, value_name = "NEWDIR")]
        to: PathBuf,
    },
}

/// What keeps a command from its answer.
enum Failure {
    /// Nobody reads on, or standard output refuses.
    Output(io::Error),
    Log(drystone_wal::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<drystone_wal::Error> for Failure {
    fn from(error: drystone_wal::Error) -> Failure {
        Failure::Log(error)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = match arguments.command {
        Command::Dump(arguments) => dump::run(&arguments, &mut out),
        Command::Verify(arguments) => verify::run(&arguments, &mut out),
        Command::Salvage { dir, to } => salvage::run(&dir, &to, &mut out),
    };
    // What was found out before a failure is printed even so.
    let flushed = out.flush();
    match outcome.and_then(|status| flushed.map(|()| status).map_err(Failure::from)) {
        Ok(status) => status,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => complain(&error.to_string()),
        Err(Failure::Log(error)) => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            complain(&format!("{error}{source}"))
        }
    }
}

/// Status 2, and why. If standard error refuses too, the status has to do.
fn complain(text: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "drystone-wal: {text}"));
    ExitCode::from(2)
}
