//! Where control groups are on this machine: the hierarchies, and a run's folder in each.
//!
//! ```text
//!   version 1   /sys/fs/cgroup/<controller>/mason/<node>/<run>    one folder a hierarchy
//!   version 2   /sys/fs/cgroup/mason/<node>/<run>                 one folder
//!   hybrid      those of version 1, and /sys/fs/cgroup/unified/mason/<node>/<run>
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    at: PathBuf,
    unified: bool,
}

/// All hierarchies of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    hierarchies: Vec<Hierarchy>,
}

impl Groups {
    pub(crate) fn find() -> io::Result<Groups> {
        Ok(Groups::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(mounts: &str) -> Groups {
        let mut hierarchies = Vec::new();
        for line in mounts.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            let unified = match mount.kind.as_str() {
                "cgroup" => false,
                "cgroup2" => true,
                _ => continue,
            };
            hierarchies.push(Hierarchy { at: mount.at, unified });
        }
        Groups { hierarchies }
    }

    /// Where the unified hierarchy is, if there are others besides.
    pub(crate) fn unified_of_hybrid(&self) -> Option<&Path> {
        let others = self.hierarchies.iter().any(|hierarchy| !hierarchy.unified);
        let unified = self.hierarchies.iter().find(|hierarchy| hierarchy.unified)?;
        others.then_some(unified.at.as_path())
    }

    /// A group's folder in each hierarchy.
    pub(crate) fn folders(&self, group: &str) -> Vec<PathBuf> {
        let group = group.trim_start_matches('/');
        self.hierarchies.iter().map(|hierarchy| hierarchy.at.join(group)).collect()
    }

    /// Whether swap can be bounded: a kernel may have been started without its accounting.
    pub(crate) fn bounds_swap(&self) -> bool {
        let counted = |hierarchy: &Hierarchy| {
            // The root of version 2 has no limits of its own, so nothing there tells; a runtime
            // passes over what a version 2 kernel does not have.
            let file = hierarchy.at.join("memory.memsw.limit_in_bytes");
            file.exists() || hierarchy.unified && self.is_unified()
        };
        self.hierarchies.iter().any(counted)
    }

    fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| hierarchy.unified)
    }
}

/// A line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub(crate) at: PathBuf,
    /// Which file system.
    pub(crate) kind: String,
}

impl Mount {
    /// All that this process sees.
    pub(crate) fn list() -> io::Result<Vec<Mount>> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(text.lines().filter_map(Mount::parse).collect())
    }

    fn parse(line: &str) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let at = before.split(' ').nth(4)?;
        let kind = after.split(' ').next()?;
        Some(Mount { at: PathBuf::from(unescape(at)), kind: kind.to_owned() })
    }
}

/// Spaces and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match digits {
            Some(byte) => whole.push(char::from(byte)),
            None => whole.push('\\'),
        }
        whole += digits.map_or(part, |_| &part[3..]);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const ALONE: &str = "25 22 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// Three kinds of machine, and a run's folders on each.
    #[test]
    fn hierarchies_are_told_apart() {
        let first = Groups::parse(FIRST);
        let folders = ["/sys/fs/cgroup/cpu/mason/n/r", "/sys/fs/cgroup/memory/mason/n/r"];
        assert_eq!(first.folders("/mason/n/r"), folders.map(PathBuf::from));
        assert_eq!(first.unified_of_hybrid(), None);
        let hybrid = Groups::parse(&format!("{FIRST}{UNIFIED}"));
        assert_eq!(hybrid.unified_of_hybrid(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(hybrid.folders("/mason/n/r").len(), 3);
        let second = Groups::parse(ALONE);
        assert_eq!(second.folders("/mason/n/r"), [PathBuf::from("/sys/fs/cgroup/mason/n/r")]);
        assert!(second.is_unified() && second.unified_of_hybrid().is_none());
    }

    /// A folder with a space in its name is swept like any other.
    #[test]
    fn mounts_are_unescaped() {
        let line = "1 2 0:3 / /a\\040b\\134c rw - tmpfs mason rw";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.at.to_str(), mount.kind.as_str()), (Some("/a b\\c"), "tmpfs"));
    }
}
