//! The life of one run, from `run.json` to `exit.json`.
//!
//! ```text
//!   kept ─► mount ─► create ─► created ─► starting ─► start ─► started ─► watch ─► exited
//!                                                                                   │
//!     exit.json ◄─ end of log ◄─ delete ◄─ oom counter, outputs ◄─ kill the rest ◄──┘
//! ```
//!
//! Each word is a line of `state`, written before what follows it. Whatever fails before
//! `starting` ends as `start`: the program cannot have run.

mod watch;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use mason_shim::cgroup;
use mason_shim::exit::{Exit, Why};
use mason_shim::fence::{Fence, boottime, unix};
use mason_shim::log::{Stream, Writer};
use mason_shim::request::{Begun, State};
use mason_shim::settings::{LOG, PRINTED, PRINTED_BYTES_MAX, Settings};
use mason_shim::state::{Journal, Step, boot};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::clients::Client;
use crate::container::{Process, RUNTIME_MAX, Runtime, StatusSlot};
use crate::tail::Tail;
use crate::{mounts, outputs, sys};

/// A run and all that is held for it.
struct Keeper {
    folder: PathBuf,
    settings: Settings,
    journal: Journal,
    runtime: Runtime,
    log: Writer,
    listener: UnixListener,
    clients: Vec<Client>,
    fence: Option<Fence>,
    /// The container's stdout and stderr, until both ends are closed.
    pipes: [Option<OwnedFd>; 2],
    /// Where its first process says how the program ended.
    status: Option<OwnedFd>,
    started_at: Option<u64>,
    /// When it has run too long, by the clock of deadlines.
    timeout_at: Option<u64>,
    /// Why it is being stopped: the first reason counts.
    stopping: Option<Why>,
    /// When what is being stopped is killed.
    kill_at: Option<u64>,
    buffer: Vec<u8>,
    /// The end of what the program printed.
    printed: Tail,
}

/// So much is read from a pipe at once: as much as it holds.
const READ_BYTES: usize = 64 << 10;

/// Keeps the run in a folder until it is over.
pub(crate) fn keep(folder: &Path) -> io::Result<()> {
    sys::close_inherited();
    let mut slot = StatusSlot::take();
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    std::env::set_current_dir("/")?;
    // The node's memory can run out as well; then the small keeper is the last to be asked.
    let _ = fs::write("/proc/self/oom_score_adj", "-900");
    let settings = Settings::read(folder)?;
    let mut journal = Journal::create(folder)?;
    journal.note(&Step::Kept { pid: std::process::id().cast_signed(), boot: boot()? })?;
    let mut keeper = match Keeper::open(folder, settings, journal) {
        Ok(keeper) => keeper,
        Err(error) => return give_up(folder, &error),
    };
    let container = keeper.begin(slot.as_mut());
    drop(slot);
    match container {
        Ok(container) => {
            let ended = keeper.watch(&container)?;
            keeper.end(ended)
        }
        Err(error) => keeper.failed(&error),
    }
}

fn give_up(folder: &Path, error: &io::Error) -> io::Result<()> {
    Exit::failed_to_start(error.to_string(), unix()).write(folder)?;
    say(&Begun::Failed(error.to_string()));
    Ok(())
}

/// One more thing that went wrong.
fn also(wrong: &mut String, more: &str) {
    let separator = if wrong.is_empty() || more.is_empty() { "" } else { "; " };
    *wrong += separator;
    *wrong += more;
}

