//! Members of our own, to ask what this machine can do: processes of this program, in a directory
//! that goes with them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long the members may take to serve.
const START_MAX: Duration = Duration::from_secs(60);
/// How long they may take to stop.
const STOP_MAX: Duration = Duration::from_secs(10);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Members of our own. They end, and their data go, with this.
pub(crate) struct Local {
    dir: PathBuf,
    members: Vec<Member>,
}

struct Member {
    url: String,
    child: Child,
}

impl Local {
    /// Starts so many members in a new directory in `parent`, and waits until all serve.
    ///
    /// # Errors
    /// If one cannot be started, or does not serve in time.
    pub(crate) async fn start(parent: &Path, count: u16) -> Result<Local> {
        let dir = parent.join(format!("drystone-bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut local = Local { dir, members: Vec::new() };
        let ports: Vec<(u16, u16)> = (0..count)
            .map(|_| Ok::<_, std::io::Error>((free_port()?, free_port()?)))
            .collect::<std::result::Result<_, _>>()?;
        let all = ports.iter().enumerate();
        let all = all.map(|(at, (_, peer))| format!("m{at}=http://127.0.0.1:{peer}"));
        let all = all.collect::<Vec<_>>().join(",");
        for (at, (client, peer)) in ports.into_iter().enumerate() {
            let member = launch(&local.dir, at, client, peer, &all)?;
            local.members.push(member);
        }
        match tokio::time::timeout(START_MAX, local.serves()).await {
            Ok(served) => served?,
            Err(_) => bail!("the members do not serve after {START_MAX:?}"),
        }
        Ok(local)
    }

    /// Where clients reach them.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    async fn serves(&mut self) -> Result<()> {
        for member in &mut self.members {
            let address = member.url.trim_start_matches("http://").to_owned();
            while tokio::net::TcpStream::connect(&address).await.is_err()
                || !is_healthy(&address).await
            {
                if let Some(status) = member.child.try_wait()? {
                    bail!("a member has ended: {status}; its log is gone with it");
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
        Ok(())
    }
}

async fn is_healthy(address: &str) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: a\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text.contains(r#""health":"true""#))
    };
    asked.await.unwrap_or(false)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn launch(dir: &Path, at: usize, client: u16, peer: u16, all: &str) -> Result<Member> {
    let (url, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let log = File::create(dir.join(format!("m{at}.log")))?;
    let mut command = Command::new(std::env::current_exe()?);
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command
        .args(["--name", &format!("m{at}"), "--data-dir"])
        .arg(dir.join(format!("m{at}")))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", all, "--initial-cluster-token", "drystone-bench"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command.spawn().context("cannot start a member")?;
    Ok(Member { url, child })
}

impl Drop for Local {
    fn drop(&mut self) {
        for member in &self.members {
            if let Some(pid) = i32::try_from(member.child.id()).ok().and_then(Pid::from_raw) {
                // One that is gone needs no signal.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = std::time::Instant::now() + STOP_MAX;
        for member in &mut self.members {
            while matches!(member.child.try_wait(), Ok(None)) {
                if std::time::Instant::now() > deadline {
                    let _ = member.child.kill();
                }
                std::thread::park_timeout(LOOK_PAUSE);
            }
        }
        // What stays behind is a directory whose name says whose it was.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
