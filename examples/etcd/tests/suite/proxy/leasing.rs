//! `--experimental-leasing-prefix`: linearizable reads that cost the members nothing, and whether
//! they are linearizable.

mod history;
mod random;

use std::time::Instant;

use drystone_etcd_api::authpb::permission::Type;
use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{AuthEnableRequest, PutRequest, RangeRequest, RangeResponse};
use rustix::process::Signal;
use tonic::{Code, Status};

use super::running::Proxy;
use crate::auth::{CHEAP, add_role, add_user, allow, by, give_role, log_in};
use crate::cluster::fleet::{Fleet, PATIENCE, wait};
use crate::support::calls::{client_of, get, grant, put, revoke, runtime};
use crate::support::programs;
use crate::support::server::Server;

pub(crate) const FLAG: &str = "--experimental-leasing-prefix=l/";

fn held(proxy: &Proxy) -> f64 {
    proxy.number("drystone_etcd_proxy_leased_keys").expect("it is on the page")
}

fn reads(proxy: &Proxy) -> f64 {
    proxy.number("drystone_etcd_proxy_leased_reads_total").expect("it is on the page")
}

async fn try_get(client: &Client, key: &str) -> Result<RangeResponse, Status> {
    let range = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    Ok(client.kv().range(range).await?.into_inner())
}

fn value(answer: &RangeResponse) -> &[u8] {
    answer.kvs.first().map_or(b"", |kv| &kv.value)
}

/// Reads until the proxy answers for the key.
async fn hold(proxy: &Proxy, client: &Client, key: &str) {
    let (begin, before) = (Instant::now(), reads(proxy));
    while reads(proxy) == before {
        assert!(begin.elapsed() < PATIENCE, "it is not held\n{}", proxy.log());
        get(client, key).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The answers are those of members, field by field, but for the revision, which is one of now.
#[test]
fn what_is_held_is_read_here() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[FLAG]);
    runtime().block_on(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        put(&client, "k", "1", 0).await;
        hold(&proxy, &client, "k").await;
        let count = reads(&proxy);
        let plain = RangeRequest { key: "k".into(), ..Default::default() };
        let asked = [
            plain.clone(),
            RangeRequest { serializable: true, ..plain.clone() },
            RangeRequest { keys_only: true, ..plain.clone() },
            RangeRequest { count_only: true, ..plain.clone() },
        ];
        for range in asked {
            let read = client.kv().range(range.clone()).await.unwrap().into_inner();
            let direct = member.kv().range(range).await.unwrap().into_inner();
            assert_eq!(
                (&read.kvs, read.count, read.more),
                (&direct.kvs, direct.count, direct.more)
            );
        }
        assert_eq!(reads(&proxy), count + 4.0);
        // What asks for more than that is asked of the member.
        let at = RangeRequest { revision: 2, ..plain.clone() };
        assert_eq!(value(&client.kv().range(at).await.unwrap().into_inner()), b"1");
        let newer = RangeRequest { min_mod_revision: 99, ..plain };
        assert!(client.kv().range(newer).await.unwrap().into_inner().kvs.is_empty());
        assert_eq!(reads(&proxy), count + 4.0);
        // Written here, it stays held, and the head is of now.
        let at = put(&client, "k", "2", 0).await;
        let elsewhere = put(&client, "elsewhere", "v", 0).await;
        let read = get(&client, "k").await;
        assert_eq!(
            (value(&read), read.kvs[0].mod_revision, read.kvs[0].version),
            (&b"2"[..], at, 2)
        );
        assert_eq!(read.header.unwrap().revision, elsewhere);
        assert_eq!(reads(&proxy), count + 5.0);
        // The key that says so hangs on the proxy's lease.
        let lease_key = get(&member, "l/k").await;
        assert!(lease_key.kvs[0].value.is_empty() && lease_key.kvs[0].lease != 0, "{lease_key:?}");
    });
}

/// A key that goes when its lease ends is gone without anybody's asking for it.
#[test]
fn what_may_go_by_itself_is_not_held() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[FLAG]);
    runtime().block_on(async {
        let client = proxy.client().await;
        put(&client, "k", "1", 0).await;
        hold(&proxy, &client, "k").await;
        grant(&client, 7, 600).await;
        put(&client, "k", "2", 7).await;
        put(&client, "other", "2", 7).await;
        for key in ["k", "other"] {
            assert_eq!(value(&get(&client, key).await), b"2");
            get(&client, key).await;
        }
        revoke(&client, 7).await;
        for key in ["k", "other", "never was"] {
            for _ in 0..3 {
                assert_eq!(get(&client, key).await.count, 0, "{key}");
            }
        }
        assert_eq!(held(&proxy), 0.0);
    });
}

