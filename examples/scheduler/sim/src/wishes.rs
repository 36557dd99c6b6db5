//! What users and operators want, by when: jobs, services, crons, workflows, and nodes that give up
//! their tasks for a while.

use std::collections::BTreeMap;

use drystone_sim::Rng;
use mason_core::keys::{Key, Keys};
use mason_core::leader::spec_hash;
use mason_core::record::{self, Asks, Drain, Ending, JobRecord, NodeRecord, Taint, TaintEffect};
use mason_core::spec::{self, Concurrency, Resources, Task, Work};
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::{JobKey, NodeId};

use crate::flows::{self, Flow};
use crate::plan::Plan;

/// What people call the time when a day begins, give or take some seconds.
pub const DAWN: u64 = 1_000_000_000;

/// All that is wanted of one day.
#[derive(Debug, Default)]
pub struct Wishes {
    /// What is made, besides what that makes.
    pub keys: Vec<JobKey>,
    /// Workflows, and what is known of them.
    pub flows: Vec<Flow>,
    /// What users do, by when. They try again until it is done.
    pub writes: BTreeMap<(u64, usize), Txn>,
}

impl Wishes {
    /// Draws some.
    pub fn draw(plan: &Plan, rng: &mut Rng) -> Wishes {
        let mut wishes = Wishes::default();
        for number in 0..plan.jobs {
            wishes.job(number, plan, rng);
        }
        for number in 0..rng.below(3) {
            wishes.service(number, plan, rng);
        }
        if rng.below(3) == 0 {
            wishes.cron(plan, rng);
        }
        for number in 0..rng.below(4) {
            wishes.flow(number, plan, rng);
        }
        wishes.close_nodes(plan, rng);
        wishes
    }

    fn later(&mut self, at: u64, txn: Txn) {
        let count = self.writes.len();
        self.writes.insert((at, count), txn);
    }

    /// Somebody makes it, if there is none of its name.
    fn make(&mut self, at: u64, key: &JobKey, record: &JobRecord) {
        let path = Keys::default().path(&Key::Job(key.clone()));
        let when = vec![Compare::Absent(path.clone())];
        self.later(at, Txn { when, then: vec![put(path, record)] });
        self.keys.push(key.clone());
    }

    /// Somebody changes it, if it is there.
    fn change(&mut self, at: u64, key: &JobKey, record: &JobRecord) {
        let path = Keys::default().path(&Key::Job(key.clone()));
        let when = vec![Compare::Present(path.clone())];
        self.later(at, Txn { when, then: vec![put(path, record)] });
    }

    fn job(&mut self, number: u32, plan: &Plan, rng: &mut Rng) {
        let key = JobKey::new("a", &format!("job-{number}"));
        let at = rng.below(plan.trouble);
        let mut each = job(rng);
        if number > 0 && rng.below(4) == 0 {
            let on = rng.below(u64::from(number));
            let modes = [spec::DependencyMode::Whole, spec::DependencyMode::Index];
            each.depends_on.push(spec::Dependency {
                job: format!("job-{on}"),
                when: *rng.pick(&[spec::DependencyWhen::Succeeded, spec::DependencyWhen::Finished]),
                mode: *rng.pick(&modes),
            });
        }
        let record = record(&format!("uid-{number}"), Work::Job(each.clone()));
        self.make(at, &key, &record);
        match rng.below(10) {
            0 | 1 => {
                let gone = JobRecord { deleted: true, ..record.clone() };
                self.change(at + rng.below(60_000), &key, &gone);
            }
            2 | 3 => {
                let mut held = record.clone();
                held.work = Work::Job(spec::Job { suspend: true, ..each });
                let from = at + rng.below(20_000);
                self.change(from, &key, &held);
                self.change(from + rng.below(60_000), &key, &record);
            }
            4 => {
                let asks = Asks { end: Some(Ending::Stop), ..Asks::default() };
                self.change(at + rng.below(60_000), &key, &JobRecord { asks, ..record });
            }
            _ => {}
        }
    }

    fn service(&mut self, number: u64, plan: &Plan, rng: &mut Rng) {
        let key = JobKey::new("a", &format!("service-{number}"));
        let mut service = service(rng);
        let mut at = rng.below(plan.trouble / 2);
        let make = |generation: u64, service: &spec::Service| {
            let work = Work::Service(service.clone());
            JobRecord { generation, ..record(&format!("uid-{}", 100 + number), work) }
        };
        self.make(at, &key, &make(1, &service));
        for generation in 2..2 + rng.below(4) {
            at += rng.below(plan.trouble / 3);
            match rng.below(3) {
                0 => service.replicas = u32::try_from(rng.below(5)).expect("small"),
                1 => service.suspend = !service.suspend,
                _ => service.task.args = vec![format!("version {}", rng.below(1000))],
            }
            if generation > 4 {
                service.suspend = false;
            }
            self.change(at, &key, &make(generation, &service));
        }
        service.suspend = false;
        // The last version is a good one; what becomes of a service that has none is anyone's
        // guess.
        while crate::host::is_bad(&spec_hash(&service.task)) {
            service.task.args = vec![format!("version {}", rng.below(1000))];
        }
        self.change(at.max(plan.trouble), &key, &make(9, &service));
    }

    fn cron(&mut self, plan: &Plan, rng: &mut Rng) {
        let each = match rng.below(3) {
            0 => spec::CronWork::Workflow(Box::new(flows::of_two())),
            _ => {
                let mut each = job(rng);
                // However often it ticks, there is room for what it makes.
                (each.count, each.task.request.cpu) = (1, 100);
                spec::CronWork::Job(Box::new(each))
            }
        };
        let record = record("uid-200", Work::Cron(cron(each, rng)));
        self.make(rng.below(plan.trouble), &JobKey::new("a", "cron"), &record);
    }

