//! Leases over a crash: what stands still stands, what ended stays ended, and time starts anew.
//!
//! A server that was away cannot know how long its clients could not reach it, so every lease gets
//! its full time again. It may end late, but never early.

use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::LeaseLeasesRequest;
use drystone_etcd_api::mvccpb::event::EventType;

use super::workload::everything_from;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
const TTL_SECONDS: i64 = 3;

/// A lock held by lease must not be lost early because the server was away, nor kept for ever.
#[test]
fn lease_starts_anew_after_a_crash_and_ends_in_one_revision() {
    let mut server = Server::start(&programs::ours(), &[]);
    let newest = in_a_runtime(async {
        let client = client_of(&server).await;
        calls::grant(&client, 5, TTL_SECONDS).await;
        for key in ["c", "a", "b", "moved", "freed"] {
            calls::put(&client, key, "on 5", 5).await;
        }
        calls::grant(&client, 6, 1000).await;
        calls::put(&client, "moved", "on 6", 6).await;
        calls::put(&client, "freed", "on none", 0).await;
        // Most of its time goes by before the crash.
        let deadline = Instant::now() + PATIENCE;
        while calls::lease(&client, 5).await.ttl > 1 {
            assert!(Instant::now() < deadline, "time goes by");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls::revision(&client).await
    });
    server.kill();
    let started = Instant::now();
    server.start_again();
    in_a_runtime(async {
        let client = client_of(&server).await;
        let mut keys = calls::lease(&client, 5).await.keys;
        keys.sort();
        assert_eq!(keys, ["a", "b", "c"], "it stands, with its keys");
        let watch = Watch::open(&client, everything_from(newest + 1)).await;
        let (mut watch, _) = watch.expect("the history can be watched");
        let told = tokio::time::timeout(PATIENCE, watch.message()).await;
        let lived = started.elapsed();
        let told = told.expect("it ends some time").expect("the watch goes on");
        assert!(lived >= Duration::from_secs(TTL_SECONDS.unsigned_abs()), "ended after {lived:?}");
        let gone: Vec<_> =
            told.events.iter().map(|event| (event.r#type(), event.kv.clone())).collect();
        let keys: Vec<_> = gone.iter().flat_map(|(_, kv)| kv).map(|kv| kv.key.clone()).collect();
        assert_eq!(keys, ["a", "b", "c"], "all keys in one message, in order");
        for (kind, kv) in gone {
            let revision = kv.map(|kv| kv.mod_revision);
            assert_eq!((kind, revision), (EventType::Delete, Some(newest + 1)), "in one revision");
        }
    });
    server.crash();
    in_a_runtime(async {
        let client = client_of(&server).await;
        assert_eq!(calls::lease(&client, 5).await.ttl, -1, "it does not come back");
        assert_eq!(calls::revision(&client).await, newest + 1, "and ends only once");
        assert_eq!(calls::lease(&client, 6).await.keys, ["moved"], "others stand");
        assert_eq!(calls::get(&client, "freed").await.kvs.len(), 1, "and so do their keys");
        assert_eq!(calls::get(&client, "a").await.kvs, []);
    });
}

/// What a client has ended must not come back to delete keys that others have written since.
#[test]
fn revoked_lease_stays_revoked_after_a_crash() {
    let mut server = Server::start(&programs::ours(), &[]);
    let newest = in_a_runtime(async {
        let client = client_of(&server).await;
        calls::grant(&client, 5, 1000).await;
        calls::grant(&client, 6, 1000).await;
        calls::put(&client, "a", "on 5", 5).await;
        calls::revoke(&client, 5).await;
        calls::revoke(&client, 6).await;
        calls::put(&client, "a", "on none", 0).await
    });
    server.crash();
    in_a_runtime(async {
        let client = client_of(&server).await;
        let listed = client.lease().lease_leases(LeaseLeasesRequest {}).await;
        assert_eq!(listed.expect("leases are listed").into_inner().leases, []);
        assert_eq!(calls::revision(&client).await, newest);
        assert_eq!(calls::get(&client, "a").await.kvs[0].value, "on none");
        calls::grant(&client, 5, 1000).await;
        assert_eq!(calls::lease(&client, 5).await.keys.len(), 0, "a new one, with no keys");
    });
}
