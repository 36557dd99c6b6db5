//! Snapshots that are streams, and are cut.

use super::*;
use crate::runtime::transport::Chunks;

/// The byte of the snapshot at `at`.
fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn position() -> Position {
    Position::new(Term(3), Index(1000))
}

/// What comes next of a snapshot, or nothing at its end.
async fn next(chunks: &mut Chunks) -> Option<std::io::Result<Bytes>> {
    timeout(DEADLINE, chunks.recv()).await.expect("something comes of it")
}

/// Serves a snapshot of `len` bytes to whoever fetches; other messages are dropped.
fn serve(mut inbound: mpsc::Receiver<Inbound>, len: u64) -> tokio::task::JoinHandle<Vec<u64>> {
    tokio::spawn(async move {
        let mut offsets = Vec::new();
        while let Some(next) = inbound.recv().await {
            let Inbound::Fetch { from, group, position: found, offset, reply } = next else {
                continue;
            };
            assert_eq!((from, group, found), (1, GroupId(6), position()));
            offsets.push(offset);
            let whole = offset == 0 || offset <= len;
            assert!(whole, "nobody asks for what lies behind the end");
            let mut at = offset;
            while at < len {
                let end = len.min(at + 300_000);
                let piece: Bytes = (at..end).map(byte).collect();
                if reply.send(Ok(piece)).await.is_err() {
                    break;
                }
                at = end;
            }
            if at == len {
                break;
            }
        }
        offsets
    })
}

/// A snapshot larger than any connection lives comes through, byte for byte, in a few pieces.
#[test]
fn a_snapshot_that_is_cut_is_resumed_where_it_was() {
    in_time(async {
        let len = 64 << 20;
        let one = Seat::new(config(1)).await;
        let two = Seat::new(config(2)).await;
        let relay = Relay::new(two.address(), 25 << 20).await;
        one.tcp.peer(2, Some(relay.address.clone()));
        let server = serve(two.inbound, len);
        let (mut at, mut cuts) = (0_u64, 0);
        'again: loop {
            let mut chunks = one.tcp.fetch(2, GroupId(6), position(), at);
            loop {
                match next(&mut chunks).await {
                    Some(Ok(chunk)) => {
                        for (i, found) in chunk.iter().enumerate() {
                            assert_eq!(*found, byte(at + i as u64));
                        }
                        at += chunk.len() as u64;
                    }
                    Some(Err(_)) => {
                        cuts += 1;
                        assert!(cuts < 10, "64 MiB in cuts of 25");
                        continue 'again;
                    }
                    None => break 'again,
                }
            }
        }
        assert_eq!(at, len);
        assert_eq!(cuts, 2, "64 MiB in cuts of 25");
        let offsets = timeout(DEADLINE, server).await.unwrap().unwrap();
        assert_eq!(offsets.len(), 3);
        assert!(offsets.is_sorted() && offsets[1] > 20 << 20, "{offsets:?}");
        assert_eq!(one.tcp.metrics().snapshot_bytes_received, len);
    });
}

/// A fetch that cannot be served says why, be it over there or here.
#[test]
fn a_snapshot_that_is_not_there_is_an_error_not_an_end() {
    in_time(async {
        let (one, mut two) = pair().await;
        let mut chunks = one.tcp.fetch(2, GroupId(6), position(), 5);
        let fetch = async {
            loop {
                if let Inbound::Fetch { reply, offset, .. } = two.inbound.recv().await.unwrap() {
                    return (reply, offset);
                }
            }
        };
        let (reply, offset) = timeout(DEADLINE, fetch).await.unwrap();
        assert_eq!(offset, 5);
        let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "compacted away");
        reply.send(Err(gone)).await.unwrap();
        let error = next(&mut chunks).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().contains("compacted away"), "{error}");
        assert!(next(&mut chunks).await.is_none());
        let error =
            next(&mut one.tcp.fetch(9, GroupId(6), position(), 0)).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
    });
}

/// Heartbeats do not wait behind a snapshot, even if nobody takes its bytes.
#[test]
fn a_snapshot_delays_no_heartbeat() {
    in_time(async {
        let (one, mut two) = pair().await;
        one.reach(2, &mut two).await;
        let chunks = one.tcp.fetch(2, GroupId(6), position(), 0);
        let fetch = async {
            loop {
                if let Inbound::Fetch { reply, .. } = two.inbound.recv().await.unwrap() {
                    return reply;
                }
            }
        };
        let reply = timeout(DEADLINE, fetch).await.unwrap();
        let full = tokio::spawn(async move {
            while reply.send(Ok(Bytes::from(vec![1; 256 << 10]))).await.is_ok() {}
        });
        for number in 1..=100 {
            one.tcp.send(2, GroupId(0), vec![heartbeat(1, 2, number)]);
            two.rounds(number).await;
        }
        assert!(!full.is_finished(), "the snapshot is still being sent");
        // Given up here, it ends over there.
        drop(chunks);
        timeout(DEADLINE, full).await.expect("who serves is told").unwrap();
        eventually("a free place", || two.tcp.shared.gate.lock().counts().2 == 0).await;
    });
}

/// What one peer may fetch at once is bounded.
#[test]
fn a_peer_fetches_only_so_many_snapshots_at_once() {
    in_time(async {
        // None of them may be cut: that would let another one in, which nobody here serves.
        let limits = Limits { silence: DEADLINE, ..limits() };
        let max = limits.fetches_max;
        let one = Seat::new(config(1).limits(limits.clone())).await;
        let mut two = Seat::new(config(2).limits(limits)).await;
        one.learn(2, &two);
        let mut fetches: Vec<_> =
            (0..max).map(|_| one.tcp.fetch(2, GroupId(6), position(), 0)).collect();
        let mut replies = Vec::new();
        while replies.len() < max {
            let next = timeout(DEADLINE, two.inbound.recv()).await.unwrap().unwrap();
            if let Inbound::Fetch { reply, .. } = next {
                replies.push(reply);
            }
        }
        let error =
            next(&mut one.tcp.fetch(2, GroupId(6), position(), 0)).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("too many connections"), "{error}");
        drop(replies);
        for fetch in &mut fetches {
            assert!(next(fetch).await.is_none(), "an empty snapshot ends well");
        }
    });
}

/// A node that takes the request and then does nothing about it, though its transport is well, must
/// not keep whoever fetches for ever.
#[test]
fn a_snapshot_that_nobody_reads_is_given_up() {
    in_time(async {
        let limits = Limits { silence: Duration::from_millis(300), ..limits() };
        let one = Seat::new(config(1).limits(limits.clone())).await;
        let two = Seat::new(config(2).limits(limits)).await;
        one.learn(2, &two);
        let mut chunks = one.tcp.fetch(2, GroupId(6), position(), 0);
        let error = next(&mut chunks).await.unwrap().unwrap_err();
        assert_ne!(error.kind(), std::io::ErrorKind::NotFound, "it may be there later: {error}");
        assert!(next(&mut chunks).await.is_none());
        drop(two);
    });
}
