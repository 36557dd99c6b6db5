//! What a node's containers leave behind on the machine, if anything.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::process::{Part, status_of};
use super::report::{Goal, Report};

/// What there is of one agent, counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traces {
    processes: usize,
    mounts: usize,
    groups: usize,
    folders: usize,
    files: usize,
    threads: u64,
    memory: u64,
}

impl Traces {
    /// Of the agent of this node, whose data is there.
    pub(super) fn look(agent: &Part, data_dir: &Path, node: &str) -> Result<Traces> {
        let data = data_dir.to_string_lossy();
        let pid = agent.pid();
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        Ok(Traces {
            processes: processes_of(pid, &data, node),
            mounts: mounts.lines().filter(|line| line.contains(&*data)).count(),
            groups: groups(Path::new("/sys/fs/cgroup"), node),
            folders: folders(&data_dir.join("m")),
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            threads: status_of(pid, "Threads:").unwrap_or(0),
            memory: agent.usage().memory,
        })
    }

    /// Says what there is more of than there was.
    pub(super) fn tell(&self, before: &Traces, report: &mut Report) {
        let counts = [
            ("processes and their namespaces", before.processes, self.processes, 0.0),
            ("mounts", before.mounts, self.mounts, 0.0),
            ("control groups", before.groups, self.groups, 0.0),
            ("folders", before.folders, self.folders, 0.0),
            // Connections and files of the moment come and go.
            ("open files of the agent", before.files, self.files, 5.0),
        ];
        for (what, then, now, most) in counts {
            let more = now.saturating_sub(then) as f64;
            report.figure(&format!("left behind: {what}"), more, "", Goal::Most(most));
        }
        let more = self.memory.saturating_sub(before.memory) as f64 / f64::from(1 << 20);
        report.figure("left behind: memory of the agent", more, "MiB", Goal::Most(16.0));
        report.note(format!(
            "threads of the agent: {} before, {} after",
            before.threads, self.threads
        ));
    }

    /// Whether nothing is left of what was started since.
    pub(super) fn is_clean(&self, before: &Traces) -> bool {
        let of = |it: &Traces| [it.processes, it.mounts, it.groups, it.folders];
        of(self).iter().zip(of(before)).all(|(now, then)| *now <= then)
    }
}

/// Processes, but the agent, that name its data or its node in their commands or control groups.
/// A namespace without a mount lasts as long as its processes.
fn processes_of(agent: u32, data: &str, node: &str) -> usize {
    let Ok(all) = fs::read_dir("/proc") else { return 0 };
    let pids = all.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |pid: &u32| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let (command, groups) = (read("cmdline"), read("cgroup"));
        let (command, groups) =
            (String::from_utf8_lossy(&command), String::from_utf8_lossy(&groups));
        let is_other = *pid != agent && *pid != std::process::id();
        is_other && (command.contains(&format!("{data}/")) || groups.contains(node))
    };
    pids.filter(is_ours).count()
}

/// Control groups below a folder that are of a node, by their path.
fn groups(folder: &Path, node: &str) -> usize {
    let Ok(all) = fs::read_dir(folder) else { return 0 };
    let within = all.flatten().filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    let counts = within.map(|it| {
        let path = it.path();
        usize::from(path.to_string_lossy().contains(node)) + groups(&path, node)
    });
    counts.sum()
}

/// Logs of runs that are over: kept on purpose, up to a limit of their own.
const KEPT: &str = "past-logs";

/// Folders below another, three deep: what runs have.
fn folders(of: &Path) -> usize {
    fn count(of: &Path, depth: usize) -> usize {
        let Ok(all) = fs::read_dir(of) else { return 0 };
        let within = all.flatten().filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
        let within = within.filter(|it| it.file_name() != KEPT);
        within.map(|it| 1 + if depth > 0 { count(&it.path(), depth - 1) } else { 0 }).sum()
    }
    count(of, 2)
}
