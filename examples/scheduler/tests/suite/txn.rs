//! Transactions: what each comparison asks, what each operation does, and what is known of one that
//! broke off.

use std::time::Duration;

use mason::store::StoreError;
use mason_core::txn::{Compare, OPS_MAX, Op, Txn};

use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, connect_with, is_unknown, put, puts, text};

on_both! {
    each_comparison_holds_when_the_model_says_so
    a_transaction_is_all_or_nothing
    what_a_store_does_not_take_is_refused_and_said
    an_answer_that_is_lost_leaves_the_outcome_unknown
    what_was_never_sent_is_sent_elsewhere
}

/// The protocol is checked on a model of these four comparisons; the real ones must mean the same.
async fn each_comparison_holds_when_the_model_says_so(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let made = put(&store, "/t/old", "1").await;
    let changed = put(&store, "/t/old", "2").await;
    let both = put(&store, "/t/new", "1").await;
    put(&store, "/t/gone", "1").await;
    store.commit(&Txn::new().delete("/t/gone".to_owned())).await.unwrap();
    let keys =
        [("/t/old", made, changed), ("/t/new", both, both), ("/t/gone", 0, 0), ("/t/no", 0, 0)];
    let mut asked = 0;
    for (key, key_made, key_changed) in keys {
        let key = key.to_owned();
        let mut compares = vec![Compare::Absent(key.clone()), Compare::Present(key.clone())];
        for at in [0, made, changed, both, both + 1] {
            compares.push(Compare::Made(key.clone(), at));
            compares.push(Compare::Changed(key.clone(), at));
        }
        for compare in compares {
            let expected = compare.holds(key_made, key_changed);
            let txn = Txn::new().when(compare.clone());
            assert_eq!(store.commit(&txn).await.unwrap().succeeded, expected, "{compare:?}");
            asked += 1;
        }
    }
    assert_eq!(asked, 48);
}

/// A bind that writes the task and not the run loses the task.
async fn a_transaction_is_all_or_nothing(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let before = put(&store, "/t/a", "1").await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let leased = Op::Put { key: "/t/c".to_owned(), value: b"3".to_vec(), lease: Some(lease.id) };
    let mut txn = puts(&[("/t/b", "2")]).when(Compare::Present("/t/a".to_owned()));
    txn.then.extend([leased, Op::Delete("/t/a".to_owned())]);
    let done = store.commit(&txn).await.unwrap();
    assert!(done.succeeded);
    assert_eq!(done.revision, before + 1);
    let (revision, all) = store.read_all("/t/").await.unwrap();
    assert_eq!(revision, done.revision);
    let seen: Vec<_> = all.iter().map(|kv| (kv.key.as_str(), kv.made, kv.lease)).collect();
    assert_eq!(seen, [("/t/b", revision, 0), ("/t/c", revision, lease.id)]);
    // The same again: what it asks for is not so any more, and nothing happens.
    let again = store.commit(&txn).await.unwrap();
    assert_eq!((again.succeeded, again.revision), (false, revision));
    assert_eq!(store.read_all("/t/").await.unwrap(), (revision, all));
}

/// A caller must be able to tell its own mistake from the store's trouble, or it tries for ever.
async fn what_a_store_does_not_take_is_refused_and_said(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let twice = puts(&[("/t/a", "1"), ("/t/a", "2")]);
    let leased = Op::Put { key: "/t/a".to_owned(), value: Vec::new(), lease: Some(7) };
    let leased = Txn { when: Vec::new(), then: vec![leased] };
    for (txn, says) in [(twice, "duplicate key"), (leased, "lease not found")] {
        let error = store.commit(&txn).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&solo.url()), "{text}");
    }
    let names: Vec<String> = (0..=OPS_MAX).map(|number| format!("/t/{number}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let error = store.commit(&puts(&pairs)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyOps { ops: 129, .. }), "{error:?}");
    // As many as fit are taken: that limit is the store's own.
    assert!(store.commit(&puts(&pairs[1..])).await.unwrap().succeeded);
    assert_eq!(store.read_all("/t/").await.unwrap().1.len(), OPS_MAX);
}

/// The worst that a client can do is to say "not done", or to do it again, when it was done.
async fn an_answer_that_is_lost_leaves_the_outcome_unknown(kind: Kind) {
    let solo = Solo::start(kind).await;
    let proxy = Proxy::to(&solo.url()).await;
    let far =
        connect_with(&[proxy.url()], |limits| limits.commit_max = Duration::from_secs(1)).await;
    let near = solo.store().await;
    // Done twice, it would be refused: the key would be there.
    let txn = puts(&[("/t/once", "1")]).when(Compare::Absent("/t/once".to_owned()));
    proxy.set(Way::Deaf);
    let result = far.commit(&txn).await;
    assert!(is_unknown(&result), "{result:?}");
    assert!(result.unwrap_err().to_string().contains(&proxy.url()));
    assert_eq!(text(&near, "/t/once").await.as_deref(), Some("1"));
    // The same if the connection breaks, instead of the deadline passing.
    proxy.set(Way::Cut);
    proxy.set(Way::Open);
    assert_eq!(text(&far, "/t/once").await.as_deref(), Some("1"));
    proxy.set(Way::Deaf);
    let txn = puts(&[("/t/twice", "1")]);
    let break_off = async {
        let mut watch = near.watch_key("/t/twice", 1);
        watch.next().await.unwrap();
        proxy.set(Way::Cut);
    };
    let (result, ()) = tokio::join!(far.commit(&txn), break_off);
    assert!(is_unknown(&result), "{result:?}");
}

/// A member that is down must not cost anybody a transaction.
async fn what_was_never_sent_is_sent_elsewhere(kind: Kind) {
    let solo = Solo::start(kind).await;
    let proxies = [Proxy::to(&solo.url()).await, Proxy::to(&solo.url()).await];
    let store = connect_with(&[proxies[0].url(), proxies[1].url()], |_| {}).await;
    let near = solo.store().await;
    for round in 0..6 {
        let (down, up) = (&proxies[round % 2], &proxies[(round + 1) % 2]);
        down.set(Way::Cut);
        up.set(Way::Open);
        let value = round.to_string();
        // The connection that was in use breaks, which the client may learn by sending on it.
        let done = loop {
            match store.commit(&puts(&[("/t/a", &value)])).await {
                Err(StoreError::Unknown { .. }) => {}
                other => break other,
            }
        };
        assert!(done.unwrap().succeeded);
        assert_eq!(text(&near, "/t/a").await, Some(value));
    }
}
