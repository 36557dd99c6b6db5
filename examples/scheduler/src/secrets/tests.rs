//! What a thief of the store sees, and what a forger in it achieves: nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mason_core::record::{self, SecretRecord};
use mason_core::types::JobKey;
use tempfile::TempDir;

use super::{Keyring, Plain, SecretError};

/// Found nowhere but where it was put.
const CANARY: &str = "canary-5f0e7c1d-is-never-shown";

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A ring of new keys by these names; those that are there are taken as they are.
    fn ring(&self, names: &[&str]) -> Keyring {
        let files: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        for file in files.iter().filter(|file| !file.exists()) {
            Keyring::create(file).unwrap();
        }
        Keyring::open(&files).unwrap()
    }
}

fn secret() -> JobKey {
    JobKey::new("ml", "database")
}

fn values(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Plain> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Plain::new(value.to_vec()))).collect()
}

fn seal(ring: &Keyring) -> SecretRecord {
    let values = values(&[("pass", CANARY.as_bytes()), ("user", b"admin")]);
    ring.seal(&secret(), "Opaque", &values).unwrap()
}

fn refused(ring: &Keyring, name: &JobKey, record: &SecretRecord) -> SecretError {
    let Err(error) = ring.unseal(name, record) else { panic!("it unseals") };
    error
}

