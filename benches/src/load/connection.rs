//! One HTTP/2 connection under the generated stubs.
//!
//! tonic's own `Channel` reconnects, balances and queues every request to a task that does so. A load
//! generator wants none of that, and pays for it on the cores of the server it measures. Here a stub
//! hands its request straight to hyper's connection.

use std::{
    pin::Pin,
    task::{self, Poll},
};

use anyhow::{Context as _, Result};
use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::Service;

/// Bytes that may be under way to one call: big answers should not wait for window updates.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes that may be under way on a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Where the server is.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    address: String,
    /// What stubs put in front of their paths.
    pub origin: Uri,
}

impl Target {
    /// From `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(endpoint: &str) -> Result<Target> {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
        let origin = Uri::builder()
            .scheme("http")
            .authority(address)
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
            .with_context(|| format!("{endpoint} is not host:port"))?;
        Ok(Target { address: address.to_owned(), origin })
    }
}

/// An open connection; clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: http2::SendRequest<Body>,
}

impl Connection {
    /// Connects, and leaves the work on the socket to a task of the current runtime.
    ///
    /// # Errors
    /// If nobody accepts, or what accepts does not speak HTTP/2.
    pub async fn open(target: &Target) -> Result<Connection> {
        let socket = TcpStream::connect(&target.address)
            .await
            .with_context(|| format!("connecting to {}", target.address))?;
        socket.set_nodelay(true)?;
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(socket))
            .await?;
        // An error of the connection reaches every request on it, so it need not be kept here.
        tokio::spawn(async { drop(connection.await) });
        Ok(Connection { requests })
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<hyper::Result<()>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two spellings people have in their shell history.
    #[test]
    fn endpoints_parse_with_and_without_scheme() {
        for endpoint in ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"] {
            let target = Target::parse(endpoint).unwrap();
            assert_eq!(target.address, "127.0.0.1:2379");
            assert_eq!(target.origin.to_string(), "http://127.0.0.1:2379/");
        }
        assert!(Target::parse("not a host").is_err());
        assert!(Target::parse("https://127.0.0.1:2379").is_err());
    }
}
