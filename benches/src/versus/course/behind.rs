//! A watcher that begins at the first of half a million revisions, and the writers beside it.
//!
//! The watcher reads at the pace at which it needs the whole load to come up, so that there is one
//! behind all the time, and its cost in CPU, which it shares cores with, is bounded. Few writers,
//! for the same reason: what is looked for is a lock or a queue, not the price of the events.

use std::{convert::Infallible, future::pending, time::Duration};

use anyhow::{Context as _, Result, ensure};
use drystone_etcd_api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, watch_request::RequestUnion,
};
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt as _;

use super::super::{
    Arena, Contender, Sample,
    arena::words,
    sample::{CATCH_UP, P99, PUTS_ALONE, PUTS_BESIDE, PUTS_KEPT, millis},
    scenario::scaled,
};
use crate::cluster::Cluster;

/// How far the watcher is behind.
const REVISIONS: u64 = 500_000;

/// Each key was written so often.
const REVISIONS_A_KEY: u64 = 10;

/// How long each load goes on.
const SECONDS: f64 = 5.0;

/// A watcher that got nothing took no time, but figures are divided by it.
const INSTANT: Duration = Duration::from_millis(1);

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let (plan, cluster) = arena.fresh(contender, members).await?;
    let revisions = scaled(REVISIONS, arena.scale);
    let keys = revisions.div_ceil(REVISIONS_A_KEY);
    arena.fill(&cluster, revisions, keys, 256).await?;
    arena.settle_disk()?;

    let seconds = arena.seconds(SECONDS);
    let put = words(&format!(
        "put --clients 10 --connections 10 --total {} --key-space {keys} --seconds {seconds}",
        u64::MAX
    ));
    let alone = arena.measured(&cluster, &put, Duration::ZERO).await?.report;
    let pace = revisions as f64 / seconds;
    let mut watched = Watched::default();
    // The watcher ends with the load: etcd 3.4 would need minutes more for its last event.
    let beside = tokio::select! {
        cost = arena.measured(&cluster, &put, Duration::ZERO) => cost?.report,
        failed = watched.catch_up(&cluster, revisions, pace) => match failed? {},
    };
    arena.discard(plan, cluster).await?;
    Ok(Sample::default()
        .with(PUTS_ALONE, alone.per_second)
        .with(PUTS_BESIDE, beside.per_second)
        .with(PUTS_KEPT, beside.per_second / alone.per_second)
        .with(P99, millis(beside.latency_us.p99))
        .with(CATCH_UP, watched.events as f64 / watched.time.max(INSTANT).as_secs_f64()))
}

/// How far a watcher has come.
#[derive(Debug, Default)]
struct Watched {
    events: u64,
    /// Since its start, at its last event.
    time: Duration,
}

impl Watched {
    /// Watches everything from the first revision on until so many events have come, at no more
    /// than `pace` a second, and then waits for ever.
    async fn catch_up(&mut self, cluster: &Cluster, events: u64, pace: f64) -> Result<Infallible> {
        let client = cluster.client().await?;
        let create = WatchCreateRequest {
            key: b"\0"[..].into(),
            range_end: b"\0"[..].into(),
            start_revision: 1,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // The stream of requests stays open, for its end would end the watch.
        let requests = tokio_stream::once(create).chain(tokio_stream::pending());
        let begin = Instant::now();
        let mut stream = client.watch().watch(requests).await?.into_inner();
        while self.events < events {
            let answer = stream.message().await?.context("the server ended the watch")?;
            ensure!(!answer.canceled, "the watcher was canceled: {}", answer.cancel_reason);
            self.events += answer.events.len() as u64;
            self.time = begin.elapsed();
            sleep_until(begin + Duration::from_secs_f64(self.events as f64 / pace)).await;
        }
        pending().await
    }
}
