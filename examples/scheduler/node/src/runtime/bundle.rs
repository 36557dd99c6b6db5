//! What the OCI runtime is told about a run: `config.json`, made of a task, an image and what this
//! machine allows.
//!
//! # The box
//! Namespaces of its own for processes, mounts, IPC, the host name and the network; no capability,
//! unless the agent allows it and the task asks; no new privileges; the system calls of
//! [`seccomp`]; `/proc` and `/sys` masked as usual; a `/dev` with the eight
//! harmless devices; limits by control group. A task has no way to ask for the node's namespaces:
//! its spec has no word for them.
//!
//! With a read-only root it is given a `/tmp` in memory. Otherwise `/tmp` is the image's, since
//! what is written to a tmpfs counts as its memory.

use std::collections::BTreeMap;
use std::path::Path;

use mason_core::spec::{Concurrency, Resources};
use mason_shim::init::Options;
use mason_shim::parcel::Header;
use mason_shim::settings::{BUNDLE, MEMORY, ROOT, RUNTIME, STATUS_FD, Settings, VOLUMES};
use serde_json::{Value, json};

use super::capability::bare;
use super::config::{Class, Config, Network, check_path};
use super::groups::Groups;
use super::user::{Identity, look_up};
use super::volumes::{Volumes, output};
use super::{Error, Helpers, Launch, seccomp};

/// A run, ready for its keeper.
pub struct Bundle {
    /// What the keeper is asked to do.
    pub(crate) settings: Settings,
    /// Files for its stdin.
    pub(crate) files: Vec<(Header, Vec<u8>)>,
    /// Folders of its own that must be made.
    pub(crate) empty: Vec<u32>,
    /// Who will write there.
    pub(crate) who: Identity,
    /// What the spec asks for and this machine does not keep, for people.
    pub notes: Vec<String>,
}

/// What a bundle is made with, besides the run.
pub(crate) struct Site<'a> {
    pub(crate) config: &'a Config,
    pub(crate) helpers: &'a Helpers,
    pub(crate) groups: &'a Groups,
}

/// Where the first process lies in a container.
const INIT: &str = "/.mason/init";
/// Where programs are looked for, if the image does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kernel's unit of time for quotas, in microseconds.
const PERIOD: u64 = 100_000;
/// All that is small and lies below `/etc`.
const ETC: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

impl Bundle {
    /// Checks a run and builds it. Nothing on the machine is changed.
    pub(crate) fn build(site: &Site<'_>, launch: &Launch) -> Result<Bundle, Error> {
        let (config, task) = (site.config, &launch.task);
        mason_core::types::check_name(launch.run.as_str())
            .map_err(|error| Error::refused("run", error.to_string()))?;
        if launch.run.as_str().len() > 40 {
            return Err(Error::refused("run", "its name is longer than 40 bytes"));
        }
        if launch.layers.is_empty() {
            return Err(Error::refused("layers", "an image has at least one"));
        }
        for (at, layer) in launch.layers.iter().enumerate() {
            check_path(&format!("layers[{at}]"), layer)?;
        }
        let class = config.class(task.runtime.as_deref())?;
        let who = identity(launch)?;
        let folder = config.data_dir.join("runs").join(launch.run.as_str());
        let volumes = Volumes::of(task, &folder, &config.host_paths, &launch.files)?;
        let mut notes = volumes.notes.clone();
        let kept = of_user(capabilities(config, launch)?, &who, &mut notes);
        let oci = config_json((site, launch, class), (&who, &kept), &volumes)?;
        let mut files = Vec::new();
        for (path, bytes) in volumes.files {
            files.push(file(path, 0o400, (who.user, who.group), bytes));
        }
        for (name, text) in ETC.iter().zip(etc(config, launch)) {
            files.push(file(format!("{VOLUMES}/etc/{name}"), 0o444, (0, 0), text.into_bytes()));
        }
        // The last: an agent that is killed while it hands them over must not leave a container
        // that can be started without its secrets.
        files.push(file(format!("{BUNDLE}/config.json"), 0o400, (0, 0), oci));
        let mut settings = settings(site, launch, class)?;
        settings.host = volumes.host;
        Ok(Bundle { settings, files, empty: volumes.empty, who, notes })
    }
}

fn file(path: String, mode: u32, owner: (u32, u32), bytes: Vec<u8>) -> (Header, Vec<u8>) {
    let (user, group) = owner;
    (Header { path, mode, user, group, bytes: bytes.len() as u64 }, bytes)
}

