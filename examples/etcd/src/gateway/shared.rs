//! Lines of JSON that many clients are sent.
//!
//! **The problem.** An event goes to every watch of its key. Turned into JSON once for each, a
//! large value costs the thread that serves them milliseconds a watch: with some hundreds of them
//! it comes late to everybody else, and refuses their requests as too many.
//!
//! **The idea.** Watches of one key are told the same within moments, to the byte: of one event,
//! and each under the number 0 if it is alone on its stream. So each thread remembers the last few
//! large messages that it has turned into lines. To compare two is as quick as to copy one; and the
//! line is held once, however many have not taken it yet.
//!
//! ```text
//!   message ──► like one of the last? ──yes──► the line that was made of that one
//!                        └──no──► JSON ──► remembered, in place of the oldest
//! ```
//!
//! What is remembered stays until others come: [`REMEMBERED`] lines of [`BYTES_MAX`] at most, with
//! their messages, on each thread.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::json;

/// A smaller message is turned into JSON sooner than it would be looked for.
const BYTES_MIN: usize = 4 << 10;
/// A larger one takes too much room to be kept.
const BYTES_MAX: usize = 2 << 20;
/// How many are remembered.
const REMEMBERED: usize = 4;

thread_local! {
    static LAST: RefCell<VecDeque<Made>> = const { RefCell::new(VecDeque::new()) };
}

/// A line, and what it was made of.
struct Made {
    output: MessageDescriptor,
    message: Bytes,
    line: Bytes,
}

/// The line of a message of the kind `output`.
pub(super) fn line(output: &MessageDescriptor, message: Bytes) -> Result<Bytes, Status> {
    if !(BYTES_MIN..=BYTES_MAX).contains(&message.len()) {
        return make(output, message);
    }
    let same = |made: &&Made| made.message == message && made.output == *output;
    let found = LAST.with_borrow(|last| last.iter().find(same).map(|made| made.line.clone()));
    if let Some(line) = found {
        return Ok(line);
    }
    let line = make(output, message.clone())?;
    let made = Made { output: output.clone(), message, line: line.clone() };
    LAST.with_borrow_mut(|last| {
        last.truncate(REMEMBERED - 1);
        last.push_front(made);
    });
    Ok(line)
}

fn make(output: &MessageDescriptor, message: Bytes) -> Result<Bytes, Status> {
    let mut line = json::encode(output, message, br#"{"result":"#.to_vec())?;
    line.extend_from_slice(b"}\n");
    Ok(Bytes::from(line))
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::etcdserverpb as pb;
    use prost::Message as _;

    use super::*;
    use crate::gateway::json::descriptor;

    fn put(value: &[u8]) -> Bytes {
        let request = pb::PutRequest { value: value.to_vec().into(), ..Default::default() };
        request.encode_to_vec().into()
    }

    // Two hundred watches of one large value: its line is made, and held, once.
    #[test]
    fn same_message_has_the_same_line() {
        let output = descriptor("PutRequest");
        let large = put(&[7; BYTES_MIN]);
        let first = line(&output, large.clone()).unwrap();
        assert!(first.starts_with(br#"{"result":{"value":"BwcH"#) && first.ends_with(b"\"}}\n"));
        let copy = Bytes::copy_from_slice(&large);
        assert_eq!(line(&output, copy).unwrap().as_ptr(), first.as_ptr(), "it was not made again");
        // Others come between, as many as are remembered beside it.
        for byte in 1..REMEMBERED as u8 {
            assert_ne!(line(&output, put(&[byte; BYTES_MIN])).unwrap(), first);
        }
        assert_eq!(line(&output, large.clone()).unwrap().as_ptr(), first.as_ptr());
        line(&output, put(&[8; BYTES_MIN])).unwrap();
        let again = line(&output, large).unwrap();
        assert!(again == first && again.as_ptr() != first.as_ptr(), "the oldest is forgotten");
    }

    // The same bytes may be messages of two kinds, which have different names for their fields.
    #[test]
    fn kind_of_a_message_is_part_of_it() {
        let large = put(&[b'v'; BYTES_MIN]);
        let put = line(&descriptor("PutRequest"), large.clone()).unwrap();
        let range = line(&descriptor("RangeRequest"), large).unwrap();
        assert!(range.starts_with(br#"{"result":{"range_end":"#), "and not {put:?}");
    }

    // Neither the many small ones nor the few that are very large take the room of others.
    #[test]
    fn only_what_is_worth_it_is_remembered() {
        let output = descriptor("PutRequest");
        for bytes in [0, BYTES_MIN / 2, BYTES_MAX + 1] {
            let message = put(&vec![7; bytes]);
            let first = line(&output, message.clone()).unwrap();
            assert_ne!(line(&output, message).unwrap().as_ptr(), first.as_ptr(), "{bytes}");
        }
    }
}
