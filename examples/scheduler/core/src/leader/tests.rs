//! A leader over a store that does what it is told, and agents that end what the test says.

mod lanes;

use std::collections::BTreeMap;

use super::*;
use crate::mirror::Change;
use crate::record::{
    self, AliveRecord, Ending, Exit, Mark, NodeRecord, PRINTED, Phase, Reason, ResultRecord,
    RunRecord, Wish,
};
use crate::spec::{self, Dependency, DependencyMode, DependencyWhen, Resources, Task};
use crate::txn::Op;

const START: UnixMs = 1_000_000;

/// A leader, its copy, and the store as one: whatever it sends is done at once.
struct Office {
    mirror: Mirror,
    keys: BTreeMap<String, (Revision, Revision)>,
    revision: Revision,
    leader: Leader,
    now: UnixMs,
}

impl Office {
    fn new() -> Office {
        let mut mirror = Mirror::new(Keys::default());
        mirror.advance(1);
        let lead = Change {
            path: "/mason/lead/1".to_owned(),
            value: Some(b"{}".to_vec()),
            made: 1,
            changed: 1,
        };
        mirror.apply(&lead);
        let fence = crate::protocol::Office { key: lead.path.clone(), made: 1 };
        let leader = Leader::take_over(Config::default(), fence, 7, &mirror);
        let keys = BTreeMap::from([(lead.path, (1, 1))]);
        let mut office = Office { mirror, keys, revision: 1, leader, now: START };
        let capacity = Resources { cpu: 64_000, memory: 1 << 40, disk: 0, pids: 0 };
        office.put(&Key::Node("n1".into()), &NodeRecord { capacity, ..NodeRecord::default() });
        let (epoch, address, since) = (1, String::new(), 0);
        let alive = AliveRecord { epoch, address, gossip: None, since, images: Vec::new() };
        office.put(&Key::Alive("n1".into()), &alive);
        office
    }

    fn put<T: serde::Serialize>(&mut self, key: &Key, value: &T) {
        let path = self.mirror.keys().path(key);
        assert!(self.commit(&Txn::new().put(path, record::encode(value))));
    }

    fn commit(&mut self, txn: &Txn) -> bool {
        let holds = txn.when.iter().all(|compare| {
            let (made, changed) = self.keys.get(compare.key()).copied().unwrap_or_default();
            compare.holds(made, changed)
        });
        if !holds {
            return false;
        }
        self.revision += 1;
        let mut heard = Vec::new();
        for op in &txn.then {
            let change = match op {
                Op::Put { key, value, .. } => {
                    let made = self.keys.get(key).map_or(self.revision, |it| it.0);
                    self.keys.insert(key.clone(), (made, self.revision));
                    let (path, value) = (key.clone(), Some(value.clone()));
                    Change { path, value, made, changed: self.revision }
                }
                Op::Delete(key) => {
                    self.keys.remove(key);
                    Change { path: key.clone(), value: None, made: 0, changed: self.revision }
                }
            };
            heard.extend(self.mirror.apply(&change));
        }
        self.mirror.advance(self.revision);
        heard.iter().for_each(|key| self.leader.heard(&self.mirror, key));
        true
    }

    /// Decides, until there is nothing more to decide now.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let orders = self.leader.step(&self.mirror, self.now);
            if orders.is_empty() {
                self.leader.check(&self.mirror);
                return;
            }
            for order in orders {
                let outcome = match self.commit(&order.txn) {
                    true => Outcome::Done(self.revision),
                    false => Outcome::Refused(self.revision),
                };
                self.leader.outcome(order.flight, outcome, &self.mirror, self.now);
            }
        }
        panic!("it decides without end");
    }

    /// All that runs now ends: of each, its exit code and what it printed are asked for.
    fn end(&mut self, how: impl Fn(&RunRecord) -> (i32, &'static str)) {
        self.settle();
        let runs: Vec<_> = self.mirror.runs().map(|(run, it)| (run.clone(), it.clone())).collect();
        for (run, it) in runs {
            let (node, entry) = it.record.expect("it is bound");
            let (code, printed) = how(&entry.value);
            let stopped = entry.value.wish != Wish::Run;
            let reason = if stopped { Reason::Stopped } else { Reason::Exited };
            let mut exit = Exit { code: Some(code), ..Exit::without_code(reason, "", self.now) };
            exit.outputs.insert(PRINTED.to_owned(), format!("{printed}\n"));
            let result = ResultRecord { task: entry.value.task.clone(), node, exit };
            self.put(&Key::Result(run), &result);
        }
        self.settle();
    }

    fn make(&mut self, name: &str, work: Work) -> JobRecord {
        let record = JobRecord::new(name, work, self.now);
        self.put(&Key::Job(JobKey::new("a", name)), &record);
        self.settle();
        record
    }

    fn phase(&self, name: &str) -> (Phase, String) {
        let state = &self.mirror.job(&JobKey::new("a", name)).unwrap().state;
        let state = &state.as_ref().unwrap().value;
        (state.phase, state.message.clone())
    }

    fn args(&self, run: &RunRecord) -> String {
        self.mirror.spec(&run.spec).unwrap().value.args.join(" ")
    }

    fn running(&self) -> Vec<String> {
        let records = self.mirror.runs().filter_map(|(_, it)| it.record.as_ref());
        let mut all: Vec<String> = records.map(|(_, it)| self.args(&it.value)).collect();
        all.sort();
        all
    }
}

