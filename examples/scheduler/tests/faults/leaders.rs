//! Servers: killed, paused, taken over from.

use std::time::{Duration, Instant};

use mason_core::mirror::Mirror;
use mason_core::record::Phase;
use mason_core::spec::Concurrency;
use rustix::process::Signal;

use crate::stage::{Site, beating};
use crate::support::{Kind, Solo, until};

/// A server's lease is five seconds; the rest is the store's and this machine's slowness.
const TAKEOVER_MAX: Duration = Duration::from_secs(20);

/// Which server leads, and by which lease.
fn leader(mirror: &Mirror) -> Option<(usize, String)> {
    let lease = mirror.leader()?;
    let number = mirror.lead_name(lease)?.strip_prefix('s')?.parse().ok()?;
    Some((number, lease.to_owned()))
}

/// Waits until another leads.
async fn taken_over(site: &Site, before: &str) -> Duration {
    let began = Instant::now();
    let other = |mirror: &Mirror| leader(mirror).filter(|(_, lease)| lease != before);
    until(async || site.see(|it| other(&it.mirror))).await;
    let took = began.elapsed();
    assert!(took < TAKEOVER_MAX, "it took {took:?}");
    took
}

/// Whoever leads may die at any moment of its work, and another goes on within seconds.
pub(crate) async fn work_goes_on_while_leaders_are_killed(kind: Kind) {
    const COUNT: u32 = 40;
    let solo = Solo::start(kind).await;
    let mut site = Site::open("lead", kind, &[solo.url()]).await;
    (0..3).for_each(|_| site.server());
    site.agent();
    let mut job = beating(&site.shared(), 1.0, Concurrency::Strict);
    (job.count, job.parallelism) = (COUNT, 5);
    let key = site.make("many", job).await;
    for round in 1..=3 {
        // In the midst of it.
        until(async || (site.beats().0.len() >= round * 8).then_some(())).await;
        let (number, lease) = until(async || site.see(|it| leader(&it.mirror))).await;
        site.servers[number].kill();
        let took = taken_over(&site, &lease).await;
        println!("taken over in {took:?}");
        site.servers[number].launch();
    }
    assert_eq!(site.ended(&key).await, Phase::Succeeded);
    site.beats().check_whole(COUNT);
    site.close().await;
}

/// A leader that wakes up after another has taken over believes in itself. What it sends then must
/// change nothing.
pub(crate) async fn a_leader_that_slept_through_its_office_changes_nothing(kind: Kind) {
    const COUNT: u32 = 30;
    let solo = Solo::start(kind).await;
    let mut site = Site::open("stale", kind, &[solo.url()]).await;
    (0..2).for_each(|_| site.server());
    site.agent();
    let mut job = beating(&site.shared(), 1.0, Concurrency::Strict);
    (job.count, job.parallelism) = (COUNT, 4);
    let key = site.make("many", job).await;
    for round in 1..=2 {
        until(async || (site.beats().0.len() >= round * 8).then_some(())).await;
        let (number, lease) = until(async || site.see(|it| leader(&it.mirror))).await;
        site.servers[number].signal(Signal::STOP);
        taken_over(&site, &lease).await;
        let begun = site.beats().0.len();
        until(async || (site.beats().0.len() > begun).then_some(())).await;
        // It has results to take to account and tasks to bind that another has bound.
        site.servers[number].signal(Signal::CONT);
        // It finds out, and stands again.
        let named = |name: &str| format!("s{number}") == name;
        until(async || site.see(|it| it.stands(named)).then_some(())).await;
    }
    assert_eq!(site.ended(&key).await, Phase::Succeeded);
    site.beats().check_whole(COUNT);
    site.close().await;
}
