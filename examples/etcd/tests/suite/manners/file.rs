//! A configuration file in the place of all flags, and the words of kubeadm.

use std::fs;

use crate::cluster::fleet::wait;
use crate::support::programs;
use crate::support::server::{clean_command, free_port};
use crate::tls::papers::{Authority, Person};
use crate::tls::secured::Started;

/// What etcd's sample file has, with ports and certificates of this test: the file counts, flags
/// and variables do not.
#[test]
fn file_stands_in_the_place_of_flags() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&folder.path().join("papers"));
    let server = authority.sign("server", Person::SERVER);
    let (client, http, peer) = (free_port(), free_port(), free_port());
    let text = format!(
        "# This is the configuration file for the etcd server.\n\
         name: 'filed'\ndata-dir: {data}\nwal-dir:\nsnapshot-count: 10000\n\
         heartbeat-interval: 100\nelection-timeout: 1000\nquota-backend-bytes: 0\n\
         listen-peer-urls: http://127.0.0.1:{peer}\n\
         listen-client-urls: https://127.0.0.1:{client}\n\
         listen-client-http-urls: http://127.0.0.1:{http}\n\
         max-snapshots: 5\nmax-wals: 5\ncors:\n\
         initial-advertise-peer-urls: http://127.0.0.1:{peer}\n\
         advertise-client-urls: https://127.0.0.1:{client}\n\
         discovery:\ndiscovery-fallback: 'proxy'\ndiscovery-proxy:\ndiscovery-srv:\n\
         initial-cluster:\ninitial-cluster-token: 'etcd-cluster'\ninitial-cluster-state: 'new'\n\
         strict-reconfig-check: false\nenable-pprof: true\nproxy: 'off'\nproxy-failure-wait: 5000\n\
         client-transport-security:\n  cert-file: {cert}\n  key-file: {key}\n\
         \x20 client-cert-auth: false\n  trusted-ca-file:\n  auto-tls: false\n\
         peer-transport-security:\n  cert-file:\n  key-file:\n  client-cert-auth: false\n\
         \x20 trusted-ca-file:\n  auto-tls: false\nself-signed-cert-validity: 1\n\
         log-level: info\nlogger: zap\nlog-outputs: [stderr]\nforce-new-cluster: false\n\
         auto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n\
         watch-progress-notify-interval: 5000000000\n\
         cipher-suites: [\n  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,\n\
         \x20 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n]\n\
         tls-min-version: 'TLS1.2'\ntls-max-version: 'TLS1.3'\n",
        data = folder.path().join("data").display(),
        cert = server.cert.display(),
        key = server.key.display(),
    );
    let file = folder.path().join("etcd.yml");
    fs::write(&file, &text).unwrap();
    let mut command = clean_command(&programs::ours());
    command.env("ETCD_CONFIG_FILE", &file).env("ETCD_NAME", "varied").args(["--name", "flagged"]);
    let mut started = Started::new(command, &folder.path().join("log"));
    started.wait_until("ready to serve client requests");
    let log = started.log();
    assert!(log.contains("loaded server configuration"), "{log}");
    assert!(log.contains(r#""name":"filed""#) && !log.contains("flagged"), "{log}");
    let asked = crate::tls::secured::get_in_the_clear(http, "/version");
    assert!(asked.contains("etcdserver"), "HTTP has a port of its own: {asked}");
}

/// A key that nobody knows is found by its line, not by what it silently did not do.
#[test]
fn misspelt_key_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etcd.yml");
    let check = |text: &str, part: &str| {
        fs::write(&file, text).unwrap();
        let mut command = clean_command(&programs::ours());
        let output = command.arg("--config-file").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{said}");
    };
    check("name: a\n\nlisten-cleint-urls: b\n", "line 3: unknown key \"listen-cleint-urls\"");
    check("peer-transport-security:\n  cert-fiel: b\n", "line 2: unknown key \"cert-fiel\"");
    check("name: [a\n", "etcd.yml");
    check("heartbeat-interval: 0\n", "--heartbeat-interval");
    fs::remove_file(&file).unwrap();
    let output = clean_command(&programs::ours()).arg("--config-file").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no such file or directory"), "{said}");
}

/// kubeadm's static pod, word for word but for ports and places; its probes find what they look
/// for.
#[test]
fn static_pod_of_kubeadm_starts() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&folder.path().join("pki"));
    let server = authority.sign("server", Person::SERVER);
    let peer = authority.sign("peer", Person::SERVER);
    let (client, members, monitors) = (free_port(), free_port(), free_port());
    let mut command = clean_command(&programs::ours());
    let file = |path: &std::path::Path| path.display().to_string();
    let ca = file(&authority.file());
    for (name, value) in [
        ("advertise-client-urls", format!("https://127.0.0.1:{client}")),
        ("cert-file", file(&server.cert)),
        ("client-cert-auth", "true".to_owned()),
        ("data-dir", file(&folder.path().join("etcd"))),
        ("feature-gates", "InitialCorruptCheck=true".to_owned()),
        ("initial-advertise-peer-urls", format!("https://127.0.0.1:{members}")),
        ("initial-cluster", format!("node=https://127.0.0.1:{members}")),
        ("key-file", file(&server.key)),
        ("listen-client-urls", format!("https://127.0.0.1:{client},https://127.0.0.2:{client}")),
        ("listen-metrics-urls", format!("http://127.0.0.1:{monitors}")),
        ("listen-peer-urls", format!("https://127.0.0.1:{members}")),
        ("name", "node".to_owned()),
        ("peer-cert-file", file(&peer.cert)),
        ("peer-client-cert-auth", "true".to_owned()),
        ("peer-key-file", file(&peer.key)),
        ("peer-trusted-ca-file", ca.clone()),
        ("snapshot-count", "10000".to_owned()),
        ("trusted-ca-file", ca),
        ("watch-progress-notify-interval", "5s".to_owned()),
    ] {
        command.arg(format!("--{name}={value}"));
    }
    let mut started = Started::new(command, &folder.path().join("log"));
    started.wait_until("ready to serve client requests");
    for path in ["/livez", "/readyz", "/health?serializable=true"] {
        let healthy = wait(|| {
            let answer = crate::tls::secured::get_in_the_clear(monitors, path);
            answer.contains("200 OK").then_some(())
        });
        assert!(healthy.is_some(), "{path}\n{}", started.log());
    }
}
