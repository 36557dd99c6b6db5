//! A command in the log, and who waits for it.
//!
//! A command that was proposed where the leader is needs no name: the node knows who waits for it.
//! One that another member has handed on carries that member's name and a number of its choice, so
//! that it can answer its caller when it applies the command itself.
//!
//! ```text
//!   plain     command                              its first byte is below 0xf0
//!   handed on 0xf1 │ member 8 │ serial 8 │ command      numbers big-endian
//! ```

use bytes::Bytes;

use crate::codec::Malformed;
use crate::command::Command;

const HANDED_ON: u8 = 0xf1;
const HEAD_BYTES: usize = 17;

/// Who waits for a command that was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The member that handed it on.
    pub member: u64,
    /// What it calls it.
    pub serial: u64,
}

/// A command as it is handed on.
pub fn seal(origin: Origin, command: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + command.len());
    bytes.push(HANDED_ON);
    bytes.extend_from_slice(&origin.member.to_be_bytes());
    bytes.extend_from_slice(&origin.serial.to_be_bytes());
    bytes.extend_from_slice(command);
    bytes.into()
}

/// A command of the log, and who waits for it elsewhere.
pub fn open(bytes: &Bytes) -> Result<(Option<Origin>, Command), Malformed> {
    if bytes.first() != Some(&HANDED_ON) {
        return Ok((None, Command::decode(bytes.clone())?));
    }
    let number = |from: usize| {
        let bytes = bytes.get(from..from + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
    };
    let origin = match (number(1), number(9)) {
        (Some(member), Some(serial)) => Origin { member, serial },
        _ => return Err(Malformed("a command that was handed on ends early")),
    };
    Ok((Some(origin), Command::decode(bytes.slice(HEAD_BYTES..))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Put;

    /// A kind of command that began as an envelope does would be taken apart wrongly.
    #[test]
    fn what_is_sealed_is_what_is_opened() {
        let command = Command::Put(Put::new("k", "v"));
        let mut plain = Vec::new();
        command.encode(&mut plain);
        assert!(plain[0] < 0xf0);
        assert_eq!(open(&Bytes::from(plain.clone())).ok(), Some((None, command.clone())));
        let origin = Origin { member: 3, serial: u64::MAX };
        let sealed = seal(origin, &plain);
        assert_eq!(open(&sealed).ok(), Some((Some(origin), command)));
        for end in 0..sealed.len() {
            assert!(open(&sealed.slice(..end)).is_err(), "cut at {end}");
        }
    }
}
