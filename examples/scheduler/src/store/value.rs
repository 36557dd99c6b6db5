//! Keys and values, and how they change.

use bytes::Bytes;
use drystone_etcd_api::mvccpb;
use mason_core::types::Revision;

/// A key that is there, with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key. Ours are text; bytes that are none show as `U+FFFD`, and are no key of ours.
    pub key: String,
    /// The value. It shares the memory of the answer that it came in: copy what is kept for long.
    pub value: Bytes,
    /// In which revision it was made.
    pub made: Revision,
    /// In which revision it was last changed.
    pub changed: Revision,
    /// The lease that it goes with; 0 is none.
    pub lease: i64,
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> KeyValue {
        KeyValue {
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: kv.value,
            made: kv.create_revision,
            changed: kv.mod_revision,
            lease: kv.lease,
        }
    }
}

/// How a key changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value now.
    Put(KeyValue),
    /// It is gone.
    Delete {
        /// The key.
        key: String,
        /// In which revision it went.
        at: Revision,
    },
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(kv) => &kv.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// In which revision it changed.
    pub fn at(&self) -> Revision {
        match self {
            Change::Put(kv) => kv.changed,
            Change::Delete { at, .. } => *at,
        }
    }
}

/// Changes of one or several revisions, all of them, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The last of the revisions.
    pub revision: Revision,
    /// What changed.
    pub changes: Vec<Change>,
}

/// What follows all keys that begin with `prefix`, as etcd writes the end of a range.
pub(crate) fn end_of(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    // Everything.
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prefix whose end is one too far shows other people's keys; one too near hides ours.
    #[test]
    fn the_end_of_a_prefix_is_the_next_word_after_it() {
        assert_eq!(end_of("/mason/").as_ref(), b"/mason0");
        assert_eq!(end_of("").as_ref(), b"\0");
        // The last byte that text can end with is 0xbf.
        assert_eq!(end_of("\u{ffff}").as_ref(), b"\xef\xbf\xc0");
    }
}
