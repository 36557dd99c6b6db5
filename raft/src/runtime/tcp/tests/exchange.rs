//! Peers that mean well.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What a node says to many groups is what the other hears, in order, and both at once.
#[test]
fn messages_to_many_groups_arrive_in_order_both_ways() {
    in_time(async {
        let (mut one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        two.reach(1, &mut one).await;
        for number in 1..=1_000 {
            let mail =
                (0..10).map(|group| (GroupId(group), vec![heartbeat(1, 2, number)])).collect();
            one.tcp.send_many(2, mail);
            two.tcp.send(1, GroupId(number), vec![append(2, 1, number, Bytes::from(vec![7; 300]))]);
        }
        let back = one.rounds(1_000).await;
        assert!(back.ends_with(&(1..=1_000).collect::<Vec<_>>()), "one by one, in order");
        let mut last = [0; 10];
        while last.iter().any(|round| *round < 1_000) {
            let (from, mail) = two.next().await;
            assert_eq!(from, 1);
            for (group, messages) in mail {
                for message in messages.iter().filter(|message| round(message) > 0) {
                    let last = &mut last[group.0 as usize];
                    assert_eq!(round(message), *last + 1, "group {group} hears all, in order");
                    *last += 1;
                }
            }
        }
        // What was written may be over there before it is counted here.
        eventually("counted", || one.tcp.metrics().messages_sent >= 10_000).await;
        let sent = one.tcp.metrics();
        assert!(sent.frames_sent * 5 <= sent.messages_sent, "many share a frame: {sent:?}");
    });
}

/// A node that was restarted is found again by itself, and its fall was told.
#[test]
fn a_peer_that_restarts_is_reached_again() {
    in_time(async {
        let (mut one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        let address = two.address();
        drop(two);
        assert_eq!(one.down().await, 2);
        // Nobody listens: what is sent meanwhile is lost, and not held for later.
        for round in 1..100 {
            one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, round)]);
        }
        eventually("lost", || one.tcp.metrics().dropped_unreachable >= 90).await;
        let mut two = Seat::at(&address, config(2)).await;
        two.learn(1, &one);
        one.reach(2, &mut two).await;
        two.reach(1, &mut one).await;
    });
}

/// A peer that moved is looked for where it is now, and one that is forgotten, nowhere.
#[test]
fn peers_move_and_are_forgotten() {
    in_time(async {
        let (one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        let mut moved = Seat::new(config(2)).await;
        one.learn(2, &moved);
        one.reach(2, &mut moved).await;
        one.tcp.peer(2, None);
        let lost = one.tcp.metrics().dropped_unreachable;
        one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, 1)]);
        assert_eq!(one.tcp.metrics().dropped_unreachable, lost + 1);
    });
}

/// A peer with several addresses is reached at whichever answers, and when that one does not any
/// more, at another.
#[test]
fn a_peer_is_reached_at_any_of_its_addresses() {
    in_time(async {
        let one = Seat::new(config(1)).await;
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nowhere = dead.local_addr().unwrap().to_string();
        drop(dead);
        let (mut here, spare) = (Seat::new(config(2)).await, Seat::new(config(2)).await);
        let there = spare.address();
        drop(spare);
        one.tcp.peer(2, [nowhere, here.address(), there.clone()]);
        one.reach(2, &mut here).await;
        drop(here);
        let mut there = Seat::at(&there, config(2)).await;
        one.reach(2, &mut there).await;
    });
}

/// Idle connections stay, by pings alone.
#[test]
fn an_idle_connection_is_kept_alive() {
    in_time(async {
        let (one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        let frames = one.tcp.metrics().frames_sent;
        let dialled = one.tcp.metrics().dialled;
        let until = Instant::now() + 3 * limits().silence;
        eventually("the time of three silences", || Instant::now() >= until).await;
        let metrics = one.tcp.metrics();
        assert_eq!((metrics.frames_sent, metrics.dialled), (frames, dialled), "nothing but pings");
        assert_eq!(one.refused(RefusalKind::Silent) + two.refused(RefusalKind::Silent), 0);
    });
}

/// A node may share its port with others: who listens there looks at the first bytes, and hands
/// over what is for it, whole.
#[test]
fn a_port_may_be_shared() {
    in_time(async {
        let one = Seat::new(config(1)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tcp, inbound) = Tcp::behind(listener.local_addr().unwrap(), config(2));
        let mut two = Seat { tcp: tcp.clone(), inbound };
        let others = tokio::spawn(async move {
            loop {
                let (mut socket, address) = listener.accept().await.unwrap();
                let mut first = [0; 8];
                while socket.peek(&mut first).await.unwrap() < first.len() {}
                if first == Tcp::GREETING {
                    tcp.take(socket, address);
                    continue;
                }
                socket.read_exact(&mut first).await.unwrap();
                return first;
            }
        });
        one.learn(2, &two);
        one.reach(2, &mut two).await;
        let mut guest = TcpStream::connect(two.tcp.local_addr()).await.unwrap();
        guest.write_all(b"GET / HT").await.unwrap();
        assert_eq!(&others.await.unwrap(), b"GET / HT");
        assert_eq!(two.tcp.metrics().opened, two.tcp.metrics().accepted, "it has seen no guest");
    });
}
