//! The members of a cluster, as processes, and those who talk to them.
//!
//! ```text
//!     Fleet: m0  m1  m2 …     each with two ports and a data folder, dead or alive
//!             ▲   ▲   ▲
//!             │   └───┴── Fleet::ctl: the real etcdctl
//!             └────────── Fleet::client: raw calls
//! ```
//!
//! A member is named by its number. Everything ends with the test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Client, Config, connect};
use drystone_etcd_api::etcdserverpb::{PutRequest, StatusRequest, StatusResponse};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::calls::in_a_runtime;
use crate::support::programs;
use crate::support::server::{clean_command, free_port};

/// How long anything may take that must come. Generous: machines that test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster.
pub(crate) struct Fleet {
    folder: TempDir,
    etcdctl: PathBuf,
    /// What the members run.
    program: PathBuf,
    members: Vec<Process>,
}

/// How members come to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// By TCP.
    Plain,
    /// By TCP, under TLS.
    Secured,
    /// By Unix sockets.
    Files,
    /// By Unix sockets, under TLS.
    SecuredFiles,
}

struct Process {
    name: String,
    client: u16,
    peer: u16,
    /// The file that stands for that port.
    socket: PathBuf,
    road: Road,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Fleet {
    /// A cluster of `count` members that have a leader, or `None` where there is no `etcdctl` (and
    /// then it says so).
    pub(crate) fn start(test: &str, count: usize) -> Option<Fleet> {
        Fleet::start_with(test, count, &[])
    }

    /// The same with these flags on all members.
    pub(crate) fn start_with(test: &str, count: usize, flags: &[&str]) -> Option<Fleet> {
        Fleet::start_as(test, &programs::ours(), count, flags)
    }

    /// The same of another program.
    pub(crate) fn start_as(
        test: &str,
        program: &Path,
        count: usize,
        flags: &[&str],
    ) -> Option<Fleet> {
        Fleet::start_any(test, program, count, (flags, Road::Plain))
    }

    /// The same with members that talk to each other under TLS, as the flags say.
    pub(crate) fn start_secured(test: &str, count: usize, flags: &[String]) -> Option<Fleet> {
        Fleet::start_by(test, count, Road::Secured, flags)
    }

    /// The same with members that come to each other by this road.
    pub(crate) fn start_by(
        test: &str,
        count: usize,
        road: Road,
        flags: &[String],
    ) -> Option<Fleet> {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Fleet::start_any(test, &programs::ours(), count, (&flags, road))
    }

    /// Nobody yet: see [`Fleet::newcomer`].
    pub(crate) fn without_members(test: &str, program: &Path) -> Option<Fleet> {
        let etcdctl = programs::real_or_skip(test)?.etcdctl;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Some(Fleet { folder, etcdctl, program: program.to_owned(), members: Vec::new() })
    }

    fn start_any(
        test: &str,
        program: &Path,
        count: usize,
        (flags, road): (&[&str], Road),
    ) -> Option<Fleet> {
        let mut fleet = Fleet::without_members(test, program)?;
        for _ in 0..count {
            fleet.add(flags, road);
        }
        let all = fleet.initial_cluster();
        for number in 0..count {
            fleet.set_cluster(number, &all, "new");
            fleet.launch(number);
        }
        fleet.wait_for_all();
        // Where several suites run, a port may have been taken by somebody else's server.
        let cluster = |number| fleet.wait_for(number).header.map(|header| header.cluster_id);
        let first = cluster(0);
        assert!((0..count).all(|number| cluster(number) == first), "a port is somebody else's");
        Some(fleet)
    }

    /// Who all are, as `--initial-cluster` has it.
    pub(crate) fn initial_cluster(&self) -> String {
        let one = |member: &Process| format!("{}={}", member.name, member.peer_url());
        self.members.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// What a member is told of the cluster that it begins with.
    pub(crate) fn set_cluster(&mut self, number: usize, all: &str, state: &str) {
        let flags = &mut self.members[number].flags;
        flags.retain(|flag| !flag.starts_with("--initial-cluster"));
        flags.push(format!("--initial-cluster={all}"));
        flags.push(format!("--initial-cluster-state={state}"));
        flags.push("--initial-cluster-token=fleet".to_owned());
    }

    /// Makes room for one more member, which is not started; its number.
    pub(crate) fn newcomer(&mut self) -> usize {
        self.add(&[], Road::Plain)
    }

    fn add(&mut self, flags: &[&str], road: Road) -> usize {
        let number = self.members.len();
        self.members.push(Process::new(number, flags, road, self.folder.path()));
        number
    }

    /// The same, for one that talks to the others under TLS, as the flags say.
    pub(crate) fn newcomer_with(&mut self, flags: &[String]) -> usize {
        self.newcomer_by(Road::Secured, flags)
    }

    /// The same, for one that comes to the others by this road.
    pub(crate) fn newcomer_by(&mut self, road: Road, flags: &[String]) -> usize {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.add(&flags, road)
    }

    /// What the members run from their next start on.
    pub(crate) fn change_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Starts a member, which is not running, with `flags` after the usual ones, and does not wait.
    pub(crate) fn launch_with(&mut self, number: usize, flags: &[&str]) {
        let (data, log) = (self.data(number), self.log_file(number));
        let member = &mut self.members[number];
        assert!(member.child.is_none(), "two processes cannot share a folder");
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("the log can be opened");
        let mut command = clean_command(&self.program);
        let (client, peer) = (member.client_url(), member.peer_url());
        command.args(["--name", &member.name, "--data-dir"]).arg(data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(&member.flags).args(flags);
        command.stdout(log.try_clone().expect("the log can be shared")).stderr(log);
        member.child = Some(command.spawn().expect("the server can be started"));
    }

    /// Starts a member, which is not running, and does not wait.
    pub(crate) fn launch(&mut self, number: usize) {
        self.launch_with(number, &[]);
    }

    /// Ends a member where it stands (SIGKILL).
    pub(crate) fn kill(&mut self, number: usize) {
        self.signal(number, Signal::KILL);
        self.wait_for_exit(number);
    }

    /// Sends a signal, and does not wait.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        let child = self.members[number].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    /// Waits until a member has ended.
    pub(crate) fn wait_for_exit(&mut self, number: usize) -> ExitStatus {
        let mut child = self.members[number].child.take().expect("it ran");
        let ended = wait(|| child.try_wait().expect("the child is ours to wait for"));
        if ended.is_none() {
            // Nothing is left to be done about one that cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
        ended.unwrap_or_else(|| panic!("m{number} does not end\n{}", self.log(number)))
    }

    /// The numbers of the members that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        let runs = |number: &usize| self.members[*number].child.is_some();
        (0..self.members.len()).filter(runs).collect()
    }

    /// Where clients reach a member.
    pub(crate) fn url(&self, number: usize) -> String {
        self.members[number].client_url()
    }

    /// Where other members reach it.
    pub(crate) fn peer_url(&self, number: usize) -> String {
        self.members[number].peer_url()
    }

    /// Gives a member another port for the others; it must not run.
    pub(crate) fn move_peer(&mut self, number: usize) {
        assert!(self.members[number].child.is_none(), "it listens");
        self.members[number].peer = free_port();
    }

    /// Where a member keeps its data.
    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(&self.members[number].name)
    }

    fn log_file(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{}.log", self.members[number].name))
    }

    /// What a member has said.
    pub(crate) fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.log_file(number)).unwrap_or_default()
    }

