//! What a task sees besides its image: each mount of its spec becomes a mount of its container.
//!
//! | source | lies | who may read it on the node |
//! |---|---|---|
//! | empty | `empty/<n>` in the run's folder | root |
//! | empty, in memory | a tmpfs in the container | nobody |
//! | config, secret | the tmpfs in the keeper's namespace | nobody |
//! | host | where it is, found by the keeper below an allowed folder | as before |

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use mason_core::spec::{MountSource, Task};
use mason_shim::settings::{EMPTY, HostFolder, MEMORY, Output, VOLUMES};
use serde_json::{Value, json};

use super::{Error, VolumeFile};

/// All mounts of a task.
#[derive(Default)]
pub(crate) struct Volumes {
    /// For the OCI runtime, in order: what is mounted into another comes later.
    pub(crate) mounts: Vec<Value>,
    /// Folders of its own that must be made.
    pub(crate) empty: Vec<u32>,
    /// Folders of the node that the keeper must find.
    pub(crate) host: Vec<HostFolder>,
    /// Files for the parcel: path in the tmpfs, and bytes.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What is asked for and not kept.
    pub(crate) notes: Vec<String>,
}

/// What a task may not mount over.
const RESERVED: [&str; 4] = ["/proc", "/sys", "/dev", "/.mason"];

impl Volumes {
    /// Those of a task whose run has this folder.
    pub(crate) fn of(
        task: &Task,
        folder: &Path,
        allowed: &[PathBuf],
        files: &BTreeMap<usize, Vec<VolumeFile>>,
    ) -> Result<Volumes, Error> {
        check_places(task)?;
        let mut order: Vec<usize> = (0..task.mounts.len()).collect();
        order.sort_by_key(|&at| Path::new(&task.mounts[at].at).components().count());
        let mut volumes = Volumes::default();
        for at in order {
            volumes.add(task, at, folder, allowed, files)?;
        }
        Ok(volumes)
    }

    fn add(
        &mut self,
        task: &Task,
        at: usize,
        folder: &Path,
        allowed: &[PathBuf],
        files: &BTreeMap<usize, Vec<VolumeFile>>,
    ) -> Result<(), Error> {
        let mount = &task.mounts[at];
        let field = format!("mounts[{at}]");
        let number = u32::try_from(at).expect("a spec is small");
        let mut read_only = mount.read_only;
        let inside = folder.join(MEMORY).join(VOLUMES).join(number.to_string());
        let source = match &mount.source {
            MountSource::Empty { bytes, memory: true } => {
                let mut options = vec!["nosuid".into(), "nodev".into(), "mode=0777".into()];
                if *bytes > 0 {
                    options.push(format!("size={bytes}"));
                }
                options.extend(read_only.then(|| "ro".to_owned()));
                let source = json!({"destination": mount.at, "type": "tmpfs",
                    "source": "tmpfs", "options": options});
                self.mounts.push(source);
                return Ok(());
            }
            MountSource::Empty { memory: false, .. } => {
                self.empty.push(number);
                folder.join(EMPTY).join(number.to_string())
            }
            MountSource::Config { .. } | MountSource::Secret { .. } => {
                let given = files.get(&at).map(Vec::as_slice).unwrap_or_default();
                for file in given {
                    check_inside(&format!("{field}: file `{}`", file.path), &file.path)?;
                    let path = format!("{VOLUMES}/{number}/{}", file.path);
                    self.files.push((path, file.bytes.clone()));
                }
                // Without a file there would be no folder to mount.
                if given.is_empty() {
                    self.files.push((format!("{VOLUMES}/{number}/.empty"), Vec::new()));
                }
                read_only = true;
                inside
            }
            MountSource::Text { text } => {
                self.files.push((format!("{VOLUMES}/{number}/text"), text.clone().into_bytes()));
                read_only = true;
                inside.join("text")
            }
            MountSource::Host { path } => {
                self.host.push(host_folder(&field, number, path, allowed)?);
                inside
            }
        };
        let mut options = vec!["bind", "nosuid", "nodev", "rprivate"];
        options.extend(read_only.then_some("ro"));
        self.mounts.push(json!({"destination": mount.at, "type": "bind", "source": source,
            "options": options}));
        Ok(())
    }
}

