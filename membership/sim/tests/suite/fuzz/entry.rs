//! What must hold whatever a member is handed, by friends, strangers and its own application.
//!
//! A script ([`Script`]) puts a member into a small cluster and then says what happens: time
//! passes, noise comes, packets that are sound in form and true in nothing, those of a foreign key
//! or label, what it has said itself from another mouth, wishes. After each:
//!
//! * No panic, and the invariants hold.
//! * What is refused changes nothing, and nothing comes of it.
//! * Noise and packets of a foreign key or label are refused.
//! * Datagrams are no longer than allowed, and everything that it sends is a packet to another.
//! * Members, news that wait and memory stay below their bounds.
//! * Its own incarnation never goes back.
//! * Its deadline comes to lie ahead: a driver that obeys it does not spin.
//!
//! And bytes are a [`Snapshot`] that is written as it was read, or an error.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use drystone_membership::{
    Boot, Config, Effect, Input, Key, KeyStep, Lifeguard, Node, NodeId, Result, Snapshot, Swim,
    Verdict,
};

use super::envelope::{Envelope, named};
use super::script::{POOL, Script, addr_of};
use super::speech::{self, Body, Heard};

const MEMBERS_MAX: usize = 16;
const METADATA_BYTES_MAX: usize = 512;
const BROADCAST_BYTES_MAX: usize = 2048;
/// Members, twice as many who are gone, and the spare of `swim/sync.rs` twice.
const KNOWN_MAX: usize = 3 * MEMBERS_MAX + 2 * 256;
/// A parcel has fifteen bytes at least.
const PARCELS_MAX: usize = BROADCAST_BYTES_MAX / 15;
/// In each of three lanes everything has a place, and as many again are stale.
const WAITING_MAX: usize = 2 * (KNOWN_MAX + 2 * PARCELS_MAX) + 3 * 128;
/// The buried, and for each who is known a name and metadata, whose entries may be of two bytes.
const MEMORY_MAX: usize = (1 << 20) + KNOWN_MAX * (512 + METADATA_BYTES_MAX * 50);
/// Operations of one script.
const OPERATIONS_MAX: usize = 256;

const LABEL: &str = "ours";
const KEY: [u8; 32] = [1; 32];
const SECOND_KEY: [u8; 32] = [2; 32];

/// What became of the packets of a script.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) handed: u64,
    pub(crate) believed: u64,
    pub(crate) sent: u64,
}

/// Plays a script. Panics if anything is not as it must be.
pub(crate) fn check(input: &[u8]) -> Tally {
    check_snapshot(input);
    let mut script = Script::new(input);
    let Some(settings) = script.byte() else { return Tally::default() };
    let mut room = Room::new(settings);
    for _ in 0..OPERATIONS_MAX {
        if room.operation(&mut script).is_none() {
            break;
        }
        room.look();
    }
    let snapshot = room.swim.snapshot();
    assert!(snapshot.peers.len() <= KNOWN_MAX, "{} are known", snapshot.peers.len());
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    room.tally
}

fn check_snapshot(bytes: &[u8]) {
    // Behind a head and a check that fit, so that somebody looks at the rest.
    let sum = xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes();
    let fits = [b"drystone-members\x01", &sum[..], bytes].concat();
    for bytes in [bytes, &fits[..]] {
        if let Ok(snapshot) = Snapshot::decode(bytes) {
            assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
        }
    }
}

/// A member that is tested.
struct Room {
    swim: Swim,
    config: Config,
    /// Somebody of the same cluster, who must understand what the member says.
    listener: Swim,
    envelope: Envelope<'static>,
    now: Duration,
    out: Vec<Effect>,
    heard: Heard,
    tally: Tally,
}

impl Room {
    fn new(settings: u8) -> Room {
        let is_set = |bit: u8| settings & 1 << bit != 0;
        let base = if is_set(7) { Config::wan() } else { Config::lan() };
        let config = Config {
            label: LABEL.to_owned(),
            mtu: if is_set(2) { 508 } else { 1400 },
            verdict: if is_set(1) { Verdict::Application } else { Verdict::Failed },
            lifeguard: if is_set(3) { Lifeguard::OFF } else { Lifeguard::ON },
            stream_probes: !is_set(4),
            members_max: MEMBERS_MAX,
            metadata_bytes_max: METADATA_BYTES_MAX,
            broadcast_bytes_max: BROADCAST_BYTES_MAX,
            ..base
        };
        let key = is_set(0).then_some(KEY);
        let keys: Vec<Key> =
            key.into_iter().chain(key.and(Some(SECOND_KEY))).map(Key::new).collect();
        let boot = |id: u8| {
            let node = Node::new(NodeId(id.into()), addr_of(id)).in_zone("here");
            Boot { keys: keys.clone(), ..Boot::new(node, 1, 7) }
        };
        let begin = |id| Swim::new(boot(id), config.clone(), Duration::ZERO).expect("it is sound");
        let (swim, listener) = (begin(1), begin(POOL + 1));
        let envelope = Envelope { label: LABEL, key };
        let (now, out) = (Duration::from_secs(1), Vec::new());
        let (heard, tally) = (Heard::default(), Tally::default());
        let mut room = Room { swim, config, listener, envelope, now, out, heard, tally };
        room.settle(is_set(5), is_set(6));
        room
    }

