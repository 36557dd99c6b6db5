//! What must hold of jobs and of what makes them: crons and workflows.

use std::collections::{BTreeMap, BTreeSet};

use mason_core::control::cron::{self, CronProgress};
use mason_core::record::{JobRecord, PRINTED, PastRecord, Phase, Progress, StateRecord};
use mason_core::spec::{Catchup, Overlap, Work};
use mason_core::types::{JobKey, Uid};

use super::Reach;
use super::duties::retries;
use crate::flows::{Flow, is_met};

/// Crons tick at whole ones, milliseconds.
const MINUTE: u64 = 60_000;

/// Who looks at jobs.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: BTreeMap<JobKey, Flow>,
    records: BTreeMap<JobKey, JobRecord>,
    states: BTreeMap<JobKey, StateRecord>,
    /// Jobs that were made, by what tells one from another of its name.
    made: BTreeSet<(JobKey, Uid)>,
    printed: BTreeMap<JobKey, String>,
    /// How far crons are, of which that is still to be looked at.
    ticks: BTreeMap<JobKey, CronProgress>,
    /// How often each workflow ended.
    ends: BTreeMap<(JobKey, Uid), u32>,
}

impl Flows {
    pub(super) fn new(flows: Vec<Flow>) -> Flows {
        let flows = flows.into_iter().map(|flow| (flow.key.clone(), flow)).collect();
        Flows { flows, ..Flows::default() }
    }

    /// Where a job stands; none if there is no such job.
    fn phase(&self, key: &JobKey) -> Option<Phase> {
        let begun = self.states.get(key).map(|state| state.phase);
        begun.or_else(|| self.records.contains_key(key).then_some(Phase::Waiting))
    }

    fn children(&self, key: &JobKey) -> impl Iterator<Item = &JobKey> {
        let its = self.records.iter().filter(move |(_, it)| it.owner.as_ref() == Some(key));
        its.map(|(child, _)| child)
    }

    pub(super) fn job(&mut self, key: &JobKey, record: Option<JobRecord>, reach: &mut Reach) {
        let Some(record) = record else {
            self.records.remove(key);
            let left = self.children(key).next();
            assert!(left.is_none(), "W5: {key} is gone, and a job of its is left: {left:?}");
            return;
        };
        let uid = record.uid.clone();
        let is_deleted = record.deleted;
        match self.records.insert(key.clone(), record) {
            Some(old) => {
                assert_eq!(old.uid, uid, "W1: {key} is made, and it is there");
                if is_deleted && !old.deleted {
                    self.look_at_deletion(key);
                }
            }
            None => self.made(key, reach),
        }
    }

    /// What a maker that stays deletes is worth nothing any more.
    fn look_at_deletion(&self, key: &JobKey) {
        let Some(owner) = &self.records[key].owner else { return };
        let Some(maker) = self.records.get(owner).filter(|it| !it.deleted) else { return };
        let phase = self.phase(key);
        if let Work::Cron(cron) = &maker.work {
            let is_over = phase.is_some_and(Phase::is_final) || cron.overlap == Overlap::Replace;
            assert!(is_over, "C3: {key} is forgotten, and is {phase:?}");
        }
        let rule = self.flows.get(owner).and_then(|flow| flow.rules.get(key));
        if rule.is_some_and(|rule| rule.after.is_empty()) {
            let is_bad = phase != Some(Phase::Succeeded);
            assert!(is_bad, "W7: {key} goes, and did well, and waited for nothing");
        }
    }

    /// A job was made.
    fn made(&mut self, key: &JobKey, reach: &mut Reach) {
        let record = &self.records[key];
        let Some(owner) = &record.owner else { return };
        let is_new = self.made.insert((key.clone(), record.uid.clone()));
        assert!(is_new, "W1: {key} is made a second time");
        let maker = self.records.get(owner);
        let maker = maker.unwrap_or_else(|| panic!("W5: {key} is made, and {owner} is gone"));
        if let Work::Cron(cron) = &maker.work {
            reach.saw("a cron makes a job");
            let mut others = self.children(owner).filter(|it| *it != key);
            let active = others.find(|it| !self.phase(it).is_some_and(Phase::is_final));
            let is_alone = cron.overlap != Overlap::Forbid || active.is_none();
            assert!(is_alone, "C1: {key} is made while {active:?} goes on");
        }
        if let Some(flow) = self.flows.get(owner) {
            reach.saw("a workflow makes a job");
            self.look_at_step(key, record, flow, reach);
        }
    }

