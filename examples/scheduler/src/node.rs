//! What this machine is: what an agent tells of it, unless it is told otherwise.
//!
//! A machine may be less than it looks: who is in a container, or a slice of systemd, may use what
//! its control groups allow and no more. So each amount is the least of what the machine has and of
//! what any group on the way to ours allows.

mod groups;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use mason_core::spec::Resources;
use mason_core::types::check_name;
use mason_node::runtime::Class;

use groups::Groups;

/// Folders of programs that are not in everybody's `PATH`, but where runtimes are.
const FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Runtimes that are looked for, the usual one first.
pub const RUNTIMES: [&str; 3] = ["runc", "crun", "runsc"];

/// What there is on this machine. Disk is that of the file system which holds `data_dir`.
pub fn resources(data_dir: &Path) -> Resources {
    let groups = Groups::of_self();
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(1000);
    let memory = meminfo(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    let limit = groups.memory().unwrap_or(u64::MAX);
    let disk = existing(data_dir).and_then(|path| rustix::fs::statvfs(path).ok());
    Resources {
        cpu: groups.cpu().unwrap_or(u32::MAX).min(cores),
        memory: memory.unwrap_or(limit).min(limit),
        disk: disk.map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
        pids: u32::try_from(pids(&groups)).unwrap_or(u32::MAX),
    }
}

/// So many processes and threads there can be. What cannot be read bounds nothing.
fn pids(groups: &Groups) -> u64 {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let bounds = [number("pid_max"), number("threads-max"), groups.pids()];
    bounds.into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// The memory that the kernel manages, bytes.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The nearest folder above that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|above| above.canonicalize().ok())
}

/// The machine's name, if it can be a node's.
pub fn hostname() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    check_name(&name).is_ok().then_some(name)
}

/// What kind of processor, as images call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Where a program is; none if it is nowhere.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = fs::metadata(path);
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let mut paths = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    paths.find(is_program)
}

/// The runtime class that is called so, or whose program that is.
///
/// # Errors
/// If it is not on this machine, or is no runtime that we know.
pub fn runtime(name: &str) -> Result<Class, String> {
    let path = Path::new(name);
    let called = path.file_name().and_then(OsStr::to_str).unwrap_or(name);
    if !RUNTIMES.contains(&called) {
        return Err(format!("`{name}` is no runtime that is known: runc, crun, runsc"));
    }
    let found =
        if path.is_absolute() { path.is_file().then(|| path.into()) } else { program(name) };
    let Some(found) = found else {
        let package = match called {
            "runsc" => "gVisor's package `runsc`",
            other => return Err(format!("there is no {other}; on Debian: apt install {other}")),
        };
        return Err(format!("there is no {called}: install {package}"));
    };
    Ok(match called {
        "crun" => Class::crun(found),
        "runsc" => Class::runsc(found),
        _ => Class::runc(found),
    })
}

/// All runtimes of this machine, the usual one first.
///
/// # Errors
/// If there is none.
pub fn runtimes() -> Result<Vec<Class>, String> {
    let found: Vec<Class> = RUNTIMES.iter().filter_map(|name| runtime(name).ok()).collect();
    if found.is_empty() {
        return Err("there is no container runtime (runc, crun or runsc); on Debian: \
                    apt install runc"
            .to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel counts in KiB and says so.
    #[test]
    fn the_memory_of_the_machine_is_read() {
        let text = "MemFree: 1 kB\nMemTotal:       24579716 kB\n";
        assert_eq!(meminfo(text), Some(24_579_716 * 1024));
        for bad in ["", "MemTotal: 12", "MemTotal: x kB"] {
            assert_eq!(meminfo(bad), None, "{bad}");
        }
    }

    /// Placement counts in what is told here: it must not be nothing.
    #[test]
    fn this_machine_has_something() {
        let Resources { cpu, memory, disk, pids } = resources(Path::new("/var/lib/none/such"));
        assert!(cpu >= 1 && memory > 1 << 20 && disk > 1 << 20, "{cpu} {memory} {disk}");
        // A task that says how many processes it may have waited for ever on such a node.
        assert!(pids >= 256, "{pids}");
    }

    /// Who has installed nothing yet is told what to install.
    #[test]
    fn a_runtime_that_is_missing_is_named_with_its_package() {
        let unknown = runtime("docker").unwrap_err();
        assert!(unknown.contains("runc, crun, runsc"), "{unknown}");
        let missing = runtime("/nowhere/runc").unwrap_err();
        assert!(missing.contains("apt install runc"), "{missing}");
    }
}
