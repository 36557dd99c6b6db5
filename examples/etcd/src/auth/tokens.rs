//! Simple tokens: sixteen letters that the members know by their hash.
//!
//! ```text
//!   GmvTgqlXZkPeRbXa.123
//!   └── secret ────┘ └─ the member that gave it stood at this place of the log
//! ```
//!
//! The letters are drawn at random, some 91 bits of it, and only their SHA-256 leaves the member
//! that drew them. A member that has not come as far as the number waits before it says that it
//! does not know them.

use std::sync::Arc;

use drystone_kv::runtime::TokenHash;
use rand::RngExt as _;
use sha2::{Digest, Sha256};

use super::jwt::Jwt;

const SECRET_CHARS: usize = 16;
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What kind of tokens clients are given.
#[derive(Clone, Debug)]
pub(crate) enum TokenKind {
    /// Those of this file.
    Simple,
    /// Signed ones.
    Jwt(Arc<Jwt>),
}

/// What is drawn for a token.
pub(crate) struct Secret(String);

impl Secret {
    /// A new one.
    pub(crate) fn draw() -> Secret {
        let mut random = rand::rng();
        let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
        Secret((0..SECRET_CHARS).map(letter).collect())
    }

    /// By which members know it.
    pub(crate) fn hash(&self) -> TokenHash {
        hash(&self.0)
    }

    /// The token, once members that stand at `index` know it.
    pub(crate) fn token(&self, index: u64) -> String {
        format!("{}.{index}", self.0)
    }
}

fn hash(secret: &str) -> TokenHash {
    Sha256::digest(secret.as_bytes()).into()
}

fn parts(token: &str) -> Option<(&str, u64)> {
    let (secret, index) = token.split_once('.')?;
    Some((secret, index.parse().ok()?))
}

/// By which members know a token, if it could be one.
pub(crate) fn hash_of(token: &str) -> Option<TokenHash> {
    parts(token).map(|(secret, _)| hash(secret))
}

/// From which place of the log on members know a token, if it could be one.
pub(crate) fn index_of(token: &str) -> Option<u64> {
    parts(token).map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Clients show what they were given, and nothing else must be taken for it.
    #[test]
    fn tokens_are_known_by_the_hash_of_their_secret() {
        let secret = Secret::draw();
        let token = secret.token(77);
        assert_eq!(token.split('.').next().map(str::len), Some(16));
        assert_eq!(hash_of(&token), Some(secret.hash()));
        assert_eq!(index_of(&token), Some(77));
        assert_ne!(Secret::draw().hash(), secret.hash());
        for bad in ["", "abc", "abc.", "abc.x", "abc.-1", "."] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
    }
}
