//! Drives the OCI runtime through its command line.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mason_shim::fence::boottime;
use mason_shim::request::Exec;
use mason_shim::settings::{BUNDLE, MEMORY, STATUS_FD, Settings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use rustix::process::{kill_process, pidfd_open, waitpid};
use serde_json::{Value, json};

use crate::sys;

/// How long the runtime may take to do one thing.
pub(crate) const RUNTIME_MAX: u64 = 60_000;

/// A container by its runtime.
pub(crate) struct Runtime {
    run: String,
    command: Vec<String>,
    memory: PathBuf,
    execs: u32,
}

/// A process and a handle on it that no other can take.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) handle: OwnedFd,
}

impl Process {
    fn open(pid: Pid) -> io::Result<Process> {
        Ok(Process { pid, handle: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Waits until it has ended or the time has come, which can be put off meanwhile.
    fn ended(&self, until: &dyn Fn() -> u64) -> io::Result<Option<WaitStatus>> {
        loop {
            let left = until().saturating_sub(boottime());
            let wait = Timespec {
                tv_sec: i64::try_from(left / 1000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % 1000 * 1_000_000).expect("less than a second"),
            };
            let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(0) if until() <= boottime() => return Ok(None),
                Ok(0) => {}
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ended = waitpid(Some(self.pid), WaitOptions::empty())?;
        Ok(ended.map(|(_, status)| status))
    }
}

impl Runtime {
    pub(crate) fn new(folder: &Path, settings: &Settings) -> Runtime {
        let (run, command) = (settings.run.clone(), settings.runtime.clone());
        Runtime { run, command, memory: folder.join(MEMORY), execs: 0 }
    }

    fn log(&self) -> PathBuf {
        self.memory.join("runtime.log")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command.arg("--log").arg(self.log()).args(["--log-format", "json", verb]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sys::tie(&mut command);
        command
    }

    /// Runs it to its end, within the usual time.
    fn run(&self, command: Command, what: &str) -> io::Result<()> {
        let limit = boottime() + RUNTIME_MAX;
        self.run_until(command, what, &|| limit)
    }

    /// Runs it to its end, within the time that it has.
    fn run_until(
        &self,
        mut command: Command,
        what: &str,
        until: &dyn Fn() -> u64,
    ) -> io::Result<()> {
        let _ = fs::remove_file(self.log());
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot run {}: {error}", self.command[0]))
        })?;
        // The command holds the ends of the container's pipes.
        drop(command);
        let process = Process::open(Pid::from_child(&child))?;
        let Some(status) = process.ended(until)? else {
            let _ = kill_process(process.pid, Signal::KILL);
            let _ = waitpid(Some(process.pid), WaitOptions::empty());
            let what = format!("{} {what} takes too long", self.command[0]);
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        };
        if status.exit_status() == Some(0) {
            return Ok(());
        }
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let said = last_message(&said).unwrap_or_else(|| format!("{status:?}"));
        Err(io::Error::other(format!("{} {what}: {said}", self.command[0])))
    }

    /// Makes the container; its first process waits for [`Runtime::start`].
    pub(crate) fn create(
        &self,
        stdout: OwnedFd,
        stderr: OwnedFd,
        status: bool,
    ) -> io::Result<Process> {
        let mut command = self.command("create");
        let pid_file = self.memory.join("pid");
        command.arg("--bundle").arg(self.memory.join(BUNDLE)).arg("--pid-file").arg(&pid_file);
        if status {
            command.args(["--preserve-fds", "1"]);
        }
        command.arg(&self.run).stdout(stdout).stderr(stderr);
        self.run(command, "create")?;
        read_pid(&pid_file).and_then(Process::open)
    }

    /// Lets its program begin.
    pub(crate) fn start(&self, until: &dyn Fn() -> u64) -> io::Result<()> {
        let mut command = self.command("start");
        command.arg(&self.run);
        self.run_until(command, "start", until)
    }

    /// Removes what the runtime keeps of it, and kills it if it still runs.
    pub(crate) fn delete(&self) -> io::Result<()> {
        let mut command = self.command("delete");
        command.args(["--force", &self.run]);
        self.run(command, "delete")
    }

    /// Starts something in it; the process of the runtime that waits for it.
    pub(crate) fn exec(&mut self, exec: &Exec, fds: Vec<OwnedFd>) -> io::Result<Running> {
        let config = fs::read(self.memory.join(BUNDLE).join("config.json"))?;
        let mut config: Value = serde_json::from_slice(&config)?;
        let mut process = config["process"].take();
        process["args"] = json!(exec.command);
        process["terminal"] = json!(false);
        if let Some(env) = process["env"].as_array_mut() {
            env.extend(exec.env.iter().map(|line| json!(line)));
        }
        if let Some(workdir) = &exec.workdir {
            process["cwd"] = json!(workdir);
        }
        self.execs += 1;
        let path = self.memory.join(format!("exec-{}.json", self.execs));
        let pid_file = self.memory.join(format!("exec-{}.pid", self.execs));
        fs::write(&path, serde_json::to_vec(&process)?)?;
        let mut command = self.command("exec");
        command.arg("--process").arg(&path).arg("--pid-file").arg(&pid_file).arg(&self.run);
        let fds: Result<[OwnedFd; 3], _> = fds.try_into();
        let [stdin, stdout, stderr] =
            fds.map_err(|_| io::Error::other("exec needs three descriptors: stdin, out, err"))?;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let child = command.spawn()?;
        let process = Process::open(Pid::from_child(&child))?;
        Ok(Running { process, files: [path, pid_file] })
    }
}

/// Something that runs in the container besides its program.
pub(crate) struct Running {
    process: Process,
    files: [PathBuf; 2],
}

impl Running {
    pub(crate) fn handle(&self) -> impl AsFd {
        self.process.handle.as_fd()
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Kills it: nobody waits for it any more.
    ///
    /// Its first words can be read before the runtime has written down its number. Then it is found
    /// among the runtime's children, which stands still meanwhile so that it has no others.
    pub(crate) fn kill(&self) {
        if let Ok(inner) = read_pid(&self.files[1]) {
            let _ = kill_process(inner, Signal::KILL);
            return;
        }
        let runtime = self.process.pid;
        let _ = kill_process(runtime, Signal::STOP);
        for child in children(runtime) {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = kill_process(runtime, Signal::KILL);
    }
}

/// The children of all threads of a process.
fn children(of: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", of.as_raw_pid()));
    let lists = threads.into_iter().flatten().flatten();
    let texts = lists.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers = texts.collect::<Vec<_>>().join(" ");
    let numbers = numbers.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

fn read_pid(path: &Path) -> io::Result<Pid> {
    let text = fs::read_to_string(path)?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other(format!("{}: no process", path.display())))
}

/// What a runtime said last: JSON lines with a `msg`.
fn last_message(log: &str) -> Option<String> {
    let parsed = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut messages = parsed.filter_map(|line| line["msg"].as_str().map(str::to_owned));
    messages.rfind(|message| !message.is_empty())
}

/// A descriptor of the number that a container's first process reports on.
///
/// The runtime hands on descriptors from 3 upwards, and this program may only choose a number by
/// having it free. So it is taken before anything else is opened.
pub(crate) struct StatusSlot {
    slot: OwnedFd,
}

impl StatusSlot {
    /// Takes the number; none if something else has it.
    pub(crate) fn take() -> Option<StatusSlot> {
        let slot = OwnedFd::from(File::open("/dev/null").ok()?);
        let number = std::os::fd::AsRawFd::as_raw_fd(&slot);
        (number == STATUS_FD).then_some(StatusSlot { slot })
    }

    /// Puts a pipe there, for the runtime to inherit.
    pub(crate) fn fill(&mut self, end: &OwnedFd) -> io::Result<()> {
        Ok(rustix::io::dup2(end, &mut self.slot)?)
    }
}
