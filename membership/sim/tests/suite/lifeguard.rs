//! What each part of Lifeguard is for: the situation that it is made for, with it and without it.
//!
//! If you have never read the paper (Dadgar, Phillips, Currey, *Lifeguard: Local Health Awareness
//! for More Accurate Failure Detection*, DSN 2018), here is its one idea. A SWIM member asks others
//! whether they are there, and believes that whoever does not answer in time is dead. But an answer
//! can be late because the one who *asks* is slow: starved of its processor, paged out, behind a
//! network that is stuck. Such a member declares one healthy member after the other dead, and all
//! others believe it. Lifeguard lets a member doubt itself.
//!
//! Each test here runs the same trouble twice from the same seeds, and counts **false downs**: one
//! observer reporting one live member dead. Its messages tell the figures, so a change that makes a
//! part useless says so. Each part is looked at where it stands alone, beside plain SWIM, or where
//! all others cannot make up for it.

use drystone_membership::{Config, Lifeguard};
use drystone_membership_sim::scenario::anomaly::{Cell, anomaly};
use drystone_membership_sim::scenario::crash::crash;
use drystone_membership_sim::scenario::loss::loss;
use drystone_membership_sim::watch::Falsehood;
use drystone_membership_sim::{Cluster, Drystone, SECOND, Setup, Standing};
use drystone_sim::{NodeId, Rate};

/// How many members each cluster has.
const MEMBERS: usize = 64;

/// Eight members are blocked for 16 s, again and again: none of them hears or is heard, and all
/// their timers go on. The hardest cell of the paper's grid (§V-A) for so small a cluster.
const BLOCKS: Cell = Cell { blocked: 8, duration_ms: 16_384, interval_ms: 64 };

fn setup(lifeguard: Lifeguard) -> Setup<Config> {
    Setup::new(MEMBERS, Config { lifeguard, ..Config::lan() })
}

/// Reports that a healthy member is dead, while others are blocked.
fn blocked(lifeguard: Lifeguard) -> u64 {
    let downs = |seed| anomaly::<Drystone>(&setup(lifeguard), seed, BLOCKS, 40).about_healthy;
    (1..=2).map(downs).sum()
}

/// Reports that a live member is dead, in a network that loses so much for a minute, and of how
/// many members: one that all others believe to be dead is 63 reports.
fn lossy(lifeguard: Lifeguard, percent: u32) -> (u64, u64) {
    let rate = Rate::percent(percent);
    let found = (1..=10).map(|seed| loss::<Drystone>(&setup(lifeguard), seed, rate, 60));
    found.fold((0, 0), |sum, it| (sum.0 + it.false_downs, sum.1 + it.victims))
}

/// Asserts that there is at most a part of false downs with it: one in `factor`.
#[track_caller]
fn check(part: &str, without: u64, with: u64, factor: u64) {
    let figures = format!("{part}: {without} false downs without it, {with} with it");
    println!("{figures}");
    assert!(without >= 20, "the trouble is too small to show anything; {figures}");
    assert!(with * factor <= without, "not {factor} times fewer; {figures}");
}

/// **LHA-Probe (§IV-A).** A member keeps a score of its own health: it is worse off with each probe
/// that is not answered and each accusation that it must refute, better with each answer. The worse
/// it is, the longer it waits for answers, and the more rarely it asks. Where seven in ten
/// packets are lost most probes fail by chance, and one who waits longer gets more answers.
#[test]
fn slow_probes_give_a_bad_network_time_to_answer() {
    let (without, _) = lossy(Lifeguard { slow_probes: false, ..Lifeguard::ON }, 70);
    let (with, _) = lossy(Lifeguard::ON, 70);
    check("slow probes, loss", without, with, 5);
    // Alone it helps against the blocked as well, who are slow to accuse then.
    let alone = Lifeguard { slow_probes: true, ..Lifeguard::OFF };
    check("slow probes, blocks", blocked(Lifeguard::OFF), blocked(alone), 4);
}

/// **LHA-Suspicion (§IV-B).** A suspicion that a single member has may be that member's own fault,
/// so it lasts six times as long, and each other member that finds the same shortens it. Whoever is
/// accused without reason has time to hear of it and to object, though most of what it hears and
/// says is lost; one who is dead is accused by many, and is found as fast as before.
#[test]
fn an_accusation_by_one_alone_is_given_time() {
    let (_, without) = lossy(Lifeguard::OFF, 65);
    let (_, with) = lossy(Lifeguard { confirmed_suspicions: true, ..Lifeguard::OFF }, 65);
    check("confirmed suspicions, members called dead", without, with, 4);
    // The price would be a death that is found late. There is none: all who look confirm it.
    let seconds = |lifeguard| {
        let all = |seed| crash::<Drystone>(&setup(lifeguard), seed).all.expect("all know");
        (1..=5).map(all).sum::<f64>() / 5.0
    };
    let (swim, guarded) = (seconds(Lifeguard::OFF), seconds(Lifeguard::ON));
    println!("a crash is known to all after {swim:.1} s, and with Lifeguard after {guarded:.1} s");
    assert!(guarded < swim + 1.0, "{swim:.1} s, {guarded:.1} s with Lifeguard");
}

