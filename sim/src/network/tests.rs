//! The network against what its links promise.

use super::*;
use crate::rate::Rate;
use crate::shape::Shape;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const COUNT: u64 = 20_000;

fn network(link: Link) -> Network<u64> {
    let mut network = Network::new(2, Rng::new(7));
    network.set_all(link);
    network
}

/// Sends `COUNT` numbered messages, one a tick, and returns (sent at, arrived at) of each arrival.
fn arrivals(network: &mut Network<u64>) -> Vec<(u64, u64)> {
    for now in 0..COUNT {
        network.send(now, A, B, now);
    }
    let mut all = Vec::new();
    while let Some(next) = network.arrive() {
        let (at, envelope) = next.expect("no link is cut");
        all.push((envelope.message, at));
    }
    all
}

// A protocol over TCP may rely on order; the simulator must not break what TCP keeps.
#[test]
fn a_stream_keeps_order_and_loses_nothing() {
    let mut network = network(Link { late: Rate::percent(5), ..Link::stream(3..20) });
    let all = arrivals(&mut network);
    assert!(all.iter().map(|(sent, _)| *sent).eq(0..COUNT));
    assert!(all.iter().all(|(sent, at)| *at >= sent + 3));
}

// Each share is what a test believes that it tests.
#[test]
fn links_do_what_they_say_as_often_as_they_say() {
    let mut network = network(Link {
        loss: Rate::percent(10),
        duplicate: Rate::percent(5),
        late: Rate::percent(1),
        late_by: 1000..1001,
        ..Link::datagrams(1..11)
    });
    let all = arrivals(&mut network);
    let traffic = network.traffic();
    assert_eq!(traffic.sent, COUNT);
    assert_eq!(traffic.delivered, all.len() as u64);
    assert_eq!(traffic.delivered + traffic.lost, traffic.sent + traffic.duplicated);
    assert!((1_800..2_200).contains(&traffic.lost), "{traffic:?}");
    assert!((800..1_000).contains(&traffic.duplicated), "{traffic:?}");
    let late = all.iter().filter(|(sent, at)| at - sent > 1000).count();
    assert!((130..260).contains(&late), "{late}");
    let overtaken = all.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!(overtaken > 2_000, "{overtaken}");
    assert!(all.iter().all(|(sent, at)| (1..11).contains(&((at - sent) % 1000))));
}

// Without this a one-way partition would be a whole one.
#[test]
fn a_cut_is_one_way_and_takes_what_arrives_during_it() {
    let mut network = network(Link::stream(10..11));
    assert_eq!(network.send(0, A, B, 1), Fate::Sent);
    network.cut(A, B);
    assert_eq!(network.send(0, A, B, 2), Fate::Cut);
    assert_eq!(network.send(0, B, A, 3), Fate::Sent);
    assert_eq!(network.arrive(), Some(Err(10)));
    let (at, envelope) = network.arrive().unwrap().unwrap();
    assert_eq!((at, envelope.message), (10, 3));

    // What was under way before a cut and arrives after it gets through.
    network.mend(A, B);
    network.send(20, A, B, 4);
    network.cut(A, B);
    network.heal();
    assert_eq!(network.arrive().unwrap().unwrap().1.message, 4);
    assert_eq!(network.traffic().cut, 2);
}

// A message to a node that left, or never was, is the network's daily bread.
#[test]
fn a_message_to_nobody_is_cut_and_one_to_oneself_arrives() {
    let mut network = network(Link { loss: Rate::ALWAYS, ..Link::default() });
    assert_eq!(network.send(0, A, NodeId(0), 1), Fate::Cut);
    assert_eq!(network.send(0, A, NodeId(3), 1), Fate::Cut);
    assert_eq!(network.send(5, A, A, 1), Fate::Sent);
    assert_eq!(network.next_at(), Some(5));
    assert_eq!(network.arrive().unwrap().unwrap().1.to, A);
}

// A cluster grows while its links are what a test has made of them.
#[test]
fn a_new_node_leaves_the_links_of_the_others_as_they_were() {
    let mut network = network(Link::stream(2..3));
    network.cut(B, A);
    network.set_link(A, B, Link::stream(7..8));
    let c = network.add(1).next().unwrap();
    assert_eq!(c, NodeId(3));
    assert!(network.is_cut(B, A) && !network.is_cut(A, B));
    assert_eq!(network.link(A, B).delay, 7..8);
    assert_eq!(network.link(A, c).delay, 2..3);
    assert!(!network.is_cut(B, c) && !network.is_cut(c, A));
}

// A scenario needs this message late and that one lost, whatever the seed says.
#[test]
fn messages_are_withdrawn_and_posted_by_hand() {
    let mut network = network(Link::stream(10..11));
    for message in 0..6 {
        network.send(message, A, B, message);
    }
    let odd = network.withdraw(|envelope| envelope.message % 2 == 1);
    assert!(odd.iter().map(|envelope| envelope.message).eq([1, 3, 5]));
    network.post(100, odd[0].clone());
    let arrived = std::iter::from_fn(|| network.arrive()).map(|next| {
        let (at, envelope) = next.unwrap();
        (at, envelope.message)
    });
    assert!(arrived.eq([(10, 0), (12, 2), (14, 4), (100, 1)]));
    let traffic = network.traffic();
    let arrivals = traffic.delivered + traffic.lost + traffic.cut;
    assert_eq!(traffic.sent + traffic.duplicated, arrivals);
}

