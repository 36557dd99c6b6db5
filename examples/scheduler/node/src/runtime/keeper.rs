//! The agent's side of a keeper: whether it lives, and what it says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mason_core::types::RunId;
use mason_shim::request::{Answer, Request};
use mason_shim::settings::KEEPER_LOG;
use mason_shim::state::{self, Step};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Error;

/// How long a keeper may take to answer. It is busy with its container's start at most.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// Whether somebody keeps the run in this folder: who does, holds the lock on its log.
pub(crate) fn lives(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(KEEPER_LOG)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A handle on the keeper of the run in this folder; none if there is none, or not yet.
pub(crate) fn handle(folder: &Path) -> io::Result<Option<(Pid, OwnedFd)>> {
    let steps = state::read(folder)?;
    let Some(Step::Kept { pid, .. }) = steps.first() else { return Ok(None) };
    let Some(pid) = Pid::from_raw(*pid) else { return Ok(None) };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(None) };
    // The number may be another's by now. If the lock is held now, it was not when we opened it.
    Ok(lives(folder)?.then_some((pid, handle)))
}

/// A connection to a keeper.
#[derive(Debug)]
pub(crate) struct Connection {
    run: RunId,
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Connects; that nobody listens means that the run is over, or not begun.
    pub(crate) fn open(run: &RunId, socket: &Path) -> Result<Connection, Error> {
        let stream = UnixStream::connect(socket).map_err(|_| Error::NotRunning(run.clone()))?;
        let _ = stream.set_read_timeout(Some(ANSWER_MAX));
        let _ = stream.set_write_timeout(Some(ANSWER_MAX));
        Ok(Connection { run: run.clone(), reader: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer. A connection that closes instead means that the run is over.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        self.send(request, &[])?;
        self.answer()
    }

    /// Asks, with descriptors along.
    pub(crate) fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let gone = |_| Error::NotRunning(self.run.clone());
        let mut line = serde_json::to_vec(request).expect("it is made of text and numbers");
        line.push(b'\n');
        let mut stream = self.reader.get_ref();
        let mut sent = 0;
        if !fds.is_empty() {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(fds)), "three fit");
            let parts = [io::IoSlice::new(&line)];
            let flags = SendFlags::NOSIGNAL;
            sent = sendmsg(stream, &parts, &mut ancillary, flags)
                .map_err(|error| gone(error.into()))?;
        }
        stream.write_all(&line[sent..]).map_err(gone)
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Result<Answer, Error> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => return Err(Error::NotRunning(self.run.clone())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(Error::NotRunning(self.run.clone()));
            }
            Err(error) => return Err(self.refusal(error.to_string())),
        }
        match serde_json::from_str(&line) {
            Ok(Answer::Error(reason)) => Err(self.refusal(reason)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.refusal(format!("`{}`: {error}", line.trim()))),
        }
    }

    /// Waits for the next answer as long as it takes.
    pub(crate) fn be_patient(&self) {
        let _ = self.reader.get_ref().set_read_timeout(None);
    }

    pub(crate) fn refusal(&self, reason: impl Into<String>) -> Error {
        Error::Keeper { run: self.run.clone(), reason: reason.into() }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.get_ref().as_fd()
    }
}
