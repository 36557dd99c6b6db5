//! What people read: the whole text, so that a change to it is seen.

use super::worlds::{cluster, id, is, node, others, shape, spread, taint};
use crate::place::{Ask, Cluster, Explanation};
use crate::record::{ImageAt, TaintEffect};
use crate::spec::{Preference, PreferenceOf};

fn check(found: &Explanation, expected: &str) {
    // Lines may end in blanks, which nobody sees in a test.
    let json = crate::record::encode(found);
    let read: Explanation = crate::record::decode("explanation", &json).unwrap();
    assert_eq!(&read, found, "who asks over the wire is told the same");
    let found = found.to_string();
    let found: Vec<&str> = found.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = expected.trim_start_matches('\n').lines().collect();
    assert_eq!(found, expected, "\n{}", found.join("\n"));
}

/// Nodes that are each wrong in their own way.
fn motley() -> Cluster {
    let mut cluster = Cluster::new(1);
    for at in 0..3 {
        cluster.set_node(&id(at), &node(8, 32, &[("disk", "hdd")]), true, &[]);
    }
    for at in 3..5 {
        let mut spot = node(8, 32, &[("disk", "ssd")]);
        spot.interruptible = true;
        cluster.set_node(&id(at), &spot, true, &[]);
    }
    cluster.set_node(&id(5), &node(2, 4, &[("disk", "ssd")]), true, &[]);
    cluster.set_node(&id(6), &node(8, 32, &[("disk", "ssd")]), true, &[]);
    cluster.set_node(&id(7), &node(8, 32, &[("disk", "ssd")]), false, &[]);
    let mut cordoned = node(8, 32, &[("disk", "ssd")]);
    cordoned.cordoned = true;
    cluster.set_node(&id(8), &cordoned, true, &[]);
    let mut ours = node(8, 32, &[("disk", "ssd")]);
    ours.taints = vec![taint("team", TaintEffect::NoSchedule)];
    cluster.set_node(&id(9), &ours, true, &[]);
    let lint = cluster.class(&shape("ops/lint", 3, 8)).unwrap();
    let at = cluster.node(&id(6));
    cluster.assign(lint, at);
    cluster.assign(lint, at);
    cluster
}

/// Who waits must learn which nodes, which rule, and what to do about it.
#[test]
fn a_task_that_waits_is_told_what_would_help() {
    let mut cluster = motley();
    let mut train = shape("ml/train", 4, 16);
    train.placement.require = vec![is("disk", "ssd")];
    let class = cluster.class(&train).unwrap();
    check(
        &cluster.explain(class, Ask::one(17)),
        "
ml/train/17  waits   4 cpu, 16 GiB memory   pack
  placement  no      10 nodes looked at
      3  label disk=ssd does not hold               n00 n01 n02
      2  taint interruptible not tolerated          n03 n04
      2  cpu short by 2                             n05 n06
      1  not alive                                  n07
      1  cordoned                                   n08
      1  taint team not tolerated                   n09
  nearest    n06: 2 of 4 cpu free
  would help
      3  nodes if it did not require disk=ssd       n00 n01 n02
      2  nodes if it tolerated interruptible        n03 n04
      1  node with an agent that is back            n07
      1  node if uncordoned                         n08
      1  node if it tolerated team                  n09
         2 more cpu on n06
         when a task of ops/lint ends on n06
",
    );
}

/// A job that must be together needs to know how much room there is together.
#[test]
fn a_cluster_that_waits_is_told_where_most_room_is() {
    let mut nodes = Cluster::new(1);
    for at in 0..7 {
        let rack = if at < 4 { "r1" } else { "r2" };
        nodes.set_node(&id(at), &node(4, 16, &[("rack", rack)]), true, &[]);
    }
    let mut gang = shape("ml/gang", 2, 4);
    gang.placement.strategy = cluster(&["rack"]);
    let class = nodes.class(&gang).unwrap();
    check(
        &nodes.explain(class, Ask { index: 0, rest: 9 }),
        "
ml/gang/0  waits   2 cpu, 4 GiB memory   cluster in one rack
  placement  no      7 nodes looked at
      7  free, but not all fit in one rack          n00 n01 n02 n03 n04 n05 n06
  most room  8 of 9 fit in rack r1
  nearest    n00: free, but not all fit in one rack
  would help
      7  nodes if its job need not be in one rack   n00 n01 n02 n03 n04 n05 n06
",
    );
}

