//! What is left of a container in its control groups: who is in there, who was killed for memory.
//!
//! A container has one folder in each hierarchy: several under version 1, one under version 2,
//! both on a hybrid machine. All of this works on the list of those folders, and asks the files
//! that are there what kind it is. A folder that is not there is empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long processes may take to be gone after SIGKILL; then they hang in the kernel.
const KILL_MAX: Duration = Duration::from_secs(10);

/// The processes in a group and those below it, as the node sees them.
pub fn processes(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for inner in groups_below(folder) {
        found.extend(processes(&inner));
    }
    found
}

/// Kills everything in these groups, and waits until it is gone.
///
/// # Errors
/// Something is still there after ten seconds.
pub fn kill(folders: &[PathBuf]) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let mut left: Vec<i32> = folders.iter().flat_map(|folder| processes(folder)).collect();
        left.sort_unstable();
        left.dedup();
        if left.is_empty() {
            return Ok(());
        }
        for folder in folders {
            // Version 2 kills all at once, so that nothing can fork away from it.
            let _ = fs::write(folder.join("cgroup.kill"), "1");
        }
        for pid in left.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if begun.elapsed() > KILL_MAX {
            let what = format!("processes {left:?} are still there after SIGKILL");
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many processes were killed because their memory was used up. Read it before the groups go.
pub fn oom_kills(folders: &[PathBuf]) -> u64 {
    let count = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    let of = |folder: &PathBuf| {
        count(folder.join("memory.oom_control")).max(count(folder.join("memory.events")))
    };
    folders.iter().map(of).max().unwrap_or(0)
}

/// Removes a group and those below it, which must be empty.
///
/// # Errors
/// There is a process in one of them.
pub fn remove(folder: &Path) -> io::Result<()> {
    for inner in groups_below(folder) {
        remove(&inner)?;
    }
    let begun = Instant::now();
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The last process is gone for its parent before it is gone from its group.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy
                    && processes(folder).is_empty()
                    && begun.elapsed() < KILL_MAX =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

fn groups_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same number has two names, and a group that is gone has none.
    #[test]
    fn kills_for_memory_are_counted_under_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| root.path().join(name));
        for (folder, file, text) in [
            (&first, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            (&second, "memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\n"),
        ] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(file), text).unwrap();
        }
        let gone = root.path().join("gone");
        assert_eq!(oom_kills(&[first, gone.clone()]), 2);
        assert_eq!(oom_kills(&[second, gone.clone()]), 3);
        assert_eq!(oom_kills(&[gone]), 0);
    }
}
