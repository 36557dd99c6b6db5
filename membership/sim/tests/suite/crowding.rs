//! More to say than a packet holds (scenario 12).

use std::time::Duration;

use bytes::Bytes;
use drystone_membership::{Boot, Config, Effect, Input, Key, NodeId as Id, Swim};
use drystone_sim::NodeId;

use crate::forge::{Says, gossip, word};
use crate::lab::whole;

/// What payloads of broadcasts are made of, and nothing else.
const MARK: u8 = 0xb7;
/// What stands before the payload of a broadcast with an empty topic and a number of two bytes.
const FRAME_BYTES: usize = 8 + 4 + 2 + 1 + 2;

/// How a member is crowded.
#[derive(Clone, Copy)]
struct Crowd {
    mtu: usize,
    keys: bool,
    /// Bytes of each broadcast; none is the most that is allowed.
    payload: Option<usize>,
    metadata: bool,
}

/// Tells a member of a thousand others, which is news to it.
fn hear_of_a_thousand(swim: &mut Swim, now: Duration) {
    for first in (2..=1001).step_by(100) {
        let word = |number| {
            let addr = format!("192.168.{}.{}:7946", number / 250, number % 250 + 1);
            word(Says::Alive, Id(number), 0, Some(addr.parse().unwrap()), Id(0))
        };
        let words: Vec<Vec<u8>> = (first..first + 100).map(word).collect();
        let (from, bytes) = ("192.168.0.3:7946".parse().unwrap(), &gossip(Id(2), &words));
        swim.handle(now, Input::Datagram { from, bytes }, &mut Vec::new()).unwrap();
    }
}

/// Datagrams of a member that has heard of a thousand others at once, and has broadcasts and
/// perhaps metadata to tell whenever it sends.
fn crowded(crowd: Crowd) -> Vec<Vec<u8>> {
    let config = Config { mtu: crowd.mtu, ..Config::lan() };
    let boot = Boot::new(whole(NodeId(1)), 0, 7);
    let mut now = Duration::from_secs(1);
    let mut swim = Swim::new(boot.clone(), config.clone(), now).unwrap();
    if crowd.keys {
        // What it hears cannot be written by hand then; that it knows all is enough.
        let keys = vec![Key::new([1; 32])];
        swim = Swim::new(Boot { keys, ..boot }, config, now).unwrap();
        swim.assume((2..=1001).map(|node| (whole(NodeId(node)), 0)));
    }
    let mut out = Vec::new();
    if !crowd.keys {
        hear_of_a_thousand(&mut swim, now);
    }
    assert_eq!(swim.members_count(), 1001);
    assert!(crowd.keys || swim.waiting() >= 1000);
    let payload = vec![MARK; crowd.payload.unwrap_or(swim.broadcast_bytes_max())];
    let mut datagrams = Vec::new();
    for round in 0..200_u32 {
        // Broadcasts always wait, and so that all their numbers have two bytes, many did before.
        for _ in 0..if round == 0 { 256 } else { 32 } {
            swim.handle(now, Input::Broadcast { topic: "", payload: &payload }, &mut out).unwrap();
        }
        for number in 0..if crowd.metadata { 16 } else { 0 } {
            let value = Some(Bytes::from(vec![round as u8; 100]));
            let key = format!("key {number}");
            swim.handle(now, Input::Set { key: &key, value }, &mut out).unwrap();
        }
        out.clear();
        now = now.max(swim.deadline().unwrap());
        swim.handle(now, Input::Tick, &mut out).unwrap();
        swim.check();
        datagrams.extend(out.drain(..).filter_map(|effect| match effect {
            Effect::Datagram { bytes, .. } => Some(bytes),
            _ => None,
        }));
        if swim.waiting() < 1000 && !crowd.keys {
            break;
        }
    }
    assert!(datagrams.len() >= 3, "{} datagrams", datagrams.len());
    datagrams
}

/// What broadcasts take of a datagram.
fn share(datagram: &[u8], mtu: usize, payload: usize) -> f64 {
    let mut count = 0;
    let mut rest = datagram;
    let marks = vec![MARK; payload];
    while let Some(place) = rest.windows(payload).position(|window| *window == marks[..]) {
        count += 1;
        rest = &rest[place + payload..];
    }
    (count * (payload + FRAME_BYTES)) as f64 / mtu as f64
}

