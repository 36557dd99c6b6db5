//! Looks in a row, and what is done about each.

use super::*;

const RESERVE: u64 = 1000;
const DISARM: Act = Act::Disarm(AlarmKind::DiskFull);

fn outlook(disarm_percent: Option<u64>) -> Outlook {
    Outlook::new(Rules { quota: Some(100), disarm_percent })
}

/// A look at a disk with much room, and a store with nothing in it.
fn calm() -> Look {
    Look { data: roomy(), log: None, alarmed: false, disk_alarmed: false, in_use: 0 }
}

fn roomy() -> DiskLook {
    let (available, missing, opened, unsaved) = (Some(1 << 40), 0, false, 0);
    DiskLook { reserve: RESERVE, available, missing, opened, unsaved }
}

/// A look at a disk like that, and a store with nothing in it.
fn at(data: DiskLook) -> Look {
    Look { data, ..calm() }
}

// A log that repeats itself is not read, and one that says nothing the second time is not believed.
#[test]
fn a_threshold_is_told_once_until_the_size_has_fallen() {
    let mut outlook = outlook(None);
    let mut at = |in_use| outlook.decide(&Look { in_use, ..calm() });
    assert_eq!(at(79), []);
    assert_eq!(at(80), [Act::Warn(80)]);
    assert_eq!(at(89), []);
    assert_eq!(at(79), [], "it wavers");
    assert_eq!(at(80), []);
    assert_eq!(at(95), [Act::Warn(90)]);
    assert_eq!(at(10), []);
    assert_eq!(at(99), [Act::Warn(80), Act::Warn(90)]);
}

// The quota's alarm is an operator's, as in etcd, unless he has said otherwise; and then it goes
// well below the quota, not right at it, where the next put would raise it again.
#[test]
fn the_quotas_alarm_goes_by_itself_only_where_it_may() {
    let alarmed = |in_use| Look { alarmed: true, in_use, ..calm() };
    assert_eq!(outlook(None).decide(&alarmed(0)), []);
    let mut asked = outlook(Some(70));
    assert_eq!(asked.decide(&alarmed(71)), []);
    assert_eq!(asked.decide(&alarmed(70)), [Act::Disarm(AlarmKind::NoSpace)]);
    assert_eq!(asked.decide(&alarmed(70)), [Act::Disarm(AlarmKind::NoSpace)], "until it is gone");
    assert_eq!(asked.decide(&calm()), []);
}

// Full, refused, raised; room, whole, disarmed: without anybody's help, and with no going to and
// fro in between.
#[test]
fn a_full_disk_is_an_alarm_as_long_as_it_is_full() {
    let mut outlook = outlook(None);
    assert_eq!(outlook.decide(&calm()), []);
    let low = DiskLook { available: Some(RESERVE / 2 - 1), ..roomy() };
    assert_eq!(outlook.decide(&at(low)), [Act::Refuse(On::Data), Act::Raise]);
    assert_eq!(outlook.decide(&at(low)), [Act::Raise], "it did not come through");
    let opened = DiskLook { opened: true, missing: 100, ..low };
    let alarmed = |data| Look { disk_alarmed: true, ..at(data) };
    assert_eq!(outlook.decide(&alarmed(opened)), []);
    let between = DiskLook { available: Some(RESERVE / 4 * 3 + 99), ..opened };
    assert_eq!(outlook.decide(&alarmed(between)), [], "the reserve would not be whole");
    let enough = DiskLook { available: Some(RESERVE / 4 * 3 + 100), ..opened };
    let acts = [Act::Fill(On::Data, 100), Act::GoOn, DISARM];
    assert_eq!(outlook.decide(&alarmed(enough)), acts);
    let whole = alarmed(DiskLook { available: Some(RESERVE / 4 * 3), ..roomy() });
    assert_eq!(outlook.decide(&whole), [DISARM]);
    assert_eq!(outlook.decide(&Look { disk_alarmed: false, ..whole }), []);
}

