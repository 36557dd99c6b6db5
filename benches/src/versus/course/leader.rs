//! The leader is killed without a word: how long until a put is acknowledged again?
//!
//! A put that a survivor sends on to the dead leader is lost, and its client waits in vain. So a
//! new one goes out every few milliseconds, to the survivors in turn, and the first answer to any
//! of them ends the wait. Members have the default timeouts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_etcd_api::{
    client::{self, Client},
    etcdserverpb::PutRequest,
};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use super::super::{
    Arena, Contender, Sample,
    sample::{TAKEOVER_MEDIAN, TAKEOVER_WORST},
    scenario::scaled,
    summary::Spread,
};
use crate::cluster::Cluster;

/// Leaders that are killed in a run.
const KILLS: u64 = 3;

/// Between two puts.
const EVERY: Duration = Duration::from_millis(20);

/// A cluster that takes no put for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts before the first kill, so that the log is no stranger to anybody.
const PUTS: u64 = 1_000;

pub(super) async fn run(
    arena: &mut Arena,
    contender: &Contender,
    members: usize,
) -> Result<Sample> {
    let (plan, mut cluster) = arena.fresh(contender, members).await?;
    arena.fill(&cluster, PUTS, PUTS, 256).await?;
    let mut times = Vec::new();
    for _ in 0..scaled(KILLS, arena.scale.min(1.0)) {
        times.push(kill_and_put(&mut cluster).await?.as_secs_f64() * 1e3);
    }
    arena.discard(plan, cluster).await?;
    let Spread { median, max, .. } = Spread::of(times);
    Ok(Sample::default().with(TAKEOVER_MEDIAN, median).with(TAKEOVER_WORST, max))
}

/// Leaves the cluster as whole as it was.
async fn kill_and_put(cluster: &mut Cluster) -> Result<Duration> {
    // The leader comes first.
    let survivors = cluster.endpoints().split_off(1);
    let mut clients = Vec::new();
    for survivor in &survivors {
        clients.push(client::connect(survivor, &client::Config::default()).await?);
    }
    let begin = Instant::now();
    let seat = cluster.kill_leader().await?;
    let answered = timeout(PATIENCE, first_put(&clients)).await;
    answered.context("no put was acknowledged after the leader's death")??;
    let time = begin.elapsed();
    cluster.revive(&seat).await?;
    Ok(time)
}

async fn first_put(clients: &[Client]) -> Result<()> {
    let mut ticks = interval(EVERY);
    let mut under_way = JoinSet::new();
    let mut turns = clients.iter().cycle();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let mut kv = turns.next().context("nobody survived")?.kv();
                let put = PutRequest { key: "again?".into(), ..PutRequest::default() };
                under_way.spawn(async move { kv.put(put).await.is_ok() });
            }
            Some(ended) = under_way.join_next() => {
                if ended? {
                    return Ok(());
                }
            }
        }
    }
}
