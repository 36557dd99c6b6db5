//! What this machine has, and what it lets containers do.

use std::path::{Path, PathBuf};

use mason_core::types::check_name;
use mason_shim::log::Limits;

use super::{Error, capability};

/// What this machine has, and what it lets containers do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of all of it; short, since paths of sockets are.
    pub data_dir: PathBuf,
    /// The node's name: the control groups of its runs are below `/mason/<node>`, so several agents
    /// can share a machine.
    pub node: String,
    /// What containers are started with; the first for those that ask for none.
    pub classes: Vec<Class>,
    /// Folders of the node that containers may see, with all below them.
    pub host_paths: Vec<PathBuf>,
    /// Capabilities that a task may ask for, as `NET_BIND_SERVICE`; [`USUAL`] by default.
    pub capabilities: Vec<String>,
    /// Which network containers are in.
    pub network: Network,
    /// How much of what a container prints is kept.
    pub log: Limits,
    /// Most processes and threads of a container that asks for no other limit: a fork bomb must
    /// stay in its container.
    pub pids_max: u32,
    /// `/etc/resolv.conf` of containers; the node's if none.
    pub resolv_conf: Option<String>,
}

/// A way to start containers: `runc` by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// What tasks call it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// What it is told before its verb, besides its folder.
    pub args: Vec<String>,
    /// It must not see the unified hierarchy of a machine that has both kinds: `crun` refuses.
    pub hides_unified: bool,
    /// It hands on descriptors (`--preserve-fds`), so that how a program ended is told exactly.
    /// Without that, exit code 137 and SIGKILL look alike.
    pub hands_on_descriptors: bool,
    /// Its sandbox has a network stack of its own, and it must be told which network that shows:
    /// what the bundle says of namespaces is not enough.
    pub has_own_network: bool,
}

impl Class {
    /// `runc`.
    pub fn runc(program: impl Into<PathBuf>) -> Class {
        Class {
            name: "runc".to_owned(),
            program: program.into(),
            args: Vec::new(),
            hides_unified: false,
            hands_on_descriptors: true,
            has_own_network: false,
        }
    }

    /// `crun`.
    pub fn crun(program: impl Into<PathBuf>) -> Class {
        Class { name: "crun".to_owned(), hides_unified: true, ..Class::runc(program) }
    }

    /// `runsc`, which is gVisor: a kernel of its own between the container and the node's.
    pub fn runsc(program: impl Into<PathBuf>) -> Class {
        let args = vec!["--platform".to_owned(), "ptrace".to_owned()];
        let name = "runsc".to_owned();
        let plain = Class::runc(program);
        Class { name, args, hands_on_descriptors: false, has_own_network: true, ..plain }
    }
}

/// Which network a container is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with a loopback.
    #[default]
    Private,
    /// The node's: it sees and can take every port. Only the agent can choose that.
    Host,
}

/// Capabilities that container engines give to root in a container, and that manifests of
/// Kubernetes count on: over files and processes of the container's own, and low ports. A native
/// task has none of them unless it asks.
pub const USUAL: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

/// Longest path of a socket, with the byte that ends it.
const SOCKET_BYTES_MAX: usize = 108;
/// Room for the name of a run in such a path.
const RUN_BYTES: usize = 40;

impl Config {
    /// A machine with `runc` that allows no folder of its own, and the usual capabilities to those
    /// who ask for them.
    pub fn new(data_dir: impl Into<PathBuf>, node: &str) -> Config {
        Config {
            data_dir: data_dir.into(),
            node: node.to_owned(),
            classes: vec![Class::runc("runc")],
            host_paths: Vec::new(),
            capabilities: USUAL.map(str::to_owned).to_vec(),
            network: Network::Private,
            log: Limits::default(),
            pids_max: 4096,
            resolv_conf: None,
        }
    }

    /// Whether it can work, and is no trap.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name(&self.node).map_err(|error| Error::refused("node", error.to_string()))?;
        check_path("data_dir", &self.data_dir)?;
        let len = self.data_dir.as_os_str().len() + "/s/".len() + RUN_BYTES + 1;
        if len > SOCKET_BYTES_MAX {
            let max = SOCKET_BYTES_MAX + self.data_dir.as_os_str().len() - len;
            let reason = format!("longer than {max} bytes: sockets in it would have no address");
            return Err(Error::refused("data_dir", reason));
        }
        if self.classes.is_empty() {
            return Err(Error::refused("classes", "no runtime class"));
        }
        for (at, name) in self.capabilities.iter().enumerate() {
            if !capability::is_known(name) {
                let reason = format!("Linux has no capability `{name}`");
                return Err(Error::refused(format!("capabilities[{at}]"), reason));
            }
        }
        for (at, path) in self.host_paths.iter().enumerate() {
            let field = format!("host_paths[{at}]");
            check_path(&field, path)?;
            let real = path.canonicalize();
            let real = real.map_err(|error| Error::refused(&field, error.to_string()))?;
            let data = self.data_dir.canonicalize().unwrap_or_else(|_| self.data_dir.clone());
            // Who can write the agent's folder is root.
            if real.starts_with(&data) || data.starts_with(&real) {
                return Err(Error::refused(field, "it would show containers the agent's folder"));
            }
        }
        Ok(())
    }

    /// The class of that name.
    pub(crate) fn class(&self, name: Option<&str>) -> Result<&Class, Error> {
        let Some(name) = name else {
            return Ok(self.classes.first().expect("checked when it was opened"));
        };
        self.classes.iter().find(|class| class.name == name).ok_or_else(|| {
            let has: Vec<_> = self.classes.iter().map(|class| class.name.as_str()).collect();
            let reason = format!("`{name}` is not on this node, which has {}", has.join(", "));
            Error::refused("runtime", reason)
        })
    }
}

/// Absolute, and without the characters that divide options of a mount.
pub(crate) fn check_path(field: &str, path: &Path) -> Result<(), Error> {
    let Some(text) = path.to_str() else { return Err(Error::refused(field, "it is no UTF-8")) };
    if !path.is_absolute() {
        return Err(Error::refused(field, format!("`{text}` is not absolute")));
    }
    if text.contains([':', ',', '\\', '\n', '\0']) {
        return Err(Error::refused(field, format!("`{text}` has one of : , \\ in it")));
    }
    Ok(())
}
