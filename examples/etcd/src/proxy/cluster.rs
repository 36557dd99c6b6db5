//! Who there is, as clients are told: the proxies, so that nobody goes around them.
//!
//! With `--resolver-prefix` every proxy keeps a key below it while it lives, under a lease, in
//! etcd's form, so that etcd's proxies and these find each other:
//!
//! ```text
//!   PREFIX/ADDRESS = {"Op":0,"Addr":"ADDRESS","Metadata":"{\"name\":\"HOST\"}"}
//! ```
//!
//! and MemberList names all that stand there. Without it MemberList names this proxy alone, by the
//! URL that it advertises; if that is empty, the members themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::event::EventType;
use parking_lot::Mutex;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Proxy, Shared};

/// How long to wait before it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Renewals of the lease within its time to live.
const RENEWALS: u32 = 3;

/// How clients reach this proxy, and where all proxies are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advertised {
    /// Empty: clients are told of the members.
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) register: Option<Register>,
}

/// Where the proxies are listed.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub(crate) prefix: String,
    pub(crate) ttl_seconds: i64,
}

/// The proxies that are listed: their keys, addresses and names.
#[derive(Debug, Default)]
pub(crate) struct Listed(Mutex<BTreeMap<Bytes, (String, String)>>, OwnLease);

/// The lease that this proxy is listed under; 0 if it is not.
type OwnLease = AtomicI64;

/// An entry.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    #[serde(rename = "Op", default)]
    op: u8,
    #[serde(rename = "Addr", default)]
    address: String,
    #[serde(rename = "Metadata", default)]
    metadata: serde_json::Value,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

impl Entry {
    fn new(address: &str, name: &str) -> Result<Entry> {
        let metadata = serde_json::to_string(&Metadata { name: name.to_owned() })?;
        Ok(Entry { op: 0, address: address.to_owned(), metadata: metadata.into() })
    }

    /// The address and the name, of what may be anybody's.
    fn parse(value: &[u8]) -> Option<(String, String)> {
        let entry: Entry = serde_json::from_slice(value).ok()?;
        let text = entry.metadata.as_str().unwrap_or_default();
        let metadata: Metadata = serde_json::from_str(text).unwrap_or_default();
        Some((entry.address, metadata.name))
    }
}

impl Listed {
    fn put(&self, key: Bytes, value: &[u8]) {
        match Entry::parse(value) {
            Some(entry) => drop(self.0.lock().insert(key, entry)),
            None => tracing::warn!(key = ?key, "what stands there is no proxy's entry"),
        }
    }

    fn remove(&self, key: &Bytes) {
        self.0.lock().remove(key);
    }
}

impl Proxy {
    /// What MemberList answers; `None` if the members are to.
    pub(crate) fn proxies(&self) -> Option<pb::MemberListResponse> {
        if self.advertised.url.is_empty() {
            return None;
        }
        let member = |(address, name): (String, String)| pb::Member {
            name,
            client_ur_ls: vec![address],
            ..pb::Member::default()
        };
        let mut members: Vec<pb::Member> =
            self.listed.0.lock().values().cloned().map(member).collect();
        if members.is_empty() {
            let own = (self.advertised.url.clone(), self.advertised.name.clone());
            members.push(member(own));
        }
        Some(pb::MemberListResponse { members, ..Default::default() })
    }
}

/// Keeps this proxy listed, and knows who else is, until the proxy stops; then it is not any more.
pub(crate) async fn keep_listed(proxy: Shared, register: Register) {
    let mut stop = proxy.shutdown.clone();
    let (registering, following) = (proxy.clone(), proxy.clone());
    let followed = register.clone();
    let both = async {
        tokio::join!(
            for_ever("cannot register this proxy", || registered(&registering, &register)),
            for_ever("cannot list the proxies", || follow(&following, &followed)),
        );
    };
    tokio::select! {
        () = both => {}
        () = stop.fired() => {}
    }
    let id = proxy.listed.1.load(Ordering::Relaxed);
    if id != 0 {
        let mut leases = LeaseClient::new(proxy.upstream.clone());
        let revoke = leases.lease_revoke(pb::LeaseRevokeRequest { id });
        // If it cannot be said, it is noticed.
        let _ = tokio::time::timeout(RETRY, revoke).await;
    }
}

