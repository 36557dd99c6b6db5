//! Workloads: what is asked for, in which mixture, and how fast it should be.

use crate::place::mix::Rng;
use crate::place::{Ask, ClassId, Cluster, Shape};
use crate::record::NodeRecord;
use crate::spec::{Affinity, Constraint, Operator, Resources, Strategy};
use crate::types::{JobKey, NodeId};

use super::Next;
use super::table::Goal;

const MIB: u64 = 1 << 20;

/// A kind of tasks, and what it is called.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Sizes, and what is asked for at each.
    pub(super) goals: &'static [(u32, Goal)],
    /// What others publish about the like.
    pub(super) published: &'static str,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One array, all tasks alike.
    Array,
    /// An array of a million, into an empty cluster.
    Million,
    /// 2,000 jobs of 200 sizes and 20 images in turn.
    Jobs,
    /// Each task is a job of its own, of one of 200 sizes.
    Singles,
    /// Each task is a job of its own, of a size that no other has.
    Strangers,
    /// Near others of its kind, in the zone.
    Affinity,
    /// None of its kind on the node.
    AntiAffinity,
    /// None of its kind of any of 100 namespaces on the node.
    NamespaceAntiAffinity,
    /// Over zones, at most one ahead.
    Spread,
    /// Over racks and nodes.
    SpreadRacks,
    /// Jobs of 8, each in one rack.
    Cluster,
    /// One array in 5 partitions of racks.
    Partition,
}

const BASIC: &[(u32, Goal)] =
    &[(5_000, Goal::new(20_000, 1_000)), (10_000, Goal::new(10_000, 2_000))];
const SHAPED: &[(u32, Goal)] = &[(5_000, Goal::new(5_000, 1_000))];

/// All of them.
pub(super) const WORKLOADS: [Workload; 12] = [
    Workload {
        name: "basic, one array",
        kind: Kind::Array,
        goals: BASIC,
        published: "k8s 680-810, Nomad 1,500-3,750",
    },
    Workload { name: "basic, 2,000 jobs", kind: Kind::Jobs, goals: BASIC, published: "" },
    Workload { name: "basic, single tasks", kind: Kind::Singles, goals: BASIC, published: "" },
    Workload { name: "basic, no two alike", kind: Kind::Strangers, goals: BASIC, published: "" },
    Workload {
        name: "array of a million",
        kind: Kind::Million,
        goals: &[(5_000, Goal::new(20_000, 1_000))],
        published: "Nomad C1M in 300 s: 3,333",
    },
    Workload { name: "affinity", kind: Kind::Affinity, goals: SHAPED, published: "k8s 35" },
    Workload {
        name: "anti-affinity",
        kind: Kind::AntiAffinity,
        goals: SHAPED,
        published: "k8s 60",
    },
    Workload {
        name: "namespace anti-affinity",
        kind: Kind::NamespaceAntiAffinity,
        goals: SHAPED,
        published: "k8s 24",
    },
    Workload { name: "spread, zones", kind: Kind::Spread, goals: SHAPED, published: "k8s 460" },
    Workload { name: "spread, racks", kind: Kind::SpreadRacks, goals: SHAPED, published: "" },
    Workload { name: "cluster, racks", kind: Kind::Cluster, goals: SHAPED, published: "" },
    Workload { name: "partition", kind: Kind::Partition, goals: SHAPED, published: "" },
];

impl Workload {
    /// How many tasks there are while it is measured.
    pub(super) fn fill(&self, nodes: u32) -> usize {
        match self.kind {
            Kind::AntiAffinity | Kind::NamespaceAntiAffinity => nodes as usize / 2,
            // All are in the zone of the first, which has room for 13 a node of all.
            Kind::Affinity => nodes as usize * 10,
            _ => nodes as usize * 15,
        }
    }

    /// Whether a decision takes long enough to be interrupted by others of the machine.
    pub(super) fn is_long(&self) -> bool {
        matches!(self.kind, Kind::Singles | Kind::Strangers)
    }

    pub(super) fn decisions(&self, nodes: u32) -> u64 {
        match self.kind {
            Kind::Million => 200 * u64::from(nodes),
            Kind::Strangers => 20_000,
            _ => 100_000,
        }
    }
}

/// A cluster of such nodes.
pub(super) fn cluster_of(workload: &Workload, nodes: u32) -> Cluster {
    let mut cluster = Cluster::new(1);
    for at in 0..nodes {
        let zone = ["a", "b", "c"][at as usize % 3].to_owned();
        // A rack is in one zone.
        let rack = format!("r{}-{}", at % 3, at / 120);
        let mut record = NodeRecord {
            capacity: Resources { cpu: 4_000, memory: 32_768 * MIB, disk: 0, pids: 0 },
            tasks_max: 110,
            labels: [("zone".to_owned(), zone), ("rack".to_owned(), rack)].into(),
            ..NodeRecord::default()
        };
        if workload.kind == Kind::Million {
            record.tasks_max = 0;
            record.capacity.cpu = 20_000;
            record.capacity.memory *= 4;
        }
        cluster.set_node(&NodeId::from(format!("n{at:05}")), &record, true, &[]);
    }
    cluster
}

