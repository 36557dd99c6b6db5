//! The way between an agent and the store, and the store's members.

use mason_core::record::{Phase, Reason};
use mason_core::spec::Concurrency;

use crate::agents::replaced;
use crate::stage::{Site, beating};
use crate::support::process::Processes;
use crate::support::proxy::{Proxy, Way};
use crate::support::{Kind, Solo, until};

/// An agent without the store has killed its strict run before the store gives its task to another;
/// one that may have two copies runs on, and ends when the agent hears of the other.
pub(crate) async fn an_agent_that_is_cut_off_has_no_strict_run_when_another_starts(kind: Kind) {
    let solo = Solo::start(kind).await;
    let proxy = Proxy::to(&solo.url()).await;
    let mut site = Site::open("cut", kind, &[solo.url()]).await;
    site.server();
    site.agent_with(&[proxy.url()], &["--listen", "127.0.0.1:0"], None);
    let strict = site.make("strict", beating(&site.shared(), 90.0, Concurrency::Strict)).await;
    let loose = site.make("loose", beating(&site.shared(), 91.0, Concurrency::Available)).await;
    let (run, node) = site.running(&strict, 0, None).await;
    let (free, _) = site.running(&loose, 0, None).await;
    site.agent();
    site.alive(1).await;
    proxy.set(Way::Cut);
    replaced(&site, &strict, (&run, &node)).await;
    site.running(&loose, 0, Some(&node)).await;
    let last = site.beats().0[free.as_str()].last;
    until(async || (site.beats().0[free.as_str()].last > last).then_some(())).await;
    proxy.set(Way::Open);
    site.gone(0, &free).await;
    assert_eq!(site.result(&run).await.exit.reason, Reason::Lost);
    assert!(site.at(&node).role.runs());
    site.close().await;
}

/// What the agent says arrives, what it is answered does not: to the store it looks alive, but it
/// cannot know that, and must fence as if it were not.
pub(crate) async fn an_agent_that_hears_no_answer_has_no_strict_run_when_another_starts(
    kind: Kind,
) {
    let solo = Solo::start(kind).await;
    let proxy = Proxy::to(&solo.url()).await;
    let mut site = Site::open("deaf", kind, &[solo.url()]).await;
    site.server();
    site.agent_with(&[proxy.url()], &["--listen", "127.0.0.1:0"], None);
    let strict = site.make("strict", beating(&site.shared(), 90.0, Concurrency::Strict)).await;
    let (run, _) = site.running(&strict, 0, None).await;
    proxy.set(Way::Deaf);
    // Killed by its own agent: the store knows nothing of it, or hears it from the agent.
    let life = until(async || {
        let beats = site.beats().0;
        let life = beats.get(run.as_str())?;
        (mason::server::unix_now() > life.last + 3_000).then(|| life.clone())
    })
    .await;
    assert_eq!(life.ends, 0, "it was killed");
    proxy.set(Way::Open);
    let reason = site.result(&run).await.exit.reason;
    assert!(matches!(reason, Reason::Fenced | Reason::Lost), "{reason:?}");
    until(async || (site.beats().0.len() == 2).then_some(())).await;
    site.beats().check_strict();
    site.close().await;
}

/// With three members each may die, the one that leads too, and no run notices.
pub(crate) async fn work_goes_on_while_members_of_the_store_are_killed(kind: Kind) {
    const COUNT: u32 = 30;
    let mut members = Processes::start(kind, 3).await;
    let mut site = Site::open("three", kind, &members.urls()).await;
    (0..2).for_each(|_| site.server());
    site.agent();
    let mut job = beating(&site.shared(), 1.0, Concurrency::Strict);
    (job.count, job.parallelism) = (COUNT, 4);
    let key = site.make("many", job).await;
    for round in 1..=3 {
        until(async || (site.beats().0.len() >= round * 6).then_some(())).await;
        let leader = members.leader().await;
        let victim = if round == 2 { (leader + 1) % 3 } else { leader };
        members.kill(victim);
        members.leader().await;
        let begun = site.beats().0.len();
        until(async || (site.beats().0.len() > begun).then_some(())).await;
        members.launch(victim);
        members.wait_for(victim).await;
    }
    assert_eq!(site.ended(&key).await, Phase::Succeeded);
    site.beats().check_whole(COUNT);
    site.close().await;
}
