//! `drystone-etcd check`: is this machine, or that cluster, good enough?
//!
//! ```sh
//! drystone-etcd check --data-dir /var/lib/etcd --peers http://10.0.0.2:2380,http://10.0.0.3:2380
//! drystone-etcd check perf --load m --endpoints http://10.0.0.1:2379      as etcdctl's
//! drystone-etcd check datascale --load s --endpoints …                    as etcdctl's
//! ```
//!
//! **The problem.** Most clusters that are slow or lose their leader stand on a disk that syncs
//! slowly, a file system that does not keep what it promises, or a network that is slower than the
//! heartbeat. All of that can be measured before anybody depends on it.
//!
//! **The idea.** [`machine`], [`disk`] and [`network`] measure; [`verdict`] is a pure function from
//! a figure to PASS, WARN or FAIL and what follows from it. A line each, and at the end the two
//! flags that fit the figures.
//!
//! `perf` and `datascale` make etcdctl's load and print etcdctl's lines; see [`perf`].
//!
//! | status | meaning |
//! |---|---|
//! | 0 | nothing failed; there may be warnings |
//! | 1 | something failed |
//! | 2 | cannot tell: bad usage, the directory cannot be written, nobody is there |

mod disk;
mod machine;
mod network;
mod perf;
mod verdict;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::remote::RemoteFlags;
use verdict::{Line, Timing, Verdict};

/// What `check` is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd check",
    about = "Is this machine, or that cluster, good enough?",
    after_help = "Status: 0 nothing failed (there may be warnings), 1 something failed, 2 cannot \
        tell.",
    args_conflicts_with_subcommands = true
)]
struct Words {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    here: Here,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Puts at a rate for a minute, as etcdctl check perf: does the cluster keep up?
    Perf(perf::Perf),
    /// Puts many keys, as etcdctl check datascale: how much memory do they take?
    Datascale(perf::Datascale),
}

/// What this machine is asked.
#[derive(Args, Debug)]
struct Here {
    /// Where the data is, or will be
    #[arg(long, default_value = ".", value_name = "DIR")]
    data_dir: PathBuf,
    /// Other members, to measure the way to them
    #[arg(long, value_delimiter = ',', value_name = "URL,...")]
    peers: Vec<String>,
    /// Bytes that the server may keep; 0 is 2 GiB
    #[arg(long, default_value_t = 0)]
    quota_backend_bytes: u64,
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteFlags,
}

/// Does what the words behind `check` say; `words` has it, too.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) => {
            // To print is all that can be done about it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran: Result<bool> = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match words.what {
                Some(What::Perf(perf)) => perf.run().await,
                Some(What::Datascale(datascale)) => datascale.run().await,
                None => look(&words.here).await,
            }
        }),
        Err(error) => Err(error.into()),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drystone-etcd check: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures, and prints. Says whether nothing failed.
async fn look(here: &Here) -> Result<bool> {
    let dir = disk::nearest(&here.data_dir);
    let quota = if here.quota_backend_bytes == 0 { 2 << 30 } else { here.quota_backend_bytes };
    let mut lines = vec![
        verdict::file_system(&disk::file_system(&dir)?),
        verdict::space(disk::free_bytes(&dir)?, quota),
    ];
    let syncs = {
        let dir = dir.clone();
        tokio::task::spawn_blocking(move || disk::syncs(&dir)).await??
    };
    lines.push(verdict::syncs(&syncs));
    lines.push(verdict::open_files(machine::open_files()));
    lines.push(verdict::memory(machine::memory_bytes()));
    let wakes = tokio::task::spawn_blocking(machine::wakes).await?;
    lines.push(verdict::processors(machine::processors(), &wakes));
    lines.push(verdict::clock(wakes.step, wakes.is_monotonic));
    let mut slowest = None;
    for url in here.peers.iter().chain(&here.remote.endpoints) {
        let way = network::way(url).await;
        slowest = slowest.max(way.round_trip);
        lines.push(verdict::way(&way));
    }
    let timing = Timing::fitting(slowest, syncs.p99);
    print(&lines, &timing, here.json)?;
    Ok(worst(&lines) != Verdict::Fail)
}

fn worst(lines: &[Line]) -> Verdict {
    lines.iter().map(|line| line.verdict).max().unwrap_or(Verdict::Pass)
}

fn print(lines: &[Line], timing: &Timing, json: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if json {
        let line = |line: &Line| {
            serde_json::json!({
                "what": line.what,
                "verdict": line.verdict.name(),
                "figures": line.figures,
                "says": line.says,
            })
        };
        let document = serde_json::json!({
            "verdict": worst(lines).name(),
            "lines": lines.iter().map(line).collect::<Vec<_>>(),
            "heartbeat_interval": timing.heartbeat_millis,
            "election_timeout": timing.election_millis,
        });
        return writeln!(out, "{document}");
    }
    for line in lines {
        writeln!(out, "{}  {}: {}", line.verdict.name(), line.what, line.says)?;
    }
    let Timing { heartbeat_millis, election_millis } = timing;
    writeln!(
        out,
        "what fits: --heartbeat-interval={heartbeat_millis} --election-timeout={election_millis}"
    )?;
    writeln!(out, "{}", worst(lines).name())?;
    out.flush()
}
