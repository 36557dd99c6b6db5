//! Rules, one by one, in clusters small enough to see what is right.

use super::worlds::{GIB, cluster, id, is, node, others, shape, spread, taint, tolerate};
use crate::place::{Ask, Cluster, Obstacle, Shape};
use crate::record::TaintEffect;
use crate::spec::{Affinity, Strategy};
use crate::types::NodeId;

/// Nodes `n00`, `n01`, … of 4 cores and 32 GiB, three zones in turn, racks of four.
fn cluster_of(count: u64) -> Cluster {
    let mut cluster = Cluster::new(1);
    for at in 0..count {
        let (zone, rack) = (["a", "b", "c"][at as usize % 3], format!("r{}", at / 4));
        let record = node(4, 32, &[("zone", zone), ("rack", &rack)]);
        cluster.set_node(&id(at), &record, true, &[]);
    }
    cluster
}

/// Places tasks until one has no place; where they went.
fn fill(cluster: &mut Cluster, shape: &Shape, count: u32) -> Vec<NodeId> {
    let class = cluster.class(shape).unwrap();
    let indexes: Vec<u32> = (0..count).collect();
    let placed = cluster.place_many(class, &indexes);
    cluster.check();
    placed.iter().map(|one| cluster.name(one.node).clone()).collect()
}

fn per_label(cluster: &Cluster, nodes: &[NodeId], label: &str) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::new();
    for node in nodes {
        let at = cluster.books.nodes.find(node).unwrap();
        let record = cluster.books.nodes.all[at as usize].record.as_ref().unwrap();
        *counts.entry(record.labels[label].clone()).or_insert(0) += 1;
    }
    counts.into_values().collect()
}

/// What is promised to one task must not be promised to another.
#[test]
fn no_node_is_given_more_than_it_has() {
    let mut cluster = cluster_of(3);
    assert_eq!(fill(&mut cluster, &shape("a/one", 1, 1), 100).len(), 12);
    assert_eq!(fill(&mut cluster, &shape("a/two", 0, 1), 100).len(), 84);
    let class = cluster.class(&shape("a/one", 1, 1)).unwrap();
    assert!(cluster.try_place(class, Ask::one(0)).is_none());
}

/// Full nodes leave whole nodes for what comes later.
#[test]
fn pack_fills_one_node_before_the_next() {
    let mut cluster = cluster_of(9);
    let nodes = fill(&mut cluster, &shape("a/one", 1, 2), 8);
    let mut used = nodes.clone();
    used.dedup();
    assert_eq!(used.len(), 2, "{nodes:?}");
}

/// A zone that fails should take its share and no more.
#[test]
fn spread_is_even_over_domains_and_then_over_nodes() {
    let mut cluster = cluster_of(9);
    let mut shape = shape("a/web", 1, 1);
    shape.placement.strategy = spread("zone", 0, 0);
    let nodes = fill(&mut cluster, &shape, 9);
    assert_eq!(per_label(&cluster, &nodes, "zone"), [3, 3, 3]);
    assert_eq!(per_label(&cluster, &nodes, "rack"), [4, 4, 1]);
    shape.placement.strategy = spread("zone", 2, 0);
    shape.job.name = "api".into();
    assert_eq!(fill(&mut cluster, &shape, 20).len(), 6);
}

/// A zone that is full holds the others back: that is what a bound on the skew asks for.
#[test]
fn skew_counts_domains_that_are_full_and_not_those_that_are_dead() {
    let mut cluster = cluster_of(6);
    for at in [0, 3] {
        cluster.set_node(&id(at), &node(0, 32, &[("zone", "a")]), true, &[]);
    }
    let mut shape = shape("a/web", 1, 1);
    shape.placement.strategy = spread("zone", 0, 1);
    assert_eq!(fill(&mut cluster, &shape, 20).len(), 2, "one in b, one in c, and a has none");
    for at in [0, 3] {
        cluster.set_alive(&id(at), false);
    }
    assert_eq!(fill(&mut cluster, &shape, 100).len(), 14, "a does not count while it is dead");
}

