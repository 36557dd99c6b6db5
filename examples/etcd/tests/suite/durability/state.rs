//! A store as it should be: keys, leases, and what a change does to them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drystone_etcd_api::mvccpb::event::EventType;
use drystone_etcd_api::mvccpb::{Event, KeyValue};

use super::op::Effect;

/// All keys and leases at one revision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) revision: i64,
    pub(super) keys: BTreeMap<Bytes, KeyValue>,
    pub(super) leases: BTreeMap<i64, Lease>,
}

/// A lease and what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    /// Time to live as granted, seconds.
    pub(super) ttl: i64,
    pub(super) keys: BTreeSet<Bytes>,
}

impl Default for State {
    /// A fresh store: etcd counts from 1.
    fn default() -> State {
        State { revision: 1, keys: BTreeMap::new(), leases: BTreeMap::new() }
    }
}

impl State {
    /// Makes the next revision of `effects`; returns the events that a watch has to tell of it.
    pub(super) fn apply(&mut self, effects: &[Effect]) -> Vec<Event> {
        self.revision += 1;
        effects.iter().map(|effect| self.change(effect)).collect()
    }

    fn change(&mut self, effect: &Effect) -> Event {
        let Effect { key, put } = effect;
        let before = self.keys.remove(key);
        if let Some(lease) = before.as_ref().and_then(|kv| self.leases.get_mut(&kv.lease)) {
            lease.keys.remove(key);
        }
        let Some((value, lease)) = put else {
            let kv =
                KeyValue { key: key.clone(), mod_revision: self.revision, ..KeyValue::default() };
            return event(EventType::Delete, kv);
        };
        if let Some(lease) = self.leases.get_mut(lease) {
            lease.keys.insert(key.clone());
        }
        let kv = KeyValue {
            key: key.clone(),
            create_revision: before.as_ref().map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: before.as_ref().map_or(0, |kv| kv.version) + 1,
            value: value.clone(),
            lease: *lease,
        };
        self.keys.insert(key.clone(), kv.clone());
        event(EventType::Put, kv)
    }

    /// The keys in `[key, end)`.
    pub(super) fn range(&self, key: &Bytes, end: &Bytes) -> Vec<KeyValue> {
        self.keys.range(key.clone()..end.clone()).map(|(_, kv)| kv.clone()).collect()
    }
}

fn event(kind: EventType, kv: KeyValue) -> Event {
    Event { r#type: kind.into(), kv: Some(kv), prev_kv: None }
}

/// What an event changed.
pub(super) fn effect(event: &Event) -> Effect {
    let kv = event.kv.clone().unwrap_or_default();
    let put = (event.r#type() == EventType::Put).then_some((kv.value, kv.lease));
    Effect { key: kv.key, put }
}