    /// Waits until all members that run have heard of one leader.
    pub(crate) fn wait_for_all(&self) {
        for number in self.running() {
            self.wait_for(number);
        }
    }

    /// Waits until a member has heard of a leader.
    pub(crate) fn wait_for(&self, number: usize) -> StatusResponse {
        let found = wait(|| self.status(number).filter(|status| status.leader != 0));
        found.unwrap_or_else(|| panic!("m{number} knows no leader\n{}", self.log(number)))
    }

    /// What a member says of itself, if it answers.
    pub(crate) fn status(&self, number: usize) -> Option<StatusResponse> {
        let url = self.url(number);
        let ask = async {
            let client = connect(&url, &Config::default()).await.ok()?;
            client.maintenance().status(StatusRequest::default()).await.ok()
        };
        let limited = async { tokio::time::timeout(Duration::from_secs(2), ask).await.ok()? };
        Some(in_a_runtime(limited)?.into_inner())
    }

    /// A member's id, which runs.
    pub(crate) fn id(&self, number: usize) -> u64 {
        self.wait_for(number).header.expect("an answer has a header").member_id
    }

    /// The member that leads, once there is one.
    pub(crate) fn leader(&self) -> usize {
        let leads = |number: &usize| {
            let status = self.status(*number);
            status.is_some_and(|it| it.header.is_some_and(|header| header.member_id == it.leader))
        };
        let found = wait(|| self.running().into_iter().find(leads));
        found.expect("somebody leads")
    }

