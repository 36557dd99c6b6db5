//! A million keys with values of 256 bytes: the memory they take, and a restart with them.
//!
//! Memory is taken a while after the last put, for both sides have garbage to clear away. A restart
//! begins with the start of processes whose predecessors were killed, all of them and without a
//! word, and ends with the answer to a linearizable read. What the files hold is still in the
//! kernel's cache, for both sides alike.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::super::{
    Arena, Contender, Sample,
    arena::disk_bytes,
    sample::{ON_DISK, PEAK_RSS, RESTART, RSS, RSS_AFTER_RESTART, mebibytes},
    scenario::scaled,
    summary::Spread,
};

const KEYS: u64 = 1_000_000;
const VALUE_BYTES: usize = 256;

/// Between the last put and the look at the memory, less at a scale below one.
const REST: Duration = Duration::from_secs(3);

/// The middle one of so many counts.
const RESTARTS: u32 = 3;

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let (plan, mut cluster) = arena.fresh(contender, members).await?;
    let keys = scaled(KEYS, arena.scale);
    arena.fill(&cluster, keys, keys, VALUE_BYTES).await?;
    sleep(REST.mul_f64(arena.scale.min(1.0))).await;
    let sample = Sample::default()
        .with(RSS, mebibytes(cluster.rss_bytes()?))
        .with(PEAK_RSS, mebibytes(cluster.peak_rss_bytes()?))
        .with(ON_DISK, mebibytes(disk_bytes(plan.folder())?));
    let mut restarts = Vec::new();
    for _ in 0..RESTARTS {
        cluster.kill().await?;
        cluster = plan.spawn()?;
        let recording = arena.record(&cluster)?;
        cluster.ready().await?;
        if let Some(recording) = recording {
            println!("restart: {} ms\n", cluster.ready_after().as_millis());
            recording.print().await?;
        }
        restarts.push(cluster.ready_after().as_secs_f64() * 1e3);
    }
    let rss = cluster.rss_bytes()?;
    arena.discard(plan, cluster).await?;
    Ok(sample.with(RESTART, Spread::of(restarts).median).with(RSS_AFTER_RESTART, mebibytes(rss)))
}
