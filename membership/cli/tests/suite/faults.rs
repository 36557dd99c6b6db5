//! What the detector promises, under the faults of real machines.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, name};
use crate::doors::Doors;

/// A machine room.
const MANY: usize = 50;
/// Behind doors.
const FEW: usize = 16;

/// Processes that know each other, without doors.
fn cluster(net: u8, count: usize) -> Cluster {
    let mut cluster = Cluster::new(net);
    let seed = cluster.start(0, &[]);
    let join = ["--join".to_owned(), seed.to_string()];
    for number in 1..count {
        cluster.start(number, &join);
    }
    let all: Vec<usize> = (0..count).collect();
    cluster.until_holds("all know all", |it| it.agree(&all));
    assert_eq!(cluster.declared_failed(0), [], "nobody fails while all come");
    cluster
}

// The promise as an operator sees it: who is dead is found out, by everyone, and nobody else is
// called dead; not even by a process that was stopped itself and wakes up with all timers expired.
#[test]
fn the_dead_are_found_out_and_the_living_are_left_alone() {
    let mut cluster = cluster(1, MANY);
    let before = cluster.history.len();
    let dead: Vec<usize> = (0..MANY).filter(|number| number % 3 == 1).collect();
    dead.iter().for_each(|number| cluster.kill(*number));
    let living = cluster.numbers();
    cluster.until_holds("the dead are found out", |it| it.agree(&living));
    let names: BTreeSet<String> = dead.iter().map(|number| name(*number)).collect();
    let declared = cluster.declared_failed(before);
    let wrong: Vec<_> = declared.iter().filter(|(_, who)| !names.contains(who)).collect();
    assert!(wrong.is_empty(), "declared failed and alive: {wrong:?}");
    let all = names.len() * living.len();
    assert_eq!(declared.len(), all, "each survivor says it of each once");

    let (stopped, before) = (living[5], cluster.history.len());
    cluster.signal(stopped, Signal::STOP);
    cluster.listen(Duration::from_secs(20));
    let noticed = cluster.declared_failed(before);
    assert!(noticed.iter().all(|(_, who)| *who == name(stopped)), "nobody else: {noticed:?}");
    assert_eq!(noticed.len(), living.len() - 1, "it was away for so long that all know");
    let before = cluster.history.len();
    cluster.signal(stopped, Signal::CONT);
    cluster.until_holds("it is back", |it| it.agree(&living));
    assert_eq!(cluster.declared_failed(before), [], "it declares nobody failed");
}

/// Processes behind doors, that probe by datagrams alone.
fn cluster_behind_doors(net: u8, seed: u64) -> (Cluster, Doors) {
    let mut cluster = Cluster::new(net);
    let ips: Vec<_> = (0..FEW).map(|number| cluster.ip(number)).collect();
    let doors = Doors::new(&ips, seed);
    for number in 0..FEW {
        let told = ["--advertise".to_owned(), doors.addr(number).to_string()];
        let join = ["--join".to_owned(), doors.addr(0).to_string()];
        let datagrams = ["--no-stream-probes".to_owned()];
        cluster.start(number, &[&told[..], &join, &datagrams].concat());
        doors.open(number, cluster.local(number));
    }
    let all: Vec<usize> = (0..FEW).collect();
    cluster.until_holds("all know all", |it| it.agree(&all));
    (cluster, doors)
}

// A network that loses three datagrams of ten is bad, and no reason to call anybody dead; who is
// dead is found out all the same. Probes are datagrams alone: a stream loses nothing, and would
// show that all live. And a network that falls in two must become one again by itself.
#[test]
fn loss_kills_nobody_and_hides_no_death_and_a_partition_heals() {
    let (mut cluster, doors) = cluster_behind_doors(2, 7);
    doors.lose(30);
    cluster.listen(Duration::from_secs(30));
    assert_eq!(cluster.declared_failed(0), [], "loss is no failure");
    let suspected = cluster.history.iter().filter(|said| said.event().0 == "suspected").count();
    assert!(suspected > 0, "the loss was felt");
    let dead = FEW - 1;
    cluster.kill(dead);
    let all = cluster.numbers();
    cluster.until_holds("the dead is found out, under loss", |it| it.agree(&all));
    let declared = cluster.declared_failed(0);
    assert!(declared.iter().all(|(_, who)| *who == name(dead)), "nobody else: {declared:?}");
    let (came, gone) = doors.lose(0);
    let percent = f64::from(gone) * 100.0 / f64::from(came);
    println!(
        "{gone} of {came} datagrams were lost, {percent:.1} %; {suspected} suspicions told of"
    );
    assert!(came > 2000 && (29.5..30.5).contains(&percent), "the loss is real");

    let before = cluster.history.len();
    doors.cut_at(FEW / 2);
    let (one, other) = all.split_at(FEW / 2);
    cluster.until_holds("each half gives the other up", |it| it.agree(one) && it.agree(other));
    let across = |(by, who): &(usize, String)| {
        let who: usize = who[1..].parse().unwrap();
        (*by < FEW / 2) != (who < FEW / 2)
    };
    assert!(cluster.declared_failed(before).iter().all(across), "nobody of the own half");
    let before = cluster.history.len();
    doors.heal();
    cluster.until_holds("they are one again", |it| it.agree(&all));
    assert_eq!(cluster.declared_failed(before), [], "and nobody fails while they merge");
}
