//! Certificates between clients and the proxy, and between it and the members.

use std::path::Path;
use std::process::Command;

use super::running::{Proxy, command, number};
use crate::cluster::fleet::wait;
use crate::support::programs::{self, Real};
use crate::support::server::{clean_command, free_port};
use crate::tls::papers::{Authority, Papers, Person};
use crate::tls::secured::Started;

/// etcdctl tries for as long as it may, whatever it is told.
const BRIEF: &str = "--command-timeout=3s";

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// A member whose clients must show a certificate; where it is, and where it says that it is, which
/// is another port of the same member.
fn member(
    program: &Path,
    folder: &Path,
    authority: &Authority,
    papers: &Papers,
) -> (Started, [String; 2]) {
    let urls = [free_port(), free_port()].map(|port| format!("https://127.0.0.1:{port}"));
    let peer = free_port();
    let peer_url = format!("http://127.0.0.1:{peer}");
    let mut command = clean_command(program);
    command.args(["--name", "solo", "--data-dir", &show(&folder.join("data"))]);
    command.args(["--listen-client-urls", &urls.join(","), "--advertise-client-urls", &urls[1]]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("solo={peer_url}")]);
    command.args(["--cert-file", &show(&papers.cert), "--key-file", &show(&papers.key)]);
    command.args(["--trusted-ca-file", &show(&authority.file()), "--client-cert-auth"]);
    let mut started = Started::new(command, &folder.join("member.log"));
    started.wait_until("ready to serve client requests");
    (started, urls)
}

fn ctl(real: &Real, endpoint: &str, authority: &Authority, papers: Option<&Papers>) -> Command {
    let mut command = clean_command(&real.etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoint}"));
    command.args(["--command-timeout=20s", "--cacert", &show(&authority.file())]);
    if let Some(papers) = papers {
        command.args(["--cert", &show(&papers.cert), "--key", &show(&papers.key)]);
    }
    command
}

fn works(mut command: Command, words: &[&str]) -> Result<String, String> {
    let output = command.args(words).output().expect("etcdctl can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn both_sides(test: &str, of_etcd: bool) {
    let Some(real) = programs::real_or_skip(test) else { return };
    let program = if of_etcd { real.etcd.clone() } else { programs::ours() };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let inner = Authority::new(&folder.path().join("inner"));
    let outer = Authority::new(&folder.path().join("outer"));
    let (_member, [url, other_url]) =
        member(&program, folder.path(), &inner, &inner.sign("server", Person::SERVER));
    let nameless = inner.sign("proxy", Person { common_name: "", ..Person::CLIENT });
    let shown = outer.sign("front", Person::SERVER);
    let flags = [
        format!("--cacert={}", show(&inner.file())),
        format!("--cert={}", show(&nameless.cert)),
        format!("--key={}", show(&nameless.key)),
        format!("--cert-file={}", show(&shown.cert)),
        format!("--key-file={}", show(&shown.key)),
        format!("--trusted-ca-file={}", show(&outer.file())),
    ];
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let monitor = format!("127.0.0.1:{}", free_port());
    let metrics = format!("--metrics-addr=http://{monitor}");
    flags.extend(["--endpoints-auto-sync-interval=50ms", &metrics]);
    let proxy = Proxy::start(&[url], &flags);
    let now = format!("drystone_etcd_proxy_endpoint{{endpoint=\"{other_url}\"}}");
    let endpoint = format!("https://{}", proxy.address());
    let client = outer.sign("client", Person::CLIENT);
    let ask = |papers| ctl(&real, &endpoint, &outer, papers);
    assert_eq!(works(ask(Some(&client)), &["put", "k", "v"]).as_deref(), Ok("OK"));
    assert_eq!(works(ask(Some(&client)), &["get", "k"]).as_deref(), Ok("k\nv"));
    // Members are asked for where they are with the same papers, and are reached there.
    let moved = wait(|| (number(&monitor, "/proxy/metrics", &now) == Some(1.0)).then_some(()));
    assert!(moved.is_some(), "{}", proxy.log());
    assert_eq!(works(ask(Some(&client)), &["get", "k"]).as_deref(), Ok("k\nv"));
    // Without papers nobody comes in, nor with those of another authority.
    works(ask(None), &[BRIEF, "get", "k"]).expect_err("it has to show something");
    let stranger = inner.sign("stranger", Person::CLIENT);
    works(ask(Some(&stranger)), &[BRIEF, "get", "k"])
        .expect_err("nobody knows that authority here");
    assert!(proxy.log().contains("rejected connection on client endpoint"), "{}", proxy.log());
}

#[test]
fn papers_are_shown_on_both_sides_with_our_member() {
    both_sides("proxy::papers::ours", false);
}

#[test]
fn papers_are_shown_on_both_sides_with_etcd() {
    both_sides("proxy::papers::etcd", true);
}

/// Members would take the name for a user's, who all clients would be then. As in etcd.
#[test]
fn a_certificate_with_a_name_is_refused() {
    let Some(real) = programs::real_or_skip("proxy::papers::name") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let authority = Authority::new(&folder.path().join("papers"));
    let named = authority.sign("proxy", Person { common_name: "root", ..Person::CLIENT });
    let said: Vec<_> = [programs::ours(), real.etcd]
        .iter()
        .map(|program| {
            let members = ["https://127.0.0.1:1".to_owned()];
            let mut command = command(program, &members, free_port(), folder.path());
            command.arg(format!("--cert={}", show(&named.cert)));
            command.arg(format!("--key={}", show(&named.key)));
            command.arg(format!("--cacert={}", show(&authority.file())));
            let output = command.output().expect("the proxy can be started");
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = err.lines().find(|line| line.contains("Common Name")).map(str::to_owned);
            (output.status.code(), line)
        })
        .collect();
    let cert = show(&named.cert);
    let expected = format!("cert has non empty Common Name (root): {cert}");
    assert_eq!(said[0], (Some(1), Some(expected)));
    assert_eq!(said[1].0, Some(1), "etcd's own: {said:?}");
}

/// A certificate that the proxy makes for itself is kept.
#[test]
fn a_certificate_is_made_where_none_is_given() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let run = || {
        let log = folder.path().join("log");
        let members = ["127.0.0.1:1".to_owned()];
        let mut command = command(&programs::ours(), &members, free_port(), folder.path());
        command.arg("--auto-tls");
        let mut started = Started::new(command, &log);
        started.wait_until("started gRPC proxy");
        assert!(started.log().contains("\"secure\":true"), "{}", started.log());
        let made = folder.path().join("proxy/fixtures/proxy/cert.pem");
        wait(|| std::fs::read(&made).ok()).expect("it is made")
    };
    assert_eq!(run(), run());
}
