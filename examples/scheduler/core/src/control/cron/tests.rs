//! Ticks, through summer time, clocks that jump, and leaders that die.

use super::*;
use crate::spec::{Job, Task};

fn cron(schedule: &str, timezone: &str) -> Cron {
    Cron {
        schedule: schedule.to_owned(),
        timezone: timezone.to_owned(),
        catchup: Catchup::Last,
        overlap: Overlap::Allow,
        start_deadline: None,
        keep_succeeded: 3,
        keep_failed: 1,
        suspend: false,
        each: CronWork::Job(Box::new(Job::single(Task::new("busybox", &[])))),
    }
}

fn at(text: &str) -> UnixMs {
    let stamp: jiff::Timestamp = text.parse().unwrap();
    u64::try_from(stamp.as_millisecond()).unwrap()
}

fn utc(time: UnixMs) -> String {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(time).unwrap()).unwrap();
    stamp.strftime("%m-%d %H:%M").to_string()
}

fn child(time: &str, phase: Phase) -> ChildSeen {
    let name = child_name("c", &(at(time) / 60_000).to_string());
    ChildSeen { name, phase, deleted: false }
}

/// A cron that is looked at whenever it asks for it, and the clock that it is looked at by.
struct World {
    cron: Cron,
    created_at: UnixMs,
    progress: CronProgress,
    children: Vec<ChildSeen>,
    made: Vec<UnixMs>,
}

impl World {
    fn new(cron: Cron, created_at: &str) -> World {
        let (progress, created_at) = (CronProgress::default(), at(created_at));
        World { cron, created_at, progress, children: Vec::new(), made: Vec::new() }
    }

    /// One look; what it asks for is done, and a second look must ask for nothing.
    fn look(&mut self, now: UnixMs) -> CronStep {
        let step = step(&self.cron, self.created_at, &self.progress, &self.children, now);
        assert!(self.progress.last_tick <= step.progress.last_tick, "it never goes back");
        let text = step.progress.write();
        self.progress = CronProgress::read(&text).unwrap();
        for tick in &step.create {
            assert!(!self.made.contains(&tick.time), "{} is made once", utc(tick.time));
            self.made.push(tick.time);
            let name = child_name("c", &tick.suffix);
            assert_eq!(tick_of(&name), Some(tick.time), "a name tells its tick");
            self.children.push(ChildSeen { name, phase: Phase::Active, deleted: false });
        }
        for child in &mut self.children {
            child.deleted |= step.stop.contains(&child.name) || step.forget.contains(&child.name);
        }
        if step.wake_at != Some(now) {
            let again =
                super::step(&self.cron, self.created_at, &self.progress, &self.children, now);
            assert_eq!((again.create, again.stop, again.forget), (vec![], vec![], vec![]), "twice");
            assert_eq!(again.progress, self.progress);
        }
        step
    }

    /// From one time to another, awake when it asked to be.
    fn run(&mut self, from: &str, until: &str) {
        let (mut now, until) = (at(from), at(until));
        while now <= until {
            match self.look(now).wake_at {
                Some(wake) => now = wake.max(now),
                None => break,
            }
        }
    }

    fn end_all(&mut self) {
        for child in &mut self.children {
            child.phase = Phase::Succeeded;
        }
    }

    fn made(&self) -> Vec<String> {
        self.made.iter().map(|&time| utc(time)).collect()
    }
}

/// The plainest promise: one job a tick, from when the cron was made.
#[test]
fn each_tick_makes_one_job() {
    let mut world = World::new(cron("*/20 * * * *", "UTC"), "2026-03-01T10:05:00Z");
    world.run("2026-03-01T10:05:00Z", "2026-03-01T11:05:00Z");
    assert_eq!(world.made(), ["03-01 10:20", "03-01 10:40", "03-01 11:00"]);
    let step = world.look(at("2026-03-01T11:06:00Z"));
    assert_eq!(step.wake_at, Some(at("2026-03-01T11:20:00Z")));
    assert_eq!(step.message, "next tick at 2026-03-01 11:20 UTC");
}

