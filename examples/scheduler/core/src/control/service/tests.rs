//! Updates, crashes, and people who change their minds.

use std::collections::BTreeMap;

use super::*;
use crate::control::name;
use crate::spec::{Concurrency, Placement, Retry, Task};

fn service(replicas: u32, surge_max: u32, unavailable_max: u32) -> Service {
    let progress_deadline = 60_000;
    Service {
        task: Task::new("busybox", &[]),
        replicas,
        update: Update { surge_max, unavailable_max, progress_deadline, ..Update::default() },
        restart: Retry::default(),
        concurrency: Concurrency::Available,
        placement: Placement::default(),
        priority: 0,
        suspend: false,
        paused: false,
    }
}

fn exit(reason: Reason, started_at: Option<UnixMs>, finished_at: UnixMs) -> Exit {
    let (code, message, outputs) = (None, String::new(), BTreeMap::new());
    Exit { reason, code, signal: None, message, started_at, finished_at, outputs }
}

/// A leader that does what it is told, and replicas that behave as their version does: one whose
/// name begins with `bad` never answers, one with `crash` ends soon.
struct World {
    service: Service,
    wanted: Wanted,
    progress: ServiceProgress,
    slots: BTreeMap<u32, SlotSeen>,
    not_before: BTreeMap<u32, UnixMs>,
    now: UnixMs,
    /// Targets, as they changed.
    targets: Vec<u64>,
}

impl World {
    fn new(service: Service) -> World {
        let (slots, not_before) = (BTreeMap::new(), BTreeMap::new());
        let wanted = Wanted { generation: 1, spec: "a".into(), restarts: 0, rollback_to: None };
        let (progress, now, targets) = (ServiceProgress::default(), 1_000_000, Vec::new());
        World { service, wanted, progress, slots, not_before, now, targets }
    }

    fn ask(&mut self, spec: &str) {
        self.wanted.generation += 1;
        self.wanted.spec = spec.into();
    }

    fn seen(&self) -> Vec<SlotSeen> {
        self.slots.values().cloned().collect()
    }

    fn available(&self) -> u32 {
        small(self.slots.values().filter(|it| it.is_available(&self.service, self.now)).count())
    }

    /// One step, checked from outside, and carried out.
    fn look(&mut self) -> ServiceStep {
        let seen = self.seen();
        let found = step(&self.service, &self.wanted, &self.progress, &seen, self.now, 7);
        let before = self.available();
        self.progress = ServiceProgress::read(&found.progress.write()).unwrap();
        assert_eq!(self.progress, found.progress, "progress reads back as written");
        let twice = step(&self.service, &self.wanted, &self.progress, &seen, self.now, 7);
        assert_eq!(twice, found, "asked twice");
        if self.targets.last() != Some(&self.progress.target) {
            self.targets.push(self.progress.target);
        }
        let (mut replaced, mut started) = (false, false);
        for wish in &found.desired {
            let over = self
                .slots
                .get(&wish.index)
                .is_none_or(|slot| matches!(slot.state, SlotState::Ended(_) | SlotState::Due));
            match &wish.act {
                Act::Keep => {}
                Act::Stop(why) => {
                    let slot = self.slots.get_mut(&wish.index).expect("what is there is stopped");
                    replaced |= *why == Reason::Replaced;
                    match over {
                        true => drop(self.slots.remove(&wish.index)),
                        false => slot.state = SlotState::Stopping,
                    }
                }
                Act::Start(start) => {
                    assert!(over, "nothing is started where something runs");
                    started |= !self.slots.contains_key(&wish.index);
                    self.not_before.insert(wish.index, start.not_before);
                    let slot = SlotSeen {
                        index: wish.index,
                        spec: start.spec.clone(),
                        revision: start.revision,
                        attempt: start.attempt,
                        counted: start.counted,
                        state: SlotState::Due,
                    };
                    self.slots.insert(wish.index, slot);
                }
            }
        }
        let Update { surge_max, unavailable_max, .. } = self.service.update;
        let replicas = self.service.replicas;
        let stuck = surge_max == 0 && unavailable_max == 0;
        let least = replicas.saturating_sub(if stuck { 1 } else { unavailable_max });
        if replaced && self.available() < before {
            assert!(self.available() >= least, "too few answer because of the update");
        }
        assert!(!started || small(self.slots.len()) <= replicas + surge_max, "too many places");
        assert!(self.slots.keys().all(|&index| !started || index <= 2 * (20 + surge_max)));
        found
    }

