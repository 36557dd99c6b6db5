//! Flags, statuses, pages; and who is listed as a member.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb::{
    MemberListRequest, PutRequest, RangeRequest, WatchCreateRequest,
};
use drystone_etcd_api::health::HealthCheckRequest;
use drystone_etcd_api::health::health_client::HealthClient;
use drystone_etcd_api::v3electionpb::election_client::ElectionClient;
use drystone_etcd_api::v3electionpb::{CampaignRequest, LeaderRequest};
use tonic::{Code, Request};

use super::running::{Proxy, command};
use crate::cluster::fleet::{page, wait};
use crate::support::calls::{client_of, get, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::{Server, free_port};
use crate::support::watch::Watch;

/// Scripts look at the status.
#[test]
fn mistakes_end_with_etcds_status() {
    let Some(real) = programs::real_or_skip("proxy::words::mistakes") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let run = |program: &std::path::Path, words: &[&str]| {
        let members = ["127.0.0.1:1".to_owned()];
        let mut command = command(program, &members, free_port(), folder.path());
        let output = command.args(words).output().expect("the proxy can be started");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let both: [(&[&str], &str); 6] = [
        (&["--nonsense"], "unknown flag: --nonsense"),
        (&["--resolver-ttl=3"], "invalid resolver-prefix \"\""),
        (&["--resolver-prefix=a"], "invalid resolver-ttl 0"),
        (&["--max-send-bytes=x"], "max-send-bytes"),
        (&["--listen-addr=nowhere"], "listen tcp"),
        (&["--cert=/nowhere", "--key=/nowhere"], "/nowhere"),
    ];
    for (words, text) in both {
        for program in [&programs::ours(), &real.etcd] {
            let (status, err) = run(program, words);
            assert_eq!(status, Some(1), "{words:?}: {err}");
            assert!(err.contains(text), "{words:?}: {err}");
        }
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = format!("--listen-addr={}", taken.local_addr().expect("it has one"));
    let (status, err) = run(&programs::ours(), &[&address]);
    assert_eq!((status, err.contains("failed to listen")), (Some(1), true), "{err}");
}

/// Monitoring made for etcd's proxy finds its pages.
#[test]
fn pages_are_etcds() {
    let mut server = Server::start(&programs::ours(), &[]);
    let monitor = free_port();
    let flags = [format!("--metrics-addr=http://127.0.0.1:{monitor}")];
    let mut proxy = Proxy::start(&[server.client_url()], &[&flags[0]]);
    for address in [proxy.address(), format!("127.0.0.1:{monitor}")] {
        let healthy = (200, r#"{"health":"true","reason":""}"#.to_owned());
        assert_eq!(page(&address, "/health"), healthy);
        assert_eq!(page(&address, "/proxy/health"), healthy);
        assert!(page(&address, "/metrics").1.contains("\netcd_server_has_leader 1\n"));
        let own = page(&address, "/proxy/metrics").1;
        assert!(own.contains("etcd_grpc_proxy_cache_hits_total"), "{own}");
        assert_eq!(page(&address, "/elsewhere").0, 404);
    }
    // A watch that only looked whether one can be is not left behind.
    super::running::wait_for_watchers(&server.client_address(), 0);
    server.kill();
    let (status, body) = page(&proxy.address(), "/health");
    assert_eq!((status, body.contains("GET ERROR:")), (503, true), "{body}");
    assert_eq!(page(&proxy.address(), "/metrics").0, 500);
    assert_eq!(proxy.terminate().code(), Some(0), "{}", proxy.log());
}

async fn members(client: &Client) -> Vec<Vec<String>> {
    let list = client.cluster().member_list(MemberListRequest::default()).await;
    let list = list.expect("members are listed");
    let mut urls: Vec<_> =
        list.into_inner().members.into_iter().map(|member| member.client_ur_ls).collect();
    urls.sort();
    urls
}

/// Proxies find each other, ours and etcd's, by keys that live as long as they do.
#[test]
fn proxies_are_listed_while_they_live() {
    let Some(real) = programs::real_or_skip("proxy::words::listed") else { return };
    let server = Server::start(&programs::ours(), &[]);
    let endpoints = [server.client_url()];
    let flags = ["--resolver-prefix=proxies", "--resolver-ttl=2"];
    let named = |name: &'static str| [flags[0], flags[1], name];
    let mut first = Proxy::start(&endpoints, &named("--advertise-client-url=first:1"));
    let etcds = Proxy::start_as(&real.etcd, &endpoints, &named("--advertise-client-url=second:2"));
    let asks = |proxy: &Proxy| in_a_runtime(async { members(&proxy.client().await).await });
    let all = [["first:1".to_owned()], ["second:2".to_owned()]];
    for proxy in [&first, &etcds] {
        let listed = wait(|| (asks(proxy) == all).then_some(()));
        assert!(listed.is_some(), "{:?}\n{}", asks(proxy), proxy.log());
    }
    let stands = in_a_runtime(async { get(&client_of(&server).await, "proxies/first:1").await });
    let value = String::from_utf8_lossy(&stands.kvs[0].value).into_owned();
    assert!(value.starts_with(r#"{"Op":0,"Addr":"first:1","Metadata":"{\"name\":"#), "{value}");
    drop(etcds);
    let gone = wait(|| (asks(&first) == all[..1]).then_some(()));
    assert!(gone.is_some(), "{:?}", asks(&first));
    // One that ends in order is gone at once.
    assert_eq!(first.terminate().code(), Some(0), "{}", first.log());
    let stands = in_a_runtime(async { get(&client_of(&server).await, "proxies/first:1").await });
    assert_eq!(stands.count, 0);
    // Without a place to be listed, the proxy names itself; without a name, the members.
    let alone = Proxy::start(&endpoints, &["--advertise-client-url=alone:1"]);
    assert_eq!(asks(&alone), [["alone:1".to_owned()]]);
    let silent = Proxy::start(&endpoints, &["--advertise-client-url="]);
    assert_eq!(asks(&silent), [[server.client_url()]]);
}

/// What is too large is refused on both ways, in the words of gRPC in Go; nothing hangs.
#[test]
fn sizes_are_bounded() {
    let server = Server::start(&programs::ours(), &[]);
    let endpoints = [server.client_url()];
    let proxy = Proxy::start(&endpoints, &["--max-send-bytes=1000", "--max-recv-bytes=3000"]);
    in_a_runtime(async {
        let (client, member) = (proxy.client().await, client_of(&server).await);
        let large =
            PutRequest { key: "k".into(), value: vec![0; 2000].into(), ..Default::default() };
        let refused = client.kv().put(large).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().starts_with("trying to send message larger than max"));
        let huge =
            PutRequest { key: "k".into(), value: vec![0; 5 << 20].into(), ..Default::default() };
        let refused = client.kv().put(huge).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        put(&member, "k", vec![0; 4000], 0).await;
        let range = RangeRequest { key: "k".into(), ..Default::default() };
        let refused = client.kv().range(range).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.message().contains("received message larger than max"), "{refused}");
    });
}

/// What a client stops waiting for is stopped at the member, and nothing is answered too late.
#[test]
fn deadlines_and_ends_are_passed_on() {
    let server = Server::start(&programs::ours(), &[]);
    let proxy = Proxy::start(&[server.client_url()], &[]);
    let runtime = crate::support::calls::runtime();
    runtime.block_on(async {
        let client = proxy.client().await;
        let campaign = |lease| CampaignRequest { name: "e".into(), lease, value: "v".into() };
        let mut election = ElectionClient::new(client.channel());
        crate::support::calls::grant(&client, 7, 60).await;
        crate::support::calls::grant(&client, 8, 60).await;
        election.campaign(campaign(7)).await.expect("it leads");
        let mut waits = Request::new(campaign(8));
        waits.set_timeout(std::time::Duration::from_millis(300));
        let late = election.campaign(waits).await.unwrap_err();
        assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");
        let observed = election.observe(LeaderRequest { name: "e".into() }).await.unwrap();
        let first = observed.into_inner().message().await.unwrap().unwrap();
        assert_eq!(first.kv.unwrap().value, "v");
        let watch = WatchCreateRequest { key: "k".into(), ..Default::default() };
        drop(Watch::open(&client, watch).await.unwrap());
        let health = HealthClient::new(client.channel()).check(HealthCheckRequest::default()).await;
        assert_eq!(health.unwrap().into_inner().status, 1);
    });
    // The candidate that gave up has taken its key away.
    let gone = wait(|| {
        let count = runtime.block_on(async {
            let range =
                RangeRequest { key: "e/".into(), range_end: "e0".into(), ..Default::default() };
            let client = client_of(&server).await;
            client.kv().range(range).await.expect("a range is answered").into_inner().count
        });
        (count == 1).then_some(())
    });
    assert!(gone.is_some(), "the candidate still stands");
    super::running::wait_for_watchers(&server.client_address(), 0);
}