/// Anything that fits is given back as it was: empty, binary, long, many.
#[test]
fn what_was_sealed_is_unsealed() {
    let ring = Files::new().ring(&["a"]);
    let binary: Vec<u8> = (0..=255).collect();
    let long = vec![0xff; 30_000];
    for pairs in [
        &[][..],
        &[("empty", &b""[..])],
        &[("tls.crt", &binary), ("TLS_key-1", b"\"\\\n"), ("x", b"1"), ("y", b"12")],
        &[("long", &long)],
    ] {
        let record = ring.seal(&secret(), "Opaque", &values(pairs)).unwrap();
        // As the store holds it.
        let stored = record::encode(&record);
        let record: SecretRecord = record::decode("secret/ml/database", &stored).unwrap();
        let found = ring.unseal(&secret(), &record).unwrap();
        let found: Vec<(&str, &[u8])> =
            found.iter().map(|(name, plain)| (name.as_str(), plain.expose())).collect();
        let mut expected = pairs.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

/// The same text twice must not look the same twice: a reader of the store would see who shares a
/// password, and two messages under one nonce break the cipher.
#[test]
fn two_seals_of_one_secret_differ() {
    let ring = Files::new().ring(&["a"]);
    let (one, two) = (seal(&ring), seal(&ring));
    assert_ne!(one.sealed, two.sealed);
    assert_ne!(one.sealed[..32], two.sealed[..32], "the nonces");
}

/// A forger in the store moves, cuts or changes what is sealed.
#[test]
fn nothing_but_what_was_sealed_under_the_name_unseals() {
    let ring = Files::new().ring(&["a"]);
    let record = seal(&ring);
    // Another's name, and one that reads the same when it is put together.
    for name in [JobKey::new("ml", "web"), JobKey::new("web", "database"), JobKey::new("m", "l")] {
        let error = refused(&ring, &name, &record);
        assert!(matches!(error, SecretError::NotAuthentic { .. }), "{error:?}");
        assert!(error.to_string().contains(&name.to_string()), "{error}");
    }
    let bytes = STANDARD.decode(&record.sealed).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        for bytes in [&changed[..], &bytes[..at]] {
            let record = SecretRecord { sealed: STANDARD.encode(bytes), ..record.clone() };
            let error = refused(&ring, &secret(), &record);
            let expected =
                matches!(error, SecretError::NotAuthentic { .. } | SecretError::Damaged { .. });
            assert!(expected, "{at}: {error:?}");
        }
    }
    let garbage = SecretRecord { sealed: "no base64!".to_owned(), ..record.clone() };
    assert!(matches!(refused(&ring, &secret(), &garbage), SecretError::Damaged { .. }));
    let renamed = SecretRecord { keys: vec!["other".to_owned()], ..record };
    assert!(matches!(refused(&ring, &secret(), &renamed), SecretError::Damaged { .. }));
}

/// Keys are changed while secrets of all ages are in use; a lost key must be named.
#[test]
fn rotation_keeps_old_secrets_until_their_key_is_removed() {
    let files = Files::new();
    let old = files.ring(&["old"]);
    let record = seal(&old);
    assert!(old.is_current(&record));
    let both = files.ring(&["new", "old"]);
    assert!(!both.is_current(&record));
    let values = both.unseal(&secret(), &record).unwrap();
    let again = both.seal(&secret(), &record.kind, &values).unwrap();
    assert!(both.is_current(&again));
    let new = files.ring(&["new"]);
    assert_eq!(new.unseal(&secret(), &again).unwrap()["pass"].expose(), CANARY.as_bytes());
    let error = refused(&new, &secret(), &record);
    assert!(matches!(&error, SecretError::UnknownKey { key_id, .. } if key_id == old.current()));
    // A key by the same name that is another.
    let forged = SecretRecord { key_id: new.current().to_owned(), ..record };
    assert!(matches!(refused(&new, &secret(), &forged), SecretError::NotAuthentic { .. }));
}

/// A key that others can read is none; one that is overwritten takes all secrets along.
#[test]
fn key_files_are_their_owners_alone_and_never_overwritten() {
    let files = Files::new();
    let path = files.path("key");
    let id = Keyring::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    assert_eq!(Keyring::open(&[&path]).unwrap().current(), id);
    assert!(matches!(Keyring::create(&path), Err(SecretError::Io { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let error = |path: &PathBuf| Keyring::open(&[path]).unwrap_err().to_string();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(error(&path).contains("0600") && error(&path).contains(path.to_str().unwrap()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in ["", "abc", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "x")] {
        fs::write(&path, bad).unwrap();
        assert!(error(&path).contains("64 hex digits"), "{}", error(&path));
    }
    assert!(error(&files.path("none")).contains("none"));
    assert!(matches!(Keyring::open(&[] as &[PathBuf]), Err(SecretError::NoKey)));
    let ring = files.ring(&["a"]);
    let twice = Keyring::open(&[files.path("a"), files.path("a")]);
    assert!(matches!(twice, Err(SecretError::KeyTwice(id)) if id == ring.current()));
}

/// The name of a key is what other tools can work out from the file.
#[test]
fn a_key_is_named_by_its_digest() {
    let files = Files::new();
    let path = files.path("zeros");
    fs::write(&path, "00".repeat(32)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // printf '\0%.0s' {1..32} | sha256sum
    assert_eq!(Keyring::open(&[&path]).unwrap().current(), "66687aad");
}

/// A name becomes a file in a container: one that leaves its folder is refused before it is stored.
#[test]
fn names_that_are_no_names_and_secrets_that_are_too_large_are_refused() {
    let ring = Files::new().ring(&["a"]);
    for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(254)] {
        let error = ring.seal(&secret(), "Opaque", &values(&[(name, b"1")])).unwrap_err();
        assert!(matches!(error, SecretError::BadName { .. }), "{name}: {error:?}");
    }
    let large = vec![b'x'; 40_000];
    let error = ring.seal(&secret(), "Opaque", &values(&[("large", &large)])).unwrap_err();
    assert!(matches!(error, SecretError::TooLarge { .. }), "{error:?}");
}

/// Whatever is printed by accident, a log line or an assertion, shows no plaintext and no key.
#[test]
fn nothing_that_can_be_printed_shows_plaintext() {
    let files = Files::new();
    let ring = files.ring(&["a"]);
    let record = seal(&ring);
    let key = fs::read_to_string(files.path("a")).unwrap();
    let other = Files::new().ring(&["b"]);
    let bad_name = values(&[("a/b", CANARY.as_bytes())]);
    let large = values(&[("a", CANARY.repeat(2000).as_bytes())]);
    let errors = [
        refused(&ring, &JobKey::new("a", "b"), &record),
        refused(&other, &secret(), &record),
        refused(&ring, &secret(), &SecretRecord { keys: Vec::new(), ..record.clone() }),
        ring.seal(&secret(), "Opaque", &bad_name).unwrap_err(),
        ring.seal(&secret(), "Opaque", &large).unwrap_err(),
    ];
    let mut shown = format!("{ring:?} {record:?}");
    shown.push_str(&String::from_utf8(record::encode(&record)).unwrap());
    for error in &errors {
        shown.push_str(&format!("{error} {error:?}"));
    }
    assert!(shown.contains("ml/database") && shown.contains(ring.current()));
    let coded = STANDARD.encode(CANARY);
    for hidden in [CANARY, &coded, &coded[1..20], key.trim(), &key[..16]] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
