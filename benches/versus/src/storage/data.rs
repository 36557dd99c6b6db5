//! The keys and values that all stores are fed with.
//!
//! ```text
//!   index  0, 1, 2, ...       what a key is called here
//!   key    | spread(index) 8 | 8 to 16 bytes more, of the index |      16 to 24 bytes, hash order
//!   value  | tag 8 | version 8 | 59 random bytes | 75 times '.'  |     150 bytes, half random
//! ```
//!
//! `spread` has an inverse, so a key that is met in a scan tells its index, and keys are in the
//! order of their first 8 bytes. The `tag` says whose value it is: a store that mixes up values is
//! found out by one comparison. The whole of a value follows from index and version.

/// Bytes of every value.
pub const VALUE_BYTES: usize = 150;

/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 24;

const KEY_BYTES_MIN: usize = 16;

/// Where the random half ends.
const RANDOM_END: usize = 75;

/// Indices from here on are never stored.
const MISSING: u64 = 1 << 40;

/// What a tag differs from its key in, so that no part of a key passes for one.
const TAG: u64 = 0x7461_673A_7461_673A;

/// Mixes bits so that neighbours end up far apart; a bijection (the finalizer of SplitMix64).
#[must_use]
pub fn spread(index: u64) -> u64 {
    let mut z = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Undoes [`spread`].
#[must_use]
pub fn gather(spread: u64) -> u64 {
    let mut z = spread ^ (spread >> 31) ^ (spread >> 62);
    z = z.wrapping_mul(0x3196_42B2_D24D_8EC3);
    z = z ^ (z >> 27) ^ (z >> 54);
    z = z.wrapping_mul(0x96DE_1B17_3F11_9089);
    z = z ^ (z >> 30) ^ (z >> 60);
    z.wrapping_sub(0x9E37_79B9_7F4A_7C15)
}

/// A key, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl Key {
    /// The key of an index.
    #[must_use]
    pub fn of(index: u64) -> Key {
        let first = spread(index);
        let (second, third) = (spread(first), spread(first ^ TAG));
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        bytes[8..16].copy_from_slice(&second.to_be_bytes());
        bytes[16..].copy_from_slice(&third.to_be_bytes());
        let len = KEY_BYTES_MIN + (second % (KEY_BYTES_MAX - KEY_BYTES_MIN + 1) as u64) as usize;
        Key { bytes, len }
    }

    /// A key that no store has; they are as many as one likes.
    #[must_use]
    pub fn missing(number: u64) -> Key {
        Key::of(MISSING + number)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The first 8 bytes of a key, by which keys are in order.
#[must_use]
pub fn rank(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(..8)?.try_into().ok()?))
}

/// The index of a key.
#[must_use]
pub fn index_of(key: &[u8]) -> Option<u64> {
    let index = gather(rank(key)?);
    (Key::of(index).as_bytes() == key).then_some(index)
}

/// Writes the value that `index` has after its `version`-th change.
pub fn fill_value(value: &mut [u8; VALUE_BYTES], index: u64, version: u32) {
    let rank = spread(index);
    value[..8].copy_from_slice(&(rank ^ TAG).to_le_bytes());
    value[8..16].copy_from_slice(&u64::from(version).to_le_bytes());
    let mut state = rank ^ spread(u64::from(version));
    for chunk in value[16..RANDOM_END].chunks_mut(8) {
        state = spread(state);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    value[RANDOM_END..].fill(b'.');
}

/// Whether this value, whatever its version, is of the key with this rank. Cheap.
#[must_use]
pub fn belongs(value: &[u8], rank: u64) -> bool {
    value.len() == VALUE_BYTES && value[..8] == (rank ^ TAG).to_le_bytes()
}

/// Bytes of key and value of these indices.
#[must_use]
pub fn raw_bytes(indices: impl Iterator<Item = u64>) -> u64 {
    indices.map(|index| (Key::of(index).as_bytes().len() + VALUE_BYTES) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that could not be traced back would be called lost.
    #[test]
    fn keys_tell_their_index() {
        for index in (0..1000).chain([u64::from(u32::MAX), MISSING, u64::MAX]) {
            assert_eq!(gather(spread(index)), index);
            assert_eq!(index_of(Key::of(index).as_bytes()), Some(index));
        }
        let key = Key::of(5);
        assert_eq!(index_of(&key.as_bytes()[..15]), None, "a part of a key is none");
        assert_eq!(index_of(b"short"), None);
    }

    /// The lengths are the ones the figures speak of, and all of them occur.
    #[test]
    fn keys_have_16_to_24_bytes() {
        let mut seen = [0; KEY_BYTES_MAX + 1];
        for index in 0..10_000 {
            seen[Key::of(index).as_bytes().len()] += 1;
        }
        assert!(seen[..KEY_BYTES_MIN].iter().all(|count| *count == 0));
        assert!(seen[KEY_BYTES_MIN..].iter().all(|count| *count > 500), "{seen:?}");
    }

    /// The value of a neighbour, an older one, or half of one must not pass.
    #[test]
    fn values_differ_by_key_and_by_version() {
        let value = |index, version| {
            let mut value = [0; VALUE_BYTES];
            fill_value(&mut value, index, version);
            value
        };
        assert_ne!(value(1, 0), value(1, 1));
        assert_ne!(value(1, 0), value(2, 0));
        assert!(belongs(&value(1, 7), spread(1)) && !belongs(&value(1, 7), spread(2)));
        assert!(!belongs(&value(1, 7)[..149], spread(1)));
    }
}
