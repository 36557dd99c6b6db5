//! Tasks of one job of which some find no place.

use super::*;
use crate::spec::{Placement, RetryAction, RetryRule, Strategy, Update};

/// A second node, of which only this much is told.
fn node(office: &mut Office, name: &str, rack: &str, cpu: u32) {
    let capacity = Resources { cpu, memory: 1 << 40, disk: 0, pids: 0 };
    let labels = [("rack".to_owned(), rack.to_owned())].into();
    office.put(&Key::Node(name.into()), &NodeRecord { capacity, labels, ..NodeRecord::default() });
    let alive =
        AliveRecord { epoch: 1, address: String::new(), gossip: None, since: 0, images: vec![] };
    office.put(&Key::Alive(name.into()), &alive);
}

fn bound(office: &Office, name: &str) -> Vec<u32> {
    let job = office.mirror.job(&JobKey::new("a", name)).unwrap();
    job.tasks.keys().copied().collect()
}

/// Racks `a` and `b`, cut into two partitions.
fn cut(office: &mut Office, cpus: (u32, u32)) -> Placement {
    node(office, "n2", "a", cpus.0);
    node(office, "n3", "b", cpus.1);
    let strategy = Strategy::Partition { partitions: 2, domain: "rack".to_owned() };
    Placement { strategy, ..Placement::default() }
}

/// A rack that is full must not hold back what goes to another.
#[test]
fn a_partition_without_a_place_does_not_hold_back_the_others() {
    for (cpus, is_service) in
        [((64_000, 1_000), false), ((1_000, 64_000), false), ((64_000, 1_000), true)]
    {
        let mut office = Office::new();
        let placement = cut(&mut office, cpus);
        let mut job = spec::Job::single(Task::new("image", &["x"]));
        job.task.request.cpu = 1_000;
        (job.count, job.placement) = (20, placement.clone());
        let job = Work::Job(job);
        office.make("cut", if is_service { service(1_000, 20, placement) } else { job });
        let there = bound(&office, "cut");
        let (even, odd): (Vec<u32>, Vec<u32>) = there.iter().partition(|index| *index % 2 == 0);
        let (least, most) = (even.len().min(odd.len()), even.len().max(odd.len()));
        assert_eq!((least, most), (1, 10), "with {cpus:?}: {there:?}");
        // And when there is room, those that were passed over are not forgotten.
        node(&mut office, "n4", "a", 64_000);
        node(&mut office, "n5", "b", 64_000);
        office.settle();
        assert_eq!(bound(&office, "cut").len(), 20);
    }
}

/// One that ran out of memory may ask for more than any node has: its own trouble.
#[test]
fn a_task_that_asks_for_more_does_not_hold_back_the_others() {
    let mut office = Office::new();
    let mut job = spec::Job::single(Task::new("image", &["x"]));
    (job.count, job.parallelism, job.failures_max) = (6, 2, 6);
    (job.retry.attempts, job.retry.backoff.initial) = (9, 0);
    job.task.request.memory = 1 << 30;
    job.retry.rules = vec![RetryRule {
        exits: Vec::new(),
        signals: Vec::new(),
        oom: None,
        reasons: Vec::new(),
        action: RetryAction::Retry,
        memory_factor: Some(4_000.0),
    }];
    office.make("many", Work::Job(job));
    // The first comes back, wants 4000 GiB, and waits; all others do well.
    for _ in 0..9 {
        office.end(|run| (i32::from(run.task.index == 0), ""));
    }
    let job = office.mirror.job(&JobKey::new("a", "many")).unwrap();
    assert_eq!(job.counts.succeeded, 5, "{:?}", job.counts);
    assert_eq!(bound(&office, "many"), [0]);
}

/// What nobody has a place for has no key: only the controller knows that it is missing.
#[test]
fn replicas_without_a_place_are_told_of() {
    let mut office = Office::new();
    let record = office.make("web", service(60_000, 1, Placement::default()));
    let key = JobKey::new("a", "web");
    let missing = |office: &Office| -> Vec<u32> {
        new_places(&office.mirror, &key, office.now).into_iter().map(|(at, _)| at).collect()
    };
    assert_eq!((bound(&office, "web"), missing(&office)), (vec![0], vec![]));
    let work = service(60_001, 1, Placement::default());
    office.put(&Key::Job(key.clone()), &JobRecord { work, generation: 2, ..record });
    office.settle();
    // The one more that the update wants.
    assert_eq!((bound(&office, "web"), missing(&office)), (vec![0], vec![1]));
}

fn service(cpu: u32, replicas: u32, placement: Placement) -> Work {
    let mut task = Task::new("image", &["x"]);
    task.request.cpu = cpu;
    Work::Service(spec::Service {
        task,
        replicas,
        update: Update::default(),
        restart: spec::Retry::default(),
        concurrency: spec::Concurrency::Available,
        placement,
        priority: 0,
        suspend: false,
        paused: false,
    })
}

/// A job of which two run at once needs room for two, though it has nine tasks.
#[test]
fn a_cluster_has_room_for_those_that_run_at_once() {
    let mut office = Office::new();
    node(&mut office, "n2", "a", 2_000);
    node(&mut office, "n3", "b", 1_000);
    let mut job = spec::Job::single(Task::new("image", &["x"]));
    job.task.request.cpu = 1_000;
    (job.count, job.parallelism) = (9, 2);
    let strategy = Strategy::Cluster { domains: vec!["rack".to_owned()] };
    job.placement = Placement { strategy, ..Placement::default() };
    office.make("close", Work::Job(job));
    assert_eq!(office.running().len(), 2);
    for left in [2, 2, 2, 1, 0] {
        office.end(|_| (0, ""));
        assert_eq!(office.running().len(), left);
    }
}
