//! Why no node takes a task: each node under the first reason that holds, and the nearest miss.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

use super::books::Books;
use super::class::{ClassId, Plan};
use super::cluster::Cluster;
use super::decide::{Ask, Outlook};
use super::domain::MISSING;
use super::node::Gate;
use super::obstacle::{Kind, Obstacle};
use super::partition::name;

/// Why no node takes a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejections {
    /// How many nodes were looked at.
    pub nodes: usize,
    /// How many of those would take it: 0, unless it was asked about a task that has a place.
    pub fit: usize,
    /// All others, each under one reason, in the order of the filters.
    pub groups: Vec<Rejected>,
    /// The node that lacks least.
    pub nearest: Option<NearMiss>,
    /// A cluster: where there is most room, by the widest of its labels.
    pub room: Option<Room>,
}

/// Nodes that are out of the question for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why.
    pub obstacle: Obstacle,
    /// How many.
    pub count: usize,
    /// Some of them, the first by name: at most [`SAMPLE_COUNT`].
    pub nodes: Vec<NodeId>,
    /// If something is short: by how much at least and at most.
    pub short: Option<(u64, u64)>,
}

/// So many nodes of a group are named.
pub const SAMPLE_COUNT: usize = 8;

/// A node that nearly takes the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// Which.
    pub node: NodeId,
    /// What is in the way, besides what is short.
    pub obstacles: Vec<Obstacle>,
    /// What is short.
    pub shortages: Vec<Shortage>,
}

/// Too little of something on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Of what.
    pub kind: Kind,
    /// How much more it would take.
    pub short: u64,
    /// How much is free.
    pub free: u64,
    /// How much is asked for.
    pub asked: u64,
}

/// Where most tasks of a job fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The label.
    pub label: String,
    /// Its value.
    pub domain: String,
    /// How many fit.
    pub tasks: u64,
    /// How many must.
    pub asked: u32,
}

/// A node with all that keeps a task from it; nothing if it fits.
pub(crate) type Verdict = (u32, Vec<Obstacle>);

impl Cluster {
    /// Looks at all nodes for one task, and says what keeps it from each.
    pub fn rejections(&mut self, class: ClassId, ask: Ask) -> Rejections {
        let (outlook, room) = self.outlook(class.0, ask);
        let verdicts = self.books.verdicts(class.0, &outlook);
        self.books.rejections(class.0, &verdicts, room)
    }

    /// What a decision would know of domains; and for a cluster that has none, where most room is.
    pub(crate) fn outlook(&mut self, class: u32, ask: Ask) -> (Outlook, Option<Room>) {
        let (view, layout) = self.views.of(&mut self.books, class);
        let books = &self.books;
        let kind = &books.classes[class];
        let outlook = books.outlook(kind, ask, (view, layout), &mut self.partitions);
        let room = match (&kind.plan, &outlook) {
            (Plan::Cluster { levels }, Outlook::Domain(None)) => {
                let &(key, _) = levels.last().expect("a cluster has a label");
                let rooms = books.rooms(kind, key, (view, layout));
                let named =
                    (0..).zip(rooms).filter(|&(domain, room)| domain != MISSING && room > 0);
                let best = named.max_by_key(|&(domain, room)| {
                    (room, std::cmp::Reverse(name(books, key, domain)))
                });
                best.map(|(domain, tasks)| Room {
                    label: books.domains.label(key).to_owned(),
                    domain: name(books, key, domain).to_owned(),
                    tasks,
                    asked: ask.rest.max(1),
                })
            }
            _ => None,
        };
        (outlook, room)
    }
}

impl Books {
    /// Every node with a record, in the order of names, with what keeps the class from it.
    pub(crate) fn verdicts(&self, class: u32, outlook: &Outlook) -> Vec<Verdict> {
        let mut nodes: Vec<u32> = self.nodes.known().collect();
        nodes.sort_by_key(|&node| &self.nodes.all[node as usize].id);
        nodes.into_iter().map(|node| (node, self.obstacles(class, outlook, node))).collect()
    }

    pub(crate) fn rejections(
        &self,
        class: u32,
        verdicts: &[Verdict],
        room: Option<Room>,
    ) -> Rejections {
        let mut groups: BTreeMap<&Obstacle, Rejected> = BTreeMap::new();
        for (node, obstacles) in verdicts {
            let Some(obstacle) = obstacles.first() else { continue };
            let group = groups.entry(obstacle).or_insert_with(|| Rejected {
                obstacle: obstacle.clone(),
                count: 0,
                nodes: Vec::new(),
                short: None,
            });
            group.count += 1;
            if group.nodes.len() < SAMPLE_COUNT {
                group.nodes.push(self.nodes.all[*node as usize].id.clone());
            }
            if let Obstacle::Short(kind) = obstacle {
                let short = self.shortage(class, *node, *kind).short;
                let (lo, hi) = group.short.unwrap_or((short, short));
                group.short = Some((lo.min(short), hi.max(short)));
            }
        }
        let groups: Vec<Rejected> = groups.into_values().collect();
        let fit = verdicts.len() - groups.iter().map(|group| group.count).sum::<usize>();
        let nearest = self.nearest(class, verdicts);
        Rejections { nodes: verdicts.len(), fit, groups, nearest, room }
    }

    /// Of the nodes that live and do not fit, the one with the fewest other obstacles, and the
    /// least part of what is asked for missing.
    fn nearest(&self, class: u32, verdicts: &[Verdict]) -> Option<NearMiss> {
        let lives = |node: u32| {
            !matches!(self.nodes.slots[node as usize].gate, Gate::ConfirmedDead | Gate::NotAlive)
        };
        let near =
            verdicts.iter().filter(|(node, obstacles)| !obstacles.is_empty() && lives(*node));
        let (node, obstacles) = near.min_by(|(a, a_obstacles), (b, b_obstacles)| {
            let others = |all: &[Obstacle]| all.iter().filter(|one| !is_short(one)).count();
            others(a_obstacles)
                .cmp(&others(b_obstacles))
                .then(self.missing(class, *a).total_cmp(&self.missing(class, *b)))
        })?;
        let obstacles = obstacles.iter().filter(|one| !is_short(one)).cloned().collect();
        let id = self.nodes.all[*node as usize].id.clone();
        Some(NearMiss { node: id, obstacles, shortages: self.shortages(class, *node) })
    }

    /// The greatest part of what is asked for that is missing.
    fn missing(&self, class: u32, node: u32) -> f64 {
        let parts = self.shortages(class, node).into_iter();
        parts.map(|one| one.short as f64 / one.asked as f64).fold(0.0, f64::max)
    }

    pub(crate) fn shortages(&self, class: u32, node: u32) -> Vec<Shortage> {
        let all = Kind::ALL.into_iter().map(|kind| self.shortage(class, node, kind));
        all.filter(|one| one.asked > 0 && one.short > 0).collect()
    }

    fn shortage(&self, class: u32, node: u32, kind: Kind) -> Shortage {
        let at = Kind::ALL.iter().position(|&one| one == kind).expect("all are in");
        let amount = |value: i64| u64::try_from(value).unwrap_or(0);
        let (asked, free) =
            (self.classes[class].request[at], self.nodes.slots[node as usize].free[at]);
        Shortage { kind, short: amount(asked - free), free: amount(free), asked: amount(asked) }
    }
}

pub(crate) fn is_short(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Short(_))
}
