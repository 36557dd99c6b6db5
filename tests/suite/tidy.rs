//! How a file must look: the rules of the house that a machine can check.
//!
//! The rules over one source file are in [`source`], those over links in [`links`]. Here they are
//! run over every file of the repository, and here is what each crate must have.
//!
//! A complaint reads `path:line: what is wrong`, so that an editor can jump to it.

mod links;
mod source;

use std::path::{Path, PathBuf};

/// A text file of the repository, its path relative to the root.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Every text file below `folder` whose name ends in `.extension`, in the order of their paths.
///
/// Build output and version control are left out; dotted folders such as `.ci` hold our files too.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(crate::root()).unwrap_or(&path).to_owned();
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What a crate in `folder` lacks, by the names of the files in it (relative to it).
fn rooms_missing(folder: &str, names: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    if !names.contains(&"README.md") {
        missing.push(format!("{folder}/README.md:1: every crate has a README.md"));
    }
    if !names.contains(&"src/lib.rs") && !names.contains(&"src/main.rs") {
        missing.push(format!("{folder}/src:1: every crate has src/lib.rs or src/main.rs"));
    }
    let stray = |name: &&&str| {
        name.strip_prefix("tests/").is_some_and(|rest| {
            Path::new(rest).extension().is_some_and(|kind| kind == "rs") && !rest.contains('/')
        })
    };
    for name in names.iter().filter(stray) {
        missing.push(format!("{folder}/{name}:1: integration tests live in tests/suite/main.rs"));
    }
    missing
}

/// A long file, a missing module doc or a bare `allow` is easy to let in and hard to get out.
#[test]
fn sources_are_tidy() {
    let files = files(&crate::root(), "rs");
    assert!(files.len() > 10, "the repository has sources");
    let complaints: Vec<String> = files.iter().flat_map(source::complaints).collect();
    crate::expect_none("tidy", &complaints);
}

/// A newcomer finds the same rooms in every crate.
#[test]
fn crates_have_their_rooms() {
    let root = crate::root();
    let mut complaints = Vec::new();
    for manifest in files(&root, "toml").iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        if !manifest.text.contains("[package]") {
            continue;
        }
        let folder = manifest.path.parent().expect("a manifest lies in a folder");
        let here = root.join(folder);
        let mut names: Vec<String> = Vec::new();
        for file in files(&here, "rs").into_iter().chain(files(&here, "md")) {
            let name = file.path.strip_prefix(folder).expect("files lie below the crate");
            names.push(name.display().to_string());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        complaints.extend(rooms_missing(&folder.display().to_string(), &names));
    }
    crate::expect_none("rooms", &complaints);
}

/// A dead link in a README costs every reader.
#[test]
fn links_resolve() {
    let root = crate::root();
    let exists = |path: &Path| root.join(path).exists();
    let complaints: Vec<String> =
        files(&root, "md").iter().flat_map(|file| links::broken(file, exists)).collect();
    crate::expect_none("links", &complaints);
}

/// The rule must see what is missing, or a green run says nothing.
#[test]
fn missing_room_is_seen() {
    let whole = ["README.md", "src/lib.rs", "src/wal.rs", "tests/suite/main.rs"];
    assert!(rooms_missing("wal", &whole).is_empty());
    assert_eq!(rooms_missing("wal", &["src/wal.rs"]).len(), 2);
    let stray = rooms_missing("wal", &["README.md", "src/main.rs", "tests/crash.rs"]);
    assert_eq!(stray, ["wal/tests/crash.rs:1: integration tests live in tests/suite/main.rs"]);
}

/// The walk must reach nested and dotted folders and stay out of build output.
#[test]
fn walk_finds_sources_and_skips_build_output() {
    let here = std::env::temp_dir().join(format!("drystone-tidy-{}", std::process::id()));
    for folder in ["a/b", ".ci", "target/debug"] {
        std::fs::create_dir_all(here.join(folder)).unwrap();
    }
    for file in ["a/b/x.rs", ".ci/y.rs", "target/debug/z.rs", "a/w.txt"] {
        std::fs::write(here.join(file), "//! Sample.\n").unwrap();
    }
    let found = files(&here, "rs");
    let names: Vec<_> = found.iter().map(|file| file.path.file_name().unwrap()).collect();
    std::fs::remove_dir_all(&here).unwrap();
    assert_eq!(names, ["y.rs", "x.rs"]);
}
