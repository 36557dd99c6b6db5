//! Keys: one that seals, and others that still open.
//!
//! A key cannot be changed everywhere at once, so it is changed in three steps, each of which any
//! member takes for the whole cluster: **add** the new key (now all can open what it seals),
//! **use** it (now all seal with it), **remove** the old one.
//!
//! ```text
//!     ring 1   A*          ring 2   A* B         ring 3   A B*         ring 4   B*
//!                  add B                use B               remove A
//! ```
//!
//! The ring has a number. A step makes the next ring, and the ring spreads like anything else:
//! sealed by the ring before. Every member tells in its metadata which ring it holds, so that a
//! step that would lock somebody out is refused, with the names of those who are behind: `use`
//! until all members can open the new key, and `remove` until all members that are known, failed
//! ones too, have the primary. A member that was cut off finds its key still good when it is back:
//! whoever opens a packet of its sends it the ring, sealed with the key that it still has.
//!
//! ```text
//!     bytes of a ring    number 8, count 1, place of the primary 1, keys of 32 each
//! ```

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::types::NodeId;

/// The bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// The bytes of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;
/// The most keys of a ring.
pub const KEYS_MAX: usize = 8;

/// What stands before the keys of a ring.
const RING_HEAD_BYTES: usize = 10;
/// A ring with a higher number is nobody's: after the last that can be told there would be none.
const NUMBER_MAX: u64 = 1 << 62;

/// A key of 32 bytes, which are nobody's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// These bytes, which come from a good source of randomness.
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// By what it is called: it says nothing about the key itself.
    pub fn fingerprint(&self) -> u32 {
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        let mut block = [0; 8];
        let tag = cipher.encrypt_inout_detached(&XNonce::default(), b"name", block.as_mut().into());
        let tag = tag.expect("eight bytes can be encrypted");
        (xxh3_64(&tag) ^ u64::from_le_bytes(block)) as u32
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:08x})", self.fingerprint())
    }
}

/// A step of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// All can open what this key seals.
    Add(Key),
    /// All seal with the key of this fingerprint.
    Use(u32),
    /// Nobody opens the key of this fingerprint any more.
    Remove(u32),
}

/// The keys of a member.
#[derive(Debug, Clone)]
pub(crate) struct Keyring {
    number: u64,
    keys: Vec<(u32, Key)>,
    primary: usize,
    id: NodeId,
    salt: u64,
    sealed: u64,
}

impl Keyring {
    /// The first ring. The first key seals. `salt` differs from life to life.
    pub(crate) fn new(keys: Vec<Key>, id: NodeId, salt: u64) -> Result<Keyring> {
        if keys.len() > KEYS_MAX {
            return Err(Error::Keys("a ring has eight keys at most"));
        }
        let number = u64::from(!keys.is_empty());
        let keys: Vec<(u32, Key)> = keys.into_iter().map(|key| (key.fingerprint(), key)).collect();
        Ok(Keyring { number, keys, primary: 0, id, salt, sealed: 0 })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The fingerprint of the key that seals; 0 if there is none.
    pub(crate) fn primary(&self) -> u32 {
        self.keys.get(self.primary).map_or(0, |(name, _)| *name)
    }

    /// The fingerprints of all keys, in their order.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().map(|(name, _)| *name)
    }

    fn place(&self, fingerprint: u32) -> Result<usize> {
        let place = self.keys.iter().position(|(name, _)| *name == fingerprint);
        place.ok_or(Error::Keys("no key has this fingerprint"))
    }

