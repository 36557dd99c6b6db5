//! A proxy as a process, ours or etcd's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use drystone_etcd_api::client::{Client, Config, connect};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cluster::fleet::{page, wait};
use crate::support::programs;
use crate::support::server::{clean_command, free_port};

/// A running proxy, which ends with the test.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    folder: TempDir,
    port: u16,
    program: PathBuf,
    endpoints: Vec<String>,
    flags: Vec<String>,
}

impl Proxy {
    /// Ours, in front of these members.
    pub(crate) fn start(endpoints: &[String], flags: &[&str]) -> Proxy {
        Proxy::start_as(&programs::ours(), endpoints, flags)
    }

    /// The same of another program.
    pub(crate) fn start_as(program: &Path, endpoints: &[String], flags: &[&str]) -> Proxy {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (program, endpoints) = (program.to_owned(), endpoints.to_vec());
        let child = launch(command(&program, &endpoints, port, folder.path()), &flags, &folder);
        let mut proxy = Proxy { child, folder, port, program, endpoints, flags };
        proxy.wait_for_start();
        proxy
    }

    fn wait_for_start(&mut self) {
        let started = wait(|| {
            let ended = self.child.try_wait().expect("the child is ours to wait for");
            assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.log());
            self.log().contains("started gRPC proxy").then_some(())
        });
        assert!(started.is_some(), "it does not start\n{}", self.log());
    }

    /// Ends it where it stands (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("the child is ours to wait for");
    }

    /// The same, and starts it again at the same place.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let command = command(&self.program, &self.endpoints, self.port, self.folder.path());
        self.child = launch(command, &self.flags, &self.folder);
        self.wait_for_start();
    }

    /// Sends a signal, and does not wait.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A new connection to it.
    pub(crate) async fn client(&self) -> Client {
        let client = connect(&self.url(), &Config::default()).await;
        client.expect("a proxy that listens accepts connections")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let ended = wait(|| self.child.try_wait().expect("the child is ours to wait for"));
        ended.unwrap_or_else(|| panic!("it does not end\n{}", self.log()))
    }

    /// The number that its own page of metrics has under that name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        number(&self.address(), "/proxy/metrics", name)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(mut command: Command, flags: &[String], folder: &TempDir) -> Child {
    let log = File::create(folder.path().join("log")).expect("the log can be made");
    command.args(flags).stdout(log.try_clone().expect("the log can be shared")).stderr(log);
    command.spawn().expect("the proxy can be started")
}

/// The command that starts a proxy.
pub(crate) fn command(program: &Path, endpoints: &[String], port: u16, folder: &Path) -> Command {
    let mut command = clean_command(program);
    command.args(["grpc-proxy", "start"]);
    command.arg(format!("--endpoints={}", endpoints.join(",")));
    command.arg(format!("--listen-addr=127.0.0.1:{port}"));
    command.arg(format!("--data-dir={}", folder.join("proxy").display()));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A number on a page of metrics.
pub(crate) fn number(address: &str, path: &str, name: &str) -> Option<f64> {
    let (_, body) = page(address, path);
    let mut lines = body.lines().filter_map(|line| line.strip_prefix(name));
    lines.find_map(|rest| rest.strip_prefix(' ')?.trim().parse().ok())
}

/// Waits until a member has so many watchers.
#[track_caller]
pub(crate) fn wait_for_watchers(member: &str, count: i32) {
    let name = "etcd_debugging_mvcc_watcher_total";
    let mut last = None;
    let found = wait(|| {
        last = number(member, "/metrics", name);
        (last == Some(f64::from(count))).then_some(())
    });
    assert!(found.is_some(), "{last:?} watchers at the member, not {count}");
}
