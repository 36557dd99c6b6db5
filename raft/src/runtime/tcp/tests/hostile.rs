//! Whatever comes in on the port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::runtime::tcp::frame::{self, HEAD_BYTES, Lane};
use crate::runtime::tcp::handshake::{
    self, HELLO_BYTES, Hello, MAGIC, Verdict, WELCOME_BYTES, Welcome,
};

fn hello() -> Hello {
    Hello {
        versions: handshake::VERSIONS,
        purpose: 1,
        cluster: CLUSTER,
        sender: 1,
        receiver: 2,
        challenge: [9; 16],
    }
}

/// Writes bytes, and reads until the other side is done with us.
async fn throw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ = timeout(DEADLINE, reading).await.expect("the connection is ended");
    answer
}

/// Shakes hands as node 1 would, by hand.
async fn intrude(address: &str) -> (TcpStream, Lane) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let hello = hello().encode();
    socket.write_all(&hello).await.unwrap();
    let mut welcome = [0; WELCOME_BYTES];
    socket.read_exact(&mut welcome).await.unwrap();
    assert_eq!(Welcome::decode(&welcome).unwrap().verdict, Verdict::Welcome as u8);
    let key = handshake::key(&hello, &welcome);
    socket.write_all(&handshake::proof(key)).await.unwrap();
    (socket, Lane::new(key, true))
}

/// Writes one frame with this body behind a sound handshake.
async fn push(two: &Seat, kind: RefusalKind, forge: impl FnOnce(&mut Lane) -> Vec<u8>) {
    let before = two.refused(kind);
    let (mut socket, mut lane) = intrude(&two.address()).await;
    let bytes = forge(&mut lane);
    let _ = socket.write_all(&bytes).await;
    let _ = timeout(DEADLINE, socket.read_to_end(&mut Vec::new())).await.expect("it is ended");
    eventually("counted", || two.refused(kind) > before).await;
}

fn sealed(lane: &mut Lane, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = Lane::begin(&mut out, kind);
    out.extend_from_slice(body);
    lane.seal(&mut out, start);
    out
}

fn labelled(message: &Message) -> Vec<u8> {
    let (mut bytes, mut body) = (Vec::new(), 5_u64.to_le_bytes().to_vec());
    message.encode(&mut bytes);
    body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    body.extend_from_slice(&bytes);
    body
}

fn nothing_came_in(seat: &mut Seat) {
    while let Ok(inbound) = seat.inbound.try_recv() {
        assert!(matches!(inbound, Inbound::Down(_)), "{inbound:?} came in");
    }
}

/// Port scanners, browsers and fuzzers are sent away, and peers notice nothing.
#[test]
fn noise_is_refused_while_peers_go_on() {
    in_time(async {
        let (one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        let mut state = 0x5eed_u64;
        let mut noise = |len: usize| -> Vec<u8> {
            (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect()
        };
        let before = two.refused(RefusalKind::Foreign);
        let mut thrown = 0;
        for len in [8, 9, 63, 64, 65, 200, 5_000, 100_000] {
            assert!(throw(&two.address(), &noise(len)).await.is_empty(), "noise is not answered");
            let behind_magic = [&MAGIC[..], &noise(len)].concat();
            if behind_magic.len() >= HELLO_BYTES {
                assert!(throw(&two.address(), &behind_magic).await.is_empty());
                thrown += 1;
            }
            thrown += 1;
        }
        throw(&two.address(), b"GET / HTTP/1.1\r\nHost: raft\r\n\r\n").await;
        for bit in 0..HELLO_BYTES * 8 {
            let mut hello = hello().encode();
            hello[bit / 8] ^= 1 << (bit % 8);
            assert!(throw(&two.address(), &hello).await.is_empty(), "bit {bit}");
            thrown += 1;
        }
        eventually("counted", || two.refused(RefusalKind::Foreign) == before + thrown + 1).await;
        one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, 77)]);
        two.rounds(77).await;
        assert_eq!(one.tcp.metrics().dialled, 1, "the peer's connection stays");
    });
}