// In a cluster that starts there are a thousand joins to tell, and they must not keep out what
// users say: memberlist delivers no broadcasts for as long as its queue of states is full. Nor may
// one datagram be larger than it should, as that one is lost each time.
#[test]
fn broadcasts_get_a_quarter_of_packets_while_a_thousand_words_wait() {
    let sizes: [(usize, &[usize]); 3] =
        [(508, &[20, 40, 47]), (1400, &[20, 40, 100, 180, 250, 270]), (9000, &[100, 1000, 2000])];
    for (mtu, payloads) in sizes {
        for payload in payloads.iter().copied() {
            let crowd = Crowd { mtu, keys: false, payload: Some(payload), metadata: false };
            for datagram in crowded(crowd) {
                assert!(datagram.len() <= mtu);
                let share = share(&datagram, mtu, payload);
                assert!(share >= 0.25, "{share} of {mtu} for broadcasts of {payload}");
            }
        }
    }
}

// With metadata waiting as well each lane wants all that it can get.
#[test]
fn broadcasts_get_a_quarter_of_packets_while_all_lanes_wait() {
    for payload in [40, 100, 180, 250, 270] {
        let crowd = Crowd { mtu: 1400, keys: false, payload: Some(payload), metadata: true };
        for datagram in crowded(crowd) {
            let share = share(&datagram, 1400, payload);
            assert!(share >= 0.25, "{share} for broadcasts of {payload}");
        }
    }
}

/// How often a member in a cluster of a thousand tells a broadcast, if the others are news.
fn tellings(news: bool) -> usize {
    let mut now = Duration::from_secs(1);
    let mut swim = Swim::new(Boot::new(whole(NodeId(1)), 0, 7), Config::lan(), now).unwrap();
    if news {
        hear_of_a_thousand(&mut swim, now);
    } else {
        swim.assume((2..=1001).map(|node| (whole(NodeId(node)), 0)));
    }
    let (payload, mut out) = ([MARK; 20], Vec::new());
    swim.handle(now, Input::Broadcast { topic: "", payload: &payload }, &mut out).unwrap();
    while now < Duration::from_secs(10) {
        now = now.max(swim.deadline().unwrap());
        swim.handle(now, Input::Tick, &mut out).unwrap();
    }
    let tells = |effect: &&Effect| match effect {
        Effect::Datagram { bytes, .. } => bytes.windows(20).any(|window| window == payload),
        _ => false,
    };
    out.iter().filter(tells).count()
}

// Words have a second way, the comparison of what two members know, and are told less often where
// they are many. Broadcasts have none: given up with the words, one of them did not reach all of a
// cluster that loses packets.
#[test]
fn broadcast_is_told_as_often_among_a_thousand_words_as_alone() {
    let often = 1001_usize.next_power_of_two().ilog2() as usize + 18;
    assert_eq!((tellings(false), tellings(true)), (often, often));
}

// Keys make packets longer, and the largest broadcast is the one that only just fits.
#[test]
fn no_datagram_is_longer_than_allowed_whatever_waits() {
    for mtu in [508, 509, 1280, 1400, 65_507] {
        for keys in [false, true] {
            for (payload, metadata) in [(None, true), (None, false), (Some(1), true)] {
                let datagrams = crowded(Crowd { mtu, keys, payload, metadata });
                let most = datagrams.iter().map(Vec::len).max().unwrap();
                assert!(most <= mtu, "{most} of {mtu}");
                // A section has 127 entries at most, so the longest are not filled.
                assert!(
                    mtu > 9000 || most > mtu / 2,
                    "there was enough to fill them: {most} of {mtu}"
                );
            }
        }
    }
}

// News may come faster than packets carry them away, for as long as somebody likes. What waits is
// one word about each member and what broadcasts are allowed, however often all of it is replaced.
#[test]
fn news_that_are_replaced_before_they_are_told_do_not_pile_up() {
    const MEMBERS: u32 = 100;
    let now = Duration::from_secs(1);
    let mut swim = Swim::new(Boot::new(whole(NodeId(1)), 0, 7), Config::lan(), now).unwrap();
    swim.assume((2..2 + MEMBERS).map(|node| (whole(NodeId(node)), 0)));
    let mut out = Vec::new();
    for count in 1..100 {
        let word = |number| {
            let node = whole(NodeId(number));
            word(Says::Alive, node.id, count, Some(node.addr), Id(0))
        };
        let words: Vec<Vec<u8>> = (2..2 + MEMBERS).map(word).collect();
        let (from, bytes) = (whole(NodeId(2)).addr, &gossip(whole(NodeId(2)).id, &words));
        swim.handle(now, Input::Datagram { from, bytes }, &mut out).unwrap();
    }
    let waiting = swim.waiting();
    assert!((100..=328).contains(&waiting), "{waiting} words about {MEMBERS} members");
    for _ in 0..20_000 {
        swim.handle(now, Input::Broadcast { topic: "", payload: &[] }, &mut out).unwrap();
    }
    let (waiting, parcels) = (swim.waiting() - waiting, Config::lan().broadcast_bytes_max / 15);
    assert!(waiting <= 2 * parcels + 128, "{waiting} places for {parcels} broadcasts at most");
}
