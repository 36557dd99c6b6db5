//! Relations: "such tasks, in my domain", counted as tasks come and go.
//!
//! `near`, `avoid` and spreading all ask how many tasks with certain labels are in a domain. To
//! look at all tasks for it is what makes affinity slow elsewhere. Here each such question is kept
//! once, with its answer for every domain, and a task that comes or goes changes the answers to the
//! questions that it matches: asking costs one look.
//!
//! Each has a second count: how many tasks in a domain *hold* it against others. A newcomer that
//! matches a question with which somebody there avoids, stays away, though it avoids nobody.

use std::collections::{BTreeMap, HashMap};

use crate::spec::{Affinity, Constraint, Operator};

use super::constraint::{self, JOB};
use super::domain::{Domains, Key};
use super::mix;
use super::pool::Pool;
use super::tally::Tally;

/// Which tasks, and what counts as the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) select: Vec<Constraint>,
    /// Sorted, each once, at least one.
    pub(crate) namespaces: Vec<String>,
    pub(crate) key: Key,
}

impl Question {
    /// As a task of this namespace asks it.
    pub(crate) fn of(affinity: &Affinity, namespace: &str, key: Key) -> Question {
        let mut namespaces = affinity.namespaces.clone();
        if namespaces.is_empty() {
            namespaces.push(namespace.to_owned());
        }
        namespaces.sort();
        namespaces.dedup();
        Question { select: affinity.select.clone(), namespaces, key }
    }

    /// The tasks of one job.
    pub(crate) fn of_job(namespace: &str, name: &str, key: Key) -> Question {
        let (label, values) = (JOB.to_owned(), vec![name.to_owned()]);
        let select = vec![Constraint { label, operator: Operator::In, values }];
        Question { select, namespaces: vec![namespace.to_owned()], key }
    }

    /// Whether it asks about tasks with these labels.
    pub(crate) fn matches(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.namespaces.iter().any(|one| one == namespace)
            && self.select.iter().all(|one| constraint::holds(one, labels, ("", "")))
    }

    /// As people read it: `app=web in the same zone`.
    pub(crate) fn text(&self, namespace: &str, domains: &Domains) -> String {
        let place = match self.key {
            Key::NODE => "on the node".to_owned(),
            key => format!("in the {}", domains.label(key)),
        };
        let what = constraint::text_of_all(&self.select);
        let own = self.namespaces.iter().map(String::as_str).eq([namespace]);
        match self.namespaces.as_slice() {
            _ if own => format!("{what} {place}"),
            [one] => format!("{what} of {one} {place}"),
            many => format!("{what} of {} namespaces {place}", many.len()),
        }
    }

    /// Labels of which a task must have one to match: then only those need be looked at.
    pub(crate) fn anchors(&self) -> Option<Vec<u64>> {
        let first = self.select.iter().find(|one| one.operator == Operator::In)?;
        let mut anchors: Vec<u64> =
            first.values.iter().map(|value| anchor(&first.label, value)).collect();
        anchors.sort_unstable();
        anchors.dedup();
        Some(anchors)
    }
}

/// A label with its value, as one number. Two that collide cost a look and nothing else.
pub(crate) fn anchor(label: &str, value: &str) -> u64 {
    mix::hash(mix::hash(0, label), value)
}

/// A question, and its answer for every domain.
#[derive(Debug, Default)]
pub(crate) struct Relation {
    /// Tasks that match, by domain.
    pub(crate) matched: Tally,
    /// Tasks that avoid by it, by domain.
    pub(crate) holders: Tally,
    /// Classes that avoid by it.
    pub(crate) avoiders: u32,
}

/// All questions that are asked.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    pub(crate) all: Pool<Question, Relation>,
    anchored: HashMap<u64, Vec<u32>>,
    loose: Vec<u32>,
}

impl Relations {
    /// Takes in a question that is not asked yet.
    pub(crate) fn insert(&mut self, question: Question) -> u32 {
        let anchors = question.anchors();
        let id = self.all.insert(question, Relation::default());
        match anchors {
            None => self.loose.push(id),
            Some(anchors) => {
                for one in anchors {
                    self.anchored.entry(one).or_default().push(id);
                }
            }
        }
        id
    }

    /// Forgets one that nobody asks any more.
    pub(crate) fn remove(&mut self, id: u32) {
        match self.all.key(id).anchors() {
            None => self.loose.retain(|&one| one != id),
            Some(anchors) => {
                for one in anchors {
                    let list = self.anchored.get_mut(&one).expect("it was put there");
                    list.retain(|&other| other != id);
                    if list.is_empty() {
                        self.anchored.remove(&one);
                    }
                }
            }
        }
        self.all.remove(id);
    }

    /// Those that ask about tasks with these labels, in order.
    pub(crate) fn about(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<u32> {
        let anchors = labels.iter().map(|(label, value)| anchor(label, value));
        let anchored = anchors.filter_map(|one| self.anchored.get(&one)).flatten();
        let mut found: Vec<u32> = anchored
            .chain(&self.loose)
            .copied()
            .filter(|&id| self.all.key(id).matches(namespace, labels))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
