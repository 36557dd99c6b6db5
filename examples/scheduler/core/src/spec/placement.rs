//! Where tasks may go, and where best.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a node must have, what it should have, and how the tasks of one job lie to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// How the tasks of the job lie to each other.
    pub strategy: Strategy,
    /// All must hold of the node's labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Constraint>,
    /// Each that holds makes the node better.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Preference>,
    /// Other tasks that must be in the same domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Affinity>,
    /// Other tasks that must not be in the same domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<Affinity>,
    /// Taints that do not keep it away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerate: Vec<Toleration>,
    /// Labels of its tasks, which the `near` and `avoid` of others look at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How the tasks of one job lie to each other. A domain is the value of a node label: all nodes
/// with `zone=a` are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// On as few nodes as possible.
    #[default]
    Pack,
    /// Evenly over domains, then over nodes.
    Spread {
        /// The label.
        domain: String,
        /// Never more than so many in one; 0 is no bound.
        #[serde(default)]
        domain_max: u32,
        /// Never more than so many more than in the domain with the fewest; 0 is no bound.
        #[serde(default)]
        skew_max: u32,
    },
    /// In one domain: in the first of these labels by which all fit into one.
    Cluster {
        /// Labels, the narrowest first.
        domains: Vec<String>,
    },
    /// In so many disjoint groups of domains; task n belongs to group n mod `partitions`, and its
    /// `MASON_PARTITION` says so.
    Partition {
        /// How many.
        partitions: u32,
        /// The label.
        domain: String,
    },
}

/// Something about one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Constraint {
    /// Which label.
    pub label: String,
    /// What about it.
    pub operator: Operator,
    /// Compared with these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What is asked of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    /// It is one of the values.
    In,
    /// It is none of the values, or missing.
    NotIn,
    /// It is there.
    Exists,
    /// It is missing.
    Missing,
    /// It is a number, and greater than the value.
    Gt,
    /// It is a number, and less than the value.
    Lt,
}

/// What makes a node better.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preference {
    /// 1 to 100.
    pub weight: u32,
    /// If this holds.
    pub what: PreferenceOf,
}

/// What is preferred.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreferenceOf {
    /// All of these hold of its labels.
    Labels(Vec<Constraint>),
    /// Such tasks are in its domain.
    Near(Affinity),
    /// No such tasks are in its domain.
    Avoid(Affinity),
}

/// Other tasks, and what counts as the same place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Affinity {
    /// All of these hold of the other task's labels. A task has `job` with the name of its job
    /// besides those of its placement.
    pub select: Vec<Constraint>,
    /// In these namespaces; in its own if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The label whose value tells places apart; `node` is each node by itself.
    pub domain: String,
}

/// A taint that does not keep it away.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Toleration {
    /// The taint's key; every taint if empty.
    #[serde(default)]
    pub key: String,
    /// The taint's value; every value if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Against this effect alone; against each if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<crate::record::TaintEffect>,
}
