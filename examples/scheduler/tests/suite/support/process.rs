//! Stores whose members are processes, to be killed.
//!
//! Real etcd is the one in `REFERENCE_ETCD_BIN`, or Debian's, which `apt-get` is asked for once.
//! Ours is this test program, run again: it has the server in it, and does what its command line
//! does.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb::StatusRequest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Kind, until};

/// Holds the command line of a server, a word a line.
const ASKED: &str = "MASON_TEST_STORE";

/// Does what `ASKED` says, if it is there.
pub(crate) fn serve_if_asked() {
    let Ok(words) = std::env::var(ASKED) else { return };
    let parent = Some(Signal::KILL);
    // Should the test die without cleaning up.
    rustix::process::set_parent_process_death_signal(parent).expect("this is Linux");
    let words = words.lines().map(Into::into).collect();
    let ended = drystone_etcd::program::run(words, []);
    std::process::exit(i32::from(ended != ExitCode::SUCCESS));
}

/// Real etcd, or why there is none.
pub(crate) fn real_etcd() -> Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("REFERENCE_ETCD_BIN", "etcd")).clone()
}

/// Real etcdctl, or why there is none.
pub(crate) fn real_etcdctl() -> Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("REFERENCE_ETCDCTL_BIN", "etcdctl")).clone()
}

fn find(variable: &str, name: &str) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(variable) {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(format!("{variable} names no file")) };
    }
    let look = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once("/usr/bin".into()).chain(std::env::split_paths(&path));
        folders.map(|folder: PathBuf| folder.join(name)).find(|program| program.is_file())
    };
    look().map_or_else(|| install().and_then(|()| look().ok_or("it is not there".into())), Ok)
}

fn install() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let steps: [&[&str]; 2] = [&["update"], &["install", "-y", "etcd-server", "etcd-client"]];
    let run = |arguments: &&[&str]| {
        let mut apt = Command::new("apt-get");
        // Run level 1 keeps the package from starting a service of its own.
        apt.args(*arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        apt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match apt.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("no etcd, and apt-get {arguments:?}: {status}")),
            Err(_) => Err("no etcd, and no apt-get to install it with".to_owned()),
        }
    };
    INSTALLED.get_or_init(|| steps.iter().try_for_each(run)).clone()
}

/// The members of one store.
pub(crate) struct Processes {
    kind: Kind,
    folder: TempDir,
    members: Vec<One>,
}

struct One {
    client: u16,
    peer: u16,
    child: Option<Child>,
}

impl Processes {
    /// Starts so many, and waits until all of them know a leader.
    pub(crate) async fn start(kind: Kind, count: usize) -> Processes {
        let folder = tempfile::tempdir().unwrap();
        let one = |_| One { client: free_port(), peer: free_port(), child: None };
        let mut all = Processes { kind, folder, members: (0..count).map(one).collect() };
        (0..count).for_each(|number| all.launch(number));
        for number in 0..count {
            all.wait_for(number).await;
        }
        all
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[number].client)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        (0..self.members.len()).map(|number| self.url(number)).collect()
    }

    /// Ends a member where it stands (SIGKILL).
    pub(crate) fn kill(&mut self, number: usize) {
        let mut child = self.members[number].child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        let child = self.members[number].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Starts a member, which does not run, on what it left, and does not wait.
    pub(crate) fn launch(&mut self, number: usize) {
        assert!(self.members[number].child.is_none(), "two processes cannot share a folder");
        let words = self.words(number);
        let mut command = match self.kind {
            Kind::Etcd => {
                let mut etcd = Command::new(real_etcd().unwrap());
                etcd.args(words);
                etcd
            }
            Kind::Ours => {
                let mut this = Command::new(std::env::current_exe().unwrap());
                this.args(["--exact", "store_process", "--nocapture"]).env(ASKED, words.join("\n"));
                this
            }
        };
        let log = self.folder.path().join(format!("m{number}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.members[number].child = Some(command.spawn().unwrap());
    }

    fn words(&self, number: usize) -> Vec<String> {
        let url = |port| format!("http://127.0.0.1:{port}");
        let (client, peer) = (url(self.members[number].client), url(self.members[number].peer));
        let named = |(i, one): (usize, &One)| format!("m{i}={}", url(one.peer));
        let all: Vec<String> = self.members.iter().enumerate().map(named).collect();
        let data = self.folder.path().join(format!("m{number}"));
        let mut words = Vec::new();
        for (flag, value) in [
            ("name", format!("m{number}")),
            ("data-dir", data.display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", all.join(",")),
            ("initial-cluster-state", "new".to_owned()),
            ("initial-cluster-token", self.folder.path().display().to_string()),
        ] {
            words.extend([format!("--{flag}"), value]);
        }
        words
    }

    /// Waits until a member knows a leader.
    pub(crate) async fn wait_for(&mut self, number: usize) {
        let url = self.url(number);
        let log = self.folder.path().join(format!("m{number}.log"));
        let child = self.members[number].child.as_mut().expect("it runs");
        assert!(child.try_wait().unwrap().is_none(), "{}", tail(&log));
        until(async || leader_at(&url).await).await;
    }

    /// Which member leads.
    pub(crate) async fn leader(&self) -> usize {
        let running = || (0..self.members.len()).filter(|&n| self.members[n].child.is_some());
        until(async || {
            for number in running() {
                if let Some((own, leader)) = leader_at(&self.url(number)).await
                    && own == leader
                {
                    return Some(number);
                }
            }
            None
        })
        .await
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|one| one.child.as_mut()) {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The ids of the member there and of its leader, if it has one.
async fn leader_at(url: &str) -> Option<(u64, u64)> {
    let ask = async {
        let client = connect(url, &Config::default()).await.ok()?;
        let status = client.maintenance().status(StatusRequest::default()).await.ok()?.into_inner();
        let own = status.header?.member_id;
        (status.leader != 0).then_some((own, status.leader))
    };
    tokio::time::timeout(std::time::Duration::from_secs(2), ask).await.ok()?
}

/// A port on loopback that nobody listens on, outside the range from which the kernel gives ports
/// to outgoing connections, and never the same twice in a process.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 100).expect("below a hundred") * 100;
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
