//! The codec against messages of every kind, and against bytes of none.

use std::println;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;

use crate::boot::SnapshotMeta;
use crate::configuration::{Configuration, Member, Suffrage};
use crate::entry::{Entry, Payload};
use crate::error::Error;
use crate::message::{Body, Message, Word};
use crate::types::{Index, Position, Term};
use crate::wire::{OUTDATED, POSITION_END};

/// Seeded numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Of any length in bits, so that every width of a number comes up.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        if bits == 0 { 0 } else { self.next() >> (64 - bits) }
    }

    fn small(&mut self) -> u64 {
        self.number() >> 3
    }

    fn id(&mut self) -> u64 {
        self.number().max(1)
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn position(&mut self) -> Position {
        Position::new(Term(self.small()), Index(self.small()))
    }

    fn configuration(&mut self) -> Configuration {
        let suffrages = [Suffrage::Voter, Suffrage::Witness, Suffrage::Learner];
        let members: Vec<Member> = (0..self.below(6))
            .map(|_| {
                let suffrage = suffrages[self.below(3) as usize];
                Member { id: self.id(), suffrage, priority: self.next() as u8 }
            })
            .collect();
        let outgoing: Vec<u64> = (0..self.below(4)).map(|_| self.id()).collect();
        Configuration::new(members, outgoing)
    }

    fn payload(&mut self) -> Payload {
        match self.below(8) {
            0 => Payload::Blank,
            1 => Payload::Withheld,
            2 => Payload::Configuration(Arc::new(self.configuration())),
            _ => {
                let len = self.below(40) as usize;
                Payload::Data((0..len).map(|_| self.next() as u8).collect())
            }
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let (mut term, first) = (Term(self.small() >> 1), self.small() + 1);
        let count = self.below(9);
        let entry = |at| {
            if self.below(3) == 0 {
                term.0 += self.below(200);
            }
            Entry { term, index: Index(first + at), payload: self.payload() }
        };
        (0..count).map(entry).collect()
    }

    fn body(&mut self, kind: u64) -> Body {
        let words = [Word::Granted, Word::Refused, Word::Stale, Word::Unsure];
        match kind {
            1 => Body::PreVote { last: self.position() },
            2 => Body::Vote { last: self.position(), forced: self.flag() },
            3 => Body::Ballot {
                pre: self.flag(),
                asked: Term(self.small()),
                word: words[self.below(4) as usize],
                last: self.position(),
            },
            4 => Body::Append {
                prev: self.position(),
                commit: Index(self.small()),
                round: self.number(),
                entries: self.entries().into(),
            },
            5 => Body::Accepted {
                matched: Index(self.small()),
                round: self.number(),
                life: self.number(),
            },
            6 => Body::Rejected {
                prev: Index(self.small()),
                hint: self.position(),
                round: self.number(),
                life: self.number(),
            },
            7 => Body::Heartbeat {
                commit: Index(self.small()),
                round: self.number(),
                quiesce: self.flag(),
            },
            8 => Body::Alive {
                round: self.number(),
                seen: Index(self.small()),
                stored: Index(self.small()),
                receiving: self.flag(),
                life: self.number(),
            },
            _ => self.rare(kind),
        }
    }

    fn rare(&mut self, kind: u64) -> Body {
        match kind {
            9 => Body::ReadRequest { id: self.number(), lease: self.flag() },
            10 => {
                let index = self.flag().then(|| Index(self.small()));
                Body::ReadReply { id: self.number(), index }
            }
            11 => {
                let configuration = Arc::new(self.configuration());
                let configuration_index = Index(self.small());
                Body::Offer {
                    meta: SnapshotMeta {
                        last: self.position(),
                        configuration,
                        configuration_index,
                    },
                }
            }
            12 => Body::Delegate { to: self.id() },
            13 => Body::TimeoutNow { last: self.position() },
            14 => Body::Mend { after: Index(self.small()), anchor: self.position() },
            15 => Body::Mended { anchor: self.position(), entries: self.entries() },
            16 => Body::Borrow { prev: self.position() },
            17 => Body::Lent { prev: self.position(), entries: self.entries() },
            _ => Body::Outdated,
        }
    }

    fn message(&mut self, kind: u64) -> Message {
        Message {
            from: self.id(),
            to: self.id(),
            generation: self.number(),
            term: Term(self.small()),
            body: self.body(kind),
        }
    }
}

const KINDS: std::ops::RangeInclusive<u64> = 1..=OUTDATED as u64;

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// Whatever the bytes: an error with a place in them, or a message that is written just so.
#[track_caller]
fn check(bytes: &[u8]) -> bool {
    match Message::decode(&Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            assert_eq!(encoded(&message), bytes, "two ways to write {message:?}");
            true
        }
        Err(Error::Message { offset, what }) => {
            assert!(offset <= bytes.len(), "{what} at {offset} of {}", bytes.len());
            false
        }
        Err(other) => panic!("not an error of messages: {other}"),
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let from = std::env::var("WIRE_SEED").map_or(0, |seed| seed.parse().unwrap());
    let slow = std::env::var_os("SLOW").is_some();
    let many = if slow { count * 50 } else { count };
    println!("replay: WIRE_SEED={from} cargo test -p drystone-raft --lib wire");
    from..from + many
}

/// What one node says is what the other hears.
#[test]
fn every_kind_of_message_comes_back() {
    for seed in seeds(2_000) {
        let mut dice = Dice(seed);
        for kind in KINDS {
            let message = dice.message(kind);
            let bytes = encoded(&message);
            assert_eq!(u64::from(bytes[1]), kind);
            assert_eq!(Message::decode(&bytes.into()), Ok(message), "seed {seed}");
        }
    }
}

/// A message that was cut, or in which a bit was turned, is an error or another message that is
/// sound in itself; the transport's checksum is what tells those.
#[test]
fn cut_and_flipped_messages_are_refused_or_written_just_so() {
    for seed in seeds(40) {
        let mut dice = Dice(seed);
        for kind in KINDS {
            let mut bytes = encoded(&dice.message(kind));
            for end in 0..bytes.len() {
                assert!(!check(&bytes[..end]), "seed {seed}: {end} bytes of {bytes:?} passed");
            }
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                check(&bytes);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            bytes.push(0);
            assert!(!check(&bytes), "seed {seed}: a byte to spare passed");
        }
    }
}

/// Two million inputs, a hundred million when `SLOW=1`: noise, noise behind a sound head, and sound
/// messages that were hurt in a few places.
#[test]
fn noise_never_panics_and_never_has_two_spellings() {
    let mut passed = 0_u64;
    let all = seeds(2_000);
    let rounds = 1_000;
    for seed in all.clone() {
        let mut dice = Dice(seed ^ 0x5eed);
        let kind = 1 + dice.below(OUTDATED.into());
        let sound = encoded(&dice.message(kind));
        let mut bytes = Vec::new();
        for _ in 0..rounds {
            bytes.clear();
            match dice.below(3) {
                0 => {
                    let noise = (0..dice.below(40)).map(|_| dice.next() as u8);
                    bytes.extend(noise);
                }
                1 => {
                    bytes.extend_from_slice(&[1, 1 + dice.below(18) as u8, 1, 2, 0, 3]);
                    let noise = (0..dice.below(30)).map(|_| (dice.number() >> 56) as u8);
                    bytes.extend(noise);
                }
                _ => {
                    bytes.extend_from_slice(&sound);
                    for _ in 0..1 + dice.below(4) {
                        let at = dice.below(bytes.len() as u64) as usize;
                        bytes[at] = dice.next() as u8;
                    }
                }
            }
            passed += u64::from(check(&bytes));
        }
    }
    println!("{passed} of {} inputs were messages", (all.end - all.start) * rounds);
    assert!(passed > 1_000, "the noise comes near enough to messages to be one now and then");
}

fn head(body: Body) -> Message {
    Message { from: 1, to: 300, generation: 2, term: Term(5), body }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

/// Nodes of different builds talk to each other: these bytes are for good.
#[test]
fn bytes_are_frozen() {
    let entry = |term, index, payload| Entry { term: Term(term), index: Index(index), payload };
    let witness = Member { id: 7, suffrage: Suffrage::Witness, priority: 9 };
    let learner = Member { id: 300, suffrage: Suffrage::Learner, priority: 1 };
    let members = Arc::new(Configuration::new([witness, learner], [1, 2]));
    let entries = vec![
        entry(3, 130, Payload::Blank),
        entry(5, 131, Payload::Data("ab".into())),
        entry(5, 132, Payload::Configuration(Arc::clone(&members))),
        entry(5, 133, Payload::Withheld),
    ];
    let prev = Position::new(Term(3), Index(129));
    let append = head(Body::Append {
        prev,
        commit: Index(128),
        round: 1 << 40,
        entries: entries.clone().into(),
    });
    let heartbeat = head(Body::Heartbeat { commit: Index(1000), round: 77, quiesce: true });
    let ballot = head(Body::Ballot { pre: true, asked: Term(6), word: Word::Stale, last: prev });
    let reply = head(Body::ReadReply { id: u64::MAX, index: Some(Index(8)) });
    let meta = SnapshotMeta { last: prev, configuration: members, configuration_index: Index(100) };
    let frozen = [
        (
            append,
            "010401ac0202050381018001808080808020048201020301020300000000090000006162\
             2e00000002070109a502020102010103000000",
        ),
        (heartbeat, "010701ac020205e8074d01"),
        (ballot, "010301ac020205010602038101"),
        (reply, "010a01ac020205ffffffffffffffffff010108"),
        (head(Body::Offer { meta }), "010b01ac0202050381016402070109a5020201020101"),
        (head(Body::Outdated), "011201ac020205"),
    ];
    for (message, golden) in frozen {
        assert_eq!(hex(&encoded(&message)), golden, "{message:?}");
    }
}

fn refused(bytes: &[u8], at: usize, why: &str) {
    match Message::decode(&Bytes::copy_from_slice(bytes)) {
        Err(Error::Message { offset, what }) => {
            assert!(what.contains(why), "{what}, not {why}");
            assert_eq!(offset, at, "{what}");
        }
        other => panic!("{other:?}, not {why}"),
    }
}

/// Whoever looks for what is wrong is told what, and where.
#[test]
fn errors_name_the_place() {
    refused(&[], 0, "end early");
    refused(&[2, 7], 0, "version");
    refused(&[1, 19, 1, 1, 0, 1], 1, "kind of message");
    refused(&[1, 18, 0, 1, 0, 1], 2, "never 0");
    refused(&[1, 18, 1, 0x81, 0, 0, 1], 4, "longer than it need be");
    refused(&[1, 18, 1, 1, 0, 1, 9], 6, "to spare");
    refused(&[1, 2, 1, 1, 0, 1, 3, 4, 2], 8, "yes nor no");
    refused(&[1, 3, 1, 1, 0, 1, 0, 4, 4, 1, 1], 8, "word");
    let mut huge = vec![1, 1, 1, 1, 0, 1];
    super::put(&mut huge, POSITION_END);
    refused(&huge, 6, "cannot be");
    // Append at 3@1: commit 0, round 0, then entries.
    let append = [1, 4, 1, 1, 0, 1, 1, 3, 0, 0];
    let with = |tail: &[u8]| [&append[..], tail].concat();
    refused(&with(&[0xff, 0xff, 0xff, 0xff, 0x0f]), 10, "bytes for");
    refused(&with(&[1, 0, 1, 1, 1, 0, 0, 0, 0]), 11, "none can be");
    refused(&with(&[2, 4, 2, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 15, "runs of one term");
    refused(&with(&[1, 4, 1, 1, 2, 0, 0, 0, 0]), 14, "longer than all");
    refused(&with(&[1, 4, 1, 1, 1, 9, 0, 0, 0]), 15, "longer than the message");
    refused(&with(&[1, 4, 1, 1, 1, 4, 0, 0, 0, 0]), 15, "where there is none");
}

/// A node's memory must not follow its peer's: nothing is copied.
#[test]
fn payloads_are_slices_of_what_was_given() {
    let payload = Bytes::from(vec![7; 1000]);
    let entry = Entry { term: Term(1), index: Index(1), payload: Payload::Data(payload) };
    let bytes =
        Bytes::from(encoded(&head(Body::Lent { prev: Position::default(), entries: vec![entry] })));
    let message = Message::decode(&bytes).unwrap();
    let Body::Lent { entries, .. } = message.body else { panic!("something was lent") };
    let Payload::Data(data) = &entries[0].payload else { panic!("it was data") };
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()), "the payload was copied");
}

/// What a hostile count may cost is bounded by the bytes that came with it.
#[test]
fn a_heartbeat_is_small_and_entries_cost_four_bytes_each() {
    let body = Body::Heartbeat { commit: Index(100_000), round: 70_000, quiesce: false };
    assert!(encoded(&Message { from: 1, to: 2, generation: 0, term: Term(9), body }).len() <= 14);
    let entries = |count| -> Vec<Entry> {
        let entry = |at| Entry { term: Term(9), index: Index(at), payload: Payload::Blank };
        (1..=count).map(entry).collect()
    };
    let lent =
        |count| encoded(&head(Body::Lent { prev: Position::default(), entries: entries(count) }));
    assert_eq!(lent(127).len() - lent(1).len(), 126 * 4);
}
