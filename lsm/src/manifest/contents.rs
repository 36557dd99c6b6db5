//! What the manifest says: every keyspace, and every table that belongs to it.

use std::collections::BTreeMap;

use drystone_wal::Lsn;

use super::edit::{Change, Counters};
use crate::key::SeqNo;
use crate::keyspace::Traits;
use crate::memtable::KeyspaceId;
use crate::table::{TableId, TableMeta};

/// The state that all records together make.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    /// Drawn once, for the checksums of tables.
    pub(crate) salt: u64,
    pub(crate) epoch: u64,
    pub(crate) counters: Counters,
    pub(crate) keyspaces: BTreeMap<KeyspaceId, Entry>,
}

/// One keyspace.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) traits: Traits,
    /// With the level each stands on.
    pub(crate) tables: BTreeMap<TableId, (u8, TableMeta)>,
}

impl Contents {
    /// A database without keyspaces.
    pub(crate) fn fresh(salt: u64) -> Contents {
        let counters = Counters {
            next_table: 1,
            next_keyspace: 1,
            last_seq: SeqNo::ZERO,
            journal_from: Lsn(1),
            journal_durable: Lsn::NONE,
            journal_id: 0,
            time_floor: 0,
        };
        Contents { salt, epoch: 1, counters, keyspaces: BTreeMap::new() }
    }

    /// The state after an edit; the error says what does not fit, and leaves a state that
    /// is good for nothing.
    pub(super) fn apply(
        &mut self,
        counters: Counters,
        changes: &[Change],
    ) -> Result<(), &'static str> {
        for change in changes {
            self.apply_one(change)?;
        }
        let old = self.counters;
        if counters.next_table < old.next_table
            || counters.next_keyspace < old.next_keyspace
            || counters.last_seq < old.last_seq
        {
            return Err("manifest counters go back");
        }
        let last = self.keyspaces.last_key_value().map(|(id, _)| id.0);
        if last.is_some_and(|last| last >= counters.next_keyspace) {
            return Err("keyspace has a number that has not been given");
        }
        self.counters = counters;
        Ok(())
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), &'static str> {
        match change {
            Change::Make { id, name, traits } => {
                let entry = Entry { name: name.clone(), traits: *traits, tables: BTreeMap::new() };
                // A keyspace that is there is given other traits.
                if let Some(known) = self.keyspaces.get_mut(id) {
                    if known.name != *name || known.traits.expires != traits.expires {
                        return Err("keyspace is made twice");
                    }
                    known.traits = *traits;
                    return Ok(());
                }
                if self.keyspaces.values().any(|other| other.name == *name) {
                    return Err("two keyspaces have one name");
                }
                self.keyspaces.insert(*id, entry);
            }
            Change::Drop { id } => {
                self.keyspaces.remove(id).ok_or("keyspace to be dropped is not there")?;
            }
            Change::Add { space, level, meta } => {
                let entry = self.keyspaces.get_mut(space).ok_or("table of an unknown keyspace")?;
                if meta.salt != self.salt {
                    return Err("table of another database");
                }
                if entry.tables.insert(meta.id, (*level, meta.clone())).is_some() {
                    return Err("table is added twice");
                }
            }
            Change::Remove { space, id } => {
                let entry = self.keyspaces.get_mut(space).ok_or("table of an unknown keyspace")?;
                entry.tables.remove(id).ok_or("table to be removed is not there")?;
            }
        }
        Ok(())
    }

    /// The changes that make this state from nothing.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, entry) in &self.keyspaces {
            changes.push(Change::Make { id: *id, name: entry.name.clone(), traits: entry.traits });
            changes.extend(entry.tables.values().map(|(level, meta)| Change::Add {
                space: *id,
                level: *level,
                meta: meta.clone(),
            }));
        }
        changes
    }
}
