//! What is to be done about room: decided from a look at it now and then, and from nothing else.
//!
//! ```text
//!   size in use:   0 ──────────────── disarm ──── 80 % ── 90 % ── quota
//!                                     percent     a warning each    NOSPACE, by whoever puts
//!
//!   free bytes:    0 ──────────── 1/2 ──── 3/4 ──────────►   of the reserve, and beside it what
//!                      refused           goes on again       the engine has to write
//! ```
//!
//! The log may be on a disk of its own: then both are looked at, and full is whoever has one that
//! is. While a disk is full what grows is refused here, and NOSPACE is raised in this member's name, so
//! that it is refused by all. This alarm goes when the disk has room again and the reserve is
//! whole: it says how the disk is, and nobody needs to look whether that is so. An alarm that stood
//! before, or that the quota has raised, is an operator's to disarm, unless he has said that it
//! may go by itself.

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
    /// NOSPACE stands in this member's name.
    pub(super) alarmed: bool,
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
    /// Bytes that are yet to be written to it, until the log can be shortened.
    pub(super) unsaved: u64,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The size in use has reached this percentage of the quota.
    Warn(u64),
    /// This disk is full: what grows is refused.
    Refuse(On),
    /// Raise NOSPACE.
    Raise,
    /// Fill the reserve there with so many bytes at most; for this disk what grows may come.
    Fill(On, u64),
    /// There is room again on all disks.
    GoOn,
    /// Disarm NOSPACE.
    Disarm,
}

/// What was seen so far.
///
/// - `raised` implies that a disk is `full`, or that the alarm is about to go.
#[derive(Debug)]
pub(super) struct Outlook {
    rules: Rules,
    full: [bool; 2],
    /// The alarm that stands is the full disk's.
    raised: bool,
    /// The alarm stood when the disk was not full yet; unknown at first.
    alarmed_before: Option<bool>,
    warned: [bool; WARNINGS.len()],
}

impl Outlook {
    /// Nothing was seen yet.
    pub(super) fn new(rules: Rules) -> Outlook {
        let warned = [false; WARNINGS.len()];
        Outlook { rules, full: [false; 2], raised: false, alarmed_before: None, warned }
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
        if look.alarmed && !self.is_full() && (self.raised || self.may_go(look)) {
            acts.push(Act::Disarm);
        }
        if !self.is_full() {
            self.raised &= look.alarmed;
            self.alarmed_before = Some(look.alarmed && !self.raised);
        }
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
        let mut has_room_again = self.watch_disk(On::Data, &look.data, look, acts);
        if let Some(log) = &look.log {
            has_room_again |= self.watch_disk(On::Log, log, look, acts);
        }
        if !self.is_full() {
            acts.extend(has_room_again.then_some(Act::GoOn));
        } else if !look.alarmed {
            self.raised = true;
            acts.push(Act::Raise);
        }
    }

    /// Says whether the disk was full, and has room again.
    fn watch_disk(&mut self, on: On, disk: &DiskLook, look: &Look, acts: &mut Vec<Act>) -> bool {
        let reserve = disk.reserve;
        if reserve == 0 {
            return false;
        }
        let room = disk.available.unwrap_or(u64::MAX).saturating_sub(disk.unsaved);
        let (floor, enough) = (reserve / 2, reserve / 4 * 3);
        if !self.full[on as usize] && (disk.opened || room < floor) {
            if !self.is_full() {
                // After a restart nobody knows: the alarm is the disk's, unless the quota has
                // cause.
                let over_quota = || self.rules.quota.is_some_and(|quota| look.in_use >= quota);
                self.raised = !self.alarmed_before.unwrap_or_else(|| look.alarmed && over_quota());
            }
            self.full[on as usize] = true;
            acts.push(Act::Refuse(on));
        }
        let whole = disk.missing.saturating_add(enough);
        let spare = room.saturating_sub(enough);
        if self.full[on as usize] {
            if room < whole {
                return false;
            }
            self.full[on as usize] = false;
            acts.push(Act::Fill(on, spare));
            return true;
        }
        if disk.missing > 0 && (room >= whole || self.alarmed_before.is_none()) {
            // At the start as far as there is room, and later all of it.
            acts.push(Act::Fill(on, spare));
        }
        false
    }

    /// Whether the operator lets the quota's alarm go.
    fn may_go(&self, look: &Look) -> bool {
        let rules = self.rules.quota.zip(self.rules.disarm_percent);
        rules.is_some_and(|(quota, percent)| {
            u128::from(look.in_use) * 100 <= u128::from(quota) * u128::from(percent)
        })
    }
}

/// Whether `in_use` is this percentage of `quota`, or more.
fn reaches(in_use: u64, quota: u64, percent: u64) -> bool {
    u128::from(in_use) * 100 >= u128::from(quota) * u128::from(percent)
}

#[cfg(test)]
mod tests;
