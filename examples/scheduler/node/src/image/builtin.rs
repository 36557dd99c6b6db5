//! The image that is always there: `mason/tiny`, one static program of our own with a few applets.
//!
//! The first run of a new user, and many a test, must not need a network. So the program is built
//! while this crate is (`build/nested.rs`), embedded, and laid out here as a plain OCI image: one
//! layer that holds `/bin/tiny`, a link to it for each applet, and the few files and folders that
//! programs expect. It is put into a store when that is opened, by the same way as an imported one.
//!
//! Its digest depends on the bytes of the program and on nothing else: every time, order and owner
//! in the layer is fixed.

use super::digest::Digest;
use super::error::Error;
use super::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, Platform};
use super::reference::Reference;
use super::store::Store;

/// The program.
const TINY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiny"));
/// Its names, the first is the one that `list` shows first.
pub const NAMES: [&str; 2] = ["mason/tiny:latest", "tiny:latest"];

/// The applets that get a link in `/bin`.
const APPLETS: [&str; 24] = [
    "beat",
    "burn",
    "cat",
    "eat-memory",
    "echo",
    "env",
    "exit",
    "false",
    "fork-bomb",
    "help",
    "hostname",
    "id",
    "kill-self",
    "ls",
    "orphans",
    "pwd",
    "seq",
    "serve",
    "sh",
    "sleep",
    "trap",
    "true",
    "write",
    "yes",
];

/// Puts the image into a store that does not have it.
pub(super) fn install(store: &Store) -> Result<(), Error> {
    let layer = layer();
    let names = NAMES.map(|name| name.parse::<Reference>().expect("the names are well-formed"));
    let platform = Platform::here();
    let config = config(&platform, Digest::of(&layer));
    let manifest = manifest(&config, &layer);
    let digest = Digest::of(&manifest);
    let known = |name: &Reference| store.digest_of(name) == Some(digest);
    if names.iter().all(known) {
        store.hold_for_good(digest);
        return Ok(());
    }
    let session = store.session();
    for bytes in [&layer, &config, &manifest] {
        session.keep_bytes(bytes)?;
    }
    store.commit(&session, &names, digest, Some(&platform))?;
    store.hold_for_good(digest);
    Ok(())
}

fn config(platform: &Platform, diff: Digest) -> Vec<u8> {
    let Platform { os, architecture, .. } = platform;
    let config = serde_json::json!({
        "architecture": architecture,
        "os": os,
        "config": {
            "Env": ["PATH=/bin"],
            "Cmd": ["sh", "-c", "echo this is mason/tiny; help"],
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [diff] },
    });
    serde_json::to_vec(&config).expect("a literal is JSON")
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let describe = |media_type: &str, bytes: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(super::manifest::OCI_MANIFEST.to_owned()),
        config: describe(OCI_CONFIG, config),
        layers: vec![describe(OCI_LAYER, layer)],
    };
    serde_json::to_vec(&manifest).expect("a manifest is JSON")
}

fn layer() -> Vec<u8> {
    let mut tar = Vec::new();
    for (folder, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("proc", 0o555),
        ("root", 0o700),
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        entry(&mut tar, &format!("{folder}/"), mode, b'5', "", b"");
    }
    entry(
        &mut tar,
        "etc/passwd",
        0o644,
        b'0',
        "",
        b"root:x:0:0:root:/root:/bin/sh\n\
        nobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    entry(&mut tar, "etc/group", 0o644, b'0', "", b"root:x:0:\nnogroup:x:65534:\n");
    entry(&mut tar, "bin/tiny", 0o755, b'0', "", TINY);
    for applet in APPLETS {
        entry(&mut tar, &format!("bin/{applet}"), 0o777, b'2', "tiny", b"");
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Appends one entry of root's, last changed at the start of 1970.
pub(super) fn entry(tar: &mut Vec<u8>, path: &str, mode: u32, kind: u8, link: &str, bytes: &[u8]) {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", bytes.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&block);
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
