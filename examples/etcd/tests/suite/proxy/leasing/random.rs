//! Many clients of two proxies read and write a few keys, while things happen to the proxies and
//! the members.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::request_op::Request;
use drystone_etcd_api::etcdserverpb::response_op::Response;
use drystone_etcd_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Status;

use super::FLAG;
use super::history::{History, What};
use crate::cluster::fleet::Fleet;
use crate::proxy::running::Proxy;
use crate::support::server::Server;
use crate::support::{programs, seed};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// Clients of each proxy, and what each of them does at the least.
const CLIENTS: usize = 4;
const STEPS: usize = 250;
/// How long a client waits for an answer: an owner that was killed is waited for by writers.
const ANSWER_MAX: Duration = Duration::from_secs(3);

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.expect("it has one").revision
}

fn compare(key: &str, at: i64) -> Compare {
    Compare {
        key: key.to_owned().into(),
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        target_union: Some(TargetUnion::ModRevision(at)),
        ..Default::default()
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// A client, and what it last saw of each key.
struct Person {
    name: String,
    url: String,
    client: Client,
    seen: [i64; KEYS.len()],
    history: Arc<History>,
}

impl Person {
    async fn step(&mut self, random: &mut ChaCha8Rng) {
        let at = random.random_range(0..KEYS.len());
        let kind = random.random_range(0..100);
        let step = tokio::time::timeout(ANSWER_MAX, self.act(kind, at));
        // What was not answered is known to the history.
        if !matches!(step.await, Ok(Ok(()))) {
            while let Err(_) | Ok(Err(_)) = tokio::time::timeout(ANSWER_MAX, self.reconnect()).await
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.client = connect(&self.url, &Config::default()).await?;
        Ok(())
    }

    async fn act(&mut self, kind: u32, at: usize) -> Result<(), Status> {
        let (key, history) = (KEYS[at], self.history.clone());
        let (mut kv, is_ours) = (self.client.kv(), history.hears(&self.name));
        let begin = history.tick();
        let unknown = Unknown { history: &history, by: &self.name, key, begin };
        let what = match kind {
            0..75 => {
                std::mem::forget(unknown);
                let range = RangeRequest { key: key.into(), ..Default::default() };
                let answer = kv.range(range).await?.into_inner();
                let seen = answer.kvs.first().map(|kv| kv.mod_revision);
                self.seen[at] = seen.unwrap_or(0);
                history.note(&self.name, key, begin, What::Read(seen));
                return Ok(());
            }
            75..88 => {
                let put = PutRequest { key: key.into(), value: "v".into(), ..Default::default() };
                What::Put(revision(kv.put(put).await?.into_inner().header))
            }
            // etcd's proxy deletes twice what it does not hold, tells of the second time, and of a
            // range not what was there.
            88..92 if is_ours => {
                let delete = DeleteRangeRequest { key: key.into(), ..Default::default() };
                let answer = kv.delete_range(delete).await?.into_inner();
                match answer.deleted {
                    0 => What::Read(None),
                    _ => What::Deleted(revision(answer.header)),
                }
            }
            92..94 if is_ours => {
                // All keys at once: of those that were not there nothing was done.
                let delete =
                    DeleteRangeRequest { key: "a".into(), range_end: "e".into(), prev_kv: true };
                let others = KEYS.iter().filter(|it| **it != key);
                let others: Vec<Unknown<'_>> = others
                    .map(|key| Unknown { history: &history, by: &self.name, key, begin })
                    .collect();
                let answer = kv.delete_range(delete).await?.into_inner();
                let at = revision(answer.header);
                let what = |key: &str| match answer.prev_kvs.iter().any(|kv| kv.key == key) {
                    true => What::Deleted(at),
                    false => What::Read(None),
                };
                for other in others {
                    let what = what(other.key);
                    other.is(what);
                }
                what(key)
            }
            _ => {
                let put = PutRequest { key: key.into(), value: "t".into(), ..Default::default() };
                let range = RangeRequest { key: key.into(), ..Default::default() };
                let txn = TxnRequest {
                    compare: vec![compare(key, self.seen[at])],
                    success: vec![op(Request::RequestPut(put))],
                    failure: vec![op(Request::RequestRange(range))],
                };
                let answer = kv.txn(txn).await?.into_inner();
                match answer.responses.first().and_then(|it| it.response.as_ref()) {
                    Some(Response::ResponseRange(range)) => {
                        What::Read(range.kvs.first().map(|kv| kv.mod_revision))
                    }
                    _ => What::Put(revision(answer.header)),
                }
            }
        };
        unknown.is(what);
        Ok(())
    }
}

/// How long it may take until a proxy holds a key that is read all the time.
const HELD_MAX: Duration = Duration::from_secs(30);

/// A write of which nobody knows what became, unless that is said.
struct Unknown<'a> {
    history: &'a History,
    by: &'a str,
    key: &'a str,
    begin: u64,
}

impl Unknown<'_> {
    fn is(self, what: What) {
        self.history.note(self.by, self.key, self.begin, what);
        std::mem::forget(self);
    }
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        self.history.note(self.by, self.key, self.begin, What::Perhaps);
    }
}