/// Two steps, of which the second is told what the first printed.
fn flow() -> spec::Workflow {
    let text = r#"{
        "entrypoint": "main",
        "templates": [
            {"name": "main", "body": {"steps": [
                [{"name": "a", "template": "plain"}],
                [{"name": "b", "template": "told", "arguments": {"parameters": [
                    {"name": "x", "value": "{{steps.a.outputs.result}}"}]}}]]}},
            {"name": "plain", "body": {"task": {"task": TASK}}},
            {"name": "told", "inputs": {"parameters": [{"name": "x"}]},
                "body": {"task": {"task": TOLD}}}]}"#;
    let task = |args: &[&str]| serde_json::to_string(&Task::new("image", args)).unwrap();
    let text = text.replace("TASK", &task(&["a"]));
    serde_json::from_str(&text.replace("TOLD", &task(&["b", "{{inputs.parameters.x}}"]))).unwrap()
}

fn array(count: u32, on: Option<(&str, DependencyMode)>) -> Work {
    let mut job = spec::Job::single(Task::new("image", &["x"]));
    (job.count, job.failures_max) = (count, count);
    let when = DependencyWhen::Succeeded;
    job.depends_on =
        on.into_iter().map(|(on, mode)| Dependency { job: on.into(), when, mode }).collect();
    Work::Job(job)
}

/// What a step printed is what the next is told, and the whole is over with the last.
#[test]
fn a_workflow_runs_step_by_step() {
    let mut office = Office::new();
    office.make("w", Work::Workflow(flow()));
    assert_eq!(office.running(), ["a"]);
    office.end(|_| (0, "seven"));
    assert_eq!(office.running(), ["b seven"]);
    office.end(|_| (0, ""));
    assert_eq!(office.phase("w"), (Phase::Succeeded, String::new()));
    let nodes = workflow_nodes(&office.mirror, &JobKey::new("a", "w"), office.now).unwrap();
    assert_eq!(nodes[0].children[0].told.result.as_deref(), Some("seven"));
}

/// Tried again, it goes on where it failed, with what was printed before.
#[test]
fn a_failed_workflow_goes_on_when_asked() {
    let mut office = Office::new();
    let record = office.make("w", Work::Workflow(flow()));
    office.end(|_| (0, "seven"));
    office.end(|_| (1, ""));
    assert_eq!(office.phase("w").0, Phase::Failed);
    office.put(&Key::Job(JobKey::new("a", "w")), &JobRecord { retries: 1, ..record });
    office.settle();
    assert_eq!(office.running(), ["b seven"]);
    office.end(|_| (0, ""));
    assert_eq!(office.phase("w").0, Phase::Succeeded);
}

/// A workflow that is stopped stops its jobs, keeps them, and says why it is over.
#[test]
fn a_stopped_workflow_keeps_its_jobs() {
    let mut office = Office::new();
    let mut record = office.make("w", Work::Workflow(flow()));
    record.asks.end = Some(Ending::Stop);
    office.put(&Key::Job(JobKey::new("a", "w")), &record);
    office.end(|_| (143, ""));
    assert_eq!(office.phase("w"), (Phase::Failed, "stopped".to_owned()));
    assert_eq!(office.mirror.children_of(&JobKey::new("a", "w")).count(), 1);
}

