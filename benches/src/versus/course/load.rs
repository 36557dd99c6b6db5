//! A load, and what it costs client and servers.
//!
//! Before the clock starts the servers have a warm-up of a tenth of the load, everything dirty has
//! been written back, and connections, leases and watchers are there. CPU counts from the first
//! request until one second after the last answer: work that was put off is paid for, and so is a
//! second of doing nothing.

use std::{fs, time::Duration};

use anyhow::Result;

use super::super::{
    Arena, Contender, Load, Sample,
    arena::{Cost, disk_bytes},
    sample::{DISK, PEAK_RSS, START, WRITTEN, mebibytes},
};

/// The warm-up is this part of the load.
const WARM_UP: f64 = 0.1;

/// The servers' CPU counts for this long after the last answer, less at a scale below one.
const AFTERMATH: Duration = Duration::from_secs(1);

pub(super) async fn run(
    arena: &mut Arena,
    load: &Load,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let keys = load.data.keys(arena.many_keys);
    let plan = match keys {
        Some(keys) if load.data.is_only_read() => arena.filled(contender, members, keys).await?,
        _ => arena.empty(contender, members)?,
    };
    let cluster = arena.start(contender, &plan).await?;
    if let Some((keys, value_bytes)) = keys.filter(|_| !load.data.is_only_read()) {
        arena.fill(&cluster, keys, keys, value_bytes).await?;
    }
    arena.load(&cluster, &load.arguments(arena.scale * WARM_UP, arena.many_keys)).await?;
    arena.settle_disk()?;

    let arguments = load.arguments(arena.scale, arena.many_keys);
    let aftermath = AFTERMATH.mul_f64(arena.scale.min(1.0));
    let Cost { report, cpu, written_bytes } =
        arena.measured(&cluster, &arguments, aftermath).await?;
    let sample = Sample::of_load(&report, cpu.as_secs_f64())
        .with(PEAK_RSS, mebibytes(cluster.peak_rss_bytes()?))
        .with(WRITTEN, written_bytes as f64 / report.requests as f64)
        .with(START, cluster.ready_after().as_secs_f64() * 1e3);
    cluster.stop().await?;
    let sample = sample.with(DISK, mebibytes(disk_bytes(plan.folder())?));
    if !load.data.is_only_read() {
        fs::remove_dir_all(plan.folder())?;
    }
    Ok(sample)
}
