//! Packs messages to many groups into frames, and unpacks them.

use bytes::{Buf, Bytes};

use crate::message::Message;
use crate::runtime::tcp::frame::{self, Framed, HEAD_BYTES, Lane};
use crate::runtime::tcp::outbox::{Parcel, weight};
use crate::runtime::tcp::refusal::Refusal;
use crate::store::GroupId;
use crate::types::NodeId;

/// Group and length.
const LABEL_BYTES: usize = 12;

/// What became of messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) messages: usize,
    pub(super) frames: usize,
    /// Too large for any frame, and left out.
    pub(super) large: usize,
}

/// Appends frames with all messages of `parcels`, which is empty afterwards.
pub(super) fn pack(
    parcels: &mut Vec<Parcel>,
    framed: &mut Framed,
    body_bytes_max: usize,
    out: &mut Vec<u8>,
) -> Packed {
    let mut packed = Packed::default();
    let mut start = None;
    for parcel in parcels.drain(..) {
        for message in &parcel.messages {
            let begun = start.filter(|start| {
                out.len() - start - HEAD_BYTES + LABEL_BYTES + weight(message) <= body_bytes_max
            });
            if begun.is_none() {
                if let Some(start) = start {
                    framed.seal(out, start);
                    packed.frames += 1;
                }
                start = Some(Lane::begin(out, frame::MESSAGES));
            }
            let label = out.len();
            put(out, parcel.group, message);
            if out.len() - start.expect("a frame was begun") - HEAD_BYTES > body_bytes_max {
                out.truncate(label);
                packed.large += 1;
            } else {
                packed.messages += 1;
            }
        }
    }
    if let Some(start) = start {
        framed.seal(out, start);
        packed.frames += 1;
    }
    packed
}

fn put(out: &mut Vec<u8>, group: GroupId, message: &Message) {
    out.extend_from_slice(&group.0.to_le_bytes());
    let label = out.len();
    out.extend_from_slice(&[0; 4]);
    message.encode(out);
    // One that does not fit is too large for a frame anyway, and is left out for it.
    let len = u32::try_from(out.len() - label - 4).unwrap_or(u32::MAX);
    out[label..label + 4].copy_from_slice(&len.to_le_bytes());
}

/// The messages in the body of a frame, by group. All of them must be from `from` and to `to`.
pub(super) fn unpack(
    mut body: Bytes,
    from: NodeId,
    to: NodeId,
) -> Result<Vec<(GroupId, Vec<Message>)>, Refusal> {
    let mut mail: Vec<(GroupId, Vec<Message>)> = Vec::new();
    while !body.is_empty() {
        if body.len() < LABEL_BYTES {
            return Err(Refusal::Frame("a label that ends early"));
        }
        let (group, len) = (GroupId(body.get_u64_le()), body.get_u32_le() as usize);
        if len > body.len() {
            return Err(Refusal::Frame("a message longer than its frame"));
        }
        let message = Message::decode(&body.split_to(len))?;
        if message.from != from {
            return Err(Refusal::Frame("a message in the name of another"));
        }
        if message.to != to {
            return Err(Refusal::Frame("a message for another"));
        }
        match mail.last_mut() {
            Some((last, messages)) if *last == group => messages.push(message),
            _ => mail.push((group, vec![message])),
        }
    }
    Ok(mail)
}
