//! What the control groups on the way to this process allow it.
//!
//! ```text
//!   /proc/self/cgroup   0::/a/b              version 2: memory.max, cpu.max of a/b, of a, of /
//!                       4:memory:/a/b        version 1: memory.limit_in_bytes
//!                       3:cpu,cpuacct:/a/b              cpu.cfs_quota_us, cpu.cfs_period_us
//! ```
//!
//! A process in a container often sees its own group as the root of the hierarchy, while the path
//! tells of the world outside. Folders that are not there are passed over, the root comes last.

use std::fs;
use std::path::{Path, PathBuf};

/// Where hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The groups of a process, the innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    unified: Vec<PathBuf>,
    memory: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    pids: Vec<PathBuf>,
}

impl Groups {
    pub(super) fn of_self() -> Groups {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Groups::read(&text, Path::new(ROOT))
    }

    fn read(text: &str, root: &Path) -> Groups {
        let mut groups = Groups::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(number), Some(names), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if number == "0" && names.is_empty() {
                // Alone, or beside version 1.
                groups.unified = up(&root.join("unified"), path);
                groups.unified.extend(up(root, path));
                continue;
            }
            for name in names.split(',') {
                match name {
                    "memory" => groups.memory = up(&root.join(name), path),
                    "cpu" => groups.cpu = up(&root.join(name), path),
                    "pids" => groups.pids = up(&root.join(name), path),
                    _ => {}
                }
            }
        }
        groups
    }

    /// The least that any of them allows, bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let unified = self.unified.iter().filter_map(|folder| number(&folder.join("memory.max")));
        let old = self.memory.iter();
        let old = old.filter_map(|folder| number(&folder.join("memory.limit_in_bytes")));
        unified.chain(old).min()
    }

    /// The least that any of them allows, processes and threads.
    pub(super) fn pids(&self) -> Option<u64> {
        let all = self.unified.iter().chain(&self.pids);
        all.filter_map(|folder| number(&folder.join("pids.max"))).min()
    }

    /// The least that any of them allows, thousandths of a core.
    pub(super) fn cpu(&self) -> Option<u32> {
        let unified = self.unified.iter().filter_map(|folder| {
            let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota.parse().ok()?, period.parse().ok()?)
        });
        let old = self.cpu.iter().filter_map(|folder| {
            let quota = number(&folder.join("cpu.cfs_quota_us"))?;
            share(quota, number(&folder.join("cpu.cfs_period_us"))?)
        });
        unified.chain(old).min()
    }
}

/// A folder of a hierarchy and all above it.
fn up(root: &Path, path: &str) -> Vec<PathBuf> {
    let inner = Path::new(path.trim_start_matches('/'));
    let is_clean = inner.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let inner = if is_clean { inner } else { Path::new("") };
    let folders = inner.ancestors().map(|part| root.join(part));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// A number in a file; none for `max` and -1, which are no limit.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn share(quota: u64, period: u64) -> Option<u32> {
    let milli = quota.checked_mul(1000)?.checked_div(period)?;
    u32::try_from(milli.max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    /// A slice above us may allow less than our own group does: the least counts.
    #[test]
    fn the_least_of_all_groups_above_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(&root.join("a/b"), "memory.max", "max\n");
        write(&root.join("a"), "memory.max", "1048576\n");
        write(&root.join("a/b"), "cpu.max", "150000 100000\n");
        write(&root.join("a"), "cpu.max", "max 100000\n");
        let groups = Groups::read("0::/a/b\n", root);
        write(&root.join("a"), "pids.max", "max\n");
        write(root, "pids.max", "500\n");
        assert_eq!((groups.memory(), groups.cpu()), (Some(1 << 20), Some(1500)));
        assert_eq!(groups.pids(), Some(500));
    }

    /// Version 1 has a hierarchy for each, and writes -1 for no limit.
    #[test]
    fn version_one_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(&root.join("memory/x"), "memory.limit_in_bytes", "4096\n");
        write(&root.join("cpu/x"), "cpu.cfs_quota_us", "-1\n");
        write(&root.join("cpu"), "cpu.cfs_quota_us", "50000\n");
        write(&root.join("cpu"), "cpu.cfs_period_us", "100000\n");
        write(&root.join("pids/x"), "pids.max", "70\n");
        let groups = Groups::read("5:pids:/x\n4:memory:/x\n3:cpu,cpuacct:/x\n0::/\n", root);
        assert_eq!((groups.memory(), groups.cpu()), (Some(4096), Some(500)));
        assert_eq!(groups.pids(), Some(70));
    }

    /// In a container the path is of the world outside; it may even lead up.
    #[test]
    fn a_path_that_leads_elsewhere_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        write(folder.path(), "memory.max", "1\n");
        write(&root, "memory.max", "77\n");
        for text in ["0::/../..\n", "0::/not/there\n"] {
            assert_eq!(Groups::read(text, &root).memory(), Some(77), "{text}");
        }
        assert_eq!(Groups::read("nonsense", &root), Groups::default());
    }
}
