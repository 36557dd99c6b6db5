//! A process of mason: a server or an agent.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::until;

/// A process that can be started, and ended in every way.
pub(crate) struct Role {
    words: Vec<String>,
    /// In this network namespace.
    network: Option<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Role {
    /// Starts `mason` with these words.
    pub(crate) fn start(words: Vec<String>, network: Option<&str>, log: PathBuf) -> Role {
        let mut role = Role { words, network: network.map(str::to_owned), log, child: None };
        role.launch();
        role
    }

    /// Starts it again, on what it left.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "two processes cannot be one");
        let mason = env!("CARGO_BIN_EXE_mason");
        let mut command = match &self.network {
            // It becomes what it starts, so its number is that of mason.
            Some(network) => {
                let mut nsenter = Command::new("nsenter");
                nsenter.arg(format!("--net=/run/netns/{network}")).arg(mason);
                nsenter
            }
            None => Command::new(mason),
        };
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        command.args(&self.words).env_remove("MASON_TOKEN");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Ends it where it stands.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            let child = tokio::task::spawn_blocking(move || child.wait().unwrap());
            let status = child.await.unwrap();
            assert!(status.success(), "{status}: {}", self.log());
        }
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits until its log says this.
    pub(crate) async fn says(&self, text: &str) {
        until(async || self.log().contains(text).then_some(())).await;
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.log
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
