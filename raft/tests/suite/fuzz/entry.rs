//! What must hold whatever bytes are taken for a message.
//!
//! * An answer: a message, or an error that names a place in the bytes. No panic.
//! * If it is a message, writing it gives the same bytes: there is one way to say a thing.
//! * What is said of it holds of any part of it, too: cut anywhere, it is no message.

use bytes::Bytes;
use drystone_raft::{Error, Message};

/// Takes `input` for a message. Panics if anything is not as it must be. Says whether it was one.
pub(crate) fn check(input: &[u8]) -> bool {
    match Message::decode(&Bytes::copy_from_slice(input)) {
        Ok(message) => {
            let mut again = Vec::new();
            message.encode(&mut again);
            assert!(again == input, "{message:?} has two spellings");
            for end in [input.len() / 2, input.len() - 1] {
                let cut = Message::decode(&Bytes::copy_from_slice(&input[..end]));
                assert!(cut.is_err(), "{end} bytes of {message:?} passed");
            }
            true
        }
        Err(Error::Message { offset, .. }) => {
            assert!(offset <= input.len(), "{offset} lies behind the end");
            false
        }
        Err(other) => panic!("not an error of a message: {other}"),
    }
}

/// Messages to begin with: one of each kind, as they travel.
pub(crate) const SEEDS: [&[u8]; 8] = [
    b"\x01\x01\x01\x02\x00\x03\x02\x07",
    b"\x01\x02\x01\x02\x00\x03\x02\x07\x01",
    b"\x01\x03\x01\x02\x00\x03\x01\x04\x02\x02\x07",
    // Two entries: "ab", and a blank one of the next term.
    b"\x01\x04\x01\x02\x00\x03\x02\x07\x06\x09\x02\x08\x02\x02\x01\x01\x01\
      \x09\x00\x00\x00ab\x00\x00\x00\x00",
    b"\x01\x05\x01\x02\x00\x03\x07\x09\x01",
    b"\x01\x07\x01\x02\x00\x03\x07\x09\x00",
    b"\x01\x0b\x01\x02\x00\x03\x02\x07\x05\x02\x01\x00\x01\x06\x02\x01\x00",
    b"\x01\x12\x01\x02\x00\x03",
];
