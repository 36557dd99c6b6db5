//! Watchers at random through the proxy, beside a list of all that was done.
//!
//! Whoever watches from a revision must see exactly what the list has from there on, whenever it
//! came, whatever feed it was with, and whichever member is gone meanwhile.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{DeleteRangeRequest, WatchCreateRequest};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::running::Proxy;
use crate::cluster::fleet::Fleet;
use crate::support::calls::{put, runtime};
use crate::support::seed;
use crate::support::watch::Watch;

/// What was done: the revision and the key, in order.
type History = Vec<(i64, String)>;

struct Watched {
    watch: Watch,
    key: &'static str,
    end: &'static str,
    from: i64,
}

const RANGES: [(&str, &str); 4] = [("a", ""), ("b", ""), ("a", "c"), ("\0", "\0")];
const KEYS: [&str; 3] = ["a", "b", "c"];
const ROUNDS: usize = 6;
const STEPS: usize = 120;

fn is_in(key: &str, (from, end): (&str, &str)) -> bool {
    match end {
        "" => key == from,
        "\0" => from <= key,
        end => from <= key && key < end,
    }
}

async fn write(client: &Client, random: &mut ChaCha8Rng, history: &mut History) {
    let key = KEYS[random.random_range(0..KEYS.len())];
    let exists = history.iter().any(|(_, known)| known == key);
    if exists && random.random_bool(0.2) {
        let delete = DeleteRangeRequest { key: key.into(), ..Default::default() };
        let answer = client.kv().delete_range(delete).await.expect("a deletion is answered");
        let answer = answer.into_inner();
        if answer.deleted > 0 {
            history.push((answer.header.expect("it has one").revision, key.to_owned()));
        }
    } else {
        history.push((put(client, key, "v", 0).await, key.to_owned()));
    }
}

async fn begin(client: &Client, random: &mut ChaCha8Rng, history: &History) -> Watched {
    let (key, end) = RANGES[random.random_range(0..RANGES.len())];
    let newest = history.last().map_or(1, |(revision, _)| *revision);
    let start_revision = match random.random_range(0..3) {
        0 => 0,
        1 => random.random_range(1..=newest),
        _ => newest + random.random_range(0..3),
    };
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: end.into(),
        start_revision,
        ..Default::default()
    };
    let (watch, created) = Watch::open(client, create).await.expect("a watch is opened");
    let at = created.header.expect("it has one").revision;
    // Who begins now hears nothing of what was before he was told that he is there, and all that
    // came after. That may be what has been written already: the member that the proxy is with may
    // be behind the one that was written to, as a watch at etcd's members shows.
    let from = if start_revision == 0 { at + 1 } else { start_revision };
    Watched { watch, key, end, from }
}

/// Reads all that the history has for this watch, and compares.
async fn check(watched: &mut Watched, history: &History) {
    let (range, from) = ((watched.key, watched.end), watched.from);
    let wanted = history.iter().filter(|(at, key)| *at >= from && is_in(key, range));
    let expected: History = wanted.cloned().collect();
    let mut seen = History::new();
    while seen.len() < expected.len() {
        let message = watched.watch.message();
        let message = tokio::time::timeout(crate::cluster::fleet::PATIENCE, message).await;
        let message = message
            .unwrap_or_else(|_| panic!("{range:?} from {from} misses: {seen:?} of {expected:?}"));
        for event in message.expect("the stream goes on").events {
            let kv = event.kv.expect("it has one");
            seen.push((kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned()));
        }
    }
    assert_eq!(seen, expected, "{range:?} from {from}");
    if let Some((last, _)) = seen.last() {
        watched.from = last + 1;
    }
}

#[test]
fn every_watcher_sees_exactly_its_history() {
    let Some(mut fleet) = Fleet::start("proxy::random", 3) else { return };
    let mut random = ChaCha8Rng::seed_from_u64(seed("proxy::random"));
    let endpoints: Vec<String> = (0..3).map(|number| fleet.url(number)).collect();
    let proxy = Proxy::start(&endpoints, &[]);
    let runtime = runtime();
    let (mut history, mut watches) = (History::new(), Vec::new());
    for round in 0..ROUNDS {
        let running = fleet.running();
        runtime.block_on(async {
            let client = proxy.client().await;
            let member = fleet.client(running[round % running.len()]).await;
            for _ in 0..STEPS {
                match random.random_range(0..10) {
                    0 => watches.push(begin(&client, &mut random, &history).await),
                    1 if !watches.is_empty() => {
                        let at = random.random_range(0..watches.len());
                        check(&mut watches[at], &history).await;
                    }
                    2 if watches.len() > 20 => {
                        watches.swap_remove(random.random_range(0..watches.len()));
                    }
                    _ => write(&member, &mut random, &mut history).await,
                }
            }
        });
        // The member that the proxy is with goes, and the one that went before comes back.
        let current = (0..3).find(|number| {
            let name =
                format!("drystone_etcd_proxy_endpoint{{endpoint=\"{}\"}}", fleet.url(*number));
            proxy.number(&name) == Some(1.0)
        });
        let gone: Vec<usize> = (0..3).filter(|number| !fleet.running().contains(number)).collect();
        for number in gone {
            fleet.launch(number);
        }
        fleet.wait_for_all();
        fleet.kill(current.expect("it is with one of them"));
        fleet.leader();
        runtime.block_on(async {
            let running = fleet.running();
            let member = fleet.client(running[0]).await;
            write(&member, &mut random, &mut history).await;
            for watched in &mut watches {
                check(watched, &history).await;
            }
        });
    }
    assert!(history.len() > ROUNDS * STEPS / 2 && watches.len() > 10, "it has tried something");
}
