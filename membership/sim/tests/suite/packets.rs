//! Packets that nobody of the cluster has sent, or not now (scenarios 14 and 20).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use drystone_membership::{Boot, Config, Input, Key, Node, NodeId as Id, Swim};
use drystone_membership_sim::{Packet, SECOND, address_of};
use drystone_sim::{NodeId, Rng, Seed};

use crate::forge;
use crate::fuzz::envelope::Envelope;
use crate::lab::{Home, Lab, id, seeds, whole};

/// Where the envelope of an open packet ends.
const OPEN_BYTES: usize = 9;
/// Where the kind of its message stands.
const KIND: usize = OPEN_BYTES + 8;
/// No more members than these are believed in, whoever says so.
const MEMBERS_MAX: usize = 256;

fn config() -> Config {
    Config { members_max: MEMBERS_MAX, metadata_bytes_max: 4096, ..Config::lan() }
}

/// Everything that members of a cluster say to each other in minutes in which much happens, and
/// the laboratory in which they said it. The same for every test that asks with this seed.
fn capture(seed: impl Into<Seed>, keys: &[Key]) -> (Lab, Vec<Packet>) {
    let home = |boot: Boot| {
        let boot = Boot { keys: keys.to_vec(), ..boot };
        Home { taped: true, ..Home::new(boot, &config()) }
    };
    let mut lab = Lab::warm_as(seed.into(), 50, home);
    let mut packets = Vec::new();
    for round in 0..12_u32 {
        let node = NodeId(2 + 3 * round);
        let (payload, value) = (round.to_le_bytes(), Some(Bytes::from(vec![7; 900])));
        lab.give(node, Input::Broadcast { topic: "deploy", payload: &payload }).unwrap();
        lab.give(node, Input::Set { key: "rack", value: Some(Bytes::from_static(b"7")) }).unwrap();
        lab.give(NodeId(3 + 3 * round), Input::Set { key: "long", value }).unwrap();
        match round % 4 {
            0 => lab.restart(node, 1, &[NodeId(1)]),
            1 => lab.give(node, Input::Leave).unwrap(),
            2 => {
                let other = lab.next();
                let named = Node::named("web", address_of(other).into()).in_zone("attic");
                lab.add(home(Boot::new(named, round, 0)));
                lab.join(other, &[NodeId(1)]);
            }
            _ => {
                lab.world.crash(node);
            }
        }
        lab.run_for(10 * SECOND);
        for node in lab.up() {
            packets.extend(lab.take_tape(node).into_iter().map(|(_, packet)| packet));
        }
    }
    (lab, packets)
}

/// A few of each kind of message, as there are many of most.
fn some_of_each(packets: &[Packet], count: usize) -> Vec<Packet> {
    let mut by_kind: BTreeMap<u8, Vec<&Packet>> = BTreeMap::new();
    for packet in packets {
        by_kind.entry(packet.bytes[KIND]).or_default().push(packet);
    }
    let kinds: Vec<u8> = by_kind.keys().copied().collect();
    assert!(kinds.len() >= 13, "it has the kinds {kinds:?}");
    // The first, and then from all over.
    let some = |all: &Vec<&Packet>| -> Vec<Packet> {
        let step = all.len().div_ceil(count);
        all.iter().step_by(step).map(|packet| (*packet).clone()).collect()
    };
    by_kind.values().flat_map(some).collect()
}

/// All that a member is, without what it counts of refusals.
fn all_of(swim: &Swim) -> String {
    format!("{swim:?}").replace(&format!("refused: {}", swim.stats().refused), "")
}

/// A member of a laboratory on its own, with a clock that stands still.
struct Target {
    swim: Swim,
    now: Duration,
    out: Vec<drystone_membership::Effect>,
    packets: u64,
}

impl Target {
    fn new(lab: &Lab) -> Target {
        let now = Duration::from_micros(lab.world.now());
        let mut swim = lab.swim(NodeId(1)).clone();
        let mut out = Vec::new();
        swim.handle(now, Input::Tick, &mut out).unwrap();
        out.clear();
        Target { swim, now, out, packets: 0 }
    }

    fn hand(&mut self, stream: bool, bytes: &[u8]) -> bool {
        self.packets += 1;
        let input = match stream {
            true => Input::Stream { bytes },
            false => Input::Datagram { from: ([192, 168, 0, 9], 7946).into(), bytes },
        };
        self.swim.handle(self.now, input, &mut self.out).is_ok()
    }

