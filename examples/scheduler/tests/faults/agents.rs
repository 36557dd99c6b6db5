//! Agents and keepers: killed at any moment, paused for longer than the lease.

use mason_core::record::{Phase, Reason};
use mason_core::spec::{Backoff, Concurrency};
use mason_core::types::{JobKey, NodeId, RunId};
use mason_node::log::{Event, Reader};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{Site, beating, processes};
use crate::support::{Kind, Solo, seed, until};

/// The agent's death is no event in a run's life, at whatever moment it comes.
pub(crate) async fn an_agent_killed_again_and_again_neither_loses_nor_repeats_nor_ends_a_run(
    kind: Kind,
) {
    const COUNT: u32 = 24;
    let mut random = ChaCha8Rng::seed_from_u64(seed("killed_again_and_again"));
    let solo = Solo::start(kind).await;
    let mut site = Site::open("kill", kind, &[solo.url()]).await;
    site.server();
    site.agent();
    let mut job = beating(&site.shared(), 2.0, Concurrency::Strict);
    (job.count, job.parallelism) = (COUNT, 6);
    let key = site.make("many", job).await;
    let mut kills = 0;
    while !site.is_over(&key) {
        // A moment is told by what has happened since, of which some is random anyhow.
        let (changes, lines) =
            (i64::from(random.next_u32() % 30), random.next_u32() as usize % 300);
        let beats = || std::fs::read_to_string(site.shared().join("beats")).unwrap_or_default();
        let since = (site.see(|it| it.mirror.revision()), beats().lines().count());
        until(async || {
            let now = (site.see(|it| it.mirror.revision()), beats().lines().count());
            let is_now = now.0 > since.0 + changes || now.1 > since.1 + lines || site.is_over(&key);
            is_now.then_some(())
        })
        .await;
        site.agents[0].role.kill();
        site.agents[0].role.launch();
        kills += 1;
    }
    // The last one is asked to end at the end, which it hears when it has begun.
    let parts = |site: &Site| site.agents[0].role.log().matches("takes part").count();
    site.agents[0].role.kill();
    let before = parts(&site);
    site.agents[0].role.launch();
    until(async || (parts(&site) > before).then_some(())).await;
    let how = site.see(|it| it.mirror.job(&key).unwrap().pasts.clone());
    assert_eq!(site.ended(&key).await, Phase::Succeeded, "{how:?}");
    site.beats().check_whole(COUNT);
    assert!(kills >= 5, "the agent was killed {kills} times only");
    let logs = site.agents[0].data_dir.join("m/past-logs");
    for run in site.beats().0.keys() {
        let folder = logs.join(run);
        until(async || folder.exists().then_some(())).await;
        check_log(run, &Reader::new(folder));
    }
    println!("killed {kills} times");
    site.close().await;
}

/// All that a run printed is there, in order, to the end.
fn check_log(run: &str, log: &Reader) {
    let (mut cursor, mut text) = (log.from(0), Vec::new());
    loop {
        match cursor.read().unwrap() {
            Some(Event::Output { bytes, .. }) => text.extend(bytes),
            Some(Event::End) => break,
            other => panic!("the log of {run} is not whole: {other:?}"),
        }
    }
    let text = String::from_utf8(text).unwrap();
    for (line, number) in text.lines().zip(1..) {
        assert_eq!(line, format!("beat {number}"), "of {run}");
    }
    assert!(text.lines().count() > 5, "{run} printed {text}");
}

/// A machine that stands still for longer than its lease has no strict run when its replacement
/// starts, though its agent could do nothing about it; and what may have two copies has one again
/// when it is back.
pub(crate) async fn an_agent_that_sleeps_has_no_strict_run_when_another_starts(kind: Kind) {
    let solo = Solo::start(kind).await;
    let mut site = Site::open("sleep", kind, &[solo.url()]).await;
    site.server();
    site.agent();
    let strict = site.make("strict", beating(&site.shared(), 90.0, Concurrency::Strict)).await;
    let loose = site.make("loose", beating(&site.shared(), 91.0, Concurrency::Available)).await;
    let (run, node) = site.running(&strict, 0, None).await;
    let (free, _) = site.running(&loose, 0, None).await;
    site.agent();
    site.alive(1).await;
    site.agents[0].role.signal(Signal::STOP);
    replaced(&site, &strict, (&run, &node)).await;
    let (copy, _) = site.running(&loose, 0, Some(&node)).await;
    overlaps(&site, &free, &copy).await;
    site.agents[0].role.signal(Signal::CONT);
    // It is told that its copy is one too many.
    site.gone(0, &free).await;
    assert_eq!(site.result(&free).await.exit.reason, Reason::Lost);
    site.close().await;
}

/// A strict run has gone when another begins elsewhere.
pub(crate) async fn replaced(site: &Site, job: &JobKey, (run, node): (&RunId, &NodeId)) {
    let index = site.see(|it| it.runs[run].1.index);
    let (next, _) = site.running(job, index, Some(node)).await;
    let lives = until(async || {
        let beats = site.beats();
        beats.0.contains_key(next.as_str()).then_some(beats)
    })
    .await;
    let (old, new) = (&lives.0[run.as_str()], &lives.0[next.as_str()]);
    assert!(old.last < new.first, "{run} and {next} at once: {old:?}, {new:?}");
    assert_eq!(old.ends, 0, "it was killed");
}

/// Both of two runs live.
async fn overlaps(site: &Site, one: &RunId, other: &RunId) {
    until(async || {
        let beats = site.beats().0;
        let (one, other) = (beats.get(one.as_str())?, beats.get(other.as_str())?);
        (one.last > other.first).then_some(())
    })
    .await;
}

/// Nobody knows how a run ended whose keeper was killed; but that it has ended is certain, and the
/// next attempt is made.
pub(crate) async fn a_run_whose_keeper_is_killed_is_tried_again(kind: Kind) {
    let solo = Solo::start(kind).await;
    let mut site = Site::open("shim", kind, &[solo.url()]).await;
    site.server();
    site.agent();
    let mut job = beating(&site.shared(), 3.0, Concurrency::Strict);
    job.retry.attempts = 2;
    job.retry.backoff = Backoff { initial: 50, ..Backoff::default() };
    let key = site.make("kept", job).await;
    let (run, _) = site.running(&key, 0, None).await;
    until(async || site.beats().0.contains_key(run.as_str()).then_some(())).await;
    let is_keeper =
        |words: &str| words.contains("--keep") && words.trim_end().ends_with(run.as_str());
    let keeper = processes().into_iter().find(|(_, words)| is_keeper(words)).expect("it is kept").0;
    kill_process(Pid::from_raw(keeper.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(site.result(&run).await.exit.reason, Reason::Unknown);
    assert_eq!(site.ended(&key).await, Phase::Succeeded);
    let beats = site.beats();
    beats.check_strict();
    let lives = beats.of(0);
    assert_eq!(lives.len(), 2, "{lives:?}");
    assert_eq!((lives[0].1.ends, lives[1].1.ends), (0, 1));
    site.close().await;
}
