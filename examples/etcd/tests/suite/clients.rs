//! Client libraries that others wrote, from their registries: whether they work with this server.
//!
//! Each folder of `tests/clients` is a library: what is to be installed, pinned, and a script a
//! topic, which prints what it sees and ends with status 1 when that is not what etcd answers. Each
//! script has a fresh server. Libraries are installed once for a build folder, with `pip` and
//! `npm`; without these a test says that it was left out, and fails where `CI=true`.
//!
//! With `REFERENCE=1` the scripts run against real etcd: they are right if they pass there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::programs::{ours, real};
use crate::support::server::Server;
use crate::support::skip;

/// How long a script may take. Each takes two or three seconds where a lease has to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the installation of a library may take. It fetches some ten megabytes.
const INSTALLED_MAX: Duration = Duration::from_secs(300);

/// Runs a program to its end; what it printed is in `output`.
fn finish(command: &mut Command, output: &Path, patience: Duration) -> Result<(), String> {
    let log = File::create(output).map_err(|error| error.to_string())?;
    let other = log.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(log).stderr(other);
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status.to_string(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                break "took too long".to_owned();
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = std::fs::read(output).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    if status == "exit status: 0" { Ok(()) } else { Err(format!("{status}\n{said}")) }
}

/// The folder where a library is installed, or why it cannot be.
pub(crate) fn install(library: &str, scripts: &Path) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{library}"));
    let node = library.starts_with("node");
    let wanted = scripts.join(if node { "package-lock.json" } else { "requirements.txt" });
    let wanted = std::fs::read(wanted).map_err(|error| error.to_string())?;
    // What was installed for an older list is of no use.
    if std::fs::read(folder.join("installed")).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|e| e.to_string())?;
    let mut command = if node {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(scripts.join(name), made.path().join(name)).map_err(|e| e.to_string())?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-fund", "--no-audit"]);
        npm
    } else {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--timeout", "20"]);
        pip.args(["--target", ".", "--requirement"]).arg(scripts.join("requirements.txt"));
        pip
    };
    finish(command.current_dir(made.path()), &made.path().join("log"), INSTALLED_MAX)
        .map_err(|reason| format!("{library} cannot be installed: {reason}"))?;
    std::fs::write(made.path().join("installed"), wanted).map_err(|error| error.to_string())?;
    let _ = std::fs::remove_dir_all(&folder);
    // Another process may have been faster; then its folder is as good.
    let _ = std::fs::rename(made.path(), &folder);
    Ok(folder)
}

/// Runs the scripts of a library, each against a server of its own.
fn check(test: &str, library: &str, topics: &[&str]) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let scripts = clients.join(library);
    let server = match std::env::var_os("REFERENCE") {
        Some(_) => real().map(|real| real.etcd),
        None => Ok(ours()),
    };
    let (server, installed) = match server.and_then(|it| Ok((it, install(library, &scripts)?))) {
        Ok(both) => both,
        Err(reason) => return skip(test, &reason),
    };
    // Side by side: most of the time goes by while leases end.
    std::thread::scope(|scope| {
        for topic in topics {
            scope.spawn(|| run(&server, &clients, &installed, library, topic));
        }
    });
}

/// Runs a script against a fresh server.
fn run(server: &Path, clients: &Path, installed: &Path, library: &str, topic: &str) {
    let server = Server::start(server, &[]);
    let node = library.starts_with("node");
    let (program, ending) = if node { ("node", "js") } else { ("python3", "py") };
    let mut command = Command::new(program);
    command.arg(clients.join(library).join(format!("{topic}.{ending}")));
    command.arg(server.client_address());
    let path = std::env::join_paths([clients, installed]).expect("no colon in a path");
    command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("NODE_PATH", installed.join("node_modules"));
    let output = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    if let Err(reason) = finish(&mut command, output.path(), PATIENCE) {
        panic!("{library}/{topic}: {reason}\n{}", server.log());
    }
}

// What is written in Python for etcd speaks gRPC through this library.
#[test]
fn python_etcd3_works() {
    let topics = ["kv", "cluster", "watch", "lease", "lock", "auth"];
    check("clients::python_etcd3_works", "python_etcd3", &topics);
}

// It speaks JSON, and is strict about what the gateway leaves out and how it closes streams.
#[test]
fn python_etcd3_py_works() {
    let topics = ["kv", "aio", "watch", "lease", "lock", "auth"];
    check("clients::python_etcd3_py_works", "python_etcd3_py", &topics);
}

// Its gRPC is neither Go's nor the C core's, and its elections are its own.
#[test]
fn node_etcd3_works() {
    let topics = ["kv", "watch", "lease", "lock", "election", "auth"];
    check("clients::node_etcd3_works", "node_etcd3", &topics);
}
