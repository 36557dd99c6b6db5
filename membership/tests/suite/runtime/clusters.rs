//! What members of one cluster do for each other.

use bytes::Bytes;
use drystone_membership::runtime::{EVENTS_MAX, Lagged, Membership};
use drystone_membership::{Config, Event, Key, KeyStep};
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::{PATIENCE, member, until, wait};

// The whole of it as an application sees it: come in, speak, and go in peace.
#[tokio::test]
async fn members_find_each_other_speak_and_leave() {
    let a = member("a").start().await.unwrap();
    let mut watch = a.watch();
    let b = member("b").meta("role", "db").zone("east").join([a.addr()]).await.unwrap();
    let joined = wait(&mut watch, "b joins", |event| matches!(event, Event::Joined(_))).await;
    assert_eq!(joined, Event::Joined(b.me()));
    let c = member("c").join([b.addr()]).await.unwrap();
    let id = c.id();
    wait(&mut watch, "c joins", |event| *event == Event::Joined(c.me())).await;
    until("all know all", || [&a, &b, &c].iter().all(|it| it.members().len() == 3)).await;
    until("its metadata came with it", || a.meta(b.id(), "role").is_some()).await;
    assert_eq!(a.meta(b.id(), "role").as_deref(), Some(&b"db"[..]));
    b.broadcast("topic", "text").await.unwrap();
    let heard = wait(&mut watch, "the broadcast", |it| matches!(it, Event::Broadcast { .. })).await;
    let (from, topic) = (b.id(), "topic".to_owned());
    assert_eq!(heard, Event::Broadcast { from, topic, payload: "text".into() });
    let mut own = c.watch();
    c.leave().await.unwrap();
    wait(&mut own, "its own word", |event| *event == Event::Left(id)).await;
    assert_eq!(own.next().await, None, "a member that has left says no more");
    assert!(c.leave().await.is_err() && c.broadcast("t", "t").await.is_err());
    let gone = |it: &Event| matches!(it, Event::Left(who) | Event::Failed(who) if *who == id);
    assert_eq!(wait(&mut watch, "c is gone", gone).await, Event::Left(id));
}

// Programs merge their streams and wait for whichever comes first, so most of their looks at one of
// them are given up. No event may be lost by that, and the stream must end with the member.
#[tokio::test]
async fn a_watch_is_a_stream_that_loses_nothing_when_it_is_given_up() {
    let a = member("a").start().await.unwrap();
    let mut watch = a.watch();
    assert_eq!(StreamExt::next(&mut watch).now_or_never(), None, "nothing has happened");
    assert_eq!(watch.next().now_or_never(), None, "nor now");
    let b = member("b").join([a.addr()]).await.unwrap();
    let joined = Some(Ok(Event::Joined(b.me())));
    assert_eq!(watch.next().await, joined, "it comes to whoever asks next");
    for text in ["one", "two", "three"] {
        b.broadcast("topic", text).await.unwrap();
    }
    let texts = watch.by_ref().filter_map(async |event| match event {
        Ok(Event::Broadcast { payload, .. }) => Some(payload),
        _ => None,
    });
    let mut heard: Vec<Bytes> = timeout(PATIENCE, texts.take(3).collect()).await.unwrap();
    heard.sort();
    assert_eq!(heard, ["one", "three", "two"]);
    a.stop().await.unwrap();
    let rest: Vec<_> = timeout(PATIENCE, watch.by_ref().collect()).await.unwrap();
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
    assert_eq!(watch.next().await, None, "it is over, and stays so");
}