/// Two that must be apart are, whichever of them says so.
#[test]
fn avoiding_keeps_both_sides_apart() {
    let mut cluster = cluster_of(2);
    let mut shy = shape("a/shy", 1, 1);
    shy.placement.avoid = vec![others(&[is("job", "loud")], "node")];
    let loud = shape("a/loud", 1, 1);
    assert_eq!(fill(&mut cluster, &shy, 4).len(), 4);
    let nodes = fill(&mut cluster, &loud, 100);
    assert_eq!(nodes.len(), 4);
    let class = cluster.class(&loud).unwrap();
    let groups = cluster.rejections(class, Ask::one(0)).groups;
    let avoided = Obstacle::AvoidedBy("job=loud on the node".into());
    assert!(groups.iter().any(|group| group.obstacle == Obstacle::Short(crate::place::Kind::Cpu)));
    cluster.set_node(&id(0), &node(9, 32, &[]), true, &[]);
    cluster.set_node(&id(1), &node(9, 32, &[]), true, &[]);
    fill(&mut cluster, &loud, 100);
    let groups = cluster.rejections(class, Ask::one(0)).groups;
    assert!(groups.iter().any(|group| group.obstacle == avoided), "{groups:?}");
}

/// A namespace that wants nodes for itself: the anti-affinity that is slow elsewhere.
#[test]
fn a_task_can_avoid_whole_namespaces() {
    let mut cluster = cluster_of(3);
    let mut alone = shape("a/alone", 1, 1);
    alone.placement.avoid = vec![Affinity {
        select: Vec::new(),
        namespaces: vec!["b".into(), "c".into()],
        domain: "node".into(),
    }];
    let first = fill(&mut cluster, &shape("b/x", 1, 1), 1);
    let second = fill(&mut cluster, &alone, 8);
    assert_eq!(second.len(), 8);
    assert!(!second.contains(&first[0]));
    let third = fill(&mut cluster, &shape("c/y", 1, 1), 9);
    assert_eq!(third, vec![first[0].clone(); 3]);
}

/// The first of a crowd has nobody to be near.
#[test]
fn a_crowd_that_wants_to_be_together_can_begin() {
    let mut cluster = cluster_of(9);
    let mut shape = shape("a/crowd", 1, 1);
    shape.placement.near = vec![others(&[is("job", "crowd")], "zone")];
    let nodes = fill(&mut cluster, &shape, 100);
    assert_eq!(per_label(&cluster, &nodes, "zone"), [12], "all in one zone, and not one more");
    let mut lonely = shape.clone();
    lonely.job.name = "lonely".into();
    lonely.placement.near = vec![others(&[is("job", "nobody")], "zone")];
    assert_eq!(fill(&mut cluster, &lonely, 1), []);
}

/// A job that talks over one switch must not be torn apart for being placed bit by bit.
#[test]
fn a_cluster_lies_in_the_narrowest_domain_that_holds_all() {
    let mut cluster_16 = cluster_of(16);
    let mut shape = shape("a/train", 1, 1);
    shape.placement.strategy = cluster(&["rack", "zone"]);
    let nodes = fill(&mut cluster_16, &shape, 16);
    assert_eq!(per_label(&cluster_16, &nodes, "rack"), [16], "one rack has room for 16");
    shape.job.name = "large".into();
    let nodes = fill(&mut cluster_16, &shape, 17);
    assert_eq!(nodes.len(), 0, "17 fit into no rack, and into no zone any more");
    let nodes = fill(&mut cluster_16, &shape, 16);
    assert_eq!(per_label(&cluster_16, &nodes, "rack"), [16]);
    shape.placement.strategy = cluster(&["zone"]);
    shape.job.name = "wide".into();
    let nodes = fill(&mut cluster_16, &shape, 10);
    assert_eq!(per_label(&cluster_16, &nodes, "zone"), [10]);
}

/// Replicas of one partition must share no rack with those of another.
#[test]
fn partitions_share_no_domain() {
    let mut cluster = cluster_of(24);
    let mut shape = shape("a/store", 1, 1);
    shape.placement.strategy = Strategy::Partition { partitions: 3, domain: "rack".into() };
    let class = cluster.class(&shape).unwrap();
    let mut racks = vec![std::collections::BTreeSet::new(); 3];
    for index in 0..90 {
        let placed = cluster.try_place(class, Ask::one(index)).unwrap();
        assert_eq!(placed.partition, Some(index % 3));
        let record = &cluster.books.nodes.all[placed.node.0 as usize].record;
        racks[index as usize % 3].insert(record.as_ref().unwrap().labels["rack"].clone());
    }
    assert!(racks[0].is_disjoint(&racks[1]) && racks[1].is_disjoint(&racks[2]));
    assert!(racks[0].is_disjoint(&racks[2]));
    assert_eq!(racks.iter().map(std::collections::BTreeSet::len).sum::<usize>(), 6);
}

