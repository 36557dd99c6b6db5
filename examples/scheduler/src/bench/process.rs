//! Processes that are measured: started, looked at through `/proc`, and ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// The kernel counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A process of the measurement. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time of all its threads.
    pub(super) cpu: Duration,
    /// Bytes in memory.
    pub(super) memory: u64,
    /// Bytes in memory at most.
    pub(super) memory_peak: u64,
}

impl Part {
    /// Starts a program; what it has to say goes into `folder`.
    pub(super) fn start(
        name: &'static str,
        program: &OsStr,
        folder: &Path,
        words: &[&str],
        out: Stdio,
    ) -> Result<Part> {
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(out);
        command.stderr(File::create(&log).with_context(|| format!("make {}", log.display()))?);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Part { name, child, log })
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended, with its last words.
    pub(super) fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait().with_context(|| format!("look at {}", self.name))?;
        if let Some(status) = ended {
            bail!("{} has ended: {status}\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// What it wrote last.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut last: Vec<&str> = log.lines().rev().take(5).collect();
        last.reverse();
        last.join("\n")
    }

    /// What it has used up to now.
    pub(super) fn usage(&self) -> Usage {
        usage(self.pid()).unwrap_or_default()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used; none if it is gone.
fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.rsplit_once(')')?.1;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    let cpu = TICK * (ticks() + ticks());
    let (memory, memory_peak) = (status_of(pid, "VmRSS:")?, status_of(pid, "VmHWM:")?);
    Some(Usage { cpu, memory: memory << 10, memory_peak: memory_peak << 10 })
}

/// A number of a process's status.
pub(super) fn status_of(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A folder of a measurement. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make(within: Option<&Path>) -> Result<Folder> {
        let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = within.join(format!("mason-bench-{:08x}", rand::random::<u32>()));
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Folder(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("mason: {} stays: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A usage that is always zero passes every goal.
    #[test]
    fn a_process_that_works_has_used_something() {
        let mut sum = 0_u64;
        let own = std::process::id();
        let before = usage(own).unwrap();
        while usage(own).unwrap().cpu == before.cpu {
            sum = (0..1_000_000).fold(sum, |sum: u64, next| sum.rotate_left(5) ^ next);
        }
        let now = usage(own).unwrap();
        assert!(now.memory > 1 << 20 && now.memory_peak >= now.memory, "{now:?} {sum}");
    }
}
