//! What the container will see, mounted where nobody else sees it.
//!
//! The keeper has a mount namespace of its own, and everything here is mounted in there: the image
//! with its writable layer, the files of the parcel, folders of the node. So there is nothing to
//! unmount on any path: when the keeper and the container are gone, however they went, the kernel
//! drops the namespace and all of it.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use mason_shim::parcel;
use mason_shim::settings::{BUNDLE, HostFolder, MEMORY, ROOT, Settings, VOLUMES};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
use rustix::mount::{mount, mount_change, move_mount, open_tree, unmount};

use crate::sys;

/// Most of what a `mount` call takes as its options: a page.
const OPTION_BYTES_MAX: usize = 4000;

/// Mounts everything.
pub(crate) fn prepare(
    folder: &Path,
    settings: &Settings,
    parcel: &mut impl Read,
) -> io::Result<()> {
    sys::own_mounts()?;
    // What the node mounts later may come in; nothing of ours may go out.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(context("make mounts private"))?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    for path in &settings.hide {
        unmount(path, UnmountFlags::DETACH).map_err(context("hide a mount"))?;
        // The folder below is the node's, and crun takes it for a control group and writes there.
        mount("mason", path, "tmpfs", flags, None).map_err(context("hide a mount"))?;
    }
    let memory = folder.join(MEMORY);
    mount("mason", &memory, "tmpfs", flags, Some(c"mode=0711,size=64m"))
        .map_err(context("mount a tmpfs"))?;
    for name in [BUNDLE, ROOT, VOLUMES] {
        make_folder(&memory.join(name), 0o711)?;
    }
    unpack(&memory, parcel)?;
    overlay(folder, &settings.layers, &memory.join(ROOT))?;
    for host in &settings.host {
        bind(host, &memory.join(VOLUMES).join(host.volume.to_string()))?;
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Writes the files of the parcel, which comes from the agent: its paths are checked all the same.
fn unpack(memory: &Path, parcel: &mut impl Read) -> io::Result<()> {
    while let Some(parcel::File { header, bytes }) = parcel::read(parcel)? {
        let inside = Path::new(&header.path);
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::other(format!("parcel: `{}` leaves its place", header.path)));
        }
        let path = memory.join(inside);
        if let Some(parent) = path.parent() {
            make_folder(parent, 0o755)?;
        }
        let new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = new.map_err(|error| {
            io::Error::new(error.kind(), format!("parcel: `{}`: {error}", header.path))
        })?;
        file.write_all(&bytes)?;
        std::os::unix::fs::fchown(&file, Some(header.user), Some(header.group))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(header.mode))?;
    }
    Ok(())
}

/// Mounts the image's layers with a writable one on top.
///
/// `volatile`: what a container wrote over its image ends with it, so it need not reach the disk
/// before the mount goes; without that the end of each run waits for all dirty pages of the disk.
fn overlay(folder: &Path, layers: &[std::path::PathBuf], at: &Path) -> io::Result<()> {
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    match overlay_by_parts(layers, &upper, &work, at) {
        // Before Linux 6.5 a layer cannot be named by itself.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
        done => return done.map_err(context("mount the image")),
    }
    let layers: Vec<_> = layers.iter().map(|layer| layer.to_string_lossy()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        layers.join(":"),
        upper.display(),
        work.display()
    );
    if options.len() > OPTION_BYTES_MAX {
        let what = format!("mount the image: {} layers are too many for this kernel", layers.len());
        return Err(io::Error::other(what));
    }
    let options = std::ffi::CString::new(options)?;
    mount("overlay", at, "overlay", MountFlags::NODEV, Some(options.as_c_str()))
        .map_err(context("mount the image"))
}

fn overlay_by_parts(
    layers: &[std::path::PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
) -> rustix::io::Result<()> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        fsconfig_set_string(&fs, "lowerdir+", layer)?;
    }
    fsconfig_set_string(&fs, "upperdir", upper)?;
    fsconfig_set_string(&fs, "workdir", work)?;
    fsconfig_set_flag(&fs, "volatile")?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    let mounted = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(&mounted, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Finds a folder of the node and mounts what was found, not what is called so by then.
///
/// Each step from the allowed root must stay below it. Whoever can write there may swap a folder
/// for a link at any time: before we look, and it is refused; after, and it does not matter, since
/// the descriptor is mounted and its name is not asked again.
fn bind(host: &HostFolder, at: &Path) -> io::Result<()> {
    let what = format!("hostPath {}", host.root.join(&host.path).display());
    let named = |error: rustix::io::Errno| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{what}: {error}"))
    };
    make_folder(at, 0o711)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&host.root, flags, Mode::empty()).map_err(named)?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let inside = if host.path.as_os_str().is_empty() { Path::new(".") } else { &host.path };
    let found = rustix::fs::openat2(&root, inside, flags, Mode::empty(), beneath).map_err(named)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&found, "", clone).map_err(named)?;
    move_mount(&tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(named)
}

fn context(what: &'static str) -> impl Fn(rustix::io::Errno) -> io::Error {
    move |error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}
