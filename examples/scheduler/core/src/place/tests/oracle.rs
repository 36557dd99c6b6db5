//! Placement as a list of rules, and nothing kept: every node and every task is looked at each
//! time.

use std::collections::BTreeMap;

use crate::place::constraint::{holds, tolerated};
use crate::place::mix::hash;
use crate::place::partition::assign;
use crate::place::{Ask, Shape, Term};
use crate::record::{ImageAt, NodeRecord, Taint, TaintEffect};
use crate::spec::{Affinity, PreferenceOf, Strategy};
use crate::types::NodeId;

pub(super) const SEED: u64 = 11;
const ONE: u64 = 65_536;

/// A node, or a place where tasks are said to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) record: Option<NodeRecord>,
    pub(super) alive: bool,
    pub(super) suspect: bool,
    pub(super) images: Vec<ImageAt>,
}

/// All there is.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Place>,
    pub(super) tasks: Vec<(Shape, NodeId)>,
    /// Hundredths, by shape's number and node.
    pub(super) failures: BTreeMap<(usize, NodeId), u32>,
}

type Amounts = [i64; 5];

fn asked(shape: &Shape) -> Amounts {
    let request = &shape.request;
    [
        i64::from(request.cpu),
        i64::try_from(request.memory).unwrap(),
        i64::try_from(request.disk).unwrap(),
        i64::from(request.pids),
        1,
    ]
}

/// What is asked about the tasks in a domain, and who asks.
struct Asker<'a> {
    affinity: &'a Affinity,
    namespace: &'a str,
}

impl Asker<'_> {
    fn is_about(&self, shape: &Shape) -> bool {
        let namespaces = &self.affinity.namespaces;
        let theirs = &*shape.job.namespace;
        let mut labels = shape.placement.labels.clone();
        labels.insert("job".to_owned(), shape.job.name.to_string());
        (namespaces.is_empty() && self.namespace == theirs
            || namespaces.iter().any(|one| one == theirs))
            && self.affinity.select.iter().all(|one| holds(one, &labels, ("", "")))
    }
}

impl World {
    fn domain(&self, node: &NodeId, label: &str) -> Option<String> {
        if label == "node" {
            return Some(node.to_string());
        }
        self.nodes[node].record.as_ref()?.labels.get(label).cloned()
    }

    fn free(&self, node: &NodeId) -> (Amounts, Amounts) {
        let record = self.nodes[node].record.as_ref().unwrap();
        let capacity = &record.capacity;
        let has = [
            i64::from(capacity.cpu),
            i64::try_from(capacity.memory).unwrap(),
            i64::try_from(capacity.disk).unwrap(),
            i64::from(capacity.pids),
            if record.tasks_max == 0 { i64::MAX / 4 } else { i64::from(record.tasks_max) },
        ];
        let mut free = has;
        for (shape, _) in self.tasks.iter().filter(|(_, at)| at == node) {
            for (free, asked) in free.iter_mut().zip(asked(shape)) {
                *free -= asked;
            }
        }
        (has, free)
    }

    /// Tasks that an affinity asks about, in the node's domain; none if it is in none.
    fn there(&self, asker: &Asker<'_>, node: &NodeId) -> Option<usize> {
        let domain = self.domain(node, &asker.affinity.domain)?;
        let here = |at: &NodeId| self.domain(at, &asker.affinity.domain).as_ref() == Some(&domain);
        Some(self.tasks.iter().filter(|(shape, at)| asker.is_about(shape) && here(at)).count())
    }

    fn own(&self, shape: &Shape) -> impl Iterator<Item = &NodeId> {
        let job = shape.job.clone();
        self.tasks.iter().filter(move |(other, _)| other.job == job).map(|(_, at)| at)
    }

    fn own_in(&self, shape: &Shape, label: &str, domain: Option<&String>) -> u32 {
        let here = |at: &&NodeId| self.domain(at, label).as_ref() == domain;
        u32::try_from(self.own(shape).filter(here).count()).unwrap()
    }

