//! What runs in one container: an image, a command, what it may use and what it sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Probe;
use crate::types::Ms;

/// The template of a task. Kept in the store once, under the hash of its bytes, however many tasks
/// are made of it; an agent needs nothing else to run one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// As the user wrote it: `busybox`, `alpine:3.18`, `registry:5000/a/b@sha256:…`.
    pub image: String,
    /// When the image is asked of a registry.
    #[serde(default)]
    pub pull: PullPolicy,
    /// In the place of the image's entry point, if not empty. Then the image's command is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// In the place of the image's command, if not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Where it starts, if not where the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// What it calls its host, if not its run's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whole sources of variables; later ones win, and `env` wins over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFrom>,
    /// Variables, in order; a value may name earlier ones as `$(NAME)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// What it sees besides the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What is set aside for it: what placement counts.
    pub request: Resources,
    /// What it may use at most; 0 is as much as there is.
    pub limit: Resources,
    /// Whether it can be sent work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Probe>,
    /// Whether it should be stopped and started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Probe>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// What it may do.
    #[serde(default)]
    pub security: Security,
    /// The runtime class: `runc`, `crun`, `runsc`; the agent's first if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// How long an attempt may take, from the start of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Ms>,
    /// Whether `mason-init` is its first process: hands on signals, reaps orphans.
    #[serde(default = "yes")]
    pub init: bool,
    /// Keep the last of what it prints, so many bytes, with its result.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub capture_bytes: u32,
    /// Files whose text is kept with its result, by the name of the output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Ports that it listens on, by name or number: for probes, and shown to people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Task {
    /// The plainest: an image and a command.
    pub fn new(image: &str, args: &[&str]) -> Task {
        Task {
            image: image.to_owned(),
            pull: PullPolicy::default(),
            command: Vec::new(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            workdir: None,
            hostname: None,
            env_from: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            request: Resources::SMALL,
            limit: Resources::default(),
            ready: None,
            live: None,
            stop: Stop::default(),
            security: Security::default(),
            runtime: None,
            timeout: None,
            init: true,
            capture_bytes: 0,
            outputs: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }
}

/// When an image is asked of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Unless it is there.
    #[default]
    Missing,
    /// Before every run, whether the name means another digest now.
    Always,
    /// Never: it is there, or the run fails.
    Never,
}

/// So much of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk, for its writable layer and logs.
    pub disk: u64,
    /// Processes and threads.
    pub pids: u32,
}

impl Resources {
    /// What a task is given that asks for nothing: so that a node cannot take infinitely many.
    pub const SMALL: Resources = Resources { cpu: 100, memory: 64 << 20, disk: 0, pids: 0 };
}

/// A whole source of variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// A config map, if not a secret, of the task's namespace.
    pub name: String,
    /// Whether it is a secret.
    #[serde(default)]
    pub secret: bool,
    /// Put before each name.
    #[serde(default)]
    pub prefix: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvSource,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvSource {
    /// From the manifest.
    Text(String),
    /// A key of a config map.
    Config {
        /// Which.
        name: String,
        /// Of its keys.
        key: String,
        /// Whether it may be missing.
        #[serde(default)]
        optional: bool,
    },
    /// A key of a secret.
    Secret {
        /// Which.
        name: String,
        /// Of its keys.
        key: String,
        /// Whether it may be missing.
        #[serde(default)]
        optional: bool,
    },
    /// Something about the run: `name`, `namespace`, `index`, `node`, `run`, `attempt`, `ip`.
    Field(String),
}

/// A place in the container where something else than the image is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: an absolute path.
    pub at: String,
    /// Cannot be written.
    #[serde(default)]
    pub read_only: bool,
    /// What.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A folder of its own that ends with it.
    Empty {
        /// At most so many bytes; 0 is as many as the disk has.
        #[serde(default)]
        bytes: u64,
        /// In memory.
        #[serde(default)]
        memory: bool,
    },
    /// The keys of a config map as files.
    Config {
        /// Which.
        name: String,
        /// Key to path; all keys under their own names if empty.
        #[serde(default)]
        items: BTreeMap<String, String>,
        /// Whether it may be missing.
        #[serde(default)]
        optional: bool,
    },
    /// The keys of a secret as files, in memory.
    Secret {
        /// Which.
        name: String,
        /// Key to path; all keys under their own names if empty.
        #[serde(default)]
        items: BTreeMap<String, String>,
        /// Whether it may be missing.
        #[serde(default)]
        optional: bool,
    },
    /// A file with this text: a script.
    Text {
        /// What is in it.
        text: String,
    },
    /// A folder of the node that its agent allows: `--allow-host-path`.
    Host {
        /// Where on the node.
        path: String,
    },
}

/// How it is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The first signal, by number.
    pub signal: i32,
    /// How long it has until SIGKILL.
    pub grace: Ms,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { signal: 15, grace: 30_000 }
    }
}

/// What it may do. The defaults are the narrow ones: nothing is gained, everything is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// User id, if not the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Group id, if not the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Nothing of the image can be written.
    #[serde(default)]
    pub read_only_root: bool,
    /// Capabilities that it keeps, as `NET_BIND_SERVICE`; the agent says which it allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// It must not be root.
    #[serde(default)]
    pub non_root: bool,
}