    /// Makes the next ring.
    pub(crate) fn turn(&mut self, step: KeyStep) -> Result<()> {
        if self.is_empty() {
            return Err(Error::Keys("a cluster without keys cannot get its first while it runs"));
        }
        if self.number >= NUMBER_MAX {
            return Err(Error::Keys("there is no ring after this one"));
        }
        match step {
            KeyStep::Add(key) => {
                let name = key.fingerprint();
                if self.place(name).is_ok() {
                    return Err(Error::Keys("the ring has this key"));
                }
                if self.keys.len() == KEYS_MAX {
                    return Err(Error::Keys("a ring has eight keys at most"));
                }
                self.keys.push((name, key));
            }
            KeyStep::Use(fingerprint) => self.primary = self.place(fingerprint)?,
            KeyStep::Remove(fingerprint) => {
                let place = self.place(fingerprint)?;
                if place == self.primary {
                    return Err(Error::Keys("the key that seals cannot be removed"));
                }
                self.keys.remove(place);
                self.primary -= usize::from(place < self.primary);
            }
        }
        self.number += 1;
        Ok(())
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[self.keys.len() as u8, self.primary as u8]);
        self.keys.iter().for_each(|(_, key)| bytes.extend_from_slice(&key.0));
        bytes
    }

    /// Says what is wrong with a ring from another member, whose bytes begin at `base` of a packet.
    pub(crate) fn check(&self, bytes: &[u8], base: usize) -> Result<()> {
        let wrong = |offset, what| Err(Error::Packet { offset: base + offset, what });
        if self.is_empty() || bytes.len() < RING_HEAD_BYTES {
            return wrong(0, "a ring of keys that is none");
        }
        if number_of(bytes) > NUMBER_MAX {
            return wrong(0, "a ring's number out of bounds");
        }
        let (count, primary) = (usize::from(bytes[8]), usize::from(bytes[9]));
        if count > KEYS_MAX || primary >= count || bytes.len() != RING_HEAD_BYTES + 32 * count {
            return wrong(8, "a ring of keys that is none");
        }
        Ok(())
    }

    /// Takes a ring that was [checked](Keyring::check), if it is newer. Of two with one number,
    /// made at once by two operators, the one with the larger bytes stays.
    pub(crate) fn adopt(&mut self, bytes: &[u8]) -> bool {
        let (number, primary) = (number_of(bytes), usize::from(bytes[9]));
        if (number, bytes) <= (self.number, &self.write()[..]) {
            return false;
        }
        let keys = bytes[RING_HEAD_BYTES..].chunks_exact(32);
        let keys = keys.map(|key| Key(key.try_into().expect("a chunk has 32 bytes")));
        self.keys = keys.map(|key| (key.fingerprint(), key)).collect();
        (self.number, self.primary) = (number, primary);
        true
    }

    /// A number that no other packet has.
    pub(crate) fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        self.sealed += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&self.id.0.to_le_bytes());
        nonce[8..16].copy_from_slice(&self.salt.to_le_bytes());
        nonce[16..].copy_from_slice(&self.sealed.to_le_bytes());
        nonce
    }

    /// Encrypts in place with a key of the ring, and returns the tag.
    pub(crate) fn seal(
        &self,
        fingerprint: u32,
        nonce: &[u8; NONCE_BYTES],
        authenticated: &[u8],
        body: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let place = self.place(fingerprint).expect("only keys of the ring seal");
        let cipher = XChaCha20Poly1305::new(&self.keys[place].1.0.into());
        let tag = cipher.encrypt_inout_detached(&XNonce::from(*nonce), authenticated, body.into());
        tag.expect("a packet is shorter than the cipher's limit").into()
    }

    /// Decrypts in place; false if the key is not there or the packet is not sealed by it.
    pub(crate) fn open(
        &self,
        fingerprint: u32,
        nonce: [u8; NONCE_BYTES],
        authenticated: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> bool {
        let Ok(tag) = <[u8; TAG_BYTES]>::try_from(tag) else { return false };
        let named = self.keys.iter().find(|(name, _)| *name == fingerprint);
        named.is_some_and(|(_, key)| {
            let cipher = XChaCha20Poly1305::new(&key.0.into());
            let (nonce, tag) = (XNonce::from(nonce), Tag::from(tag));
            cipher.decrypt_inout_detached(&nonce, authenticated, body.into(), &tag).is_ok()
        })
    }
}

/// The number of a ring.
fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Whoever has the key can say which ring comes next. If it names the last number that there
    // is, a step after it must not bring anybody down, nor go round to a ring that all call old.
    #[test]
    fn no_ring_has_a_number_that_none_comes_after() {
        let mut ring = Keyring::new(vec![Key::new([1; 32])], NodeId(1), 1).unwrap();
        let mut bytes = ring.write();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let what = "a ring's number out of bounds";
        assert_eq!(ring.check(&bytes, 9), Err(Error::Packet { offset: 9, what }));
        bytes[..8].copy_from_slice(&NUMBER_MAX.to_le_bytes());
        assert_eq!(ring.check(&bytes, 9), Ok(()));
        assert!(ring.adopt(&bytes) && !ring.adopt(&bytes));
        let refused = ring.turn(KeyStep::Add(Key::new([2; 32])));
        assert_eq!(refused, Err(Error::Keys("there is no ring after this one")));
        assert_eq!(ring.number(), NUMBER_MAX);
    }
}
