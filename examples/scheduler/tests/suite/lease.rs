//! Leases and sessions.

use std::time::Duration;

use mason::store::{Session, StoreError, WatchEvent, now};
use mason_core::protocol::fence;
use mason_core::txn::{Op, Txn};

use crate::support::process::Processes;
use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, connect, connect_with, until};

on_both! {
    a_lease_that_nobody_renews_takes_its_keys_along
    a_session_lasts_and_says_when_it_asked
    a_renewal_that_was_not_acknowledged_does_not_count
    a_session_hears_that_its_lease_is_gone
    a_session_survives_the_death_of_the_server
    a_closed_session_ends_its_lease_at_once
}

fn leased(key: &str, lease: i64) -> Txn {
    let put = Op::Put { key: key.to_owned(), value: b"1".to_vec(), lease: Some(lease) };
    Txn { when: Vec::new(), then: vec![put] }
}

const SECOND: Duration = Duration::from_secs(1);

/// A node that fell silent is found by nothing else.
async fn a_lease_that_nobody_renews_takes_its_keys_along(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let asked = now();
    // The shortest that etcd grants at its usual election timeout.
    let lease = store.grant(Duration::from_millis(1500)).await.unwrap();
    assert_eq!(lease.ttl, 2000);
    let made = store.commit(&leased("/t/alive", lease.id)).await.unwrap().revision;
    let mut watch = store.watch_key("/t/alive", made + 1);
    let WatchEvent::Batch(gone) = watch.next().await.unwrap() else { panic!("a batch") };
    assert_eq!(gone.changes[0].key(), "/t/alive");
    // Not before its time, counted from when it was asked for.
    assert!(now() - asked >= lease.ttl, "{} ms", now() - asked);
    // Revoking what is gone is no error, and using it is one.
    store.revoke(lease.id).await.unwrap();
    let error = store.commit(&leased("/t/alive", lease.id)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
}

/// The fence of strict runs counts from `asked`: it must move on with each renewal, and never be
/// later than when the store may have counted from.
async fn a_session_lasts_and_says_when_it_asked(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let before = now();
    let session = Session::open(&store, 2 * SECOND, Duration::from_millis(100)).await.unwrap();
    let opened = now();
    let mut pulses = session.pulse();
    let mut last = *pulses.borrow_and_update();
    assert!((before..=opened).contains(&last.asked), "{last:?}");
    assert_eq!(last.count, 1);
    store.commit(&leased("/t/alive", session.lease().id)).await.unwrap();
    while now() < opened + 3 * last.ttl {
        pulses.changed().await.unwrap();
        let heard = now();
        let pulse = *pulses.borrow_and_update();
        assert!(!pulse.lost);
        assert!(last.asked <= pulse.asked && pulse.asked <= heard, "{last:?} {pulse:?} at {heard}");
        assert!(pulse.count > last.count);
        assert_eq!(pulse.ttl, 2000);
        last = pulse;
    }
    assert!(store.get("/t/alive").await.unwrap().is_some(), "it was renewed for three lives");
    assert!(fence::deadline(last.asked) > last.asked);
}

/// An agent whose requests arrive while the answers are lost may not count on its lease: it cannot
/// know.
async fn a_renewal_that_was_not_acknowledged_does_not_count(kind: Kind) {
    let solo = Solo::start(kind).await;
    let proxy = Proxy::to(&solo.url()).await;
    let far = connect_with(&[proxy.url()], |limits| limits.call_max = SECOND / 2).await;
    let near = solo.store().await;
    let session = Session::open(&far, 5 * SECOND, SECOND / 20).await.unwrap();
    let id = session.lease().id;
    let made = near.commit(&leased("/t/alive", id)).await.unwrap().revision;
    let mut pulses = session.pulse();
    pulses.wait_for(|pulse| pulse.count > 2).await.unwrap();
    proxy.set(Way::Deaf);
    let deaf = now();
    // It goes on trying, and the store goes on hearing it or not; the pulse stands still.
    let mut watch = near.watch_key("/t/alive", made + 1);
    assert!(tokio::time::timeout(3 * SECOND, watch.next()).await.is_err());
    let pulse = *pulses.borrow();
    assert!(pulse.asked <= deaf, "{pulse:?} after {deaf}");
    assert!(!pulse.lost);
    // Back again, it catches up, if the lease was not lost meanwhile.
    proxy.set(Way::Cut);
    proxy.set(Way::Open);
    let back = now();
    pulses.wait_for(|pulse| pulse.asked >= back || pulse.lost).await.unwrap();
}

/// An agent that was away for too long must end, and not renew what is no more.
async fn a_session_hears_that_its_lease_is_gone(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let session = Session::open(&store, 60 * SECOND, SECOND / 20).await.unwrap();
    let lost = session.lost();
    store.revoke(session.lease().id).await.unwrap();
    let error = lost.await;
    assert!(matches!(error, StoreError::LeaseGone(id) if id == session.lease().id));
    assert!(session.pulse().borrow().lost);
}

/// A restart of the store is no reason to lose all nodes.
async fn a_session_survives_the_death_of_the_server(kind: Kind) {
    let mut server = Processes::start(kind, 1).await;
    let store = connect(&server.urls()).await;
    let session = Session::open(&store, 60 * SECOND, SECOND / 20).await.unwrap();
    let id = session.lease().id;
    store.commit(&leased("/t/alive", id)).await.unwrap();
    let mut pulses = session.pulse();
    for _ in 0..2 {
        server.kill(0);
        server.launch(0);
        let restarted = now();
        let pulse = *pulses.wait_for(|pulse| pulse.asked > restarted).await.unwrap();
        assert!(!pulse.lost);
    }
    let alive = until(async || store.get("/t/alive").await.ok()).await.expect("it lives");
    assert_eq!(alive.lease, id);
}

/// An agent that stops in order is gone at once, and nobody waits for its lease.
async fn a_closed_session_ends_its_lease_at_once(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let session = Session::open(&store, 600 * SECOND, SECOND).await.unwrap();
    store.commit(&leased("/t/alive", session.lease().id)).await.unwrap();
    session.close().await.unwrap();
    assert_eq!(store.get("/t/alive").await.unwrap(), None);
}