/// Tells the agent, if it is still there, and frees the descriptor.
fn say(word: &Begun) {
    let mut line = serde_json::to_vec(word).expect("it is made of text and numbers");
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

impl Keeper {
    fn open(folder: &Path, settings: Settings, journal: Journal) -> io::Result<Keeper> {
        let log = Writer::open(&folder.join(LOG), settings.log)?;
        let listener = UnixListener::bind(&settings.socket).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", settings.socket.display()))
        })?;
        listener.set_nonblocking(true)?;
        let fence = settings.fence.as_deref().map(Fence::open).transpose()?;
        Ok(Keeper {
            folder: folder.to_owned(),
            runtime: Runtime::new(folder, &settings),
            printed: Tail::new(settings.capture.min(PRINTED_BYTES_MAX) as usize),
            settings,
            journal,
            log,
            listener,
            clients: Vec::new(),
            fence,
            pipes: [None, None],
            status: None,
            started_at: None,
            timeout_at: None,
            stopping: None,
            kill_at: None,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Makes the container and lets its program run.
    fn begin(&mut self, slot: Option<&mut StatusSlot>) -> io::Result<Process> {
        mounts::prepare(&self.folder, &self.settings, &mut io::stdin().lock())?;
        let mut ends = Vec::with_capacity(2);
        for pipe in &mut self.pipes {
            let (mine, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&mine, true)?;
            *pipe = Some(mine);
            ends.push(theirs);
        }
        let mut reported = false;
        if let (Some(slot), true) = (slot, self.settings.status) {
            let (mine, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&mine, true)?;
            slot.fill(&theirs)?;
            self.status = Some(mine);
            reported = true;
        }
        if self.settings.status && !reported {
            return Err(io::Error::other("descriptor 3 is taken: the container's end is not told"));
        }
        let (stderr, stdout) = (ends.pop().expect("two"), ends.pop().expect("two"));
        let container = self.runtime.create(stdout, stderr, reported)?;
        self.journal.note(&Step::Created { pid: container.pid.as_raw_pid() })?;
        if self.fence_deadline().is_some_and(|deadline| deadline <= boottime()) {
            self.stopping = Some(Why::Fenced);
            return Err(io::Error::other("the agent's deadline had passed before it was started"));
        }
        let now = unix();
        self.journal.note(&Step::Starting { at: now })?;
        self.started_at = Some(now);
        self.timeout_at = self.settings.timeout.map(|limit| boottime() + limit);
        self.start()?;
        self.journal.note(&Step::Started)?;
        say(&Begun::Started(self.state(container.pid)));
        Ok(container)
    }

    /// Lets the program run. It may before the runtime says so; so the deadline counts from here
    /// on.
    fn start(&mut self) -> io::Result<()> {
        let limit = boottime() + RUNTIME_MAX;
        let until = || self.fence_deadline().map_or(limit, |deadline| deadline.min(limit));
        let started = self.runtime.start(&until);
        if started.is_err() && self.fence_deadline().is_some_and(|at| at <= boottime()) {
            self.stopping = Some(Why::Fenced);
        }
        started
    }

    fn state(&self, pid: Pid) -> State {
        let stopping = self.stopping.as_ref().map(|why| match why {
            Why::Stopped(why) => why.clone(),
            Why::Timeout => "timeout".to_owned(),
            _ => "fenced".to_owned(),
        });
        State {
            pid: pid.as_raw_pid(),
            started_at: self.started_at.unwrap_or(0),
            stopping,
            log_bytes_lost: self.log.lost(),
        }
    }

    fn fence_deadline(&self) -> Option<u64> {
        self.fence.as_ref().map(Fence::deadline)
    }

    /// It could not be started: leaves nothing behind but the reason.
    fn failed(&mut self, error: &io::Error) -> io::Result<()> {
        self.status = None;
        let mut exit = Exit::failed_to_start(error.to_string(), unix());
        if let Some(why) = self.stopping.take() {
            exit.why = why;
        }
        // `start` itself failed: the program may have run for an instant.
        exit.started_at = self.started_at;
        let mut wrong = String::new();
        self.clean(&mut wrong);
        also(&mut exit.error, &wrong);
        self.log.append(Stream::Note, unix(), format!("{}\n", exit.error).as_bytes());
        self.finish(&exit)?;
        say(&Begun::Failed(exit.error));
        Ok(())
    }

    /// It has ended: notes how, and leaves nothing behind.
    fn end(&mut self, ended: WaitStatus) -> io::Result<()> {
        let (mut code, mut signal) = (ended.exit_status(), ended.terminating_signal());
        if let Some((said_code, said_signal)) = self.said_status() {
            (code, signal) = (said_code, said_signal);
        }
        let at = unix();
        let code = code.or(signal.map(|signal| 128 + signal));
        let mut error = match self.journal.note(&Step::Exited { code, signal, at }) {
            Ok(()) => String::new(),
            // It is needed only if its keeper is killed before all is written.
            Err(error) => format!("its end was not noted at once: {error}"),
        };
        let oom_kills = cgroup::oom_kills(&self.settings.cgroups);
        let (mut outputs, wrong) = outputs::read(&self.folder, &self.settings);
        also(&mut error, &wrong);
        self.clean(&mut error);
        // A file that was given this name by the spec, there or not, is meant.
        if self.settings.capture > 0 && !self.settings.outputs.contains_key(PRINTED) {
            outputs.insert(PRINTED.to_owned(), self.printed.text());
        }
        let why = match self.stopping.take() {
            Some(why) => why,
            None if oom_kills > 0 && code == Some(137) => Why::OutOfMemory,
            None if signal.is_some() => Why::Signalled,
            None => Why::Exited,
        };
        let started_at = self.started_at;
        let exit =
            Exit { why, code, signal, oom_kills, started_at, finished_at: at, error, outputs };
        self.finish(&exit)
    }

    /// Kills what is left, reads what it printed last, and lets the runtime forget it.
    fn clean(&mut self, wrong: &mut String) {
        let mut note = |what: io::Result<()>| {
            if let Err(error) = what {
                also(wrong, &error.to_string());
            }
        };
        self.clients.clear();
        note(cgroup::kill(&self.settings.cgroups));
        note(self.runtime.delete());
        for folder in &self.settings.cgroups {
            note(cgroup::remove(folder));
        }
        // Whoever ends up as the parent of what we leave unreaped may not care for it.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        self.drain();
    }

    /// How the program ended, by its first process.
    fn said_status(&mut self) -> Option<(Option<i32>, Option<i32>)> {
        let status = self.status.take()?;
        let mut said = [0; 2];
        let got = rustix::io::read(&status, &mut said).ok()?;
        let number = |byte: u8| i32::from(byte);
        match said {
            [code, 0] if got == 2 => Some((Some(number(code)), None)),
            [_, signal] if got == 2 => Some((None, Some(number(signal)))),
            _ => None,
        }
    }

    fn finish(&mut self, exit: &Exit) -> io::Result<()> {
        self.log.finish(unix());
        exit.write(&self.folder)?;
        let _ = fs::remove_file(&self.settings.socket);
        Ok(())
    }
}
