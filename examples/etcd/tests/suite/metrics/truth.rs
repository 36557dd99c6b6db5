//! Numbers that follow what is done.

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::alarm_request::AlarmAction;
use drystone_etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DefragmentRequest, DeleteRangeRequest,
    HashKvRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    SnapshotRequest, WatchCreateRequest,
};

use super::page::{Page, get};
use crate::cluster::fleet::wait;
use crate::support::calls::in_a_runtime;
use crate::support::programs;
use crate::support::server::{Server, free_port};
use crate::support::watch::Watch;

const PUT: [(&str, &str); 1] = [("grpc_method", "Put")];

async fn client(server: &Server) -> Client {
    connect(&server.client_url(), &Config::default()).await.expect("the server listens")
}

async fn put(client: &Client, key: String) {
    let put = PutRequest { key: key.into(), value: "v".into(), ..Default::default() };
    client.kv().put(put).await.expect("a put is done");
}

/// An operator who sees other numbers than what was done looks for a fault that is not there.
#[test]
fn counters_count_what_was_done() {
    const PUTS: u32 = 40;
    let server = Server::start(&programs::ours(), &["--metrics=extensive"]);
    let before = Page::fetch(&server.client_address());
    in_a_runtime(async {
        let client = client(&server).await;
        for number in 0..PUTS {
            put(&client, format!("k{number}")).await;
        }
        let range = RangeRequest { key: "k0".into(), ..Default::default() };
        client.kv().range(range).await.expect("a range is read");
        let delete =
            DeleteRangeRequest { key: "k0".into(), range_end: "k2".into(), ..Default::default() };
        client.kv().delete_range(delete).await.expect("keys are deleted");
        client.maintenance().defragment(DefragmentRequest::default()).await.expect("done");
        client.maintenance().hash_kv(HashKvRequest::default()).await.expect("done");
        let copy = client.maintenance().snapshot(SnapshotRequest::default()).await;
        let mut copy = copy.expect("a copy begins").into_inner();
        while copy.message().await.expect("a copy goes on").is_some() {}
        let unknown_lease = PutRequest { key: "k".into(), lease: 7, ..Default::default() };
        client.kv().put(unknown_lease).await.expect_err("there is no such lease");
    });
    let after = Page::fetch(&server.client_address());
    let grew = |name: &str, labels: &[(&str, &str)]| {
        after.number(name, labels) - before.find(name, labels).unwrap_or(0.0)
    };
    let puts = f64::from(PUTS);
    assert_eq!(grew("etcd_mvcc_put_total", &[]), puts);
    assert_eq!(grew("etcd_mvcc_range_total", &[]), 1.0);
    // k0, k1 and k10 to k19.
    assert_eq!(grew("etcd_mvcc_delete_total", &[]), 12.0);
    assert_eq!(grew("etcd_server_proposals_failed_total", &[]), 1.0);
    assert_eq!(grew("grpc_server_started_total", &PUT), puts + 1.0);
    assert_eq!(grew("grpc_server_msg_received_total", &PUT), puts + 1.0);
    assert_eq!(grew("grpc_server_msg_sent_total", &PUT), puts);
    assert_eq!(grew("grpc_server_handling_seconds_count", &PUT), puts + 1.0);
    let ok = [PUT[0], ("grpc_code", "OK")];
    assert_eq!(grew("grpc_server_handled_total", &ok), puts);
    let not_found = [PUT[0], ("grpc_code", "NotFound")];
    assert_eq!(grew("grpc_server_handled_total", &not_found), 1.0);
    // One client after another: no two share a sync.
    assert!(grew("etcd_disk_wal_fsync_duration_seconds_count", &[]) >= puts);
    assert!(grew("etcd_disk_wal_write_duration_seconds_count", &[]) >= puts);
    assert!(grew("etcd_disk_wal_write_bytes_total", &[]) >= 10.0 * puts);
    assert!(grew("etcd_network_client_grpc_received_bytes_total", &[]) >= 6.0 * puts);
    assert!(grew("etcd_network_client_grpc_sent_bytes_total", &[]) >= 6.0 * puts);
    assert!(grew("etcd_server_proposals_applied_total", &[]) >= puts + 1.0);
    assert_eq!(grew("etcd_disk_backend_defrag_duration_seconds_count", &[]), 1.0);
    assert_eq!(grew("etcd_mvcc_hash_rev_duration_seconds_count", &[]), 1.0);
    assert_eq!(grew("etcd_disk_backend_snapshot_duration_seconds_count", &[]), 1.0);
    assert!(grew("etcd_disk_backend_commit_duration_seconds_count", &[]) >= 1.0, "it was saved");
    let served = [("success", "true")];
    assert_eq!(grew("etcd_server_range_duration_seconds_count", &served), 1.0);
    let applied = |success: &str| {
        let labels = [("op", "Put"), ("success", success), ("version", "v3")];
        grew("etcd_server_apply_duration_seconds_count", &labels)
    };
    assert_eq!((applied("true"), applied("false")), (puts, 1.0));
    // k0 to k9, k10 to k39, and a byte each.
    let bytes = 10.0 * 3.0 + 30.0 * 4.0;
    assert_eq!(grew("etcd_debugging_mvcc_total_put_size_in_bytes", &[]), bytes);
    let page = &after;
    let committed = page.number("etcd_server_proposals_committed_total", &[]);
    assert!(committed >= page.number("etcd_server_proposals_applied_total", &[]));
    assert_eq!(page.number("etcd_server_has_leader", &[]), 1.0);
    assert_eq!(page.number("etcd_server_is_leader", &[]), 1.0);
    assert_eq!(page.number("etcd_disk_defrag_inflight", &[]), 0.0);
}

