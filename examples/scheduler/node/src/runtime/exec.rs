//! Something that runs in a container besides its program.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;

use mason_shim::request::{Answer, Exec, Request};

use super::Error;
use super::keeper::Connection;

/// Something that runs in a container. When it is dropped, what still runs is killed.
#[derive(Debug)]
pub struct Process {
    /// What it reads; drop it to let it read the end.
    pub stdin: Option<PipeWriter>,
    /// What it prints.
    pub stdout: PipeReader,
    /// What it complains.
    pub stderr: PipeReader,
    connection: Connection,
}

impl Process {
    pub(crate) fn start(mut connection: Connection, exec: &Exec) -> Result<Process, Error> {
        if exec.command.is_empty() {
            return Err(Error::refused("command", "it is empty"));
        }
        let pipe = std::io::pipe;
        let ends = (|| Ok::<_, std::io::Error>((pipe()?, pipe()?, pipe()?)))();
        let ((stdin, mine_in), (mine_out, stdout), (mine_err, stderr)) =
            ends.map_err(|source| Error::Io { what: "make pipes".to_owned(), source })?;
        let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        connection.send(&Request::Exec(exec.clone()), &fds)?;
        // The other ends are the process's alone, so that its end is seen as theirs.
        drop((stdin, stdout, stderr));
        match connection.answer()? {
            Answer::Pid(_) => {
                connection.be_patient();
                let (stdin, stdout, stderr) = (Some(mine_in), mine_out, mine_err);
                Ok(Process { stdin, stdout, stderr, connection })
            }
            other => Err(connection.refusal(format!("{other:?} is no answer to exec"))),
        }
    }

    /// A descriptor that becomes readable when it has ended: [`Process::wait`] does not block then.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn ending(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.connection.as_fd().try_clone_to_owned()
    }

    /// Waits for its end: its exit code; 128 and the signal, if one ended it.
    ///
    /// # Errors
    /// The container ended first.
    pub fn wait(&mut self) -> Result<i32, Error> {
        self.stdin = None;
        match self.connection.answer()? {
            Answer::Code(code) => Ok(code),
            other => Err(self.connection.refusal(format!("{other:?} is no answer to exec"))),
        }
    }

    /// As [`Process::wait`], but waits so long at most; none if it still runs.
    ///
    /// # Errors
    /// The container ended first.
    pub fn wait_for(&mut self, time: std::time::Duration) -> Result<Option<i32>, Error> {
        self.stdin = None;
        let mut fds = [rustix::event::PollFd::new(&self.connection, rustix::event::PollFlags::IN)];
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let wait = rustix::event::Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(0) => Ok(None),
            _ => self.wait().map(Some),
        }
    }
}