/// Everybody learns what is wrong, on both sides, and nothing comes of it.
#[test]
fn peers_of_elsewhere_are_told_why() {
    in_time(async {
        let mut two = Seat::new(config(2)).await;
        let cases = [
            (Hello { cluster: 1, ..hello() }, Verdict::Cluster, RefusalKind::Cluster),
            (Hello { receiver: 3, ..hello() }, Verdict::Receiver, RefusalKind::Receiver),
            (Hello { sender: 0, ..hello() }, Verdict::Sender, RefusalKind::Sender),
            (Hello { sender: 2, ..hello() }, Verdict::Sender, RefusalKind::Sender),
            (Hello { versions: (2, 9), ..hello() }, Verdict::Version, RefusalKind::Version),
            (Hello { versions: (0, 0), ..hello() }, Verdict::Version, RefusalKind::Version),
            (Hello { purpose: 9, ..hello() }, Verdict::Other, RefusalKind::Frame),
        ];
        for (hello, verdict, kind) in cases {
            let before = two.refused(kind);
            let answer = throw(&two.address(), &hello.encode()).await;
            let welcome = Welcome::decode(answer.as_slice().try_into().unwrap()).unwrap();
            assert_eq!(welcome.verdict, verdict as u8, "{hello:?}");
            assert_eq!((welcome.version, welcome.versions), (0, handshake::VERSIONS));
            eventually("counted", || two.refused(kind) == before + 1).await;
        }
        // A newer node that speaks our version as well is welcome.
        let newer = Hello { versions: (1, 7), ..hello() };
        let mut socket = TcpStream::connect(two.address()).await.unwrap();
        socket.write_all(&newer.encode()).await.unwrap();
        let mut answer = [0; WELCOME_BYTES];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(Welcome::decode(&answer).unwrap().version, 1);
        nothing_came_in(&mut two);

        // And the side that dials knows it too.
        let elsewhere = TcpConfig { cluster: 1, ..config(1) };
        let mut one = Seat::new(elsewhere).await;
        one.learn(2, &two);
        eventually("refused", || one.refused(RefusalKind::There) > 0).await;
        assert_eq!(one.down().await, 2);
        let wrong_name = Seat::new(config(1)).await;
        wrong_name.learn(3, &two);
        eventually("refused", || wrong_name.refused(RefusalKind::There) > 0).await;
        nothing_came_in(&mut two);
    });
}

/// Whoever dials a node of the future, or something else, says so and tries again later.
#[test]
fn a_dialler_refuses_what_it_does_not_know() {
    in_time(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = Seat::new(config(1)).await;
        one.tcp.peer(2, Some(listener.local_addr().unwrap().to_string()));
        let welcome =
            Welcome { versions: (1, 1), version: 1, verdict: 0, node: 2, challenge: [1; 16] };
        let of_version = Verdict::Version as u8;
        let cases = [
            (
                Welcome { versions: (5, 6), verdict: of_version, version: 0, ..welcome.clone() }
                    .encode(),
                RefusalKind::Version,
            ),
            (Welcome { version: 4, ..welcome.clone() }.encode(), RefusalKind::Version),
            (Welcome { node: 3, ..welcome.clone() }.encode(), RefusalKind::Sender),
            (Welcome { verdict: 77, ..welcome.clone() }.encode(), RefusalKind::There),
            ([7; WELCOME_BYTES], RefusalKind::Foreign),
        ];
        for (answer, kind) in cases {
            let before = one.refused(kind);
            // The dialler comes back by itself.
            let (mut socket, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
            socket.read_exact(&mut [0; HELLO_BYTES]).await.unwrap();
            socket.write_all(&answer).await.unwrap();
            eventually("counted", || one.refused(kind) == before + 1).await;
        }
    });
}

/// A connection that was recorded and is played again, byte for byte, brings nothing.
#[test]
fn a_recorded_connection_is_refused_when_played_again() {
    in_time(async {
        let one = Seat::new(config(1)).await;
        let mut two = Seat::new(config(2)).await;
        let relay = Relay::new(two.address(), usize::MAX).await;
        one.tcp.peer(2, Some(relay.address.clone()));
        one.reach(2, &mut two).await;
        for number in 1..=50 {
            one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, number)]);
            two.rounds(number).await;
        }
        let recorded = relay.recorded.lock().clone();
        drop(one);
        let received = two.tcp.metrics().messages_received;
        assert!(recorded.len() > HELLO_BYTES + 50 * HEAD_BYTES);
        for _ in 0..20 {
            throw(&two.address(), &recorded).await;
        }
        eventually("counted", || two.refused(RefusalKind::Challenge) == 20).await;
        // Nor do recorded frames pass behind a handshake that is sound.
        let frames = recorded[HELLO_BYTES + handshake::PROOF_BYTES..].to_vec();
        push(&two, RefusalKind::Checksum, |_| frames).await;
        assert_eq!(two.tcp.metrics().messages_received, received);
        nothing_came_in(&mut two);
    });
}