/// Where the mounts are, as a whole: no two at one place, none over what we mount, none inside what
/// others can write on the node, where they could put a link in its way.
fn check_places(task: &Task) -> Result<(), Error> {
    for (at, mount) in task.mounts.iter().enumerate() {
        let field = format!("mounts[{at}].at");
        let place = Path::new(&mount.at);
        let mut parts = place.components();
        let rooted = parts.next() == Some(Component::RootDir);
        let plain = parts.all(|part| matches!(part, Component::Normal(_)));
        if !rooted || !plain || place.parent().is_none() || mount.at.contains('\0') {
            let reason = format!("`{}` is no absolute path below /", mount.at);
            return Err(Error::refused(field, reason));
        }
        if let Some(reserved) = RESERVED.iter().find(|reserved| place.starts_with(reserved)) {
            let reason = format!("`{}` is in {reserved}, which is not a task's", mount.at);
            return Err(Error::refused(field, reason));
        }
        for (other_at, other) in task.mounts.iter().enumerate().filter(|(other, _)| *other != at) {
            let over = Path::new(&other.at);
            if over == place {
                let reason = format!("mounts[{other_at}] is at `{}` too", mount.at);
                return Err(Error::refused(field, reason));
            }
            if place.starts_with(over) && matches!(other.source, MountSource::Host { .. }) {
                let reason = format!("it is inside the node's folder of mounts[{other_at}]");
                return Err(Error::refused(field, reason));
            }
        }
    }
    Ok(())
}

/// The way to a folder of the node from one that is allowed. What is a link on it is the keeper's
/// to find out, when it opens it.
fn host_folder(
    field: &str,
    volume: u32,
    path: &str,
    allowed: &[PathBuf],
) -> Result<HostFolder, Error> {
    let field = format!("{field}.host.path");
    let wanted = Path::new(path);
    let plain =
        wanted.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !wanted.is_absolute() || !plain || path.contains('\0') {
        return Err(Error::refused(field, format!("`{path}` is no absolute path without ..")));
    }
    let roots = allowed.iter().filter(|root| wanted.starts_with(root));
    let Some(root) = roots.max_by_key(|root| root.components().count()) else {
        return Err(Error::refused(field, format!("`{path}` is not allowed on this node")));
    };
    let path = wanted.strip_prefix(root).expect("it starts with it").to_owned();
    Ok(HostFolder { volume, root: root.clone(), path })
}

fn check_inside(field: &str, path: &str) -> Result<(), Error> {
    let plain = |part| matches!(part, Component::Normal(_));
    if path.is_empty() || path.contains('\0') || !Path::new(path).components().all(plain) {
        return Err(Error::refused(field, "it leaves its mount"));
    }
    Ok(())
}

/// Where the keeper finds the file of an output when the container is gone.
pub(crate) fn output(task: &Task, name: &str, path: &str) -> Result<Output, Error> {
    let field = format!("outputs.{name}");
    let place = Path::new(path);
    if !place.is_absolute() || path.contains('\0') {
        return Err(Error::refused(field, format!("`{path}` is no absolute path")));
    }
    let over = |mount: &&(usize, &mason_core::spec::Mount)| place.starts_with(&mount.1.at);
    let mounts: Vec<_> = task.mounts.iter().enumerate().collect();
    let under = mounts.iter().filter(over).max_by_key(|mount| mount.1.at.len());
    let Some((at, mount)) = under else {
        let path = place.strip_prefix("/").expect("it is absolute").to_owned();
        return Ok(Output { empty: None, path });
    };
    if !matches!(mount.source, MountSource::Empty { memory: false, .. }) {
        let reason = format!("`{path}` is in mounts[{at}], which is gone when the task ends");
        return Err(Error::refused(field, reason));
    }
    let path = place.strip_prefix(&mount.at).expect("it starts with it").to_owned();
    Ok(Output { empty: Some(u32::try_from(*at).expect("a spec is small")), path })
}
