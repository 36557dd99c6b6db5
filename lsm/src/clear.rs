//! Empties a keyspace in one step.
//!
//! All of it is flushed, so that it is known from which key to which it reaches; then one table
//! that holds nothing but a delete of that range takes its place above the others, as one write.
//! Older snapshots see what they saw. When there are none left, compactions drop the tables below
//! it unread: see `compact/dropped.rs`.

use std::path::Path;

use crate::core::Core;
use crate::error::Result;
use crate::flush::FILTER_BITS;
use crate::key::{InternalKey, KEY_BYTES_MAX, Kind, SeqNo};
use crate::keyspace::Shared;
use crate::manifest::table_path;
use crate::table::{TableBuilder, TableId, TableMeta, TableOptions, Upper};
use crate::version::Tree;

impl Core {
    /// Deletes everything in a keyspace, as one write; durable on return.
    pub(crate) fn clear(&self, keyspace: &Shared) -> Result<()> {
        self.admit(keyspace, |tree, seq| {
            let Some((start, end)) = hull(tree) else { return Ok(Vec::new()) };
            let id = self.next_table();
            let path = table_path(&self.dir, id.0);
            match self.write_delete(&path, id, seq, &start, &end) {
                Ok(meta) => Ok(vec![(meta, path)]),
                Err(error) => {
                    self.remove_files(std::iter::once(&path));
                    Err(error)
                }
            }
        })
    }

    /// Writes a table that deletes everything from `start` to `end`.
    fn write_delete(
        &self,
        path: &Path,
        id: TableId,
        seq: SeqNo,
        start: &[u8],
        end: &Upper,
    ) -> Result<TableMeta> {
        let options = TableOptions {
            id,
            salt: self.salt,
            filter_bits: FILTER_BITS,
            ..TableOptions::default()
        };
        let mut builder = TableBuilder::new(&*self.vfs, path, options)?;
        let mut after = end.key().to_vec();
        if let Upper::At(last) = end {
            if last.len() < KEY_BYTES_MAX {
                after.push(0);
            } else {
                // There is no key to end before: the last one is deleted by itself.
                builder.add(InternalKey::new(last, seq, Kind::Delete), &[])?;
            }
        }
        builder.add_range_delete(start, &after, seq);
        // Never past: what it hides must not come back.
        builder.stamp(u64::MAX);
        builder.finish()
    }
}

/// From where to where the tables of a keyspace reach.
fn hull(tree: &Tree) -> Option<(Vec<u8>, Upper)> {
    let metas = || tree.tables().map(|(_, table)| table.meta());
    let start = metas().map(|meta| meta.smallest.to_vec()).min()?;
    // Of two that end with one key, one of which has it, that one ends later.
    let later = |upper: &&Upper| (upper.key().clone(), matches!(upper, Upper::At(_)));
    let end = metas().map(|meta| &meta.largest).max_by_key(later)?.clone();
    Some((start, end))
}
