//! `raft-engine`: the log of many Raft groups, with an index of all entries in memory.
//!
//! One writer leads: it writes each waiting batch, one system call for each, and syncs once.
//!
//! **A region for each thread.** Entries of one region must come in order and without a gap (it
//! panics on a hole), and a writer learns of its turn only when it is served; so threads that share
//! a region would have to hold a lock from taking an index until the entry is durable, and no two
//! of them could ever share a sync. A region for each thread is what it is made for, and it is the
//! fastest way to use it. The other way to share a region is its key-value interface, which is run
//! as well: [`Shape::KeyInSharedRegion`].

use std::path::Path;
use std::slice;
use std::sync::Arc;

use anyhow::{Result, ensure};
use raft_engine::env::DefaultFileSystem;
use raft_engine::internals::FilePipeLog;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::{Entry, Log, SEGMENT_BYTES, Writer};

/// Regions that `tidy` looks at.
const REGIONS_MAX: u64 = 64;

/// Tells the engine where in an [`Entry`] its index is.
#[derive(Clone, Debug)]
pub struct IndexOfEntry;

impl MessageExt for IndexOfEntry {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// How a record is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As the next entry of the thread's own region.
    EntryInOwnRegion,
    /// As the value of the thread's own key in a region that all share.
    KeyInSharedRegion,
}

/// An engine with recycling and prefilling on.
pub struct RaftEngine {
    shape: Shape,
    engine: Arc<Engine<DefaultFileSystem, FilePipeLog<DefaultFileSystem>>>,
}

impl RaftEngine {
    /// Opens an engine in `dir`, its active file one of those that are full of zeros.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn open(dir: &Path, shape: Shape) -> Result<RaftEngine> {
        let config = Config {
            dir: dir.display().to_string(),
            target_file_size: ReadableSize(SEGMENT_BYTES),
            // Three files are made ahead: half as much again as this.
            purge_threshold: ReadableSize(2 * SEGMENT_BYTES),
            enable_log_recycle: true,
            prefill_for_recycle: true,
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        // The very first file is never a prefilled one. Rotate, and do nothing else.
        let (_, first) = engine.file_span(raft_engine::internals::LogQueue::Append);
        engine.purge_manager().must_rewrite_append_queue(None, Some(1));
        let (_, active) = engine.file_span(raft_engine::internals::LogQueue::Append);
        ensure!(active == first + 1, "the log has moved on to a prefilled file");
        Ok(RaftEngine { shape, engine: Arc::new(engine) })
    }
}

impl Log for RaftEngine {
    fn name(&self) -> &str {
        match self.shape {
            Shape::EntryInOwnRegion => "raft-engine",
            Shape::KeyInSharedRegion => "raft-engine, keys",
        }
    }

    fn writer(&self, thread: usize) -> Result<Writer<'_>> {
        let mut batch = LogBatch::with_capacity(1);
        if self.shape == Shape::KeyInSharedRegion {
            let key = thread.to_le_bytes();
            return Ok(Box::new(move |payload| {
                batch.put(1, key.to_vec(), payload.to_vec())?;
                self.engine.write(&mut batch, true)?;
                Ok(())
            }));
        }
        let region = thread as u64 + 1;
        ensure!(region <= REGIONS_MAX, "tidy knows {REGIONS_MAX} regions");
        let mut entry = Entry::default();
        entry.index = self.engine.last_index(region).unwrap_or(0);
        Ok(Box::new(move |payload| {
            entry.index += 1;
            entry.data.clear();
            entry.data.extend_from_slice(payload);
            batch.add_entries::<IndexOfEntry>(region, slice::from_ref(&entry))?;
            self.engine.write(&mut batch, true)?;
            Ok(())
        }))
    }

    fn tidy(&self) -> Result<()> {
        for region in 1..=REGIONS_MAX {
            if let Some(last) = self.engine.last_index(region) {
                self.engine.compact_to(region, last);
            }
        }
        self.engine.purge_expired_files()?;
        self.engine.sync()?;
        Ok(())
    }
}
