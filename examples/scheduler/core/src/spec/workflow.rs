//! Jobs in an order: steps and graphs over templates, with values that flow from one to the next.
//!
//! The shape is Argo's, for that is what people have: a workflow names one template as its entry, a
//! template is a container, or steps, or a graph, whose nodes name templates again. Values are
//! text, and `{{…}}` in any text is replaced when a node starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Placement, Retry, Task, Ttl};
use crate::types::Ms;

/// Templates, and where to begin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workflow {
    /// The template that is the whole.
    pub entrypoint: String,
    /// What can be named.
    pub templates: Vec<Template>,
    /// `{{workflow.parameters.…}}`.
    #[serde(default)]
    pub arguments: Arguments,
    /// A template that runs when all else has ended, however.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit: Option<String>,
    /// At most so many tasks at once; 0 is no bound.
    #[serde(default)]
    pub parallelism: u32,
    /// How long the whole may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Ms>,
    /// Where its tasks may go.
    #[serde(default)]
    pub placement: Placement,
    /// When it is forgotten after its end.
    #[serde(default)]
    pub ttl: Ttl,
    /// Nothing new starts.
    #[serde(default)]
    pub suspend: bool,
}

/// Something that can be named and run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is told.
    #[serde(default)]
    pub inputs: Inputs,
    /// What it is.
    pub body: Body,
    /// What it tells.
    #[serde(default)]
    pub outputs: Outputs,
    /// What follows a failed attempt.
    #[serde(default)]
    pub retry: Retry,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Ms>,
    /// At most so many of its nodes at once; 0 is no bound.
    #[serde(default)]
    pub parallelism: u32,
    /// Where its task may go, besides what the workflow says.
    #[serde(default)]
    pub placement: Placement,
}

/// What a template is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// One task.
    Task(Box<Leaf>),
    /// Groups one after another; the nodes of a group go side by side.
    Steps(Vec<Vec<Node>>),
    /// Nodes that wait for each other.
    Dag(Vec<Node>),
    /// Waits for somebody to say `mason resume`, or for so long.
    Suspend {
        /// How long; for ever if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<Ms>,
    },
}

/// One task, or a script for an interpreter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaf {
    /// What runs.
    pub task: Task,
    /// The text of a script, which is put into a file whose path is its last argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// A step, or a node of a graph.
pub type Step = Node;

/// One use of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name among its siblings.
    pub name: String,
    /// Which template.
    pub template: String,
    /// What it is told.
    #[serde(default)]
    pub arguments: Arguments,
    /// Once for each of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// Only if this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// In a graph: an expression over siblings, as `a && (b.Failed || c.Succeeded)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends: Option<String>,
    /// The whole goes on when it fails.
    #[serde(default)]
    pub continue_on_failed: bool,
}

/// Once for each of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Items {
    /// Of these; JSON, texts as themselves. `{{item}}` is each.
    List(Vec<serde_json::Value>),
    /// Of a JSON list that a text with `{{…}}` becomes.
    Param(String),
    /// Of numbers.
    Sequence {
        /// How many, from `start` on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<String>,
        /// The first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<String>,
        /// The last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<String>,
        /// As C's printf would write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<String>,
    },
}

/// Values by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
}

/// What a template is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value, perhaps with `{{…}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// If nobody gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// It must be one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

/// What a template tells: by name, where the value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outputs {
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, OutputSource>,
}

/// Where an output comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputSource {
    /// A file in its container.
    Path {
        /// Which.
        path: String,
        /// If there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
    /// A text with `{{…}}`: of steps and graphs.
    Text(String),
}