    fn expect_refusal(&mut self, stream: bool, bytes: &[u8]) {
        assert!(!self.hand(stream, bytes), "it was believed: {bytes:02x?}");
        assert!(self.out.is_empty(), "something came of it: {bytes:02x?}");
    }
}

/// Hands every packet that differs from this one in one byte or by its end.
fn damage(target: &mut Target, packet: &Packet, by: impl Fn(usize) -> Vec<u8>) {
    let mut bytes = packet.bytes.to_vec();
    for place in 0..bytes.len() {
        for flip in by(place) {
            bytes[place] ^= flip;
            target.expect_refusal(packet.stream, &bytes);
            bytes[place] ^= flip;
        }
        target.expect_refusal(packet.stream, &bytes[..place]);
    }
    bytes.push(0);
    target.expect_refusal(packet.stream, &bytes);
}

// A network card that is about to die damages packets that are right by UDP's own checksum. One
// that is believed anyway puts a member into the cluster that never was.
#[test]
fn packets_that_differ_in_one_byte_or_end_early_change_nothing() {
    let (lab, packets) = capture(1, &[]);
    let mut target = Target::new(&lab);
    let before = all_of(&target.swim);
    for packet in some_of_each(&packets, 8) {
        // Long ones have more bytes than values are worth.
        let values = if packet.bytes.len() < 400 { 255 } else { 8 };
        damage(&mut target, &packet, |place| match values {
            255 => (1..=255).collect(),
            _ => vec![1 << (place % 8), 0xff],
        });
        assert_eq!(all_of(&target.swim), before);
    }
    assert_eq!(
        target.swim.stats().refused - Target::new(&lab).swim.stats().refused,
        target.packets
    );
    assert!(target.packets > 500_000, "{} packets", target.packets);
    // The packets themselves are not refused.
    assert!(
        some_of_each(&packets, 8).iter().all(|it| Target::new(&lab).hand(it.stream, &it.bytes))
    );
}

// With keys the enemy may be somebody who knows all but the key.
#[test]
fn packets_of_foreign_labels_and_keys_change_nothing() {
    let key = |number| Key::new([number; 32]);
    let (open, packets) = capture(1, &[]);
    let (sealed, sealed_packets) = capture(1, &[key(1)]);
    let label = Config { label: "other".to_owned(), ..config() };
    let foreign = |lab: &Lab, keys: &[Key], config: Config| {
        let node = Node { addr: address_of(NodeId(1)).into(), ..whole(NodeId(99)) };
        let boot = Boot { keys: keys.to_vec(), ..Boot::new(node, 0, 1) };
        let now = Duration::from_micros(lab.world.now());
        let mut target = Target::new(lab);
        target.swim = Swim::new(boot, config, now).unwrap();
        target
    };
    let cases = [
        (foreign(&open, &[], label.clone()), &packets),
        (foreign(&open, &[key(1)], config()), &packets),
        (foreign(&sealed, &[], config()), &sealed_packets),
        (foreign(&sealed, &[key(2)], config()), &sealed_packets),
        (foreign(&sealed, &[key(1)], label), &sealed_packets),
        (Target::new(&sealed), &packets),
        (Target::new(&open), &sealed_packets),
    ];
    for (mut target, packets) in cases {
        let before = all_of(&target.swim);
        packets.iter().for_each(|packet| target.expect_refusal(packet.stream, &packet.bytes));
        assert_eq!(all_of(&target.swim), before);
    }
    // And who knows the key's name, but not the key, changes what was sealed.
    let mut target = Target::new(&sealed);
    let before = all_of(&target.swim);
    for packet in sealed_packets.iter().step_by(sealed_packets.len() / 40) {
        damage(&mut target, packet, |place| vec![1 << (place % 8)]);
    }
    assert_eq!(all_of(&target.swim), before);
    assert!(sealed_packets.iter().all(|it| Target::new(&sealed).hand(it.stream, &it.bytes)));
}