    /// The first of the filters that ask whether the node is fit for work at all.
    fn gate(&self, node: &NodeId) -> Option<&'static str> {
        let place = &self.nodes[node];
        let record = place.record.as_ref().unwrap();
        [
            (record.confirmed_dead, "confirmed-dead"),
            (!place.alive, "not-alive"),
            (record.drain.is_some(), "draining"),
            (record.cordoned, "cordoned"),
            (place.suspect, "suspect"),
        ]
        .into_iter()
        .find_map(|(is, code)| is.then_some(code))
    }

    fn fixed(&self, shape: &Shape, node: &NodeId) -> Option<&'static str> {
        let record = self.nodes[node].record.as_ref().unwrap();
        let mut taints = record.taints.clone();
        if record.interruptible {
            let (key, value) = ("interruptible".to_owned(), String::new());
            taints.push(Taint { key, value, effect: TaintEffect::NoSchedule });
        }
        let keeps = |taint: &Taint| {
            taint.effect != TaintEffect::PreferNoSchedule
                && !tolerated(taint, &shape.placement.tolerate)
        };
        if taints.iter().any(keeps) {
            return Some("taint");
        }
        let met = |one| holds(one, &record.labels, ("node", node.as_str()));
        if !shape.placement.require.iter().all(met) {
            return Some("label");
        }
        let runs = |runtime: &String| record.runtimes.contains(runtime);
        (!shape.runtime.as_ref().is_none_or(runs)).then_some("runtime")
    }

    fn short(&self, shape: &Shape, node: &NodeId) -> Option<&'static str> {
        let (_, free) = self.free(node);
        let kinds = ["cpu", "memory", "disk", "pids", "tasks"];
        let all = kinds.into_iter().zip(asked(shape)).zip(free);
        all.into_iter()
            .find_map(|((kind, asked), free)| (asked > 0 && asked > free).then_some(kind))
    }

    fn by_strategy(&self, shape: &Shape, ask: Ask, node: &NodeId) -> Option<&'static str> {
        match &shape.placement.strategy {
            Strategy::Spread { domain, domain_max, skew_max } => {
                let here = self.domain(node, domain);
                let count = self.own_in(shape, domain, here.as_ref());
                if *domain_max > 0 && count + 1 > *domain_max {
                    return Some("domain-max");
                }
                let least = self.least(shape, domain);
                let most = least.saturating_add(*skew_max);
                (*skew_max > 0 && count + 1 > most).then_some("skew")
            }
            Strategy::Partition { partitions, domain } => {
                let known = self.nodes.iter().filter(|(_, place)| place.record.is_some());
                let mut names: Vec<String> =
                    known.filter_map(|(node, _)| self.domain(node, domain)).collect();
                names.sort();
                names.dedup();
                let Some(here) = self.domain(node, domain) else { return Some("no-domain") };
                let cut =
                    assign(&names.iter().map(String::as_str).collect::<Vec<_>>(), *partitions);
                let at = names.iter().position(|name| *name == here).unwrap();
                (cut[at] != ask.index % partitions).then_some("partition")
            }
            Strategy::Pack | Strategy::Cluster { .. } => None,
        }
    }

    fn least(&self, shape: &Shape, label: &str) -> u32 {
        let known = self.nodes.iter().filter(|(_, place)| place.record.is_some());
        let open = known
            .map(|(node, _)| node)
            .filter(|node| self.gate(node).is_none() && self.fixed(shape, node).is_none());
        let counts = open.map(|node| self.own_in(shape, label, self.domain(node, label).as_ref()));
        counts.min().unwrap_or(u32::MAX)
    }

    fn by_others(&self, shape: &Shape, node: &NodeId) -> Option<&'static str> {
        let namespace = &*shape.job.namespace;
        for affinity in &shape.placement.near {
            let asker = Asker { affinity, namespace };
            let nobody = !self.tasks.iter().any(|(other, _)| asker.is_about(other));
            match self.there(&asker, node) {
                None => return Some("near"),
                Some(0) if !(nobody && asker.is_about(shape)) => return Some("near"),
                Some(_) => {}
            }
        }
        for affinity in &shape.placement.avoid {
            if self.there(&Asker { affinity, namespace }, node).unwrap_or(0) > 0 {
                return Some("avoid");
            }
        }
        for (other, at) in &self.tasks {
            for affinity in &other.placement.avoid {
                let asker = Asker { affinity, namespace: &other.job.namespace };
                let (here, there) =
                    (self.domain(node, &affinity.domain), self.domain(at, &affinity.domain));
                if asker.is_about(shape) && here.is_some() && here == there {
                    return Some("avoided-by");
                }
            }
        }
        None
    }

    fn but_cluster(&self, shape: &Shape, ask: Ask, node: &NodeId) -> Option<&'static str> {
        self.gate(node)
            .or_else(|| self.fixed(shape, node))
            .or_else(|| self.short(shape, node))
            .or_else(|| self.by_strategy(shape, ask, node))
            .or_else(|| self.by_others(shape, node))
    }

    /// The nodes among which a cluster lies.
    fn cluster(&self, shape: &Shape, ask: Ask, labels: &[String]) -> Vec<NodeId> {
        let known = self.nodes.iter().filter(|(_, place)| place.record.is_some());
        let fit: Vec<&NodeId> = known
            .map(|(node, _)| node)
            .filter(|node| self.but_cluster(shape, ask, node).is_none())
            .collect();
        for label in labels {
            let mut rooms: BTreeMap<String, u64> = BTreeMap::new();
            for &node in &fit {
                if let Some(domain) = self.domain(node, label) {
                    *rooms.entry(domain).or_default() += self.room(shape, node);
                }
            }
            let mut taken: Vec<Option<String>> =
                self.own(shape).map(|at| self.domain(at, label)).collect();
            taken.sort();
            taken.dedup();
            rooms.retain(|domain, room| {
                *room >= u64::from(ask.rest)
                    && (taken.is_empty() || taken == [Some(domain.clone())])
            });
            let tightest = rooms.iter().min_by_key(|&(domain, room)| (*room, domain.clone()));
            if let Some((domain, _)) = tightest {
                let here = |node: &&NodeId| self.domain(node, label).as_ref() == Some(domain);
                return fit.into_iter().filter(here).cloned().collect();
            }
        }
        Vec::new()
    }

    fn room(&self, shape: &Shape, node: &NodeId) -> u64 {
        let namespace = &*shape.job.namespace;
        let alone = shape.placement.avoid.iter().any(|affinity| {
            affinity.domain == "node" && Asker { affinity, namespace }.is_about(shape)
        });
        if alone {
            return 1;
        }
        let (_, free) = self.free(node);
        let rooms = free.into_iter().zip(asked(shape)).filter(|&(_, asked)| asked > 0);
        let room = rooms.map(|(free, asked)| free / asked).min().unwrap();
        u64::try_from(room).unwrap().min(u64::from(u32::MAX))
    }

    fn points(&self, number: usize, shape: &Shape, node: &NodeId) -> u64 {
        let place = &self.nodes[node];
        let record = place.record.as_ref().unwrap();
        let weigh = |term: Term, value: u64| u64::from(term.weight()) * value;
        let part = |value: f64| (value * 65_536.0) as u64;
        let (has, free) = self.free(node);
        let used = |kind: usize| {
            let inverse = if has[kind] > 0 { 1.0 / has[kind] as f64 } else { 0.0 };
            (1.0 - (free[kind] - asked(shape)[kind]) as f64 * inverse).clamp(0.0, 1.0)
        };
        let (cpu, memory) = (used(0), used(1));
        let mut points = weigh(Term::Balance, part(1.0 - (cpu - memory).abs()));
        if let Strategy::Spread { domain, .. } = &shape.placement.strategy {
            points += weigh(Term::Fit, part(1.0 - (cpu + memory) * 0.5));
            let here = self.domain(node, domain);
            let count = self.own_in(shape, domain, here.as_ref());
            let more = count.saturating_sub(self.least(shape, domain));
            points += weigh(Term::Domain, ONE / u64::from(more + 1));
            let alone = self.own_in(shape, "node", Some(&node.to_string()));
            points += weigh(Term::Node, ONE / u64::from(alone + 1));
        } else {
            points += weigh(Term::Fit, part((cpu + memory) * 0.5));
        }
        let bytes = place.images.iter().find(|one| one.name == shape.image);
        let bytes = bytes.map_or(0.0, |one| one.bytes as f64);
        points += weigh(Term::Image, part(bytes / (bytes + 268_435_456.0)));
        points += weigh(Term::Steady, if record.interruptible { 0 } else { ONE });
        let unwelcome = |taint: &Taint| {
            taint.effect == TaintEffect::PreferNoSchedule
                && !tolerated(taint, &shape.placement.tolerate)
        };
        let untainted = !record.taints.iter().any(unwelcome);
        points += weigh(Term::Untainted, if untainted { ONE } else { 0 });
        let failures = self.failures.get(&(number, node.clone())).copied().unwrap_or(0);
        points += weigh(Term::Health, ONE * 100 / (100 + u64::from(failures)));
        points + weigh(Term::Prefer, self.preferred(shape, node))
    }

    fn preferred(&self, shape: &Shape, node: &NodeId) -> u64 {
        let record = self.nodes[node].record.as_ref().unwrap();
        let namespace = &*shape.job.namespace;
        let prefer = &shape.placement.prefer;
        let sum: u64 = prefer.iter().map(|one| u64::from(one.weight)).sum();
        let there = |affinity| {
            self.there(&Asker { affinity, namespace }, node).is_some_and(|count| count > 0)
        };
        let met = prefer.iter().filter(|one| match &one.what {
            PreferenceOf::Labels(all) => {
                all.iter().all(|one| holds(one, &record.labels, ("node", node.as_str())))
            }
            PreferenceOf::Near(affinity) => there(affinity),
            PreferenceOf::Avoid(affinity) => !there(affinity),
        });
        met.map(|one| ONE * u64::from(one.weight) / sum).sum()
    }

    /// For each node with a record: how many points, or why not.
    pub(super) fn judge(
        &self,
        number: usize,
        shape: &Shape,
        ask: Ask,
    ) -> BTreeMap<NodeId, Result<u64, &'static str>> {
        let inside = match &shape.placement.strategy {
            Strategy::Cluster { domains } => Some(self.cluster(shape, ask, domains)),
            _ => None,
        };
        let known = self.nodes.iter().filter(|(_, place)| place.record.is_some());
        let judge = |node: &NodeId| match self.but_cluster(shape, ask, node) {
            Some(code) => Err(code),
            None if inside.as_ref().is_some_and(|inside| !inside.contains(node)) => Err("cluster"),
            None => Ok(self.points(number, shape, node)),
        };
        known.map(|(node, _)| (node.clone(), judge(node))).collect()
    }

    /// The best of them.
    pub(super) fn best(
        judged: &BTreeMap<NodeId, Result<u64, &'static str>>,
    ) -> Option<(NodeId, u64)> {
        let fit = judged.iter().filter_map(|(node, found)| Some((node, *found.as_ref().ok()?)));
        let tie = |node: &NodeId| hash(SEED, node.as_str()) >> 24;
        let best = fit.max_by_key(|&(node, points)| (points, tie(node)))?;
        Some((best.0.clone(), best.1))
    }
}
