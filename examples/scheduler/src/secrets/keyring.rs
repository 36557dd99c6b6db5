//! The keys that seal secrets, and the sealing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use mason_core::record::{SecretRecord, VALUE_BYTES_MAX, encode};
use mason_core::types::JobKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Plain;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;
/// Bytes of a key file that are looked at: more than it has.
const FILE_BYTES_MAX: u64 = 256;
/// Longest name of a value in a secret, bytes: it becomes the name of a file or of a variable.
const NAME_BYTES_MAX: usize = 253;

/// Why a secret cannot be sealed or unsealed. No value is in any of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is no key to seal with.
    #[error("no key file is given")]
    NoKey,
    /// The file system refused.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A key file that cannot be trusted, or holds no key.
    #[error("the key file {} {reason}", path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two files hold keys of one name.
    #[error("key {0} is given twice")]
    KeyTwice(String),
    /// A name that cannot be that of a file or a variable.
    #[error("secret {secret}: `{name}` is no name of a value: {rule}")]
    BadName {
        /// Which secret.
        secret: JobKey,
        /// The name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// More than the store takes.
    #[error("secret {secret}: {bytes} bytes when sealed, more than {VALUE_BYTES_MAX}")]
    TooLarge {
        /// Which secret.
        secret: JobKey,
        /// How large.
        bytes: usize,
    },
    /// It was sealed with a key that is not in the ring.
    #[error("secret {secret} is sealed with key {key_id}, which is not here")]
    UnknownKey {
        /// Which secret.
        secret: JobKey,
        /// Which key.
        key_id: String,
    },
    /// It was changed, cut short, moved from another name, or sealed with another key of that name.
    #[error("secret {secret} does not unseal with key {key_id}: it is not what was sealed there")]
    NotAuthentic {
        /// Which secret.
        secret: JobKey,
        /// Which key.
        key_id: String,
    },
    /// It is not in the form that is sealed.
    #[error("secret {secret} does not read: {reason}")]
    Damaged {
        /// Which secret.
        secret: JobKey,
        /// What is wrong.
        reason: &'static str,
    },
}

struct Key {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Key {
        let digest = Sha256::digest(&bytes[..]);
        let id = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Key { id, bytes }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.bytes).into())
    }
}

/// Keys that seal secrets: the first seals, all of them unseal.
pub struct Keyring {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

impl Keyring {
    /// Reads key files; the first holds the key that seals.
    ///
    /// # Errors
    /// If there is none, one does not read, or others than its owner may.
    pub fn open(files: &[impl AsRef<Path>]) -> Result<Keyring, SecretError> {
        let mut keys = Vec::<Key>::new();
        for file in files {
            let key = read_key(file.as_ref())?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(SecretError::KeyTwice(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(SecretError::NoKey) } else { Ok(Keyring { keys }) }
    }

    /// Makes a key file with a new random key, which only its owner may read; the key's name.
    ///
    /// # Errors
    /// If there is such a file already: what was sealed with its key would be lost.
    pub fn create(file: &Path) -> Result<String, SecretError> {
        let key = Key::new(Zeroizing::new(rand::random()));
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in key.bytes.iter() {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(half.into(), 16).expect("half a byte is a hex digit"));
            }
        }
        text.push('\n');
        let write = || {
            let mut options = OpenOptions::new();
            let mut made = options.write(true).create_new(true).mode(0o600).open(file)?;
            made.write_all(text.as_bytes())?;
            made.sync_all()?;
            match file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                Some(parent) => File::open(parent)?.sync_all(),
                None => File::open(".")?.sync_all(),
            }
        };
        write().map_err(|source| SecretError::Io { path: file.to_path_buf(), source })?;
        Ok(key.id)
    }

    /// The name of the key that seals.
    pub fn current(&self) -> &str {
        &self.keys[0].id
    }

    /// Whether a secret is sealed with the key that seals now.
    pub fn is_current(&self, record: &SecretRecord) -> bool {
        record.key_id == self.current()
    }

    /// Seals the values of a secret.
    ///
    /// # Errors
    /// If a value's name is none, or it is too much.
    pub fn seal(
        &self,
        secret: &JobKey,
        kind: &str,
        values: &BTreeMap<String, Plain>,
    ) -> Result<SecretRecord, SecretError> {
        for name in values.keys() {
            check_value_name(name).map_err(|rule| {
                let name = name.chars().take(80).collect();
                SecretError::BadName { secret: secret.clone(), name, rule }
            })?;
        }
        let key = &self.keys[0];
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut buffer = write(values);
        let sealed = key.cipher().encrypt_in_place(
            &XNonce::from(nonce),
            secret.to_string().as_bytes(),
            &mut *buffer,
        );
        sealed.expect("a secret is far shorter than the cipher's limit");
        let record = SecretRecord {
            kind: kind.to_owned(),
            keys: values.keys().cloned().collect(),
            key_id: key.id.clone(),
            sealed: STANDARD.encode([&nonce[..], &buffer[..]].concat()),
        };
        let bytes = encode(&record).len();
        if bytes > VALUE_BYTES_MAX {
            return Err(SecretError::TooLarge { secret: secret.clone(), bytes });
        }
        Ok(record)
    }

