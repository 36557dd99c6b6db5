//! The beginning and the end of the process, as supervisors see them.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::fleet::wait;
use crate::support::programs;
use crate::support::server::{clean_command, command, free_port};

/// systemd is told when clients may come, scripts wait for words in the log, and whoever sends a
/// signal sees that it was obeyed.
#[test]
fn supervisor_is_told_of_beginning_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let data = folder.path().join("data");
    let mut command = command(&programs::ours(), &data, free_port(), free_port());
    command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let mut told = [0; 64];
    let length = socket.recv(&mut told).expect("systemd is told");
    assert_eq!(&told[..length], b"READY=1\n");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(15), "{:?}", output.status);
    let log = String::from_utf8(output.stderr).unwrap();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        for field in ["level", "ts", "caller", "msg"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
        assert!(!["error", "panic", "fatal"].contains(&line["level"].as_str().unwrap()), "{line}");
        messages.push(line["msg"].as_str().unwrap().to_owned());
    }
    let place = |words: &str| {
        let found = messages.iter().position(|message| message.contains(words));
        found.unwrap_or_else(|| panic!("{words:?} is not in {messages:#?}"))
    };
    assert!(place("published") < place("ready to serve client requests"));
    assert!(place("enabled capabilities for version") > 0);
    let mode = std::fs::metadata(&data).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
}

/// What the program says and how it ends when it is given these words.
fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let output = clean_command(&programs::ours()).args(words).output();
    let output = output.expect("the server can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Scripts and packages look at texts and at the status.
#[test]
fn questions_and_mistakes_have_etcds_status() {
    let (status, out, _) = run(&["--version"]);
    assert_eq!((status, out.lines().count()), (Some(0), 4), "{out}");
    assert!(out.starts_with("etcd Version: 3.6.14\nGit SHA: "), "{out}");
    for word in ["-h", "--help"] {
        let (status, out, err) = run(&[word]);
        assert_eq!((status, &*err), (Some(0), ""));
        assert!(out.contains("--peer-cert-allowed-cn"), "{out}");
    }
    let check = |words: &[&str], expected: i32, part: &str| {
        let (status, out, err) = run(words);
        assert_eq!(status, Some(expected), "{words:?}: {err}");
        assert!(err.contains(part) && out.is_empty(), "{words:?}: {err}");
    };
    check(&["--enable-v2"], 2, "flag provided but not defined: -enable-v2");
    check(&["--proxy=on"], 2, "flag provided but not defined: -proxy");
    check(&["grpc-proxy", "stop"], 1, "unknown command \"stop\"");
    check(&["stray"], 1, "'stray' is not a valid flag");
    check(&["--cipher-suites=FOO"], 1, "unexpected TLS cipher suite \"FOO\"");
    check(&["--tls-min-version=TLS1.1"], 1, "unexpected TLS version \"TLS1.1\"");
    let only13 = ["--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"];
    check(&only13, 1, "cipher suites cannot be configured when only TLS1.3 is enabled");
    let crossed = ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"];
    check(&crossed, 1, "min version (TLS1.3) is greater than max version (TLS1.2)");
    check(&["--feature-gates=Foo=true"], 2, "unrecognized feature gate: Foo");
    check(&["--discovery=http://a.local/x"], 1, "discovery");
    let two = ["--discovery-srv=a.local", "--initial-cluster=default=http://localhost:2380"];
    check(&two, 1, "multiple discovery or bootstrap flags are set");
    let two = ["--discovery-srv=a.local", "--discovery-endpoints=b", "--discovery-token=c"];
    check(&two, 1, "multiple discovery or bootstrap flags are set");
}

/// What cannot be served as asked is not served at all, in etcd's words.
#[test]
fn half_a_certificate_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let url = "https://127.0.0.1:0";
    let check = |words: &[&str], part: &str| {
        let mut command = clean_command(&programs::ours());
        command.arg("--data-dir").arg(&data).arg("--listen-peer-urls=http://127.0.0.1:0");
        let output = command.args(words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {text}");
        assert!(text.contains(part), "{words:?}: {text}");
    };
    let clients = ["--listen-client-urls", url, "--advertise-client-urls", url];
    let with = |words: &[&'static str]| [&clients[..], words].concat();
    check(&clients, "TLS key/cert (--cert-file, --key-file) must be provided for client url");
    check(&with(&["--cert-file=a"]), "KeyFile and CertFile must both be present[key: , cert: a]");
    check(
        &with(&["--cert-file=/nonexistent", "--key-file=/nonexistent"]),
        "open /nonexistent: no such file or directory",
    );
    let plain =
        ["--listen-client-urls", "http://127.0.0.1:0", "--advertise-client-urls", "http://a:1"];
    let monitored = [&plain[..], &["--listen-metrics-urls", url]].concat();
    check(&monitored, "must be provided for metrics secure url");
    let members = [&plain[..], &["--listen-peer-urls", url]].concat();
    check(&members, "KeyFile and CertFile are not presented");
    let both = ["--peer-cert-file=a", "--peer-key-file=b", "--peer-cert-allowed-cn=a"];
    let both = [&members[..], &both, &["--peer-cert-allowed-hostname=b"]].concat();
    check(&both, "AllowedCN and AllowedHostname are mutually exclusive");
    assert!(!data.exists(), "what could not start leaves nothing");
}

/// The first process of a container cannot die by a signal: it leaves with success.
#[test]
fn first_process_of_a_container_ends_with_success() {
    let test = "manners::end::first_process_of_a_container";
    let folder = tempfile::tempdir().unwrap();
    let mut inner =
        command(&programs::ours(), &folder.path().join("data"), free_port(), free_port());
    inner.stdout(Stdio::null()).stderr(Stdio::null());
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--"]);
    unshare.arg(inner.get_program()).args(inner.get_args());
    let log = folder.path().join("log");
    unshare.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
    let Ok(mut child) = unshare.spawn() else {
        return crate::support::skip(test, "no unshare installed");
    };
    let ready = wait(|| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if child.try_wait().unwrap().is_some() || text.contains("Operation not permitted") {
            return Some(false);
        }
        text.contains("ready to serve client requests").then_some(true)
    });
    if ready != Some(true) {
        return crate::support::skip(test, "no process namespaces here");
    }
    // The first process of the namespace is the child of `unshare`.
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let first = std::fs::read_to_string(children).unwrap_or_default();
    let Ok(first) = first.trim().parse::<i32>() else {
        let _ = child.kill();
        return crate::support::skip(test, "the kernel does not tell children");
    };
    kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status:?}");
}
