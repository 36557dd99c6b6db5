//! What a writer asks of the server, and what must come of it.
//!
//! Every value is written once in a lifetime, so a change that is found tells which operation made
//! it. Operations are small programs over the [`State`]: [`Op::effects`] says what one of them
//! changes there, in the order in which a watch must tell it.

use bytes::Bytes;

use super::state::State;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// Sets one key, and hangs it on a lease unless that is 0.
    Put { key: Bytes, value: Bytes, lease: i64 },
    /// Deletes one key.
    Delete { key: Bytes },
    /// Sets every key of a group to the same value, in one transaction.
    SetGroup { keys: Vec<Bytes>, value: Bytes },
    /// Deletes the range `[key, end)`, which holds one group.
    DropGroup { key: Bytes, end: Bytes },
    /// Sets a key that all writers share, if nobody has since revision `expected`.
    Swap { key: Bytes, value: Bytes, expected: i64 },
    /// Makes a lease.
    Grant { lease: i64, ttl: i64 },
    /// Ends a lease and deletes the keys that hang on it.
    Revoke { lease: i64 },
}

/// One key changed: set to a value and hung on a lease, or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) key: Bytes,
    pub(super) put: Option<(Bytes, i64)>,
}

impl Effect {
    fn put(key: &Bytes, value: &Bytes, lease: i64) -> Effect {
        Effect { key: key.clone(), put: Some((value.clone(), lease)) }
    }

    fn delete(key: &Bytes) -> Effect {
        Effect { key: key.clone(), put: None }
    }
}

impl Op {
    /// What the operation changes in `state`, as one revision; nothing if it makes none.
    pub(super) fn effects(&self, state: &State) -> Vec<Effect> {
        match self {
            Op::Put { key, value, lease } => vec![Effect::put(key, value, *lease)],
            Op::Delete { key } => state.keys.get_key_value(key).map(delete).into_iter().collect(),
            Op::SetGroup { keys, value } => {
                keys.iter().map(|key| Effect::put(key, value, 0)).collect()
            }
            Op::DropGroup { key, end } => {
                state.keys.range(key.clone()..end.clone()).map(delete).collect()
            }
            Op::Swap { key, value, expected } => {
                let stands = state.keys.get(key).map_or(0, |kv| kv.mod_revision);
                let swap = || Effect::put(key, value, 0);
                (stands == *expected).then(swap).into_iter().collect()
            }
            Op::Grant { .. } => Vec::new(),
            // In the order of the keys, whatever order they came in.
            Op::Revoke { lease } => {
                let keys = state.leases.get(lease).map(|lease| &lease.keys);
                keys.into_iter().flatten().map(Effect::delete).collect()
            }
        }
    }
}

fn delete<V>((key, _): (&Bytes, V)) -> Effect {
    Effect::delete(key)
}

/// An operation, when it was asked for, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) op: Op,
    /// The newest revision that any client had heard of when the request was sent: what comes of
    /// the request comes after it.
    pub(super) sent_after: i64,
    pub(super) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered, and made the revision of the header.
    Made(i64),
    /// It was answered, and changed no key; the header's revision tells when.
    Nothing(i64),
    /// It was answered, and may have made any revision up to the header's: revocations do not say.
    By(i64),
    /// The connection broke first. It may have happened, or not, but not in part.
    Unknown,
}

/// A range that was read, and what stood in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub(super) revision: i64,
    pub(super) key: Bytes,
    pub(super) end: Bytes,
    pub(super) found: Vec<drystone_etcd_api::mvccpb::KeyValue>,
}
