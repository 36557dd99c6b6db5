//! What a published number has to say of where it comes from.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{StatFs, statfs};

/// `f_type` of tmpfs and of ramfs: file systems without a disk.
const WITHOUT_DISK: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Where and when something was measured.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPU model, as the kernel names it.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Type of the file system the data is on.
    pub file_system: String,
    /// Today in UTC, as 2026-01-31.
    pub date: String,
    /// Commit of the working directory, with `-dirty` if files differ from it.
    pub commit: String,
}

impl Machine {
    /// Looks around; what cannot be found out is `unknown`. `dir` is where the data will be.
    #[must_use]
    pub fn here(dir: &Path) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let dir = fs::canonicalize(dir).unwrap_or_default();
        Machine {
            cpu: cpu_model(&cpuinfo).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            file_system: file_system(&mounts, &dir).unwrap_or("unknown").to_owned(),
            date: first_line("date", &["-u", "+%F"]),
            commit: first_line("git", &["describe", "--always", "--dirty"]),
        }
    }
}

/// Refuses a place where a sync costs nothing.
///
/// # Errors
/// If `dir` is on tmpfs or ramfs, or is not there.
pub fn ensure_disk(dir: &Path) -> Result<()> {
    let StatFs { f_type, .. } =
        statfs(dir).with_context(|| format!("looking at {}", dir.display()))?;
    ensure!(
        !WITHOUT_DISK.contains(&u64::try_from(f_type).unwrap_or(0)),
        "{} is in memory: durable writes would be free there",
        dir.display()
    );
    Ok(())
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// Type of the mount that holds `dir`: the last of those with the longest mount point.
///
/// ```text
///   36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/root rw
///    1  2   3     4            5  ...                    type
/// ```
fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let holding = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = Path::new(mount.split(' ').nth(4)?);
        dir.starts_with(point).then(|| (point.components().count(), kind.split(' ').next()))
    });
    holding.max_by_key(|(depth, _)| *depth)?.1
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.and_then(|text| String::from_utf8(text).ok())
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/` holds everything, but a disk mounted further down is the one that is measured.
    #[test]
    fn the_deepest_mount_names_the_file_system() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda rw\n\
            2 1 0:5 / /tmp rw,nosuid shared:2 - tmpfs tmpfs rw\n\
            3 1 8:2 / /srv/data rw - xfs /dev/sdb rw\n";
        for (dir, expected) in [
            ("/home/x", "ext4"),
            ("/tmp/x", "tmpfs"),
            ("/srv/data", "xfs"),
            ("/srv/database", "ext4"),
        ] {
            assert_eq!(file_system(mounts, Path::new(dir)), Some(expected), "{dir}");
        }
        assert_eq!(file_system("no mounts", Path::new("/")), None);
    }

    /// The processor is half of what a number means.
    #[test]
    fn the_cpu_model_is_what_stands_behind_the_colon() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9: x\nmodel name\t: other\n";
        assert_eq!(cpu_model(cpuinfo), Some("AMD EPYC 9: x"));
        assert_eq!(cpu_model("processor: 0"), None);
    }

    /// A comparison on tmpfs would publish the speed of a sync that does nothing.
    #[test]
    fn memory_is_no_disk() {
        if file_system(&fs::read_to_string("/proc/self/mountinfo").unwrap(), Path::new("/dev/shm"))
            == Some("tmpfs")
        {
            assert!(ensure_disk(Path::new("/dev/shm")).is_err());
        }
        assert!(ensure_disk(Path::new("/proc/no such place")).is_err());
    }
}
