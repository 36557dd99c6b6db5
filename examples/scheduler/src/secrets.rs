//! Secrets, sealed before they are stored.
//!
//! # Problem
//! A store is copied: to backups, to the disks of its members, to whoever may list keys. A password
//! in it is a password in all of these.
//!
//! # Idea
//! What is stored is sealed with a key that is not: one in a file on the servers, and handed to
//! nobody else.
//!
//! ```text
//!   key file (0600)  64 hex digits ──► 32 bytes; its name: the first 8 hex of their SHA-256
//!
//!   {"user":"…","pass":"…"} ── XChaCha20-Poly1305 ──► base64 ┬ nonce       24 bytes, random
//!    values in base64           key, nonce,                  └ sealed, tag n + 16 bytes
//!                               "namespace/name"
//! ```
//!
//! Namespace and name are authenticated: whoever can write to the store cannot put one tenant's
//! secret in another's place and have it delivered there. A nonce of 24 bytes can be random:
//! after 2^80 messages two of them meet with a chance of 2^-32 (draft-irtf-cfrg-xchacha-03).
//!
//! # Rotation
//! A [`Keyring`] holds several keys. The first seals; all of them unseal. To rotate: put a new file
//! in front, write again what [`Keyring::is_current`] says no of, then remove the old file.
//!
//! # Promises
//! * Plaintext is in [`Plain`] alone, which cannot be printed, compared or serialised, and whose
//!   memory is overwritten when it is dropped. So is that of keys, and of what lies between.
//! * An error names the secret and the key of it, never a value.
//!
//! # Omissions
//! How many values there are, what they are called and how long they are together is no secret. Who
//! can write to the store can put back what an object was before. `kind` is not authenticated. A
//! key in memory can be paged out: give servers no swap.

mod keyring;
mod plain;

pub use keyring::{Keyring, SecretError};
pub use plain::Plain;

#[cfg(test)]
mod tests;