/// Both proxies in front of one member, and each has held the key when the other writes it.
fn two_respect_each_other(first: &Proxy, second: &Proxy) {
    let runtime = runtime();
    runtime.block_on(async {
        let clients = [first.client().await, second.client().await];
        put(&clients[0], "k", "start", 0).await;
        for round in 0..6 {
            let (writes, other) = (&clients[round % 2], &clients[(round + 1) % 2]);
            for _ in 0..3 {
                get(other, "k").await;
            }
            let value = round.to_string();
            let written = tokio::time::timeout(PATIENCE, put(writes, "k", value.clone(), 0)).await;
            written.expect("the other gives it up");
            for client in [other, writes] {
                assert_eq!(get(client, "k").await.kvs[0].value, value);
            }
        }
    });
}

#[test]
fn two_proxies_give_up_for_each_other() {
    let server = Server::start(&programs::ours(), &[]);
    let start = || Proxy::start(&[server.client_url()], &[FLAG, "--namespace=n/"]);
    two_respect_each_other(&start(), &start());
}

/// In front of our member and of etcd, with and without a namespace.
#[test]
fn etcds_proxy_and_ours_give_up_for_each_other() {
    let Some(real) = programs::real_or_skip("proxy::leasing::etcds") else { return };
    for program in [&programs::ours(), &real.etcd] {
        for flags in [&[FLAG][..], &[FLAG, "--namespace=n/"]] {
            let server = Server::start(program, &[]);
            let endpoints = [server.client_url()];
            let ours = Proxy::start(&endpoints, flags);
            let etcds = Proxy::start_as(&real.etcd, &endpoints, flags);
            two_respect_each_other(&ours, &etcds);
            let runtime = runtime();
            runtime.block_on(async {
                let client = ours.client().await;
                put(&client, "mine", "1", 0).await;
                hold(&ours, &client, "mine").await;
                let member = client_of(&server).await;
                let name = if flags.len() > 1 { "n/l/mine" } else { "l/mine" };
                assert_eq!(get(&member, name).await.count, 1, "{name}");
                put(&etcds.client().await, "mine", "2", 0).await;
                assert_eq!(value(&get(&client, "mine").await), b"2");
            });
        }
    }
}

/// Nobody writes what a dead proxy may still answer for, nor waits for it for ever.
#[test]
fn a_writer_waits_until_a_dead_proxys_lease_has_ended() {
    let server = Server::start(&programs::ours(), &[]);
    let start = || Proxy::start(&[server.client_url()], &[FLAG]);
    let (mut dies, stays) = (start(), start());
    runtime().block_on(async {
        let client = dies.client().await;
        put(&client, "k", "1", 0).await;
        hold(&dies, &client, "k").await;
        dies.kill();
        let (client, begin) = (stays.client().await, Instant::now());
        assert_eq!(value(&get(&client, "k").await), b"1", "it may be read meanwhile");
        put(&client, "another", "1", 0).await;
        assert!(begin.elapsed().as_secs() < 5, "what is not held is written at once");
        let written = tokio::time::timeout(PATIENCE, put(&client, "k", "2", 0)).await;
        written.expect("the lease ends");
        // Its lease has ten seconds, of which it had renewed some.
        assert!(begin.elapsed().as_secs() >= 6, "{:?}", begin.elapsed());
        assert_eq!(value(&get(&client, "k").await), b"2");
    });
}

/// One that is stopped for so long that its lease ends does not go on where it was.
#[test]
fn a_proxy_that_slept_through_its_lease_knows_it() {
    let server = Server::start(&programs::ours(), &[]);
    let start = || Proxy::start(&[server.client_url()], &[FLAG]);
    let (sleeps, wakes) = (start(), start());
    runtime().block_on(async {
        let (client, other) = (sleeps.client().await, wakes.client().await);
        put(&client, "k", "1", 0).await;
        hold(&sleeps, &client, "k").await;
        sleeps.signal(Signal::STOP);
        put(&other, "k", "2", 0).await;
        let read = tokio::spawn(async move { get(&client, "k").await });
        sleeps.signal(Signal::CONT);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("in time").unwrap();
        assert_eq!(value(&read), b"2");
    });
}

