//! Telling systemd that the service is ready (`Type=notify`): one datagram to `$NOTIFY_SOCKET`.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says so, if anybody asked.
pub(crate) fn ready() {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(name.as_bytes(), b"READY=1\n") {
        tracing::warn!(%error, "cannot tell systemd that the service is ready");
    }
}

/// A name that begins with `@` is not a file.
fn send(name: &[u8], message: &[u8]) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // systemd kills a service that never says it is ready.
    #[test]
    fn datagram_arrives() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_bytes(), b"READY=1\n").unwrap();
        let mut buf = [0; 64];
        let received = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..received], b"READY=1\n");
    }
}