// A sender whose memory rots sends packets that are sound up to somewhere. What is read of one
// before that must not count, nor may its sender count as heard.
#[test]
fn message_that_is_wrong_at_its_end_changes_nothing() {
    let (lab, _) = capture(1, &[Key::new([1; 32])]);
    let (open, _) = capture(1, &[]);
    let envelope = |key| Envelope { label: "", key };
    let body = |kind: u8, rest: &[u8]| [&2_u64.to_le_bytes()[..], &[kind], rest].concat();
    let (want, give, keys) = (15, 16, 17);
    for (lab, envelope) in [(lab, envelope(Some([1; 32]))), (open, envelope(None))] {
        let mut target = Target::new(&lab);
        let before = all_of(&target.swim);
        for kind in [want, give, keys] {
            // No number of a version in it, and no ring of keys: nobody's primary.
            for rest in [&[3; 12][..], &[0; 5], &[0; 10]] {
                target.expect_refusal(true, &envelope.close(&body(kind, rest)));
            }
        }
        assert_eq!(all_of(&target.swim), before);
        assert!(target.hand(true, &envelope.close(&body(give, &[]))), "it is not the sender");
    }
}

/// How many rounds each seed makes of a hundred thousand packets: ten seeds make ten million, and
/// the thousand of `SLOW=1` a hundred million.
fn rounds() -> u64 {
    if std::env::var_os("SLOW").is_some() { 1 } else { 10 }
}

// Whatever reaches a port on a network is handed in: scans, other protocols, noise.
#[test]
fn noise_changes_nothing() {
    let (lab, packets) = capture(1, &[]);
    let packets = some_of_each(&packets, 20);
    seeds("noise", 10).run(|seed| {
        let mut rng = seed.rng("noise");
        let mut target = Target::new(&lab);
        let before = all_of(&target.swim);
        for _ in 0..rounds() * 75_000 {
            let mut bytes: Vec<u8> = match rng.below(4) {
                0 => (0..1 + rng.below(100)).map(|_| rng.draw() as u8).collect(),
                _ => rng.pick(&packets).bytes.to_vec(),
            };
            // The first byte looks right in any case, and another is not what it was.
            let place = rng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 + rng.below(255) as u8;
            bytes[0] = if place == 0 { bytes[0] } else { 0x10 };
            target.expect_refusal(rng.below(2) == 0, &bytes);
        }
        assert_eq!(all_of(&target.swim), before);
    });
}

/// Changes a body as somebody would who knows how packets are made.
fn mutate(body: &mut Vec<u8>, others: &[Packet], rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let place = rng.below(body.len() as u64) as usize;
        match rng.below(8) {
            0 => body[place] = rng.draw() as u8,
            1 => body[place] ^= 1 << rng.below(8),
            2 => body[place] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 if place > 8 => body.truncate(place),
            4 => {
                // The rest of another packet.
                let other = &rng.pick(others).bytes;
                let from = OPEN_BYTES + rng.below((other.len() - OPEN_BYTES) as u64) as usize;
                body.truncate(place.max(9));
                body.extend_from_slice(&other[from..]);
            }
            5 => {
                // From somebody else, of whom there are a few thousand.
                let sender = rng.below(4096);
                body[..8].copy_from_slice(&sender.to_le_bytes());
            }
            6 => {
                // About somebody else: a word's id stands at the place.
                let end = (place + 8).min(body.len());
                let id = rng.below(1 << 20).to_le_bytes();
                body[place..end].copy_from_slice(&id[..end - place]);
            }
            _ => body[8.min(place)] = 1 + rng.below(18) as u8,
        }
    }
}

// Whoever is in the cluster, or in one without keys at the same switch, can say whatever it likes
// in packets that are sound. It may be believed, and must not bring anybody down: no panic, no
// invariant broken, no memory without end.
#[test]
fn sound_packets_of_an_enemy_break_nothing() {
    let (lab, packets) = capture(1, &[]);
    let packets = some_of_each(&packets, 40);
    seeds("sound_packets_of_an_enemy", 10).run(|seed| {
        let mut rng = seed.rng("enemy");
        let mut target = Target::new(&lab);
        let (mut believed, mut memory_max, mut waiting_max) = (0_u64, 0, 0);
        for count in 0..rounds() * 25_000 {
            let packet = rng.pick(&packets);
            let mut body = packet.bytes[OPEN_BYTES..].to_vec();
            mutate(&mut body, &packets, &mut rng);
            believed += u64::from(target.hand(packet.stream, &forge::close("", &body)));
            target.out.clear();
            if count % 16 == 0 {
                // Whatever is due is done.
                target.now += Duration::from_millis(rng.below(20));
                target.swim.handle(target.now, Input::Tick, &mut target.out).unwrap();
                target.out.clear();
            }
            if count % 256 == 0 {
                target.swim.check();
                memory_max = memory_max.max(target.swim.memory());
                waiting_max = waiting_max.max(target.swim.waiting());
            }
        }
        target.swim.check();
        assert!(believed > target.packets / 10, "{believed} of {}", target.packets);
        assert!(target.swim.members_count() <= MEMBERS_MAX);
        // Members, twice as many who are gone and some, each with what few have.
        assert!(memory_max <= 256 * (3 * MEMBERS_MAX + 256), "{memory_max} bytes");
        assert!(waiting_max <= 2 * MEMBERS_MAX, "{waiting_max} news");
    });
}

