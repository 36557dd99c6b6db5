//! The codec of messages from outside the crate, on bytes that nobody meant: for seconds here, and
//! for hours under libFuzzer (`raft/fuzz`). Handshake and frames are taken to task in
//! `src/runtime/tcp/tests`.

mod entry;

#[path = "../../../tests/fuzz/bounded.rs"]
mod bounded;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Hurts one of the seeds in a few places.
fn hurt(number: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let mut below = |bound: usize| random.next_u32() as usize % bound;
    let mut bytes = entry::SEEDS[below(entry::SEEDS.len())].to_vec();
    for _ in 0..below(4) {
        let at = below(bytes.len());
        match below(4) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = below(256) as u8,
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, below(256) as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// The seeds are messages, or what is made of them shows nothing.
#[test]
fn seeds_are_messages() {
    for seed in entry::SEEDS {
        assert!(entry::check(seed), "{seed:02x?}");
    }
}

/// Whoever reaches the port may send anything: an error, and nothing else, comes of it.
#[test]
fn whatever_the_bytes_a_message_or_an_error_comes_of_them() {
    let bounds = bounded::Bounds {
        package: "drystone-raft",
        filter: "whatever_the_bytes",
        inputs: 200_000,
        inputs_min: 5_000,
        time: Duration::from_secs(2),
    };
    bounded::run(bounds.or_slow(), |number| {
        entry::check(&hurt(number));
    });
}
