//! Clients: with the right certificate, with none, with a wrong one.

use std::path::Path;
use std::process::Command;

use super::papers::{Authority, Person};
use super::secured::{Secured, ctl, flag, get_in_the_clear, papers, shown};
use crate::support::programs;

/// What curl prints; `None` where there is no curl, and then it says so.
pub(super) fn curl(ca: &Path, words: &[&str]) -> Option<String> {
    let mut curl = Command::new("curl");
    let output = curl.args(["--silent", "--cacert"]).arg(ca).args(words).output();
    if output.is_err() {
        crate::support::skip("a part of tls::clients", "no curl installed");
    }
    Some(String::from_utf8_lossy(&output.ok()?.stdout).into_owned())
}

/// The plainest use: the server proves who it is, anybody may come; monitoring comes under TLS,
/// too.
#[test]
fn server_proves_who_it_is() {
    if programs::real_or_skip("tls::clients::server_proves_who_it_is").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let other = Authority::new(&folder.path().join("other"));
    let monitors = crate::support::server::free_port();
    let monitors = format!("https://127.0.0.1:{monitors}");
    let mut flags = shown(&server);
    flags.push(format!("--listen-metrics-urls={monitors}"));
    let mut member = Secured::start(folder, &flags);
    member.serves(&authority.file(), None);
    if let Some(page) = curl(&authority.file(), &[&format!("{monitors}/metrics")]) {
        assert!(page.contains("etcd_server_has_leader 1"), "{page}");
    }
    // Old clients send a URL as authority, which has to be mended under TLS as well.
    let status = member.ctl(&authority.file(), None, &["endpoint", "status"]);
    assert!(status.worked && status.out.contains("3.6.14"), "{status:?}");
    // One that does not trust it says so, and the log tells.
    member.refuses(&other.file(), None, "remote error: tls: bad certificate");
    member.serves(&authority.file(), None);
}

