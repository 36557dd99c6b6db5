//! What must hold of workflows and their jobs.

use std::collections::{BTreeMap, BTreeSet};

use mason_core::record::{JobRecord, PRINTED, PastRecord, Phase, StateRecord};
use mason_core::spec::Work;
use mason_core::types::{JobKey, Uid};

use crate::flows::{Flow, is_met};

/// Who looks at workflows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: BTreeMap<JobKey, Flow>,
    records: BTreeMap<JobKey, JobRecord>,
    phases: BTreeMap<JobKey, Phase>,
    /// Jobs that were made, by what tells one from another of its name.
    made: BTreeSet<(JobKey, Uid)>,
    printed: BTreeMap<JobKey, String>,
    /// How often each workflow ended.
    ends: BTreeMap<(JobKey, Uid), u32>,
}

impl Flows {
    pub(super) fn new(flows: Vec<Flow>) -> Flows {
        let flows = flows.into_iter().map(|flow| (flow.key.clone(), flow)).collect();
        Flows { flows, ..Flows::default() }
    }

    pub(super) fn job(&mut self, key: &JobKey, record: Option<JobRecord>) {
        let Some(record) = record else {
            self.records.remove(key);
            let left = self.records.iter().find(|(_, it)| it.owner.as_ref() == Some(key));
            assert!(left.is_none(), "W5: {key} is gone, and a job of its is left: {left:?}");
            return;
        };
        if self.records.insert(key.clone(), record.clone()).is_none() {
            self.made(key, &record);
        }
    }

    /// A job was made.
    fn made(&mut self, key: &JobKey, record: &JobRecord) {
        let Some(flow) = record.owner.as_ref().and_then(|owner| self.flows.get(owner)) else {
            return;
        };
        let is_new = self.made.insert((key.clone(), record.uid.clone()));
        assert!(is_new, "W1: {key} is made once an attempt");
        let phase = self.phases.get(&flow.key);
        assert!(phase.is_none_or(|it| !it.is_final()), "W3: {key} is made after the end");
        let rule = flow.rules.get(key).expect("W1: a job that nobody wished for");
        for (on, verb) in &rule.after {
            let phase = self.phases.get(on).copied();
            assert!(is_met(*verb, phase), "W2: {key} waits for {on}: {verb:?} and {phase:?}");
        }
        if let (Some(on), Work::Job(job)) = (&rule.told, &record.work) {
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

    pub(super) fn state(&mut self, key: &JobKey, state: Option<&StateRecord>) {
        let Some(state) = state else {
            self.phases.remove(key);
            return;
        };
        let was = self.phases.insert(key.clone(), state.phase);
        let Some(flow) = self.flows.get(key) else { return };
        if !state.phase.is_final() || was == Some(state.phase) {
            return;
        }
        let ends = self.ends.entry((key.clone(), state.uid.clone())).or_default();
        *ends += 1;
        let retries = self.records.get(key).map_or(0, |record| record.retries);
        assert!(*ends <= 1 + retries, "W3: {key} ended {ends} times, with {retries} retries");
        for (child, record) in &self.records {
            if record.owner.as_ref() == Some(key) {
                let phase = self.phases.get(child);
                assert!(phase.is_some_and(|it| it.is_final()), "W3: {child} outlives {key}");
            }
        }
        if state.phase == Phase::Succeeded {
            for (child, rule) in flow.rules.iter().filter(|(_, rule)| !rule.is_optional) {
                let phase = self.phases.get(child);
                assert_eq!(phase, Some(&Phase::Succeeded), "W6: {key} did well without {child}");
                assert!(rule.told.is_none() || self.records.contains_key(child));
            }
        }
    }
}
