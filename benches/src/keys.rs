//! What the load writes and reads: keys in order or at random, and values that do not compress.
//!
//! Key number `n` is `n` in decimal, filled up with zeros at the front to the wanted size, so that
//! the order of the numbers is the order of the keys. A value is a window on one pool of random
//! bytes: no copy and no random numbers while requests are timed, and a server that compresses
//! gains nothing by it.

use anyhow::{Result, ensure};
use bytes::Bytes;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Windows on the pool begin at this many places.
const POOL_BYTES: usize = 64 << 10;

/// The keys of one run, and the values for them.
#[derive(Clone, Debug)]
pub struct KeySpace {
    key_bytes: usize,
    keys: u64,
    value_bytes: usize,
    pool: Bytes,
}

impl KeySpace {
    /// `keys` keys of `key_bytes` bytes each, values of `value_bytes`, the values made from `seed`.
    ///
    /// # Errors
    /// If there are no keys, or their numbers do not fit into `key_bytes` digits.
    pub fn new(key_bytes: usize, keys: u64, value_bytes: usize, seed: u64) -> Result<KeySpace> {
        ensure!(keys > 0, "the key space needs at least one key");
        let digits = keys.to_string().len();
        ensure!(digits <= key_bytes, "{keys} keys need {digits} digits, but keys have {key_bytes}");
        let mut pool = vec![0; POOL_BYTES + value_bytes];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut pool);
        Ok(KeySpace { key_bytes, keys, value_bytes, pool: pool.into() })
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// Never: there is at least one key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The key for request number `ticket`, in order; begins anew after the last one.
    #[must_use]
    pub fn in_order(&self, ticket: u64) -> Bytes {
        self.key(ticket % self.keys)
    }

    /// Any key, each as likely as the others.
    pub fn at_random(&self, rng: &mut ChaCha8Rng) -> Bytes {
        self.key(rng.random_range(0..self.keys))
    }

    /// The first key.
    #[must_use]
    pub fn first(&self) -> Bytes {
        self.key(0)
    }

    /// The end of a range that holds the last key, and no key of the space lies behind it.
    #[must_use]
    pub fn end(&self) -> Bytes {
        self.key(self.keys)
    }

    /// The value for request number `ticket`.
    #[must_use]
    pub fn value(&self, ticket: u64) -> Bytes {
        // 61 is prime to the pool's size: neighbours differ, and all windows come up.
        let begin = (ticket.wrapping_mul(61) % POOL_BYTES as u64) as usize;
        self.pool.slice(begin..begin + self.value_bytes)
    }

    fn key(&self, number: u64) -> Bytes {
        let mut key = vec![b'0'; self.key_bytes];
        let mut rest = number;
        for digit in key.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        debug_assert_eq!(rest, 0, "the constructor made sure that every number fits");
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequential load must be sequential to a server that sorts its keys.
    #[test]
    fn keys_sort_like_their_numbers_and_end_lies_behind_them() {
        let space = KeySpace::new(4, 1000, 8, 1).unwrap();
        let keys: Vec<_> = (0..1000).map(|ticket| space.in_order(ticket)).collect();
        assert!(keys.is_sorted_by(|lo, hi| lo < hi), "in order and all different");
        assert_eq!((&keys[0][..], &keys[999][..]), (&b"0000"[..], &b"0999"[..]));
        assert_eq!(space.first(), keys[0]);
        assert!(space.end() > keys[999]);
        assert_eq!(space.in_order(1000), keys[0], "begins anew");
    }

    /// Random keys outside the space would read nothing and look fast.
    #[test]
    fn random_keys_stay_in_the_space_and_reach_all_of_it() {
        let space = KeySpace::new(2, 10, 8, 1).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let seen: std::collections::BTreeSet<_> =
            (0..1000).map(|_| space.at_random(&mut rng)).collect();
        let all: std::collections::BTreeSet<_> = (0..10).map(|n| space.in_order(n)).collect();
        assert_eq!(seen, all);
    }

    /// Two keys cut to the same digits would be one key, and the load a different one.
    #[test]
    fn a_space_that_does_not_fit_its_keys_is_refused() {
        assert!(KeySpace::new(3, 1000, 8, 1).is_err());
        assert!(KeySpace::new(3, 999, 8, 1).is_ok());
        assert!(KeySpace::new(3, 0, 8, 1).is_err());
    }

    /// Equal neighbours would reward a server that notices them.
    #[test]
    fn values_have_their_size_and_differ_from_their_neighbours() {
        let space = KeySpace::new(8, 10, 256, 1).unwrap();
        for ticket in 0..100_000 {
            assert_eq!(space.value(ticket).len(), 256);
            assert_ne!(space.value(ticket), space.value(ticket + 1));
        }
    }
}
