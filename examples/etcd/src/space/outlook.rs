//! What is to be done about room: decided from a look at it now and then, and from nothing else.
//!
//! ```text
//!   size in use:   0 ──────────────── disarm ──── 80 % ── 90 % ── quota
//!                                     percent     a warning each    NOSPACE, by whoever puts
//!
//!   free bytes:    0 ──────────── 1/2 ──── 3/4 ──────────►   of the reserve, and beside it what
//!                      refused           goes on again       the engine's next save takes
//! ```
//!
//! The log may be on a disk of its own: then both are looked at, and full is whoever has one that
//! is. While a disk is full what grows is refused here, and an alarm is raised in this member's
//! name, so that it is refused by all. This alarm goes when there is room again and the reserves
//! are whole: it says how the disks are, and nobody needs to look whether that is so. It is another
//! than the quota's, though clients see both as NOSPACE: what was asked for in need may happen long
//! after it, and what stands then must be known for what it is. The quota's alarm, and one that an
//! operator has raised, are his to disarm, unless he has said that they may go by themselves.

use drystone_kv::command::AlarmKind;

use super::reserve::On;

/// Percentages of the quota that are worth a line in the log.
const WARNINGS: [u64; 2] = [80, 90];
/// So far below it must the size fall until the same is told again.
const WARNING_SLACK: u64 = 2;

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) quota: Option<u64>,
    /// Percentage of the quota at which its alarm may go.
    pub(super) disarm_percent: Option<u64>,
}

/// What can be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The disk of the data.
    pub(super) data: DiskLook,
    /// That of the log, if it is another.
    pub(super) log: Option<DiskLook>,
    /// NOSPACE stands in this member's name, for another reason than its disk.
    pub(super) alarmed: bool,
    /// The alarm of the full disk stands in this member's name.
    pub(super) disk_alarmed: bool,
    /// Bytes of the store that are in use.
    pub(super) in_use: u64,
}

/// What can be seen of a disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskLook {
    /// What its reserve should be, bytes; 0 for none, and then nobody looks at the disk.
    pub(super) reserve: u64,
    /// Free bytes, if that is known.
    pub(super) available: Option<u64>,
    /// What the reserve lacks, bytes.
    pub(super) missing: u64,
    /// Somebody has opened it, because the disk is full.
    pub(super) opened: bool,
    /// Bytes that are yet to be written to it, until the log can be shortened: what the engine's
    /// next save takes.
    pub(super) unsaved: u64,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The size in use has reached this percentage of the quota.
    Warn(u64),
    /// This disk is full: what grows is refused.
    Refuse(On),
    /// Raise the alarm of the full disk.
    Raise,
    /// Fill the reserve there with so many bytes at most; for this disk what grows may come.
    Fill(On, u64),
    /// There is room again on all disks.
    GoOn,
    /// Disarm this alarm.
    Disarm(AlarmKind),
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Outlook {
    rules: Rules,
    full: [bool; 2],
    /// Nothing was seen yet.
    is_new: bool,
    warned: [bool; WARNINGS.len()],
}

impl Outlook {
    /// Nothing was seen yet.
    pub(super) fn new(rules: Rules) -> Outlook {
        let warned = [false; WARNINGS.len()];
        Outlook { rules, full: [false; 2], is_new: true, warned }
    }

    /// Whether a disk is full.
    pub(super) fn is_full(&self) -> bool {
        self.full.contains(&true)
    }

    /// What is to be done.
    pub(super) fn decide(&mut self, look: &Look) -> Vec<Act> {
        let mut acts = Vec::new();
        self.warn(look, &mut acts);
        self.watch_disks(look, &mut acts);
        if look.alarmed && !self.is_full() && self.may_go(look) {
            acts.push(Act::Disarm(AlarmKind::NoSpace));
        }
        self.is_new = false;
        acts
    }

    fn warn(&mut self, look: &Look, acts: &mut Vec<Act>) {
        let Some(quota) = self.rules.quota else { return };
        for (percent, warned) in WARNINGS.into_iter().zip(&mut self.warned) {
            let reaches = |percent| reaches(look.in_use, quota, percent);
            if reaches(percent) && !*warned {
                *warned = true;
                acts.push(Act::Warn(percent));
            }
            *warned &= reaches(percent - WARNING_SLACK);
        }
    }

    fn watch_disks(&mut self, look: &Look, acts: &mut Vec<Act>) {
        let (mut enough, mut again) = self.watch_disk(On::Data, &look.data, acts);
        if let Some(log) = &look.log {
            let (enough_there, again_there) = self.watch_disk(On::Log, log, acts);
            enough &= enough_there;
            again |= again_there;
        }
        if self.is_full() {
            acts.extend((!look.disk_alarmed).then_some(Act::Raise));
            return;
        }
        acts.extend(again.then_some(Act::GoOn));
        // Also one that comes late, or was raised under other rules.
        if look.disk_alarmed && enough {
            acts.push(Act::Disarm(AlarmKind::DiskFull));
        }
    }

    /// Says whether there is enough room on a disk, and whether that is so after it was full.
    fn watch_disk(&mut self, on: On, disk: &DiskLook, acts: &mut Vec<Act>) -> (bool, bool) {
        let reserve = disk.reserve;
        if reserve == 0 {
            return (true, false);
        }
        let room = room(disk.available, disk.unsaved);
        let enough = reserve / 4 * 3;
        if !self.full[on as usize] && (disk.opened || is_low(room, reserve)) {
            self.full[on as usize] = true;
            acts.push(Act::Refuse(on));
        }
        let has_enough = room >= disk.missing.saturating_add(enough);
        let fill = Act::Fill(on, room.saturating_sub(enough));
        if self.full[on as usize] && has_enough {
            self.full[on as usize] = false;
            acts.push(fill);
            return (true, true);
        }
        if !self.full[on as usize] && disk.missing > 0 && (has_enough || self.is_new) {
            // At the start as far as there is room, and later all of it.
            acts.push(fill);
        }
        (has_enough, false)
    }

    /// Whether the operator lets the quota's alarm go.
    fn may_go(&self, look: &Look) -> bool {
        let rules = self.rules.quota.zip(self.rules.disarm_percent);
        rules.is_some_and(|(quota, percent)| {
            u128::from(look.in_use) * 100 <= u128::from(quota) * u128::from(percent)
        })
    }
}

/// What is left of the free bytes, if these are known, when the engine has saved itself.
pub(super) fn room(available: Option<u64>, unsaved: u64) -> u64 {
    available.unwrap_or(u64::MAX).saturating_sub(unsaved)
}

/// Whether so little is left that what grows is refused.
pub(super) fn is_low(room: u64, reserve: u64) -> bool {
    room < reserve / 2
}

/// Whether `in_use` is this percentage of `quota`, or more.
fn reaches(in_use: u64, quota: u64, percent: u64) -> bool {
    u128::from(in_use) * 100 >= u128::from(quota) * u128::from(percent)
}

#[cfg(test)]
mod tests;
