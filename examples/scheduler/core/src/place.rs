//! Which node for which task, and why not the others.
//!
//! # Problem
//! A task can go to any of thousands of nodes that it fits and that its owner, the node's operator
//! and the owners of other tasks allow; among them one is best. To find it one can look at all
//! nodes, but then ten thousand tasks cost fifty million looks; and for "not where another copy is"
//! one can look at all tasks on each of them. So schedulers sample: they look at a few nodes and
//! take the best of those. What comes of that cannot be explained to whoever waits.
//!
//! # Idea
//! A decision changes one node, and the next one asks nearly the same question. So answers are
//! kept:
//!
//! ```text
//!   Shape ──class()──► class: tasks that cannot be told apart share all that follows
//!                        │
//!      nodes ──────► profile   labels, taints, runtime: once for each node
//!      tasks ──────► relation  "such tasks in this domain": a count, kept as tasks come and go
//!                        │
//!                      view    the rank of each node; best of each block, best of each cell
//!                        │          ▲
//!                        │          └── the log of changed nodes: only these are ranked anew
//!                        ▼
//!      try_place ──► best cell's best node ──► counted there at once (release undoes it)
//! ```
//!
//! What a node's rank depends on alone lies in the view. What is asked of a whole domain is asked
//! at the decision, once for each cell of nodes that agree in all labels that the class asks about.
//! A decision costs a few hundred nanoseconds however many nodes there are; a class that was never
//! asked about costs one look at each node.
//!
//! ```
//! use mason_core::place::{Ask, Cluster, Shape};
//! use mason_core::record::NodeRecord;
//! use mason_core::spec::Resources;
//! use mason_core::types::{JobKey, NodeId};
//!
//! let capacity = Resources { cpu: 4000, memory: 8 << 30, disk: 0, pids: 0 };
//! let record = NodeRecord { capacity, ..NodeRecord::default() };
//! let mut cluster = Cluster::new(1);
//! cluster.set_node(&NodeId::from("n1"), &record, true, &[]);
//!
//! let request = Resources { cpu: 3000, memory: 1 << 30, disk: 0, pids: 0 };
//! let class = cluster.class(&Shape::new(JobKey::new("ml", "train"), request))?;
//! let placed = cluster.place(class, Ask::one(0)).expect("it fits");
//! assert_eq!(cluster.name(placed.node).as_str(), "n1");
//!
//! let why = cluster.explain(class, Ask::one(1)).to_string();
//! assert!(why.contains("1  cpu short by 2"), "{why}");
//! # Ok::<(), mason_core::place::BadShape>(())
//! ```
//!
//! # Promises
//! * The node found is *the* best: nothing is sampled, and nothing is approximated but this: the
//!   room of a domain for a whole job (cluster) counts what each node has room for, and not that
//!   its own tasks may keep each other out of a domain wider than a node.
//! * The same calls with the same seed give the same answers. Between equally good nodes a hash of
//!   the name and the seed decides.
//! * A decision is in the books when it is returned, so the next one cannot use the same room.
//! * [`Rejections`] counts each node under one reason, the first in the order of [`Obstacle`].
//!
//! # Rules that could have been others
//! * A capacity of 0 is nothing, not "unknown"; a `tasks_max` of 0 is no bound. A task that asks
//!   for nothing of something fits even where less than nothing is free.
//! * An interruptible node has the taint `interruptible` (no-schedule) without being told.
//! * Spread: the nodes that lack the label are one domain together, as they may share a fate for
//!   all one knows. Cluster and partition: they are in none. The skew counts from the emptiest
//!   domain with a node that lives, admits tasks, and that the task tolerates and whose labels it
//!   accepts, full or not.
//! * `near` is met if such a task is in the domain; or if there is none anywhere and the task is
//!   itself of the kind, so that a crowd can begin. `avoid` works both ways: who is avoided by a
//!   task that is there stays away.
//! * Cluster: the first label by which one domain has room for all that waits; of several domains
//!   the one with the least room. Once tasks of the job are somewhere, only the domain that they
//!   are in is looked at, label by label.
//!
//! # Left out
//! Preemption, reservations, devices and actual use are not looked at. Labels that placements have
//! named, and their values, are never forgotten. [`Cluster`] keeps numbers of tasks and not their
//! names, so "when task x ends" says whose task and on which node.

mod admit;
mod books;
mod check;
mod class;
mod cluster;
mod constraint;
mod decide;
mod domain;
mod explain;
mod layout;
pub mod measure;
mod mix;
mod node;
mod obstacle;
mod partition;
mod pool;
mod profile;
mod rank;
mod rejections;
mod relation;
mod render;
mod score;
mod shape;
mod tally;
mod view;
mod views;

#[cfg(test)]
mod tests;

pub use class::ClassId;
pub use cluster::{Cluster, Placed};
pub use constraint::{INTERRUPTIBLE, JOB, NODE};
pub use decide::Ask;
pub use explain::{At, CANDIDATES_COUNT, Candidate, Explanation, Help};
pub use node::NodeIx;
pub use obstacle::{Kind, Obstacle};
pub use rejections::{NearMiss, Rejected, Rejections, Room, SAMPLE_COUNT, Shortage};
pub use score::{Score, Term};
pub use shape::{BadShape, PARTITIONS_MAX, Shape};
