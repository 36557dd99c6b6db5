//! All that clients can see of a server.

use drystone_etcd_api::client::Client;
use drystone_etcd_api::{etcdserverpb as pb, mvccpb};

use super::fill::Filled;
use crate::support::calls::{in_a_runtime, lease, revision};
use crate::support::server::Server;
use crate::support::watch::Watch;

/// All that clients can see of a server, but for who it is.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    revision: i64,
    /// All keys at some revisions.
    past: Vec<(i64, Vec<mvccpb::KeyValue>)>,
    /// All changes that a watch from the oldest readable revision hears of.
    events: Vec<mvccpb::Event>,
    /// Number, time as granted, keys.
    leases: Vec<(i64, i64, Vec<Vec<u8>>)>,
    alarms: Vec<pb::AlarmMember>,
}

impl Picture {
    /// Of a server that was filled, or of one that has the data of one that was.
    pub(super) fn of(server: &Server, filled: &Filled) -> Picture {
        in_a_runtime(async {
            let client = crate::support::calls::client_of(server).await;
            Picture::seen_by(&client, filled).await
        })
    }

    pub(super) async fn seen_by(client: &Client, filled: &Filled) -> Picture {
        let newest = revision(client).await;
        let below = pb::RangeRequest {
            key: "k".into(),
            revision: filled.compacted - 1,
            ..Default::default()
        };
        let error = client.kv().range(below).await.expect_err("what was compacted stays so");
        assert!(error.message().contains("compacted"), "{error}");
        let mut past = Vec::new();
        let middle = filled.compacted + (newest - filled.compacted) / 2;
        for at in [filled.compacted, filled.compacted + 1, middle, newest] {
            past.push((at, all_keys(client, at).await));
        }
        let mut leases = Vec::new();
        for id in filled.leases {
            let told = lease(client, id).await;
            assert!(0 < told.ttl && told.ttl <= told.granted_ttl, "it lives: {told:?}");
            let mut keys: Vec<Vec<u8>> = told.keys.iter().map(|key| key.to_vec()).collect();
            keys.sort();
            leases.push((id, told.granted_ttl, keys));
        }
        let list = client
            .lease()
            .lease_leases(pb::LeaseLeasesRequest {})
            .await
            .expect("the call is answered");
        assert_eq!(list.into_inner().leases.len(), filled.leases.len(), "no other lease");
        let alarms = client
            .maintenance()
            .alarm(pb::AlarmRequest::default())
            .await
            .expect("the call is answered");
        let events = events(client, filled.compacted, newest).await;
        Picture { revision: newest, past, events, leases, alarms: alarms.into_inner().alarms }
    }

    /// How many keys there are now.
    pub(super) fn keys(&self) -> usize {
        self.past.last().map_or(0, |(_, kvs)| kvs.len())
    }
}

pub(crate) async fn all_keys(client: &Client, revision: i64) -> Vec<mvccpb::KeyValue> {
    let mut kvs = Vec::new();
    let mut key = b"\0".to_vec();
    loop {
        let (from, range_end) = (key.clone().into(), "\0".into());
        let request =
            pb::RangeRequest { key: from, range_end, revision, limit: 5000, ..Default::default() };
        let answer = client.kv().range(request).await.expect("the past is readable").into_inner();
        kvs.extend(answer.kvs);
        if !answer.more {
            return kvs;
        }
        key = kvs.last().expect("there are more").key.to_vec();
        key.push(0);
    }
}

async fn events(client: &Client, from: i64, to: i64) -> Vec<mvccpb::Event> {
    let request = pb::WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: from,
        ..Default::default()
    };
    let (mut watch, _) = Watch::open(client, request).await.expect("the past can be watched");
    let mut events: Vec<mvccpb::Event> = Vec::new();
    let reached = |events: &[mvccpb::Event]| {
        events.last().and_then(|event| event.kv.as_ref()).is_some_and(|kv| kv.mod_revision == to)
    };
    while !reached(&events) {
        let message = watch.message().await.expect("the watch goes on");
        assert!(!message.canceled, "{message:?}");
        events.extend(message.events);
    }
    events
}

/// etcd's own hash of all history.
pub(crate) fn hash(server: &Server) -> u32 {
    in_a_runtime(async {
        let client = crate::support::calls::client_of(server).await;
        let request = pb::HashKvRequest::default();
        client.maintenance().hash_kv(request).await.expect("it has a hash").into_inner().hash
    })
}
