//! Plain calls that must succeed, for tests whose point lies elsewhere.

use bytes::Bytes;
use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, RangeRequest,
    RangeResponse, ResponseHeader,
};

use super::server::Server;

/// Runs `future` on this thread.
pub(crate) fn in_a_runtime<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// A runtime on this thread, for what is done in turns with other things.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made")
}

/// A new connection to `server`.
pub(crate) async fn client_of(server: &Server) -> Client {
    let client = connect(&server.client_url(), &Config::default()).await;
    client.expect("a server that answers accepts connections")
}

fn revision_of(header: Option<ResponseHeader>) -> i64 {
    header.expect("an answer has a header").revision
}

/// Sets a key, on a lease unless that is 0; the new revision.
pub(crate) async fn put(client: &Client, key: &str, value: impl Into<Bytes>, lease: i64) -> i64 {
    let (key, value) = (key.to_owned().into(), value.into());
    let request = PutRequest { key, value, lease, ..PutRequest::default() };
    let answer = client.kv().put(request).await.expect("a put is answered");
    revision_of(answer.into_inner().header)
}

/// Deletes every key; the revision afterwards.
pub(crate) async fn delete_everything(client: &Client) -> i64 {
    let (key, range_end) = ("\0".into(), "\0".into());
    let request = DeleteRangeRequest { key, range_end, ..DeleteRangeRequest::default() };
    let answer = client.kv().delete_range(request).await.expect("a deletion is answered");
    revision_of(answer.into_inner().header)
}

/// Has the engine save all that is applied.
pub(crate) async fn save(client: &Client) {
    let defragment = client.maintenance().defragment(DefragmentRequest::default()).await;
    defragment.expect("the engine can be saved");
}

/// Compacts, and waits until what is gone is gone.
pub(crate) async fn compact(client: &Client, revision: i64) {
    let request = CompactionRequest { revision, physical: true };
    client.kv().compact(request).await.expect("a compaction is answered");
}

/// What stands at `key`.
pub(crate) async fn get(client: &Client, key: &str) -> RangeResponse {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    client.kv().range(request).await.expect("a range is answered").into_inner()
}

/// Reads a key, for the sake of it.
pub(crate) async fn get_once(client: &Client, key: &str) {
    drop(get(client, key).await);
}

/// The newest revision.
pub(crate) async fn revision(client: &Client) -> i64 {
    revision_of(get(client, "none").await.header)
}

/// Makes a lease of that number, for so many seconds.
pub(crate) async fn grant(client: &Client, id: i64, ttl: i64) {
    let granted = client.lease().lease_grant(LeaseGrantRequest { id, ttl }).await;
    assert_eq!(granted.expect("a lease is granted").into_inner().ttl, ttl, "as long as asked");
}

/// Ends a lease.
pub(crate) async fn revoke(client: &Client, id: i64) {
    client.lease().lease_revoke(LeaseRevokeRequest { id }).await.expect("a lease is revoked");
}

/// A lease, with its keys.
pub(crate) async fn lease(client: &Client, id: i64) -> LeaseTimeToLiveResponse {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let told = client.lease().lease_time_to_live(request).await;
    told.expect("a lease is described").into_inner()
}
