//! The URLs of flags: where to listen, and what to tell others.
//!
//! etcd binds to addresses, never to names, `localhost` excepted: a name may mean another machine
//! tomorrow. What is *advertised* is passed on to clients as it was written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where to accept connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// A TCP port; 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A URL to accept connections at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenUrl {
    pub(crate) address: ListenAddress,
    /// Connections are under TLS.
    pub(crate) secure: bool,
    /// As it was written.
    pub(crate) text: String,
}

impl ListenUrl {
    /// The host as it was written, without port and brackets; empty for a Unix socket.
    pub(crate) fn host(&self) -> &str {
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("", &self.text));
        if scheme.starts_with("unix") {
            return "";
        }
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// The parts of `a,b,c`, trimmed; empty parts are dropped.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Reads a URL to listen on.
pub(crate) fn parse_listen(url: &str) -> Result<ListenUrl, String> {
    let (scheme, rest) = split_scheme(url)?;
    let text = url.to_owned();
    let secure = scheme.ends_with('s');
    if scheme.starts_with("unix") {
        // What stands where others have a host is the first part of a relative path.
        let address = ListenAddress::Unix(PathBuf::from(rest));
        return Ok(ListenUrl { address, secure, text });
    }
    let (host, port) = split_host_port(url, rest)?;
    let ip: IpAddr = match host {
        "" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => host.parse().map_err(|_| format!("expected IP in URL for binding ({url})"))?,
    };
    let address = ListenAddress::Tcp(SocketAddr::new(ip, port));
    Ok(ListenUrl { address, secure, text })
}

/// Checks a URL to be told to others, which may hold a name.
pub(crate) fn check_advertised(url: &str) -> Result<(), String> {
    let (scheme, rest) = split_scheme(url)?;
    if scheme.starts_with("http") && split_host_port(url, rest)?.0.is_empty() {
        return Err(format!("unexpected empty host ({url})"));
    }
    Ok(())
}

fn split_scheme(url: &str) -> Result<(&str, &str), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad_scheme(url))?;
    match scheme {
        // A slash at the end means nothing, and stands there often enough.
        "http" | "https" => Ok((scheme, rest.strip_suffix('/').unwrap_or(rest))),
        "unix" | "unixs" => Ok((scheme, rest)),
        _ => Err(bad_scheme(url)),
    }
}

fn bad_scheme(url: &str) -> String {
    format!("URL scheme must be http, https, unix, or unixs: {url}")
}

fn split_host_port<'a>(url: &str, rest: &'a str) -> Result<(&'a str, u16), String> {
    if rest.contains('/') {
        return Err(format!("URL must not contain a path: {url}"));
    }
    let no_port = || format!("URL address does not have the form \"host:port\": {url}");
    let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
    let port = port.parse().map_err(|_| no_port())?;
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    if bracketed.is_none() && host.contains(':') {
        return Err(no_port());
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, address: &str, secure: bool) {
        let address = match url.starts_with("unix") {
            true => ListenAddress::Unix(address.into()),
            false => ListenAddress::Tcp(address.parse().unwrap()),
        };
        assert_eq!(parse_listen(url), Ok(ListenUrl { address, secure, text: url.to_owned() }));
    }

    // The forms that manifests, tests and docker files use.
    #[test]
    fn listen_urls_are_read() {
        check("http://127.0.0.1:2379", "127.0.0.1:2379", false);
        check("http://localhost:0", "127.0.0.1:0", false);
        check("http://0.0.0.0:2379/", "0.0.0.0:2379", false);
        check("https://[::1]:2379", "[::1]:2379", true);
        check("unix:///tmp/etcd.sock", "/tmp/etcd.sock", false);
        check("unixs://X/etcd.sock", "X/etcd.sock", true);
        assert_eq!(parse_listen("https://[::1]:2379").unwrap().host(), "::1");
        assert_eq!(parse_listen("https://localhost:1").unwrap().host(), "localhost");
    }

    // Every refusal names the URL: the operator sees which of five lists is wrong.
    #[test]
    fn bad_listen_urls_are_refused_by_name() {
        for url in ["127.0.0.1:2379", "ftp://x:1", "http://x:1", "http://1.2.3.4", "http://::1:1"] {
            let error = parse_listen(url).unwrap_err();
            assert!(error.contains(url), "{error}");
        }
        assert!(parse_listen("http://1.2.3.4:1/path").is_err());
    }

    // What is advertised may be a name that only clients can resolve.
    #[test]
    fn advertised_urls_may_hold_names() {
        assert_eq!(check_advertised("http://etcd-0.etcd.svc:2379"), Ok(()));
        assert!(check_advertised("etcd-0:2379").is_err());
    }
}
