//! The bytes between nodes, frozen; and what noise does to whoever reads them.

use super::*;
use crate::runtime::tcp::frame::{self, Lane};
use crate::runtime::tcp::handshake::{
    self, HELLO_BYTES, Hello, PROOF_BYTES, WELCOME_BYTES, Welcome,
};
use crate::runtime::tcp::parcels::unpack;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello() -> Hello {
    Hello {
        versions: (1, 1),
        purpose: 2,
        cluster: 0x0102,
        sender: 3,
        receiver: 4,
        challenge: *b"sixteen bytes---",
    }
}

fn welcome() -> Welcome {
    Welcome { versions: (1, 2), version: 1, verdict: 5, node: 4, challenge: *b"another sixteen-" }
}

/// Nodes of different builds talk to each other: these bytes are for good.
#[test]
fn bytes_are_frozen() {
    let (hello_bytes, welcome_bytes) = (hello().encode(), welcome().encode());
    assert_eq!(Hello::decode(&hello_bytes).unwrap(), hello());
    assert_eq!(Welcome::decode(&welcome_bytes).unwrap(), welcome());
    assert_eq!(hex(&hello_bytes), HELLO);
    assert_eq!(hex(&welcome_bytes), WELCOME);
    let key = handshake::key(&hello_bytes, &welcome_bytes);
    assert_eq!(hex(&handshake::proof(key)), PROOF);
    let mut frames = Vec::new();
    for dialler in [true, false] {
        let mut lane = Lane::new(key, dialler);
        for _ in 0..2 {
            let start = Lane::begin(&mut frames, frame::PING);
            lane.seal(&mut frames, start);
        }
    }
    assert_eq!(hex(&frames), FRAMES);
}

/// Two frames are never alike, be they alike in all but their place or direction.
#[test]
fn every_frame_has_a_checksum_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20_u64 {
        for dialler in [true, false] {
            let mut lane = Lane::new(key << 40, dialler);
            for _ in 0..100 {
                let mut out = Vec::new();
                let start = Lane::begin(&mut out, frame::PING);
                lane.seal(&mut out, start);
                assert!(seen.insert(out[..8].to_vec()));
            }
        }
    }
}

/// One entry that is kept must not keep a whole frame of other groups' in memory; and what is large
/// is not copied.
#[test]
fn payloads_share_memory_with_their_own_group_alone() {
    let message = |len| append(1, 2, 8, Bytes::from(vec![7; len]));
    let mut body = Vec::new();
    for (group, len) in [(1_u64, 10), (1, 20), (2, 30), (3, 40_000)] {
        let mut bytes = Vec::new();
        message(len).encode(&mut bytes);
        body.extend_from_slice(&group.to_le_bytes());
        body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(&bytes);
    }
    let body = Bytes::from(body);
    let mail = unpack(body.clone(), 1, 2).unwrap();
    let groups: Vec<_> = mail.iter().map(|(group, all)| (group.0, all.len())).collect();
    assert_eq!(groups, [(1, 2), (2, 1), (3, 1)]);
    let shared: Vec<bool> = mail
        .iter()
        .flat_map(|(_, messages)| messages)
        .map(|message| {
            let Body::Append { entries, .. } = &message.body else { panic!("entries") };
            let Payload::Data(data) = &entries[0].payload else { panic!("data") };
            body.as_ptr_range().contains(&data.as_ptr())
        })
        .collect();
    assert_eq!(shared, [false, false, false, true]);
}

/// Whoever can seal a frame can still put anything into it.
#[test]
fn noise_in_a_sound_frame_is_an_error() {
    let (mut state, mut passed) = (0x5eed_u64, 0);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let mut sound = Vec::new();
    for (group, message) in [(1_u64, heartbeat(1, 2, 7)), (2, append(1, 2, 8, "abc".into()))] {
        sound.extend_from_slice(&group.to_le_bytes());
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        sound.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        sound.extend_from_slice(&bytes);
    }
    assert_eq!(unpack(sound.clone().into(), 1, 2).unwrap().len(), 2);
    let rounds = if std::env::var_os("SLOW").is_some() { 20_000_000 } else { 400_000 };
    for _ in 0..rounds {
        let mut bytes = sound.clone();
        for _ in 0..=next() % 3 {
            let at = next() % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(next() % (2 * bytes.len()) + 1);
        if let Ok(mail) = unpack(bytes.into(), 1, 2) {
            passed += 1;
            let all = mail.iter().flat_map(|(_, messages)| messages);
            all.for_each(|message| assert_eq!((message.from, message.to), (1, 2)));
        }
    }
    assert!(passed > 0, "the noise comes near");
    assert!(unpack(Bytes::new(), 1, 2).is_err(), "a frame says something");
}

const HELLO: &str = "647279726166740a01000100020000000201000000000000030000000000000004000000\
    000000007369787465656e2062797465732d2d2daaeb1790ca72dfcf";
const WELCOME: &str = "647279726166740a01000200010005000400000000000000616e6f746865722073697874\
    65656e2df5c0ff1ab3945686";
const PROOF: &str = "cb8e3f3437e3e165";
const FRAMES: &str = "b1bfddcf8e069483010000000000000002d9724c3ce41bfdf10100000001000000020ae5\
    4f07d888be23010000000000000002da9b0d38fd639bcd010000000100000002";
const _: () = assert!(HELLO_BYTES == 64 && WELCOME_BYTES == 48 && PROOF_BYTES == 8);
