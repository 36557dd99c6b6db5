//! The JSON that is printed: one document a line.
//!
//! ```text
//!   {"type":"summary", …}          once, first
//!   {"type":"entry", …}            each entry that is selected, in order
//!   {"type":"end", …}              once, last: a reader that has not seen it has not seen all
//! ```
//!
//! `README.md` says what is in each. Fields may come to be added; those that are there stay.

use std::io::{self, Write};

use drystone_kv::runtime::inspect::Trouble;
use serde::Serialize;

use super::report::Report;
use super::request::EntryLine;

/// One line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    /// All but the entries.
    Summary(Box<Report>),
    /// One entry.
    Entry(EntryLine),
    /// What became of it.
    End {
        /// How many entries were printed.
        entries: u64,
        /// Nothing is wrong.
        sound: bool,
        /// What is.
        damage: Vec<Damage>,
    },
}

/// Something that is not as it was written.
#[derive(Serialize)]
pub(crate) struct Damage {
    /// The file, or the folder if no file is to blame.
    file: String,
    /// Where in it, in bytes; null if that is not known.
    offset: Option<u64>,
    /// What is wrong.
    what: String,
}

impl Line {
    pub(crate) fn end(entries: u64, troubles: &[Trouble]) -> Line {
        let damage = troubles.iter().map(|trouble| Damage {
            file: trouble.file.display().to_string(),
            offset: trouble.offset,
            what: trouble.what.clone(),
        });
        Line::End { entries, sound: troubles.is_empty(), damage: damage.collect() }
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