    /// A workflow, and what somebody does to it while it runs.
    fn flow(&mut self, number: u64, plan: &Plan, rng: &mut Rng) {
        let key = JobKey::new("a", &format!("flow-{number}"));
        let flow = Flow::draw(&key, rng);
        let mut at = rng.below(plan.trouble);
        let mut record =
            record(&format!("uid-{}", 300 + number), Work::Workflow(flow.spec.clone()));
        record.created_at = DAWN + at;
        self.make(at, &key, &record);
        for _ in 0..rng.below(3) {
            at += rng.below(40_000);
            match rng.below(8) {
                0 => record.deleted = true,
                1 => record.asks.end = Some(*rng.pick(&[Ending::Stop, Ending::Terminate])),
                2 => record.asks.resume.push(None),
                3 | 4 => {
                    let held = spec::Workflow { suspend: true, ..flow.spec.clone() };
                    let held = JobRecord { work: Work::Workflow(held), ..record.clone() };
                    self.change(at, &key, &held);
                    at += rng.below(30_000);
                }
                _ => {
                    record.retries += 1;
                    record.asks.end = None;
                }
            }
            self.change(at, &key, &record);
        }
        self.flows.push(flow);
    }

    /// Operators drain nodes, clouds take them away with a notice, and later they are back.
    fn close_nodes(&mut self, plan: &Plan, rng: &mut Rng) {
        for number in 1..=plan.hosts {
            if rng.below(3) != 0 {
                continue;
            }
            let node: NodeId = format!("n{number}").into();
            let mut at = rng.below(plan.trouble);
            let mut record = node_record();
            match rng.below(4) {
                0 => record.cordoned = true,
                1 => {
                    let effect = *rng.pick(&[TaintEffect::NoSchedule, TaintEffect::NoExecute]);
                    record.taints = vec![Taint { key: "k".into(), value: String::new(), effect }];
                }
                _ => {
                    let until = DAWN + at + rng.below(30_000);
                    record.drain = Some(Drain { until, interrupted: rng.below(2) == 0 });
                }
            }
            self.put_node(at, &node, &record);
            at += rng.range(5_000..90_000);
            // Some never come back, as long as there is another.
            if number == 1 || rng.below(3) != 0 {
                self.put_node(at, &node, &node_record());
            }
        }
    }

    fn put_node(&mut self, at: u64, node: &NodeId, record: &NodeRecord) {
        let path = Keys::default().path(&Key::Node(node.clone()));
        self.later(at, Txn::new().put(path, record::encode(record)));
    }
}

fn put(key: String, record: &JobRecord) -> Op {
    Op::Put { key, value: record::encode(record), lease: None }
}

/// What all nodes are like.
pub(crate) fn node_record() -> NodeRecord {
    let capacity = Resources { cpu: 1_000, memory: 1 << 30, disk: 0, pids: 0 };
    NodeRecord { capacity, tasks_max: 8, ..NodeRecord::default() }
}

fn record(uid: &str, work: Work) -> JobRecord {
    JobRecord::new(uid, work, DAWN)
}

fn service(rng: &mut Rng) -> spec::Service {
    let mut task = Task::new("image", &[]);
    task.request.cpu = 100;
    let surge_max = u32::try_from(rng.below(3)).expect("small");
    spec::Service {
        task,
        replicas: u32::try_from(rng.below(4)).expect("small"),
        update: spec::Update {
            surge_max,
            unavailable_max: u32::from(surge_max == 0),
            ready_min: rng.below(3_000),
            progress_deadline: 60_000,
            ..spec::Update::default()
        },
        restart: spec::Retry::default(),
        concurrency: *rng.pick(&[Concurrency::Strict, Concurrency::Available]),
        placement: spec::Placement::default(),
        priority: 0,
        suspend: false,
        paused: false,
    }
}

fn cron(each: spec::CronWork, rng: &mut Rng) -> spec::Cron {
    spec::Cron {
        schedule: "* * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        catchup: *rng.pick(&[spec::Catchup::None, spec::Catchup::Last, spec::Catchup::All]),
        overlap: *rng.pick(&[spec::Overlap::Allow, spec::Overlap::Forbid, spec::Overlap::Replace]),
        start_deadline: None,
        keep_succeeded: 2,
        keep_failed: 2,
        suspend: false,
        each,
    }
}

fn job(rng: &mut Rng) -> spec::Job {
    let mut task = Task::new("image", &[]);
    task.request.cpu = *rng.pick(&[100, 250, 500]);
    task.args = vec![format!("{}", rng.below(4))];
    let mut job = spec::Job::single(task);
    let tasks = *rng.pick(&[1, 5, 40]);
    job.count = 1 + u32::try_from(rng.below(tasks)).expect("small");
    job.parallelism = u32::try_from(rng.below(6)).expect("small");
    job.failures_max = *rng.pick(&[0, 2, 100]);
    job.retry.attempts = 1 + u32::try_from(rng.below(4)).expect("small");
    job.concurrency =
        *rng.pick(&[Concurrency::Strict, Concurrency::Strict, Concurrency::Available]);
    job.priority = i32::try_from(rng.below(3)).expect("small");
    job.deadline = (rng.below(6) == 0).then(|| rng.range(5_000..200_000));
    job
}
