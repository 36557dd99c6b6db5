//! The cluster and its watches: what is done to members is what they and their observers see.

use drystone_membership_sim::watch::{Falsehood, Flaps, Sizes, Spread, Watch};
use drystone_membership_sim::{Cluster, Order, SECOND, Setup, Sighting, Standing, Truth, What};
use drystone_sim::NodeId;

use crate::toy::{PACE, Toy};

/// Keeps all that is told.
#[derive(Default)]
struct Diary(Vec<Sighting>);

impl Watch for Diary {
    fn saw(&mut self, _: &Truth, sighting: &Sighting) {
        self.0.push(*sighting);
    }
}

/// A member that dies, comes back and leaves must be seen to do so by all, in that order.
#[test]
fn every_change_is_told_by_everybody() {
    let mut cluster = Cluster::<Toy>::warm(&Setup::new(5, PACE), 1);
    assert!(cluster.is_right());
    let victim = NodeId(3);
    let mut diary = Diary::default();
    cluster.crash(victim);
    assert!(!cluster.is_right(), "nobody knows yet");
    cluster.run_for(2 * SECOND, &mut [&mut diary]);
    assert!(cluster.is_right(), "all know");
    cluster.restart(victim);
    cluster.order(victim, Order::Join([NodeId(1)].into()));
    cluster.run_for(2 * SECOND, &mut [&mut diary]);
    assert!(cluster.is_right(), "all know that it is back, and it knows all");
    cluster.leave(victim);
    cluster.run_for(SECOND, &mut [&mut diary]);
    assert!(cluster.is_right());
    for observer in [1, 2, 4, 5].map(NodeId) {
        let told = diary.0.iter().filter(|line| line.observer == observer && line.about == victim);
        let (whats, views): (Vec<What>, Vec<usize>) =
            told.map(|line| (line.what, line.view)).unzip();
        assert_eq!(whats, [What::Down, What::Up, What::Left], "{observer}");
        assert_eq!(views, [4, 5, 4], "{observer}");
    }
}

/// What a dead member has sent was sent; a figure of cost must not lose it.
#[test]
fn traffic_of_the_dead_is_kept() {
    let mut cluster = Cluster::<Toy>::warm(&Setup::new(5, PACE), 1);
    let before = cluster.traffic();
    assert!(before.datagrams > 0 && before.datagram_bytes == 9 * before.datagrams);
    cluster.crash(NodeId(1));
    assert_eq!(cluster.traffic(), before);
    cluster.run_for(SECOND, &mut []);
    assert!(cluster.traffic().since(&before).datagrams >= 4 * 4 * 4);
}

fn saw(watch: &mut dyn Watch, truth: &Truth, observer: u32, about: u32, what: What) {
    let (observer, about) = (NodeId(observer), NodeId(about));
    watch.saw(truth, &Sighting { at: u64::from(observer.0), observer, about, what, view: 3 });
}

/// Which report is false, and at whom, is the whole of the anomaly grid.
#[test]
fn a_report_is_judged_by_both_who_are_in_it() {
    let mut cluster = Cluster::<Toy>::strangers(&Setup::new(4, PACE), 1);
    cluster.set_standing(NodeId(3), Standing::Troubled);
    cluster.crash(NodeId(4));
    let truth = cluster.truth();
    let mut falsehood = Falsehood::default();
    for (observer, about) in [(1, 2), (3, 2), (1, 3), (3, 4), (2, 4)] {
        saw(&mut falsehood, truth, observer, about, What::Down);
        saw(&mut falsehood, truth, observer, about, What::Suspected);
        saw(&mut falsehood, truth, observer, about, What::Up);
    }
    let expected = Falsehood { about_healthy: 2, at_healthy: 1, about_troubled: 1, about_gone: 2 };
    assert_eq!(falsehood, expected);
    let mut flaps = Flaps::default();
    saw(&mut flaps, truth, 1, 3, What::Down);
    saw(&mut flaps, truth, 1, 3, What::Up);
    saw(&mut flaps, truth, 2, 3, What::Suspected);
    saw(&mut flaps, truth, 3, 2, What::Down);
    assert_eq!((flaps.most(&[NodeId(3)]), flaps.most(&[NodeId(2)])), (2, 0));
    assert!((flaps.per_minute(&[NodeId(3)], 2, 2.0) - 0.5).abs() < 1e-9);
}

/// The first and the last to know are two different questions, and who has known keeps its time.
#[test]
fn news_has_a_first_and_a_last() {
    let cluster = Cluster::<Toy>::strangers(&Setup::new(4, PACE), 1);
    let truth = cluster.truth();
    let mut spread = Spread::of(NodeId(1), &[What::Heard(7)]);
    let mut sizes = Sizes::default();
    for (observer, what) in [
        (1, What::Heard(7)),
        (2, What::Heard(7)),
        (3, What::Heard(8)),
        (4, What::Heard(7)),
        (2, What::Heard(7)),
    ] {
        saw(&mut spread, truth, observer, 1, what);
        saw(&mut sizes, truth, observer, 1, what);
    }
    assert_eq!((spread.first(), spread.last(2), spread.last(3)), (Some(2), Some(4), None));
    assert_eq!(sizes.distinct(), 1);
}
