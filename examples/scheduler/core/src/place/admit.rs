//! How classes enter the books and leave them: their questions are looked up among those that are
//! asked already, and everyone whom they concern is told.

use std::collections::BTreeMap;

use crate::spec::{Affinity, PreferenceOf, Strategy};

use super::books::Books;
use super::class::{Class, Plan, Scope, put_in, take_out};
use super::constraint::{JOB, NODE};
use super::node::amounts;
use super::profile::Demand;
use super::relation::{Question, anchor};
use super::score::{Term, preference};
use super::shape::Shape;
use super::tally::Tally;

impl Books {
    /// The number of a class, which is taken in if it is new.
    pub(crate) fn admit(&mut self, shape: &Shape) -> u32 {
        if let Some(class) = self.classes.find(shape) {
            self.classes[class].retired = false;
            return class;
        }
        let class = self.draw_up(shape);
        let (avoid, relations) = (class.avoid.clone(), relations_of(&class));
        let labels = class.labels.clone();
        let class = self.classes.insert(shape.clone(), class);
        for relation in relations {
            self.relations.all.hold(relation);
        }
        for (label, value) in &labels {
            put_in(self.labelled.entry(anchor(label, value)).or_default(), class);
        }
        self.rescope(class);
        for relation in avoid {
            self.avoiders(relation, true);
        }
        class
    }

    /// Forgets a class that has no task.
    pub(crate) fn dismiss(&mut self, class: u32) {
        assert_eq!(self.classes[class].places.total(), 0, "it has no task");
        for relation in self.classes[class].avoid.clone() {
            self.avoiders(relation, false);
        }
        let shape_labels = std::mem::take(&mut self.classes[class].labels);
        for (label, value) in &shape_labels {
            let at = anchor(label, value);
            let list = self.labelled.get_mut(&at).expect("it was put there");
            take_out(list, class);
            if list.is_empty() {
                self.labelled.remove(&at);
            }
        }
        let gone = self.classes.remove(class);
        for relation in relations_of(&gone) {
            if self.relations.all.let_go(relation) {
                for other in self.asked_about(relation) {
                    take_out(&mut self.classes[other].matches, relation);
                }
                self.relations.remove(relation);
            }
        }
        if self.profiles.let_go(gone.profile) {
            self.profiles.remove(gone.profile);
        }
        self.let_go_image(gone.image);
    }

    fn draw_up(&mut self, shape: &Shape) -> Class {
        let placement = &shape.placement;
        let namespace = &*shape.job.namespace;
        let mut labels = placement.labels.clone();
        labels.insert(JOB.to_owned(), shape.job.name.to_string());
        let profile = self.profile(demand(shape));
        self.profiles.hold(profile);
        let image = self.image(&shape.image);
        self.images.hold(image);
        let plan = self.plan(shape);
        let near = self.affinities(&placement.near, namespace);
        let avoid = self.affinities(&placement.avoid, namespace);
        let sum = preference_sum(shape);
        let mut prefer = Vec::new();
        for one in &placement.prefer {
            let points = Term::Prefer.points(preference(one.weight, sum));
            match &one.what {
                PreferenceOf::Labels(_) => {}
                PreferenceOf::Near(affinity) => {
                    prefer.push((points, true, self.affinity(affinity, namespace)));
                }
                PreferenceOf::Avoid(affinity) => {
                    prefer.push((points, false, self.affinity(affinity, namespace)));
                }
            }
        }
        let matches = self.relations.about(namespace, &labels);
        let held = |&id: &u32| self.relations.all[id].avoiders > 0;
        let avoided_by = matches.iter().copied().filter(held).collect();
        let request = amounts(&shape.request);
        let need = request.map(|amount| if amount == 0 { i64::MIN } else { amount });
        Class {
            labels,
            request,
            need,
            profile,
            image,
            plan,
            near,
            avoid,
            prefer,
            matches,
            avoided_by,
            failures: BTreeMap::new(),
            places: Tally::default(),
            retired: false,
            scope: Scope::default(),
            scopes: 0,
            view: None,
            has_own_view: false,
        }
    }