/// Lets the clients of these proxies do what they like until `happens` has happened, and judges it.
fn play(test: &str, urls: &[String], history: History, happens: impl FnOnce(&mut ChaCha8Rng)) {
    let seed = seed(test);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let (history, is_over) = (Arc::new(history), Arc::new(AtomicBool::new(false)));
    let mut people = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        for number in 0..CLIENTS {
            let (history, is_over, url) = (history.clone(), is_over.clone(), url.clone());
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream((at * CLIENTS + number) as u64 + 1);
            people.push(runtime.spawn(async move {
                let client = connect(&url, &Config::default()).await.expect("it listens");
                let name = format!("{at}.{number}");
                let mut person = Person { name, url, client, seen: [0; KEYS.len()], history };
                let mut steps = 0;
                while steps < STEPS || !is_over.load(Ordering::SeqCst) {
                    person.step(&mut random).await;
                    steps += 1;
                }
            }));
        }
    }
    happens(&mut ChaCha8Rng::seed_from_u64(seed));
    is_over.store(true, Ordering::SeqCst);
    runtime.block_on(async {
        for person in people {
            person.await.expect("nobody panics");
        }
    });
    let reads = history.check();
    assert!(reads > CLIENTS * STEPS / 4, "it has tried something: {reads} reads");
}

fn leased(proxy: &Proxy) -> f64 {
    proxy.number("drystone_etcd_proxy_leased_reads_total").unwrap_or(0.0)
}

/// Waits until one of these proxies has answered for a key: the game may not be over before.
fn until_held(proxies: &[&Proxy]) {
    let deadline = Instant::now() + HELD_MAX;
    while proxies.iter().all(|proxy| leased(proxy) == 0.0) {
        assert!(Instant::now() < deadline, "nothing was held");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_of_two_proxies_see_one_history() {
    let server = Server::start(&programs::ours(), &[]);
    let proxies = [0, 1].map(|_| Proxy::start(&[server.client_url()], &[FLAG]));
    let urls = proxies.each_ref().map(Proxy::url);
    let [one, other] = &proxies;
    play("proxy::leasing::random::clients_of_two", &urls, History::default(), |_| {
        until_held(&[one, other]);
    });
}

/// What clients of etcd's own proxy write counts, and what they read does not: this is about ours.
#[test]
fn clients_of_ours_see_one_history_beside_etcds() {
    let test = "proxy::leasing::random::clients_of_ours";
    let Some(real) = programs::real_or_skip(test) else { return };
    let server = Server::start(&real.etcd, &[]);
    let ours = Proxy::start(&[server.client_url()], &[FLAG]);
    let etcds = Proxy::start_as(&real.etcd, &[server.client_url()], &[FLAG]);
    let judged = History::without_reads_of("1.");
    play(test, &[ours.url(), etcds.url()], judged, |_| until_held(&[&ours]));
}

/// Members die and come back under it, and one proxy is killed and started anew.
#[test]
fn the_history_is_one_whoever_dies() {
    let Some(mut fleet) = Fleet::start("proxy::leasing::random::whoever_dies", 3) else { return };
    let endpoints: Vec<String> = (0..3).map(|number| fleet.url(number)).collect();
    let stays = Proxy::start(&endpoints, &[FLAG]);
    let mut dies = Proxy::start(&endpoints, &[FLAG]);
    let urls = [stays.url(), dies.url()];
    play("proxy::leasing::random::the_history", &urls, History::default(), |random| {
        for round in 0..4 {
            std::thread::sleep(Duration::from_millis(random.random_range(500..2000)));
            if round % 2 == 0 {
                let number = random.random_range(0..3);
                fleet.kill(number);
                std::thread::sleep(Duration::from_millis(random.random_range(500..2000)));
                fleet.launch(number);
                fleet.wait_for_all();
            } else {
                dies.restart();
            }
        }
    });
    assert!(leased(&stays) > 0.0, "nothing was held");
}
