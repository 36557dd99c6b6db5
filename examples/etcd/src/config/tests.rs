//! What command lines, environments and files come to.

mod every_flag;

use super::*;

fn start(line: &str) -> Start {
    read(line.split_whitespace().map(OsString::from), [])
}

fn serve(line: &str) -> Config {
    match start(line) {
        Start::Serve(config, _) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

fn refuse(line: &str) -> (String, u8) {
    match start(line) {
        Start::Refuse(text, status) => (text, status),
        other => panic!("{line}: {other:?}"),
    }
}

// No flags at all is how most people meet a database.
#[test]
fn defaults_are_etcds() {
    let config = serve("");
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.client_urls, ["http://localhost:2379"]);
    assert_eq!(config.quota_bytes, Some(2 << 30));
    assert_eq!((config.max_txn_ops, config.max_request_bytes), (128, 1_572_864));
    assert_eq!(config.lease_ttl_min(), 2);
    assert_eq!(config.request_timeout(), Duration::from_secs(7));
    let default = "http://localhost:2380".to_owned();
    let own = Founder { name: "default".to_owned(), peer_urls: vec![default] };
    assert_eq!(config.founders, [own]);
    assert_eq!((config.strict_reconfig, config.learners_max), (true, 1));
}

// The command line of the kubernetes integration tests, single dash included.
#[test]
fn kubernetes_test_flags_start() {
    let config = serve(
        "--data-dir /x --listen-client-urls unix:///x/etcd.sock --advertise-client-urls \
         http://127.0.0.111:0 --listen-peer-urls http://127.0.0.1:0 -log-level warn \
         --quota-backend-bytes 8589934592",
    );
    let [ListenUrl { address, secure: false, .. }] = &config.listen_client[..] else {
        panic!("{:?}", config.listen_client)
    };
    assert_eq!(*address, ListenAddress::Unix("/x/etcd.sock".into()));
    assert_eq!(config.quota_bytes, Some(8 << 30));
    assert_eq!(config.log.level, "warn");
}

// A typing error must not choose an engine; an empty variable is how a unit file says "none".
#[test]
fn storage_engine_is_one_of_three_or_left_open() {
    assert_eq!(serve("").storage_engine, None);
    for kind in EngineKind::ALL {
        assert_eq!(serve(&format!("--storage-engine {kind}")).storage_engine, Some(kind));
        let env = [("ETCD_STORAGE_ENGINE".into(), kind.name().into())];
        let Start::Serve(config, _) = read([], env) else { panic!("{kind} from the environment") };
        assert_eq!(config.storage_engine, Some(kind));
    }
    let Start::Serve(config, _) = read([], [("ETCD_STORAGE_ENGINE".into(), "".into())]) else {
        panic!("an empty variable is none")
    };
    assert_eq!(config.storage_engine, None);
    let (text, status) = refuse("--storage-engine=rocksdb");
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("memory, btree, lsm"), "{text}");
}

// Tools that test a configuration look at the status and the text.
#[test]
fn broken_rules_exit_with_one() {
    let check = |line: &str, part: &str| {
        let (text, status) = refuse(line);
        assert_eq!(status, 1, "{line}: {text}");
        assert!(text.contains(part), "{line}: {text}");
    };
    check("--listen-client-urls http://127.0.0.1:1", "is required when");
    check("--heartbeat-interval 500", "at least as 5 times");
    check("--election-timeout 60000", "too long");
    let twice = "a=http://localhost:2380,default=http://localhost:2380";
    check(&format!("--initial-cluster {twice}"), "twice");
    check("--initial-cluster-state old", "must be new or existing");
    check("--initial-cluster a=http://x:1", "couldn't find local name");
    check("--listen-metrics-urls ftp://x", "URL scheme");
    check("--auto-compaction-retention x", "retention");
    check("--auto-compaction-mode x", "undefined");
    check("stray", "'stray' is not a valid flag");
}

// A member may have several URLs, each under its name.
#[test]
fn initial_cluster_names_every_member() {
    let config = serve(
        "--name a --initial-advertise-peer-urls http://a:1,http://a:2 \
         --initial-cluster a=http://a:2,b=http://b:1,a=http://a:1",
    );
    let names: Vec<_> = config.founders.iter().map(|f| (&*f.name, f.peer_urls.len())).collect();
    assert_eq!(names, [("a", 2), ("b", 1)]);
}

// Go's flag package exits with 2.
#[test]
fn unreadable_flags_exit_with_two() {
    assert_eq!(refuse("--enable-v2").1, 2);
    assert_eq!(refuse("--max-txn-ops many").1, 2);
    assert_eq!(refuse("--name").1, 2);
    assert_eq!(refuse("--log-level loud").1, 2);
}

// Both are asked before anything else is looked at.
#[test]
fn help_and_version_print() {
    for line in ["--help", "-h", "-help"] {
        assert!(matches!(start(line), Start::Print(text) if text.contains("--data-dir")));
    }
    for line in ["--version", "-version"] {
        assert!(matches!(start(line), Start::Print(text) if text.starts_with("etcd Version")));
    }
}

// Two modes share one flag, and a bare number means hours in one of them.
#[test]
fn retention_depends_on_the_mode() {
    let check = |line: &str, retention| assert_eq!(serve(line).retention, retention, "{line}");
    check("--auto-compaction-retention 0", None);
    let hours = |n: u64| Some(Retention::Period(Duration::from_secs(3600 * n)));
    check("--auto-compaction-retention 2", hours(2));
    check("--auto-compaction-retention 120m", hours(2));
    check("--auto-compaction-mode revision --auto-compaction-retention 0", None);
    let mode = "--auto-compaction-mode=revision --auto-compaction-retention=1000";
    check(mode, Some(Retention::Revisions(1000)));
}
