//! Files that cannot be trusted, and directories that are not what they seem.

use std::path::Path;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{run_ours, save, text, word};
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs::{ours, real_or_skip};
use crate::support::server::Server;

const FLIPS: usize = 60;

/// Restores the copy into `data`; what is said if it is refused.
fn refusal(copy: &Path, data: &Path, flags: &[&str]) -> Option<String> {
    let words = ["snapshot", "restore", word(copy), "--data-dir", word(data)];
    let output = run_ours(&[&words, flags].concat());
    match output.status.code() {
        Some(0) => None,
        // Not 101, which is a panic, nor a signal.
        Some(1) => {
            assert!(!data.exists(), "nothing is left of what was refused");
            Some(text(&output.stderr))
        }
        _ => panic!("{output:?}"),
    }
}

// A copy is restored on the worst day of the year; what is wrong with it must be said, and no
// half of it be taken for whole.
#[test]
fn damaged_copies_are_refused_in_words() {
    let test = "migration::damage::damaged_copies_are_refused_in_words";
    let Some(real) = real_or_skip(test) else { return };
    let server = Server::start(&ours(), &[]);
    in_a_runtime(async {
        let client = client_of(&server).await;
        for number in 0..200 {
            put(&client, &format!("key/{number}"), vec![b'v'; 100], 0).await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (copy, data) = (folder.path().join("copy.db"), folder.path().join("data"));
    save(&real.etcdctl, &server, &copy);
    let sound = std::fs::read(&copy).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(crate::support::seed(test));
    let changed = |bytes: &[u8], flags: &[&str]| {
        std::fs::write(&copy, bytes).unwrap();
        refusal(&copy, &data, flags)
    };
    let mut flipped = sound.clone();
    flipped[rng.random_range(0..sound.len())] ^= 1;
    assert!(changed(&flipped, &[]).expect("it has a hash").contains("expected sha256"));
    for length in [0, 100, 4096, 3 * 4096, sound.len() - 32 - 2 * 4096] {
        let said = changed(&sound[..length], &["--skip-hash-check"]);
        let said = said.unwrap_or_else(|| panic!("cut at {length}"));
        assert!(said.contains("copy.db") && said.contains("page"), "{said}");
    }
    for _ in 0..FLIPS {
        let mut bytes = sound.clone();
        for _ in 0..8 {
            let page = rng.random_range(0..bytes.len() / 4096) * 4096;
            bytes[page + rng.random_range(0..64)] ^= 1 << rng.random_range(0..8);
        }
        if changed(&bytes, &["--skip-hash-check"]).is_none() {
            std::fs::remove_dir_all(&data).unwrap();
        }
    }
}

// Each of these would lose data, or mix two members' data up.
#[test]
fn directories_that_cannot_be_converted_are_left_alone() {
    let test = "migration::damage::directories_that_cannot_be_converted_are_left_alone";
    let Some(real) = real_or_skip(test) else { return };
    let mut server = Server::start(&real.etcd, &[]);
    in_a_runtime(async { put(&client_of(&server).await, "k", "v", 0).await });
    let data = server.data_dir();
    let refused = |words: &[&str], what: &str| {
        let output = run_ours(&[&["migrate", "--data-dir", word(&data)], words].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(what), "{output:?}");
        assert!(!data.join("identity").exists() && data.join("member").exists());
    };
    refused(&[], "is in use: stop etcd first");
    server.terminate();
    std::fs::create_dir(data.join("member.etcd")).unwrap();
    refused(&[], "member.etcd is in the way");
    refused(&["--to", word(&data)], "is not empty");
    std::fs::remove_dir(data.join("member.etcd")).unwrap();
    let wal = data.join("member/wal");
    let file = std::fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "wal"));
    let file = file.unwrap();
    let sound = std::fs::read(&file).unwrap();
    let mut bytes = sound.clone();
    // Within the second frame's record, which says whose journal it is.
    bytes[38] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    refused(&[], "is damaged: byte");
    std::fs::write(&file, &sound).unwrap();
    let to = data.with_file_name("copy");
    let output = run_ours(&["migrate", "--data-dir", word(&data), "--to", word(&to)]);
    assert!(output.status.success() && to.join("identity").exists(), "{output:?}");
    assert!(data.join("member/snap/db").exists(), "etcd's own is as it was");
}