/// A node that can be taken away is for those who say that they can bear it.
#[test]
fn interruptible_nodes_are_for_the_tolerant_and_last() {
    let mut cluster = Cluster::new(1);
    let mut spot = node(4, 32, &[]);
    spot.interruptible = true;
    cluster.set_node(&id(0), &spot, true, &[]);
    assert_eq!(fill(&mut cluster, &shape("a/one", 1, 1), 1), []);
    let mut tolerant = shape("a/two", 1, 1);
    tolerant.placement.tolerate = vec![tolerate("interruptible")];
    cluster.set_node(&id(1), &node(4, 32, &[]), true, &[]);
    assert_eq!(fill(&mut cluster, &tolerant, 5), [vec![id(1); 4], vec![id(0)]].concat());
}

/// "If there is no other place" means that, however good all else is.
#[test]
fn a_node_that_prefers_no_tasks_is_taken_last() {
    let mut cluster = Cluster::new(1);
    let mut old = node(2, 4, &[("disk", "ssd")]);
    old.taints.push(taint("old", TaintEffect::PreferNoSchedule));
    cluster.set_node(&id(0), &old, true, &[]);
    cluster.set_node(&id(1), &node(64, 512, &[]), true, &[]);
    let mut shape = shape("a/one", 2, 4);
    let labels = crate::spec::PreferenceOf::Labels(vec![is("disk", "ssd")]);
    shape.placement.prefer = vec![crate::spec::Preference { weight: 100, what: labels }];
    assert_eq!(fill(&mut cluster, &shape, 33).last(), Some(&id(0)));
}

/// Gossip is fast and can be wrong: what it says is taken back as if it had not been said.
#[test]
fn a_suspect_gets_nothing_new_until_it_is_heard_of() {
    let mut cluster = cluster_of(1);
    let one = shape("a/one", 1, 1);
    cluster.set_suspect(&id(0), true);
    assert_eq!(fill(&mut cluster, &one, 1), []);
    cluster.set_suspect(&id(0), false);
    assert_eq!(fill(&mut cluster, &one, 1), [id(0)]);
}

/// A job that died on a node is not sent there again at once, if another will do.
#[test]
fn failures_make_a_node_worse_until_they_are_forgotten() {
    let mut cluster = cluster_of(2);
    let class = cluster.class(&shape("a/one", 1, 1)).unwrap();
    let first = cluster.try_place(class, Ask::one(0)).unwrap().node;
    cluster.release(class, first);
    cluster.set_failures(class, first, 1.0);
    let second = cluster.try_place(class, Ask::one(0)).unwrap().node;
    assert_ne!(first, second);
    cluster.release(class, second);
    cluster.set_failures(class, first, 0.0);
    assert_eq!(cluster.try_place(class, Ask::one(0)).unwrap().node, first);
}

/// Leaders live for months and jobs for minutes.
#[test]
fn what_is_retired_leaves_nothing_behind() {
    let mut cluster = cluster_of(3);
    for round in 0..50 {
        let mut shape = shape(&format!("a/job-{round}"), 1, 1);
        shape.image = format!("image-{round}");
        shape.placement.avoid = vec![others(&[is("job", &format!("job-{round}"))], "node")];
        shape.placement.strategy = spread("zone", 0, 0);
        let class = cluster.class(&shape).unwrap();
        let placed = cluster.place(class, Ask::one(0)).unwrap();
        cluster.retire(class);
        assert!(cluster.release(class, placed.node));
        cluster.check();
    }
    let books = &cluster.books;
    assert_eq!(books.classes.ids().count(), 0);
    assert_eq!(books.relations.all.ids().count(), 0);
    assert_eq!(books.profiles.ids().count(), 0);
    assert_eq!(books.images.ids().count(), 0);
    assert!(books.labelled.is_empty());
}

/// A node whose capacity shrank under its tasks takes nothing, and its books can be put right.
#[test]
fn an_overfull_node_is_not_an_error() {
    let mut cluster = cluster_of(1);
    let one = shape("a/one", 1, 1);
    fill(&mut cluster, &one, 4);
    cluster.set_node(&id(0), &node(2, 32, &[]), true, &[]);
    let class = cluster.class(&one).unwrap();
    let rejections = cluster.rejections(class, Ask::one(0));
    assert_eq!(rejections.groups[0].short, Some((3000, 3000)));
    assert_eq!(rejections.nearest.unwrap().shortages[0].free, 0);
    let at = cluster.node(&id(0));
    (0..4).for_each(|_| assert!(cluster.release(class, at)));
    assert!(!cluster.release(class, at), "there is none left");
    cluster.check();
    assert_eq!(shape("a/b", 0, 3).request.memory, 3 * GIB);
}
