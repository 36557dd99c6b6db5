//! Who hears what a user says: all members, whatever else is said of the speaker meanwhile.

use drystone_membership::{Boot, Config, Event, Input};
use drystone_membership_sim::{MILLISECOND, SECOND};
use drystone_sim::NodeId;

use crate::lab::{Home, Lab, id, seeds, whole};

const A: NodeId = NodeId(1);

fn speak(lab: &mut Lab, speaker: NodeId) {
    lab.give(speaker, Input::Broadcast { topic: "news", payload: b"it works" }).unwrap();
}

/// How often a member has heard a speaker.
fn heard(lab: &Lab, node: NodeId, speaker: NodeId) -> usize {
    let of = |event: &Event| matches!(event, Event::Broadcast { from, .. } if *from == id(speaker));
    lab.events(node).filter(|event| of(event)).count()
}

/// Who of the others has not heard a speaker once.
fn missed(lab: &Lab, speaker: NodeId) -> Vec<NodeId> {
    let others = lab.up().into_iter().filter(|node| *node != speaker);
    others.filter(|node| heard(lab, *node, speaker) != 1).collect()
}

// Whoever comes in and says so has said something before all know it.
#[test]
fn newcomer_that_speaks_at_once_is_heard_by_all() {
    seeds("newcomer_that_speaks", 10).run(|seed| {
        let mut lab = Lab::warm(seed, 64, &Config::lan());
        lab.run_for(2 * SECOND);
        let newcomer = lab.add(Home::new(Boot::new(whole(lab.next()), 1, 0), &Config::lan()));
        lab.join(newcomer, &[A]);
        let admitted = |lab: &Lab| lab.swim(newcomer).members_count() > 1;
        while !admitted(&lab) {
            lab.run_for(MILLISECOND);
        }
        speak(&mut lab, newcomer);
        lab.run_for(5 * SECOND);
        assert_eq!(missed(&lab, newcomer), [], "all have heard it");
    });
}
