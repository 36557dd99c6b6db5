//! A set of paths, six bytes each.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a path's hash. Of 5,000 paths two share one with a chance of 1 in 20 million.
const KEY_BYTES: usize = 6;

/// Hashes of paths; in the store, in order, one after another, big end first, in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(BTreeSet<u64>);

impl Keys {
    pub(super) fn insert(&mut self, key: u64) {
        assert!(key < 1 << (8 * KEY_BYTES), "a key has six bytes");
        self.0.insert(key);
    }

    pub(super) fn remove(&mut self, key: u64) {
        self.0.remove(&key);
    }

    pub(super) fn contains(&self, key: &u64) -> bool {
        self.0.contains(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> =
            self.0.iter().flat_map(|key| key.to_be_bytes()[8 - KEY_BYTES..].to_vec()).collect();
        to.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }
}

impl<'a> Deserialize<'a> for Keys {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Keys, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(de::Error::custom)?;
        if !bytes.len().is_multiple_of(KEY_BYTES) {
            return Err(de::Error::custom("a key is cut"));
        }
        let key = |bytes: &[u8]| bytes.iter().fold(0, |key, &byte| key << 8 | u64::from(byte));
        Ok(Keys(bytes.chunks(KEY_BYTES).map(key).collect()))
    }
}
