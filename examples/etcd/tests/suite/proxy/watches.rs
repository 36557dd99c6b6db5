//! Watches through the proxy: many are one, and each sees exactly what it asked for.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::watch_create_request::FilterType;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    DeleteRangeRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchResponse,
};
use tonic::{Code, Request};

use super::running::{Proxy, wait_for_watchers};
use crate::cluster::fleet::Fleet;
use crate::support::calls::{client_of, compact, in_a_runtime, put, runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

fn on(key: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), start_revision, ..Default::default() }
}

async fn open(client: &Client, create: WatchCreateRequest) -> Watch {
    Watch::open(client, create).await.expect("a watch is opened").0
}

/// Revisions and values of the next events, so many.
async fn events(watch: &mut Watch, count: usize) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let message = watch.message().await.expect("the stream goes on");
        assert!(!message.canceled, "{message:?}");
        seen.extend(
            message
                .events
                .into_iter()
                .filter_map(|event| event.kv)
                .map(|kv| (kv.mod_revision, String::from_utf8_lossy(&kv.value).into_owned())),
        );
    }
    seen
}

fn in_front_of(server: &Server, flags: &[&str]) -> Proxy {
    Proxy::start(&[server.client_url()], flags)
}

/// What the proxy is for.
fn two_hundred_are_one(program: &std::path::Path) {
    let server = Server::start(program, &[]);
    let proxy = in_front_of(&server, &[]);
    let runtime = runtime();
    let mut watches = runtime.block_on(async {
        let client = proxy.client().await;
        let mut watches = Vec::new();
        for _ in 0..200 {
            watches.push(open(&client, on("k", 0)).await);
        }
        watches
    });
    wait_for_watchers(&server.client_address(), 1);
    assert_eq!(proxy.number("etcd_grpc_proxy_watchers_coalescing_total"), Some(199.0));
    runtime.block_on(async {
        let revision = put(&client_of(&server).await, "k", "v", 0).await;
        for watch in &mut watches {
            assert_eq!(events(watch, 1).await, [(revision, "v".to_owned())]);
        }
    });
    watches.truncate(1);
    runtime.block_on(async { put(&client_of(&server).await, "k", "w", 0).await });
    wait_for_watchers(&server.client_address(), 1);
    watches.clear();
    // The streams end when the runtime sends that they do.
    drop(runtime);
    wait_for_watchers(&server.client_address(), 0);
    assert_eq!(proxy.number("etcd_grpc_proxy_watchers_coalescing_total"), Some(0.0));
}

#[test]
fn two_hundred_watchers_are_one_at_our_member() {
    two_hundred_are_one(&programs::ours());
}

#[test]
fn two_hundred_watchers_are_one_at_etcd() {
    let Some(real) = programs::real_or_skip("proxy::watches::two_hundred") else { return };
    two_hundred_are_one(&real.etcd);
}

/// Who begins in the past has its history first, and is one with the others then.
#[test]
fn late_joiners_have_their_history_and_are_one_then() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    let runtime = runtime();
    let mut watches = runtime.block_on(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        let mut now = open(&client, on("k", 0)).await;
        for value in 0..30 {
            put(&member, "k", value.to_string(), 0).await;
        }
        assert_eq!(events(&mut now, 30).await.last(), Some(&(31, "29".to_owned())));
        let mut watches = vec![now];
        for start in 2..=31 {
            let mut late = open(&client, on("k", start)).await;
            let all: Vec<_> = (start..=31).map(|at| (at, (at - 2).to_string())).collect();
            assert_eq!(events(&mut late, all.len()).await, all);
            watches.push(late);
        }
        // Of those that begin in the future nothing is to be heard before.
        watches.push(open(&client, on("k", 33)).await);
        put(&member, "k", "next", 0).await;
        watches
    });
    wait_for_watchers(&server.client_address(), 1);
    runtime.block_on(async {
        put(&client_of(&server).await, "k", "last", 0).await;
        let (mut future, rest) = (watches.pop().expect("there is one"), watches);
        assert_eq!(events(&mut future, 1).await, [(33, "last".to_owned())]);
        for mut watch in rest {
            let expected = [(32, "next".to_owned()), (33, "last".to_owned())];
            assert_eq!(events(&mut watch, 2).await, expected);
        }
    });
}

/// One that does not read holds up nobody, and loses nothing.
#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    const EVENTS: usize = 4000;
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    in_a_runtime(async {
        let (idle, busy) = (proxy.client().await, proxy.client().await);
        let member = client_of(&server).await;
        let mut slow = open(&idle, on("k", 0)).await;
        let mut quick = open(&busy, on("k", 0)).await;
        let value = "v".repeat(4096);
        for _ in 0..EVENTS {
            put(&member, "k", value.clone(), 0).await;
        }
        let revisions = |seen: Vec<(i64, String)>| -> Vec<i64> {
            seen.into_iter().map(|(revision, _)| revision).collect()
        };
        let all: Vec<i64> = (2..2 + EVENTS as i64).collect();
        assert_eq!(revisions(events(&mut quick, EVENTS).await), all);
        assert_eq!(revisions(events(&mut slow, EVENTS).await), all);
    });
}

/// What nobody reads waits at the member, and not in the proxy.
#[test]
fn what_a_client_does_not_read_is_not_kept_here() {
    const EVENTS: usize = 800;
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    let runtime = runtime();
    let resident = || proxy.number("process_resident_memory_bytes").expect("it is on the page");
    let before = resident();
    let mut slow = runtime.block_on(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        let slow = open(&client, on("k", 0)).await;
        let value = "v".repeat(256 << 10);
        for _ in 0..EVENTS {
            put(&member, "k", value.clone(), 0).await;
        }
        slow
    });
    let more = resident() - before;
    assert!(more < f64::from(64 << 20), "{more} bytes for 200 MiB that nobody reads");
    let seen = runtime.block_on(events(&mut slow, EVENTS));
    assert_eq!(seen.last().map(|(revision, _)| *revision), Some(1 + EVENTS as i64));
}