/// Leases that end by themselves take keys with them that nobody deleted: this is where it shows.
#[test]
fn a_lease_that_runs_out_is_counted_and_one_that_is_revoked_is_not() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client(&server).await;
        for (id, ttl) in [(1, 1), (2, 1000)] {
            let grant = LeaseGrantRequest { id, ttl };
            client.lease().lease_grant(grant).await.expect("a lease is granted");
        }
        client.lease().lease_revoke(LeaseRevokeRequest { id: 2 }).await.expect("it is there");
    });
    let expired = || {
        let page = Page::fetch(&server.client_address());
        page.number("etcd_debugging_server_lease_expired_total", &[])
    };
    assert!(wait(|| (expired() >= 1.0).then_some(())).is_some(), "its time is up");
    assert_eq!(expired(), 1.0);
}

/// A watcher that does not read is the reason for much that looks like a slow server.
#[test]
fn a_watcher_that_does_not_read_shows_until_it_goes() {
    const VALUES: usize = 400;
    let server = Server::start(&programs::ours(), &[]);
    let behind = || {
        let page = Page::fetch(&server.client_address());
        let pending = page.number("etcd_debugging_mvcc_pending_events_total", &[]);
        (pending, page.number("etcd_debugging_mvcc_slow_watcher_total", &[]))
    };
    assert_eq!(behind(), (0.0, 0.0));
    in_a_runtime(async {
        let reader = client(&server).await;
        let all = WatchCreateRequest { key: "k".into(), ..Default::default() };
        let (watch, _) = Watch::open(&reader, all).await.expect("it is there");
        let writer = client(&server).await;
        for _ in 0..VALUES {
            let value = vec![b'v'; 64 << 10].into();
            let put = PutRequest { key: "k".into(), value, ..Default::default() };
            writer.kv().put(put).await.expect("a put is done");
        }
        let (pending, slow) = behind();
        assert!(pending > 0.0 || slow > 0.0, "what is not read waits: {pending}, {slow}");
        drop((watch, reader));
    });
    assert!(wait(|| (behind() == (0.0, 0.0)).then_some(())).is_some(), "nobody is behind");
}

/// Times of calls cost a page of buckets a method, which is for those who ask for it.
#[test]
fn times_of_calls_are_extensive() {
    let server = Server::start(&programs::ours(), &[]);
    let page = Page::fetch(&server.client_address());
    assert!(!page.0.contains_key("grpc_server_handling_seconds"));
    assert!(page.0.contains_key("grpc_server_handled_total"));
}

/// Monitoring is often let near a member where clients are not.
#[test]
fn metrics_urls_answer_what_monitoring_asks_and_nothing_else() {
    let address = format!("127.0.0.1:{}", free_port());
    let flag = format!("--listen-metrics-urls=http://{address}");
    let server = Server::start(&programs::ours(), &[&flag]);
    assert_eq!(get(&address, "/health"), (200, r#"{"health":"true","reason":""}"#.to_owned()));
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&address, path), (200, "ok\n".to_owned()), "{path}");
    }
    let page = Page::fetch(&address);
    assert!(page.number("etcd_server_health_success", &[]) >= 1.0);
    assert_eq!(get(&address, "/version").0, 404);
    drop(server);
}