fn settings(site: &Site<'_>, launch: &Launch, class: &Class) -> Result<Settings, Error> {
    let (config, task, run) = (site.config, &launch.task, launch.run.as_str());
    let folder = config.data_dir.join("runs").join(run);
    let mut runtime = vec![class.program.display().to_string(), "--root".to_owned()];
    // Runtimes keep a copy of the bundle there, with all variables, so it is no place on a disk.
    runtime.push(folder.join(MEMORY).join(RUNTIME).display().to_string());
    runtime.extend(class.args.iter().cloned());
    if class.has_own_network {
        let network = match config.network {
            Network::Private => "none",
            Network::Host => "host",
        };
        runtime.extend(["--network", network].map(str::to_owned));
    }
    let hidden = site.groups.unified_of_hybrid().filter(|_| class.hides_unified);
    let mut outputs = BTreeMap::new();
    for (name, path) in &task.outputs {
        outputs.insert(name.clone(), output(task, name, path)?);
    }
    let mut cgroups = site.groups.folders(&group(config, run));
    cgroups.retain(|folder| hidden.is_none_or(|hidden| !folder.starts_with(hidden)));
    let strict = launch.concurrency == Concurrency::Strict;
    Ok(Settings {
        run: run.to_owned(),
        runtime,
        boot: mason_shim::state::boot().unwrap_or_default(),
        status: task.init && class.hands_on_descriptors,
        hide: hidden.map(Path::to_owned).into_iter().collect(),
        socket: config.data_dir.join("s").join(run),
        layers: launch.layers.iter().rev().cloned().collect(),
        host: Vec::new(),
        cgroups,
        timeout: task.timeout,
        stop_signal: task.stop.signal,
        grace: task.stop.grace,
        fence: strict.then(|| config.data_dir.join("fence")),
        log: config.log,
        outputs,
        capture: task.capture_bytes,
    })
}

/// The control group of a run.
pub(crate) fn group(config: &Config, run: &str) -> String {
    format!("/mason/{}/{run}", config.node)
}

fn identity(launch: &Launch) -> Result<Identity, Error> {
    let security = &launch.task.security;
    let mut who = match (security.user, security.group) {
        (Some(user), Some(group)) => Identity { user, group, groups: Vec::new() },
        (Some(user), None) => look_up(&user.to_string(), &launch.layers)?,
        _ => look_up(&launch.image.user, &launch.layers)?,
    };
    if let Some(group) = security.group {
        who.group = group;
    }
    if security.non_root && who.user == 0 {
        return Err(Error::refused("security.nonRoot", "the image's user is root"));
    }
    Ok(who)
}

fn config_json(
    (site, launch, class): (&Site<'_>, &Launch, &Class),
    (who, kept): (&Identity, &[String]),
    volumes: &Volumes,
) -> Result<Vec<u8>, Error> {
    let (config, task) = (site.config, &launch.task);
    let folder = config.data_dir.join("runs").join(launch.run.as_str());
    let mut process = process(launch, who, kept)?;
    if task.init {
        let command = process["args"].as_array().expect("a list of words").iter();
        let command = command.filter_map(|word| word.as_str().map(str::to_owned)).collect();
        let status_fd = class.hands_on_descriptors.then_some(STATUS_FD);
        let options = Options { rewrites: launch.rewrites.clone(), status_fd, command };
        let words = [INIT.to_owned()].into_iter().chain(options.words());
        process["args"] = json!(words.collect::<Vec<_>>());
    }
    let mut namespaces = vec![
        json!({"type": "pid"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
        json!({"type": "mount"}),
    ];
    if config.network == Network::Private {
        namespaces.push(json!({"type": "network"}));
    }
    let whole = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": {
            "path": folder.join(MEMORY).join(ROOT),
            "readonly": task.security.read_only_root,
        },
        "hostname": launch.hostname,
        "mounts": mounts(site, launch, &folder, volumes),
        "linux": {
            "cgroupsPath": group(config, launch.run.as_str()),
            "resources": resources(site, launch),
            "namespaces": namespaces,
            "seccomp": seccomp::profile(kept),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                "/proc/interrupts", "/sys/firmware", "/sys/devices/virtual/powercap",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    });
    Ok(serde_json::to_vec(&whole).expect("it is made of text and numbers"))
}

fn process(launch: &Launch, who: &Identity, kept: &[String]) -> Result<Value, Error> {
    let (task, image) = (&launch.task, &launch.image);
    let words: Vec<&String> = if task.command.is_empty() {
        let args = if task.args.is_empty() { &image.command } else { &task.args };
        image.entrypoint.iter().chain(args).collect()
    } else {
        task.command.iter().chain(&task.args).collect()
    };
    if words.is_empty() {
        let reason = "neither the task nor its image says what to run";
        return Err(Error::refused("command", reason));
    }
    let asked = task.workdir.as_deref().unwrap_or(&image.workdir);
    let workdir = if asked.is_empty() { "/" } else { asked };
    if !workdir.starts_with('/') {
        return Err(Error::refused("workdir", format!("`{workdir}` is not absolute")));
    }
    let kept: Vec<String> = kept.iter().map(|name| format!("CAP_{name}")).collect();
    Ok(json!({
        "terminal": false,
        "user": {"uid": who.user, "gid": who.group, "additionalGids": who.groups},
        "args": words,
        "env": environment(launch)?,
        "cwd": workdir,
        "capabilities": {
            "bounding": kept, "effective": kept, "permitted": kept, "inheritable": kept,
            "ambient": kept,
        },
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
        "noNewPrivileges": true,
        "oomScoreAdj": 0,
    }))
}

/// The image's variables, then the task's; of each name the last.
fn environment(launch: &Launch) -> Result<Vec<String>, Error> {
    let mut lines: Vec<String> = vec![PATH.to_owned(), format!("HOSTNAME={}", launch.hostname)];
    lines.extend(launch.image.env.iter().cloned());
    for (name, value) in &launch.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let reason = "a name is not empty and has no =, and neither has a zero byte";
            return Err(Error::refused(format!("env.{name}"), reason));
        }
        lines.push(format!("{name}={value}"));
    }
    let name = |line: &String| line.split('=').next().unwrap_or_default().to_owned();
    let last: BTreeMap<String, usize> =
        lines.iter().enumerate().map(|(at, line)| (name(line), at)).collect();
    let is_last = |(at, line): &(usize, String)| last[&name(line)] == *at;
    Ok(lines.into_iter().enumerate().filter(is_last).map(|(_, line)| line).collect())
}

