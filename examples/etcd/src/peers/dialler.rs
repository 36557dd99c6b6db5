//! How other members are reached: by TCP, under TLS where their URL says so.

use std::io;
use std::sync::Arc;

use drystone_raft::runtime::tcp::{Dial, Dialling, Wire};
use tokio::net::TcpStream;

use crate::connection::Stream;
use crate::tls::ClientTls;

/// Reaches other members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialler {
    tls: Option<Arc<ClientTls>>,
}

impl Dialler {
    /// With `tls` for members that want it.
    pub(crate) fn new(tls: Option<ClientTls>) -> Dialler {
        Dialler { tls: tls.map(Arc::new) }
    }

    /// Whether it can do more than TCP.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A connection to a member.
    ///
    /// # Errors
    ///
    /// If it is not there, or is somebody else.
    pub(super) async fn connect(&self, url: &str) -> io::Result<Stream> {
        let (address, secure) = address(url)?;
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let stream = Stream::Tcp(socket);
        if !secure {
            return Ok(stream);
        }
        let no_tls = || {
            let reason = "https, but no certificates for members are given (--peer-cert-file)";
            io::Error::new(io::ErrorKind::Unsupported, reason)
        };
        let tls = self.tls.as_ref().ok_or_else(no_tls)?;
        tls.connect(host(address), stream).await
    }
}

impl Dial for Dialler {
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a> {
        Box::pin(async move { Ok(Box::new(self.connect(address).await?) as Box<dyn Wire>) })
    }
}

/// `host:port` of a URL, and whether TLS is spoken there.
fn address(url: &str) -> io::Result<(&str, bool)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.trim_end_matches('/');
    match scheme {
        "http" => Ok((rest, false)),
        "https" => Ok((rest, true)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no peer URL: {url}"))),
    }
}

/// The host of `host:port`, without the brackets of an address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    // The host is what a member's certificate is compared with.
    #[test]
    fn host_is_read_from_any_address() {
        let of = |url| address(url).map(|(address, secure)| (host(address), secure)).unwrap();
        assert_eq!(of("https://m0.etcd:2380"), ("m0.etcd", true));
        assert_eq!(of("http://10.0.0.1:2380/"), ("10.0.0.1", false));
        assert_eq!(of("https://[::1]:2380"), ("::1", true));
        assert!(address("unix:///a").is_err());
    }
}