/// What a member believes, of itself too.
fn view(lab: &Lab, node: NodeId) -> String {
    let swim = lab.swim(node);
    let mut known: Vec<Id> = swim.snapshot().peers.iter().map(|(id, _)| *id).collect();
    known.sort_unstable();
    let known: Vec<_> = known.into_iter().map(|id| swim.of(id)).collect();
    let metadata = |id: Id| swim.metadata_all(id).collect::<Vec<_>>();
    let metadata: Vec<_> = lab.up().into_iter().map(|node| metadata(id(node))).collect();
    format!("{} {} {known:?} {metadata:?}", swim.is_member(), swim.incarnation())
}

/// An hour of work: members crash and are back, leave, have one name, say things.
fn hour(seed: Seed) -> (Lab, Vec<(NodeId, Packet)>) {
    let home = |boot| Home { taped: true, ..Home::new(boot, &Config::lan()) };
    let mut rng = seed.rng("hour");
    let mut lab = Lab::warm_as(seed, 12, home);
    let mut tape = Vec::new();
    let web = |lab: &mut Lab| {
        let node = lab.next();
        lab.add(home(Boot::new(Node::named("web", address_of(node).into()), node.0, 0)));
        lab.join(node, &[NodeId(1)]);
        node
    };
    let first = web(&mut lab);
    for minute in 0..60_u32 {
        let node = NodeId(1 + rng.below(12) as u32);
        let payload = minute.to_le_bytes();
        lab.give(node, Input::Broadcast { topic: "minute", payload: &payload }).unwrap();
        let value = Some(Bytes::from(vec![minute as u8; 1 + rng.below(600) as usize]));
        lab.give(node, Input::Set { key: "minute", value }).unwrap();
        if minute % 5 == 0 {
            let leaves = minute % 10 == 0;
            if leaves {
                lab.give(node, Input::Leave).unwrap();
            }
            lab.run_for(if leaves { 5 } else { 0 } * SECOND);
            tape.append(&mut lab.take_tape(node));
            lab.world.crash(node);
            lab.run_for(30 * SECOND);
            let seed = NodeId(if node.0 == 1 { 2 } else { 1 });
            lab.restart(node, minute + 1, &[seed]);
        }
        if minute == 20 {
            web(&mut lab);
        }
        if minute == 30 {
            tape.append(&mut lab.take_tape(first));
            lab.world.crash(first);
        }
        lab.run_for(60 * SECOND);
        for node in lab.up() {
            tape.append(&mut lab.take_tape(node));
        }
    }
    (lab, tape)
}

// Whoever records what goes over a network has packets that are sound, sealed or not. An hour
// later all that they say is known to be old.
#[test]
fn recording_of_an_hour_that_is_replayed_changes_nothing() {
    seeds("recording_of_an_hour", 2).run(|seed| {
        let (mut lab, tape) = hour(seed);
        assert!(lab.is_whole() && tape.len() > 50_000, "{} packets", tape.len());
        lab.run_for(3600 * SECOND);
        lab.forget_events();
        let before: Vec<String> = lab.up().into_iter().map(|node| view(&lab, node)).collect();
        for (place, (to, packet)) in tape.iter().enumerate() {
            if !lab.world.is_up(*to) {
                continue;
            }
            let (from, bytes) = (([192, 168, 0, 9], 7946).into(), &packet.bytes[..]);
            // That a packet is refused is as good as that nothing comes of it.
            let _ = match packet.stream {
                true => lab.give(*to, Input::Stream { bytes }),
                false => lab.give(*to, Input::Datagram { from, bytes }),
            };
            if place % 64 == 0 {
                lab.run_for(SECOND / 4);
            }
            let event = lab.events(*to).next();
            assert_eq!(event, None, "{to}, by packet {place} {packet:02x?}");
        }
        lab.run_for(120 * SECOND);
        for (node, before) in lab.up().into_iter().zip(before) {
            assert_eq!(lab.events(node).next(), None, "{node}");
            assert_eq!(view(&lab, node), before, "{node}");
        }
        assert!(lab.is_whole());
    });
}
