//! Long reads.

use mason_core::txn::{Compare, Txn};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::support::{Kind, Solo, compact, connect_with, put, puts, seed};

on_both! {
    a_long_read_shows_one_moment
    pages_hold_everything_under_the_prefix_and_nothing_else
    a_compaction_under_a_long_read_begins_it_anew
}

/// A mirror that starts from two moments at once never heals: what moved in between is in it twice,
/// or not at all. Here sums move between keys, and any one moment has the same total.
async fn a_long_read_shows_one_moment(kind: Kind) {
    const KEYS: u64 = 60;
    let solo = Solo::start(kind).await;
    let store = connect_with(&[solo.url()], |limits| limits.page_keys_max = 7).await;
    let name = |key: u64| format!("/t/{key:03}");
    for key in 0..KEYS {
        put(&store, &name(key), "100").await;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed("a_long_read_shows_one_moment"));
    let mut draw = move || random.next_u64() % KEYS;
    let writer = solo.store().await;
    let write = async {
        let mut amounts = [100_i64; KEYS as usize];
        loop {
            let (from, to) = (draw(), draw());
            if from == to {
                continue;
            }
            amounts[from as usize] -= 1;
            amounts[to as usize] += 1;
            let values = [from, to].map(|key| (name(key), amounts[key as usize].to_string()));
            let pairs: Vec<_> = values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            writer.commit(&puts(&pairs)).await.unwrap();
        }
    };
    let read = async {
        let mut revisions = Vec::new();
        while revisions.len() < 30 {
            let (revision, all) = store.read_all("/t/").await.unwrap();
            assert_eq!(all.len() as u64, KEYS);
            assert!(all.iter().all(|kv| kv.changed <= revision), "something from later");
            let amount = |value: &[u8]| str::from_utf8(value).unwrap().parse::<i64>().unwrap();
            let total: i64 = all.iter().map(|kv| amount(&kv.value)).sum();
            assert_eq!(total, 100 * KEYS as i64, "at revision {revision}");
            revisions.push(revision);
        }
        assert!(revisions.is_sorted());
        assert!(revisions.last() > revisions.first(), "nobody wrote meanwhile");
    };
    tokio::select! {
        () = read => {}
        () = write => unreachable!("it writes for ever"),
    }
}

/// A key that falls between two pages is a job that nobody runs.
async fn pages_hold_everything_under_the_prefix_and_nothing_else(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = connect_with(&[solo.url()], |limits| limits.page_bytes = 2000).await;
    // Keys where one begins another, and one right before and after the prefix.
    let mut inside: Vec<String> = (0..300).map(|n| format!("/t/p/{}", "x".repeat(n))).collect();
    inside.push("/t/p/\u{10ffff}".to_owned());
    let outside = ["/t/p".to_owned(), "/t/p0".to_owned(), "/t/o/x".to_owned()];
    for keys in inside.chunks(100).chain([&outside[..]]) {
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
        store.commit(&puts(&pairs)).await.unwrap();
    }
    inside.sort_unstable();
    let (_, all) = store.read_all("/t/p/").await.unwrap();
    let keys: Vec<&str> = all.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, inside);
    let (_, none) = store.read_all("/t/q/").await.unwrap();
    assert!(none.is_empty());
    let (_, everything) = store.read_all("").await.unwrap();
    assert_eq!(everything.len(), inside.len() + outside.len());
}

/// Compaction is routine; a read that it hits must not fail, nor show two moments.
async fn a_compaction_under_a_long_read_begins_it_anew(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = connect_with(&[solo.url()], |limits| {
        limits.page_keys_max = 1;
        limits.reads_max = u32::MAX;
    })
    .await;
    for key in 0..40 {
        put(&store, &format!("/t/{key:02}"), "0").await;
    }
    // All keys change at once, and what was before is compacted away.
    let change = async {
        for round in 1..30 {
            let names: Vec<String> = (0..40).map(|key| format!("/t/{key:02}")).collect();
            let value = round.to_string();
            let pairs: Vec<_> = names.iter().map(|k| (k.as_str(), value.as_str())).collect();
            let revision = store.commit(&puts(&pairs)).await.unwrap().revision;
            compact(&solo.url(), revision).await;
        }
    };
    let read = async {
        let mut seen = Vec::new();
        loop {
            let (_, all) = store.read_all("/t/").await.unwrap();
            assert!(all.windows(2).all(|pair| pair[0].value == pair[1].value), "two moments");
            seen.push(all[0].value.clone());
            if all[0].value == "29" {
                break seen;
            }
        }
    };
    let (seen, ()) = tokio::join!(read, change);
    assert!(!seen.is_empty());
    // Nothing of this is needed by the store to go on.
    let txn = Txn::new().when(Compare::Present("/t/00".to_owned()));
    assert!(store.commit(&txn).await.unwrap().succeeded);
}