/// With one of these, a user that is not root is as good as root in its container.
const OF_ROOT: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];

/// What a user keeps of that: one that is not root has none of root's, as with other engines.
/// Manifests of Kubernetes ask for all of them, whoever runs.
fn of_user(kept: Vec<String>, who: &Identity, notes: &mut Vec<String>) -> Vec<String> {
    if who.user == 0 {
        return kept;
    }
    let is_roots = |name: &String| OF_ROOT.contains(&name.as_str());
    let (lost, kept): (Vec<String>, Vec<String>) = kept.into_iter().partition(is_roots);
    if !lost.is_empty() {
        let lost = lost.join(", ");
        notes.push(format!("security.capabilities: user {} does not keep {lost}", who.user));
    }
    kept
}

/// What it may keep: asked for, and allowed.
fn capabilities(config: &Config, launch: &Launch) -> Result<Vec<String>, Error> {
    let mut kept = Vec::new();
    for (at, asked) in launch.task.security.capabilities.iter().enumerate() {
        let name = bare(asked);
        if !config.capabilities.iter().any(|allowed| bare(allowed) == name) {
            let field = format!("security.capabilities[{at}]");
            return Err(Error::refused(field, format!("`{asked}` is not allowed on this node")));
        }
        kept.push(name.to_owned());
    }
    Ok(kept)
}

fn resources(site: &Site<'_>, launch: &Launch) -> Value {
    let Resources { cpu, memory, pids, .. } = launch.task.limit;
    let pids = if pids == 0 { site.config.pids_max } else { pids };
    let shares = (u64::from(launch.task.request.cpu) * 1024 / 1000).max(2);
    let mut resources = json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "pids": {"limit": pids},
        "cpu": {"shares": shares},
    });
    if cpu > 0 {
        resources["cpu"]["period"] = json!(PERIOD);
        resources["cpu"]["quota"] = json!((u64::from(cpu) * PERIOD / 1000).max(1000));
    }
    if memory > 0 {
        resources["memory"] = json!({"limit": memory});
        if site.groups.bounds_swap() {
            // Memory and swap together: none of it is swap.
            resources["memory"]["swap"] = json!(memory);
        }
    }
    resources
}

/// A mount of a file system of the kernel's.
fn mount(at: &str, kind: &str, options: &[&str]) -> Value {
    json!({"destination": at, "type": kind, "source": kind, "options": options})
}

fn mounts(site: &Site<'_>, launch: &Launch, folder: &Path, volumes: &Volumes) -> Vec<Value> {
    let bind = |at: &str, source: &Path| {
        let options = ["bind", "ro", "nosuid", "nodev"];
        json!({"destination": at, "type": "bind", "source": source, "options": options})
    };
    let hidden = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        mount("/proc", "proc", &hidden),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &hidden),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    let task = &launch.task;
    if task.init {
        mounts.push(bind(INIT, &site.helpers.init));
    }
    let taken = |at: &str| task.mounts.iter().any(|mount| Path::new(at).starts_with(&mount.at));
    for name in ETC {
        let at = format!("/etc/{name}");
        if !taken(&at) {
            mounts.push(bind(&at, &folder.join(MEMORY).join(VOLUMES).join("etc").join(name)));
        }
    }
    if task.security.read_only_root && !taken("/tmp") {
        mounts.push(mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]));
    }
    mounts.extend(volumes.mounts.iter().cloned());
    mounts
}

fn etc(config: &Config, launch: &Launch) -> [String; 3] {
    let name = &launch.hostname;
    let of_node = || std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let own = match config.network {
        Network::Private => format!("127.0.0.1\t{name}\n"),
        Network::Host => format!("127.0.1.1\t{name}\n"),
    };
    [
        format!("{name}\n"),
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{own}"),
        config.resolv_conf.clone().unwrap_or_else(of_node),
    ]
}
