//! One request, one connection: resolve, check the address, connect, ask, follow redirects.
//!
//! A pull asks a dozen times at most, so connections are not kept. That leaves no way for an answer
//! to reach the wrong request. Proxies of the environment are not used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, RANGE, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Zone;
use crate::image::error::Error;

/// Most redirects in a row.
const REDIRECT_COUNT_MAX: u32 = 5;

/// What every request of a pull needs.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) timeout: Duration,
}

/// What to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) accept: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) from: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Asking again may help.
    Passing(String),
    /// It will not.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// Where the registry itself is: what it may send us to follows from that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home(pub(super) Option<Zone>);

impl Http {
    /// Asks, and follows redirects. The first address may be anywhere if `home` is not known yet.
    pub(super) async fn get(
        &self,
        url: &str,
        ask: &Ask,
        home: Home,
    ) -> Result<(Response<Incoming>, Zone), Failure> {
        let mut ask = ask.clone();
        let mut home = home;
        let mut at: Uri = url.parse().map_err(|_| refused(url, "it is no address"))?;
        for _ in 0..=REDIRECT_COUNT_MAX {
            let (response, zone) = self.once(&at, &ask, home).await?;
            let known = home.0.get_or_insert(zone);
            if !response.status().is_redirection() {
                return Ok((response, *known));
            }
            let location = response.headers().get(LOCATION).and_then(|text| text.to_str().ok());
            let location = location.ok_or_else(|| refused(url, "a redirect to nowhere"))?;
            let next = resolve(&at, location).map_err(|why| refused(location, why))?;
            if next.authority() != at.authority() || next.scheme() != at.scheme() {
                // Whoever is asked next did not get our password from us.
                ask.authorization = None;
            }
            at = next;
        }
        Err(refused(url, "too many redirects").into())
    }

    async fn once(
        &self,
        at: &Uri,
        ask: &Ask,
        home: Home,
    ) -> Result<(Response<Incoming>, Zone), Failure> {
        let authority = at.authority().expect("an address that was checked").clone();
        let secure = at.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let passing = |what: &str, error: &dyn std::fmt::Display| {
            Failure::Passing(format!("{what} {host}:{port}: {error}"))
        };
        let work = async {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let found: Vec<SocketAddr> =
                found.map_err(|error| passing("cannot resolve", &error))?.collect();
            let (stream, zone) = self.connect(at, &found, home).await?;
            let request = request(at, ask)?;
            let response = if secure {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| refused(&host, "it is no host name"))?;
                let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
                send(tls.map_err(|error| passing("no TLS with", &error))?, request).await
            } else {
                send(stream, request).await
            };
            Ok((response.map_err(|error| passing("no answer from", &error))?, zone))
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(passing("no answer from", &"timed out")),
        }
    }

    async fn connect(
        &self,
        at: &Uri,
        found: &[SocketAddr],
        home: Home,
    ) -> Result<(TcpStream, Zone), Failure> {
        let mut last = format!("{at}: no address");
        for address in found {
            let zone = Zone::of(address.ip());
            if home.0.is_some_and(|home| !home.may_send_to(zone)) {
                let why = format!("the registry sent us to {}, an inner address", address.ip());
                return Err(refused(&at.to_string(), &why).into());
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok((stream, zone)),
                Err(error) => last = format!("cannot connect to {address}: {error}"),
            }
        }
        Err(Failure::Passing(last))
    }

    /// A whole body, no larger than the limit.
    pub(super) async fn body(
        &self,
        what: &str,
        body: Incoming,
        limit: u64,
    ) -> Result<Bytes, Failure> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let work = Limited::new(body, most).collect();
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                let (what, limit_name) = (what.to_owned(), "document_bytes_max");
                Err(Error::TooLarge { what, limit_name, limit }.into())
            }
            Ok(Err(error)) => Err(Failure::Passing(error.to_string())),
            Err(_) => Err(Failure::Passing("timed out".to_owned())),
        }
    }
}

fn request(at: &Uri, ask: &Ask) -> Result<Request<Empty<Bytes>>, Error> {
    let path = at.path_and_query().map_or("/", |path| path.as_str());
    let host = at.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(path).header(HOST, host).header(USER_AGENT, "mason");
    if let Some(accept) = &ask.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some(authorization) = &ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if ask.from > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.from));
    }
    request.body(Empty::new()).map_err(|error| refused(&at.to_string(), &error.to_string()))
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer's body, or when that is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await
}

/// Where a redirect leads: never from https to http, nor to any other scheme.
fn resolve(from: &Uri, location: &str) -> Result<Uri, &'static str> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(|_| "it is no address")?);
        return Uri::from_parts(parts).map_err(|_| "it is no address");
    }
    let next: Uri = location.parse().map_err(|_| "it is no address")?;
    let authority = next.authority().ok_or("a redirect to no host")?;
    if authority.as_str().contains('@') {
        return Err("a redirect with a name and password in it");
    }
    match (from.scheme_str(), next.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => Ok(next),
        (_, Some("http")) => Err("a redirect from https to http"),
        _ => Err("a redirect to a scheme that is neither http nor https"),
    }
}

pub(super) fn refused(what: &str, reason: &str) -> Error {
    Error::Refused { what: what.to_owned(), reason: reason.to_owned() }
}
