//! A command in the log, who waits for it, and for whom it is done.
//!
//! A command that was proposed where the leader is needs no name: the node knows who waits for it.
//! One that another member has handed on carries that member's name and a number of its choice, so
//! that it can answer its caller when it applies the command itself.
//!
//! Behind that stands the caller, whom every member judges anew. Nobody is written as nothing: a
//! store without users pays no byte for them, and a log of the time before there were any reads as
//! what it was.
//!
//! ```text
//!   entry     sealed            asked here
//!             0xf1 │ member 8 │ serial 8 │ sealed      handed on; numbers big-endian
//!   sealed    command           for nobody in particular; its first byte is below 0xf0
//!             0xf2 │ auth revision varint │ user bytes │ command
//!             0xf3 │ command    for the group itself
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::auth::Caller;
use crate::codec::{Decoder, Malformed, put_bytes, put_varint};
use crate::command::Command;

const HANDED_ON: u8 = 0xf1;
const FOR_USER: u8 = 0xf2;
const FOR_SYSTEM: u8 = 0xf3;
const HEAD_BYTES: usize = 17;

/// Who waits for a command that was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The member that handed it on.
    pub member: u64,
    /// What it calls it.
    pub serial: u64,
}

/// What an entry of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who waits for it elsewhere.
    pub origin: Option<Origin>,
    /// For whom it is done.
    pub caller: Caller,
    /// The command.
    pub command: Command,
}

/// How many bytes [`put_caller`] appends, or a few more.
pub(crate) fn caller_bytes(caller: &Caller) -> usize {
    match caller {
        Caller::Nobody => 0,
        Caller::System => 1,
        Caller::User { name, .. } => 21 + name.len(),
    }
}

/// Appends for whom the command behind it is done.
pub(crate) fn put_caller(out: &mut Vec<u8>, caller: &Caller) {
    match caller {
        Caller::Nobody => {}
        Caller::System => out.push(FOR_SYSTEM),
        Caller::User { name, revision } => {
            out.push(FOR_USER);
            put_varint(out, *revision);
            put_bytes(out, name.as_bytes());
        }
    }
}

/// A command as it is handed on, its caller included.
pub fn seal(origin: Origin, command: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + command.len());
    bytes.push(HANDED_ON);
    bytes.extend_from_slice(&origin.member.to_be_bytes());
    bytes.extend_from_slice(&origin.serial.to_be_bytes());
    bytes.extend_from_slice(command);
    bytes.into()
}

/// What an entry of the log holds.
pub fn open(bytes: &Bytes) -> Result<Opened, Malformed> {
    if bytes.first() != Some(&HANDED_ON) {
        return open_sealed(None, bytes.clone());
    }
    let number = |from: usize| {
        let bytes = bytes.get(from..from + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
    };
    let origin = match (number(1), number(9)) {
        (Some(member), Some(serial)) => Origin { member, serial },
        _ => return Err(Malformed("a command that was handed on ends early")),
    };
    open_sealed(Some(origin), bytes.slice(HEAD_BYTES..))
}

fn open_sealed(origin: Option<Origin>, bytes: Bytes) -> Result<Opened, Malformed> {
    let (caller, command) = match bytes.first() {
        Some(&FOR_SYSTEM) => (Caller::System, bytes.slice(1..)),
        Some(&FOR_USER) => {
            let mut input = Decoder::new(bytes.slice(1..));
            let (revision, name) = (input.varint()?, input.bytes()?);
            let name = std::str::from_utf8(&name).map_err(|_| Malformed("not UTF-8"))?;
            (Caller::User { name: Arc::from(name), revision }, input.rest())
        }
        _ => (Caller::Nobody, bytes),
    };
    Ok(Opened { origin, caller, command: Command::decode(command)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Put;

    // A kind of command that began as an envelope does would be taken apart wrongly.
    #[test]
    fn what_is_sealed_is_what_is_opened() {
        let command = Command::Put(Put::new("k", "v"));
        let alice = Caller::User { name: "alice".into(), revision: 300 };
        for caller in [Caller::Nobody, Caller::System, alice] {
            let mut plain = Vec::new();
            put_caller(&mut plain, &caller);
            assert!(plain.len() <= caller_bytes(&caller));
            command.encode(&mut plain);
            let opened =
                |origin| Ok(Opened { origin, caller: caller.clone(), command: command.clone() });
            assert_eq!(open(&Bytes::from(plain.clone())), opened(None));
            let origin = Origin { member: 3, serial: u64::MAX };
            let sealed = seal(origin, &plain);
            assert_eq!(open(&sealed), opened(Some(origin)));
            for end in 0..sealed.len() {
                assert!(open(&sealed.slice(..end)).is_err(), "cut at {end}");
            }
        }
    }

    // A log of the time before there were users must be read as it was meant.
    #[test]
    fn bare_commands_are_nobodys() {
        let mut plain = Vec::new();
        Command::Put(Put::new("k", "v")).encode(&mut plain);
        assert!(plain[0] < 0xf0);
        assert_eq!(open(&Bytes::from(plain)).map(|opened| opened.caller), Ok(Caller::Nobody));
    }
}
