//! Large answers, frame by frame, over a store in memory.

use std::path::Path;

use drystone_kv::command::{Command, Put, RangeRequest};
use drystone_kv::engines::EngineConfig;
use drystone_kv::{EngineKind, KeyRange, Store};
use drystone_vfs::{MemVfs, OsClock};
use futures_util::future::poll_fn;

use super::*;

/// A store whose keys have values of these sizes.
fn store(sizes: impl Iterator<Item = usize>) -> Arc<Store<AnyEngine>> {
    let config = EngineConfig {
        kind: EngineKind::Memory,
        background: false,
        memory_bytes: None,
        room: None,
    };
    let (vfs, clock) = (Arc::new(MemVfs::new()), Arc::new(OsClock::new()));
    let engine = AnyEngine::open(vfs, clock, Path::new("large"), &config).unwrap();
    let store = Store::open(engine).unwrap();
    for (number, size) in sizes.enumerate() {
        let put = Command::Put(Put::new(format!("{number:05}"), vec![b'v'; size]));
        let outcomes = store.apply([(number as u64 + 1, &put)]).unwrap();
        outcomes.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    }
    Arc::new(store)
}

fn header() -> pb::ResponseHeader {
    pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 }
}

fn large(store: &Arc<Store<AnyEngine>>, request: &RangeRequest) -> Answer {
    match measure(store.scan(request).unwrap()).unwrap() {
        Measured::Large(scan, bytes) => Answer::new(header(), scan, bytes, None).unwrap(),
        Measured::Whole(_) => panic!("it is larger than what is held"),
    }
}

async fn frame(answer: &mut Answer) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|cx| Pin::new(&mut *answer).poll_frame(cx)).await
}

/// What is sent is, byte for byte, one message of the length that was announced, and the fields
/// are those of the answer that would have been given at once.
#[tokio::test]
async fn parts_are_one_message() {
    let sizes = || (0..600).map(|number| number * number % 50_000);
    let store = store(sizes());
    for limit in [0, 599] {
        let request = RangeRequest { limit, ..RangeRequest::new(KeyRange::all()) };
        let mut answer = large(&store, &request);
        let (mut body, mut trailers, mut longest) = (Vec::new(), None, 0);
        while let Some(next) = frame(&mut answer).await {
            match next.unwrap().into_data() {
                Ok(bytes) => {
                    longest = longest.max(bytes.len());
                    body.extend(bytes);
                }
                Err(last) => trailers = last.into_trailers().ok(),
            }
        }
        assert_eq!(trailers.unwrap()[Status::GRPC_STATUS], "0");
        assert_eq!(body[0], 0, "it is not compressed");
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
        let sent = pb::RangeResponse::decode(&body[5..]).unwrap();
        let whole = store.range(&request).unwrap();
        assert_eq!(sent, convert::range_response(header(), whole));
        assert!(longest < 4 << 20, "a turn of {longest} bytes");
    }
}

/// What is small is read once.
#[test]
fn small_ranges_are_whole() {
    let store = store((0..600).map(|_| 1_000));
    let request = RangeRequest::new(KeyRange::all());
    let Measured::Whole(reply) = measure(store.scan(&request).unwrap()).unwrap() else {
        panic!("600 kB are held")
    };
    let whole = store.range(&request).unwrap();
    assert_eq!((reply.kvs, reply.count, reply.more), (whole.kvs, whole.count, whole.more));
}

/// A client that stops reading loses its place, and hears of it if it comes back.
#[tokio::test]
async fn who_takes_nothing_is_outwaited() {
    let store = store((0..100).map(|_| 100_000));
    let mut answer = large(&store, &RangeRequest::new(KeyRange::all()));
    for _ in 0..3 {
        frame(&mut answer).await.unwrap().unwrap();
    }
    let patience = Duration::from_millis(5);
    outwait(Arc::downgrade(&answer.place), patience, patience).await;
    let error = frame(&mut answer).await.unwrap().unwrap_err();
    assert!(error.message().contains("took nothing"), "{error}");
    assert!(frame(&mut answer).await.is_none());
}

/// A client that is slow must not keep others from reading; one that has all needs no seat.
#[tokio::test]
async fn who_takes_its_time_gives_its_seat_to_others() {
    let store = store((0..100).map(|_| 100_000));
    let line = line::Line::new(1);
    let request = RangeRequest::new(KeyRange::all());
    let Measured::Large(scan, bytes) = measure(store.scan(&request).unwrap()).unwrap() else {
        panic!("it is larger than what is held")
    };
    let seat = line.enter().await;
    let mut answer = Answer::new(header(), scan, bytes, seat).unwrap();
    frame(&mut answer).await.unwrap().unwrap();
    tokio::spawn(outwait(Arc::downgrade(&answer.place), Duration::from_millis(5), PATIENCE));
    let seat = line.enter().await;
    assert!(seat.is_some(), "it was given up");
    answer.place.lock().seat = seat;
    while let Some(next) = frame(&mut answer).await {
        if next.unwrap().is_trailers() {
            assert!(answer.place.lock().seat.is_none(), "all is read");
        }
    }
}

/// gRPC has no longer message, so there is no such answer.
#[tokio::test]
async fn answer_that_no_message_can_hold_is_refused() {
    let store = store(std::iter::once(1));
    let scan = Box::new(store.scan(&RangeRequest::new(KeyRange::all())).unwrap());
    let refused = Answer::new(header(), scan, 3 << 30, None).map(drop).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.message().starts_with("grpc: trying to send message larger than max ("));
    assert!(refused.message().ends_with(" vs. 2147483647)"), "{refused}");
}

/// Turns follow the size of what they find.
#[test]
fn pace_follows_sizes() {
    let mut pace = Pace::new();
    for (keys, bytes, next) in [
        (16, 16 << 20, 1),
        (1, 100, 2),
        (2, 200, 4),
        (4, 400 << 10, 2),
        (2, 0, 4),
        (4, 1, 8),
        (8, 800 << 10, 2),
    ] {
        pace.note(keys, bytes);
        assert_eq!(pace.keys(), next, "after {keys} keys of {bytes} bytes");
    }
}
