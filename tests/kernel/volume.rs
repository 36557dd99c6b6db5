//! Small file systems of the real kernel, made for one test and unmounted after it.
//!
//! * **tmpfs** needs the right to mount, which root has, and everyone has who is let into a user
//!   namespace of their own: the test then runs itself again under `unshare -rm`.
//! * **ext4** in an image, on a loop device, needs root and the tools. It is the one that reserves,
//!   delays and journals.
//!
//! A test that cannot run says so by name. With `CI=true` that is a failure, save for ext4.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use drystone_vfs::{OpenMode, OsVfs, Vfs};
use rustix::mount::{MountFlags, UnmountFlags};

/// Set for the test that runs in a namespace of its own.
const INSIDE: &str = "DRYSTONE_INSIDE";

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) kind: &'static str,
    root: PathBuf,
    /// Unmounted after it: where the image lies, in memory, so that syncs are quick.
    _below: Option<Box<Volume>>,
    /// Holds the mount point.
    _temp: tempfile::TempDir,
}

impl Volume {
    pub(super) fn tmpfs(bytes: u64) -> io::Result<Volume> {
        let temp = tempfile::tempdir()?;
        let root = temp.path().join("tmpfs");
        make_dir(&root)?;
        let size = CString::new(format!("size={bytes}")).expect("no zero byte");
        let size: &CStr = &size;
        rustix::mount::mount("drystone", &root, "tmpfs", MountFlags::empty(), size)?;
        Ok(Volume { kind: "tmpfs", root, _below: None, _temp: temp })
    }

    pub(super) fn ext4(bytes: u64) -> io::Result<Volume> {
        let below = Volume::tmpfs(2 * bytes)?;
        let temp = tempfile::tempdir()?;
        let (root, image) = (temp.path().join("ext4"), below.root.join("image"));
        make_dir(&root)?;
        OsVfs::new().open(&image, OpenMode::CreateNew)?.set_len(bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
        Ok(Volume { kind: "ext4", root, _below: Some(Box::new(below)), _temp: temp })
    }

    /// Where a test puts something of its own.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Bytes that can still be written.
    pub(super) fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.root).unwrap();
        stat.f_bfree * stat.f_frsize
    }

    /// Takes all space but about `spare` bytes.
    pub(super) fn fill(&self, spare: u64) {
        let file = OsVfs::new().open(&self.ballast(), OpenMode::Create).unwrap();
        let block = vec![0x5a; 64 << 10];
        let mut piece = block.len();
        while piece > 0 {
            let end = file.len().unwrap();
            let room = self.free().saturating_sub(spare);
            let count = if spare > 0 { piece.min(room as usize) } else { piece };
            if count == 0 {
                break;
            }
            // A write that does not fit may still take what there is. And what did not fit may fit
            // a moment later, when a file that was removed is gone at last.
            piece = match file.write_at(&[io::IoSlice::new(&block[..count])], end) {
                Ok(()) => block.len().min(2 * piece),
                Err(_) => piece / 2,
            };
            // A file system that delays the decision knows only now what is left.
            drop(file.sync_data());
        }
    }

    /// Gives the space back, and waits until it can be used: some file systems free it with their
    /// next transaction, and count it later still.
    pub(super) fn drain(&self) {
        let before = self.free();
        OsVfs::new().remove(&self.ballast()).unwrap();
        OsVfs::new().sync_dir(&self.root).unwrap();
        while self.free() <= before {
            std::thread::yield_now();
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Detached: a test that failed may still have files open.
        if let Err(error) = rustix::mount::unmount(&self.root, UnmountFlags::DETACH) {
            say(&format!("{} stays mounted: {error}", self.root.display()));
        }
    }
}

/// Runs `check` on a tmpfs and on an ext4 of this many bytes each. `test` is the caller's name.
pub(super) fn on_each(test: &str, tmpfs: u64, ext4: u64, check: impl Fn(&Volume)) {
    match Volume::tmpfs(tmpfs) {
        Ok(volume) => check(&volume),
        Err(error) if std::env::var_os(INSIDE).is_some() => panic!("tmpfs: {error}"),
        Err(error) => return on_tmpfs_inside(test, &error),
    }
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    match Volume::ext4(ext4) {
        Ok(volume) => check(&volume),
        Err(error) => say(&format!("SKIPPED {test} on ext4: {error}")),
    }
}

/// Runs the test again where it may mount. There are no loop devices there.
fn on_tmpfs_inside(test: &str, error: &io::Error) {
    let possible = run(Command::new("unshare").args(["-rm", "true"]));
    if let Err(unshare) = possible {
        let reason = format!("SKIPPED {test}: mount: {error}; unshare -rm: {unshare}");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
        return say(&reason);
    }
    let mut command = Command::new("unshare");
    command.arg("-rm").arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    assert!(command.status().unwrap().success(), "{test} failed in its namespace");
    say(&format!("SKIPPED {test} on ext4: mounting an image takes root"));
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{name}: {text}")))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    OsVfs::new().create_dir_all(dir)
}

/// Writes a line past the capture of the test harness.
fn say(line: &str) {
    // Nothing better can be done about a broken standard error than to go on.
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}