/// The member that the proxy is with dies; the lease is the cluster's.
#[test]
fn what_is_held_outlives_a_member() {
    let Some(mut fleet) = Fleet::start("proxy::leasing::member", 3) else { return };
    let near = fleet.follower();
    let mut order: Vec<usize> = vec![near];
    order.extend((0..3).filter(|number| *number != near));
    let endpoints: Vec<String> = order.iter().map(|number| fleet.url(*number)).collect();
    let (first, second) = (Proxy::start(&endpoints, &[FLAG]), Proxy::start(&endpoints, &[FLAG]));
    let runtime = runtime();
    let clients = runtime.block_on(async {
        let clients = [first.client().await, second.client().await];
        put(&clients[0], "k", "1", 0).await;
        hold(&first, &clients[0], "k").await;
        clients
    });
    fleet.kill(near);
    runtime.block_on(async {
        let count = reads(&first);
        assert_eq!(value(&get(&clients[0], "k").await), b"1");
        assert_eq!(reads(&first), count + 1.0, "nobody was asked");
        let mut written = Err(Status::unavailable(""));
        while written.as_ref().is_err_and(|it: &Status| it.code() == Code::Unavailable) {
            let put = PutRequest { key: "k".into(), value: "2".into(), ..Default::default() };
            let put = tokio::time::timeout(PATIENCE, async { clients[1].kv().put(put).await });
            written = put.await.expect("in time");
        }
        written.expect("the owner has heard of it from another member");
        assert_eq!(value(&try_get(&clients[0], "k").await.unwrap()), b"2");
    });
}

/// Whoever may not read is not told here what others could read before.
#[test]
fn nothing_is_told_when_users_are_turned_on() {
    for through_proxy in [true, false] {
        let server = Server::start(&programs::ours(), &[CHEAP]);
        let proxy = Proxy::start(&[server.client_url()], &[FLAG]);
        let runtime = runtime();
        let client = runtime.block_on(proxy.client());
        let (member, token) = runtime.block_on(async {
            let member = client_of(&server).await;
            put(&client, "k", "secret", 0).await;
            add_user(&member, "root", "pw").await;
            give_role(&member, "root", "root").await;
            add_user(&member, "eve", "pw").await;
            add_role(&member, "eve").await;
            allow(&member, "eve", Type::Readwrite, b"eve", b"").await;
            give_role(&member, "eve", "eve").await;
            hold(&proxy, &client, "k").await;
            let by_whom = if through_proxy { &client } else { &member };
            by_whom.auth().auth_enable(AuthEnableRequest {}).await.expect("there is a root");
            let token = log_in(&member, "root", "pw").await.expect("a token is given");
            (member, token)
        });
        let refused = || runtime.block_on(try_get(&client, "k")).err();
        // Who changes rights through the proxy is heard; others are noticed.
        let refused = if through_proxy { refused() } else { wait(refused) };
        let refused = refused.expect("nobody in particular may not read");
        runtime.block_on(async {
            let direct = try_get(&member, "k").await.expect_err("nor at the member");
            assert_eq!((refused.code(), refused.message()), (direct.code(), direct.message()));
            let eve = log_in(&client, "eve", "pw").await.expect("a token is given");
            let range = || RangeRequest { key: "k".into(), ..Default::default() };
            let count = reads(&proxy);
            for _ in 0..3 {
                let denied = client.kv().range(by(&eve, range())).await.unwrap_err();
                assert_eq!(denied.code(), Code::PermissionDenied);
                let read = client.kv().range(by(&token, range())).await.unwrap().into_inner();
                assert_eq!(value(&read), b"secret");
            }
            let put = PutRequest { key: "k".into(), value: "new".into(), ..Default::default() };
            let denied = client.kv().put(by(&eve, put.clone())).await.unwrap_err();
            assert_eq!(denied.code(), Code::PermissionDenied);
            client.kv().put(by(&token, put)).await.expect("root may");
            let read = client.kv().range(by(&token, range())).await.unwrap().into_inner();
            assert_eq!(value(&read), b"new");
            assert_eq!(reads(&proxy), count, "rights are judged by members alone");
        });
    }
}