/// Why here and not there, term by term.
#[test]
fn a_task_that_runs_is_told_why_it_is_there() {
    let mut nodes = Cluster::new(1);
    for (at, zone) in [(0, "a"), (1, "a"), (2, "b"), (3, "c")] {
        let images = [ImageAt { name: "web:1".into(), bytes: 768 << 20 }];
        let images = if at == 2 { &images[..] } else { &[] };
        nodes.set_node(&id(at), &node(4, 16, &[("zone", zone)]), true, images);
    }
    let mut web = shape("shop/web", 1, 4);
    web.image = "web:1".into();
    web.placement.strategy = spread("zone", 0, 0);
    web.placement.avoid = vec![others(&[is("job", "noisy")], "node")];
    web.placement.prefer =
        vec![Preference { weight: 10, what: PreferenceOf::Labels(vec![is("zone", "b")]) }];
    let class = nodes.class(&web).unwrap();
    let first = nodes.place(class, Ask::one(0)).unwrap();
    assert_eq!(nodes.name(first.node), &id(2));
    let noisy = nodes.class(&shape("shop/noisy", 1, 1)).unwrap();
    let at = nodes.node(&id(3));
    nodes.assign(class, at);
    nodes.assign(noisy, at);
    nodes.set_suspect(&id(1), true);
    let found = nodes.explain_at(class, 0, first.node).unwrap();
    nodes.check();
    let terms = "domain 1.00×24  node 1.00×10  fit 0.75×8";
    check(
        &found,
        &format!(
            "
shop/web/0  on n02   1 cpu, 4 GiB memory   spread over zone
  where it is
    n02           51.50   {terms}  prefer 1.00×8  balance 1.00×2  image 0.75×2
  others
    n00           42.00   {terms}  prefer 0.00×8  balance 1.00×2  image 0.00×2
  out of the question
      1  suspect: silent for a while                n01
      1  avoids job=noisy on the node               n03
"
        ),
    );
}

/// What has come up since a task was placed is said too.
#[test]
fn a_task_on_a_node_that_is_closed_now_is_told_so() {
    let mut nodes = Cluster::new(1);
    let mut record = node(4, 16, &[]);
    nodes.set_node(&id(0), &record, true, &[]);
    let class = nodes.class(&shape("a/one", 1, 1)).unwrap();
    let at = nodes.place(class, Ask::one(0)).unwrap().node;
    record.cordoned = true;
    nodes.set_node(&id(0), &record, true, &[]);
    check(
        &nodes.explain_at(class, 0, at).unwrap(),
        "
a/one/0  on n00   1 cpu, 1 GiB memory   pack
  it would not be placed there now: cordoned
  out of the question
      1  cordoned                                   n00
",
    );
    assert!(nodes.release(class, at));
    assert!(nodes.explain_at(class, 0, at).is_none(), "it is not there any more");
}

/// With all nodes closed no zone is ahead of another: each that opens would do, though one has more
/// of its tasks than the other.
#[test]
fn a_spread_with_all_nodes_closed_is_told_that_any_would_do() {
    let mut nodes = Cluster::new(1);
    let mut web = shape("shop/web", 1, 1);
    web.placement.strategy = spread("zone", 0, 1);
    let records = ["a", "b"].map(|zone| node(4, 16, &[("zone", zone)]));
    nodes.set_node(&id(0), &records[0], true, &[]);
    let class = nodes.class(&web).unwrap();
    nodes.place(class, Ask::one(0)).unwrap();
    for (at, mut record) in (0..).zip(records) {
        record.cordoned = true;
        nodes.set_node(&id(at), &record, true, &[]);
    }
    check(
        &nodes.explain(class, Ask::one(1)),
        "
shop/web/1  waits   1 cpu, 1 GiB memory   spread over zone, skew at most 1
  placement  no      2 nodes looked at
      2  cordoned                                   n00 n01
  nearest    n00: cordoned
  would help
      2  nodes if uncordoned                        n00 n01
",
    );
}

/// A question about no nodes at all has an answer too.
#[test]
fn an_empty_cluster_says_that_it_is_empty() {
    let mut nodes = Cluster::new(1);
    let class = nodes.class(&shape("a/one", 0, 1)).unwrap();
    check(
        &nodes.explain(class, Ask::one(0)),
        "
a/one/0  waits   1 GiB memory   pack
  placement  no      0 nodes looked at
",
    );
}
