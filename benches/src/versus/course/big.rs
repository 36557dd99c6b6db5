//! A database larger than most, and its reads and writes.
//!
//! Values of 16 KiB, so that the keys, which are in memory with every engine, are few beside them.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::super::{
    Arena, Contender, Sample,
    arena::{disk_bytes, words},
    sample::{
        FILL, ON_DISK, P99, PEAK_RSS, RESTART, RSS, RSS_AFTER_RESTART, THROUGHPUT, WORST,
        mebibytes, millis,
    },
    scenario::SECONDS_MIN,
};

const VALUE_BYTES: u64 = 16 << 10;

/// What the puts of the mix may add, and more.
const ROOM_BYTES: u64 = 64 << 30;

/// How long reads and writes go on.
const SECONDS: f64 = 20.0;

/// Between the last put and what is measured, so that housekeeping can come to its end.
const REST: Duration = Duration::from_secs(5);

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let mut contender = contender.clone();
    // Room for what is put again, for old revisions stay until they are compacted, and for what an
    // engine has in two places while it merges.
    let quota = arena.big_bytes.saturating_mul(2).saturating_add(ROOM_BYTES);
    contender.flags.push(format!("--quota-backend-bytes={quota}"));
    let (plan, cluster) = arena.fresh(&contender, members).await?;
    let keys = arena.big_bytes.div_ceil(VALUE_BYTES);
    let fill = format!(
        "put --clients 64 --connections 8 --total {keys} --key-space {keys} \
         --val-size {VALUE_BYTES}"
    );
    let filled = arena.load(&cluster, &words(&fill)).await?;
    sleep(REST.mul_f64(arena.scale.min(1.0))).await;
    let sample = Sample::default()
        .with(FILL, filled.per_second * VALUE_BYTES as f64 / 1e6)
        .with(RSS, mebibytes(cluster.rss_bytes()?))
        .with(PEAK_RSS, mebibytes(cluster.peak_rss_bytes()?))
        .with(ON_DISK, mebibytes(disk_bytes(plan.folder())?));
    let seconds = (SECONDS * arena.scale).max(SECONDS_MIN);
    let mixed = format!(
        "mixed --clients 64 --connections 8 --random --key-space {keys} \
         --val-size {VALUE_BYTES} --total {} --seconds {seconds}",
        u64::MAX
    );
    let served = arena.measured(&cluster, &words(&mixed), Duration::ZERO).await?.report;
    let sample = sample
        .with(THROUGHPUT, served.per_second)
        .with(P99, millis(served.latency_us.p99))
        .with(WORST, millis(served.latency_us.max));
    cluster.kill().await?;
    let cluster = arena.start(&contender, &plan).await?;
    let sample = sample
        .with(RESTART, cluster.ready_after().as_secs_f64() * 1e3)
        .with(RSS_AFTER_RESTART, mebibytes(cluster.rss_bytes()?));
    arena.discard(plan, cluster).await?;
    Ok(sample)
}
