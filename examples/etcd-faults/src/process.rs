//! One running server.
//!
//! It ends with this program, whatever becomes of it: it is killed when dropped, and where there is
//! `setpriv` the kernel kills it when the thread that started it is gone. So servers are started by
//! a thread that stays, which is the one that runs the session.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::command::exists;

/// How long a server may take to end when asked to.
const GOODBYE: Duration = Duration::from_secs(15);

/// A server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program, in a network namespace if one is named. What it says is appended to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        program: &Path,
        flags: &[String],
        room: Option<&str>,
        log: &Path,
    ) -> Result<Process> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut words: Vec<&str> = Vec::new();
        if exists("setpriv") {
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"]);
        }
        // All of these become the program they are told to run: its number is the child's.
        if let Some(room) = room {
            words.extend(["ip", "netns", "exec", room]);
        }
        words.push(program.to_str().context("the server's path is no text")?);
        let (first, words) = words.split_first().expect("the program itself is one");
        let mut command = Command::new(first);
        command.args(words).args(flags);
        // Settings of the shell around us must not reach the servers.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()));
        Ok(Process { child: child? })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal. One that has ended does not mind.
    pub(crate) fn signal(&self, signal: Signal) {
        // The child is not waited for before it is dropped, so the number is still its own.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it where it stands.
    pub(crate) fn kill(mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn terminate(mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GOODBYE;
        while self.ended().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