/// What one stream asks for is its own affair, whatever the others want of the same keys.
#[test]
fn each_has_its_own_wishes() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    in_a_runtime(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        put(&member, "k", "before", 0).await;
        let filter =
            |filter: FilterType| WatchCreateRequest { filters: vec![filter.into()], ..on("k", 0) };
        let mut plain = open(&client, on("k", 0)).await;
        let mut puts = open(&client, filter(FilterType::Nodelete)).await;
        let mut deletes = open(&client, filter(FilterType::Noput)).await;
        let mut both = open(&client, WatchCreateRequest { prev_kv: true, ..on("k", 0) }).await;
        put(&member, "k", "after", 0).await;
        let delete = DeleteRangeRequest { key: "k".into(), ..Default::default() };
        member.kv().delete_range(delete).await.expect("a deletion is answered");
        assert_eq!(events(&mut plain, 2).await, [(3, "after".into()), (4, String::new())]);
        assert_eq!(events(&mut puts, 1).await, [(3, "after".into())]);
        assert_eq!(events(&mut deletes, 1).await, [(4, String::new())]);
        let message = both.message().await.expect("the stream goes on");
        let before = message.events[0].prev_kv.as_ref().expect("it asked for it");
        assert_eq!(before.value, "before");
    });
}

/// The answers about watches that are none, and of a canceled one, are those of the member.
#[test]
fn refusals_and_ends_are_the_members() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    let said = |through: bool| {
        in_a_runtime(async {
            let member = client_of(&server).await;
            let client = if through { proxy.client().await } else { member };
            let mut said: Vec<WatchResponse> = Vec::new();
            let (mut watch, created) = Watch::open(&client, on("k", 0)).await.unwrap();
            said.push(created);
            let create = RequestUnion::CreateRequest;
            let asked = [
                create(WatchCreateRequest { watch_id: 7, ..on("k", 0) }),
                create(WatchCreateRequest { watch_id: 7, ..on("k", 0) }),
                create(on("k", 0)),
                create(WatchCreateRequest { range_end: "a".into(), ..on("k", 0) }),
                RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 }),
                create(on("past", 2)),
            ];
            for one in asked {
                watch.ask(one).await;
                said.push(watch.message().await.expect("the stream goes on"));
            }
            // Created, and then canceled.
            said.push(watch.message().await.expect("the stream goes on"));
            for header in said.iter_mut().filter_map(|it| it.header.as_mut()) {
                header.raft_term = 0;
            }
            said
        })
    };
    in_a_runtime(async {
        let member = client_of(&server).await;
        for _ in 0..9 {
            put(&member, "past", "v", 0).await;
        }
        compact(&member, 8).await;
    });
    let (direct, through) = (said(false), said(true));
    assert_eq!(direct.last().map(|last| last.compact_revision), Some(8), "{direct:?}");
    assert_eq!(through, direct);
}

/// A client that asks how far its watches are is told what is so: it has been sent all of that.
#[test]
fn progress_is_told_after_what_it_tells_of() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = in_front_of(&server, &[]);
    in_a_runtime(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        let mut watch = open(&client, on("a", 0)).await;
        watch.ask(RequestUnion::CreateRequest(on("b", 0))).await;
        watch.message().await.expect("the other is created");
        for _ in 0..50 {
            put(&member, "a", "v", 0).await;
            let last = put(&member, "b", "v", 0).await;
            let elsewhere = put(&member, "c", "v", 0).await;
            watch.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
            let mut seen = 0;
            loop {
                let message = watch.message().await.expect("the stream goes on");
                let revision = message.header.expect("it has one").revision;
                if message.watch_id == -1 {
                    assert_eq!((message.events.len(), seen), (0, last), "told too early");
                    assert!(revision >= elsewhere, "{revision} is not {elsewhere}");
                    break;
                }
                let last = message.events.last().and_then(|it| it.kv.as_ref());
                // The one watch may be told before the other.
                seen = last.map_or(seen, |kv| kv.mod_revision.max(seen));
            }
        }
    });
}

/// Who asks for a leader is told when there is none; who does not waits for one.
#[test]
fn only_who_wants_a_leader_is_told_that_there_is_none() {
    let Some(mut fleet) = Fleet::start("proxy::watches::leader", 3) else { return };
    let proxy = Proxy::start(&[fleet.url(0)], &[]);
    let runtime = runtime();
    let (mut patient, mut wary) = runtime.block_on(async {
        let client = proxy.client().await;
        let patient = open(&client, on("k", 0)).await;
        let mut marks = Request::new(());
        marks.metadata_mut().insert("hasleader", "true".parse().unwrap());
        let wary = Watch::open_by(&client, marks, on("k", 0)).await.expect("there is a leader").0;
        (patient, wary)
    });
    fleet.kill(1);
    fleet.kill(2);
    let status = runtime.block_on(wary.message()).expect_err("there is no leader");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "etcdserver: no leader"));
    fleet.launch(1);
    fleet.launch(2);
    fleet.wait_for_all();
    runtime.block_on(async {
        let revision = put(&fleet.client(1).await, "k", "v", 0).await;
        assert_eq!(events(&mut patient, 1).await, [(revision, "v".to_owned())]);
    });
}