    /// Makes five others known, and perhaps two of them suspected.
    fn settle(&mut self, joins: bool, suspects: bool) {
        let known = |id: u8| (Node::new(NodeId(id.into()), addr_of(id)).in_zone("there"), 1);
        self.swim.assume((2..=6).map(known));
        self.give(Input::Tick).expect("time passes");
        if joins {
            self.give(Input::Join(vec![addr_of(2), addr_of(9)])).expect("anyone may join");
        }
        let value = Some(Bytes::from_static(b"database"));
        self.give(Input::Set { key: "role", value }).expect("it is little");
        if suspects {
            let mut body = 4_u64.to_le_bytes().to_vec();
            body.extend_from_slice(&[5, 1, 2]);
            for id in [2_u64, 3] {
                body.push(1);
                body.extend_from_slice(&id.to_le_bytes());
                body.extend_from_slice(&[1, 0, 0, 0, 0, 1]);
                body.extend_from_slice(&4_u64.to_le_bytes());
            }
            let bytes = self.envelope.close(&body);
            self.give(Input::Datagram { from: addr_of(4), bytes: &bytes }).expect("it is sound");
        }
        self.look();
    }

    /// One thing happens. None at the end of the script.
    fn operation(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.below(12)? {
            0 => self.wait(Duration::from_millis(script.short()? as u64)),
            1 => {
                let due = self.swim.deadline().unwrap_or(self.now);
                self.wait(due.saturating_sub(self.now));
            }
            2 => {
                let (stream, bytes) = (script.once_in(2)?, script.bytes()?);
                // By chance, or because the fuzzer has learned a checksum, it may be none.
                let refused = self.envelope.open(bytes).is_none();
                self.hand(stream, script.addr()?, bytes, refused);
            }
            3 => {
                let body = Body { stream: script.once_in(2)?, bytes: script.bytes()?.to_vec() };
                self.say(&body, script.addr()?);
            }
            4 => {
                let mut body =
                    self.heard.echo(script).unwrap_or(speech::compose(script, &self.heard)?);
                speech::hurt(script, &mut body)?;
                self.say(&body, script.addr()?);
            }
            5 => {
                let body = speech::compose(script, &self.heard)?;
                self.say_as_stranger(&body, script.below(4)?);
            }
            6 => {
                for body in speech::flood(script)? {
                    self.say(&body, addr_of(2));
                }
            }
            7 => self.wish(script)?,
            _ => {
                let mut body = speech::compose(script, &self.heard)?;
                speech::hurt(script, &mut body)?;
                self.say(&body, script.addr()?);
            }
        }
        Some(())
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.give(Input::Tick).expect("time passes");
    }

    /// Hands a body in, in an envelope of the cluster.
    fn say(&mut self, body: &Body, from: SocketAddr) {
        let bytes = self.envelope.close(&body.bytes);
        self.hand(body.stream, from, &bytes, false);
    }

    /// Hands a body in, in an envelope that somebody made who is not of the cluster.
    fn say_as_stranger(&mut self, body: &Body, how: u8) {
        let key = std::array::from_fn(|place| place as u8);
        let other = Envelope { label: LABEL, key: Some(key) };
        let bytes = match (how, self.envelope.key) {
            (0, key) => Envelope { label: "theirs", key }.close(&body.bytes),
            (1, None) | (2, _) => other.close(&body.bytes),
            (1, Some(_)) => Envelope { label: LABEL, key: None }.close(&body.bytes),
            (_, ours) => {
                // It knows what the key is called.
                let name = Key::new(ours.unwrap_or(KEY)).fingerprint();
                other.close_as(name, &body.bytes)
            }
        };
        self.hand(body.stream, addr_of(3), &bytes, true);
    }

    fn hand(&mut self, stream: bool, from: SocketAddr, bytes: &[u8], refused: bool) {
        let input = if stream { Input::Stream { bytes } } else { Input::Datagram { from, bytes } };
        let has_left = self.swim.deadline().is_none();
        let result = self.give(input);
        assert!(!refused || has_left || result.is_err(), "it was believed: {bytes:02x?}");
        self.tally.handed += 1;
        self.tally.believed += u64::from(result.is_ok());
    }

