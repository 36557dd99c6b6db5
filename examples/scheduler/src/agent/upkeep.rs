//! What a node does once in a while: sweeps, collects images, lets old logs go, tells what it has.
//!
//! None of it is in a hurry, and none may stop the agent: what fails is in the log, and is tried
//! again the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mason_core::keys::Key;
use mason_core::record::{self, ImageAt, JobRecord};
use mason_core::types::{JobKey, Uid};
use mason_node::image::store::{Listed, Watermarks};
use mason_node::runtime::{PastLimits, PastLog};
use tokio::sync::watch;

use super::hand::chain;
use super::hands::Tools;
use super::memo::job_of;

/// How often a node is swept.
pub const SWEEP: Duration = Duration::from_secs(60);
/// Every how manieth sweep also looks whether the jobs of old logs are still there.
const LOGS_EVERY: u64 = 10;
/// So many jobs are asked for then at most.
const JOBS_MAX: usize = 1000;
/// So many images a node tells of.
const IMAGES_MAX: usize = 64;
/// So many bytes of their names, so that a beat stays small.
const NAMES_BYTES_MAX: usize = 8 << 10;
/// How long after an image came the store is told: others may come with it.
const GATHER: Duration = Duration::from_secs(2);

/// How much a node keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Logs of runs that are over: a week, and a gibibyte of all.
    pub past_logs: PastLimits,
    /// Images: above 80 GiB the longest unused go, until there are 60.
    pub images: Watermarks,
    /// Largest image that is taken over HTTP, as a tar: 8 GiB.
    pub upload_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            past_logs: PastLimits::default(),
            images: Watermarks { high: 80 << 30, low: 60 << 30 },
            upload_bytes: 8 << 30,
        }
    }
}

/// What is done once in a while.
pub(super) struct Upkeep {
    pub(super) tools: Arc<Tools>,
    pub(super) limits: Limits,
    pub(super) images: watch::Sender<Vec<ImageAt>>,
}

impl Upkeep {
    /// Works until it is dropped.
    pub(super) async fn work(self) {
        let mut clock = tokio::time::interval(SWEEP);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u64;
        loop {
            tokio::select! {
                _ = clock.tick() => {
                    self.sweep().await;
                    self.collect().await;
                    self.prune(count.is_multiple_of(LOGS_EVERY)).await;
                    count += 1;
                }
                () = self.tools.images_changed.notified() => tokio::time::sleep(GATHER).await,
            }
            self.tell_images().await;
        }
    }

    async fn sweep(&self) {
        let tools = self.tools.clone();
        let sweep = move || tools.runner.sweep_unless(|run| tools.known.had(run));
        match tokio::task::spawn_blocking(sweep).await.expect("a sweep does not panic") {
            Ok(found) => {
                for it in found {
                    let (kind, path) = (format!("{:?}", it.kind), it.path.display());
                    match it.error {
                        None => tracing::warn!(run = %it.run, kind, %path, "nobody's: removed"),
                        Some(error) => {
                            tracing::warn!(run = %it.run, kind, %path, error, "nobody's: stays");
                        }
                    }
                }
            }
            Err(error) => tracing::warn!("the node cannot be swept: {}", chain(&error)),
        }
    }

    async fn collect(&self) {
        let (store, water) = (self.tools.images.store().clone(), self.limits.images);
        let collected = tokio::task::spawn_blocking(move || store.gc(water)).await;
        match collected.expect("a collection does not panic") {
            Ok(swept) if swept.names.is_empty() => {}
            Ok(swept) => {
                let (names, freed) = (swept.names.join(", "), swept.bytes_freed);
                tracing::info!(names, freed, "images that were not used for long are gone");
            }
            Err(error) => tracing::warn!("images cannot be collected: {}", chain(&error)),
        }
    }

    async fn prune(&self, asks: bool) {
        let gone = if asks { self.gone_jobs().await } else { BTreeSet::new() };
        let (runner, limits) = (self.tools.runner.clone(), self.limits.past_logs);
        let is_wanted = move |log: &PastLog| job_of(&log.of).is_none_or(|job| !gone.contains(&job));
        let prune = move || runner.prune_logs(limits, is_wanted);
        match tokio::task::spawn_blocking(prune).await.expect("pruning does not panic") {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::debug!(count = removed.len(), "old logs are gone"),
            Err(error) => tracing::warn!("old logs cannot be removed: {}", chain(&error)),
        }
    }

    /// Jobs of old logs that the store does not have any more. One that it does not tell of stays.
    async fn gone_jobs(&self) -> BTreeSet<(JobKey, Uid)> {
        let runner = self.tools.runner.clone();
        let logs = tokio::task::spawn_blocking(move || runner.past_logs()).await;
        let Ok(logs) = logs.expect("reading a folder does not panic") else {
            return BTreeSet::new();
        };
        let mut jobs: BTreeMap<JobKey, BTreeSet<Box<str>>> = BTreeMap::new();
        for (job, uid) in logs.iter().filter_map(|log| job_of(&log.of)) {
            jobs.entry(job).or_default().insert(uid.0);
        }
        let mut gone = BTreeSet::new();
        for (job, uids) in jobs.into_iter().take(JOBS_MAX) {
            let path = self.tools.store.keys().path(&Key::Job(job.clone()));
            let Ok(found) = self.tools.store.get(&path).await else { break };
            let there = match found.map(|kv| record::decode::<JobRecord>(&path, &kv.value)) {
                None => None,
                Some(Ok(record)) => Some(record.uid),
                Some(Err(_)) => continue,
            };
            let others = uids.into_iter().map(Uid).filter(|uid| Some(uid) != there.as_ref());
            gone.extend(others.map(|uid| (job.clone(), uid)));
        }
        gone
    }

    async fn tell_images(&self) {
        let store = self.tools.images.store().clone();
        match tokio::task::spawn_blocking(move || store.list()).await.expect("it does not panic") {
            Ok(all) => {
                let told = worth_telling(all);
                self.images.send_if_modified(|old| {
                    let is_news = *old != told;
                    *old = told;
                    is_news
                });
            }
            Err(error) => tracing::warn!("images cannot be listed: {}", chain(&error)),
        }
    }
}

/// The largest, as many as fit.
pub(super) fn worth_telling(mut all: Vec<Listed>) -> Vec<ImageAt> {
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let mut left = NAMES_BYTES_MAX;
    let fits = all.into_iter().take(IMAGES_MAX).map_while(|it| {
        left = left.checked_sub(it.name.len())?;
        Some(ImageAt { name: it.name, bytes: it.bytes })
    });
    fits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node with a thousand images must not write them all with each beat, and what it leaves out
    /// should be what is cheap to fetch.
    #[test]
    fn the_largest_images_are_told_as_many_as_fit() {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let listed = |name: String, bytes| Listed { name, digest, bytes, pinned: false, used: 0 };
        let many = (0..1000).map(|at| listed(format!("i{at:03}"), at)).collect();
        let told = worth_telling(many);
        assert_eq!((told.len(), &*told[0].name, told[0].bytes), (IMAGES_MAX, "i999", 999));
        let long = (0..9).map(|at| listed("x".repeat(2000), at)).collect();
        assert_eq!(worth_telling(long).len(), 4);
    }
}
