//! The formats under random bytes: none of them may be believed, and none may panic.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::path::Path;

use mason_shim::init::Options;
use mason_shim::log::{Limits, Stream, Writer, frame, segment::Segment};
use mason_shim::{exit::Exit, parcel, settings::Settings, state};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How many cases each test tries.
const CASES: usize = 300;

fn random() -> ChaCha8Rng {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("replay with SEED={seed} cargo test -p mason-shim --test suite");
    ChaCha8Rng::seed_from_u64(seed)
}

fn noise(random: &mut ChaCha8Rng, len_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..=len_max)];
    random.fill_bytes(&mut bytes);
    bytes
}

fn every_file(folder: &Path, bytes: &[u8]) {
    for name in ["run.json", "state", "exit.json"] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// A folder of a run outlives versions and disks: what is no file of ours is an error that is told.
#[test]
fn noise_is_no_settings_state_or_exit() {
    let mut random = random();
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..CASES {
        let mut bytes = noise(&mut random, 200);
        bytes.insert(0, b'x');
        bytes.push(b'\n');
        every_file(folder.path(), &bytes);
        assert!(Settings::read(folder.path()).is_err());
        assert!(Exit::read(folder.path()).is_err());
        assert!(state::read(folder.path()).is_err());
        assert!(!matches!(parcel::read(&mut &bytes[..]), Ok(Some(_))));
        let words = [String::from_utf8_lossy(&bytes).into_owned()];
        assert!(Options::parse(&words).is_err());
    }
}

/// The log is opened for writing after a crash, whatever lies in it: what is whole stays, and the
/// next frame goes behind it.
#[test]
fn a_damaged_log_can_be_continued() {
    let mut random = random();
    for _ in 0..CASES / 10 {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), Limits::default()).unwrap();
        let mut ends = vec![0];
        for time in 0..random.random_range(1..20) {
            let piece = [&noise(&mut random, 50)[..], b"."].concat();
            writer.append(Stream::Stdout, time, &piece);
            ends.push(writer.end());
        }
        let path = Segment::list(folder.path()).unwrap()[0].path.clone();
        let mut bytes = std::fs::read(&path).unwrap();
        let from = random.random_range(24..bytes.len());
        random.fill_bytes(&mut bytes[from..]);
        std::fs::write(&path, &bytes).unwrap();
        let whole = ends.iter().rev().find(|&&end| end + 24 <= from as u64);
        let mut again = Writer::open(folder.path(), Limits::default()).unwrap();
        let kept = again.end();
        assert_eq!(kept, *whole.unwrap(), "damage from byte {from}, ends {ends:?}");
        again.append(Stream::Note, 1, b"back");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, 24 + kept + frame::HEAD_BYTES as u64 + 4);
    }
}
