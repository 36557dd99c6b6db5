//! What `inspect` is told, and which entries that selects.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use drystone_kv::command::{Command, TxnOp};
use drystone_kv::key_range::KeyRange;
use drystone_kv::runtime::inspect::{Logged, Said};

use super::request::kind;

/// A part of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Who the member is, and which versions wrote the files
    Identity,
    /// The members of the cluster
    Members,
    /// Term, vote, and how far the log goes
    Log,
    /// Snapshots that were sent or taken
    Snapshots,
    /// What holds the records, and how much there is
    Engine,
    /// Every entry of the log
    Entries,
}

/// The words, as clap reads them.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd inspect",
    about = "What is in a data directory, also of one that runs or is damaged; read-only",
    after_help = "WORDS: the directory, unless --data-dir names it, and any of the sections\n\
        identity, members, log, snapshots, engine, entries; without one, all of them.\n\
        Status: 0 all is sound, 1 something is damaged (the rest is printed), 2 cannot tell."
)]
struct Words {
    /// The directory and the sections
    words: Vec<OsString>,
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The journal's directory, if it was moved since the member ran last
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    /// One JSON document a line: a summary, the entries, an end
    #[arg(long)]
    json: bool,
    /// Leave out entries before this one
    #[arg(long, value_name = "INDEX", default_value_t = 0, hide_default_value = true)]
    from: u64,
    /// Leave out entries behind this one
    #[arg(long, value_name = "INDEX", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
    /// Entries of these kinds alone: put, txn, compact, lease_grant, ...
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    entry_type: Vec<String>,
    /// Entries alone that name a key with this prefix, or a range with such keys
    #[arg(long, value_name = "PREFIX")]
    key: Option<String>,
    /// Bytes of a value that are shown to people; JSON has all of them
    #[arg(long, value_name = "N", default_value_t = 100)]
    value_bytes: usize,
}

/// What `inspect` is told.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dir: PathBuf,
    pub(crate) wal_dir: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) value_bytes: usize,
    sections: Vec<Section>,
    kinds: Vec<String>,
    keys: Option<KeyRange>,
}

/// Every kind of entry, by the name that is printed.
const KINDS: [&str; 30] = [
    "blank",
    "voters",
    "withheld",
    "unreadable",
    "put",
    "delete_range",
    "txn",
    "compaction",
    "lease_grant",
    "lease_revoke",
    "alarm",
    "cluster_init",
    "cluster_force",
    "member_add",
    "member_remove",
    "member_update",
    "member_promote",
    "member_publish",
    "auth_enable",
    "auth_disable",
    "auth_user_add",
    "auth_user_delete",
    "auth_user_change_password",
    "auth_user_grant_role",
    "auth_user_revoke_role",
    "auth_role_add",
    "auth_role_delete",
    "auth_role_grant_permission",
    "auth_role_revoke_permission",
    "authenticate",
];

impl Options {
    /// Reads the words of the command line, the first of which is `inspect`.
    pub(crate) fn read(words: &[OsString]) -> Result<Options, clap::Error> {
        let told = Words::try_parse_from(words)?;
        let refuse = |text: String| Words::command().error(ErrorKind::InvalidValue, text);
        let section = |word: &OsString| Section::from_str(word.to_str()?, false).ok();
        let mut dir = told.data_dir;
        let mut sections = Vec::new();
        for word in &told.words {
            match section(word) {
                Some(section) => sections.push(section),
                None if dir.is_none() && sections.is_empty() => dir = Some(word.into()),
                None => return Err(refuse(format!("no section is called {}", word.display()))),
            }
        }
        if let Some(kind) = told.entry_type.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            let known = KINDS.join(", ");
            return Err(refuse(format!("no entry is of the type {kind:?}; there are {known}")));
        }
        Ok(Options {
            dir: dir.unwrap_or_else(|| PathBuf::from("default.etcd")),
            wal_dir: told.wal_dir,
            json: told.json,
            from: told.from,
            to: told.to,
            value_bytes: told.value_bytes,
            sections,
            kinds: told.entry_type,
            keys: told.key.map(KeyRange::prefix),
        })
    }

    /// Whether a section is printed.
    pub(crate) fn shows(&self, section: Section) -> bool {
        self.sections.is_empty() || self.sections.contains(&section)
    }

    /// Whether an entry is printed.
    pub(crate) fn selects(&self, entry: &Logged) -> bool {
        let is_asked = self.kinds.is_empty() || self.kinds.iter().any(|asked| asked == kind(entry));
        let Some(keys) = &self.keys else { return is_asked };
        match &entry.said {
            Said::Command { command, .. } => is_asked && names(command, keys),
            _ => false,
        }
    }
}

/// Whether a command names one of `keys`.
fn names(command: &Command, keys: &KeyRange) -> bool {
    match command {
        Command::Put(put) => keys.contains(&put.key),
        Command::DeleteRange(delete) => keys.overlaps(&delete.range),
        Command::Txn(txn) => {
            txn.compares.iter().any(|compare| keys.overlaps(&compare.range))
                || [&txn.success, &txn.failure].into_iter().flatten().any(|op| op_names(op, keys))
        }
        _ => false,
    }
}

fn op_names(op: &TxnOp, keys: &KeyRange) -> bool {
    match op {
        TxnOp::Range(range) => keys.overlaps(&range.range),
        TxnOp::Put(put) => keys.contains(&put.key),
        TxnOp::DeleteRange(delete) => keys.overlaps(&delete.range),
        TxnOp::Txn(txn) => names(&Command::Txn(txn.clone()), keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let words: Vec<OsString> =
            std::iter::once(&"inspect").chain(words).map(OsString::from).collect();
        Options::read(&words).map_err(|error| error.to_string())
    }

    // A section that is taken for a directory, or the other way round, shows what nobody asked for.
    #[test]
    fn directories_and_sections_are_told_apart() {
        let all = read(&["d"]).unwrap();
        assert!(all.dir.to_str() == Some("d") && all.shows(Section::Engine));
        let some = read(&["d", "log", "entries"]).unwrap();
        assert!(some.shows(Section::Log) && !some.shows(Section::Engine));
        let named = read(&["--data-dir", "log", "log"]).unwrap();
        assert!(named.dir.to_str() == Some("log") && !named.shows(Section::Members));
        assert_eq!(read(&["members"]).unwrap().dir.to_str(), Some("default.etcd"));
        assert!(read(&["d", "logs"]).unwrap_err().contains("no section is called logs"));
        assert!(read(&["d", "--entry-type=putt"]).unwrap_err().contains("delete_range"));
        Words::command().debug_assert();
    }
}