/// A cron's workflow is no more deleted than its jobs are: all of them go with the cron, and the
/// last key of it after theirs.
#[test]
fn what_an_orphan_made_is_an_orphan() {
    let mut office = Office::new();
    let cron = spec::Cron {
        schedule: "* * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        catchup: spec::Catchup::None,
        overlap: spec::Overlap::Allow,
        start_deadline: None,
        keep_succeeded: 2,
        keep_failed: 2,
        suspend: false,
        each: spec::CronWork::Workflow(Box::new(flow())),
    };
    let record = office.make("c", Work::Cron(cron));
    office.now = 1_020_000;
    office.settle();
    assert_eq!(office.running(), ["a"]);
    office.put(&Key::Job(JobKey::new("a", "c")), &JobRecord { deleted: true, ..record });
    office.end(|_| (143, ""));
    let left: Vec<_> = office.mirror.jobs().map(|(key, _)| key.to_string()).collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(office.mirror.specs().count(), 0);
}

/// A task whose counterpart failed never runs and does not wait for ever, either; the others do not
/// suffer from it.
#[test]
fn tasks_that_wait_in_vain_are_cancelled_index_by_index() {
    let mut office = Office::new();
    office.make("on", array(3, None));
    office.make("job", array(4, Some(("on", DependencyMode::Index))));
    assert_eq!(office.phase("job"), (Phase::Active, "task by task it waits for `on`".to_owned()));
    office.end(|run| (i32::from(run.task.index == 1), ""));
    let job = office.mirror.job(&JobKey::new("a", "job")).unwrap();
    let marks: Vec<Mark> = (0..4).map(|index| job.mark(index)).collect();
    assert_eq!(marks, [Mark::None, Mark::Cancelled, Mark::None, Mark::Cancelled]);
    assert_eq!(office.running(), ["x", "x"]);
    office.end(|_| (0, ""));
    let why = "2 of 4 tasks were cancelled: what it waited for ended in another way";
    assert_eq!(office.phase("job"), (Phase::Failed, why.to_owned()));
}

/// If none of its tasks can begin, it is skipped, as if it waited for the whole.
#[test]
fn a_job_of_which_nothing_can_begin_is_skipped() {
    for mode in [DependencyMode::Index, DependencyMode::Whole] {
        let mut office = Office::new();
        office.make("job", array(2, Some(("on", mode))));
        assert!(office.phase("job").1.ends_with("it waits for `on`, which is not there"));
        let mut on = spec::Job::single(Task::new("image", &["x"]));
        on.count = 2;
        office.make("on", Work::Job(on));
        office.end(|_| (1, ""));
        let why = "what it waited for ended in another way".to_owned();
        assert_eq!(office.phase("job"), (Phase::Skipped, why), "{mode:?}");
    }
}

/// More tasks have ended than one transaction can forget: the next goes on where that ended, though
/// nothing else of the job changes any more.
#[test]
fn a_job_of_which_much_is_kept_goes_bit_by_bit() {
    let mut office = Office::new();
    let record = office.make("many", array(250, None));
    while office.mirror.runs().next().is_some() {
        office.end(|_| (0, ""));
    }
    let key = JobKey::new("a", "many");
    assert_eq!(office.mirror.job(&key).unwrap().pasts.len(), 250);
    office.put(&Key::Job(key.clone()), &JobRecord { deleted: true, ..record });
    office.settle();
    assert!(office.mirror.job(&key).is_none(), "{:?}", office.mirror.job(&key));
}

/// A job that is gone leaves nothing behind in what the leader remembers.
#[test]
fn a_job_that_goes_is_forgotten() {
    let mut office = Office::new();
    let one = office.make("one", array(1_000, Some(("two", DependencyMode::Whole))));
    let two = office.make("two", array(100_000, None));
    assert!(!office.leader.queue.is_empty() || !office.leader.stuck.is_empty());
    for (name, record) in [("one", one), ("two", two)] {
        let key = Key::Job(JobKey::new("a", name));
        office.put(&key, &JobRecord { deleted: true, ..record });
    }
    office.end(|_| (143, ""));
    let leader = &office.leader;
    assert!(leader.queue.is_empty() && leader.stuck.is_empty() && leader.waiting_on.is_empty());
    assert!(leader.jobs.is_empty() && office.mirror.jobs().next().is_none());
}