/// **The Buddy System (§IV-C).** Whoever is suspected should be the first to know, as it alone can
/// refute it; by gossip it is told by chance, and maybe last. So each probe of a suspect tells it,
/// in the same packet. A member that was cut off until all had told each other that it is suspected
/// hears of it from whoever probes it next, while nobody speaks of it any more.
#[test]
fn a_suspect_that_is_probed_hears_of_the_suspicion() {
    let without: u64 = (1..=5).map(|seed| cut_off(Lifeguard::OFF, seed)).sum();
    let buddies = Lifeguard { buddies: true, ..Lifeguard::OFF };
    let with: u64 = (1..=5).map(|seed| cut_off(buddies, seed)).sum();
    check("buddies", without, with, 4);
}

/// Cuts a member off, for so long that the news of its suspicion are old when it is back, and it
/// has some seconds left. Counts who calls it dead all the same.
fn cut_off(lifeguard: Lifeguard, seed: u64) -> u64 {
    let config = Config { lifeguard, suspicion_factor: 10, ..Config::lan() };
    let mut cluster = Cluster::<Drystone>::warm(&Setup::new(MEMBERS, config), seed);
    let victim = cluster.some(1)[0];
    cluster.set_standing(victim, Standing::Troubled);
    let network = cluster.world_mut().network_mut();
    let others: Vec<NodeId> = network.ids().filter(|other| *other != victim).collect();
    others.iter().for_each(|other| {
        network.cut(*other, victim);
        network.cut(victim, *other);
    });
    cluster.run_for(6 * SECOND, &mut []);
    let network = cluster.world_mut().network_mut();
    others.iter().for_each(|other| {
        network.mend(*other, victim);
        network.mend(victim, *other);
    });
    let mut falsehood = Falsehood::default();
    cluster.run_for(20 * SECOND, &mut [&mut falsehood]);
    falsehood.about_troubled
}

/// **Contrast** is ours, in the spirit of §IV-A: a probe that fails while *nobody* was heard says
/// nothing about its target. A blocked member hears nobody, so it accuses nobody, from the first
/// probe on and not only once its score has got worse.
#[test]
fn who_hears_nobody_accuses_nobody() {
    let without = blocked(Lifeguard::OFF);
    let with = blocked(Lifeguard { contrast: true, ..Lifeguard::OFF });
    check("contrast", without, with, 100);
}

/// **A second opinion** is ours, too. In SWIM a word that somebody has failed is final: the blocked
/// call everybody dead, and as soon as their packets get out everybody believes it. Here nobody is
/// convicted on hearsay: those who thought that it was well look for themselves first.
#[test]
fn what_the_slow_say_is_not_believed_blindly() {
    let reports = |lifeguard| anomaly::<Drystone>(&setup(lifeguard), 1, BLOCKS, 40);
    let without = reports(Lifeguard::OFF);
    let with = reports(Lifeguard { second_opinion: true, ..Lifeguard::OFF });
    // FP-: made by healthy members, of healthy members. What the blocked believe is another matter.
    check("second opinion, FP-", without.at_healthy, with.at_healthy, 100);
    check("second opinion, FP", without.about_healthy, with.about_healthy, 10);
}

/// **Own time** is ours: the paper's members are slow, these are stopped. A machine that sleeps
/// while it suspects somebody finds on waking that the suspicion has run out, though all that was
/// said meanwhile lies unread in its socket. Time in which the process did not run does not count.
#[test]
fn who_has_slept_reads_its_mail_before_it_judges() {
    let without: u64 = (1..=3).map(|seed| asleep(Lifeguard::OFF, seed)).sum();
    let own_time = Lifeguard { own_time: true, ..Lifeguard::OFF };
    let with: u64 = (1..=3).map(|seed| asleep(own_time, seed)).sum();
    check("own time", without, with, 20);
}

/// Blocks four members until all suspect them. Then twenty others sleep for ten seconds, while the
/// four are back and say so to whoever is awake. Counts what is said of the four from then on.
fn asleep(lifeguard: Lifeguard, seed: u64) -> u64 {
    let mut cluster = Cluster::<Drystone>::warm(&setup(lifeguard), seed);
    let mut drawn = cluster.some(24);
    let sleepers: Vec<NodeId> = drawn.split_off(4);
    drawn.iter().for_each(|node| cluster.block(*node));
    cluster.run_for(3 * SECOND, &mut []);
    for node in &sleepers {
        assert!(cluster.world_mut().pause(*node), "it was awake");
        cluster.set_standing(*node, Standing::Troubled);
    }
    for node in &drawn {
        cluster.unblock(*node);
        cluster.set_standing(*node, Standing::Healthy);
    }
    let mut falsehood = Falsehood::default();
    cluster.run_for(10 * SECOND, &mut [&mut falsehood]);
    sleepers.iter().for_each(|node| assert!(cluster.world_mut().resume(*node)));
    cluster.run_for(20 * SECOND, &mut [&mut falsehood]);
    falsehood.about_healthy
}
