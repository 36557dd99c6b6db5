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

/// The parts of `a,b,c`, trimmed; empty parts are dropped.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Reads a URL to listen on.
pub(crate) fn parse_listen(url: &str) -> Result<ListenAddress, String> {
    let (scheme, rest) = split_scheme(url)?;
    if scheme == "unix" {
        return Ok(ListenAddress::Unix(PathBuf::from(rest)));
    }
    let (host, port) = split_host_port(url, rest)?;
    let ip: IpAddr = match host {
        "" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => host.parse().map_err(|_| format!("expected IP in URL for binding ({url})"))?,
    };
    Ok(ListenAddress::Tcp(SocketAddr::new(ip, port)))
}

/// Checks a URL to be told to others, which may hold a name.
pub(crate) fn check_advertised(url: &str) -> Result<(), String> {
    let (scheme, rest) = split_scheme(url)?;
    if scheme == "http" {
        split_host_port(url, rest)?;
    }
    Ok(())
}

fn split_scheme(url: &str) -> Result<(&str, &str), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad_scheme(url))?;
    match scheme {
        "http" | "unix" => Ok((scheme, rest)),
        "https" | "unixs" => Err(format!("TLS is not implemented yet: {url}")),
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

    fn tcp(text: &str) -> ListenAddress {
        ListenAddress::Tcp(text.parse().unwrap())
    }

    // The forms that manifests, tests and docker files use.
    #[test]
    fn listen_urls_are_read() {
        assert_eq!(parse_listen("http://127.0.0.1:2379"), Ok(tcp("127.0.0.1:2379")));
        assert_eq!(parse_listen("http://localhost:0"), Ok(tcp("127.0.0.1:0")));
        assert_eq!(parse_listen("http://0.0.0.0:2379"), Ok(tcp("0.0.0.0:2379")));
        assert_eq!(parse_listen("http://[::1]:2379"), Ok(tcp("[::1]:2379")));
        assert_eq!(
            parse_listen("unix:///tmp/etcd.sock"),
            Ok(ListenAddress::Unix("/tmp/etcd.sock".into()))
        );
    }

    // Every refusal names the URL: the operator sees which of five lists is wrong.
    #[test]
    fn bad_listen_urls_are_refused_by_name() {
        for url in ["127.0.0.1:2379", "ftp://x:1", "http://x:1", "http://1.2.3.4", "http://::1:1"] {
            let error = parse_listen(url).unwrap_err();
            assert!(error.contains(url), "{error}");
        }
        assert!(parse_listen("http://1.2.3.4:1/path").is_err());
        assert!(parse_listen("https://127.0.0.1:2379").unwrap_err().contains("TLS"));
    }

    // What is advertised may be a name that only clients can resolve.
    #[test]
    fn advertised_urls_may_hold_names() {
        assert_eq!(check_advertised("http://etcd-0.etcd.svc:2379"), Ok(()));
        assert!(check_advertised("etcd-0:2379").is_err());
    }
}