/// Makes the tasks of a workload.
pub(super) struct Source {
    kind: Kind,
    classes: Vec<ClassId>,
    made: u64,
}

impl Source {
    pub(super) fn new(workload: &Workload, cluster: &mut Cluster) -> Source {
        let kind = workload.kind;
        let count = match kind {
            Kind::Jobs => 2_000,
            Kind::NamespaceAntiAffinity => 100,
            Kind::Singles | Kind::Strangers | Kind::Cluster => 0,
            _ => 1,
        };
        let class = |at| cluster.class(&shape(kind, at)).expect("the shapes here are well formed");
        let classes = (0..count).map(class).collect();
        Source { kind, classes, made: 0 }
    }

    /// The next task.
    pub(super) fn next(&mut self, cluster: &mut Cluster, rng: &mut Rng) -> Next {
        let made = self.made;
        self.made += 1;
        let index = u32::try_from(made % 1_000_000).expect("below a million");
        match self.kind {
            Kind::Singles | Kind::Strangers => {
                let class = cluster.class(&shape(self.kind, made)).expect("well formed");
                (class, Ask::one(0))
            }
            Kind::Cluster => {
                let (job, at) = (made / 8, index % 8);
                if at == 0 {
                    let class = cluster.class(&shape(self.kind, job)).expect("well formed");
                    self.classes = vec![class];
                }
                (self.classes[0], Ask { index: at, rest: 8 - at })
            }
            _ => (rng.pick(&self.classes), Ask::one(index)),
        }
    }

    /// A task was released: a job of one task has ended with it.
    pub(super) fn released(&self, cluster: &mut Cluster, class: ClassId) {
        let ends = match self.kind {
            Kind::Singles | Kind::Strangers => true,
            Kind::Cluster => cluster.total(class) == 0 && !self.classes.contains(&class),
            _ => false,
        };
        if ends {
            cluster.retire(class);
        }
    }
}

fn shape(kind: Kind, at: u64) -> Shape {
    let (namespace, name) = match kind {
        Kind::NamespaceAntiAffinity => (format!("ns-{at}"), "web".to_owned()),
        _ => ("bench".to_owned(), format!("job-{at}")),
    };
    let small = |at: u64| u32::try_from(at).expect("a small number");
    // What pods ask for in the tests of Kubernetes' scheduler.
    let mut request = Resources { cpu: 100, memory: 500 * MIB, disk: 0, pids: 0 };
    match kind {
        Kind::Jobs | Kind::Singles => {
            request.cpu = 50 + 10 * small(at % 20);
            request.memory = (200 + 50 * (at / 20 % 10)) * MIB;
        }
        Kind::Strangers => {
            request.cpu = 50 + small(at % 199);
            request.memory = 200 * MIB + (at << 12);
        }
        Kind::Million => request = Resources { cpu: 50, memory: 64 * MIB, disk: 0, pids: 0 },
        _ => {}
    }
    let mut shape = Shape::new(JobKey::new(&namespace, &name), request);
    if kind == Kind::Jobs {
        shape.image = format!("image-{}", at % 20);
    }
    let placement = &mut shape.placement;
    placement.labels.insert("app".to_owned(), "bench".to_owned());
    let kin = Constraint {
        label: "app".to_owned(),
        operator: Operator::In,
        values: vec!["bench".to_owned()],
    };
    let others = |domain: &str, namespaces: Vec<String>| Affinity {
        select: vec![kin.clone()],
        namespaces,
        domain: domain.to_owned(),
    };
    match kind {
        Kind::Affinity => placement.near.push(others("zone", Vec::new())),
        Kind::AntiAffinity => placement.avoid.push(others("node", Vec::new())),
        Kind::NamespaceAntiAffinity => {
            let all = (0..100).map(|at| format!("ns-{at}")).collect();
            placement.avoid.push(others("node", all));
        }
        Kind::Spread => {
            let domain = "zone".to_owned();
            placement.strategy = Strategy::Spread { domain, domain_max: 0, skew_max: 1 };
        }
        Kind::SpreadRacks => {
            let domain = "rack".to_owned();
            placement.strategy = Strategy::Spread { domain, domain_max: 0, skew_max: 0 };
        }
        Kind::Cluster => {
            let domains = vec!["rack".to_owned(), "zone".to_owned()];
            placement.strategy = Strategy::Cluster { domains };
        }
        Kind::Partition => {
            let domain = "rack".to_owned();
            placement.strategy = Strategy::Partition { partitions: 5, domain };
        }
        _ => {}
    }
    shape
}