/// In Berlin there is no 02:30 on 29 March 2026: a nightly job comes right after, and not never.
#[test]
fn a_tick_in_the_gap_of_spring_comes_after_it() {
    let mut world = World::new(cron("30 2 * * *", "Europe/Berlin"), "2026-03-27T12:00:00Z");
    world.run("2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(world.made(), ["03-28 01:30", "03-29 01:00", "03-30 00:30"]);
}

/// In Berlin 02:30 comes twice on 25 October 2026: a nightly job runs once.
#[test]
fn a_tick_in_the_repeat_of_autumn_comes_once() {
    let mut world = World::new(cron("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00:00Z");
    world.run("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(world.made(), ["10-25 00:30", "10-26 01:30"]);
}

/// What goes by the hour goes by elapsed hours, whatever they are called.
#[test]
fn hourly_ticks_are_an_hour_apart_in_both_nights() {
    for (from, until) in [
        ("2026-03-28T22:30:00Z", "2026-03-29T04:30:00Z"),
        ("2026-10-24T22:30:00Z", "2026-10-25T04:30:00Z"),
    ] {
        let mut world = World::new(cron("0 * * * *", "Europe/Berlin"), from);
        world.run(from, until);
        let expected: Vec<UnixMs> = (0..6).map(|n| at(from) + 1_800_000 + n * 3_600_000).collect();
        assert_eq!(world.made, expected, "{:?}", world.made());
    }
}

/// Ticks are searched for from wherever the last look was: the answer must not depend on it.
#[test]
fn the_ticks_of_a_night_are_the_same_from_wherever_one_looks() {
    let zone = schedule::zone("Europe/Berlin").unwrap();
    for text in ["30 2 * * *", "*/30 * * * *", "0 * * * *", "15,45 1-3 * * *", "0 3 * * *"] {
        let schedule = Schedule::parse(text, Some(&zone)).unwrap();
        for day in ["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"] {
            let (from, until) = (at(day), at(day) + 12 * 3_600_000);
            let (all, _) = schedule.newest(from, until, 100);
            for start in (from..until).step_by(300_000) {
                let later: Vec<UnixMs> = all.iter().copied().filter(|&t| t > start).collect();
                let (found, _) = schedule.newest(start, until, 100);
                assert_eq!(found, later, "{text} from {}", utc(start));
            }
        }
    }
}

/// A clock set back an hour must not make the ticks of that hour again.
#[test]
fn a_clock_that_goes_back_makes_no_tick_twice() {
    let mut world = World::new(cron("*/10 * * * *", "UTC"), "2026-03-01T10:00:00Z");
    world.run("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z");
    assert_eq!(world.made.len(), 6);
    let step = world.look(at("2026-03-01T10:00:30Z"));
    assert_eq!(step.wake_at, Some(at("2026-03-01T11:10:00Z")), "not before it has caught up");
    world.run("2026-03-01T10:00:30Z", "2026-03-01T11:10:00Z");
    assert_eq!(world.made.len(), 7);
}

/// A clock set an hour ahead leaves an hour of ticks behind: the spec says what becomes of them.
#[test]
fn a_clock_that_jumps_ahead_makes_late_ticks() {
    for (catchup, expected) in [
        (Catchup::None, vec!["03-01 11:10"]),
        (Catchup::Last, vec!["03-01 11:00", "03-01 11:10"]),
        (Catchup::All, vec!["03-01 10:20", "03-01 10:40", "03-01 11:00", "03-01 11:10"]),
    ] {
        let schedule = if catchup == Catchup::All { "10,20,40,0 * * * *" } else { "*/10 * * * *" };
        let cron = Cron { catchup, ..cron(schedule, "UTC") };
        let mut world = World::new(cron, "2026-03-01T10:12:00Z");
        world.look(at("2026-03-01T10:12:00Z"));
        world.look(at("2026-03-01T11:05:00Z"));
        world.look(at("2026-03-01T11:10:01Z"));
        assert_eq!(world.made(), expected, "{catchup:?}");
        world.look(at("2026-03-01T10:12:00Z"));
        assert_eq!(world.made(), expected, "and back again");
    }
}

/// A server that was off for a year must neither hang nor make half a million jobs.
#[test]
fn catching_up_is_bounded() {
    let cron = Cron { catchup: Catchup::All, ..cron("* * * * *", "UTC") };
    let mut world = World::new(cron, "2016-03-01T00:00:00Z");
    let now = at("2026-03-01T00:00:30Z");
    let mut looks = 0;
    while world.look(now).wake_at == Some(now) {
        looks += 1;
        assert!(looks < 10, "it comes to an end");
    }
    assert_eq!(world.made.len(), CATCHUP_MAX);
    assert_eq!(world.made.last(), Some(&at("2026-03-01T00:00:00Z")));
    assert!(world.made.is_sorted());
}

/// A report that is an hour late may be worth nothing.
#[test]
fn a_tick_past_its_start_deadline_is_left_out() {
    let cron = Cron { start_deadline: Some(60_000), ..cron("0 * * * *", "UTC") };
    let mut world = World::new(cron, "2026-03-01T00:30:00Z");
    let step = world.look(at("2026-03-01T01:01:01Z"));
    assert!(step.message.starts_with("1 ticks left out; next tick"), "{}", step.message);
    world.look(at("2026-03-01T02:00:59Z"));
    assert_eq!(world.made(), ["03-01 02:00"]);
}

/// Three meanings of a tick that comes while the last job still runs.
#[test]
fn overlap_allows_forbids_or_replaces() {
    let start = "2026-03-01T00:00:00Z";
    let run = |overlap| {
        let mut world = World::new(Cron { overlap, ..cron("0 * * * *", "UTC") }, start);
        world.run(start, "2026-03-01T02:30:00Z");
        let stopped = world.children.iter().filter(|child| child.deleted).count();
        world.end_all();
        world.run("2026-03-01T02:30:00Z", "2026-03-01T03:30:00Z");
        (world.made(), stopped)
    };
    let all = ["03-01 01:00", "03-01 02:00", "03-01 03:00"].map(str::to_owned);
    assert_eq!(run(Overlap::Allow), (all.to_vec(), 0));
    assert_eq!(run(Overlap::Replace), (all.to_vec(), 1));
    assert_eq!(run(Overlap::Forbid), (vec![all[0].clone(), all[2].clone()], 0));
}

/// Somebody who wants every hour worked on, and never two at once, wants them one after another.
#[test]
fn all_of_them_one_at_a_time_wait_in_line() {
    let (overlap, catchup) = (Overlap::Forbid, Catchup::All);
    let cron = Cron { overlap, catchup, ..cron("0 * * * *", "UTC") };
    let mut world = World::new(cron, "2026-03-01T00:30:00Z");
    let now = at("2026-03-01T04:30:00Z");
    for made in 1..=4 {
        world.look(now);
        assert_eq!(world.made.len(), made, "one at a time");
        world.end_all();
    }
    world.look(now);
    assert_eq!(world.made(), ["03-01 01:00", "03-01 02:00", "03-01 03:00", "03-01 04:00"]);
}

/// Ticks of a time when somebody said that there shall be none are not made up for.
#[test]
fn ticks_while_suspended_are_left_out() {
    let cron = Cron { catchup: Catchup::All, ..cron("0 * * * *", "UTC") };
    let mut world = World::new(cron, "2026-03-01T00:30:00Z");
    world.cron.suspend = true;
    let step = world.look(at("2026-03-01T00:31:00Z"));
    assert_eq!((step.wake_at, step.message.as_str()), (None, "suspended"));
    world.look(at("2026-03-01T03:31:00Z"));
    world.cron.suspend = false;
    world.run("2026-03-01T05:30:00Z", "2026-03-01T06:10:00Z");
    assert_eq!(world.made(), ["03-01 06:00"]);
}

/// A new schedule has no past.
#[test]
fn a_changed_schedule_counts_from_now_on() {
    let cron = Cron { catchup: Catchup::All, ..cron("0 0 1 1 *", "UTC") };
    let mut world = World::new(cron, "2026-03-01T00:30:00Z");
    world.look(at("2026-03-01T00:30:00Z"));
    "*/30 * * * *".clone_into(&mut world.cron.schedule);
    world.run("2026-03-01T05:10:00Z", "2026-03-01T05:40:00Z");
    assert_eq!(world.made(), ["03-01 05:30"]);
}

/// Old jobs are forgotten by how they ended, the oldest first; those that run never.
#[test]
fn so_many_ended_jobs_are_kept() {
    let cron = Cron { keep_succeeded: 1, keep_failed: 0, ..cron("0 * * * *", "UTC") };
    let children = [
        child("2026-03-01T03:00:00Z", Phase::Succeeded),
        child("2026-03-01T01:00:00Z", Phase::Active),
        child("2026-03-01T02:00:00Z", Phase::Succeeded),
        child("2026-03-01T04:00:00Z", Phase::Skipped),
        ChildSeen { deleted: true, ..child("2026-03-01T00:00:00Z", Phase::Failed) },
    ];
    let found = step(&cron, 0, &CronProgress::default(), &children, at("2026-03-01T04:30:00Z"));
    assert_eq!(found.forget, [children[2].name.clone(), children[3].name.clone()]);
}

/// What can never work is refused when it is asked for, by the name of the field.
#[test]
fn impossible_crons_are_refused_by_field() {
    for (schedule, zone, expected) in [
        ("0 0 31 2 *", "UTC", "schedule: `0 0 31 2 *` never fires: there is no such day"),
        ("0 0 * *", "UTC", "schedule: `0 0 * *` has 4 fields"),
        ("0 0 0 * * *", "UTC", "schedule: `0 0 0 * * *` has 6 fields"),
        ("", "UTC", "schedule: `` has 0 fields"),
        ("61 * * * *", "UTC", "schedule: `61 * * * *`: "),
        ("* * * * x", "UTC", "schedule: `* * * * x`: "),
        ("@never", "UTC", "schedule: `@never`: "),
        ("* * * * *", "Mars/Olympus", "timezone: `Mars/Olympus` is no time zone"),
        ("* * * * *", "../../etc/passwd", "timezone: `../../etc/passwd` is no time zone"),
    ] {
        let problems = check(&cron(schedule, zone)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().starts_with(expected), "{}", problems[0]);
        let refused = step(&cron(schedule, zone), 0, &CronProgress::default(), &[], 1 << 40);
        assert_eq!((refused.create, refused.wake_at), (vec![], None), "and does nothing");
    }
    for good in ["* * * * *", "0 0 29 2 1", "0 12 * JAN MON-FRI", "@daily", "*/7 0-5 1,15 * *"] {
        assert_eq!(check(&cron(good, "Asia/Kolkata")), Ok(()), "{good}");
    }
    let late = Cron { start_deadline: Some(0), ..cron("* * * * *", "UTC") };
    assert_eq!(check(&late).unwrap_err()[0].path, "start_deadline");
}

/// The store can be written by others: what does not read is told by field.
#[test]
fn progress_that_does_not_read_names_its_field() {
    let bad = serde_json::json!({"last_tick": "yesterday"});
    let error = CronProgress::read(&bad).unwrap_err();
    assert_eq!(error.to_string(), "the progress of a cron does not read at `last_tick`");
    assert_eq!(CronProgress::read(&serde_json::Value::Null).unwrap(), CronProgress::default());
    // A value from the far end of time is no reason to fall over.
    let far = CronProgress { last_tick: u64::MAX, ..CronProgress::default() };
    let found = step(&cron("* * * * *", "UTC"), u64::MAX, &far, &[], u64::MAX);
    assert_eq!((found.create, found.wake_at), (vec![], None));
}

/// Leaders come and go at any time and clocks are set: whatever happens, a tick is made once, and
/// those made are ticks.
#[test]
fn random_days_make_each_tick_at_most_once() {
    for seed in 0..200_u64 {
        println!("seed {seed}: control::cron::tests::random_days_make_each_tick_at_most_once");
        let mut state = seed;
        let mut draw = |below: u64| {
            state = name::mix(state);
            state % below
        };
        let catchup = [Catchup::None, Catchup::Last, Catchup::All][draw(3) as usize];
        let overlap = [Overlap::Allow, Overlap::Forbid, Overlap::Replace][draw(3) as usize];
        let text = ["*/7 * * * *", "30 2 * * *", "0 */3 * * *"][draw(3) as usize];
        let cron = Cron { catchup, overlap, ..cron(text, "Europe/Berlin") };
        let mut world = World::new(cron, "2026-10-24T20:00:00Z");
        let mut now = at("2026-10-24T20:00:00Z");
        for _ in 0..100 {
            now = match draw(12) {
                0 => now.saturating_sub(draw(3_600_000)),
                1 => now + draw(7_200_000),
                _ => now + draw(600_000),
            };
            world.look(now);
            if draw(3) == 0 {
                world.end_all();
            }
        }
        let zone = schedule::zone("Europe/Berlin").unwrap();
        let schedule = Schedule::parse(text, Some(&zone)).unwrap();
        for &tick in &world.made {
            assert_eq!(schedule.after(tick - 1), Some(tick), "{} is a tick", utc(tick));
        }
    }
}
