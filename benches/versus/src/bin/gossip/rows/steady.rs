//! G3: bytes at rest, and when ten of a thousand die.

use drystone_versus::gossip::Subject;

use super::{Answer, Row, text};
use crate::Options;
use crate::goals::{FOCA, Goal, OURS, of};

const MEMBERS: [usize; 6] = [32, 128, 512, 1000, 2048, 8192];
const SECONDS: u64 = 60;

/// Ten of a thousand die at once, and two minutes are counted: table 2 of the Rapid paper.
const CRASHES: (usize, usize, u64) = (1000, 10, 120);

/// What it says that memberlist sends then, on the wire, by member and second.
const MEMBERLIST: f64 = 640.0;

/// As far from the figure at 128 as others may be.
const FLAT: f64 = 0.1;

pub(crate) fn rows(options: &Options, subjects: &[&dyn Subject]) -> Answer {
    let (mut rows, mut goals) = (Vec::new(), Vec::new());
    let mut ours_by_size = Vec::new();
    for &members in options.members(&MEMBERS) {
        let found: Vec<_> = subjects
            .iter()
            .map(|it| it.steady(members, options.seed, options.scaled(SECONDS)))
            .collect();
        let label = format!("G3 B/member/s at rest, {members} (with IP and UDP)");
        let cells = found.iter().map(|it| {
            let wrong = if it.right { "" } else { ", WRONG" };
            format!("{:.1} ({:.0}){wrong}", it.bytes, it.bytes_on_wire)
        });
        rows.push(Row { label, cells: cells.collect() });
        if let Some(ours) = of(OURS, subjects, &found) {
            ours_by_size.push((members, ours.bytes));
            if let Some(foca) = of(FOCA, subjects, &found) {
                let asked = format!("G3 {members} at rest: at most foca's bytes");
                goals.push(Goal::at_most(asked, ours.bytes / foca.bytes, 1.0));
            }
        }
    }
    goals.extend(flat(&ours_by_size));
    if options.members.is_empty() {
        crash(options, subjects, &mut rows, &mut goals);
    }
    Answer { rows, goals }
}

/// From 128 members on it does not matter how many they are.
fn flat(by_size: &[(usize, f64)]) -> Option<Goal> {
    let base = by_size.iter().find(|(members, _)| *members == 128)?.1;
    let from_there = by_size.iter().filter(|(members, _)| *members >= 128);
    let away = from_there.map(|(_, bytes)| (bytes / base - 1.0).abs()).fold(0.0, f64::max);
    Some(Goal::at_most("G3 128 to 8192 at rest: within 10 % of 128", away, FLAT))
}

fn crash(options: &Options, subjects: &[&dyn Subject], rows: &mut Vec<Row>, goals: &mut Vec<Goal>) {
    let (members, dead, seconds) = CRASHES;
    let seconds = options.scaled(seconds);
    let found: Vec<_> =
        subjects.iter().map(|it| it.crashes(members, options.seed, dead, seconds)).collect();
    let label = format!("G3 {dead} of {members} die: B/member/s on the wire, {seconds} s");
    let cells = found.iter().map(|it| format!("{:.0}", it.bytes_on_wire)).collect();
    rows.push(Row { label, cells });
    let label = format!("G3 {dead} of {members} die: s until all are right");
    rows.push(Row { label, cells: found.iter().map(|it| text(it.all)).collect() });
    if let Some(ours) = of(OURS, subjects, &found) {
        let asked = "G3 ten of a thousand die: at most half of memberlist's published 640 B/s";
        goals.push(Goal::at_most(asked, ours.bytes_on_wire / MEMBERLIST, 0.5));
    }
}
