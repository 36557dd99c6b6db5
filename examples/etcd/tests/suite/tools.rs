//! The commands beside the server: `bench` and `check`.
//!
//! What they print are figures, and a figure that is wrong looks like one that is right: so counts
//! are compared with what is in the store afterwards, and what fails on purpose must be told.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use drystone_etcd_api::etcdserverpb::RangeRequest;
use serde_json::Value;

use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::programs;
use crate::support::server::{Server, clean_command, free_port};

fn tool(words: &[&str]) -> Command {
    let mut command = clean_command(&programs::ours());
    for variable in ["ETCDCTL_ENDPOINTS", "ETCDCTL_USER", "ETCDCTL_CACERT"] {
        command.env_remove(variable);
    }
    command.args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    tool(words).output().expect("the program can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The documents that it printed.
#[track_caller]
fn documents(output: &Output) -> Vec<Value> {
    let out = text(&output.stdout);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    assert!(!out.is_empty(), "it printed nothing: {}", text(&output.stderr));
    out.lines().map(parse).collect()
}

fn count(server: &Server, prefix: &str) -> i64 {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    let (key, range_end) = (prefix.to_owned().into(), end.into());
    in_a_runtime(async {
        let client = client_of(server).await;
        let range = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
        client.kv().range(range).await.expect("a range is answered").into_inner().count
    })
}

/// Every kind, at a server of any make: as many answers as were asked for, and as many keys.
fn every_kind(server: &Server) {
    let url = format!("--endpoints={}", server.client_url());
    let words = [&url, "--total=60", "--clients=6", "--conns=2", "--json"];
    let ran = run(&[&["bench", "put"][..], &words[..]].concat());
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert_eq!(count(server, "bench/0"), 60, "a key a put");
    let ran = run(&[&["bench"][..], &words[..]].concat());
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let all = documents(&ran);
    let kinds: Vec<&str> = all.iter().filter_map(|one| one["kind"].as_str()).collect();
    let expected = [
        "put",
        "get",
        "get-serializable",
        "range",
        "mixed",
        "txn",
        "watch",
        "lease-grant",
        "lease-keep-alive",
    ];
    assert_eq!(kinds, expected);
    for one in &all {
        // Each of six clients hears of each put.
        let expected = if one["kind"] == "watch" { 360 } else { 60 };
        assert_eq!(one["count"], expected, "{one}");
        assert_eq!(one["errors"], serde_json::json!({}), "{one}");
        let micros = |name: &str| one["micros"][name].as_f64().expect("a figure");
        assert!(0.0 < micros("p50") && micros("p50") <= micros("p99"), "{one}");
        assert!(micros("p99") <= micros("max") && micros("max") < 60e6, "{one}");
        assert!(one["server_cpu_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{one}");
    }
}

#[test]
fn bench_counts_what_our_server_has_done() {
    every_kind(&Server::start(&programs::ours(), &[]));
}

#[test]
fn bench_counts_what_real_etcd_has_done() {
    let Some(real) = programs::real_or_skip("bench_counts_what_real_etcd_has_done") else { return };
    every_kind(&Server::start(&real.etcd, &[]));
}

/// A server that dies in the midst: what was answered is counted, and what was not is named. With a
/// rate, as many are asked for as were due.
#[test]
fn bench_keeps_its_rate_and_tells_of_errors() {
    let mut server = Server::start(&programs::ours(), &[]);
    let url = format!("--endpoints={}", server.client_url());
    let steady = run(&["bench", "put", &url, "--rate=300", "--time=1s", "--json", "--clients=20"]);
    let steady = &documents(&steady)[0];
    assert_eq!(steady["count"], 300, "{steady}");
    let per_second = steady["per_second"].as_f64().expect("a figure");
    assert!((150.0..=310.0).contains(&per_second), "{steady}");
    let words = ["bench", "put", &url, "--rate=100", "--time=2s", "--json", "--prefix=dies/"];
    let mut command = tool(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().expect("the program can be started");
    let begun = super::cluster::fleet::wait(|| (count(&server, "dies/") > 10).then_some(()));
    assert!(begun.is_some(), "it puts");
    server.kill();
    let ran = running.wait_with_output().expect("it ends");
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let report = &documents(&ran)[0];
    let errors = report["errors"].as_object().expect("errors by their text");
    let failed: u64 = errors.values().filter_map(Value::as_u64).sum();
    let answered = report["count"].as_u64().expect("a count");
    assert!(answered > 10 && failed > 0 && answered + failed == 200, "{report}");
    // And where there is nobody at all, it says so.
    let ran = run(&["bench", "put", &url]);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    assert!(text(&ran.stderr).contains("cannot reach"), "{ran:?}");
}

/// The plainest use: no server at hand. What it starts goes with its data.
#[test]
fn bench_brings_members_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().display().to_string();
    let ran =
        run(&["bench", "put", "--members=3", "--total=50", "--dir", &dir, "--clients=5", "--json"]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert_eq!(documents(&ran)[0]["count"], 50);
    let left = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(left, 0, "something was left behind");
}

/// What was found, by what it is about.
fn verdict<'a>(document: &'a Value, what: &str) -> &'a str {
    let lines = document["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line["what"].as_str().is_some_and(|it| it.contains(what)));
    line.and_then(|line| line["verdict"].as_str()).unwrap_or("absent")
}

fn check_here(dir: &Path, words: &[&str]) -> (Option<i32>, Value) {
    let dir = dir.display().to_string();
    let ran = run(&[&["check", "--json", "--data-dir", &dir][..], words].concat());
    (ran.status.code(), documents(&ran).remove(0))
}

/// Scripts go by the status: 1 if something fails, and only then; 2 if it cannot tell.
#[test]
fn check_says_what_it_found_by_its_status() {
    let server = Server::start(&programs::ours(), &[]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (peer, client) = (server.peer_url(), server.client_url());
    let (code, found) = check_here(
        &folder.path().join("not/there/yet"),
        &["--peers", &peer, "--endpoints", &client],
    );
    assert_eq!(code, Some(i32::from(found["verdict"] == "FAIL")), "{found}");
    for what in ["file system", "space", "disk", "open files", "memory", "processors", "clock"] {
        assert!(["PASS", "WARN", "FAIL"].contains(&verdict(&found, what)), "{what}: {found}");
    }
    for way in [&peer, &client] {
        assert_ne!(verdict(&found, way), "FAIL", "{found}");
        assert_ne!(verdict(&found, way), "absent", "{found}");
    }
    assert!(found["heartbeat_interval"].as_u64() >= Some(100), "{found}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "left as it was");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (code, found) = check_here(folder.path(), &["--peers", &nobody]);
    assert_eq!((code, verdict(&found, &nobody)), (Some(1), "FAIL"), "{found}");
    assert_eq!(run(&["check", "--no-such-flag"]).status.code(), Some(2));
    let readable =
        text(&run(&["check", "--data-dir", &folder.path().display().to_string()]).stdout);
    assert!(readable.contains("disk: fdatasync of 2 KiB appends"), "{readable}");
    assert!(readable.contains("what fits: --heartbeat-interval=100 "), "{readable}");
}

/// etcdctl's lines and statuses, and nothing left behind.
#[test]
fn check_perf_speaks_as_etcdctl_does() {
    let server = Server::start(&programs::ours(), &[]);
    let url = format!("--endpoints={}", server.client_url());
    let ran = run(&["check", "perf", "--load=s", "--time=1s", "--auto-compact", &url]);
    let out = text(&ran.stdout);
    let passed = out.lines().last() == Some("PASS");
    assert_eq!(ran.status.code(), Some(i32::from(!passed)), "{out}");
    assert!(out.contains("Throughput is 151 writes/s"), "all that were due were done: {out}");
    assert!(out.contains("Compacted with revision "), "{out}");
    assert_eq!(count(&server, "/etcdctl-check-perf/"), 0);
    // It deletes what is under its prefix, and so does not begin where somebody else's keys are.
    in_a_runtime(async { put(&client_of(&server).await, "/etcdctl-check-perf/k", "v", 0).await });
    for what in ["perf", "datascale"] {
        let words = ["check", what, "--prefix=/etcdctl-check-perf/", &url];
        let ran = run(&words);
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        assert!(text(&ran.stdout).contains("has keys. Delete with"), "{ran:?}");
    }
    assert_eq!(count(&server, "/etcdctl-check-perf/"), 1);
}
