//! The runs of one machine, by their folders.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mason_core::record::{Exit, Reason};
use mason_core::spec::Stop;
use mason_core::types::{RunId, UnixMs};
use mason_shim::exit::{self, Why};
use mason_shim::fence::Fence;
use mason_shim::parcel;
use mason_shim::request::{Answer, Begun, Exec, Request};
use mason_shim::settings::{EMPTY, KEEPER_LOG, LOG, MEMORY};
use mason_shim::state;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};

use super::bundle::{Bundle, Site};
use super::error::Context;
use super::groups::Groups;
use super::keeper::{self, Connection};
use super::{Config, Error, Helpers, Launch, Process, settle, tree};
use crate::log::Reader;

/// The runs of one machine.
#[derive(Debug)]
pub struct Runner {
    pub(crate) config: Config,
    pub(crate) groups: Groups,
    helpers: Helpers,
    fence: Fence,
    /// Whoever writes the end of a run whose keeper is gone does it alone.
    pub(crate) settling: Mutex<()>,
    /// One agent at a time.
    _lock: File,
}

/// How often a keeper that is about to leave is looked at again, a second apart.
const LOOKS_MAX: usize = 30;

/// How often a lock is tried whose keeper cannot be waited for.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// How often a keeper is tried to be started, a millisecond apart.
const SPAWNS_MAX: usize = 100;

/// How a run is.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// It has a keeper, which has not started its program yet.
    Starting,
    /// Its program runs.
    Running(Running),
    /// It is over.
    Ended(Ended),
}

/// A run whose program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The container's first process, as the node sees it.
    pub pid: i32,
    /// When its program was started.
    pub started_at: UnixMs,
    /// It was told to stop.
    pub stopping: bool,
    /// How many bytes of what it printed could not be written down.
    pub log_bytes_lost: u64,
    /// What its spec asks for and this machine does not keep; only told by [`Runner::start`].
    pub notes: Vec<String>,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// How, for its result.
    pub exit: Exit,
    /// How many of its processes were killed because its memory was used up, even if it went on.
    pub oom_kills: u64,
}

/// What a run has written to disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Over its image, to folders of its own, and what it printed.
    pub total: u64,
    /// To each folder of its own, by the number of its mount in the spec.
    pub empty: BTreeMap<u32, u64>,
}

