//! The agent's journal: which runs it has taken on, in a log that survives everything but the disk.
//!
//! Each note is one record of a [`drystone_wal`], synced before it counts. The journal is short: at
//! each start, what is still open is written anew and everything before is given back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};
use mason_core::agent::Note;
use mason_core::types::RunId;

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    wal: Wal,
}

impl Journal {
    /// Opens it, and returns what is open in it.
    pub(super) fn open(folder: &Path) -> Result<(Journal, Vec<Note>)> {
        let (wal, records) = Wal::open(Arc::new(OsVfs), folder, Options::default().lean(true))?;
        let mut open: BTreeMap<RunId, Note> = BTreeMap::new();
        for record in records {
            let (lsn, bytes) = record?;
            let note: Note = serde_json::from_slice(&bytes)
                .with_context(|| format!("record {lsn} of {}", folder.display()))?;
            match &note {
                Note::Claim { run, .. } => drop(open.insert(run.clone(), note)),
                Note::Gone { run } => drop(open.remove(run)),
            }
        }
        let notes: Vec<Note> = open.into_values().collect();
        let first = wal.next_lsn();
        let records: Vec<Vec<u8>> = notes.iter().map(encode).collect();
        if !records.is_empty() {
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
            wal.append(&records)?.wait()?;
        }
        wal.truncate_prefix(first)?;
        Ok((Journal { wal }, notes))
    }

    /// Writes a note. The future says whether it is durable.
    pub(super) fn note(&self, note: &Note) -> Result<impl Future<Output = bool> + Send + use<>> {
        let commit = self.wal.append(&[&encode(note)])?;
        Ok(async move {
            match commit.await {
                Ok(_) => true,
                Err(error) => {
                    // The next append fails, too, and ends the agent.
                    tracing::error!(%error, "the journal is not durable");
                    false
                }
            }
        })
    }
}

fn encode(note: &Note) -> Vec<u8> {
    serde_json::to_vec(note).expect("a note has no maps")
}

/// Counts the starts of the agent in this folder.
pub(super) fn next_epoch(folder: &Path) -> io::Result<u64> {
    let path = folder.join("epoch");
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is no number", path.display()))
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let next: u64 = last + 1;
    let fresh = folder.join("epoch.new");
    let file = fs::File::create(&fresh)?;
    io::Write::write_all(&mut &file, format!("{next}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(next)
}
