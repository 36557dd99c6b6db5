//! Many who go, and many who come and go (scenarios 3 and 13).

use std::time::Duration;

use drystone_membership::{Boot, Config, Effect, Input, State, Swim};
use drystone_membership_sim::SECOND;
use drystone_sim::{NodeId, Rng};

use crate::forge;
use crate::lab::{Home, Lab, seeds, whole};

/// Datagrams in a second, over some.
fn rate(lab: &mut Lab, seconds: u64) -> f64 {
    let before = lab.datagrams();
    lab.run_for(seconds * SECOND);
    (lab.datagrams() - before) as f64 / seconds as f64
}

// A rolling update ends half of a cluster at once. Each who goes is news for all, and news that
// make news never end: serf has gone on for minutes so, long after everybody knew.
#[test]
fn half_that_leave_at_once_are_news_for_a_logarithm_of_rounds() {
    /// Rounds of gossip, by doubling of the cluster, until all is quiet.
    const ROUNDS: u64 = 8;
    seeds("half_that_leave", 4).run(|seed| {
        let config = Config::lan();
        let mut rng = seed.rng("who leaves");
        let mut lab = Lab::warm(seed, 128, &config);
        lab.run_for(30 * SECOND);
        let mut nodes = lab.up();
        rng.shuffle(&mut nodes);
        let (leaving, staying) = nodes.split_at(64);
        for node in leaving {
            lab.run_for(SECOND / 64);
            lab.give(*node, Input::Leave).unwrap();
        }
        let rounds = ROUNDS * u64::from(128_u32.ilog2());
        lab.run_for(rounds * config.gossip_period.as_micros() as u64);
        for node in staying {
            assert_eq!(lab.swim(*node).members_count(), 64);
            let left = |other| lab.swim(*node).of(crate::lab::id(other)).unwrap().state;
            assert!(leaving.iter().all(|other| left(*other) == State::Left));
        }
        let then = rate(&mut lab, 10);
        lab.run_for(60 * SECOND);
        let steady = rate(&mut lab, 60);
        assert!(then <= 1.1 * steady, "{then} datagrams a second then, {steady} a minute later");
        assert!(lab.is_whole());
        lab.check();
    });
}

// An hour in a cluster that is scaled up and down all day. Whatever is kept for each who was ever
// there is a leak, and shows after a month.
#[test]
fn an_hour_of_churn_leaves_nothing_behind() {
    const MEMBERS: usize = 128;
    /// Who goes in a minute, and as many come.
    const CHURN: u64 = 13;
    seeds("an_hour_of_churn", 2).run(|seed| {
        let (config, mut rng) = (Config::lan(), seed.rng("churn"));
        // Those who crash are kept for a day, so that only their number can end it.
        let leaves = seed.value() % 2 == 1;
        let mut lab = Lab::warm(seed, MEMBERS, &config);
        let mut waiting_max = 0;
        for minute in 0..60 {
            for _ in 0..CHURN {
                let goes = one_comes(&mut lab, &mut rng, &config);
                if leaves && rng.below(2) == 0 {
                    lab.give(goes, Input::Leave).unwrap();
                } else {
                    lab.world.crash(goes);
                }
                for _ in 0..4 {
                    lab.run_for(15 * SECOND / CHURN);
                    waiting_max = waiting_max.max(waiting(&lab));
                }
            }
            for node in lab.up() {
                let swim = lab.swim(node);
                let known = swim.snapshot().peers.len();
                // The sweep comes every five seconds.
                let gone = known - swim.other_ids().count();
                let most = 2 * swim.members_count() + 256 + CHURN as usize;
                assert!(gone <= most, "{gone} are gone and kept after {minute} minutes");
                assert!(swim.memory() <= 256 * known, "{} bytes for {known}", swim.memory());
            }
            lab.check();
        }
        // Two every five seconds are news, told for three seconds; a quarter of the members would
        // be a queue that grows.
        assert!(waiting_max <= MEMBERS / 4, "{waiting_max} news wait");
        lab.run_for(60 * SECOND);
        end_who_have_left(&mut lab);
        assert!(lab.is_whole(), "and all are right when it is over");
        assert_eq!(waiting(&lab), 0, "all is told");
    });
}

/// How many news wait at the one where most do.
fn waiting(lab: &Lab) -> usize {
    lab.up().into_iter().map(|node| lab.swim(node).waiting()).max().unwrap_or(0)
}

/// Processes that are done leaving end, with whatever they have not told any more.
fn end_who_have_left(lab: &mut Lab) {
    for node in lab.up() {
        if lab.swim(node).deadline().is_none() {
            lab.world.crash(node);
        }
    }
}

/// A new member joins through another. One of the others, which will go, is returned.
fn one_comes(lab: &mut Lab, rng: &mut Rng, config: &Config) -> NodeId {
    end_who_have_left(lab);
    let members: Vec<NodeId> =
        lab.up().into_iter().filter(|node| lab.swim(*node).is_member()).collect();
    let newcomer = lab.next();
    let home = Home::new(Boot::new(whole(newcomer), 0, 0), config);
    lab.add(Home { checked: false, ..home });
    let seed = *rng.pick(&members);
    lab.join(newcomer, &[seed]);
    // Who is asked stays until it has answered.
    *rng.pick(&members.into_iter().filter(|node| *node != seed).collect::<Vec<_>>())
}

// Who leaves has one thing to say, and little time. A packet that introduces it as somebody who has
// left is refused by all, and the news in it are lost.
#[test]
fn who_leaves_sends_nothing_that_is_refused() {
    let begin = |number| {
        let boot = Boot::new(whole(NodeId(number)), 0, 7);
        Swim::new(boot, Config::lan(), Duration::ZERO).unwrap()
    };
    let (mut swim, mut listener) = (begin(1), begin(2));
    let (mut now, mut out) = (Duration::from_secs(1), Vec::new());
    let seed = || Input::Join(vec![whole(NodeId(2)).addr]);
    swim.assume((2..9).map(|number| (whole(NodeId(number)), 0)));
    swim.handle(now, seed(), &mut out).unwrap();
    swim.handle(now, Input::Leave, &mut out).unwrap();
    // "I do not know you", says one, and its application wants to come in again after all.
    let who = forge::close("", &[&2_u64.to_le_bytes()[..], &[7]].concat());
    let from = whole(NodeId(2)).addr;
    swim.handle(now, Input::Datagram { from, bytes: &who }, &mut out).unwrap();
    swim.handle(now, seed(), &mut out).unwrap();
    while let Some(due) = swim.deadline() {
        now = due;
        swim.handle(now, Input::Tick, &mut out).unwrap();
    }
    let from = swim.me().addr;
    for effect in out {
        let input = match &effect {
            Effect::Datagram { bytes, .. } => Input::Datagram { from, bytes },
            Effect::Stream { bytes, .. } => Input::Stream { bytes },
            _ => continue,
        };
        listener.handle(now, input, &mut Vec::new()).unwrap();
    }
    assert_eq!(listener.of(swim.me().id).unwrap().state, State::Left);
}