/// Figures of a cluster that is guarded as it should be: under TLS, as a user.
#[test]
fn bench_comes_under_tls_and_as_a_user() {
    if programs::real_or_skip("tls::clients::bench_comes_under_tls_and_as_a_user").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let other = Authority::new(&folder.path().join("other"));
    let member = Secured::start(folder, &shown(&server));
    let ca = authority.file();
    for words in
        ["user add root:pw --interactive=false", "user grant-role root root", "auth enable"]
    {
        let words: Vec<&str> = words.split(' ').collect();
        let said = member.ctl(&ca, None, &words);
        assert!(said.worked, "{said:?}");
    }
    let bench = |ca: &Path, user: &str| {
        let mut command = crate::support::server::clean_command(&programs::ours());
        let url = format!("--endpoints=https://127.0.0.1:{}", member.port);
        command.args(["bench", "put", "txn", &url, "--total=20", "--clients=2", "--json"]);
        command.arg("--cacert").arg(ca).args([user]);
        let ran = command.output().expect("the program can be started");
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (code, out) = bench(&ca, "--user=root:pw");
    assert!(code == Some(0) && out.matches(r#""count":20"#).count() == 2, "{code:?} {out}");
    assert_eq!(bench(&ca, "--user=root:wrong").0, Some(2));
    assert_eq!(bench(&other.file(), "--user=root:pw").0, Some(2), "whom it does not trust");
}

/// What kubeadm sets up: whoever has no certificate of the authority, or one that is expired, or
/// revoked, does not get in; everybody else does.
#[test]
fn clients_prove_who_they_are() {
    if programs::real_or_skip("tls::clients::clients_prove_who_they_are").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let other = Authority::new(&folder.path().join("other"));
    let client = authority.sign("client", Person::CLIENT);
    let expired = authority.sign("late", Person { expired: true, serial: 3, ..Person::CLIENT });
    let revoked = authority.sign("gone", Person { serial: 77, ..Person::CLIENT });
    let foreign = other.sign("foreign", Person::CLIENT);
    let mut flags = shown(&server);
    flags.push("--client-cert-auth=true".to_owned());
    flags.push(flag("trusted-ca-file", &authority.file()));
    flags.push(flag("client-crl-file", &authority.revoke(&[77])));
    let mut member = Secured::start(folder, &flags);
    let ca = authority.file();
    member.serves(&ca, Some(&client));
    member.refuses(&ca, None, "tls: client didn't provide a certificate");
    member.refuses(&ca, Some(&expired), "certificate has expired or is not yet valid");
    member.refuses(&ca, Some(&foreign), "certificate signed by unknown authority");
    member.refuses(&ca, Some(&revoked), "revoked by the CRL");
    member.serves(&ca, Some(&client));
}

/// Only the hosts on the list, whatever the authority has signed besides.
#[test]
fn clients_of_other_hosts_stay_outside() {
    if programs::real_or_skip("tls::clients::clients_of_other_hosts_stay_outside").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let named = |host| Person { hosts: host, ..Person::CLIENT };
    let right = authority.sign("right", named(&["a.clients.local"]));
    let wrong = authority.sign("wrong", named(&["a.others.local"]));
    let mut flags = shown(&server);
    flags.push(flag("trusted-ca-file", &authority.file()));
    flags.push("--client-cert-allowed-hostname=b.clients.local,a.clients.local".to_owned());
    let mut member = Secured::start(folder, &flags);
    member.serves(&authority.file(), Some(&right));
    member.refuses(&authority.file(), Some(&wrong), "client certificate authentication failed");
}

/// A server that has no certificate makes one, and shows the same after a restart.
#[test]
fn certificate_of_its_own_is_kept() {
    if programs::real_or_skip("tls::clients::certificate_of_its_own_is_kept").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--auto-tls".to_owned()];
    let member = Secured::start(folder, &flags);
    let made = member.data().join("fixtures/client/cert.pem");
    let first = std::fs::read(&made).unwrap();
    // It is its own authority: one that has a copy can verify it.
    member.serves(&made, None);
    let (folder, status) = member.stop();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "{status:?}");
    let member = Secured::start(folder, &flags);
    assert_eq!(std::fs::read(&made).unwrap(), first);
    member.serves(&made, None);
}

/// Under TLS over a Unix socket, and either way at one port, as etcd has it.
#[test]
fn socket_and_shared_port_take_both() {
    if programs::real_or_skip("tls::clients::socket_and_shared_port").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let socket = folder.path().join("etcd.sock");
    let shared = crate::support::server::free_port();
    let urls = [
        format!("unixs://{}", socket.display()),
        format!("http://127.0.0.1:{shared}"),
        format!("https://127.0.0.1:{shared}"),
    ];
    let mut flags = shown(&server);
    flags.push(format!("--listen-client-urls={}", urls.join(",")));
    let member = Secured::start(folder, &flags);
    let etcdctl = programs::real().unwrap().etcdctl;
    let ca = authority.file();
    let said = ctl(&etcdctl, &urls[2], &ca, None, &["put", "k", "v"]);
    assert!(said.worked, "{said:?}\n{}", member.log());
    let version = get_in_the_clear(shared, "/version");
    assert!(version.contains("etcdserver"), "{version}");
    let path = socket.display().to_string();
    let words = ["--unix-socket", &path, "https://localhost/version"];
    if let Some(version) = curl(&ca, &words) {
        assert!(version.contains("etcdserver"), "{version}\n{}", member.log());
    }
}

/// Backups go through the same door as everybody.
#[test]
fn backups_are_made_under_tls() {
    let (folder, authority, server) = papers();
    let client = authority.sign("client", Person::CLIENT);
    let mut flags = shown(&server);
    flags.push("--client-cert-auth=true".to_owned());
    flags.push(flag("trusted-ca-file", &authority.file()));
    let dir = folder.path().join("backups");
    let member = Secured::start(folder, &flags);
    let url = format!("https://127.0.0.1:{}", member.port);
    let back_up = |flags: &[String]| {
        let mut command = crate::support::server::clean_command(&programs::ours());
        command.arg("backup").env("ETCDCTL_ENDPOINTS", &url).arg("--dir").arg(&dir).args(flags);
        let output = command.output().expect("our program can be run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let own = [flag("cert", &client.cert), flag("key", &client.key)];
    let (status, said) = back_up(&own);
    assert!(
        status == Some(1) && said.contains("signed by unknown authority"),
        "no authority: {said}"
    );
    let ca = flag("cacert", &authority.file());
    let (status, said) = back_up(std::slice::from_ref(&ca));
    assert_eq!(status, Some(1), "no certificate: {said}");
    let insecure = "--insecure-skip-tls-verify".to_owned();
    // Where there is an authority, there is TLS, said or not.
    let bare = format!("--endpoints=127.0.0.1:{}", member.port);
    for flags in [vec![ca.clone()], vec![insecure], vec![ca, bare]] {
        let (status, said) = back_up(&[&own[..], &flags].concat());
        assert_eq!(status, Some(0), "{said}");
    }
}
