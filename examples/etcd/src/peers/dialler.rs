//! How other members are reached: by TCP or a Unix socket, under TLS where their URL says so.

use std::io;
use std::sync::Arc;

use drystone_raft::runtime::tcp::{Dial, Dialling, Wire};
use tokio::net::{TcpStream, UnixStream};

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

    /// A member's URL in the form that libraries know, for requests to it.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub(super) fn authority(url: &str) -> io::Result<String> {
        let Home { address, host, .. } = Home::of(url)?;
        Ok(match address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(_) => format!("http://{host}"),
        })
    }

    /// A connection to a member.
    ///
    /// # Errors
    ///
    /// If it is not there, or is somebody else.
    pub(super) async fn connect(&self, url: &str) -> io::Result<Stream> {
        let Home { address, host, secure } = Home::of(url)?;
        let stream = match address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Stream::Tcp(socket)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        };
        if !secure {
            return Ok(stream);
        }
        let no_tls = || {
            let reason = "https, but no certificates for members are given (--peer-cert-file)";
            io::Error::new(io::ErrorKind::Unsupported, reason)
        };
        let tls = self.tls.as_ref().ok_or_else(no_tls)?;
        tls.connect(host, stream).await
    }
}

impl Dial for Dialler {
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a> {
        Box::pin(async move { Ok(Box::new(self.connect(address).await?) as Box<dyn Wire>) })
    }
}

/// Where a member is, as its URL says.
#[derive(Debug, PartialEq, Eq)]
struct Home<'a> {
    address: Address<'a>,
    /// What its certificate is compared with.
    host: &'a str,
    secure: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Address<'a> {
    /// `host:port`
    Tcp(&'a str),
    /// The file of a Unix socket.
    Unix(&'a str),
}

impl Home<'_> {
    fn of(url: &str) -> io::Result<Home<'_>> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let secure = scheme.ends_with('s');
        match scheme {
            "http" | "https" => {
                let address = rest.trim_end_matches('/');
                Ok(Home { address: Address::Tcp(address), host: host(address), secure })
            }
            // What stands where others have a host is the first part of a relative path.
            "unix" | "unixs" => {
                let first = rest.split('/').next().unwrap_or_default();
                let host = if first.is_empty() { "localhost" } else { host(first) };
                Ok(Home { address: Address::Unix(rest), host, secure })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no peer URL: {url}"))),
        }
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
        let of = |url| Home::of(url).map(|home| (home.host, home.secure)).unwrap();
        assert_eq!(of("https://m0.etcd:2380"), ("m0.etcd", true));
        assert_eq!(of("http://10.0.0.1:2380/"), ("10.0.0.1", false));
        assert_eq!(of("https://[::1]:2380"), ("::1", true));
        assert_eq!(of("unixs://m0.etcd:1"), ("m0.etcd", true));
        assert_eq!(of("unix:///run/m0.sock"), ("localhost", false));
        assert!(Home::of("ftp://a:1").is_err());
    }

    #[test]
    fn path_is_all_that_follows_unix() {
        let of = |url| Home::of(url).map(|home| home.address).unwrap();
        assert_eq!(of("unix://etcd.unix:1"), Address::Unix("etcd.unix:1"));
        assert_eq!(of("unixs:///run/m0.sock"), Address::Unix("/run/m0.sock"));
        assert_eq!(of("http://a:1/"), Address::Tcp("a:1"));
    }
}
