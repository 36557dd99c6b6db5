//! Whether what is read is what is written: for tests and the fuzzer, and in no other build.
//!
//! There may be more than one way to write a thing (a varint with zeros in front), but what is
//! written again must be read as the same, or members would disagree about what they were told.

use crate::broadcast::Broadcast;
use crate::message::Message;
use crate::metadata::{Delta, Metadata};
use crate::rumor::Rumor;
use crate::wire::Reader;

/// Takes `bytes` for each thing that a packet has in it. Panics if one of them is read, written
/// and read as another. Says how many they were.
pub fn check(bytes: &[u8]) -> usize {
    let reader = || Reader::new(bytes, 0);
    let mut count = 0;
    if let Ok((from, message)) = Message::read(&mut reader()) {
        let mut again = Vec::new();
        message.write(from, &mut again);
        let mut reader = Reader::new(&again, 0);
        assert_eq!(Message::read(&mut reader), Ok((from, message.clone())), "from {bytes:02x?}");
        assert_eq!(reader.end(), Ok(()), "nothing is left of {message:?}");
        if let Message::Words { words, .. } | Message::Welcome { words } = &message {
            words.iter().for_each(|rumor| check_rumor(&rumor));
        }
        count += 1;
    }
    if let Ok(rumor) = Rumor::read(&mut reader()) {
        check_rumor(&rumor);
        count += 1;
    }
    if let Ok(broadcast) = Broadcast::read(&mut reader()) {
        let again = broadcast.write();
        assert_eq!(Broadcast::read(&mut Reader::new(&again, 0)), Ok(broadcast));
        count += 1;
    }
    if let Ok(delta) = Delta::read(&mut reader()) {
        check_delta(&delta);
        count += 1;
    }
    count
}

fn check_rumor(rumor: &Rumor<'_>) {
    let mut bytes = Vec::new();
    rumor.write(&mut bytes);
    let mut reader = Reader::new(&bytes, 0);
    assert_eq!(Rumor::read(&mut reader).as_ref(), Ok(rumor));
    assert_eq!(reader.end(), Ok(()), "nothing is left of {rumor:?}");
}

/// A full copy that is taken over and passed on makes another the same.
fn check_delta(delta: &Delta<'_>) {
    let mut first = Metadata::default();
    if delta.since > 0 || delta.version == 0 || first.apply(delta, 1 << 20).is_none() {
        return;
    }
    let bytes = first.delta(delta.id, delta.life, 0);
    let again = Delta::read(&mut Reader::new(&bytes, 0)).expect("it was written just now");
    assert_eq!((again.id, again.life, again.version), (delta.id, delta.life, delta.version));
    let mut second = Metadata::default();
    second.apply(&again, 1 << 20).expect("it is no more than the first");
    assert!(first.version == second.version && first.iter().eq(second.iter()), "{delta:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// One of each thing, as it travels.
    const SEEDS: [&[u8]; 5] = [
        b"\x02\0\0\0\0\0\0\0\x04\x09\0\0\0\x03\0\0\0\0\0\0\0\x04\x0a\0\0\x03\x0a\x1f",
        b"\x02\0\0\0\0\0\0\0\x0b\x01\x06\x03\0\0\0\0\0\0\0\x01\0\0\0\0\
          \x04\x0a\0\0\x03\x0a\x1f\x01z\x01n\x05\x09",
        b"\x05\x03\0\0\0\0\0\0\0\x01\0\0\0\x80\x01\x04\x0a\0\0\x03\x0a\x1f\x01z\x01n\x05\x09\
          \x02\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
        b"\x02\0\0\0\0\0\0\0\x01\0\0\0\x07\x05topic\x07payload",
        b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\x09\x02\x01a\x08\x01\x01v\x01b\x09\0",
    ];

    // Members that pass on what they were told must not change it on the way.
    #[test]
    fn whatever_the_bytes_what_is_read_is_written_as_the_same() {
        let mut rng = Rng::new(1);
        let mut read = 0;
        for seed in SEEDS {
            assert!(check(seed) > 0, "{seed:02x?}");
        }
        for number in 0..100_000 {
            let mut bytes = SEEDS[number % SEEDS.len()].to_vec();
            for _ in 0..rng.below(4) {
                let place = rng.place(bytes.len());
                match rng.below(4) {
                    0 => bytes[place] ^= 1 << rng.below(8),
                    1 => bytes[place] = rng.draw() as u8,
                    2 if bytes.len() > 1 => drop(bytes.remove(place)),
                    _ => bytes.insert(place, rng.draw() as u8),
                }
            }
            read += check(&bytes);
        }
        assert!(read > 50_000, "{read} things were read");
    }
}
