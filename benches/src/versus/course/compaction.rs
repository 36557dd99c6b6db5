//! The slowest put while 100,000 revisions are compacted, and while the disk gets its space back.
//!
//! Puts come at a steady pace that neither server is troubled by, and the time of each runs from
//! when it was due: whoever stands still cannot hide the puts it kept from being sent. The same
//! puts on an idle server, before and after, say how slow the slowest is anyway; the better counts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_etcd_api::etcdserverpb::{CompactionRequest, DefragmentRequest, RangeRequest};
use tokio::time::{Instant, sleep};

use super::super::{
    Arena, Contender, Sample,
    arena::words,
    sample::{
        COMPACTION, DEFRAGMENTATION, WORST_ADDED, WORST_COMPACTING, WORST_DEFRAGMENTING,
        WORST_IDLE, millis,
    },
    scenario::scaled,
};
use crate::{cluster::Cluster, load::Report};

/// What is compacted away.
const REVISIONS: u64 = 100_000;

/// Each key was written so often.
const REVISIONS_A_KEY: u64 = 10;

/// Puts a second, of ten clients.
const PACE: u64 = 500;

/// How long each of the four loads goes on.
const SECONDS: f64 = 6.0;

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let (plan, cluster) = arena.fresh(contender, members).await?;
    let revisions = scaled(REVISIONS, arena.scale);
    let keys = revisions.div_ceil(REVISIONS_A_KEY);
    // Those of the last round over the keys are alive and stay.
    arena.fill(&cluster, revisions + keys, keys, 256).await?;
    arena.settle_disk()?;

    let idle = arena.measured(&cluster, &load(arena, keys), Duration::ZERO).await?.report;
    let (compacting, compaction) = beside(arena, &cluster, keys, compact(&cluster)).await?;
    let (giving, defragmentation) = beside(arena, &cluster, keys, defragment(&cluster)).await?;
    let idle_again = arena.measured(&cluster, &load(arena, keys), Duration::ZERO).await?.report;
    arena.discard(plan, cluster).await?;

    let [idle, idle_again, compacting, giving] =
        [idle, idle_again, compacting, giving].map(|report| millis(report.latency_us.max));
    // Whatever else the machine did must not make the server's own pauses look small.
    let idle = idle.min(idle_again);
    Ok(Sample::default()
        .with(WORST_IDLE, idle)
        .with(WORST_COMPACTING, compacting)
        .with(WORST_DEFRAGMENTING, giving)
        .with(WORST_ADDED, compacting.max(giving) - idle)
        .with(COMPACTION, compaction.as_secs_f64() * 1e3)
        .with(DEFRAGMENTATION, defragmentation.as_secs_f64() * 1e3))
}

fn load(arena: &Arena, keys: u64) -> Vec<String> {
    let seconds = arena.seconds(SECONDS);
    let total = (seconds * PACE as f64).ceil();
    words(&format!(
        "put --clients 10 --connections 10 --rate {PACE} --total {total} --key-space {keys} \
         --seconds {seconds}"
    ))
}

/// Begins `work` a sixth into the load. Returns when both have ended, with the time of the work.
async fn beside(
    arena: &Arena,
    cluster: &Cluster,
    keys: u64,
    work: impl Future<Output = Result<()>>,
) -> Result<(Report, Duration)> {
    let arguments = load(arena, keys);
    let timed = async {
        sleep(Duration::from_secs_f64(arena.seconds(SECONDS) / 6.0)).await;
        let begin = Instant::now();
        work.await.map(|()| begin.elapsed())
    };
    let load = arena.measured(cluster, &arguments, Duration::ZERO);
    let (cost, time) = tokio::try_join!(load, timed)?;
    if time.as_secs_f64() > arena.seconds(SECONDS) * 5.0 / 6.0 {
        eprintln!("the work took {time:?}, longer than the load beside it");
    }
    Ok((cost.report, time))
}

/// Until the revisions are gone, not only promised to go.
async fn compact(cluster: &Cluster) -> Result<()> {
    let client = cluster.client().await?;
    let read = RangeRequest { key: "revision?".into(), ..RangeRequest::default() };
    let header = client.kv().range(read).await?.into_inner().header;
    let revision = header.context("an answer has a header")?.revision;
    client.kv().compact(CompactionRequest { revision, physical: true }).await?;
    Ok(())
}

async fn defragment(cluster: &Cluster) -> Result<()> {
    cluster.client().await?.maintenance().defragment(DefragmentRequest {}).await?;
    Ok(())
}
