//! Packages of Debian that this machine does not have installed: of another release, or as source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::programs::run;

/// Debian's archive, as one line of `sources.list` has it. What is known of it is kept in a folder,
/// beside what is fetched, and the machine's own lists stay as they are.
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Makes the folder and reads what there is.
    pub(crate) fn open(folder: &Path, line: &str) -> Result<Archive, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder.join("lists/partial")).map_err(failed)?;
        std::fs::write(folder.join("sources.list"), format!("{line}\n")).map_err(failed)?;
        let archive = Archive { folder: folder.to_owned() };
        archive.apt(&["update"])?;
        Ok(archive)
    }

    /// Runs `apt-get` with it, in its folder.
    pub(crate) fn apt(&self, words: &[&str]) -> Result<(), String> {
        let option =
            |name: &str, file: &str| format!("{name}={}", self.folder.join(file).display());
        let mut apt = Command::new("apt-get");
        apt.current_dir(&self.folder);
        apt.args(["-o", &option("Dir::Etc::sourcelist", "sources.list")]);
        apt.args(["-o", "Dir::Etc::sourceparts=-"]);
        run(apt.args(["-o", &option("Dir::State::lists", "lists")]).args(words))
    }
}

/// etcd as Debian 13 has it, a late 3.5 with the probes of 3.6; or nothing, and then it says so.
/// Fetched once for a build folder.
pub(crate) fn late_etcd_or_skip(test: &str) -> Option<PathBuf> {
    static ETCD: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let etcd = ETCD.get_or_init(fetch_late_etcd).clone();
    etcd.map_err(|reason| super::skip(test, &format!("no etcd of Debian 13: {reason}"))).ok()
}

fn fetch_late_etcd() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-of-debian-13");
    let program = folder.join("made/usr/bin/etcd");
    if program.is_file() {
        return Ok(program);
    }
    let archive = Archive::open(&folder, "deb http://deb.debian.org/debian trixie main")?;
    archive.apt(&["download", "etcd-server"])?;
    // Renamed when it is whole: a test that is interrupted must not leave half a program.
    let unpack = "rm -rf part made && dpkg-deb -x etcd-server_*.deb part && mv part made";
    run(Command::new("sh").current_dir(&folder).args(["-c", unpack]))?;
    if program.is_file() { Ok(program) } else { Err("there is none in its package".to_owned()) }
}
