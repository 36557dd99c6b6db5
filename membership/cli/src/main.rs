//! `drystone-membership`: one member of a cluster, and what it sees, line by line.
//!
//! ```text
//!   drystone-membership --bind 127.0.0.1:7946 --name a
//!   drystone-membership --bind 127.0.0.1:7947 --name b --join 127.0.0.1:7946 --set role=db
//!       07:12:44.031  listening  b 127.0.0.1:7947
//!       07:12:44.036  joined     a 127.0.0.1:7946
//!       07:12:44.036  admitted   by a
//! ```
//!
//! It reads commands from standard input, a line each:
//!
//! ```text
//!   members                 who is there
//!   set KEY VALUE           our metadata; without a value the key is removed
//!   get NAME KEY            somebody's
//!   broadcast TOPIC TEXT    tell all once
//!   condemn NAME            declare failed
//!   stats                   what was counted
//!   leave                   go in peace, as SIGTERM and SIGINT do
//! ```
//!
//! | status | meaning |
//! |---|---|
//! | 0 | it has left |
//! | 2 | it could not begin: bad usage, the port taken, a damaged snapshot |

mod arguments;
mod commands;
mod print;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use drystone_membership::runtime::{Membership, Watch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use arguments::Arguments;
use print::Printer;

/// Lines that wait to be obeyed at most.
const LINES_MAX: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Arguments::parse()).await {
        // A thread still waits for standard input, which must not keep us here.
        Ok(()) => std::process::exit(0),
        Err(error) => {
            // If standard error refuses too, the status has to do.
            drop(writeln!(io::stderr(), "drystone-membership: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let printer = Printer { json: arguments.json };
    let ends_with_input = arguments.end_with_input;
    let signals = Signals::new()?;
    let (membership, watch) = arguments.builder().await?.start_watched().await?;
    printer.listening(&membership)?;
    let session = Session { membership, printer, ends_with_input };
    session.run(watch, signals).await
}

/// The signals on which we leave.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A member that runs, and its terminal.
struct Session {
    membership: Membership,
    printer: Printer,
    ends_with_input: bool,
}

impl Session {
    async fn run(&self, mut watch: Watch, mut signals: Signals) -> anyhow::Result<()> {
        let mut lines = input();
        let (mut reads, mut leaving) = (true, false);
        loop {
            tokio::select! {
                event = watch.next() => match event {
                    Some(Ok(event)) => self.printer.event(&self.membership, &event)?,
                    Some(Err(lagged)) => self.printer.complain(&lagged.to_string())?,
                    None => return Ok(()),
                },
                line = lines.recv(), if reads => match line {
                    Some(line) if line.trim() == "leave" => self.leave(&mut leaving),
                    Some(line) => commands::obey(&self.membership, self.printer, &line).await?,
                    None if self.ends_with_input => return Ok(()),
                    None => reads = false,
                },
                // Who is impatient asks twice.
                () = signals.next() => {
                    if leaving {
                        return Ok(());
                    }
                    self.leave(&mut leaving);
                }
            }
        }
    }

    /// Begins to leave; the watch ends when it has.
    fn leave(&self, leaving: &mut bool) {
        *leaving = true;
        let membership = self.membership.clone();
        tokio::spawn(async move { membership.leave().await });
    }
}

/// The lines of standard input. They have a thread of their own: nobody can stop waiting for one.
fn input() -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for text in io::stdin().lock().lines().map_while(Result::ok) {
            if line.blocking_send(text).is_err() {
                break;
            }
        }
    });
    lines
}

/// An address, or the first of a host.
async fn resolve(text: &str) -> anyhow::Result<std::net::SocketAddr> {
    let found = tokio::net::lookup_host(text).await.with_context(|| format!("address {text}"))?;
    found.into_iter().next().with_context(|| format!("{text} has no address"))
}