// The operator's alarm, and the quota's, outlive a full disk, whenever they were raised.
#[test]
fn another_alarm_than_the_disks_stays() {
    let mut outlook = outlook(None);
    assert_eq!(outlook.decide(&Look { alarmed: true, ..calm() }), []);
    let opened = DiskLook { opened: true, ..roomy() };
    let full = Look { alarmed: true, ..at(DiskLook { available: Some(0), ..opened }) };
    assert_eq!(outlook.decide(&full), [Act::Refuse(On::Data), Act::Raise]);
    let again = Look { alarmed: true, disk_alarmed: true, ..at(opened) };
    let acts = outlook.decide(&again);
    assert!(acts.contains(&DISARM) && !acts.contains(&Act::Disarm(AlarmKind::NoSpace)), "{acts:?}");
}

// A member that is cut off, or nobody leads, asks for the alarm in need, and it is raised when the
// need is long over; by the one that asked, or by the one that it was before a restart.
#[test]
fn an_alarm_that_comes_late_goes_too() {
    let late = Look { disk_alarmed: true, ..calm() };
    let mut outlook = outlook(None);
    assert_eq!(outlook.decide(&calm()), []);
    let low = at(DiskLook { available: Some(0), ..roomy() });
    assert_eq!(outlook.decide(&low), [Act::Refuse(On::Data), Act::Raise]);
    assert_eq!(outlook.decide(&calm()).last(), Some(&Act::GoOn));
    for _ in 0..10 {
        assert_eq!(outlook.decide(&calm()), []);
    }
    assert_eq!(outlook.decide(&late), [DISARM]);
    assert_eq!(self::outlook(None).decide(&late), [DISARM]);
}

// What an engine has yet to write needs room as well: an engine in memory writes everything anew.
#[test]
fn what_is_not_saved_counts_as_taken() {
    let look = DiskLook { available: Some(RESERVE + 5000), unsaved: 5000, ..roomy() };
    assert_eq!(outlook(None).decide(&at(look)), []);
    let look = DiskLook { unsaved: 5501, ..look };
    assert_eq!(outlook(None).decide(&at(look)), [Act::Refuse(On::Data), Act::Raise]);
}

// After a restart there must be as much room as without it.
#[test]
fn a_restart_in_need_does_not_end_it() {
    let between = DiskLook { available: Some(RESERVE / 4 * 3 - 1), ..roomy() };
    let alarmed = |data| Look { disk_alarmed: true, ..at(data) };
    assert_eq!(outlook(None).decide(&alarmed(between)), []);
    let opened = DiskLook { opened: true, available: Some(0), ..between };
    assert_eq!(outlook(None).decide(&alarmed(opened)), [Act::Refuse(On::Data)]);
}

// Where no reserve is wanted nobody looks at the disk.
#[test]
fn without_a_reserve_the_disk_is_not_watched() {
    let mut outlook = Outlook::new(Rules { quota: None, disarm_percent: None });
    let low = at(DiskLook { reserve: 0, available: Some(0), ..roomy() });
    let low = Look { in_use: 1, ..low };
    assert_eq!(outlook.decide(&low), []);
    // There was one before the last start.
    assert_eq!(outlook.decide(&Look { disk_alarmed: true, ..low }), [DISARM]);
}

// With the log on a disk of its own, puts come again when both have room, and not before.
#[test]
fn each_of_two_disks_is_full_by_itself() {
    let mut outlook = outlook(None);
    let look = |data: u64, log: u64| {
        let disk = |available| DiskLook { available: Some(available), ..roomy() };
        Look { log: Some(disk(log)), disk_alarmed: true, ..at(disk(data)) }
    };
    let (low, room) = (RESERVE / 2 - 1, RESERVE);
    assert_eq!(outlook.decide(&Look { disk_alarmed: false, ..look(room, room) }), []);
    let acts = [Act::Refuse(On::Log), Act::Raise];
    assert_eq!(outlook.decide(&Look { disk_alarmed: false, ..look(room, low) }), acts);
    assert_eq!(outlook.decide(&look(low, low)), [Act::Refuse(On::Data)]);
    assert_eq!(outlook.decide(&look(low, room)), [Act::Fill(On::Log, RESERVE / 4)]);
    let acts = [Act::Fill(On::Data, RESERVE / 4), Act::GoOn, DISARM];
    assert_eq!(outlook.decide(&look(room, room)), acts);
}
