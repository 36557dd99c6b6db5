//! The connections of a keeper: lines in, lines out, descriptors along with them.

use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use mason_shim::request::{Answer, LINE_BYTES_MAX, Request};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::container::Running;

/// Most connections at once; who comes later is turned away.
pub(crate) const CLIENTS_MAX: usize = 64;
/// Descriptors that a request may bring.
const FDS_MAX: usize = 3;
/// So much is read at once.
const READ_BYTES: usize = 4096;

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    buffer: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
    /// What it runs in the container.
    pub(crate) exec: Option<Running>,
}

/// What came of a read.
pub(crate) enum Heard {
    /// Not a whole line yet.
    Nothing,
    /// A request.
    Request(Request),
    /// Something that is none; the connection is of no more use.
    Nonsense(String),
    /// The other side is gone.
    Closed,
}

impl Client {
    /// Takes those that wait, as far as there is room.
    pub(crate) fn accept(listener: &UnixListener, clients: &mut Vec<Client>) {
        while let Ok((stream, _)) = listener.accept() {
            if clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                clients.push(Client { stream, buffer: Vec::new(), fds: Vec::new(), exec: None });
            }
        }
    }

    /// Reads what is there.
    pub(crate) fn hear(&mut self) -> Heard {
        if let Some(heard) = self.next_line() {
            return heard;
        }
        let mut bytes = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = match recvmsg(&self.stream, &mut parts, &mut ancillary, flags) {
            Ok(got) => got.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Heard::Nothing,
            Err(_) => return Heard::Closed,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
                self.fds.truncate(FDS_MAX);
            }
        }
        if got == 0 {
            return Heard::Closed;
        }
        self.buffer.extend_from_slice(&bytes[..got]);
        if let Some(heard) = self.next_line() {
            return heard;
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            return Heard::Nonsense("the line is too long".to_owned());
        }
        Heard::Nothing
    }

    fn next_line(&mut self) -> Option<Heard> {
        let end = self.buffer.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        Some(match serde_json::from_slice(&line) {
            Ok(request) => Heard::Request(request),
            Err(error) => Heard::Nonsense(format!("no request: {error}")),
        })
    }

    /// Answers. An answer fits into the socket's buffer, unless the other side never reads: then it
    /// is an error, and the connection of no more use.
    pub(crate) fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(exec) = &self.exec {
            exec.kill();
        }
    }
}
