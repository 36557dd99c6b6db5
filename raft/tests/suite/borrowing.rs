//! Scenario 18 at its hardest: candidates that borrow what they lack (`borrow.rs`), in groups where
//! everything else goes wrong too.

use drystone_raft::{Config, Configuration};

use crate::lab::{Disk, Lab, kind};
use crate::seeds;

const E: u64 = 10;

// Scenario 18: what is borrowed must never cost what was acknowledged: conflicting logs, lenders
// that change, late loans, crashes between, two that borrow at once (Raft §5.4.3 has to hold
// still).
#[test]
fn borrowing_loses_nothing_that_was_committed() {
    let mut loans = 0;
    let all = seeds::each("borrowing_loses_nothing", 400, |seed| {
        let mut lab = Lab::seeded(Config::new(E), &[1, 2, 3, 4, 5], seed);
        lab.config.message_bytes_max = if seed % 2 == 0 { 1 } else { 60 };
        for id in 1..=5 {
            lab.seat(id, Disk::new(Configuration::voters(1..=5)));
        }
        let mut kept = Vec::new();
        for _ in 0..14 {
            lab.heal();
            let hub = 1 + lab.draw(5);
            let other = 1 + lab.draw(5);
            for a in 1..=5 {
                for b in (1..=5).filter(|b| *b != a && ![a, *b].contains(&hub)) {
                    if ![a, b].contains(&other) || lab.draw(3) == 0 {
                        lab.part(&[a], &[b]);
                    }
                }
            }
            for _ in 0..25 {
                lab.pass_tick();
                if let Some(leader) = lab.leader().filter(|_| lab.draw(2) == 0) {
                    lab.propose(leader, "x");
                }
                for _ in 0..30 {
                    if lab.mail.is_empty() {
                        break;
                    }
                    let at = usize::try_from(lab.draw(lab.mail.len() as u64)).unwrap();
                    let message = lab.mail.remove(at).unwrap().message;
                    let late = kept.len() < 40 && lab.draw(8) == 0;
                    if late && ["Lent", "Borrow", "Ballot"].contains(&kind(&message.body)) {
                        kept.push(message.clone());
                    }
                    lab.deliver(message);
                }
                if !kept.is_empty() && lab.draw(6) == 0 {
                    let at = usize::try_from(lab.draw(kept.len() as u64)).unwrap();
                    lab.deliver(kept.swap_remove(at));
                }
                if lab.draw(20) == 0 {
                    let id = 1 + lab.draw(5);
                    let stores = lab.draw(2) == 0;
                    lab.at(id).stores = stores;
                }
                if lab.draw(25) == 0 {
                    let id = 1 + lab.draw(5);
                    let kept = usize::try_from(lab.draw(3)).unwrap();
                    lab.crash_keeping(id, kept);
                    lab.restart(id);
                    lab.at(id).stores = true;
                }
            }
            lab.watch.logs(&lab.seats);
        }
        loans += lab.sent.get("Lent").copied().unwrap_or(0);
    });
    assert!(!all || loans > 200, "only {loans} loans: the test has lost its teeth");
}
