//! The agent's journal: which runs it has taken on, in a log that survives everything but the disk.
//!
//! Each note is one record of a [`drystone_wal`], synced before it counts. The journal is short: at
//! each start, what is still open is written anew and everything before is given back.
//!
//! # A full disk
//! A log that could not be written takes nothing more. It is opened anew then, over and over, until
//! what was to be noted is: nothing is claimed meanwhile, and what runs goes on. To note something
//! twice does no harm, since it says what is so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_vfs::OsVfs;
use drystone_wal::{Options, Wal};
use mason_core::agent::Note;
use mason_core::types::RunId;
use tokio::sync::mpsc;

use super::News;

/// Notes that are synced together at most.
const NOTES_AT_ONCE: usize = 256;
/// How long it waits to open the journal anew.
const PAUSE: Duration = Duration::from_secs(1);

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    wal: Option<Wal>,
}

impl Journal {
    /// Opens it, and returns what is open in it.
    pub(super) fn open(folder: &Path) -> Result<(Journal, Vec<Note>)> {
        let (wal, notes) = open(folder)?;
        Ok((Journal { folder: folder.to_owned(), wal: Some(wal) }, notes))
    }

    /// Writes notes as they come, and tells of each when it is durable.
    pub(super) async fn work(
        mut self,
        mut notes: mpsc::UnboundedReceiver<Note>,
        told: mpsc::Sender<News>,
    ) {
        let mut batch = Vec::new();
        while notes.recv_many(&mut batch, NOTES_AT_ONCE).await > 0 {
            while let Err(error) = self.write(&batch).await {
                tracing::error!("nothing can be claimed: the journal: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
            for note in batch.drain(..) {
                let _ = told.send(News::Noted(note)).await;
            }
        }
    }

    /// Writes notes and syncs them.
    async fn write(&mut self, notes: &[Note]) -> Result<()> {
        let wal = match self.wal.take() {
            Some(wal) => wal,
            None => {
                let folder = self.folder.clone();
                let opened = tokio::task::spawn_blocking(move || open(&folder)).await;
                opened.expect("opening a log does not panic")?.0
            }
        };
        let records: Vec<Vec<u8>> = notes.iter().map(encode).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        wal.append(&records)?.await?;
        // One that failed is dropped here, for it takes nothing more.
        self.wal = Some(wal);
        Ok(())
    }
}

/// Opens the log, and writes what is open in it anew.
fn open(folder: &Path) -> Result<(Wal, Vec<Note>)> {
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
    Ok((wal, notes))
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
