//! The envelope: whose packet it is, that it is whole, and nobody else's to read.
//!
//! ```text
//!     open     10 ┬ check 8 ┬ message, news …
//!              1  │         │     check: XXH3 of all behind it, seeded by the cluster's label
//!
//!     sealed   11 ┬ key 4 ┬ nonce 24 ┬ message, news …, encrypted ┬ tag 16
//!              1  │       │          │                            │
//!                 └ the fingerprint of the key     XChaCha20-Poly1305; label and key are
//!                                                  authenticated with it, and not sent
//! ```
//!
//! Without keys the check tells damage and strangers apart from our own, and keeps out nobody who
//! wants in. With keys only who has one can say anything, and a packet of another cluster that
//! shares the key by accident fails for its label.
//!
//! A nonce is used once: it is made of the sender's id, of what the driver drew for this life, and
//! of a counter.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::{Error, Result};
use crate::keyring::{Keyring, NONCE_BYTES, TAG_BYTES};

const OPEN: u8 = 0x10;
const SEALED: u8 = 0x11;

const CHECK_BYTES: usize = 8;
const OPEN_BYTES: usize = 1 + CHECK_BYTES;
const SEALED_BYTES: usize = 1 + 4 + NONCE_BYTES;

/// Puts packets into envelopes and takes them out.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    label: Vec<u8>,
    label_sum: u64,
}

impl Envelope {
    pub(crate) fn new(label: &str) -> Envelope {
        Envelope { label: label.as_bytes().to_vec(), label_sum: xxh3_64(label.as_bytes()) }
    }

    /// How many bytes stand before a message.
    pub(crate) fn head_bytes(keyring: &Keyring) -> usize {
        if keyring.is_empty() { OPEN_BYTES } else { SEALED_BYTES }
    }

    /// How many bytes an envelope has.
    pub(crate) fn bytes(keyring: &Keyring) -> usize {
        if keyring.is_empty() { OPEN_BYTES } else { SEALED_BYTES + TAG_BYTES }
    }

    /// A packet with room for the head, to append a message to.
    pub(crate) fn begin(keyring: &Keyring) -> Vec<u8> {
        let mut packet = Vec::with_capacity(64);
        packet.resize(Envelope::head_bytes(keyring), 0);
        packet
    }

    /// The fingerprint of the key that a packet names, if it is a sealed one.
    pub(crate) fn key(packet: &[u8]) -> Option<u32> {
        match packet {
            [SEALED, a, b, c, d, ..] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
            _ => None,
        }
    }

    /// Closes the envelope.
    pub(crate) fn close(&self, keyring: &mut Keyring, packet: Vec<u8>) -> Vec<u8> {
        self.close_by(keyring.primary(), keyring, packet)
    }

    /// Closes it with one key of the ring.
    pub(crate) fn close_by(&self, key: u32, keyring: &mut Keyring, mut packet: Vec<u8>) -> Vec<u8> {
        if keyring.is_empty() {
            packet[0] = OPEN;
            let check = xxh3_64_with_seed(&packet[OPEN_BYTES..], self.label_sum);
            packet[1..OPEN_BYTES].copy_from_slice(&check.to_le_bytes());
            return packet;
        }
        let nonce = keyring.nonce();
        packet[0] = SEALED;
        packet[1..5].copy_from_slice(&key.to_le_bytes());
        packet[5..SEALED_BYTES].copy_from_slice(&nonce);
        let (head, body) = packet.split_at_mut(SEALED_BYTES);
        let tag = keyring.seal(key, &nonce, &self.authenticated(&head[1..5]), body);
        packet.extend_from_slice(&tag);
        packet
    }

    /// Opens it: the bytes of the message, and at which offset of the packet they began.
    pub(crate) fn open<'a>(
        &self,
        keyring: &Keyring,
        packet: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<(&'a [u8], usize)> {
        let wrong = |offset, what| Err(Error::Packet { offset, what });
        match packet.first() {
            None => wrong(0, "an empty packet"),
            Some(&OPEN) if !keyring.is_empty() => wrong(0, "an open packet, and we have keys"),
            Some(&OPEN) => {
                let Some(body) = packet.get(OPEN_BYTES..) else {
                    return wrong(packet.len(), "the bytes end early");
                };
                let check = xxh3_64_with_seed(body, self.label_sum).to_le_bytes();
                if check != packet[1..OPEN_BYTES] {
                    return wrong(1, "damaged, or of another cluster");
                }
                Ok((body, OPEN_BYTES))
            }
            Some(&SEALED) if keyring.is_empty() => wrong(0, "a sealed packet, and we have no key"),
            Some(&SEALED) => {
                if packet.len() < SEALED_BYTES + TAG_BYTES {
                    return wrong(packet.len(), "the bytes end early");
                }
                let key = u32::from_le_bytes(packet[1..5].try_into().expect("four bytes"));
                let (head, sealed) = packet.split_at(SEALED_BYTES);
                let (body, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
                scratch.clear();
                scratch.extend_from_slice(body);
                let nonce = head[5..].try_into().expect("so many bytes");
                if keyring.open(key, nonce, &self.authenticated(&head[1..5]), scratch, tag) {
                    Ok((scratch, SEALED_BYTES))
                } else {
                    Err(Error::Sealed { key })
                }
            }
            Some(_) => wrong(0, "a packet of an unknown version"),
        }
    }

    fn authenticated(&self, key: &[u8]) -> Vec<u8> {
        [key, &self.label].concat()
    }
}
