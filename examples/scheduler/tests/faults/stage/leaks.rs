//! What runs of a node have left behind: nothing.

use std::fs;
use std::path::Path;

/// All that is left of a node whose runs are over and whose agent has ended, a line each.
pub(crate) fn left(node: &str, data_dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let data = data_dir.display().to_string();
    for (pid, words) in processes() {
        if words.contains(&data) {
            left.push(format!("process {pid}: {words}"));
        }
    }
    for group in groups(node) {
        left.push(format!("control group {group}"));
    }
    for pid in pids() {
        // Mounts of all namespaces that somebody lives in, this one's among them. Who is in one of
        // a container sees its root there; and one that nobody is in lives by a mount alone.
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        for line in mounts.lines().filter(|line| line.contains(&format!("{data}/"))) {
            let line = format!("mount, seen by {pid}: {line}");
            // A full disk's own is the scene's to remove.
            if !left.contains(&line) {
                left.push(line);
            }
        }
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    left.extend(sockets.lines().filter(|it| it.contains(&data)).map(|it| format!("socket {it}")));
    for folder in ["m/runs", "m/s", "m/net"] {
        for entry in fs::read_dir(data_dir.join(folder)).into_iter().flatten() {
            left.push(format!("file {}", entry.unwrap().path().display()));
        }
    }
    left
}

/// The control groups of a node, its own among them.
pub(crate) fn groups(node: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let groups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut found = Vec::new();
    for at in groups.filter_map(|line| line.split(' ').nth(4)) {
        let group = format!("{at}/mason/{node}");
        let inner = fs::read_dir(&group).into_iter().flatten().flatten();
        let inner = inner.filter(|entry| entry.path().is_dir());
        found.extend(inner.map(|entry| entry.path().display().to_string()));
        if Path::new(&group).exists() {
            found.push(group);
        }
    }
    found
}

/// All processes that have words, and these.
pub(crate) fn processes() -> Vec<(u32, String)> {
    let words = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (!line.is_empty()).then_some((pid, line))
    };
    pids().filter_map(words).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends and removes all that a scene left that has failed.
pub(crate) fn remove(node: &str, data_dir: &Path) {
    use rustix::mount::{UnmountFlags, unmount};
    use rustix::process::{Pid, Signal, kill_process};
    let data = data_dir.display().to_string();
    for _ in 0..100 {
        let keepers = processes().into_iter().filter(|(_, words)| words.contains(&data));
        let mut pids: Vec<u32> = keepers.map(|(pid, _)| pid).collect();
        for group in groups(node) {
            let inside = fs::read_to_string(format!("{group}/cgroup.procs")).unwrap_or_default();
            pids.extend(inside.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        for pid in &pids {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        for group in groups(node) {
            let _ = fs::remove_dir(group);
        }
        if pids.is_empty() && groups(node).is_empty() {
            break;
        }
        std::thread::yield_now();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for at in
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.contains(&data))
    {
        let _ = unmount(at, UnmountFlags::DETACH);
    }
}