/// Operators read the log for who leads, and for what took the disk or the processor.
#[test]
fn leaders_defragmentations_and_compactions_are_logged_in_etcds_words() {
    let server = Server::start(&programs::ours(), &[]);
    in_a_runtime(async {
        let client = client(&server).await;
        put(&client, "k".to_owned()).await;
        put(&client, "k".to_owned()).await;
        let compact = CompactionRequest { revision: 3, physical: true };
        client.kv().compact(compact).await.expect("it is compacted");
        client.maintenance().defragment(DefragmentRequest::default()).await.expect("done");
    });
    let log = server.whole_log();
    let lines = [
        " became leader at term ",
        " elected leader ",
        "\"compact-revision\":3,\"took\":",
        "\"msg\":\"finished scheduled compaction\"",
        "\"msg\":\"starting defragment\"",
        "\"msg\":\"finished defragment\"",
    ];
    for line in lines {
        assert!(log.contains(line), "{line} is not in {log}");
    }
}

/// Tools look for these lines when something is slow.
#[test]
fn what_is_slow_is_logged_in_etcds_words() {
    let flags = ["--warning-unary-request-duration=1ns", "--warning-apply-duration=1ns"];
    let server = Server::start(&programs::ours(), &flags);
    in_a_runtime(async { put(&client(&server).await, "k".to_owned()).await });
    let log = server.whole_log();
    let line = |text: &str| log.lines().find(|line| line.contains(text)).map(str::to_owned);
    let slow_call = line("\"msg\":\"request stats\"").expect("a slow call is logged");
    assert!(slow_call.contains("\"level\":\"warn\""), "{slow_call}");
    assert!(log.contains("/etcdserverpb.KV/Put"), "{log}");
    let slow_apply = line("\"msg\":\"apply request took too long\"").expect("so is this");
    assert!(slow_apply.contains("\"request\":\"1 "), "it says what it was: {slow_apply}");
    assert!(log.contains("\"request\":\"1 Put\""), "{log}");
    let page = Page::fetch(&server.client_address());
    assert!(page.number("etcd_server_slow_apply_total", &[]) >= 1.0);
}

/// It is the first thing that whoever restarts a server that refuses writes looks for.
#[test]
fn an_alarm_is_logged_again_after_a_restart() {
    let mut server = Server::start(&programs::ours(), &[]);
    let alarm = AlarmRequest {
        action: AlarmAction::Activate.into(),
        alarm: AlarmType::Nospace.into(),
        member_id: 0xabc,
    };
    in_a_runtime(async {
        client(&server).await.maintenance().alarm(alarm).await.expect("an alarm is raised");
    });
    server.restart();
    let log = server.whole_log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\"alarm raised\"")).collect();
    let [before, after] = lines[..] else { panic!("once a life: {log}") };
    for line in [before, after] {
        assert!(line.contains("\"alarm\":\"NOSPACE\"") && line.contains("\"from\":\"abc\""));
    }
}

/// An alarm stops all writes: whoever reads the log of any member must find when it came and went.
#[test]
fn alarms_are_logged_in_etcds_words() {
    let server = Server::start(&programs::ours(), &[]);
    let alarm = |action: AlarmAction| AlarmRequest {
        action: action.into(),
        alarm: AlarmType::Nospace.into(),
        member_id: 0xabc,
    };
    in_a_runtime(async {
        let mut client = client(&server).await.maintenance();
        for action in [AlarmAction::Activate, AlarmAction::Activate, AlarmAction::Deactivate] {
            client.alarm(alarm(action)).await.expect("an alarm is changed");
        }
    });
    let log = server.whole_log();
    for text in ["\"msg\":\"alarm raised\"", "\"msg\":\"alarm disarmed\""] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(text)).collect();
        let [line] = lines[..] else { panic!("once {text}: {log}") };
        assert!(
            line.contains("\"alarm\":\"NOSPACE\"") && line.contains("\"from\":\"abc\""),
            "{line}"
        );
    }
}
