//! Many runs of one test, each from a seed of its own.

use std::{env, thread};

/// Chance, from a seed (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Runs `test` for seeds 0 to `count`, ten times as many with `SLOW=1`; or for `SEED` alone, which
/// a failure names. Says whether all were run, and what they add up to means something.
pub(crate) fn each(name: &'static str, count: u64, mut test: impl FnMut(u64)) -> bool {
    if let Ok(seed) = env::var("SEED") {
        test(seed.parse().unwrap());
        return false;
    }
    let times = if env::var_os("SLOW").is_some() { 10 } else { 1 };
    for seed in 0..count * times {
        let _named = Named(name, seed);
        test(seed);
    }
    true
}

/// Says how to play a failure again.
struct Named(&'static str, u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            let Named(name, seed) = self;
            eprintln!("SEED={seed} cargo test -p drystone-raft --test suite {name}");
        }
    }
}
