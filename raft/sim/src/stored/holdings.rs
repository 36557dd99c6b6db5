//! What a node would find on a disk with a real store on it, found by opening a copy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use drystone_raft::{Config, Index, Payload, Position, Raft};
use drystone_sim::Rng;

use super::neighbour::Neighbour;
use super::{GROUP, Rot, Stored};
use crate::disk::{Disk, Start};
use crate::holdings::Holdings;
use crate::machine::StateMachine;

impl<S: StateMachine> Stored<S> {
    /// What a node would find, also if `rot` went bad before.
    pub(super) fn find_holdings(&self, rot: Option<&Rot>) -> Option<Holdings> {
        let mut copy = self.copy();
        if let Some(rot) = rot {
            copy.suffer(rot);
        }
        let Start { boot, snapshot, lost } = copy.try_start().ok()?;
        let store = copy.store.as_ref()?;
        let said = store.damage().is_some() || rot.is_none_or(|rot| !rot.is_said);
        assert!(said, "damage went unnoticed: {rot:?}");
        let raft = Raft::restore(self.id, Config::new(10), boot, 0, 1).ok()?;
        let (base, last) = (raft.base().index, raft.last());
        let mut entries = BTreeMap::new();
        let mut anchors = Vec::new();
        // The core knows no terms in its holes; the books know which entries are there.
        let term_at = |index| store.meta_at(GROUP, index).map(|meta| meta.last.term);
        for index in (base.0 + 1..=last.index.0).map(Index) {
            let Some(term) = term_at(index) else { continue };
            if index.prev() > base && term_at(index.prev()).is_none() {
                anchors.push(Position::new(term, index));
            }
            entries.insert(index, term);
        }
        let whole = raft.is_sound() && !lost && snapshot.whole;
        Some(Holdings {
            last,
            members: Arc::new(raft.members().clone()),
            base,
            entries,
            anchors,
            can_serve: whole && copy.has_all_commands(base, last.index),
            in_doubt: raft.hard().lost_end.is_some(),
        })
    }

    /// What a new process would find.
    fn copy(&self) -> Stored<S> {
        Stored {
            vfs: self.vfs.kill_copy(),
            store: None,
            founders: self.founders.clone(),
            orders: VecDeque::new(),
            neighbour: Neighbour::new(Rng::new(0)),
            hurt: Vec::new(),
            ..*self
        }
    }

    /// Whether no command between these is withheld.
    fn has_all_commands(&self, base: Index, last: Index) -> bool {
        let mut after = base;
        while after < last {
            let Ok(Some(entries)) = self.store().load(GROUP, after, last, 64 << 10) else {
                return false;
            };
            if entries.iter().any(|entry| entry.payload == Payload::Withheld) {
                return false;
            }
            after = entries.last().map_or(last, |entry| entry.index);
        }
        true
    }
}
