//! The client of servers and agents: requests, streams of lines, uploads, upgrades.
//!
//! One connection carries one request and is closed: whoever asks is a command that ends, or
//! follows something for long. So nothing is pooled, and nothing stale is ever used.
//!
//! ```text
//!   json     ──► method, path, body ──► status ──► T, or what the server says is wrong
//!   lines    ──► GET path ───────────► status ──► a line, a line, … until it ends
//!   upload   ──► POST path, a file in pieces ───► T
//!   upgrade  ──► POST path, body ────► 101 ─────► the connection itself, both ways
//! ```
//!
//! The token is in no error and no `Debug`.

mod error;
mod lines;
mod path;

pub use error::ClientError;
pub use lines::Lines;
pub use path::Path;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::wire::{self, Refusal};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take to begin. Pulling an image answers at its end.
const ANSWER_MAX: Duration = Duration::from_secs(900);
/// Longest answer that is no stream, bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection that has become something else.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

type AnyBody = UnsyncBoxBody<Bytes, io::Error>;

/// A client of one server or agent. Clones share what it knows.
#[derive(Clone)]
pub struct Client {
    base: Arc<Base>,
}

struct Base {
    url: String,
    authority: String,
    token: Option<HeaderValue>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.base.url).finish()
    }
}

impl Client {
    /// Of who answers at `http://host:port`.
    ///
    /// # Errors
    /// If that is no such URL, or the token cannot be sent in a header.
    pub fn new(base_url: &str, token: Option<&str>) -> Result<Client, ClientError> {
        let bad = |reason| ClientError::BadUrl { url: base_url.to_owned(), reason };
        let uri: Uri = base_url.parse().map_err(|_| bad("it does not read"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad("mason speaks no TLS yet: http:// alone")),
            _ => return Err(bad("it does not begin with http://")),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad("there is a path in it"));
        }
        let authority = uri.authority().ok_or_else(|| bad("there is no host in it"))?;
        if authority.as_str().contains('@') {
            return Err(bad("there is a user in it"));
        }
        let port = authority.port_u16().unwrap_or(80);
        let authority = format!("{}:{port}", authority.host());
        let token = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| ClientError::BadToken)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let base = Base { url: base_url.to_owned(), authority, token: token.transpose()? };
        Ok(Client { base: Arc::new(base) })
    }

    /// Where it asks.
    pub fn url(&self) -> &str {
        &self.base.url
    }

    /// Asks for something, with or without a body.
    ///
    /// # Errors
    /// If nobody answers, what answers refuses, or the answer does not read.
    pub async fn json<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: impl AsRef<str>,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let body = body.map(|body| serde_json::to_vec(body).expect("bodies are JSON"));
        let response = self.send(self.request(method, path.as_ref(), body)?).await?;
        self.read(response).await
    }

    /// Asks for something to look at.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn get<T: DeserializeOwned>(&self, path: impl AsRef<str>) -> Result<T, ClientError> {
        self.json::<(), T>(Method::GET, path, None).await
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: impl AsRef<str>,
        body: &B,
    ) -> Result<T, ClientError> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// Asks for lines of JSON, one value a line.
    ///
    /// # Errors
    /// If nobody answers, or what answers refuses.
    pub async fn lines(&self, path: impl AsRef<str>) -> Result<Lines, ClientError> {
        let response = self.send(self.request(Method::GET, path.as_ref(), None)?).await?;
        let response = self.accepted(response).await?;
        Ok(Lines::new(self.base.url.clone(), response.into_body()))
    }

    /// Sends something long, in pieces.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn upload<T: DeserializeOwned>(
        &self,
        path: impl AsRef<str>,
        body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static,
    ) -> Result<T, ClientError> {
        let builder = self.head(Method::POST, path.as_ref());
        let request = builder.header(CONTENT_TYPE, "application/x-tar");
        let request = request.body(body.boxed_unsync()).map_err(|_| self.bad_path())?;
        self.read(self.send(request).await?).await
    }

    /// Asks for the connection itself, by [`wire::UPGRADE`].
    ///
    /// # Errors
    /// As [`Client::json`]; and if what answers does not know how.
    pub async fn upgrade<B: Serialize + Sync>(
        &self,
        path: impl AsRef<str>,
        body: &B,
    ) -> Result<Upgraded, ClientError> {
        let body = serde_json::to_vec(body).expect("bodies are JSON");
        let mut request = self.request(Method::POST, path.as_ref(), Some(body))?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(wire::UPGRADE));
        let response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = self.accepted(response).await?;
            return Err(
                self.bad_answer(format!("{} in the place of an upgrade", response.status()))
            );
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|source| self.broken(source))?;
        Ok(TokioIo::new(upgraded))
    }

    fn head(&self, method: Method, path: &str) -> http::request::Builder {
        let mut builder = Request::builder().method(method).uri(path);
        builder = builder.header(HOST, &self.base.authority);
        if let Some(token) = &self.base.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        builder
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<AnyBody>, ClientError> {
        let mut builder = self.head(method, path);
        if body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        builder.body(body).map_err(|_| self.bad_path())
    }

    async fn send(&self, request: Request<AnyBody>) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { url: self.base.url.clone(), source };
        let connect = TcpStream::connect(&self.base.authority);
        let stream = tokio::time::timeout(CONNECT_MAX, connect)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        // Keys that are pressed in an `exec` should not wait for each other.
        let _ = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|source| self.broken(source))?;
        tokio::spawn(async move {
            // Whoever waits for the answer hears of it.
            let _ = connection.with_upgrades().await;
        });
        match tokio::time::timeout(ANSWER_MAX, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(|source| self.broken(source)),
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    /// The answer, unless it is a refusal.
    async fn accepted(
        &self,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.bytes(response).await?;
        let refusal = serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
            // Somebody else answers there, or a proxy on the way.
            error: format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(200)])),
            problems: Vec::new(),
        });
        Err(ClientError::Refused { status, refusal })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, ClientError> {
        let response = self.accepted(response).await?;
        let body = self.bytes(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.bad_answer(error.to_string()))
    }

    async fn bytes(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| self.bad_answer(error.to_string()))?.to_bytes())
    }

    fn bad_path(&self) -> ClientError {
        let reason = "what is asked for makes no path";
        ClientError::BadUrl { url: self.base.url.clone(), reason }
    }

    fn bad_answer(&self, reason: String) -> ClientError {
        ClientError::BadAnswer { url: self.base.url.clone(), reason }
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken { url: self.base.url.clone(), source }
    }
}
