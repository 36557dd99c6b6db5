//! A contender in a process of its own, and the way to speak with it.
//!
//! The child is this program again. It reads a command a line from its standard input and answers
//! with a line on its standard output, both JSON. An error ends it, said on its standard error.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command as Program, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bench::Bench;
use super::phase::{self, Phase, Sample, Sizes};
use super::store::Settings;

/// What a child is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Open the store.
    Open(Settings),
    /// Do some work.
    Run(Phase),
    /// Close the store.
    Close,
}

/// The parent's side.
pub struct Child {
    name: String,
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program again with `--child`, and what else a child is to know.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, dir: &Path, sizes: &Sizes, seed: u64) -> Result<Child> {
        let program = std::env::current_exe().context("looking for this program")?;
        let mut process = Program::new(program)
            .arg("--child")
            .arg(serde_json::to_string(sizes)?)
            .args(["--seed", &seed.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting this program again")?;
        let stdin = process.stdin.take().context("the child has an input")?;
        let stdout = process.stdout.take().context("the child has an output")?;
        Ok(Child { name: name.to_owned(), process, stdin, stdout: BufReader::new(stdout) })
    }

    /// Has a command done.
    ///
    /// # Errors
    /// If the child failed.
    pub fn ask(&mut self, command: Command) -> Result<Sample> {
        let mut answer = || {
            writeln!(self.stdin, "{}", serde_json::to_string(&command)?)?;
            let mut line = String::new();
            self.stdout.read_line(&mut line)?;
            ensure!(!line.is_empty(), "it ended");
            anyhow::Ok(serde_json::from_str(&line)?)
        };
        answer().with_context(|| format!("{} at {command:?}", self.name))
    }

    /// Lets it end.
    ///
    /// # Errors
    /// If it ended otherwise.
    pub fn end(self) -> Result<()> {
        let Child { name, mut process, stdin, stdout } = self;
        drop((stdin, stdout));
        let status = process.wait()?;
        ensure!(status.success(), "{name} ended: {status}");
        Ok(())
    }

    /// Kills it with SIGKILL, as it stands.
    ///
    /// # Errors
    /// If it is not there to be killed.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill().context("killing a child")?;
        self.process.wait()?;
        Ok(())
    }
}

/// The child's side: does what it is told until there is no more.
///
/// # Errors
/// If the store fails, or gives a wrong answer.
pub fn serve(dir: &Path, sizes: Sizes, seed: u64) -> Result<()> {
    let mut bench = Bench::new(dir.to_path_buf(), sizes, seed);
    for line in std::io::stdin().lines() {
        let sample = match serde_json::from_str(&line?)? {
            Command::Open(settings) => bench.open(&settings)?,
            Command::Run(phase) => phase::run(&mut bench, phase)?,
            Command::Close => {
                bench.close()?;
                Sample::default()
            }
        };
        println!("{}", serde_json::to_string(&sample)?);
    }
    bench.close()
}
