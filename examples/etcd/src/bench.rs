//! `drystone-etcd bench`: what this machine, or any etcd, can do.
//!
//! ```sh
//! drystone-etcd bench                                    a member of its own, every kind of load
//! drystone-etcd bench --members 3 put get --clients 500  three of them, two kinds
//! drystone-etcd bench put --rate 2000 --time 30s --endpoints http://10.0.0.1:2379 --user root:pw
//! ```
//!
//! **The problem.** Whoever plans a cluster asks how many writes a second a machine allows, and how
//! long they take then. Figures of another machine say little: the disk decides.
//!
//! **The idea.** A load of one kind at a time: so many clients, each with one request under way,
//! over so many connections. Without endpoints a member is started, or several, on the disk of this
//! directory, with durable defaults; it goes with its data when all is told.
//!
//! ```text
//!   Schedule ──► client 1 … n ──► connection 1 … m ──► endpoints, in turn
//!                   │
//!                   └──► times, errors by their text ──► a report a kind: text, or a JSON line
//! ```
//!
//! With `--rate` a request's time counts from when it was due ([`schedule`]). The processor time of
//! the server is read from its metrics, where it shows them.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | every request was answered |
//! | 1 | some failed: the report counts them |
//! | 2 | bad usage, or nobody is there |

pub(crate) mod histogram;
mod load;
pub(crate) mod local;
mod options;
mod report;
pub(crate) mod schedule;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::remote::{Remote, page};
use load::Load;
use local::Local;
use options::{Kind, Options};
use report::Report;

/// Does what the words behind `bench` say; `words` has it, too.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(error) => return crate::program::misread(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(bench(options)),
        Err(error) => Err(error.into()),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drystone-etcd bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs every kind of load. Says whether every request was answered.
async fn bench(mut options: Options) -> Result<bool> {
    // Held until the end: what it started goes with it.
    let mut local = None;
    if options.remote.endpoints.is_empty() {
        let started = Local::start(&options.dir, options.members).await?;
        options.remote.endpoints = started.urls();
        local = Some(started);
    }
    // A variable in the environment may have said where to: nobody shall be surprised.
    eprintln!("load for {}", options.remote.endpoints.join(", "));
    let mut all_answered = true;
    for kind in options.kinds() {
        let remotes = options.remote.reach().connect_many(options.connections()).await?;
        let before = cpu_seconds(&options.remote.endpoints).await;
        let load = Load::new(kind, &options, remotes);
        let mut report = run_one(&load).await?;
        let after = cpu_seconds(&options.remote.endpoints).await;
        report.cpu_seconds = before.zip(after).map(|(before, after)| after - before);
        report.print(options.json)?;
        all_answered &= report.errors.is_empty();
    }
    drop(local);
    Ok(all_answered)
}

async fn run_one(load: &Load) -> Result<Report> {
    match load.kind {
        Kind::Watch => watch::run(load).await,
        _ => load.run().await,
    }
}

/// What all endpoints' processes have had of their processors, if all of them tell.
async fn cpu_seconds(endpoints: &[String]) -> Option<f64> {
    let mut sum = 0.0;
    for url in endpoints {
        sum += page(url).await.cpu_seconds?;
    }
    Some(sum)
}

/// The first connection, of which there is one at least.
fn first(remotes: &[Remote]) -> Result<&Remote> {
    match remotes.first() {
        Some(remote) => Ok(remote),
        None => bail!("there is no connection"),
    }
}
