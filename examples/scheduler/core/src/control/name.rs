//! Names of what controllers make: the maker's name and something that tells siblings apart.

use crate::types::NAME_BYTES_MAX;

/// Bytes of a hash in a name: 50 bits.
const HASH_BYTES: usize = 10;

/// FNV-1a, 64 bits: even enough for names, and the same on every machine for ever. It keeps nobody
/// from making two texts with one hash, who would hit none but himself.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Spreads the bits of a number: the end of splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ten digits and letters that stand for a text.
pub(super) fn short(text: &str) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    let mut bits = mix(hash(text));
    let mut out = String::with_capacity(HASH_BYTES);
    for _ in 0..HASH_BYTES {
        out.push(char::from(DIGITS[usize::try_from(bits & 31).expect("five bits")]));
        bits >>= 5;
    }
    out
}

/// `<base>-<suffix>`, in the length that a name may have. A base that is too long is cut, and told
/// from others that begin alike by a hash.
pub(super) fn join(base: &str, suffix: &str) -> String {
    let plain = format!("{base}-{suffix}");
    if plain.len() <= NAME_BYTES_MAX {
        return plain;
    }
    let room = NAME_BYTES_MAX.saturating_sub(suffix.len() + HASH_BYTES + 2);
    let cut: String = base.chars().take(room).filter(char::is_ascii).collect();
    format!("{}-{}-{suffix}", cut.trim_end_matches('-'), short(base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check_name;

    /// What a controller makes must be something that a server would accept.
    #[test]
    fn made_names_are_names() {
        for base in
            ["a", "hello-world", &"x".repeat(63), &format!("{}-y", "-x".repeat(30)[1..].to_owned())]
        {
            let name = join(base, &short("a.b[0](3)"));
            assert_eq!(check_name(&name), Ok(()), "{name}");
        }
    }

    /// Two long names that begin alike would otherwise make the same children.
    #[test]
    fn cut_names_stay_apart() {
        let (one, two) = (format!("{}a", "x".repeat(62)), format!("{}b", "x".repeat(62)));
        assert_ne!(join(&one, "29384756"), join(&two, "29384756"));
        assert_eq!(join("backup", "29384756"), "backup-29384756");
    }
}
