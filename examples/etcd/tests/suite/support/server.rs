//! A running server, real or ours, that ends with the test.
//!
//! ```text
//!     start ──► answering ──► restart (SIGTERM) or crash (SIGKILL) ──► answering ──► drop
//!                   │                                                    ▲
//!                   └──► terminate or kill ──► (the data lies still) ──► start_again
//! ```
//!
//! Both programs get the same flags. A server counts as started when its Status call names a
//! leader; that call also tells the ids which differ from one run to the next.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb::StatusRequest;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to start or to stop. Generous: machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server process with its own ports and data folder.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    flags: Vec<String>,
    child: Child,
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    ids: Ids,
}

/// Ids that a member makes up or derives from its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) cluster: u64,
    pub(crate) member: u64,
}

impl Server {
    /// Starts a member of a cluster of one on a fresh data folder, with `flags` after the usual
    /// ones, and waits until it answers.
    pub(crate) fn start(program: &Path, flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Server::start_in(folder, program, flags)
    }

    /// The same in a folder of which `data` is what an earlier server left.
    pub(crate) fn start_in(folder: TempDir, program: &Path, flags: &[&str]) -> Server {
        let (client_port, peer_port) = (free_port(), free_port());
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(program, folder.path(), client_port, peer_port, &flags);
        let ids = Ids { cluster: 0, member: 0 };
        let program = program.to_owned();
        let mut server = Server { program, flags, child, folder, client_port, peer_port, ids };
        server.wait_until_answering();
        server
    }

    /// Where clients connect, as `http://127.0.0.1:port`.
    pub(crate) fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Where clients connect, as `127.0.0.1:port`.
    pub(crate) fn client_address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Where members connect.
    pub(crate) fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// The ids of this member and its cluster.
    pub(crate) fn ids(&self) -> Ids {
        self.ids
    }

    /// The folder that the server keeps its data in.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process that was started last is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours to wait for").is_none()
    }

    /// Asks the server to stop, waits, and starts it again on the same data.
    pub(crate) fn restart(&mut self) -> ExitStatus {
        let status = self.terminate();
        self.start_again();
        status
    }

    /// Kills the server, and starts it again on the same data.
    pub(crate) fn crash(&mut self) -> ExitStatus {
        let status = self.kill();
        self.start_again();
        status
    }

    /// Asks the server to stop (SIGTERM), and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the server runs");
        self.wait_for_exit()
    }

    /// Ends the server where it stands (SIGKILL).
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("the server runs");
        self.wait_for_exit()
    }

    /// Starts the server, which has ended, on the data it left, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let before = self.ids;
        self.launch();
        self.wait_until_answering();
        assert_eq!(before, self.ids, "a member keeps its ids over a restart");
    }

    /// The same with nothing but the usual flags.
    pub(crate) fn start_without_flags(&mut self) {
        self.flags.clear();
        self.start_again();
    }

    /// The same with another program.
    pub(crate) fn start_again_as(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
        self.start_again();
    }

    /// What it is started with from the next time on.
    pub(crate) fn change_program(&mut self, program: &Path, flags: &[&str]) {
        program.clone_into(&mut self.program);
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Starts the server, which has ended, on the data it left, and does not wait.
    pub(crate) fn launch(&mut self) {
        assert!(!self.is_running(), "two servers cannot share their data");
        let (client, peer) = (self.client_port, self.peer_port);
        self.child = spawn(&self.program, self.folder.path(), client, peer, &self.flags);
    }

    /// Waits until the server has ended.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the child is ours to wait for") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} does not stop\n{}", self.program.display(), self.log());
    }

    fn wait_until_answering(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("the child is ours to wait for") {
                panic!("{} ended: {status}\n{}", self.program.display(), self.log());
            }
            let (url, limit) = (self.client_url(), Duration::from_secs(2));
            let asked = runtime.block_on(async { tokio::time::timeout(limit, ask(url)).await });
            if let Ok(Some(ids)) = asked {
                self.ids = ids;
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} does not answer\n{}", self.program.display(), self.log());
    }

    /// Everything the server wrote.
    pub(crate) fn whole_log(&self) -> String {
        let text = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines the server wrote.
    pub(crate) fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, folder: &Path, client: u16, peer: u16, flags: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let log = log.expect("the log can be opened");
    let mut command = command(program, &folder.join("data"), client, peer);
    command.args(flags);
    command.stdout(log.try_clone().expect("the log can be shared")).stderr(log);
    loop {
        match command.spawn() {
            Ok(child) => return child,
            // A script that was just written, while another test was starting a program.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {}
            Err(error) => panic!("cannot start {}: {error}", program.display()),
        }
    }
}

/// The command that starts `program` as the only member of a cluster.
pub(crate) fn command(program: &Path, data: &Path, client: u16, peer: u16) -> Command {
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    let mut command = clean_command(program);
    command.args(["--name", "solo", "--data-dir"]).arg(data);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("solo={peer}")]);
    command.args(["--initial-cluster-state", "new", "--initial-cluster-token", "suite"]);
    command.stdin(Stdio::null());
    command
}

/// A command that settings of the shell that runs the tests do not reach.
pub(crate) fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD") {
            command.env_remove(name);
        }
    }
    command
}

/// The ids of the member at `url`, once it has a leader.
async fn ask(url: String) -> Option<Ids> {
    let client = connect(&url, &Config::default()).await.ok()?;
    let status = client.maintenance().status(StatusRequest::default()).await.ok()?.into_inner();
    let header = status.header?;
    let ids = Ids { cluster: header.cluster_id, member: header.member_id };
    (status.leader != 0).then_some(ids)
}

/// A port on loopback that nobody listens on, outside the range from which the kernel gives ports
/// to outgoing connections, and never the same twice in a process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 100).expect("below a hundred") * 100;
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