async fn for_ever<F: Future<Output = Result<()>>>(what: &'static str, attempt: impl Fn() -> F) {
    loop {
        if let Err(error) = attempt().await {
            tracing::warn!(error = format!("{error:#}"), "{what}");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Registers this proxy, and keeps it so for as long as that goes well.
async fn registered(proxy: &Shared, register: &Register) -> Result<()> {
    let (address, name) = (&proxy.advertised.url, &proxy.advertised.name);
    let mut leases = LeaseClient::new(proxy.upstream.clone());
    let ttl = register.ttl_seconds;
    let granted = leases.lease_grant(pb::LeaseGrantRequest { ttl, id: 0 }).await;
    let granted = granted.context("no lease")?.into_inner();
    let lease = granted.id;
    proxy.listed.1.store(lease, Ordering::Relaxed);
    let key = format!("{}/{address}", register.prefix);
    let key = proxy.namespace.key(&key.into());
    let value = serde_json::to_vec(&Entry::new(address, name)?)?;
    let put = pb::PutRequest { key, value: value.into(), lease, ..Default::default() };
    KvClient::new(proxy.upstream.clone()).put(put).await.context("no key")?;
    tracing::info!(address, ttl, "registered this proxy");
    let seconds = u64::try_from(granted.ttl.max(1)).unwrap_or(1);
    let step = Duration::from_secs(seconds) / RENEWALS;
    let mut failures = 0;
    loop {
        tokio::time::sleep(step).await;
        match renew(proxy, lease).await {
            Ok(0) => bail!("the lease has expired"),
            Ok(_) => failures = 0,
            // Another member may be there the next time.
            Err(_) if failures + 1 < RENEWALS => failures += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Renews a lease: the seconds that it lives from then on; 0 if it does not live.
pub(super) async fn renew(proxy: &Proxy, id: i64) -> Result<i64> {
    let once = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
    let mut leases = LeaseClient::new(proxy.upstream.clone());
    let mut answers = leases.lease_keep_alive(once).await?.into_inner();
    Ok(answers.message().await?.context("no answer")?.ttl)
}

/// Reads the list, and follows it for as long as that goes well.
async fn follow(proxy: &Shared, register: &Register) -> Result<()> {
    let below = format!("{}/", register.prefix);
    let mut end = below.clone().into_bytes();
    *end.last_mut().context("it ends in a slash")? += 1;
    let (key, range_end) = proxy.namespace.range(&below.into(), &end.into());
    let range =
        pb::RangeRequest { key: key.clone(), range_end: range_end.clone(), ..Default::default() };
    let found = KvClient::new(proxy.upstream.clone()).range(range).await?.into_inner();
    proxy.listed.0.lock().clear();
    found.kvs.into_iter().for_each(|kv| proxy.listed.put(kv.key, &kv.value));
    let revision = found.header.map_or(0, |header| header.revision);
    let create = pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: revision + 1,
        ..Default::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // A watch ends when its requests do: they are open for as long as it is followed.
    let (to, requests) = mpsc::channel(1);
    to.send(request).await?;
    let mut watch = WatchClient::new(proxy.upstream.clone());
    let mut messages = watch.watch(ReceiverStream::new(requests)).await?.into_inner();
    while let Some(message) = messages.message().await? {
        if message.canceled {
            bail!("the watch was canceled: {}", message.cancel_reason);
        }
        for event in message.events {
            let r#type = event.r#type();
            let Some(kv) = event.kv else { continue };
            match r#type {
                EventType::Put => proxy.listed.put(kv.key, &kv.value),
                EventType::Delete => proxy.listed.remove(&kv.key),
            }
        }
    }
    bail!("the watch has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    // etcd's proxies read what ours write, and the other way round.
    #[test]
    fn entries_are_etcds() {
        let entry = Entry::new("127.0.0.1:23790", "host").unwrap();
        let text = r#"{"Op":0,"Addr":"127.0.0.1:23790","Metadata":"{\"name\":\"host\"}"}"#;
        assert_eq!(serde_json::to_string(&entry).unwrap(), text);
        let read = Entry::parse(text.as_bytes());
        assert_eq!(read, Some(("127.0.0.1:23790".to_owned(), "host".to_owned())));
        assert_eq!(Entry::parse(b"rubbish"), None);
        let nameless = Entry::parse(br#"{"Addr":"a:1","Metadata":null}"#);
        assert_eq!(nameless, Some(("a:1".to_owned(), String::new())));
    }
}
