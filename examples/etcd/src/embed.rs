//! A member inside another program.
//!
//! # Problem
//! A program that keeps its state in etcd needs an etcd to try it on. Starting one is a matter of
//! packages, ports, data directories and of stopping it afterwards.
//!
//! # Idea
//! The same member that the program of this package runs, on threads of its own. It is durable: its
//! data directory can be given to the program later, and the other way round.
//!
//! ```text
//!   Member::start ──► thread "etcd" ──► the life of a member, as in `server.rs`
//!        │ waits          │
//!        ◄── serves ──────┘
//!   Member::stop ───────► finishes what is under way, closes, saves ──► joined
//! ```
//!
//! ```
//! use drystone_etcd::embed::{Member, Options};
//!
//! # let folder = tempfile::tempdir()?;
//! let member = Member::start(&Options::new(folder.path()))?;
//! assert!(member.client_url().starts_with("http://127.0.0.1:"));
//! member.stop()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Promises
//! * [`Member::start`] returns when clients are served, and a port that was left to the system is
//!   known. It can be called from any thread, also from one that runs asynchronous tasks, which it
//!   blocks for a moment.
//! * Nothing of the process is touched: no signal handlers, no log, no limits, no scheduling
//!   policy, no allocator. Log events go where the host sends those of `tracing`.
//! * [`Member::stop`] returns when the data directory is free for the next.
//!
//! # Omissions
//! One member alone. A cluster is made of processes, which fail one by one.

use std::ffi::OsString;
use std::future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::oneshot;

use crate::config::{self, Config, Start};
use crate::server::{self, End, Host, Serving};

/// How a member is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its data is; made where there is none.
    pub data_dir: PathBuf,
    /// Where it listens for clients; port 0 leaves the choice to the system.
    pub client: SocketAddr,
    /// Where it listens for other members, of which there are none: the same.
    pub peer: SocketAddr,
    /// How long a start may take. It replays what the last run did not save.
    pub start_max: Duration,
    /// Further flags, as the program takes them. Unlike there, no room is kept back for a full disk
    /// unless `--disk-reserve-bytes` says so.
    pub flags: Vec<String>,
}

impl Options {
    /// With its data there, on loopback, at ports that the system chooses.
    pub fn new(data_dir: impl Into<PathBuf>) -> Options {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Options {
            data_dir: data_dir.into(),
            client: anywhere,
            peer: anywhere,
            start_max: Duration::from_secs(60),
            flags: Vec::new(),
        }
    }

    fn config(&self) -> Result<Config, Error> {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let mut words: Vec<OsString> = vec!["--data-dir".into(), self.data_dir.clone().into()];
        for (flag, url) in [
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
        ] {
            words.extend([flag.into(), url.into()]);
        }
        // Two stores that happen to get one port are two clusters all the same.
        let token = format!("embedded-{:016x}", rand::random::<u64>());
        words.extend(["--initial-cluster-token".into(), token.into()]);
        // Whose disk it is, its host knows.
        words.push("--disk-reserve-bytes=0".into());
        words.extend(self.flags.iter().map(OsString::from));
        match config::read(words, []) {
            Start::Serve(mut config, _) => {
                config.advertise_bound = true;
                Ok(*config)
            }
            Start::Print(_) => Err(Error::Flags("a flag asks for text only".to_owned())),
            Start::Refuse(reason, _) => Err(Error::Flags(reason)),
        }
    }
}

/// Why a member did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What it was told makes no sense.
    #[error("cannot start a store: {0}")]
    Flags(String),
    /// It cannot start, or it had to stop.
    #[error("the store in {} failed", data_dir.display())]
    Failed {
        /// Where its data is.
        data_dir: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It does not serve in time.
    #[error("the store in {} does not serve after {after:?}", data_dir.display())]
    Slow {
        /// Where its data is.
        data_dir: PathBuf,
        /// How long that was.
        after: Duration,
    },
}

impl Error {
    fn failed(
        data_dir: &Path,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Failed { data_dir: data_dir.to_path_buf(), source: source.into() }
    }
}

/// A member that runs in this process. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Member {
    data_dir: PathBuf,
    client_url: String,
    life: Option<Life>,
}

#[derive(Debug)]
struct Life {
    thread: JoinHandle<anyhow::Result<()>>,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

impl Member {
    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    ///
    /// If the flags are wrong, the data cannot be opened, a port cannot be had, or it takes too
    /// long.
    pub fn start(options: &Options) -> Result<Member, Error> {
        let (config, data_dir) = (options.config()?, options.data_dir.clone());
        let (stop, stopped) = oneshot::channel();
        let (told, serving) = mpsc::sync_channel(1);
        let host = Guest { stopped: Some(stopped), told };
        let thread = thread::Builder::new()
            .name("etcd".to_owned())
            .spawn(move || server::run(config, host).map(drop))
            .map_err(|error| Error::failed(&data_dir, error))?;
        let life = Life { thread, _stop: stop };
        match serving.recv_timeout(options.start_max) {
            Ok(client_url) => Ok(Member { data_dir, client_url, life: Some(life) }),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                life.end(&data_dir)?;
                Err(Error::Slow { data_dir, after: options.start_max })
            }
            // It ended without a word: its thread says why.
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                life.end(&data_dir)?;
                Err(Error::failed(&data_dir, "it ended before it served"))
            }
        }
    }

    /// Where clients reach it, as `http://address:port`.
    pub fn client_url(&self) -> &str {
        &self.client_url
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Whether it has ended by itself: its storage failed. [`Member::stop`] says why.
    pub fn has_ended(&self) -> bool {
        self.life.as_ref().is_none_or(|life| life.thread.is_finished())
    }

    /// Stops it, and waits until its data are closed and saved for the next start.
    ///
    /// # Errors
    ///
    /// If its storage has failed while it ran.
    pub fn stop(mut self) -> Result<(), Error> {
        self.life.take().map_or(Ok(()), |life| life.end(&self.data_dir))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(life) = self.life.take() {
            // Whoever wants to know how it ended calls `stop`.
            let _ = life.end(&self.data_dir);
        }
    }
}

impl Life {
    fn end(self, data_dir: &Path) -> Result<(), Error> {
        let Life { thread, _stop } = self;
        drop(_stop);
        match thread.join() {
            Ok(ended) => ended.map_err(|error| Error::failed(data_dir, error)),
            Err(_) => Err(Error::failed(data_dir, "it panicked")),
        }
    }
}

/// The member, as it sees its host.
struct Guest {
    stopped: Option<oneshot::Receiver<()>>,
    told: mpsc::SyncSender<String>,
}

impl Host for Guest {
    /// The limit is the process's, and stays as it is.
    fn fds(&self) -> u64 {
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    }

    fn end(&mut self) -> io::Result<impl Future<Output = End> + use<>> {
        let stopped = self.stopped.take();
        Ok(async move {
            match stopped {
                // Nothing is ever sent: it resolves when the sender is dropped.
                Some(stopped) => drop(stopped.await),
                None => future::pending().await,
            }
            End::Asked
        })
    }

    fn serves(&mut self, serving: &Serving<'_>) {
        let url = serving.urls.first().cloned().unwrap_or_default();
        // Whoever started it may have lost patience.
        let _ = self.told.try_send(url);
    }

    /// A host that starts the next on the same directory must find this one done with it.
    fn save_max(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests;