    fn plan(&mut self, shape: &Shape) -> Plan {
        let (namespace, name) = (&*shape.job.namespace, &*shape.job.name);
        match &shape.placement.strategy {
            Strategy::Pack => Plan::Pack,
            Strategy::Spread { domain, domain_max, skew_max } => {
                let (key, node) = (self.key(domain), self.key(NODE));
                let by_domain = self.relation(Question::of_job(namespace, name, key));
                let by_node = self.relation(Question::of_job(namespace, name, node));
                let (domain_max, skew_max) = (*domain_max, *skew_max);
                Plan::Spread { key, domain_max, skew_max, by_domain, by_node }
            }
            Strategy::Cluster { domains } => {
                let mut levels = Vec::new();
                for domain in domains {
                    let key = self.key(domain);
                    levels.push((key, self.relation(Question::of_job(namespace, name, key))));
                }
                Plan::Cluster { levels }
            }
            Strategy::Partition { partitions, domain } => {
                Plan::Partition { key: self.key(domain), partitions: *partitions }
            }
        }
    }

    fn affinities(&mut self, list: &[Affinity], namespace: &str) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::new();
        for one in list {
            let id = self.affinity(one, namespace);
            // What is asked twice is asked once, in the order in which it was written.
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    fn affinity(&mut self, affinity: &Affinity, namespace: &str) -> u32 {
        let key = self.key(&affinity.domain);
        self.relation(Question::of(affinity, namespace, key))
    }

    /// The number of a question, with the answers of the tasks that are there.
    fn relation(&mut self, question: Question) -> u32 {
        if let Some(id) = self.relations.all.find(&question) {
            return id;
        }
        let key = question.key;
        let id = self.relations.insert(question);
        let mut matched = Tally::default();
        for class in self.asked_about(id) {
            let class = &mut self.classes[class];
            put_in(&mut class.matches, id);
            for (node, count) in class.places.iter() {
                matched.add(self.domains.of(key, node), count);
            }
        }
        self.relations.all[id].matched = matched;
        id
    }

    /// The classes that match a question.
    pub(crate) fn asked_about(&self, relation: u32) -> Vec<u32> {
        let question = self.relations.all.key(relation);
        let matches = |&class: &u32| {
            let namespace = &self.classes.key(class).job.namespace;
            question.matches(namespace, &self.classes[class].labels)
        };
        let Some(anchors) = question.anchors() else {
            return self.classes.ids().filter(matches).collect();
        };
        let lists = anchors.iter().filter_map(|one| self.labelled.get(one));
        let mut found: Vec<u32> = lists.flatten().copied().filter(matches).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// One class more, or one less, avoids by this: the first and the last concern all who match.
    fn avoiders(&mut self, relation: u32, more: bool) {
        let avoiders = &mut self.relations.all[relation].avoiders;
        let turns = if more { *avoiders == 0 } else { *avoiders == 1 };
        *avoiders = if more { *avoiders + 1 } else { *avoiders - 1 };
        if !turns {
            return;
        }
        for class in self.asked_about(relation) {
            let list = &mut self.classes[class].avoided_by;
            if more {
                put_in(list, relation);
            } else {
                take_out(list, relation);
            }
            self.rescope(class);
        }
    }

    /// What a class has to look at has changed.
    pub(crate) fn rescope(&mut self, class: u32) {
        let relations = &self.relations.all;
        let scope = self.classes[class].scope_with(|id| relations.key(id).key);
        let class = &mut self.classes[class];
        class.scope = scope;
        class.scopes += 1;
        class.view = None;
    }
}

/// The relations that a class holds, one as often as it is named.
fn relations_of(class: &Class) -> Vec<u32> {
    let mut all = class.plan.relations();
    all.extend(class.near.iter().chain(&class.avoid));
    all.extend(class.prefer.iter().map(|&(_, _, relation)| relation));
    all
}

/// The sum of the weights of all that it prefers.
pub(crate) fn preference_sum(shape: &Shape) -> u32 {
    shape.placement.prefer.iter().map(|one| one.weight).sum()
}

fn demand(shape: &Shape) -> Demand {
    let placement = &shape.placement;
    let labels = placement.prefer.iter().filter_map(|one| match &one.what {
        PreferenceOf::Labels(all) => Some((one.weight, all.clone())),
        PreferenceOf::Near(_) | PreferenceOf::Avoid(_) => None,
    });
    Demand {
        require: placement.require.clone(),
        tolerate: placement.tolerate.clone(),
        runtime: shape.runtime.clone(),
        prefer: labels.collect(),
        prefer_sum: preference_sum(shape),
    }
}
