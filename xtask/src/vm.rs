//! Containers on another kernel than this machine's: Debian's, in a virtual machine that has
//! version 2 of control groups alone.
//!
//! What a container may take is held by control groups, of which a kernel offers version 1, version
//! 2 or both; which of them cannot be changed while a machine runs. So the suite of `mason-node`
//! runs once more where only the second is. The kernel is the older one, too: what mason asks of
//! newer ones must have a way around.
//!
//! ```text
//!   apt-get download ─────► kernel ─────────────────────────────────────────────────┐
//!   cargo test --no-run ──► suite, with runtimes, busybox and libraries ─► initramfs ┴► qemu
//! ```
//!
//! A test that needs more than that (`perl`, for one) is `SKIPPED` there, by name.
//!
//! Everything is emulated, so that it runs where there are no virtual machines within virtual
//! machines, and takes about ten times as long as without.

mod initramfs;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::test::{root, target_dir};

/// What is needed, and the Debian package that has it.
const NEEDED: [(&str, &str); 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("runc", "runc"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
];
/// The package that names the kernel's.
const KERNEL: &str = "linux-image-cloud-amd64";
/// The last that the suite says if all is well.
const PASSED: &str = "test result: ok.";

/// Runs the tests of the suite whose names have this in them. `false` if one failed.
pub(crate) fn run(filter: &str) -> Result<bool> {
    std::env::set_current_dir(root())?;
    let missing = NEEDED.iter().filter(|(program, _)| find(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    ensure!(packages.is_empty(), "it needs more: apt-get install {}", packages.join(" "));
    let folder = target_dir()?.join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let kernel = Kernel::find(&folder)?;
    let suite = suite()?;
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, initramfs::pack(&files(&kernel, &suite, filter)?))?;
    boot(&kernel.image, &initramfs)
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// A kernel and the one module that is needed.
struct Kernel {
    image: PathBuf,
    overlay: PathBuf,
}

impl Kernel {
    /// The one in this folder, or fetches it.
    fn find(folder: &Path) -> Result<Kernel> {
        let tree = folder.join("kernel");
        if !tree.exists() {
            let draft = folder.join("kernel.new");
            if draft.exists() {
                fs::remove_dir_all(&draft)?;
            }
            fs::create_dir_all(&draft)?;
            fetch(&draft)?;
            fs::rename(&draft, &tree)?;
        }
        let image = first(&tree.join("boot"), |name| name.starts_with("vmlinuz"))?;
        let modules = first(&tree.join("lib/modules"), |_| true)?;
        Ok(Kernel { image, overlay: modules.join("kernel/fs/overlayfs/overlay.ko") })
    }
}

fn fetch(folder: &Path) -> Result<()> {
    println!("fetches the kernel of Debian's {KERNEL}");
    let depends = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let name = format!("linux-image-{}", name.with_context(|| format!("{KERNEL} has no kernel"))?);
    output(Command::new("apt-get").args(["download", &name]).current_dir(folder))?;
    let package = first(folder, |name| name.ends_with(".deb"))?;
    output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
    Ok(fs::remove_file(package)?)
}

/// What a folder has by such a name.
fn first(folder: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = folder.read_dir().with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    let name = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(&is_it);
    found.into_iter().find(name).with_context(|| format!("{}: not in it", folder.display()))
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}

/// Builds the suite; where its program is.
fn suite() -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["test", "-p", "mason-node", "--test", "suite", "--no-run"]);
    let done = command.output().context("cargo")?;
    let told = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{told}");
    let program = told.lines().find_map(|line| {
        let (_, path) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
        path.strip_suffix(')')
    });
    Ok(PathBuf::from(program.context("cargo does not name the suite's program")?))
}

/// All files of the virtual machine: where they are there, and here.
fn files(kernel: &Kernel, suite: &Path, filter: &str) -> Result<Vec<initramfs::Entry>> {
    let mut programs = vec![("suite".to_owned(), suite.to_owned())];
    for place in ["bin/busybox", "usr/bin/runc", "usr/bin/crun"] {
        // The second runtime is there or not; tests say which they ran on.
        let name = place.rsplit('/').next().unwrap_or(place);
        programs.extend(find(name).map(|path| (place.to_owned(), path)));
    }
    let mut files = vec![
        initramfs::Entry::program("init", init(filter)?.into_bytes()),
        initramfs::Entry::file("overlay.ko", &kernel.overlay)?,
    ];
    let mut libraries = Vec::new();
    for (name, path) in &programs {
        files.push(initramfs::Entry::program(name, fs::read(path)?));
        // One that is linked statically has none, and says so by failing.
        let told = output(Command::new("ldd").arg(path)).unwrap_or_default();
        let words = told.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(words.map(str::to_owned));
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        files.push(initramfs::Entry::file(library.trim_start_matches('/'), Path::new(&library))?);
    }
    Ok(files)
}

/// The first process there. Runtimes cannot leave a root that is the initramfs itself, so it moves.
fn init(filter: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_';
    ensure!(filter.chars().all(plain), "{filter:?}: a test's name has letters, `_` and `::`");
    Ok(format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
/bin/busybox --install -s /usr/bin
export PATH=/bin:/usr/bin HOME=/tmp
if [ ! -e /moved ]; then
  mkdir -p /new && mount -t tmpfs -o size=75%,mode=755 new /new
  cp -a /bin /lib* /usr /suite /overlay.ko /init /new/ 2>/dev/null
  mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp && touch /new/moved
  exec switch_root /new /init
fi
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
chmod 1777 /tmp
insmod /overlay.ko
ifconfig lo up
echo \"kernel $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)\"
/suite --test-threads=1 {filter}
poweroff -f
"
    ))
}

/// Runs it, shows what it says, and whether the suite said that all is well.
fn boot(kernel: &Path, initramfs: &Path) -> Result<bool> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "4096", "-smp", "2"]);
    command.args(["-nographic", "-no-reboot", "-nic", "none", "-kernel"]).arg(kernel);
    command.arg("-initrd").arg(initramfs);
    // It says what goes wrong with the kernel, and no more.
    command.args(["-append", "console=ttyS0 quiet loglevel=2 panic=-1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut machine = command.spawn().context("qemu-system-x86_64")?;
    let out = machine.stdout.take().context("its console is piped")?;
    let mut passed = false;
    for line in BufReader::new(out).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{}", line.trim_end());
        passed |= line.starts_with(PASSED);
    }
    let status = machine.wait()?;
    if !status.success() {
        bail!("qemu-system-x86_64: {status}");
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is typed becomes a line of a shell there.
    #[test]
    fn a_filter_is_a_name_and_nothing_else() {
        assert!(init("runtime::limits").unwrap().contains("--test-threads=1 runtime::limits\n"));
        assert!(init("a; poweroff").is_err());
    }
}
