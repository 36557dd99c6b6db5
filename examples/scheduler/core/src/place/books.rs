//! The books of a cluster: which nodes there are, which tasks are on them, and every count that a
//! decision asks for, kept up to date as they change.

use std::collections::HashMap;

use crate::record::ImageAt;

use super::class::Class;
use super::domain::{Domains, Key};
use super::node::{Amounts, KINDS, Node, Nodes};
use super::pool::Pool;
use super::profile::{Demand, Profile, UNFIT};
use super::relation::Relations;
use super::score;
use super::shape::Shape;
use super::tally::Tally;

/// How many changes of nodes are remembered: who is further behind looks at all nodes.
const LOG_COUNT: usize = 1 << 13;

/// All that is known.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) nodes: Nodes,
    pub(crate) domains: Domains,
    pub(crate) relations: Relations,
    pub(crate) profiles: Pool<Demand, Profile>,
    /// By image: what its being there adds, by node.
    pub(crate) images: Pool<String, Tally>,
    pub(crate) classes: Pool<Shape, Class>,
    /// Classes by each of their labels with its value.
    pub(crate) labelled: HashMap<u64, Vec<u32>>,
    log: Vec<u32>,
    /// How many changes of nodes there were.
    pub(crate) changes: u64,
}

impl Books {
    pub(crate) fn new() -> Books {
        Books {
            nodes: Nodes::default(),
            domains: Domains::new(),
            relations: Relations::default(),
            profiles: Pool::default(),
            images: Pool::default(),
            classes: Pool::default(),
            labelled: HashMap::new(),
            log: vec![0; LOG_COUNT],
            changes: 0,
        }
    }

    /// Notes that this node's rank may be another now.
    pub(crate) fn note(&mut self, node: u32) {
        let at = usize::try_from(self.changes).expect("a count of changes") % LOG_COUNT;
        self.log[at] = node;
        self.changes += 1;
    }

    /// The nodes that changed since then; none if that is too long ago.
    pub(crate) fn changed_since(&self, then: u64) -> Option<impl Iterator<Item = u32> + '_> {
        let behind = usize::try_from(self.changes - then).ok()?;
        let start = usize::try_from(then).expect("a count of changes");
        (behind <= LOG_COUNT)
            .then(|| (0..behind).map(move |i| self.log[start.wrapping_add(i) % LOG_COUNT]))
    }

    /// What the tasks on a node use.
    pub(crate) fn used_on(&self, node: u32) -> Amounts {
        let mut used = [0; KINDS];
        for &(class, count) in &self.nodes.all[node as usize].residents {
            let request = &self.classes[class].request;
            for (used, request) in used.iter_mut().zip(request) {
                *used += request * i64::from(count);
            }
        }
        used
    }

    /// A task came.
    pub(crate) fn put(&mut self, class: u32, node: u32) {
        let Books { nodes, domains, relations, classes, .. } = self;
        let kind = &mut classes[class];
        let slot = &mut nodes.slots[node as usize];
        for (free, request) in slot.free.iter_mut().zip(&kind.request) {
            *free -= request;
        }
        let residents = &mut nodes.all[node as usize].residents;
        match residents.binary_search_by_key(&class, |&(class, _)| class) {
            Ok(at) => residents[at].1 += 1,
            Err(at) => residents.insert(at, (class, 1)),
        }
        kind.places.add(node, 1);
        for &id in &kind.matches {
            let domain = domains.of(relations.all.key(id).key, node);
            relations.all[id].matched.add(domain, 1);
        }
        for &id in &kind.avoid {
            let domain = domains.of(relations.all.key(id).key, node);
            relations.all[id].holders.add(domain, 1);
        }
        self.note(node);
    }

    /// A task went. Says whether there was one.
    pub(crate) fn take(&mut self, class: u32, node: u32) -> bool {
        let Books { nodes, domains, relations, classes, .. } = self;
        let residents = &mut nodes.all[node as usize].residents;
        let Ok(at) = residents.binary_search_by_key(&class, |&(class, _)| class) else {
            return false;
        };
        residents[at].1 -= 1;
        if residents[at].1 == 0 {
            residents.remove(at);
        }
        let kind = &mut classes[class];
        let slot = &mut nodes.slots[node as usize];
        for (free, request) in slot.free.iter_mut().zip(&kind.request) {
            *free += request;
        }
        kind.places.take(node, 1);
        for &id in &kind.matches {
            let domain = domains.of(relations.all.key(id).key, node);
            relations.all[id].matched.take(domain, 1);
        }
        for &id in &kind.avoid {
            let domain = domains.of(relations.all.key(id).key, node);
            relations.all[id].holders.take(domain, 1);
        }
        self.note(node);
        true
    }

    /// Counts a node's tasks in its domains, or counts them out before it changes its domains.
    pub(crate) fn count_residents(&mut self, node: u32, there: bool) {
        let Books { nodes, domains, relations, classes, .. } = self;
        for &(class, count) in &nodes.all[node as usize].residents {
            let kind = &classes[class];
            for &id in &kind.matches {
                let domain = domains.of(relations.all.key(id).key, node);
                relations.all[id].matched.change(domain, count, there);
            }
            for &id in &kind.avoid {
                let domain = domains.of(relations.all.key(id).key, node);
                relations.all[id].holders.change(domain, count, there);
            }
        }
    }

    /// The key of a label.
    pub(crate) fn key(&mut self, label: &str) -> Key {
        let nodes = &self.nodes;
        self.domains.key(label, |node| {
            let record = nodes.all[node].record.as_ref()?;
            record.labels.get(label).map(|value| value.as_str().into())
        })
    }

    /// The answers of all profiles for a node that has changed.
    pub(crate) fn profile_node(&mut self, node: u32) {
        let Node { id, record, .. } = &self.nodes.all[node as usize];
        let ids: Vec<u32> = self.profiles.ids().collect();
        for profile in ids {
            let demand = self.profiles.key(profile);
            let points = record.as_ref().map_or(UNFIT, |record| demand.points(id, record));
            let list = &mut self.profiles[profile].points;
            list.resize(list.len().max(node as usize + 1), UNFIT);
            list[node as usize] = points;
        }
    }

    /// The number of a demand, with its answers.
    pub(crate) fn profile(&mut self, demand: Demand) -> u32 {
        if let Some(profile) = self.profiles.find(&demand) {
            return profile;
        }
        let answer = |node: &Node| {
            node.record.as_ref().map_or(UNFIT, |record| demand.points(&node.id, record))
        };
        let points = self.nodes.all.iter().map(answer).collect();
        self.profiles.insert(demand, Profile { points })
    }

    /// The images that a node has are these now: it is told apart which come and go.
    pub(crate) fn image_node(&mut self, node: u32, images: &[ImageAt]) {
        let old = std::mem::replace(&mut self.nodes.all[node as usize].images, images.to_vec());
        for one in old {
            let id = self.images.find(&one.name).expect("what a node has is known");
            self.images[id].set(node, 0);
            self.let_go_image(id);
        }
        let images = self.nodes.all[node as usize].images.clone();
        for one in images {
            let id = self.image(&one.name);
            self.images.hold(id);
            self.images[id].set(node, score::image(one.bytes));
        }
    }

    /// The number of an image.
    pub(crate) fn image(&mut self, name: &str) -> u32 {
        match self.images.find(&name.to_owned()) {
            Some(id) => id,
            None => self.images.insert(name.to_owned(), Tally::default()),
        }
    }

    pub(crate) fn let_go_image(&mut self, id: u32) {
        if self.images.let_go(id) {
            self.images.remove(id);
        }
    }
}