/// Somebody who shakes hands well may still send anything.
#[test]
fn frames_that_are_not_sound_end_the_connection() {
    in_time(async {
        let mut two = Seat::new(config(2)).await;
        let sound = labelled(&heartbeat(1, 2, 1));
        push(&two, RefusalKind::Length, |_| vec![0xff; HEAD_BYTES]).await;
        push(&two, RefusalKind::Length, |_| vec![0; HEAD_BYTES]).await;
        push(&two, RefusalKind::Checksum, |lane| {
            let mut bytes = sealed(lane, frame::MESSAGES, &sound);
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        })
        .await;
        push(&two, RefusalKind::Sequence, |lane| {
            sealed(lane, frame::PING, &[]);
            sealed(lane, frame::MESSAGES, &sound)
        })
        .await;
        push(&two, RefusalKind::Frame, |lane| sealed(lane, 99, &[])).await;
        push(&two, RefusalKind::Frame, |lane| sealed(lane, frame::CHUNK, &[0; 20])).await;
        push(&two, RefusalKind::Frame, |lane| sealed(lane, frame::MESSAGES, &[1; 5])).await;
        push(&two, RefusalKind::Frame, |lane| sealed(lane, frame::MESSAGES, &[0xff; 12])).await;
        let other = labelled(&heartbeat(4, 2, 1));
        push(&two, RefusalKind::Frame, |lane| sealed(lane, frame::MESSAGES, &other)).await;
        let astray = labelled(&heartbeat(1, 4, 1));
        push(&two, RefusalKind::Frame, |lane| sealed(lane, frame::MESSAGES, &astray)).await;
        let mut junk = sound.clone();
        junk[12] = 200;
        push(&two, RefusalKind::Message, |lane| sealed(lane, frame::MESSAGES, &junk)).await;
        // A sound message in front of a bad one comes to nothing with it.
        let half = [&sound[..], &junk].concat();
        push(&two, RefusalKind::Message, |lane| sealed(lane, frame::MESSAGES, &half)).await;
        nothing_came_in(&mut two);
        assert_eq!(two.tcp.metrics().messages_received, 0);
    });
}

/// A frame that is said to be large costs nothing before it comes, and must come in time.
#[test]
fn those_who_are_slow_are_ended() {
    in_time(async {
        let mut two = Seat::new(config(2)).await;
        let silent = two.refused(RefusalKind::Silent);
        // Says nothing; says half a Hello; shakes hands and says nothing; says half a frame.
        let mut nothing = TcpStream::connect(two.address()).await.unwrap();
        let mut half = TcpStream::connect(two.address()).await.unwrap();
        half.write_all(&hello().encode()[..40]).await.unwrap();
        let (mut idle, _) = intrude(&two.address()).await;
        let ended = timeout(DEADLINE, idle.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok());
        let (mut large, _) = intrude(&two.address()).await;
        let mut head = [0; HEAD_BYTES];
        head[8..12].copy_from_slice(&(8_u32 << 20).to_le_bytes());
        large.write_all(&head).await.unwrap();
        // One byte now and then must not keep it open.
        let drip = async {
            let mut ticks = interval(Duration::from_millis(100));
            while large.write_all(&[0]).await.is_ok() {
                ticks.tick().await;
            }
        };
        timeout(DEADLINE, drip).await.expect("dripping is ended");
        let mut rest = Vec::new();
        assert_eq!(
            timeout(DEADLINE, nothing.read_to_end(&mut rest)).await.unwrap().unwrap_or(0),
            0
        );
        assert_eq!(timeout(DEADLINE, half.read_to_end(&mut rest)).await.unwrap().unwrap_or(0), 0);
        eventually("counted", || two.refused(RefusalKind::Silent) == silent + 4).await;
        nothing_came_in(&mut two);
    });
}

/// A peer that takes connections and never answers, or falls silent later, is down.
#[test]
fn a_half_open_connection_is_noticed() {
    in_time(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut one = Seat::new(config(1)).await;
        one.tcp.peer(2, Some(listener.local_addr().unwrap().to_string()));
        let (mute, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        assert_eq!(one.down().await, 2);
        assert_eq!(one.refused(RefusalKind::Silent), 1);
        drop(mute);
        // This time hands are shaken, and then there are no pongs.
        let (mut socket, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let judge = |_: &Hello, _: &dyn crate::runtime::tcp::pipe::Pipe| Ok(());
        handshake::accept(&mut socket, 2, judge).await.unwrap();
        // Those who depend on it are told at once, and the connection is given some more time.
        assert_eq!(one.down().await, 2);
        assert_eq!(one.refused(RefusalKind::Silent), 1);
        eventually("ended", || one.refused(RefusalKind::Silent) == 2).await;
        assert!(one.inbound.try_recv().is_err(), "it is said once");
    });
}