// A table of all links of ten thousand nodes would take gigabytes, and a test of them hours.
#[test]
fn ten_thousand_nodes_are_parted_and_joined_in_no_time() {
    let mut network = Network::<u64>::new(0, Rng::new(7));
    let ids: Vec<NodeId> = (0..10_000).flat_map(|_| network.add(1)).collect();
    let (left, right) = ids.split_at(5_000);
    network.set_all(Link::stream(5..6));
    for round in 0..20_u32 {
        network.partition(&Shape::Groups(vec![left.to_vec(), right.to_vec()]));
        assert!(network.is_cut(left[0], right[0]) && !network.is_cut(left[0], left[4_999]));
        network.mend_among(&[left[7], right[7]]);
        assert!(!network.is_cut(right[7], left[7]) && network.is_cut(left[7], right[8]));
        network.worsen(left, Link { loss: Rate::ALWAYS, ..Link::default() });
        assert_eq!(network.send(0, left[0], left[1], 1), Fate::Sent);
        network.heal();
        assert_eq!(network.send(0, left[0], right[1], 1), Fate::Lost);
        network.restore(&[]);
        assert_eq!(network.send(0, left[0], right[1], 1), Fate::Sent);
        network.partition(&Shape::Mute(ids[round as usize]));
    }
}

// Single links, a spell of bad ones and those that it spares must each be what was said last.
#[test]
fn a_spell_of_bad_links_spares_whom_it_must_and_ends() {
    let mut network = Network::<u64>::new(4, Rng::new(7));
    let [a, b, c, d] = [1, 2, 3, 4].map(NodeId);
    let bad = Link::hostile(1..5);
    network.set_link(a, c, Link::stream(7..8));
    network.worsen(&[a, b], bad.clone());
    assert_eq!(network.link(a, b), network.usual());
    assert_eq!((network.link(a, c), network.link(d, b)), (&bad, &bad));
    let new = network.add(1).next().unwrap();
    assert_eq!(network.link(c, new), network.usual());
    network.set_link(c, d, Link::default());
    assert_eq!((network.link(c, d), network.link(d, c)), (&Link::default(), &bad));
    network.restore_among(&[c, d, a]);
    assert_eq!((network.link(d, c), network.link(b, c)), (network.usual(), &bad));
    network.restore(&[]);
    for from in network.ids() {
        assert!(network.ids().all(|to| network.link(from, to) == network.usual()));
    }
}

// What is TCP to the protocol must be TCP to its test: late, but whole and in order.
#[test]
fn a_stream_on_a_bad_link_is_late_whole_and_in_order() {
    let mut network = network(Link { loss: Rate::percent(20), ..Link::hostile(3..11) });
    for now in 0..COUNT {
        assert_eq!(network.stream(now, A, B, now), Fate::Sent);
    }
    let arrived = std::iter::from_fn(|| network.arrive()).map(|next| next.unwrap().1.message);
    assert!(arrived.eq(0..COUNT));
    assert_eq!(network.traffic().sent, network.traffic().delivered);

    // A loss is a wait of the named length, and the next one twice as long.
    network.set_all(Link { loss: Rate::percent(50), ..Link::stream(5..6) });
    let late: Vec<u64> = (1..100)
        .filter_map(|round| {
            let now = round * 1_000_000;
            let sent = network.stream(now, A, B, 0) == Fate::Sent;
            sent.then(|| network.arrive().unwrap().unwrap().0 - now)
        })
        .collect();
    assert!(late.iter().all(|late| late % 10 == 5), "{late:?}");
    assert!(late.contains(&5) && late.contains(&15) && late.contains(&35), "{late:?}");
}

// A connection that nothing gets through breaks; it does not wait for ever.
#[test]
fn a_stream_breaks_on_a_dead_link_and_is_lost_to_a_cut() {
    let mut network = network(Link { loss: Rate::ALWAYS, ..Link::default() });
    assert_eq!(network.stream(0, A, B, 1), Fate::Lost);
    assert_eq!(network.stream(0, A, A, 1), Fate::Sent);
    assert_eq!(network.arrive().unwrap().unwrap().0, 0);
    network.set_all(Link::stream(10..11));
    assert_eq!(network.stream(0, A, B, 2), Fate::Sent);
    network.cut(A, B);
    assert_eq!(network.stream(0, A, B, 3), Fate::Cut);
    assert_eq!(network.arrive(), Some(Err(10)));
    network.check();
}

// A test that streams one message more must not meet another run of all datagrams.
#[test]
fn streams_leave_the_luck_of_datagrams_alone() {
    let run = |streams: bool| {
        let mut network = network(Link::hostile(1..50));
        let fates: Vec<Fate> = (0..1000)
            .map(|now| {
                if streams {
                    network.stream(now, A, B, COUNT);
                }
                network.send(now, A, B, now)
            })
            .collect();
        let all = std::iter::from_fn(|| network.arrive()).map(Result::unwrap);
        let datagrams = all.filter(|(_, envelope)| envelope.message != COUNT);
        (fates, datagrams.collect::<Vec<_>>())
    };
    assert_eq!(run(true), run(false));
}
