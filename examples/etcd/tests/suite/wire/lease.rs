//! Leases: odd times and ids, what hangs on them, and streams of keep-alives.

use drystone_etcd_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, PutRequest,
};

use super::{Wire, del, get, put, span};

impl Wire {
    async fn grant(&mut self, step: &str, id: i64, ttl: i64) {
        let result = self.client.lease().lease_grant(LeaseGrantRequest { ttl, id }).await;
        self.note(step, result);
    }

    async fn revoke(&mut self, step: &str, id: i64) {
        let result = self.client.lease().lease_revoke(LeaseRevokeRequest { id }).await;
        self.note(step, result);
    }

    /// What is left of a lease runs down while it is asked: more than nothing is noted as 1.
    async fn time_to_live(&mut self, step: &str, id: i64) {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let mut result = self.client.lease().lease_time_to_live(request).await;
        if let Ok(response) = &mut result {
            let left = response.get_mut();
            assert!(left.ttl <= left.granted_ttl, "more is left than was granted");
            left.ttl = left.ttl.min(1);
            left.keys.sort_unstable();
        }
        self.note(step, result);
    }

    async fn leases(&mut self, step: &str) {
        let mut result = self.client.lease().lease_leases(LeaseLeasesRequest {}).await;
        if let Ok(response) = &mut result {
            response.get_mut().leases.sort_unstable_by_key(|lease| lease.id);
        }
        self.note(step, result);
    }
}

/// Times are raised to the least that an election leaves room for; ids may be chosen.
pub(super) async fn grants(w: &mut Wire) {
    w.leases("none yet").await;
    for (id, ttl) in [(10, 1000), (11, 9_000_000_000), (12, 60), (i64::MAX, 60), (-5, 60)] {
        w.grant(&format!("id {id} for {ttl} s"), id, ttl).await;
    }
    w.grant("a lease that is there", 10, 5).await;
    w.grant("too long", 20, 9_000_000_001).await;
    w.grant("far too long", 20, i64::MAX).await;
    w.grant("an id that was refused is free", 20, 60).await;
    w.leases("all").await;
    w.revoke("revoke", 20).await;
    w.revoke("revoke again", 20).await;
    w.revoke("revoke no id", 0).await;
    w.revoke("revoke a negative id", -5).await;
    w.grant("grant a revoked id", 20, 61).await;
    w.time_to_live("what is left", 20).await;
    w.time_to_live("what is left of none", 21).await;
    w.time_to_live("what is left of no id", 0).await;
    // These end by themselves after two seconds, so nothing is asked about them but the grant.
    for (id, ttl) in [(30, 0), (31, 1), (32, -1), (33, i64::MIN), (34, 2)] {
        w.grant(&format!("id {id} for {ttl} s"), id, ttl).await;
    }
}

/// A key hangs on one lease; writing it without one lets go.
pub(super) async fn attachments(w: &mut Wire) {
    w.grant("one", 1, 1000).await;
    w.grant("two", 2, 1000).await;
    let leased = |key: &str, lease| PutRequest { lease, ..put(key, "v") };
    w.put("on one", leased("a", 1)).await;
    w.put("on one", leased("b", 1)).await;
    w.put("on two", leased("c", 2)).await;
    w.put("on none", leased("d", 3)).await;
    w.put("on a negative one", leased("d", -3)).await;
    w.time_to_live("keys of one", 1).await;
    w.put("moves", PutRequest { prev_kv: true, ..leased("a", 2) }).await;
    w.time_to_live("keys of one", 1).await;
    w.time_to_live("keys of two", 2).await;
    w.put("lets go", leased("b", 0)).await;
    w.put("stays", PutRequest { ignore_lease: true, ..put("a", "w") }).await;
    w.put(
        "stays, and value too",
        PutRequest { ignore_lease: true, ignore_value: true, ..put("a", "") },
    )
    .await;
    let both = PutRequest { ignore_lease: true, lease: 1, ..put("a", "w") };
    w.put("stays, and is given one", both).await;
    w.put("stays on none", PutRequest { ignore_lease: true, ..put("none", "v") }).await;
    w.put("same value, other lease", PutRequest { ignore_value: true, ..leased("c", 1) }).await;
    w.range("a", get("a")).await;
    w.time_to_live("keys of one", 1).await;
    w.delete("delete", del("c")).await;
    w.time_to_live("keys of one", 1).await;
    w.put("on two", leased("e", 2)).await;
    w.revoke("two ends", 2).await;
    w.range("what is left", span("\0", "\0")).await;
    w.revoke("one ends without keys", 1).await;
    w.range("nothing was written", span("\0", "\0")).await;
}

/// Many requests on one stream; a missing lease is an answer, not an error.
pub(super) async fn keep_alives(w: &mut Wire) {
    w.grant("grant", 5, 1000).await;
    w.put("a write between", put("a", "1")).await;
    let ids = [5, 6, 5, 0, -1, 5];
    let (sender, receiver) = tokio::sync::mpsc::channel(ids.len());
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut client = w.client.lease();
    let opened = client.lease_keep_alive(requests);
    for id in ids {
        sender.send(LeaseKeepAliveRequest { id }).await.expect("the channel has room for all");
    }
    let mut answers = opened.await.expect("the stream opens").into_inner();
    for id in ids {
        let answer = answers.message().await;
        let answer = answer.map(|message| tonic::Response::new(message.expect("one each")));
        w.note(&format!("keep {id}"), answer);
    }
    drop(sender);
    let end = answers.message().await.map(tonic::Response::new);
    w.note("no more requests, no more answers", end);
    w.time_to_live("what is left", 5).await;
}
