//! A member under TLS, as a process, and the real `etcdctl` in front of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::papers::{Authority, Papers};
use crate::cluster::fleet::{Said, wait};
use crate::support::programs;
use crate::support::server::{clean_command, free_port};

/// A member's process and its log.
pub(crate) struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Starts it.
    pub(crate) fn new(mut command: Command, log: &Path) -> Started {
        let file = File::create(log).expect("the log can be made");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log can be shared"))
            .stderr(file);
        Started { child: command.spawn().expect("the server can be started"), log: log.to_owned() }
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, words: &str) {
        let found = wait(|| {
            let ended = self.child.try_wait().expect("the child is ours to wait for");
            assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.log());
            self.log().contains(words).then_some(())
        });
        assert!(found.is_some(), "{words:?} is not in the log:\n{}", self.log());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer to `GET path` at a port of this machine.
pub(crate) fn get_in_the_clear(port: u16, path: &str) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        // Whoever does not want it answers nothing.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A member that serves clients at one port, under TLS.
pub(super) struct Secured {
    folder: TempDir,
    process: Started,
    pub(super) port: u16,
}

/// A folder, an authority in it, and papers for a server.
pub(super) fn papers() -> (TempDir, Authority, Papers) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let authority = Authority::new(&folder.path().join("papers"));
    let server = authority.sign("server", super::papers::Person::SERVER);
    (folder, authority, server)
}

/// The flags that show these papers to clients.
pub(super) fn shown(papers: &Papers) -> Vec<String> {
    vec![flag("cert-file", &papers.cert), flag("key-file", &papers.key)]
}

pub(super) fn flag(name: &str, file: &Path) -> String {
    format!("--{name}={}", file.display())
}

impl Secured {
    /// Starts a member with `flags` after the usual ones, and waits until it serves.
    pub(super) fn start(folder: TempDir, flags: &[String]) -> Secured {
        let (port, peer) = (free_port(), free_port());
        let url = format!("https://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut command = clean_command(&programs::ours());
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]).args(flags);
        let process = Started::new(command, &folder.path().join("log"));
        let mut server = Secured { folder, process, port };
        server.wait_until("ready to serve client requests");
        server
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub(super) fn wait_until(&mut self, words: &str) {
        self.process.wait_until(words);
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    /// Where its data is.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Asks it to end, waits, and gives its folder back.
    pub(super) fn stop(mut self) -> (TempDir, ExitStatus) {
        kill_process(Pid::from_child(&self.process.child), Signal::TERM).expect("it runs");
        let status = wait(|| self.process.child.try_wait().expect("the child is ours to wait for"))
            .expect("it ends");
        let folder = std::mem::replace(
            &mut self.folder,
            tempfile::tempdir().expect("a temporary folder can be made"),
        );
        (folder, status)
    }

    /// What `etcdctl` says, with these certificates.
    pub(super) fn ctl(&self, ca: &Path, own: Option<&Papers>, words: &[&str]) -> Said {
        let etcdctl = programs::real().expect("the test has looked for it").etcdctl;
        ctl(&etcdctl, &format!("https://127.0.0.1:{}", self.port), ca, own, words)
    }

    /// Puts and gets, which must work.
    #[track_caller]
    pub(super) fn serves(&self, ca: &Path, own: Option<&Papers>) {
        let put = self.ctl(ca, own, &["put", "k", "v"]);
        assert!(put.worked, "{put:?}\n{}", self.log());
        let got = self.ctl(ca, own, &["get", "k", "--print-value-only"]);
        assert_eq!(got.out, "v", "{got:?}");
    }

    /// A get that must fail, and the log must say why.
    #[track_caller]
    pub(super) fn refuses(&mut self, ca: &Path, own: Option<&Papers>, why: &str) {
        // It would try again and again for as long as it is given.
        let got = self.ctl(ca, own, &["get", "k", "--command-timeout=1s"]);
        assert!(!got.worked, "{got:?}\n{}", self.log());
        self.wait_until("rejected connection on client endpoint");
        self.wait_until(why);
    }
}

/// What `etcdctl` says of the member at `url`.
pub(super) fn ctl(
    etcdctl: &Path,
    url: &str,
    ca: &Path,
    own: Option<&Papers>,
    words: &[&str],
) -> Said {
    let mut command = clean_command(etcdctl);
    command.env("ETCDCTL_API", "3").args(["--endpoints", url, "--cacert"]).arg(ca);
    if let Some(own) = own {
        command.arg("--cert").arg(&own.cert).arg("--key").arg(&own.key);
    }
    command.args(["--command-timeout=30s", "--dial-timeout=10s"]).args(words).stdin(Stdio::null());
    let output = command.output().expect("etcdctl can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    Said { worked: output.status.success(), out, err }
}
