//! `drystone-etcd dev`: a cluster on this machine, to try things on.
//!
//! Starts each member as a process of its own, says where it is and what to kill, and starts again
//! whoever was killed. Ctrl-C stops all of them in order.
//!
//! ```text
//!   m1  http://127.0.0.1:2379    m2  http://127.0.0.1:22379    m3  http://127.0.0.1:32379 …
//!   drystone-dev/m1, m1.log      drystone-dev/m2, m2.log       …
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked who is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long a member that was killed stays away.
const RESTART_PAUSE: Duration = Duration::from_secs(3);
/// How long the members may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What `dev` is told.
#[derive(Debug, Parser)]
#[command(name = "drystone-etcd dev", about = "A cluster on this machine, to try things on.")]
struct Dev {
    /// How many members
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=6))]
    members: u16,
    /// Where their data and logs go
    #[arg(long, default_value = "drystone-dev")]
    dir: PathBuf,
    /// What holds the records: memory, btree or lsm
    #[arg(long)]
    storage_engine: Option<String>,
}

struct Member {
    name: String,
    client: String,
    child: Child,
}

/// Runs the cluster until Ctrl-C. `words` are those of the command line, without the program's
/// name.
pub(crate) fn run(words: &[std::ffi::OsString]) -> ExitCode {
    let dev = match Dev::try_parse_from(words) {
        Ok(dev) => dev,
        Err(error) => return crate::program::misread(&error),
    };
    match serve(&dev) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("drystone-etcd dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(dev: &Dev) -> Result<()> {
    fs::create_dir_all(&dev.dir).with_context(|| format!("cannot make {}", dev.dir.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut members = Vec::new();
        for number in 0..dev.members {
            members.push(start(dev, number)?);
        }
        let told = tell(dev, &members);
        let ended = tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            ended = watch(dev, &mut members) => ended,
        };
        stop(members).await;
        told.and(ended)
    })
}

fn ports(number: u16) -> (u16, u16) {
    let first = if number == 0 { 2379 } else { 12_379 + 10_000 * number };
    (first, first + 1)
}

fn name(number: u16) -> String {
    format!("m{}", number + 1)
}

fn start(dev: &Dev, number: u16) -> Result<Member> {
    let (client_port, peer_port) = ports(number);
    let (client, peer) =
        (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let all = (0..dev.members).map(|number| {
        let (_, peer_port) = ports(number);
        format!("{}=http://127.0.0.1:{peer_port}", name(number))
    });
    let name = name(number);
    let log = dev.dir.join(format!("{name}.log"));
    let open = || File::options().create(true).append(true).open(&log);
    let log = open().with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--name", &name])
        .arg("--data-dir")
        .arg(dev.dir.join(&name))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &all.collect::<Vec<_>>().join(",")])
        .args(["--initial-cluster-token", "drystone-dev"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(engine) = &dev.storage_engine {
        command.args(["--storage-engine", engine]);
    }
    let child = command.spawn().with_context(|| format!("cannot start member {name}"))?;
    Ok(Member { name, client, child })
}

/// Says where everything is, and what to try.
fn tell(dev: &Dev, members: &[Member]) -> Result<()> {
    let mut out = io::stdout().lock();
    let dir = dev.dir.display();
    let count = members.len();
    writeln!(out, "a cluster of {count} on this machine, with its data and logs in {dir}/\n")?;
    for member in members {
        let pid = member.child.id();
        writeln!(out, "  {}   {:<24}  process {pid}", member.name, member.client)?;
    }
    let all: Vec<&str> = members.iter().map(|member| member.client.as_str()).collect();
    writeln!(out, "\ntry:\n  export ETCDCTL_ENDPOINTS={}", all.join(","))?;
    writeln!(out, "  etcdctl endpoint status -w table")?;
    writeln!(out, "  etcdctl put hello world")?;
    writeln!(out, "  kill -9 <the leader's process>     it is started again after three seconds")?;
    writeln!(out, "  etcdctl get hello                  nothing is lost\n\nCtrl-C stops all.")?;
    Ok(out.flush()?)
}

/// Starts again whoever was killed, after a while in which one can see the others go on.
async fn watch(dev: &Dev, members: &mut [Member]) -> Result<()> {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        for number in 0..dev.members {
            let member = &mut members[usize::from(number)];
            let Some(status) = member.child.try_wait()? else { continue };
            if status.code().is_some_and(|code| code != 0) {
                bail!("member {} ended by itself ({status}); its log says why", member.name);
            }
            println!("member {} is gone ({status}); it comes back in three seconds", member.name);
            tokio::time::sleep(RESTART_PAUSE).await;
            *member = start(dev, number)?;
            println!("member {} is process {} now", member.name, member.child.id());
        }
    }
}

/// Stops all members in order.
async fn stop(members: Vec<Member>) {
    for member in &members {
        if let Some(pid) = i32::try_from(member.child.id()).ok().and_then(Pid::from_raw) {
            // One that is gone needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let waiting = async {
        for mut member in members {
            while matches!(member.child.try_wait(), Ok(None)) {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    };
    if tokio::time::timeout(STOP_TIMEOUT, waiting).await.is_err() {
        eprintln!("drystone-etcd dev: a member does not stop");
    }
}