    /// It is the turn of a step.
    fn look_at_step(&self, key: &JobKey, record: &JobRecord, flow: &Flow, reach: &mut Reach) {
        let phase = self.phase(&flow.key);
        assert!(phase.is_none_or(|it| !it.is_final()), "W3: {key} is made after the end");
        let rule = flow.rules.get(key).expect("W1: a job that nobody wished for");
        for (on, verb) in &rule.after {
            let phase = self.phase(on);
            assert!(is_met(*verb, phase), "W2: {key} waits for {on}: {verb:?} and {phase:?}");
        }
        if let (Some(on), Work::Job(job)) = (&rule.told, &record.work) {
            reach.saw("a step is told what another printed");
            let printed = self.printed.get(on).expect("W4: it printed something");
            let told = job.task.args.last().map(String::as_str);
            assert_eq!(told, Some(printed.trim_end()), "W4: {key} is told what {on} printed");
        }
    }

    pub(super) fn past(&mut self, key: JobKey, past: Option<&PastRecord>) {
        match past.and_then(|past| past.exit.outputs.get(PRINTED)) {
            Some(printed) => drop(self.printed.insert(key, printed.clone())),
            None => drop(self.printed.remove(&key)),
        }
    }

    pub(super) fn state(&mut self, key: &JobKey, new: Option<StateRecord>, reach: &mut Reach) {
        let Some(new) = new else {
            self.states.remove(key);
            return;
        };
        let old = self.states.get(key).filter(|old| old.uid == new.uid);
        let was = old.map(|old| old.phase);
        if let Some(old) = old.filter(|old| old.phase.is_final()) {
            let is_same = (old.phase, old.since) == (new.phase, new.since);
            assert!(
                is_same || retries(old) < retries(&new),
                "W3: {key} was {:?} and is {:?}, and nobody asked to try it again",
                old.phase,
                new.phase
            );
            if !is_same {
                reach.saw("something is tried again");
                let left = self.children(key).find(|it| self.phase(it) != Some(Phase::Succeeded));
                assert!(left.is_none(), "W7: {key} is tried again, and {left:?} is left as it was");
            }
        }
        if let Progress::Cron(progress) = &new.progress {
            self.ticks.insert(key.clone(), CronProgress::read(progress).expect("progress reads"));
        }
        let (uid, phase) = (new.uid.clone(), new.phase);
        self.states.insert(key.clone(), new);
        if phase.is_final() && was != Some(phase) {
            self.look_at_end(key, uid, phase, reach);
        }
    }

    /// A whole transaction was seen: what a cron says that it made is made.
    pub(super) fn look_at_ticks(&mut self) {
        for (key, progress) in std::mem::take(&mut self.ticks) {
            let Some(Work::Cron(cron)) = self.records.get(&key).map(|it| &it.work) else {
                continue;
            };
            // The newest of all ticks that are dealt with: on time or not, it is made.
            let is_made = cron.catchup != Catchup::None && cron.overlap != Overlap::Forbid;
            let newest = progress.last_tick / MINUTE;
            let is_past = newest * MINUTE > self.records[&key].created_at;
            if is_made && is_past && !cron.suspend {
                let name = cron::child_name(&key.name, &newest.to_string());
                let child = JobKey::new(&key.namespace, &name);
                let was_made = self.made.iter().any(|(it, _)| *it == child);
                assert!(was_made, "C2: {key} has dealt with a tick, and never made {child}");
            }
        }
    }

    fn look_at_end(&mut self, key: &JobKey, uid: Uid, phase: Phase, reach: &mut Reach) {
        let Some(flow) = self.flows.get(key) else { return };
        reach.saw(match phase {
            Phase::Succeeded => "a workflow succeeds",
            _ => "a workflow fails",
        });
        let ends = self.ends.entry((key.clone(), uid)).or_default();
        *ends += 1;
        let retries = self.records.get(key).map_or(0, |record| record.retries);
        assert!(*ends <= 1 + retries, "W3: {key} ended {ends} times, with {retries} retries");
        for child in self.children(key) {
            let phase = self.phase(child);
            assert!(phase.is_some_and(Phase::is_final), "W3: {child} outlives {key}");
        }
        if phase == Phase::Succeeded {
            for (child, _) in flow.rules.iter().filter(|(_, rule)| !rule.is_optional) {
                let phase = self.phase(child);
                assert_eq!(phase, Some(Phase::Succeeded), "W6: {key} did well without {child}");
            }
            for (child, _) in flow.rules.iter().filter(|(_, rule)| rule.is_end) {
                let phase = self.phase(child);
                let is_well = phase.is_none_or(|it| it == Phase::Succeeded);
                assert!(is_well, "W6: {key} did well, and its end {child} is {phase:?}");
            }
        }
    }
}
