//! Text that tasks are given: config maps and secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A config map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// Key to text.
    pub data: BTreeMap<String, String>,
    /// Key to bytes that are no text, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binary: BTreeMap<String, String>,
}

/// A secret, sealed: whoever reads the store reads nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// `Opaque`, or a type of Kubernetes'.
    pub kind: String,
    /// The names of its keys, which are no secret.
    pub keys: Vec<String>,
    /// Which key seals it.
    pub key_id: String,
    /// A nonce and what is sealed, in base64: a JSON object of key to base64. Namespace and name
    /// are authenticated with it, so that one cannot be put in another's place.
    pub sealed: String,
}

impl fmt::Debug for SecretRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretRecord").field("keys", &self.keys).finish_non_exhaustive()
    }
}