    /// One place gets one stage further.
    fn advance(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let (bad, crash) = (slot.spec.0.starts_with("bad"), slot.spec.0.starts_with("crash"));
        slot.state = match &slot.state {
            SlotState::Due if self.not_before[&index] <= now => SlotState::Bound,
            SlotState::Bound => SlotState::Running { started_at: now, ready_since: None },
            SlotState::Running { started_at, .. } if crash && started_at + 500 <= now => {
                SlotState::Ended(exit(Reason::Exited, Some(*started_at), now))
            }
            SlotState::Running { started_at, ready_since: None } if !bad && !crash => {
                SlotState::Running { started_at: *started_at, ready_since: Some(now) }
            }
            SlotState::Stopping => SlotState::Ended(exit(Reason::Replaced, None, now)),
            other => other.clone(),
        };
    }

    /// Everything gets further for so long, a second at a time.
    fn run(&mut self, seconds: u64) -> ServiceStep {
        for _ in 0..seconds {
            self.look();
            self.now += 1_000;
            let all: Vec<u32> = self.slots.keys().copied().collect();
            all.into_iter().for_each(|index| self.advance(index));
        }
        self.look()
    }

    /// As `0A 1A 2b`: index, version, in capitals if it answers, in brackets if it is stopping.
    fn show(&self) -> String {
        let one = |slot: &SlotSeen| {
            let text = match slot.is_available(&self.service, self.now) {
                true => slot.spec.0.to_uppercase(),
                false => slot.spec.to_string(),
            };
            match slot.state {
                SlotState::Stopping => format!("{}({text})", slot.index),
                SlotState::Ended(_) => format!("{}{text}!", slot.index),
                _ => format!("{}{text}", slot.index),
            }
        };
        self.slots.values().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// The picture at the top of the module, step by step.
#[test]
fn an_update_replaces_one_after_another() {
    let mut world = World::new(service(3, 1, 0));
    world.run(5);
    assert_eq!(world.show(), "0A 1A 2A");
    world.ask("b");
    let mut shown = Vec::new();
    for _ in 0..40 {
        world.run(1);
        if shown.last() != Some(&world.show()) {
            shown.push(world.show());
        }
    }
    let expected = [
        "0A 1A 2A 3b",
        "0(a) 1A 2A 3B",
        "0b 1A 2A 3B",
        "0B 1(a) 2A 3B",
        "0B 1b 2A 3B",
        "0B 1B 2(a) 3B",
        "0B 1B 3B",
    ];
    assert_eq!(shown, expected);
    let step = world.look();
    assert_eq!((step.message.as_str(), step.wake_at), ("3 of 3 available", None));
    assert_eq!(world.progress.revision(2).unwrap().generation, 2);
}

/// Where there is no room for one more, one fewer must do.
#[test]
fn without_surge_an_update_takes_one_away_first() {
    let mut world = World::new(service(2, 0, 1));
    world.run(5);
    world.ask("b");
    world.look();
    assert_eq!(world.show(), "0(a) 1A");
    world.run(30);
    assert_eq!(world.show(), "0B 1B");
}

/// With both bounds at 0 nothing could ever move: it moves by one, and is refused at the door.
#[test]
fn an_update_that_could_not_move_is_told_and_moves() {
    let mut world = World::new(service(2, 0, 0));
    assert_eq!(check(&world.service)[0].path, "update");
    world.run(5);
    world.ask("b");
    world.run(30);
    assert_eq!(world.show(), "0B 1B");
}

/// A version that never answers must not stay, and must not come back by itself.
#[test]
fn a_bad_version_is_taken_back_and_left_alone() {
    for bad in ["bad", "crash"] {
        let mut world = World::new(service(3, 1, 0));
        world.run(5);
        world.ask(bad);
        world.run(58);
        assert!(world.show().starts_with("0A 1A 2A"), "{}", world.show());
        let step = world.run(400);
        assert_eq!(world.show(), "0A 1A 2A");
        assert_eq!(world.targets, [1, 2, 1], "forth, back, and that is all");
        let told = "3 of 3 available; revision 2 made no progress for 60 s: back to revision 1";
        assert_eq!(step.message, told);
        let progressing = step.conditions.iter().find(|it| it.name == "Progressing").unwrap();
        assert_eq!((progressing.holds, progressing.reason.as_str()), (false, "RolledBack"));
        // Until the user changes something.
        world.wanted.restarts += 1;
        world.run(200);
        assert_eq!(world.targets, [1, 2, 1, 3, 1]);
        world.ask("good");
        world.run(60);
        assert_eq!(world.show(), "0GOOD 1GOOD 3GOOD");
    }
}

/// Where nothing was ever whole there is nothing to go back to: it is told, and tried on.
#[test]
fn a_first_version_that_fails_is_told() {
    let mut world = World::new(service(2, 1, 0));
    world.ask("bad");
    let step = world.run(200);
    assert_eq!(world.show(), "0bad 1bad");
    assert_eq!(world.targets, [1]);
    assert!(step.message.contains("revision 1 made no progress"), "{}", step.message);
    world.ask("a");
    world.run(60);
    assert_eq!(world.show().to_lowercase().replace("0", "").replace("1", "").trim(), "a 2a");
}

/// People change their minds while an update is under way.
#[test]
fn an_update_is_superseded_by_the_next() {
    let mut world = World::new(service(3, 1, 0));
    world.run(5);
    world.ask("bad");
    world.run(10);
    world.ask("c");
    world.run(60);
    assert_eq!(world.show(), "0C 1C 2C".replace('2', "3"));
    assert_eq!(world.targets, [1, 2, 3]);
}

/// Back to an older revision, by its number.
#[test]
fn a_service_goes_back_when_asked() {
    let mut world = World::new(service(2, 1, 0));
    world.run(5);
    world.ask("b");
    world.run(30);
    world.wanted.rollback_to = Some(1);
    world.run(30);
    assert!(world.show().ends_with('A') && !world.show().contains('B'), "{}", world.show());
    world.wanted.rollback_to = Some(99);
    let step = world.run(3);
    assert_eq!(step.message, "2 of 2 available; there is no revision 99 to go back to");
    // The same version again, asked for by name, is the same revision.
    world.ask("c");
    world.run(30);
    world.ask("b");
    world.run(30);
    assert_eq!(world.targets, [1, 2, 1, 3, 2]);
}

/// A restart asked for is an update to the same version.
#[test]
fn a_restart_replaces_all_within_the_bounds() {
    let mut world = World::new(service(3, 1, 0));
    world.run(5);
    world.wanted.restarts = 1;
    world.run(40);
    assert_eq!(world.targets, [1, 2]);
    assert!(world.slots.values().all(|slot| slot.revision == 2 && &*slot.spec.0 == "a"));
}

/// Who has gone back from a version and then restarts would be surprised to get it again.
#[test]
fn a_restart_after_going_back_starts_what_runs() {
    let mut world = World::new(service(2, 1, 0));
    world.run(5);
    world.ask("bad");
    world.run(10);
    world.wanted.rollback_to = Some(1);
    world.run(30);
    world.wanted.restarts += 1;
    world.run(60);
    assert_eq!(world.targets, [1, 2, 1, 3]);
    assert!(world.slots.values().all(|slot| slot.revision == 3 && &*slot.spec.0 == "a"));
}

/// A pause holds the old and the new as they are, and adds what is missing of the old.
#[test]
fn a_paused_update_stands_still() {
    let mut world = World::new(service(3, 1, 0));
    world.run(5);
    world.ask("b");
    world.run(2);
    world.service.paused = true;
    world.run(300);
    let held = world.show();
    assert!(held.contains('B') && held.contains('A'), "{held}");
    world.service.replicas = 5;
    world.run(10);
    assert_eq!(world.show().matches('A').count(), 4, "{}", world.show());
    world.ask("c");
    world.run(10);
    assert!(!world.show().contains('C'), "not even begun: {}", world.show());
    world.service.paused = false;
    world.run(100);
    assert_eq!(world.show().matches('C').count(), 5, "{}", world.show());
}

/// Nothing runs, and all of it comes back.
#[test]
fn a_suspended_service_stops_and_resumes() {
    let mut world = World::new(service(2, 1, 0));
    world.run(5);
    world.service.suspend = true;
    let phase = world.look().phase;
    assert_eq!((phase, world.show().as_str()), (Phase::Stopping, "0(a) 1(a)"));
    let step = world.run(3);
    assert_eq!((step.phase, world.show().as_str(), step.wake_at), (Phase::Suspended, "", None));
    world.service.suspend = false;
    world.run(5);
    assert_eq!(world.show(), "0A 1A");
}

/// Of those too many, the ones that do not answer go first, then the highest.
#[test]
fn scaling_down_takes_the_least_useful() {
    let mut world = World::new(service(4, 1, 0));
    world.run(5);
    world.slots.get_mut(&1).unwrap().state =
        SlotState::Running { started_at: world.now, ready_since: None };
    world.service.replicas = 2;
    world.look();
    assert_eq!(world.show(), "0A 1(a) 2A 3(a)");
    world.run(3);
    world.service.replicas = 3;
    world.run(5);
    assert_eq!(world.show(), "0A 1A 2A", "the lowest free index");
}

/// A replica that dies at once must not eat a node's time; one that ran well comes back soon.
#[test]
fn early_deaths_are_answered_with_patience() {
    let mut world = World::new(service(1, 1, 0));
    world.run(5);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let slot = world.slots.get_mut(&0).unwrap();
        slot.state = SlotState::Ended(exit(Reason::Exited, Some(world.now - 500), world.now));
        world.look();
        waits.push(world.not_before[&0] - world.now);
    }
    assert!(waits[0] <= 1_100 && waits.windows(2).take(8).all(|two| two[0] < two[1]), "{waits:?}");
    assert!(waits.iter().all(|&wait| wait <= 330_000), "{waits:?}");
    let slot = world.slots.get_mut(&0).unwrap();
    slot.state = SlotState::Ended(exit(Reason::Lost, Some(world.now - 500), world.now));
    world.look();
    assert_eq!(world.not_before[&0], world.now, "no fault of its own");
    let slot = world.slots.get_mut(&0).unwrap();
    assert!(slot.counted >= 10, "and what it did before is not forgotten");
    world.now += 700_000;
    slot.state = SlotState::Ended(exit(Reason::Exited, Some(world.now - 600_000), world.now));
    world.look();
    assert!(world.not_before[&0] - world.now <= 1_100, "it ran well");
}

/// One counts only when it has answered for long enough.
#[test]
fn a_replica_that_answers_for_a_moment_does_not_count() {
    let mut world = World::new(service(1, 1, 0));
    world.service.update.ready_min = 10_000;
    let step = world.run(4);
    assert_eq!(step.message, "0 of 1 available; updating to revision 1: 1 replaced");
    assert!(step.wake_at.is_some_and(|at| at <= world.now + 10_000));
    assert!(world.run(11).message.starts_with("1 of 1 available"));
}

/// Old revisions are forgotten, but not the one that would be gone back to.
#[test]
fn so_many_revisions_are_kept() {
    let mut world = World::new(service(1, 1, 0));
    world.service.update.revisions_max = 2;
    world.run(5);
    for n in 0..20 {
        world.ask(&format!("bad{n}"));
        world.run(3);
    }
    world.run(100);
    let numbers: Vec<u64> = world.progress.revisions.iter().map(|it| it.number).collect();
    assert_eq!(world.progress.target, 1);
    assert_eq!(numbers, [1, 19, 20, 21]);
}

/// The store can be written by others.
#[test]
fn progress_that_does_not_read_names_its_field() {
    let bad = serde_json::json!({"revisions": [{"number": 1, "spec": 7}]});
    let error = ServiceProgress::read(&bad).unwrap_err();
    assert_eq!(error.field, "revisions[0].spec");
    // It reads and makes no sense: that is an answer, too.
    let odd = ServiceProgress { target: u64::MAX, ..ServiceProgress::default() };
    let world = World::new(service(u32::MAX, u32::MAX, u32::MAX));
    let found = step(&world.service, &world.wanted, &odd, &[], u64::MAX, 0);
    assert!(found.desired.len() <= REPLICAS_MAX as usize);
}

/// What happens to a service in its life, in any order: the bounds hold at each step, and once
/// things calm down it is whole on what was asked for, or on the last version that was.
#[test]
fn random_lives_keep_the_bounds_and_come_to_rest() {
    for seed in 0..120_u64 {
        println!("seed {seed}: control::service::tests::random_lives_keep_the_bounds");
        let mut state = seed ^ 0x5eed;
        let mut draw = |below: u64| {
            state = name::mix(state);
            state % below
        };
        let mut world = World::new(service(1 + draw(6) as u32, draw(4) as u32, draw(3) as u32));
        world.service.update.ready_min = draw(2) * 2_000;
        let names = ["a", "b", "c", "bad", "crash", "d"];
        for _ in 0..300 {
            let index = draw(9) as u32;
            match draw(40) {
                0 => world.ask(names[draw(6) as usize]),
                1 => world.service.replicas = draw(8) as u32,
                2 => world.service.paused = draw(2) == 0,
                3 => world.service.suspend = draw(4) == 0,
                4 => world.wanted.restarts += 1,
                5 => world.wanted.rollback_to = Some(1 + draw(6)).filter(|_| draw(2) == 0),
                6 => world.service.update.surge_max = draw(3) as u32,
                7..=9 => {
                    let now = world.now;
                    let why = [Reason::Lost, Reason::Drained, Reason::Exited, Reason::OutOfMemory];
                    let why = why[draw(4) as usize];
                    if let Some(slot) = world.slots.get_mut(&index)
                        && !matches!(slot.state, SlotState::Due)
                    {
                        slot.state = SlotState::Ended(exit(why, Some(now), now));
                    }
                }
                10 => world.now += draw(90_000),
                _ => {
                    world.now += draw(3_000);
                    world.advance(index);
                }
            }
            world.look();
        }
        world.service.replicas = world.service.replicas.max(1);
        (world.service.paused, world.service.suspend) = (false, false);
        world.run(2_000);
        let targets = world.targets.len();
        world.run(1_000);
        assert_eq!(world.targets.len(), targets, "no flapping: {:?}", world.targets);
        let target = world.progress.revision(world.progress.target).unwrap();
        let behaves = target.spec.0.len() == 1;
        let whole = world.progress.rollout.is_none();
        assert_eq!(whole, behaves, "{} {:?}", world.show(), world.progress);
        if behaves {
            assert_eq!(world.available(), world.service.replicas, "{}", world.show());
            assert_eq!(world.slots.len(), world.service.replicas as usize);
        } else {
            let back = world.progress.last_whole(target.number);
            assert_eq!(back, None, "a bad version stays only if there is no other");
        }
    }
}

/// Records can be written by others, and a leader of another version: whatever is seen, there is an
/// answer, within the bounds, and one wish a place.
#[test]
fn any_slots_have_an_answer() {
    for seed in 0..3_000_u64 {
        println!("seed {seed}: control::service::tests::any_slots_have_an_answer");
        let mut state = seed ^ 0xbad;
        let mut draw = |below: u64| {
            state = name::mix(state);
            state % below
        };
        let mut service = service(draw(6) as u32, draw(3) as u32, draw(3) as u32);
        (service.paused, service.suspend) = (draw(5) == 0, draw(9) == 0);
        let states = [RevisionState::Trying, RevisionState::Whole(draw(99)), RevisionState::Failed];
        let revisions = (0..draw(5)).map(|_| Revision {
            number: draw(6),
            spec: ["a", "b", "c"][draw(3) as usize].into(),
            restarts: draw(2) as u32,
            generation: draw(9),
            state: states[draw(3) as usize],
        });
        let progress = ServiceProgress {
            revisions: revisions.collect(),
            target: draw(7),
            ..ServiceProgress::default()
        };
        let slots: Vec<SlotSeen> = (0..draw(12))
            .map(|_| SlotSeen {
                index: draw(9) as u32,
                spec: "a".into(),
                revision: draw(7),
                attempt: [1, u32::MAX][draw(2) as usize],
                counted: [0, u32::MAX][draw(2) as usize],
                state: match draw(6) {
                    0 => SlotState::Due,
                    1 => SlotState::Bound,
                    2 => SlotState::Stopping,
                    3 => SlotState::Ended(exit(Reason::Exited, Some(u64::MAX), draw(200))),
                    _ => {
                        let ready_since = Some(draw(200)).filter(|at| at % 3 > 0);
                        SlotState::Running { started_at: draw(200), ready_since }
                    }
                },
            })
            .collect();
        let spec = ["a", "b", "z"][draw(3) as usize].into();
        let rollback_to = Some(draw(7)).filter(|of| of % 2 == 0);
        let wanted = Wanted { generation: draw(9), spec, restarts: draw(2) as u32, rollback_to };
        let found = step(&service, &wanted, &progress, &slots, draw(200), seed);
        let mut indexes: Vec<u32> = found.desired.iter().map(|wish| wish.index).collect();
        indexes.dedup();
        assert_eq!(indexes.len(), found.desired.len(), "one wish a place");
        assert!(slots.iter().all(|slot| indexes.contains(&slot.index)), "and none is forgotten");
    }
}
