//! Commands as bytes: what decodes is a command and has no second spelling, whatever the bytes.

use bytes::Bytes;
use drystone_kv::command::{Command, Txn, TxnOp};
use drystone_kv::limits::Limits;
use drystone_kv::record::Record;
use rand::RngExt as _;

use crate::common::{Bench, each_seed, is_slow};
use crate::requests::Requests;
use drystone_kv_model::Model;

fn encode(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

/// Decodes any bytes; if they are a command, it must be spelled the only way.
fn decode(bytes: &[u8]) -> Option<Command> {
    let command = Command::decode(Bytes::copy_from_slice(bytes)).ok()?;
    assert_eq!(encode(&command), bytes, "{command:?} has two spellings");
    Some(command)
}

/// Changes a few bytes, adds some, takes some away.
fn mutate(bytes: &mut Vec<u8>, requests: &mut Requests) {
    for _ in 0..requests.random.random_range(1..4) {
        let at = requests.random.random_range(0..=bytes.len());
        match requests.random.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, requests.random.random()),
            2 => bytes.extend_from_slice(&requests.bytes(6)),
            3 if at < bytes.len() => bytes[at] = requests.random.random(),
            _ if at < bytes.len() => bytes[at] ^= 1 << requests.random.random_range(0..8),
            _ => {}
        }
    }
}

// A journal rots, and members may be of another build: bytes are decoded before they are trusted.
// What a mutation leaves readable is a command nobody meant, and must still only be refused or
// applied, alike by a store and by its model.
#[test]
fn damaged_commands_are_refused_or_are_other_commands() {
    each_seed("damaged_commands_are_refused_or_are_other_commands", 20, 1000, |seed| {
        let mut requests = Requests::new(seed);
        let mut oracle = Model::new();
        let bench = Bench::new();
        let (mut refused, mut other) = (0, 0);
        for _ in 0..300 {
            let command = requests.command(&oracle);
            let mut bytes = encode(&command);
            mutate(&mut bytes, &mut requests);
            let Some(command) = decode(&bytes) else {
                refused += 1;
                continue;
            };
            other += 1;
            assert_eq!(bench.apply(&command), oracle.apply(&command), "{command:?}");
        }
        assert!(refused > 10 && other > 10, "{refused} {other}");
    });
}

// Pure noise is the commonest damage of all: a lost sector.
#[test]
fn noise_is_never_a_panic() {
    each_seed("noise_is_never_a_panic", 4, 400, |seed| {
        let mut requests = Requests::new(seed);
        for _ in 0..20_000 {
            let mut bytes = requests.bytes(40);
            // Past the first two bytes, or nearly all noise ends there.
            if let [version, kind, ..] = &mut bytes[..] {
                *version = 1;
                *kind %= 17;
            }
            decode(&bytes);
            let main = requests.random.random();
            if let Ok(Record::Put(kv)) = Record::decode(main, Bytes::from(bytes.clone())) {
                assert_eq!(Record::encode_put(&kv), bytes, "a record has one spelling");
            }
        }
    });
}

/// A transaction `depth` levels deep that costs next to nothing.
fn nested(depth: usize) -> Txn {
    (1..depth)
        .fold(Txn::default(), |inner, _| Txn { success: vec![TxnOp::Txn(inner)], ..Txn::default() })
}

// A command that is accepted is journaled, and a journaled command that cannot be read again is a
// store that never opens again. So whatever bounds the decoder bounds the proposer, under any
// limits that an operator may set.
#[test]
fn what_the_limits_accept_decodes_again() {
    for txn_ops_max in [1, 128, 255, 256, 257, 1000, usize::MAX] {
        let limits = Limits { txn_ops_max, ..Limits::default() };
        let mut accepted = 0;
        for depth in [1, 2, 100, 128, 129, 255, 256, 257, 300, 900] {
            let command = Command::Txn(nested(depth));
            if limits.check(&command).is_ok() {
                accepted += 1;
                assert!(decode(&encode(&command)) == Some(command), "{depth} deep");
            }
        }
        assert!(accepted >= 2, "some nesting is accepted under a limit of {txn_ops_max}");
    }
}

// A value of the largest size goes through whole; the limit itself is on the encoded command.
#[test]
fn the_largest_command_goes_through() {
    let limits = Limits::default();
    let put = |len: usize| {
        Command::Put(drystone_kv::command::Put {
            key: Bytes::from_static(b"k"),
            value: Some(vec![7; len].into()),
            ..Default::default()
        })
    };
    let overhead = encode(&put(1 << 20)).len() - (1 << 20);
    let largest = put(limits.command_bytes_max - overhead);
    let bytes = encode(&largest);
    assert_eq!(bytes.len(), limits.command_bytes_max);
    assert_eq!(limits.check_bytes(bytes.len()), Ok(()));
    assert_eq!(limits.check_bytes(bytes.len() + 1), Err(drystone_kv::Refusal::TooLarge));
    assert_eq!(decode(&bytes), Some(largest));
    // Many commands of odd sizes, so that every varint width is met.
    let step = if is_slow() { 1 } else { 7 };
    for len in (0..70_000).step_by(step * 37) {
        assert!(decode(&encode(&put(len))).is_some(), "{len} bytes");
    }
}
