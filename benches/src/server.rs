//! A server process under measurement, from its start to a clean end or a sudden one.
//!
//! Any program will do that speaks etcd v3 and knows etcd's flags. It sits where its [`Seat`] says,
//! writes its log beside its data, and is killed whenever the [`Server`] goes out of scope: an
//! error or an interrupt leaves no process behind.

use std::{
    env,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use drystone_etcd_api::{
    client::{self, Client},
    etcdserverpb::{RangeRequest, StatusRequest},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long a server may take until it answers. A big store may have to be read first.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// How long one try to reach it may take.
const TRY_FOR: Duration = Duration::from_secs(2);

/// Pause between tries.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// How long a server may take to end in peace.
const END_WITHIN: Duration = Duration::from_secs(20);

/// Where a server runs and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// What is started.
    pub program: PathBuf,
    /// Its flags, beyond those that the other fields stand for.
    pub flags: Vec<String>,
    /// The member's name.
    pub name: String,
    /// Its data. The log goes beside it, with `.log` behind the name.
    pub data_dir: PathBuf,
    /// For clients, on the loopback address.
    pub client_port: u16,
    /// For the other members.
    pub peer_port: u16,
    /// All members, as the flag wants them: `name=url,...`.
    pub initial_cluster: String,
}

impl Seat {
    /// Where clients reach the member, as host:port.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Where the other members reach it.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Its process.
    pub pid: u32,
    /// Where it sits.
    pub seat: Seat,
    /// What it calls its version, once it has answered.
    pub version: String,
    /// When it was started.
    pub begin: Instant,
    /// How long it took until it answered.
    pub ready_after: Duration,
}

impl Server {
    /// Starts the program with durable defaults.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(seat: &Seat) -> Result<Server> {
        let client_url = format!("http://{}", seat.endpoint());
        let peer_url = seat.peer_url();
        let log = File::create(seat.log_path())?;
        let begin = Instant::now();
        let child = Command::new(&seat.program)
            .args(["--name", &seat.name, "--data-dir"])
            .arg(&seat.data_dir)
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &seat.initial_cluster])
            .args(&seat.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", seat.program.display()))?;
        let pid = child.id().context("the child has just been started")?;
        let (version, ready_after) = (String::new(), Duration::ZERO);
        Ok(Server { child, pid, seat: seat.clone(), version, begin, ready_after })
    }

    /// Waits until it has answered a linearizable read.
    ///
    /// # Errors
    /// If it ends early (its last words are in the error) or never answers.
    pub async fn ready(&mut self) -> Result<()> {
        let (endpoint, program) = (self.seat.endpoint(), self.seat.program.display());
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{program} ended ({status}):\n{}", last_words(&self.seat.log_path()));
            }
            if let Ok(Ok(client)) = timeout(TRY_FOR, ask(&endpoint)).await {
                self.ready_after = self.begin.elapsed();
                let status = client.maintenance().status(StatusRequest {}).await?;
                self.version = status.into_inner().version;
                return Ok(());
            }
            ensure!(
                self.begin.elapsed() < READY_WITHIN,
                "{program} does not answer:\n{}",
                last_words(&self.seat.log_path())
            );
            sleep(TRY_EVERY).await;
        }
    }

    /// Ends it at once, without a word, and waits until it is gone.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("killing process {}", self.pid))
    }

    /// Asks it to end, and makes it if it does not.
    ///
    /// # Errors
    /// If the kernel refuses either.
    pub async fn stop(mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            // Not waited for yet, so the id still belongs to our child and to nobody else.
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            kill_process(pid.context("process ids are positive")?, Signal::TERM)?;
        }
        if timeout(END_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// A client of whoever answers there, once it has served a linearizable read.
async fn ask(endpoint: &str) -> Result<Client> {
    let client: Client = client::connect(endpoint, &client::Config::default()).await?;
    let range = RangeRequest { key: "ready?".into(), ..RangeRequest::default() };
    client.kv().range(range).await?;
    Ok(client)
}

fn last_words(log: &Path) -> String {
    const LINES: usize = 10;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The first program of that name on the `PATH` that is no script: a wrapper's CPU time is not the
/// server's.
///
/// # Errors
/// If there is none.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|candidate| is_elf(candidate))
        .with_context(|| format!("no program {name} on the PATH"))
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version manager's script in front of the real program would be measured in its place.
    #[test]
    fn scripts_are_not_taken_for_programs() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("etcd");
        fs::write(&script, "#!/bin/sh\nexec true\n").unwrap();
        assert!(!is_elf(&script));
        assert!(!is_elf(dir.path()));
        assert!(is_elf(&env::current_exe().unwrap()));
    }

    /// "It ended" without a reason costs somebody an hour.
    #[tokio::test]
    async fn a_server_that_ends_early_leaves_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let program = find_program("cat").unwrap();
        let seat = Seat {
            program,
            flags: Vec::new(),
            name: "m1".to_owned(),
            data_dir: dir.path().join("data"),
            client_port: 1,
            peer_port: 2,
            initial_cluster: String::new(),
        };
        let mut server = Server::spawn(&seat).unwrap();
        let error = server.ready().await.unwrap_err();
        assert!(error.to_string().contains("--name"), "cat complains of the flag: {error}");
    }
}
