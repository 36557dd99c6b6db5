//! What a proxy counts (`grpc-proxy start`), under etcd's names.

use super::calls;
use super::page::{Kind, Page};
use super::process;
use crate::grpc_method::Methods;

/// What a proxy has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Watchers that cost the members nothing.
    pub(crate) watchers_coalesced: i64,
    /// Messages of watches that cost the members nothing.
    pub(crate) events_coalesced: u64,
    pub(crate) cache_keys: usize,
    pub(crate) cache_hits: u64,
    pub(crate) cache_misses: u64,
    /// Keys that the proxy answers for, and reads of them.
    pub(crate) leased_keys: usize,
    pub(crate) leased_reads: u64,
    /// When the proxy began, seconds since 1970.
    pub(crate) start_seconds: f64,
    /// The member that calls go to.
    pub(crate) endpoint: String,
}

/// The page.
pub(crate) fn page(methods: &Methods, counts: &Counts) -> String {
    use Kind::{Counter, Gauge};
    let mut page = Page::default();
    let Counts { watchers_coalesced, events_coalesced, cache_keys, .. } = counts;
    let name = "etcd_grpc_proxy_watchers_coalescing_total";
    page.number(name, "Watchers that cost the members nothing.", Gauge, watchers_coalesced);
    let name = "etcd_grpc_proxy_events_coalescing_total";
    page.number(
        name,
        "Messages of watches that cost the members nothing.",
        Counter,
        events_coalesced,
    );
    let name = "etcd_grpc_proxy_cache_keys_total";
    page.number(name, "Answers to ranges that are kept.", Gauge, cache_keys);
    let name = "etcd_grpc_proxy_cache_hits_total";
    page.number(name, "Ranges answered with what was kept.", Gauge, counts.cache_hits);
    let name = "etcd_grpc_proxy_cache_misses_total";
    page.number(name, "Serializable ranges that a member was asked.", Gauge, counts.cache_misses);
    let name = "drystone_etcd_proxy_leased_keys";
    page.number(name, "Keys that this proxy answers for.", Gauge, counts.leased_keys);
    let name = "drystone_etcd_proxy_leased_reads_total";
    page.number(name, "Reads of them, of which no member knows.", Counter, counts.leased_reads);
    let name = "drystone_etcd_proxy_endpoint";
    let labels = [("endpoint", counts.endpoint.as_str())];
    page.labeled(name, "The member that calls go to.", Gauge, &labels, 1);
    calls::write_methods(&mut page, methods);
    process::write(&mut page, counts.start_seconds);
    page.into_text()
}
