//! `drystone-etcd inspect`: what is in a data directory.
//!
//! ```sh
//! drystone-etcd inspect default.etcd                       everything, for people
//! drystone-etcd inspect default.etcd members engine        two of the sections
//! drystone-etcd inspect default.etcd entries --from 100 --key /registry/
//! drystone-etcd inspect default.etcd --json | jq …         a JSON document a line
//! ```
//!
//! **The problem.** After an accident one wants to know what a member holds: who it thinks the
//! members are, what it was told, what of that is in its state. The member may be running and must
//! not notice, or may not start at all because something is damaged.
//!
//! **The idea.** [`drystone_kv::runtime::inspect`] looks; this only prints. Not one byte is
//! changed, and nothing is locked. What is damaged is named, with its place, and does not keep the
//! rest from being printed. Entries are read and printed one at a time.
//!
//! ```text
//!   summary ──► identity, members, log, snapshots, engine     one look, printed at once
//!   entries ──► one by one                                    a second pass over the log
//!   end     ──► damage, of both
//! ```
//!
//! | status | meaning |
//! |---|---|
//! | 0 | all that was looked at is sound |
//! | 1 | something is damaged or missing: all that is sound was printed, and what is not |
//! | 2 | cannot tell: bad usage, no data directory, the disk refuses |

mod bytes;
mod holder;
mod line;
mod options;
mod page;
mod phrase;
mod report;
mod request;
mod versions;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use drystone_kv::runtime::inspect::{Depth, Inspection, Logged, Trouble};
use drystone_vfs::{Clock, OsClock, OsVfs};

use crate::data_dir::{self, DataDirError};
use crate::identity::Identity;
use crate::log_dir;
use crate::peers::Roll;
use line::Line;
use options::{Options, Section};
use report::Report;

/// Why printing stopped.
enum Stop {
    /// Nobody reads on, or standard output refuses.
    Output(io::Error),
    /// Nothing can be told.
    Other(anyhow::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Other(error)
    }
}

/// Does what the words behind `inspect` say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(error) => return crate::program::misread(&error),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let told = tell(&options, &mut out);
    // What was found out before a failure is printed even so.
    let flushed = out.flush();
    match told.and_then(|sound| flushed.map(|()| sound).map_err(Stop::from)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // A reader that has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Output(error)) => complain(&error.to_string()),
        Err(Stop::Other(error)) => complain(&format!("{error:#}")),
    }
}

/// Status 2, and why. If standard error refuses too, the status has to do.
fn complain(text: &str) -> ExitCode {
    drop(writeln!(io::stderr(), "drystone-etcd inspect: {text}"));
    ExitCode::from(2)
}

/// Looks and prints. Says whether all is sound.
fn tell(options: &Options, out: &mut dyn Write) -> Result<bool, Stop> {
    let mut troubles = Vec::new();
    let found = Found::look(options, &mut troubles)?;
    let identity = found.identity;
    let store = options.dir.join("replica");
    let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
    let depth = Depth { census: options.shows(Section::Engine) };
    let (vfs, wal_dir) = (Arc::new(OsVfs::new()), options.wal_dir.as_deref().map(log_dir::resolve));
    let wal_dir = wal_dir.transpose()?;
    let mut inspection = Inspection::open(vfs, &clock, &store, wal_dir.as_deref(), depth);
    if identity.is_none() && matches!(inspection.engine, Ok(None)) {
        let dir = options.dir.display();
        return Err(anyhow::anyhow!("{dir} holds no data of drystone-etcd").into());
    }
    troubles.extend(inspection.troubles());
    let report = Report::of(options, &found, &mut inspection);
    if options.json {
        Line::Summary(Box::new(report)).write(out)?;
    } else {
        page::summary(&report, options, out)?;
    }
    let me = identity.map_or(0, |identity| identity.member.0);
    let mut printed = 0;
    if options.shows(Section::Entries) {
        if !options.json {
            page::entries_head(out)?;
        }
        let visit = |entry: Logged| -> io::Result<()> {
            if !options.selects(&entry) {
                return Ok(());
            }
            printed += 1;
            if options.json {
                Line::Entry(request::entry(&entry)).write(out)
            } else {
                page::entry(&entry, options, out)
            }
        };
        troubles.extend(inspection.entries(me, options.from, options.to, visit)?);
    }
    let sound = troubles.is_empty();
    if options.json {
        Line::end(printed, &troubles).write(out)?;
    } else {
        page::end(printed, &troubles, options, out)?;
    }
    Ok(sound)
}

/// What the server's own files in the directory say.
#[derive(Debug, Default)]
struct Found {
    /// Who the member is. One that does not say so is looked at all the same.
    identity: Option<Identity>,
    /// The version of the file that says so.
    format: Option<u32>,
    /// That of the list of members, if there is one; nothing inside if it says none.
    peers: Option<Option<u32>>,
}

impl Found {
    fn look(options: &Options, troubles: &mut Vec<Trouble>) -> Result<Found> {
        let dir = &options.dir;
        let found = std::fs::metadata(dir);
        let found = found.with_context(|| format!("cannot look at {}", dir.display()));
        if !found?.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
        let mut trouble = |file, what| troubles.push(Trouble { file, offset: None, what });
        let (identity, format) = match data_dir::look(dir) {
            Ok(identity) => (identity, identity.map(|_| data_dir::FORMAT_VERSION)),
            Err(error @ (DataDirError::Damaged { .. } | DataDirError::Version { .. })) => {
                let version = match error {
                    DataDirError::Version { version, .. } => Some(version),
                    _ => None,
                };
                trouble(data_dir::identity_file(dir), error.to_string());
                (None, version)
            }
            Err(error) => return Err(error.into()),
        };
        let file = Roll::file(dir);
        let peers =
            Roll::version(dir).with_context(|| format!("cannot read {}", file.display()))?;
        if peers == Some(None) {
            let what = "it does not hold the list of members that was written; it is not used";
            trouble(file, what.to_owned());
        }
        Ok(Found { identity, format, peers })
    }
}
