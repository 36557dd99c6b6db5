//! Envelopes from outside the crate, as `packet.rs` of the core draws them.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use drystone_membership::Key;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const OPEN: u8 = 0x10;
const SEALED: u8 = 0x11;
/// What stands before the body of an open one, and of a sealed one.
const OPEN_BYTES: usize = 9;
const SEALED_BYTES: usize = 29;
const TAG_BYTES: usize = 16;

/// How packets are closed, and opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) label: &'a str,
    pub(crate) key: Option<[u8; 32]>,
}

impl Envelope<'_> {
    /// Closes it, by a nonce that a test may use twice.
    pub(crate) fn close(&self, body: &[u8]) -> Vec<u8> {
        match self.key {
            None => [&[OPEN], &self.sum(body).to_le_bytes()[..], body].concat(),
            Some(key) => self.close_as(Key::new(key).fingerprint(), body),
        }
    }

    /// Closes it by its key, and says that it was the one of this fingerprint.
    pub(crate) fn close_as(&self, fingerprint: u32, body: &[u8]) -> Vec<u8> {
        let key = self.key.expect("there is a key");
        let name = fingerprint.to_le_bytes();
        let nonce = [7; 24];
        let mut sealed = body.to_vec();
        let authenticated = [&name, self.label.as_bytes()].concat();
        let cipher = XChaCha20Poly1305::new(&key.into());
        let tag = cipher.encrypt_inout_detached(
            &XNonce::from(nonce),
            &authenticated,
            sealed.as_mut_slice().into(),
        );
        let tag: [u8; TAG_BYTES] = tag.expect("a packet is short").into();
        [&[SEALED], &name[..], &nonce, &sealed, &tag].concat()
    }

    /// The body of a packet that fits.
    pub(crate) fn open(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let Some(key) = self.key else {
            let (head, body) = packet.split_at_checked(OPEN_BYTES)?;
            let fits = head[0] == OPEN && head[1..] == self.sum(body).to_le_bytes();
            return fits.then(|| body.to_vec());
        };
        let (head, sealed) = packet.split_at_checked(SEALED_BYTES)?;
        let (body, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
        let mut body = body.to_vec();
        let nonce = <[u8; 24]>::try_from(&head[5..]).ok()?;
        let tag = <[u8; TAG_BYTES]>::try_from(tag).ok()?;
        let authenticated = [&head[1..5], self.label.as_bytes()].concat();
        let cipher = XChaCha20Poly1305::new(&key.into());
        let opened = cipher.decrypt_inout_detached(
            &XNonce::from(nonce),
            &authenticated,
            body.as_mut_slice().into(),
            &Tag::from(tag),
        );
        (head[0] == SEALED && opened.is_ok()).then_some(body)
    }

    fn sum(&self, body: &[u8]) -> u64 {
        xxh3_64_with_seed(body, xxh3_64(self.label.as_bytes()))
    }
}

/// The fingerprint of the key that a sealed packet names.
pub(crate) fn named(packet: &[u8]) -> Option<u32> {
    match packet {
        [SEALED, a, b, c, d, ..] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}
