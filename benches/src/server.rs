//! A server process under measurement, from free port to clean end.
//!
//! Any program will do that speaks etcd v3 and knows etcd's flags. It listens on loopback ports
//! that were free a moment ago, writes its log beside its data, and is killed whenever the
//! [`Server`] goes out of scope: an error or an interrupt leaves no process behind.

use std::{
    env,
    fs::{self, File},
    io::Read as _,
    net::TcpListener,
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

use crate::proc;

/// How long a server may take until it answers. A big store may have to be read first.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long one try to reach it may take.
const TRY_FOR: Duration = Duration::from_secs(2);

/// Pause between tries.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long a server may take to end in peace.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A running server that has answered.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: u32,
    /// Where clients reach it, as host:port.
    pub endpoint: String,
    /// What it calls its version.
    pub version: String,
    /// How long it took until it answered.
    pub ready_after: Duration,
}

impl Server {
    /// Starts `program` as a cluster of one over `data_dir`, with durable defaults and `flags`, and
    /// waits until it has answered a linearizable read. Its log goes to `data_dir` with `.log`
    /// behind the name.
    ///
    /// # Errors
    /// If it cannot be started, ends early (its last words are in the error) or never answers.
    pub async fn start(program: &Path, flags: &[String], data_dir: &Path) -> Result<Server> {
        let (client_port, peer_port) = free_ports()?;
        let client_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let log_path = data_dir.with_extension("log");
        let log = File::create(&log_path)?;
        let mut child = Command::new(program)
            .arg("--name=measured")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("measured={peer_url}")])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let pid = child.id().context("the child has just been started")?;
        let endpoint = format!("127.0.0.1:{client_port}");

        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended ({status}):\n{}", program.display(), last_words(&log_path));
            }
            if let Ok(Ok(version)) = timeout(TRY_FOR, ask(&endpoint)).await {
                return Ok(Server { child, pid, endpoint, version, ready_after: begin.elapsed() });
            }
            ensure!(
                begin.elapsed() < READY_WITHIN,
                "{} does not answer:\n{}",
                program.display(),
                last_words(&log_path)
            );
            sleep(TRY_EVERY).await;
        }
    }

    /// CPU time it has used so far, over all its threads.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        proc::cpu_time(self.pid)
    }

    /// Most memory it has had so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        proc::peak_rss_bytes(self.pid)
    }

    /// What it has written to the disk so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn written_bytes(&self) -> Result<u64> {
        proc::written_bytes(self.pid)
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

/// The version of whoever answers there, once it can serve a linearizable read.
async fn ask(endpoint: &str) -> Result<String> {
    let client: Client = client::connect(endpoint, &client::Config::default()).await?;
    let range = RangeRequest { key: "ready?".into(), ..RangeRequest::default() };
    client.kv().range(range).await?;
    let status = client.maintenance().status(StatusRequest {}).await?;
    Ok(status.into_inner().version)
}

/// Two different ports that nobody listens on.
fn free_ports() -> Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
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
        let error = Server::start(&program, &[], &dir.path().join("data")).await.unwrap_err();
        assert!(error.to_string().contains("--name"), "cat complains of the flag: {error}");
    }

    /// Both ports go to one process, which cannot listen on the same one twice.
    #[test]
    fn free_ports_differ() {
        let (client, peer) = free_ports().unwrap();
        assert_ne!(client, peer);
    }
}
