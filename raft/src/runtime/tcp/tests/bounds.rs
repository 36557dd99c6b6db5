//! Bounds on memory and connections, while somebody leans against them.

use super::*;
use crate::runtime::tcp::outbox::{Outbox, Parcel};

/// The queue's bound must hold whatever is put in, and the newest must be what is left.
#[test]
fn an_outbox_drops_the_oldest_and_counts_them() {
    let outbox = Outbox::new(10_000);
    let parcel = |round| Parcel::new(GroupId(1), vec![heartbeat(1, 2, round); 2]);
    let dropped: usize = (0..1_000).map(|round| outbox.put([parcel(round)].into_iter())).sum();
    outbox.check();
    let mut left = Vec::new();
    outbox.take(usize::MAX, &mut left);
    outbox.check();
    let rounds: Vec<u64> = left.iter().map(|parcel| round(&parcel.messages[0])).collect();
    assert_eq!(dropped + 2 * rounds.len(), 2_000);
    assert!(rounds.len() > 30, "the bound is made use of");
    assert_eq!(rounds, (1_000 - rounds.len() as u64..1_000).collect::<Vec<_>>());
    // One that is larger than the bound alone still goes.
    let large = append(1, 2, 1, Bytes::from(vec![0; 20_000]));
    outbox.put([parcel(1), Parcel::new(GroupId(1), vec![large])].into_iter());
    outbox.check();
}

/// A peer that stops reading costs a bounded queue; when it reads again, it hears the latest.
#[test]
fn a_peer_that_stops_reading_costs_a_bounded_queue() {
    in_time(async {
        let slow = Limits {
            outbound_bytes_max: 1 << 20,
            frame_bytes_max: 1 << 20,
            inbound_bytes_max: 2 << 20,
            silence: DEADLINE,
            ..limits()
        };
        let one = Seat::new(config(1).limits(slow.clone())).await;
        let mut two = Seat::new(config(2).limits(slow)).await;
        one.learn(2, &two);
        one.reach(2, &mut two).await;
        // 128 MiB, far more than sockets hold, to a node that takes nothing.
        let payload = Bytes::from(vec![5; 64 << 10]);
        let peer = std::sync::Arc::clone(&one.tcp.shared.peers.read()[&2]);
        for number in 1..=2_048 {
            one.tcp.send(2, GroupId(1), vec![append(1, 2, number, payload.clone())]);
            peer.outbox.check();
            if number % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let metrics = one.tcp.metrics();
        assert!(metrics.dropped_full > 1_000, "most had to give way: {metrics:?}");
        assert!(two.inbound.len() <= 2, "what is not taken is bounded");
        let heard = two.rounds(2_048).await;
        assert!(heard.is_sorted(), "in order, with gaps");
        assert_eq!(heard.len() as u64 + one.tcp.metrics().dropped_full, 2_048);
    });
}

/// One message that no frame can take is left out, and the others are not.
#[test]
fn a_message_larger_than_a_frame_is_dropped_alone() {
    in_time(async {
        let small = Limits { frame_bytes_max: 10_000, ..limits() };
        let one = Seat::new(config(1).limits(small)).await;
        let mut two = Seat::new(config(2)).await;
        one.learn(2, &two);
        one.reach(2, &mut two).await;
        let large = append(1, 2, 2, Bytes::from(vec![1; 10_000]));
        one.tcp.send(2, GroupId(1), vec![heartbeat(1, 2, 1), large, heartbeat(1, 2, 3)]);
        let rounds = two.rounds(3).await;
        assert!(rounds.ends_with(&[1, 3]), "{rounds:?}");
        assert_eq!(one.tcp.metrics().dropped_large, 1);
    });
}

/// Those who say nothing push out each other, not peers, nor those who come as peers.
#[test]
fn a_flood_of_connections_leaves_peers_alone() {
    in_time(async {
        let few = Limits { handshakes_max: 8, ..limits() };
        let one = Seat::new(config(1)).await;
        let mut two = Seat::new(config(2).limits(few)).await;
        one.learn(2, &two);
        one.reach(2, &mut two).await;
        let address = two.address();
        let flood = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                if let Ok(socket) = TcpStream::connect(&address).await {
                    open.push(socket);
                }
                open.drain(..open.len().saturating_sub(300));
            }
        });
        eventually("a flood", || two.refused(RefusalKind::Full) > 1_000).await;
        for number in 1..=200 {
            one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, number)]);
            two.rounds(number).await;
        }
        assert!(two.tcp.shared.gate.lock().counts().0 <= 8, "those who wait are few");
        assert_eq!(one.tcp.metrics().dialled, 1, "the peer's connection stays");
        // A node that comes now finds a way in, in one of its attempts.
        let three = Seat::new(config(3)).await;
        three.learn(2, &two);
        three.reach(2, &mut two).await;
        flood.abort();
    });
}

/// Names are cheap: those who are not known as peers share a small room.
#[test]
fn strangers_share_a_small_room() {
    in_time(async {
        let few = Limits { strangers_max: 2, ..limits() };
        let mut two = Seat::new(config(2).limits(few)).await;
        let known = Seat::new(config(1)).await;
        two.learn(1, &known);
        let mut strangers = Vec::new();
        for id in 10..12 {
            let stranger = Seat::new(config(id)).await;
            stranger.learn(2, &two);
            stranger.reach(2, &mut two).await;
            strangers.push(stranger);
        }
        let late = Seat::new(config(12)).await;
        late.learn(2, &two);
        eventually("no room", || late.refused(RefusalKind::There) > 0).await;
        assert!(two.refused(RefusalKind::Full) > 0);
        known.learn(2, &two);
        known.reach(2, &mut two).await;
        strangers.pop();
        late.reach(2, &mut two).await;
    });
}