    /// The application wants something.
    fn wish(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = |fill| Key::new([fill; 32]);
        let (what, detail) = (script.below(9)?, script.byte()?);
        let filler = vec![detail; usize::from(detail) * 3];
        let topic = "t".repeat(usize::from(detail) / 3);
        let input = match what {
            0 => Input::Join(vec![script.addr()?, addr_of(detail % POOL + 1)]),
            1 if detail > 200 => Input::Leave,
            1 | 2 => Input::Set { key: &topic, value: Some(filler.into()) },
            3 => Input::Set { key: &topic, value: None },
            4 => Input::Broadcast { topic: &topic, payload: &filler },
            5 => Input::Condemn(script.id()?),
            6 => Input::Keys(KeyStep::Add(key(detail % 8))),
            7 => Input::KeysAnyway(KeyStep::Use(key(detail % 8).fingerprint())),
            _ => Input::KeysAnyway(KeyStep::Remove(key(detail % 8).fingerprint())),
        };
        // It may be too much, or too late.
        drop(self.give(input));
        Some(())
    }

    /// Hands an input in. What is refused must change nothing.
    fn give(&mut self, input: Input<'_>) -> Result<()> {
        let before = self.swim.clone();
        let result = self.swim.handle(self.now, input, &mut self.out);
        if let Err(error) = &result {
            assert!(self.out.is_empty(), "{error}, and {:?} came of it", self.out);
            let (before, after) = (all_of(&before), all_of(&self.swim));
            assert!(before == after, "{error}, and this has changed: {}", change(&before, &after));
        }
        assert!(self.swim.incarnation() >= before.incarnation(), "never back");
        self.look_at_effects();
        result
    }

    /// Looks at what it wants done.
    fn look_at_effects(&mut self) {
        for effect in std::mem::take(&mut self.out) {
            let (stream, bytes) = match effect {
                Effect::Datagram { bytes, .. } => (false, bytes),
                Effect::Stream { bytes, .. } => (true, bytes),
                _ => continue,
            };
            self.tally.sent += 1;
            assert!(stream || bytes.len() <= self.config.mtu, "{} bytes", bytes.len());
            if let Some(key) = named(&bytes)
                && [KEY, SECOND_KEY].iter().all(|it| Key::new(*it).fingerprint() != key)
            {
                // The ring has turned to a key that the listener has not heard of.
                continue;
            }
            let (mut listener, from) = (self.listener.clone(), addr_of(1));
            let input = match stream {
                true => Input::Stream { bytes: &bytes },
                false => Input::Datagram { from, bytes: &bytes },
            };
            let understood = listener.handle(Duration::ZERO, input, &mut Vec::new());
            assert_eq!(understood, Ok(()), "nobody understands {bytes:02x?}");
            if let Some(bytes) = self.envelope.open(&bytes) {
                self.heard.note(Body { stream, bytes });
            }
        }
    }

    /// Looks at the member.
    fn look(&mut self) {
        for _ in 0..16 {
            if self.swim.deadline().is_none_or(|at| at > self.now) {
                break;
            }
            self.give(Input::Tick).expect("time passes");
        }
        let ahead = self.swim.deadline().is_none_or(|at| at > self.now);
        assert!(ahead, "it wants to be called again and again at {:?}", self.now);
        self.swim.check();
        let (waiting, memory) = (self.swim.waiting(), self.swim.memory());
        assert!(self.swim.members_count() <= MEMBERS_MAX, "{}", self.swim.members_count());
        assert!(waiting <= WAITING_MAX, "{waiting} news wait");
        assert!(memory <= MEMORY_MAX, "{memory} bytes");
    }
}

/// All that a member is, without what it counts of refusals.
fn all_of(swim: &Swim) -> String {
    format!("{swim:?}").replace(&format!("refused: {}", swim.stats().refused), "")
}

/// Where two texts differ first, and what stands around it in the second.
fn change<'a>(before: &str, after: &'a str) -> &'a str {
    let same = before.bytes().zip(after.bytes()).take_while(|(one, other)| one == other).count();
    &after[same.saturating_sub(200)..after.len().min(same + 100)]
}

/// Scripts to begin with: each setting, and a little of everything.
pub(crate) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    (0..64_u8).map(|number| {
        let mut seed = vec![number.wrapping_mul(37)];
        seed.extend((0..2000_u32).map(|place| {
            (place.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number.wrapping_mul(place as u8)
        }));
        seed
    })
}
