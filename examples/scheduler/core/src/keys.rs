//! Where in the store.
//!
//! All keys of one mason lie under one prefix, `/mason/` unless told otherwise, so that a store can
//! be shared. Families are told apart by the word after it; [`crate::record`] says what each holds.

use std::fmt;

use crate::types::{JobKey, NodeId, RunId, SpecHash, TaskKey};

/// What a key is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What a user wants.
    Job(JobKey),
    /// A config map.
    Config(JobKey),
    /// A secret.
    Secret(JobKey),
    /// A task's template.
    Spec(SpecHash),
    /// How far a job is.
    State(JobKey),
    /// How a chunk of its tasks ended.
    Marks(JobKey, u32),
    /// A task with an attempt under way or due.
    Task(TaskKey),
    /// A run, at its node.
    Run(NodeId, RunId),
    /// How far that is.
    Seen(NodeId, RunId),
    /// How that ended.
    Result(RunId),
    /// How a task's last attempt ended.
    Past(TaskKey),
    /// A node.
    Node(NodeId),
    /// That it lives.
    Alive(NodeId),
    /// A leader, or one who would be: the lease in hex.
    Lead(Box<str>),
}

/// The prefix of one mason's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: Box<str>,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys::new("/mason/")
    }
}

impl Keys {
    /// All keys under this prefix, which should end with `/`.
    pub fn new(prefix: &str) -> Keys {
        Keys { prefix: prefix.into() }
    }

    /// What they all begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// In the store.
    pub fn path(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Back from the store; none if it is no key of ours.
    pub fn parse(&self, path: &str) -> Option<Key> {
        let (family, rest) = path.strip_prefix(&*self.prefix)?.split_once('/')?;
        Some(match family {
            "job" => Key::Job(rest.parse().ok()?),
            "config" => Key::Config(rest.parse().ok()?),
            "secret" => Key::Secret(rest.parse().ok()?),
            "spec" => Key::Spec(rest.into()),
            "state" => Key::State(rest.parse().ok()?),
            "marks" => {
                let TaskKey { job, index } = rest.parse().ok()?;
                Key::Marks(job, index)
            }
            "task" => Key::Task(rest.parse().ok()?),
            "run" => pair(rest).map(|(node, run)| Key::Run(node, run))?,
            "seen" => pair(rest).map(|(node, run)| Key::Seen(node, run))?,
            "result" => Key::Result(rest.into()),
            "past" => Key::Past(rest.parse().ok()?),
            "node" => Key::Node(rest.into()),
            "alive" => Key::Alive(rest.into()),
            "lead" => Key::Lead(rest.into()),
            _ => return None,
        })
    }

    /// What all runs of a node begin with: all that its agent watches.
    pub fn runs_of(&self, node: &NodeId) -> String {
        format!("{}run/{node}/", self.prefix)
    }

    /// What all reports of a node's agent begin with.
    pub fn seen_of(&self, node: &NodeId) -> String {
        format!("{}seen/{node}/", self.prefix)
    }

    /// What all candidates' keys begin with: the election's name and `/`.
    pub fn candidates(&self) -> String {
        format!("{}lead/", self.prefix)
    }
}

fn pair(rest: &str) -> Option<(NodeId, RunId)> {
    let (node, run) = rest.split_once('/')?;
    (!run.contains('/')).then(|| (node.into(), run.into()))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Job(job) => write!(f, "job/{job}"),
            Key::Config(name) => write!(f, "config/{name}"),
            Key::Secret(name) => write!(f, "secret/{name}"),
            Key::Spec(hash) => write!(f, "spec/{hash}"),
            Key::State(job) => write!(f, "state/{job}"),
            Key::Marks(job, chunk) => write!(f, "marks/{job}/{chunk}"),
            Key::Task(task) => write!(f, "task/{task}"),
            Key::Run(node, run) => write!(f, "run/{node}/{run}"),
            Key::Seen(node, run) => write!(f, "seen/{node}/{run}"),
            Key::Result(run) => write!(f, "result/{run}"),
            Key::Past(task) => write!(f, "past/{task}"),
            Key::Node(node) => write!(f, "node/{node}"),
            Key::Alive(node) => write!(f, "alive/{node}"),
            Key::Lead(lease) => write!(f, "lead/{lease}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers learn everything from watched keys: one that does not read back is invisible.
    #[test]
    fn keys_read_back_as_written() {
        let job = JobKey::new("ml", "train");
        let (node, run) = (NodeId::from("n01"), RunId::new(7, 8));
        let all = [
            Key::Job(job.clone()),
            Key::Config(job.clone()),
            Key::Secret(job.clone()),
            Key::Spec("ab12".into()),
            Key::State(job.clone()),
            Key::Marks(job.clone(), 3),
            Key::Task(job.task(9)),
            Key::Run(node.clone(), run.clone()),
            Key::Seen(node.clone(), run.clone()),
            Key::Result(run),
            Key::Past(job.task(9)),
            Key::Node(node.clone()),
            Key::Alive(node),
            Key::Lead("694d".into()),
        ];
        let keys = Keys::default();
        for key in all {
            assert_eq!(keys.parse(&keys.path(&key)), Some(key));
        }
    }

    /// The store may hold other people's keys.
    #[test]
    fn strangers_are_no_keys_of_ours() {
        let keys = Keys::default();
        for path in ["", "/mason", "/mason/", "/mason/what/a/b", "/other/job/a/b", "/mason/job/a"] {
            assert_eq!(keys.parse(path), None, "{path}");
        }
    }
}
