//! The rule over one Markdown file: a relative link leads to a file of this repository.
//!
//! Looked at are `[text](target)` and `[name]: target`, outside code. Links to the network and to
//! headings of the same page are not followed.

use std::path::{Component, Path, PathBuf};

use super::File;

/// Links of `file` whose target does not exist, as `path:line: ..`.
pub(super) fn broken(file: &File, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    let mut fenced = false;
    for (i, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        for target in targets(&without_code(line)) {
            let reached = resolve(folder, &target).is_some_and(|path| exists(&path));
            if !reached {
                found.push(format!("{}:{}: dead link {target}", file.path.display(), i + 1));
            }
        }
    }
    found
}

/// The line with its `code` blanked out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// The relative targets of the links on a line, without their `#heading`.
fn targets(line: &str) -> Vec<String> {
    let inline = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
    let inline = inline.filter_map(|rest| rest.split([')', ' ']).next());
    let defined = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let defined = defined.and_then(|(_, rest)| rest.split_whitespace().next());
    let followed = |target: &&str| {
        let outside = target.contains("://") || target.starts_with("mailto:");
        !outside && !target.starts_with('#') && !target.is_empty()
    };
    let bare = |target: &str| target.split('#').next().unwrap_or_default().to_owned();
    inline.chain(defined).filter(followed).map(bare).collect()
}

/// The target as a path from the root, or none when it leaves the repository.
fn resolve(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let file = File { path: "wal/README.md".into(), text: text.to_owned() };
        let known = ["wal/src/lib.rs", "docs/tour.md"];
        let found = broken(&file, |path| known.iter().any(|name| Path::new(name) == path));
        assert_eq!(found, expected);
    }

    /// Good links, code and the network are left alone.
    #[test]
    fn living_link_passes() {
        check("See [it](src/lib.rs), [the tour](../docs/tour.md#start) and [us](#here).", &[]);
        check("[web](https://example.org/x) `[not](a-link)`\n```\n[nor](this)\n```\n", &[]);
        check("[tour]: ../docs/tour.md\n", &[]);
    }

    /// Each way of writing a link is looked at, also when it leaves the repository.
    #[test]
    fn dead_link_is_seen() {
        check("One.\n[it](src/gone.rs)", &["wal/README.md:2: dead link src/gone.rs"]);
        check("[tour]: ../docs/gone.md", &["wal/README.md:1: dead link ../docs/gone.md"]);
        check("[out](../../etc/passwd)", &["wal/README.md:1: dead link ../../etc/passwd"]);
        check("[root](/docs/tour.md)", &["wal/README.md:1: dead link /docs/tour.md"]);
        check("[a](src/lib.rs) [b](b.md)", &["wal/README.md:1: dead link b.md"]);
    }
}
