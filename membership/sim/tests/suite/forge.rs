//! Packets written by hand, as the picture in `message.rs` of the core says: what a member would
//! never say, and an enemy would.

use std::net::SocketAddr;

use drystone_membership::NodeId;

use crate::fuzz::envelope::Envelope;

/// The kind of a datagram that is nothing but news.
const GOSSIP: u8 = 5;
/// The lane of words about members.
const WORDS: u8 = 1;
/// What is set in the first byte of a word that has a card.
const CARD: u8 = 4;

/// What a word says.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Alive = 0,
    Suspect = 1,
}

/// Puts a body into an open envelope.
pub(crate) fn close(label: &str, body: &[u8]) -> Vec<u8> {
    Envelope { label, key: None }.close(body)
}

/// A datagram with words.
pub(crate) fn gossip(sender: NodeId, words: &[Vec<u8>]) -> Vec<u8> {
    let mut body = sender.0.to_le_bytes().to_vec();
    body.push(GOSSIP);
    body.extend_from_slice(&[WORDS, u8::try_from(words.len()).unwrap()]);
    words.iter().for_each(|word| body.extend_from_slice(word));
    close("", &body)
}

/// A word that a member is alive, of its first life and of after its first broadcast.
pub(crate) fn alive_after_a_broadcast(id: NodeId, count: u8, addr: SocketAddr) -> Vec<u8> {
    let mut word = word(Says::Alive, id, count, Some(addr), id);
    let heard = word.len() - 2;
    word[heard] = 1;
    word
}

/// A word about a member in its first life, by the one accuser if it accuses.
pub(crate) fn word(
    says: Says,
    id: NodeId,
    count: u8,
    addr: Option<SocketAddr>,
    accuser: NodeId,
) -> Vec<u8> {
    assert!(count < 128, "a count that is written as one byte");
    let mut word = vec![says as u8 | if addr.is_some() { CARD } else { 0 }];
    word.extend_from_slice(&id.0.to_le_bytes());
    word.extend_from_slice(&0_u32.to_le_bytes());
    word.push(count);
    if let Some(addr) = addr {
        let SocketAddr::V4(addr) = addr else { panic!("an address of four bytes") };
        word.push(4);
        word.extend_from_slice(&addr.ip().octets());
        word.extend_from_slice(&addr.port().to_le_bytes());
        // No zone, no name, nothing broadcast, no metadata.
        word.extend_from_slice(&[0; 4]);
    }
    if let Says::Suspect = says {
        word.push(1);
        word.extend_from_slice(&accuser.0.to_le_bytes());
    }
    word
}