    /// The values of a secret, of which `secret` must be the name under which it was found.
    ///
    /// # Errors
    /// If it is not what was sealed under this name with a key of this ring.
    pub fn unseal(
        &self,
        secret: &JobKey,
        record: &SecretRecord,
    ) -> Result<BTreeMap<String, Plain>, SecretError> {
        let damaged = |reason| SecretError::Damaged { secret: secret.clone(), reason };
        let (secret_name, key_id) = (secret.clone(), record.key_id.clone());
        let Some(key) = self.keys.iter().find(|key| key.id == key_id) else {
            return Err(SecretError::UnknownKey { secret: secret_name, key_id });
        };
        let sealed = STANDARD.decode(&record.sealed).map_err(|_| damaged("it is no base64"))?;
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Err(damaged("it is shorter than a nonce"));
        };
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let (nonce, authenticated) = (XNonce::from(*nonce), secret.to_string());
        let opened = key.cipher().decrypt_in_place(&nonce, authenticated.as_bytes(), &mut *buffer);
        opened.map_err(|_| SecretError::NotAuthentic { secret: secret_name, key_id })?;
        let values = read(&buffer).map_err(damaged)?;
        if !values.keys().eq(&record.keys) {
            return Err(damaged("it holds other names than it says"));
        }
        Ok(values)
    }
}

fn read_key(path: &Path) -> Result<Key, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_path_buf(), source };
    let bad = |reason| SecretError::BadKeyFile { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(failed)?;
    let found: fs::Metadata = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(bad("is no file"));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(bad("may be read by others than its owner; make it 0600"));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let digits = text.trim_ascii();
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if digits.len() != 2 * KEY_BYTES {
        return Err(bad("does not hold 64 hex digits"));
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        for digit in pair {
            let half = char::from(*digit).to_digit(16);
            let half = half.ok_or_else(|| bad("does not hold 64 hex digits"))?;
            *byte = (*byte << 4) | u8::try_from(half).expect("a hex digit is half a byte");
        }
    }
    Ok(Key::new(bytes))
}

fn check_value_name(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match name {
        "" => Err("it is empty"),
        "." | ".." => Err("it means a directory"),
        _ if name.len() > NAME_BYTES_MAX => Err("it is longer than 253 bytes"),
        _ if !name.bytes().all(plain) => Err("only letters, digits, `-`, `_` and `.` may be in it"),
        _ => Ok(()),
    }
}

/// What is sealed: a JSON object of names to base64. It is written by hand, into memory that is
/// large enough from the start: what grows leaves copies behind.
fn write(values: &BTreeMap<String, Plain>) -> Zeroizing<Vec<u8>> {
    let coded = |plain: &Plain| plain.expose().len().div_ceil(3) * 4;
    // Quotes, colon, comma; the brackets; the cipher's tag.
    let entry = |(name, plain): (&String, &Plain)| name.len() + coded(plain) + 6;
    let size: usize = values.iter().map(entry).sum::<usize>() + 2 + 16;
    let mut out = Zeroizing::new(Vec::with_capacity(size));
    out.push(b'{');
    for (name, plain) in values {
        if out.len() > 1 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":\"");
        let start = out.len();
        out.resize(start + coded(plain), 0);
        let written = STANDARD.encode_slice(plain.expose(), &mut out[start..]);
        assert_eq!(written, Ok(coded(plain)), "base64 has four digits for three bytes");
        out.push(b'"');
    }
    out.push(b'}');
    assert!(out.len() + 16 <= size, "the size was worked out");
    out
}

fn read(text: &[u8]) -> Result<BTreeMap<String, Plain>, &'static str> {
    // Names and base64 need no escapes, so nothing is copied.
    let read: BTreeMap<&str, &str> = serde_json::from_slice(text).map_err(|_| "it is no JSON")?;
    let value = |(name, coded): (&str, &str)| {
        let plain = STANDARD.decode(coded).map_err(|_| "a value is no base64")?;
        Ok((name.to_owned(), Plain::new(plain)))
    };
    read.into_iter().map(value).collect()
}
