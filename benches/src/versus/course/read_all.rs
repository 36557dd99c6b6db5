//! Four clients that each read all keys, values of 1 KiB, in one answer and at once: what memory
//! does that add to what the server had?

use std::time::Duration;

use anyhow::Result;

use super::super::{
    Arena, Contender, Data, Sample,
    arena::words,
    sample::{READ_SECONDS, RSS, RSS_ADDED, mebibytes},
};

const BYTES_IN_MB: f64 = 1e6;

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let keys = Data::ManyLargeKeys.keys(arena.many_keys).expect("this store is never empty");
    let plan = arena.filled(contender, members, keys).await?;
    let cluster = arena.start(contender, &plan).await?;
    cluster.forget_peak()?;
    let before = cluster.rss_bytes()?;
    let read = format!(
        "range --span all --clients 4 --connections 4 --threads 4 --total 4 --key-space {}",
        arena.many_keys
    );
    let report = arena.measured(&cluster, &words(&read), Duration::ZERO).await?.report;
    let added = cluster.peak_rss_bytes()?.saturating_sub(before);
    cluster.stop().await?;
    Ok(Sample::default()
        .with(RSS_ADDED, added as f64 / BYTES_IN_MB)
        .with(RSS, mebibytes(before))
        .with(READ_SECONDS, report.seconds))
}