    /// A member that runs and does not lead.
    pub(crate) fn follower(&self) -> usize {
        let leader = self.leader();
        let mut others = self.running().into_iter().filter(|number| *number != leader);
        others.next().expect("it is not alone")
    }

    /// A connection to a member.
    pub(crate) async fn client(&self, number: usize) -> Client {
        let client = connect(&self.url(number), &Config::default()).await;
        client.expect("a server that answers accepts connections")
    }

    /// The real `etcdctl`, asking these members.
    pub(crate) fn ctl(&self, numbers: &[usize], words: &[&str]) -> Said {
        let urls: Vec<String> = numbers.iter().map(|number| self.url(*number)).collect();
        let mut command = clean_command(&self.etcdctl);
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", urls.join(",")));
        command.arg("--command-timeout=30s").args(words).stdin(Stdio::null());
        let output = command.output().expect("etcdctl can be started");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Said { worked: output.status.success(), out, err }
    }

    /// The same, which must work; what it says on standard output.
    #[track_caller]
    pub(crate) fn ctl_ok(&self, numbers: &[usize], words: &[&str]) -> String {
        let said = self.ctl(numbers, words);
        let log = numbers.first().map(|number| self.log(*number)).unwrap_or_default();
        assert!(said.worked, "etcdctl {words:?}: {}\n{}\n{log}", said.out, said.err);
        said.out
    }

    /// What a member shows for a key.
    #[track_caller]
    pub(crate) fn get(&self, number: usize, key: &str) -> String {
        self.ctl_ok(&[number], &["get", key, "--print-value-only"])
    }

    /// Puts at a member again and again until it is acknowledged, and says how long that took.
    pub(crate) fn until_put(&self, number: usize, key: &str, since: Instant) -> Duration {
        let url = self.url(number);
        in_a_runtime(async {
            while since.elapsed() < PATIENCE {
                let put = try_put(&url, key);
                // An attempt that hangs shall not hide that a later one would have been quicker.
                if let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), put).await {
                    return since.elapsed();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("no put is acknowledged\n{}", self.log(number))
        })
    }

    /// The answer to `GET path`: its status and body.
    pub(crate) fn http(&self, number: usize, path: &str) -> (u16, String) {
        page(&format!("127.0.0.1:{}", self.members[number].client), path)
    }
}

/// The answer of whoever is at an address to `GET path`: its status and body.
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    let (head, body) = exchange(address, "GET", path);
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.expect("an answer has a status"), body)
}

/// The same for any method: the head of the answer, and its body.
pub(crate) fn exchange(address: &str, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), body.to_owned())
}

async fn try_put(url: &str, key: &str) -> Result<(), tonic::Status> {
    let unreachable = |_| tonic::Status::unavailable("not reached");
    let client = connect(url, &Config::default()).await.map_err(unreachable)?;
    let (key, value) = (key.to_owned().into(), "v".into());
    client.kv().put(PutRequest { key, value, ..PutRequest::default() }).await.map(drop)
}

/// What `etcdctl` said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) worked: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Looks again and again until there is something, or patience ends.
pub(crate) fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

impl Process {
    fn new(number: usize, flags: &[&str], road: Road, folder: &Path) -> Process {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (client, peer) = (free_port(), free_port());
        let name = format!("m{number}");
        let socket = folder.join(format!("{name}.sock"));
        Process { name, client, peer, socket, road, flags, child: None }
    }

    fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    fn peer_url(&self) -> String {
        match self.road {
            Road::Plain => format!("http://127.0.0.1:{}", self.peer),
            Road::Secured => format!("https://127.0.0.1:{}", self.peer),
            Road::Files => format!("unix://{}", self.socket.display()),
            Road::SecuredFiles => format!("unixs://{}", self.socket.display()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
