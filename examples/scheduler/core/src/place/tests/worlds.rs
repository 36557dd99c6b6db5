//! Nodes and shapes for tests, made by hand or by lot.

use crate::place::mix::Rng;
use crate::place::{INTERRUPTIBLE, Shape};
use crate::record::{Drain, ImageAt, NodeRecord, Taint, TaintEffect};
use crate::spec::{
    Affinity, Constraint, Operator, Preference, PreferenceOf, Resources, Strategy, Toleration,
};
use crate::types::{JobKey, NodeId};

pub(super) const GIB: u64 = 1 << 30;

pub(super) fn id(at: u64) -> NodeId {
    NodeId::from(format!("n{at:02}"))
}

/// A node with so many cores and GiB, and these labels.
pub(super) fn node(cpu: u32, gib: u64, labels: &[(&str, &str)]) -> NodeRecord {
    NodeRecord {
        capacity: Resources { cpu: cpu * 1000, memory: gib * GIB, disk: 100 * GIB, pids: 1000 },
        tasks_max: 110,
        labels: labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        runtimes: vec!["runc".to_owned()],
        ..NodeRecord::default()
    }
}

/// A task of this job that asks for so many cores and GiB.
pub(super) fn shape(job: &str, cpu: u32, gib: u64) -> Shape {
    let request = Resources { cpu: cpu * 1000, memory: gib * GIB, disk: 0, pids: 0 };
    Shape::new(job.parse::<JobKey>().unwrap(), request)
}

pub(super) fn ask(label: &str, operator: Operator, values: &[&str]) -> Constraint {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Constraint { label: label.to_owned(), operator, values }
}

/// `label=value`
pub(super) fn is(label: &str, value: &str) -> Constraint {
    ask(label, Operator::In, &[value])
}

pub(super) fn others(select: &[Constraint], domain: &str) -> Affinity {
    Affinity { select: select.to_vec(), namespaces: Vec::new(), domain: domain.to_owned() }
}

pub(super) fn tolerate(key: &str) -> Toleration {
    Toleration { key: key.to_owned(), value: None, effect: None }
}

pub(super) fn taint(key: &str, effect: TaintEffect) -> Taint {
    Taint { key: key.to_owned(), value: String::new(), effect }
}

pub(super) fn spread(domain: &str, domain_max: u32, skew_max: u32) -> Strategy {
    Strategy::Spread { domain: domain.to_owned(), domain_max, skew_max }
}

pub(super) fn cluster(domains: &[&str]) -> Strategy {
    Strategy::Cluster { domains: domains.iter().map(|&one| one.to_owned()).collect() }
}

/// A node as an unlucky operator would have it.
pub(super) fn any_node(rng: &mut Rng) -> NodeRecord {
    let mut labels = Vec::new();
    if !rng.once_in(5) {
        labels.push(("zone", rng.pick(&["a", "b"])));
    }
    if !rng.once_in(5) {
        labels.push(("rack", rng.pick(&["r1", "r2", "r3"])));
    }
    if rng.once_in(2) {
        labels.push(("disk", rng.pick(&["ssd", "hdd"])));
    }
    let cpu = u32::try_from(1 + rng.below(4)).unwrap();
    let mut record = node(cpu, 1 + rng.below(6), &labels);
    record.tasks_max = rng.pick(&[0, 2, 5, 110]);
    record.capacity.disk = rng.pick(&[0, GIB, 100 * GIB]);
    record.capacity.pids = rng.pick(&[0, 50, 1000]);
    record.cordoned = rng.once_in(10);
    record.confirmed_dead = rng.once_in(20);
    record.interruptible = rng.once_in(5);
    if rng.once_in(10) {
        record.drain = Some(Drain { until: 5, interrupted: false });
    }
    if rng.once_in(4) {
        let effects =
            [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
        record.taints.push(taint(rng.pick(&["gpu", "old"]), rng.pick(&effects)));
    }
    if rng.once_in(6) {
        record.runtimes.push("runsc".to_owned());
    }
    record
}

pub(super) fn any_images(rng: &mut Rng) -> Vec<ImageAt> {
    let mut images = Vec::new();
    for name in ["busybox", "trainer"] {
        if rng.once_in(2) {
            images.push(ImageAt { name: name.to_owned(), bytes: 1 + rng.below(2 * GIB) });
        }
    }
    images
}

fn any_affinity(rng: &mut Rng) -> Affinity {
    let select = match rng.below(5) {
        0 => vec![is("job", "web")],
        1 => vec![is("job", "cache")],
        2 => vec![is("app", "x")],
        3 => vec![ask("app", Operator::Exists, &[])],
        _ => vec![ask("app", Operator::NotIn, &["x"]), ask("job", Operator::In, &["web", "db"])],
    };
    let namespaces = match rng.below(4) {
        0 => vec!["one".to_owned(), "two".to_owned()],
        _ => Vec::new(),
    };
    let domain = (rng.pick(&["node", "zone", "rack"])).to_owned();
    Affinity { select, namespaces, domain }
}

/// A shape as an unlucky user would have it.
pub(super) fn any_shape(rng: &mut Rng) -> Shape {
    let namespace = rng.pick(&["one", "two"]);
    let name = rng.pick(&["web", "cache", "db"]);
    let mut shape = Shape::new(JobKey::new(namespace, name), Resources::default());
    shape.request.cpu = rng.pick(&[0, 200, 700, 1500]);
    shape.request.memory = rng.pick(&[0, GIB / 4, GIB]);
    shape.request.disk = rng.pick(&[0, 0, GIB / 3]);
    shape.request.pids = rng.pick(&[0, 0, 20]);
    shape.image = (rng.pick(&["busybox", "trainer", "alpine"])).to_owned();
    if rng.once_in(5) {
        shape.runtime = Some((rng.pick(&["runc", "runsc"])).to_owned());
    }
    let placement = &mut shape.placement;
    let domain = (rng.pick(&["zone", "rack", "node"])).to_owned();
    let number = |rng: &mut Rng| u32::try_from(rng.below(4)).unwrap();
    placement.strategy = match rng.below(6) {
        0 | 1 => Strategy::Pack,
        2 | 3 => spread(&domain, number(rng), number(rng)),
        4 => Strategy::Partition { partitions: 1 + number(rng), domain },
        _ => cluster(rng.pick(&[&["rack", "zone"][..], &["zone"], &["node", "rack"]])),
    };
    if rng.once_in(3) {
        placement.labels.insert("app".to_owned(), (rng.pick(&["x", "y"])).to_owned());
    }
    if rng.once_in(4) {
        let label = rng.pick(&["disk", "zone"]);
        let operator = rng.pick(&[Operator::In, Operator::NotIn]);
        placement.require.push(ask(label, operator, &[rng.pick(&["ssd", "a"])]));
    }
    if rng.once_in(3) {
        placement.tolerate.push(tolerate(rng.pick(&["", "gpu", INTERRUPTIBLE])));
    }
    if rng.once_in(4) {
        placement.near.push(any_affinity(rng));
    }
    while rng.once_in(3) {
        placement.avoid.push(any_affinity(rng));
    }
    while rng.once_in(3) {
        let what = match rng.below(3) {
            0 => PreferenceOf::Labels(vec![is("disk", "ssd")]),
            1 => PreferenceOf::Near(any_affinity(rng)),
            _ => PreferenceOf::Avoid(any_affinity(rng)),
        };
        placement.prefer.push(Preference { weight: 1 + number(rng) * 33, what });
    }
    shape
}
