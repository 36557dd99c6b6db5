//! Clients that reach members through it.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};

use super::Gateway;
use crate::cluster::fleet::{Fleet, PATIENCE};
use crate::srv::names::{Data, Names};
use crate::srv::room::within;
use crate::support::calls::{self, in_a_runtime};
use crate::support::programs;
use crate::support::server::{Server, clean_command, free_port};
use crate::support::watch::Watch;
use crate::tls::papers::{Authority, Person};
use crate::tls::secured::Started;

/// What `etcdctl` says of whoever is at an address.
fn ctl(etcdctl: &Path, url: &str, words: &[&str]) -> (bool, String) {
    let mut command = clean_command(etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={url}")).args(words);
    let output = command.stdin(Stdio::null()).output().expect("etcdctl can be started");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The real `etcdctl` sees no difference between this gateway and etcd's.
#[test]
fn etcdctl_works_through_it_as_through_etcds() {
    let test = "forward::members::etcdctl_works_through_it_as_through_etcds";
    let Some(real) = programs::real_or_skip(test) else { return };
    let transcripts = [programs::ours(), real.etcd].map(|program| {
        let server = Server::start(&programs::ours(), &[]);
        let gateway = Gateway::start(&program, &[format!("{}/", server.client_url())], &[]);
        let words: [&[&str]; 6] = [
            &["put", "a", "1"],
            &["get", "a"],
            &["get", "", "--prefix", "--keys-only"],
            &["del", "a"],
            &["get", "a", "--rev=2"],
            &["compaction", "9"],
        ];
        words.map(|words| ctl(&real.etcdctl, &gateway.url(), words))
    });
    assert_eq!(transcripts[0], transcripts[1]);
    assert!(transcripts[0][0].0, "{transcripts:?}");
}

/// Large answers and watches are bytes like all others.
#[test]
fn a_watch_and_a_large_range_come_through() {
    let server = Server::start(&programs::ours(), &[]);
    let gateway = Gateway::ours(&[server.client_address()], &[]);
    in_a_runtime(async {
        let client = connect(&gateway.url(), &Config::default()).await.unwrap();
        let on_all = WatchCreateRequest {
            key: "large/".into(),
            range_end: "large0".into(),
            ..WatchCreateRequest::default()
        };
        let (mut watch, _) = Watch::open(&client, on_all).await.unwrap();
        for number in 0..64 {
            calls::put(&client, &format!("large/{number}"), vec![b'x'; 1 << 18], 0).await;
        }
        let range =
            RangeRequest { key: "large/".into(), range_end: "large0".into(), ..Default::default() };
        let all = client.kv().range(range).await.unwrap().into_inner();
        assert_eq!((all.kvs.len(), all.kvs[63].value.len()), (64, 1 << 18));
        let mut events = 0;
        while events < 64 {
            events += watch.message().await.unwrap().events.len();
        }
    });
}

/// Puts again and again until it is acknowledged.
async fn until_put(client: &Client, key: &str) {
    let began = Instant::now();
    loop {
        let (key, value) = (key.to_owned().into(), "v".into());
        let put = client.kv().put(PutRequest { key, value, ..PutRequest::default() }).await;
        match put {
            Ok(_) => return,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// The member that a client was led to is killed: the next connection goes to another.
#[test]
fn clients_go_on_when_a_member_is_killed() {
    let test = "forward::members::clients_go_on_when_a_member_is_killed";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    let endpoints: Vec<String> = (0..3).map(|number| fleet.url(number)).collect();
    let mut gateway = Gateway::ours(&endpoints, &["--retry-delay=500ms"]);
    let runtime = calls::runtime();
    // It connects again by itself.
    let client = runtime.block_on(connect(&gateway.url(), &Config::default())).unwrap();
    runtime.block_on(until_put(&client, "before"));
    for round in 0..3 {
        fleet.kill(round);
        runtime.block_on(async {
            for number in 0..5 {
                until_put(&client, &format!("{round}/{number}")).await;
            }
            // New connections, one for each member that there was.
            for _ in 0..3 {
                let other = connect(&gateway.url(), &Config::default()).await.unwrap();
                calls::get_once(&other, "before").await;
            }
        });
        fleet.launch(round);
        fleet.wait_for_all();
    }
    gateway.process.wait_until("\"activated\"");
    assert_eq!(fleet.get(0, "2/4"), "v");
}

/// Records say where members are, and a certificate for the domain that they are right.
#[test]
fn records_of_a_domain_are_followed_if_certificates_say_so() {
    let test = "forward::members::records_of_a_domain_are_followed_if_certificates_say_so";
    within(test, || {
        let real = programs::real().expect("outside it was looked for it");
        let (names, folder) = (Names::serve(), tempfile::tempdir().unwrap());
        let authority = Authority::new(&folder.path().join("papers"));
        let hosts = ["rack.test", "127.0.0.1"];
        let papers = authority.sign("server", Person { hosts: &hosts, ..Person::SERVER });
        let ports = [free_port(), free_port()];
        let [secured, _] = ports;
        let url = format!("https://127.0.0.1:{secured}");
        let peer = format!("http://127.0.0.1:{}", free_port());
        let mut command = clean_command(&programs::ours());
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        command.arg("--cert-file").arg(&papers.cert).arg("--key-file").arg(&papers.key);
        let mut member = Started::new(command, &folder.path().join("log"));
        member.wait_until("ready to serve client requests");
        names.add_service("_etcd-client-ssl._tcp.rack.test", "m1.rack.test", secured);
        // Somebody without a certificate, who is preferred.
        let target = "m2.rack.test".to_owned();
        let liar = Data::Srv { priority: 0, weight: 9, port: ports[1], target };
        names.add("_etcd-client._tcp.rack.test", liar);
        names.add("m2.rack.test", Data::A(std::net::Ipv4Addr::LOCALHOST));
        let ca = format!("--trusted-ca-file={}", authority.file().display());
        let found = ["--discovery-srv=rack.test", &ca];
        for program in [&programs::ours(), &real.etcd] {
            let mut gateway = Gateway::start(program, &[], &found);
            let log = gateway.process.log();
            assert!(log.contains("validating discovered SRV endpoints"), "{log}");
            assert!(log.contains("is insecure"), "{log}");
            let ready = log.lines().find(|line| line.contains("ready to proxy")).unwrap();
            let place = format!("m1.rack.test:{secured}").replace("test:", "test");
            assert!(ready.replace(".:", "").replace("test:", "test").contains(&place), "{ready}");
            assert!(!ready.contains("m2.rack"), "{ready}");
            let url = format!("https://{}", gateway.address());
            let mut words = vec!["--cacert".to_owned(), authority.file().display().to_string()];
            words.extend(["put", "a", "1"].map(str::to_owned));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert!(ctl(&real.etcdctl, &url, &words).0, "{}", gateway.process.log());
            // Whoever takes everything for true gets the liar as well.
            let insecure = ["--discovery-srv=rack.test", "--insecure-discovery"];
            gateway = Gateway::start(program, &[], &insecure);
            let log = gateway.process.log();
            let ready = log.lines().find(|line| line.contains("ready to proxy")).unwrap();
            assert!(ready.contains("m1.rack") && ready.contains("m2.rack"), "{ready}");
            let output = clean_command(program)
                .args(["gateway", "start", "--discovery-srv=none.test"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let expected = "dns lookup errors: lookup _etcd-client-ssl._tcp.none.test on \
                127.0.0.1:53: no such host and lookup _etcd-client._tcp.none.test on \
                127.0.0.1:53: no such host";
            assert!(output.status.code() == Some(1) && text.contains(expected), "{text}");
        }
    });
}