impl Runner {
    /// Takes over a machine: its folders, and whatever runs there.
    ///
    /// # Errors
    /// The configuration is a trap, another agent is there, or the file system refuses.
    pub fn open(mut config: Config) -> Result<Runner, Error> {
        config.check()?;
        let data = &config.data_dir;
        let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(data);
        made.context(|| format!("make {}", data.display()))?;
        config.data_dir = data.canonicalize().context(|| format!("find {}", data.display()))?;
        config.check()?;
        let data = &config.data_dir;
        // Root in a container is root here: a program that it makes setuid is one that any user of
        // the machine could start, if the way to it were open.
        for name in ["runs", "s", "net"] {
            let (path, mode) = (data.join(name), 0o700);
            let make = || -> io::Result<()> {
                fs::DirBuilder::new().recursive(true).mode(mode).create(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            };
            make().context(|| format!("make {}/{name}", data.display()))?;
        }
        let path = data.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.context(|| format!("open {}", path.display()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::refused("data_dir", "another agent works in it"))?;
        let helpers = Helpers::install(&data.join("helpers"));
        let helpers = helpers.context(|| "write mason-shim and mason-init".to_owned())?;
        let fence = Fence::create(&data.join("fence")).context(|| "make the fence".to_owned())?;
        let groups = Groups::find().context(|| "find the control groups".to_owned())?;
        Ok(Runner { config, groups, helpers, fence, settling: Mutex::new(()), _lock: lock })
    }

    /// What this machine allows.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder of a run.
    pub(crate) fn folder(&self, run: &RunId) -> PathBuf {
        self.config.data_dir.join("runs").join(run.as_str())
    }

    /// What that is called while it is made.
    pub(crate) fn draft(&self, run: &RunId) -> PathBuf {
        self.config.data_dir.join("runs").join(format!(".{run}"))
    }

    pub(crate) fn socket(&self, run: &RunId) -> PathBuf {
        self.config.data_dir.join("s").join(run.as_str())
    }

    /// Says until when strict runs may go on, by the clock of
    /// [`boottime`](mason_shim::fence::boottime):
    /// [`deadline`](mason_core::protocol::fence::deadline) of when the lease was last asked for.
    ///
    /// # Errors
    /// The file system refuses: then the old deadline stands, and they will be killed.
    pub fn renew(&self, deadline: u64) -> Result<(), Error> {
        self.fence.set(deadline).context(|| "move the fence".to_owned())
    }

    /// Until when strict runs may go on, as it was said last; 0 if it never was.
    pub fn deadline(&self) -> u64 {
        self.fence.deadline()
    }

    /// Starts a run, and waits until its program runs.
    ///
    /// # Errors
    /// Its spec is refused, and nothing was done; it has been started before; or its container
    /// could not be started, which [`Runner::look`] then tells as its end.
    pub fn start(&self, launch: &Launch) -> Result<Running, Error> {
        let site = Site { config: &self.config, helpers: &self.helpers, groups: &self.groups };
        let bundle = Bundle::build(&site, launch)?;
        let folder = self.folder(&launch.run);
        let log = self.make_folder(&launch.run, &folder, &bundle)?;
        let (notes, run) = (bundle.notes.clone(), &launch.run);
        let word = self.spawn(&folder, log, &bundle).context(|| format!("keep run {run}"))?;
        let error = match word {
            Some(Begun::Started(state)) => {
                return Ok(Running { notes, ..running(&state) });
            }
            Some(Begun::Failed(error)) => error,
            None => "its keeper died".to_owned(),
        };
        // Whatever became of it, there is an end to it from here on.
        self.wait(&launch.run, Duration::from_secs(30))?;
        Err(Error::Start(error))
    }

    /// Makes the folder of a run under another name, and renames it with the keeper's lock held:
    /// who sees it never takes it for one whose keeper is gone.
    fn make_folder(&self, run: &RunId, folder: &Path, bundle: &Bundle) -> Result<File, Error> {
        let draft = self.draft(run);
        let make = || -> io::Result<File> {
            if folder.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            tree::remove(&draft)?;
            fs::DirBuilder::new().mode(0o711).create(&draft)?;
            for name in ["upper", "work", MEMORY, EMPTY, LOG] {
                fs::DirBuilder::new().mode(0o755).create(draft.join(name))?;
            }
            for number in &bundle.empty {
                let path = draft.join(EMPTY).join(number.to_string());
                fs::create_dir(&path)?;
                std::os::unix::fs::chown(&path, Some(bundle.who.user), Some(bundle.who.group))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            }
            bundle.settings.write(&draft)?;
            exit::reserve(&draft)?;
            let log =
                OpenOptions::new().append(true).create_new(true).open(draft.join(KEEPER_LOG))?;
            flock(&log, FlockOperation::LockExclusive)?;
            fs::rename(&draft, folder)?;
            Ok(log)
        };
        make().map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                Error::Exists(run.clone())
            }
            _ => Error::Io { what: format!("make {}", folder.display()), source },
        })
    }

    /// Starts the keeper, hands it its parcel, and waits for its one word.
    fn spawn(&self, folder: &Path, log: File, bundle: &Bundle) -> io::Result<Option<Begun>> {
        let mut command = Command::new(&self.helpers.shim);
        command.arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // What it needs to find a runtime by, and nothing that the agent knows besides.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let mut child = command.spawn();
        for _ in 0..SPAWNS_MAX {
            // Just written, and a child that another thread forked meanwhile has it open still.
            let is_busy = |error: &io::Error| error.kind() == io::ErrorKind::ExecutableFileBusy;
            if !child.as_ref().is_err_and(is_busy) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            child = command.spawn();
        }
        // The lock is the keeper's alone from here on.
        drop(command);
        let mut child = child?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        // A keeper that gives up closes its end; its word says why.
        let _ = bundle
            .files
            .iter()
            .try_for_each(|(header, bytes)| parcel::write(&mut stdin, header, bytes));
        let _ = stdin.flush();
        drop(stdin);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        // What we started has left by now: the keeper is its child.
        child.wait()?;
        Ok(serde_json::from_str(&line).ok())
    }

    /// All runs that there is a folder of, and how they are.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn list(&self) -> Result<Vec<(RunId, Status)>, Error> {
        let mut found = Vec::new();
        for run in self.runs()? {
            match self.look(&run) {
                Ok(status) => found.push((run, status)),
                Err(Error::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The names of all runs that there is a folder of.
    pub(crate) fn runs(&self) -> Result<Vec<RunId>, Error> {
        let folder = self.config.data_dir.join("runs");
        let entries = fs::read_dir(&folder).context(|| format!("read {}", folder.display()))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut runs: Vec<_> =
            names.filter(|name| !name.starts_with('.')).map(RunId::from).collect();
        runs.sort();
        Ok(runs)
    }

    /// How a run is. If its keeper is gone without a word, what is left of it is killed and removed
    /// first, and its end is written down.
    ///
    /// # Errors
    /// Nothing is known about it, or the machine refuses.
    pub fn look(&self, run: &RunId) -> Result<Status, Error> {
        let folder = self.folder(run);
        let context = || format!("look at run {run}");
        for _ in 0..LOOKS_MAX {
            if let Some(exit) = exit::Exit::read(&folder).context(context)? {
                return Ok(Status::Ended(ended(exit)));
            }
            if !folder.exists() {
                return Err(Error::Unknown(run.clone()));
            }
            if keeper::lives(&folder).context(context)? {
                let steps = state::read(&folder).context(context)?;
                let started = steps.contains(&state::Step::Started);
                if !started {
                    return Ok(Status::Starting);
                }
                if let Ok(mut connection) = Connection::open(run, &self.socket(run)) {
                    match connection.ask(&Request::State) {
                        Ok(Answer::State(state)) => return Ok(Status::Running(running(&state))),
                        Ok(_) | Err(Error::NotRunning(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                // It is about to leave: wait for that.
                self.is_kept(run, Duration::from_secs(1))?;
                continue;
            }
            settle::settle(self, run)?;
        }
        let reason = "it lives, and nobody can reach it".to_owned();
        Err(Error::Keeper { run: run.clone(), reason })
    }

    /// Waits until a run is over, so long at most; none if it still runs.
    ///
    /// # Errors
    /// As [`Runner::look`].
    pub fn wait(&self, run: &RunId, time: Duration) -> Result<Option<Ended>, Error> {
        if self.is_kept(run, time)? {
            return Ok(None);
        }
        match self.look(run)? {
            Status::Ended(ended) => Ok(Some(ended)),
            _ => Ok(None),
        }
    }

    /// Whether a run still has a keeper, after so long at most.
    fn is_kept(&self, run: &RunId, time: Duration) -> Result<bool, Error> {
        let folder = self.folder(run);
        let begun = Instant::now();
        let mut is_told = false;
        while keeper::lives(&folder).context(|| format!("look at run {run}"))? {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(true);
            }
            match self.handle(run)? {
                Some(handle) if !is_told => {
                    wait_for(&handle, left);
                    is_told = true;
                }
                // Not begun, or gone: what a dead keeper forked has its lock for a moment longer.
                _ => std::thread::sleep(LOCK_STEP.min(left)),
            }
        }
        Ok(false)
    }

    /// A descriptor that becomes readable when the run's keeper is gone, and so the run is over;
    /// none if it is already. For loops that wait for many.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn handle(&self, run: &RunId) -> Result<Option<OwnedFd>, Error> {
        let found = keeper::handle(&self.folder(run)).context(|| format!("find run {run}"))?;
        Ok(found.map(|(_, handle)| handle))
    }

    /// Tells a run to end: the signal now, SIGKILL after the grace. It is told at most once why; a
    /// second word can only shorten the grace. One that is over stays as it is.
    ///
    /// # Errors
    /// Nothing is known about it, or its keeper refuses.
    pub fn stop(&self, run: &RunId, stop: &Stop, why: Reason) -> Result<(), Error> {
        let why = match serde_json::to_value(why) {
            Ok(serde_json::Value::String(why)) => why,
            _ => "stopped".to_owned(),
        };
        self.tell(run, &Request::Stop { signal: stop.signal, grace: stop.grace, why })
    }

    /// Kills a run at once.
    ///
    /// # Errors
    /// As [`Runner::stop`].
    pub fn kill(&self, run: &RunId, why: Reason) -> Result<(), Error> {
        self.stop(run, &Stop { signal: 9, grace: 0 }, why)
    }

    /// Sends a run's first process a signal.
    ///
    /// # Errors
    /// As [`Runner::stop`], or there is no such signal.
    pub fn signal(&self, run: &RunId, number: i32) -> Result<(), Error> {
        self.tell(run, &Request::Signal { number })
    }

    fn tell(&self, run: &RunId, request: &Request) -> Result<(), Error> {
        if !self.folder(run).exists() {
            return Err(Error::Unknown(run.clone()));
        }
        match Connection::open(run, &self.socket(run)).and_then(|mut keeper| keeper.ask(request)) {
            Ok(_) | Err(Error::NotRunning(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Runs something in a run's container, as the user and with the rights of its program.
    ///
    /// # Errors
    /// It does not run, or the runtime refuses.
    pub fn exec(&self, run: &RunId, exec: &Exec) -> Result<Process, Error> {
        Process::start(Connection::open(run, &self.socket(run))?, exec)
    }

    /// What a run printed.
    pub fn logs(&self, run: &RunId) -> Reader {
        Reader::new(self.folder(run).join(LOG))
    }

    /// What a run has written to disk. It is counted, so what comes and goes meanwhile may be
    /// missed.
    pub fn disk_use(&self, run: &RunId) -> DiskUse {
        let folder = self.folder(run);
        let mut empty = BTreeMap::new();
        for entry in fs::read_dir(folder.join(EMPTY)).into_iter().flatten().flatten() {
            if let Some(mount) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                empty.insert(mount, tree::bytes(&entry.path()));
            }
        }
        let rest = ["upper", LOG].map(|name| tree::bytes(&folder.join(name)));
        let all = rest.into_iter().chain(empty.values().copied());
        DiskUse { total: all.fold(0, u64::saturating_add), empty }
    }

    /// Forgets a run that is over: nothing of it is left.
    ///
    /// # Errors
    /// It still runs, nothing is known about it, or the machine refuses.
    pub fn reap(&self, run: &RunId) -> Result<(), Error> {
        let Status::Ended(_) = self.look(run)? else {
            return Err(Error::StillRunning(run.clone()));
        };
        self.is_kept(run, Duration::from_secs(30))?;
        settle::remove(self, run)
    }

    /// Leaves the machine: the node's control groups go if nothing is in them. `/mason` stays:
    /// other agents may be making theirs in it at this moment.
    pub fn close(&self) {
        for folder in self.groups.folders(&format!("/mason/{}", self.config.node)) {
            // Not empty: something still runs.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Waits until a process is gone, so long at most.
fn wait_for(handle: &OwnedFd, time: Duration) {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let wait = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
    let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&wait));
}

fn running(state: &mason_shim::request::State) -> Running {
    Running {
        pid: state.pid,
        started_at: state.started_at,
        stopping: state.stopping.is_some(),
        log_bytes_lost: state.log_bytes_lost,
        notes: Vec::new(),
    }
}

fn ended(exit: exit::Exit) -> Ended {
    let reason = match &exit.why {
        Why::Exited => Reason::Exited,
        Why::Signalled => Reason::Signalled,
        Why::OutOfMemory => Reason::OutOfMemory,
        Why::Timeout => Reason::Timeout,
        Why::Fenced => Reason::Fenced,
        Why::Start => Reason::Start,
        Why::Unknown => Reason::Unknown,
        Why::Stopped(why) => {
            let named = serde_json::from_value(serde_json::Value::String(why.clone()));
            named.unwrap_or(Reason::Stopped)
        }
    };
    let exit::Exit { code, signal, oom_kills, started_at, finished_at, error, outputs, .. } = exit;
    let exit = Exit { reason, code, signal, message: error, started_at, finished_at, outputs };
    Ended { exit, oom_kills }
}