// Metadata that no datagram holds must arrive all the same, byte for byte, and at a newcomer too.
#[tokio::test]
async fn large_metadata_goes_by_stream() {
    let config = Config { metadata_bytes_max: 1 << 20, ..Config::local() };
    let large: Bytes = (0..700_000_u64).map(|it| ((it * it) >> 8) as u8).collect();
    let a = member("a").config(config.clone()).start().await.unwrap();
    let b = member("b").config(config.clone()).join([a.addr()]).await.unwrap();
    b.set_meta("map", Some(large.clone())).await.unwrap();
    until("it has come", || a.meta(b.id(), "map").is_some()).await;
    assert!(a.meta(b.id(), "map").unwrap() == large, "byte for byte");
    let c = member("c").config(config).join([a.addr()]).await.unwrap();
    until("it has come to a newcomer", || c.meta(b.id(), "map").is_some()).await;
    assert!(c.meta(b.id(), "map").unwrap() == large, "byte for byte");
    let refused = b.set_meta("more", Some(large)).await;
    assert!(refused.unwrap_err().to_string().contains("1048576 are allowed"));
    b.set_meta("map", None).await.unwrap();
    until("it is removed", || a.meta(b.id(), "map").is_none()).await;
}

// Who is dropped is dead to the others, and they must find out without being told.
#[tokio::test]
async fn a_dropped_member_is_found_out() {
    let a = member("a").start().await.unwrap();
    let b = member("b").join([a.addr()]).await.unwrap();
    let c = member("c").join([a.addr()]).await.unwrap();
    until("all know all", || [&a, &b, &c].iter().all(|it| it.members().len() == 3)).await;
    let (id, addr) = (c.id(), c.addr());
    let (mut watch, mut own) = (a.watch(), c.watch());
    drop(c);
    assert_eq!(own.next().await, None, "nothing runs on");
    wait(&mut watch, "c is declared failed", |event| *event == Event::Failed(id)).await;
    assert!(a.members().iter().all(|member| member.node.id != id));
    // Its port is free, and its name too.
    let again =
        Membership::bind(addr).name("c").config(Config::local()).join([b.addr()]).await.unwrap();
    assert_eq!(again.id(), id);
    wait(&mut watch, "c is back", |event| *event == Event::Joined(again.me())).await;
}

// A restart at the same address that nobody noticed as an outage must be told as what it is.
#[tokio::test]
async fn a_quick_restart_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    // It knows its last life: by the clock, the two could have the same second.
    let path = folder.path().join("b");
    let a = member("a").start().await.unwrap();
    let b = member("b").snapshot(&path).meta("old", "1").join([a.addr()]).await.unwrap();
    until("its metadata is there", || a.meta(b.id(), "old").is_some()).await;
    let (addr, mut watch) = (b.addr(), a.watch());
    b.stop().await.unwrap();
    let again = Membership::bind(addr).name("b").config(Config::local()).snapshot(&path);
    let again = again.meta("new", "2").join([a.addr()]).await.unwrap();
    let told = wait(&mut watch, "b restarts", |event| {
        matches!(event, Event::Restarted(node) if node.id == again.id())
            || matches!(event, Event::Failed(_))
    });
    assert!(matches!(told.await, Event::Restarted(_)));
    until("the new metadata", || a.meta(again.id(), "new").is_some()).await;
    assert_eq!(a.meta(again.id(), "old"), None, "the old life's metadata went with it");
}

// A watcher that sleeps must cost the member nothing, and be told how much it has missed.
#[tokio::test]
async fn a_slow_watcher_is_told_what_it_has_missed() {
    let a = member("a").keys([Key::new([1; 32])]).start().await.unwrap();
    let (mut watch, other) = (a.watch(), Key::new([2; 32]));
    let rounds = EVENTS_MAX as u64;
    for _ in 0..rounds {
        a.keys(KeyStep::Add(other.clone())).await.unwrap();
        a.keys(KeyStep::Remove(other.fingerprint())).await.unwrap();
    }
    assert_eq!(watch.next().await, Some(Err(Lagged(rounds))));
    let oldest = watch.next().await.unwrap().unwrap();
    assert!(matches!(oldest, Event::Keys { number, .. } if number == 2 + rounds));
}
