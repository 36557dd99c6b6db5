//! Packs messages to many groups into frames, and unpacks them.

use bytes::{Buf, Bytes};

use crate::message::Message;
use crate::runtime::tcp::frame::{self, Framed, HEAD_BYTES, Lane};
use crate::runtime::tcp::outbox::{Parcel, weight};
use crate::runtime::tcp::refusal::Refusal;
use crate::store::GroupId;
use crate::types::NodeId;
use crate::wire::carries_payloads;

/// Group and length.
const LABEL_BYTES: usize = 12;

/// A group's messages of this size and more are left in the memory of the frame they came in;
/// smaller ones are copied out of it if they have payloads, which costs less than reading them.
const SHARED_BYTES_MIN: usize = 16 << 10;

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
///
/// Payloads are slices of memory that one group's messages share: an entry that is kept for long
/// keeps none of what other groups sent.
pub(super) fn unpack(
    mut body: Bytes,
    from: NodeId,
    to: NodeId,
) -> Result<Vec<(GroupId, Vec<Message>)>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::Frame("a frame without a message"));
    }
    let mut mail = Vec::new();
    while !body.is_empty() {
        let section = Section::first(&body)?;
        let bytes = body.split_to(section.bytes);
        let own = section.payloads && section.bytes < SHARED_BYTES_MIN;
        let mut bytes = if own { Bytes::copy_from_slice(&bytes) } else { bytes };
        let mut messages = Vec::with_capacity(section.messages);
        while !bytes.is_empty() {
            bytes.advance(8);
            let len = bytes.get_u32_le() as usize;
            let message = Message::decode(&bytes.split_to(len))?;
            if message.from != from {
                return Err(Refusal::Frame("a message in the name of another"));
            }
            if message.to != to {
                return Err(Refusal::Frame("a message for another"));
            }
            messages.push(message);
        }
        mail.push((section.group, messages));
    }
    Ok(mail)
}

/// Messages to one group, one behind the other.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    group: GroupId,
    messages: usize,
    /// Labels and messages.
    bytes: usize,
    /// Whether there are some that can have payloads.
    payloads: bool,
}

impl Section {
    /// The one that `body` begins with.
    fn first(body: &[u8]) -> Result<Section, Refusal> {
        let mut section: Option<Section> = None;
        let mut rest = body;
        while !rest.is_empty() {
            let Some((label, behind)) = rest.split_first_chunk::<LABEL_BYTES>() else {
                return Err(Refusal::Frame("a label that ends early"));
            };
            let (mut group, mut len) = label.split_at(8);
            let (group, len) = (GroupId(group.get_u64_le()), len.get_u32_le() as usize);
            let Some((message, behind)) = behind.split_at_checked(len) else {
                return Err(Refusal::Frame("a message longer than its frame"));
            };
            let new = Section { group, messages: 0, bytes: 0, payloads: false };
            let section = section.get_or_insert(new);
            if section.group != group {
                break;
            }
            section.messages += 1;
            section.bytes += LABEL_BYTES + len;
            section.payloads |= carries_payloads(message);
            rest = behind;
        }
        section.ok_or(Refusal::Frame("a frame without a message"))
    }
}
