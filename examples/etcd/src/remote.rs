//! Talking to any etcd as a client does: this server, or real etcd, with or without TLS and users.
//!
//! `backup`, `bench` and `check` are told where with the flags of `etcdctl` and its variables in
//! the environment ([`RemoteFlags`]), so that what works for the one works for the others; a member
//! that looks for its founders has flags of its own. Both come to a [`Reach`], and that to a
//! [`Remote`], a connection to one member.

mod flags;
mod page;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use drystone_etcd_api::etcdserverpb as pb;
use hyper_util::rt::TokioIo;
use pb::auth_client::AuthClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::connection::Stream;
use crate::tls::{ClientTls, TlsOptions};

pub(crate) use flags::RemoteFlags;
pub(crate) use page::page;

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;
/// Bytes that may be under way to one call, and on one connection.
const WINDOW_BYTES: u32 = 4 << 20;
/// Pings are no closer, whatever is asked for: gRPC in Go does the same, and members end the
/// connection of whoever pings more often than every 5 s.
const PING_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Where distributions keep whom they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where to go, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Client URLs of members.
    pub(crate) endpoints: Vec<String>,
    /// Authorities that members' certificates may be of; without them, those of the system.
    pub(crate) cacert: Option<PathBuf>,
    /// A certificate to show, and its key.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Members' certificates are not verified.
    pub(crate) is_unverified: bool,
    /// NAME, or NAME:PASSWORD if there is no `password`.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// How long a connection, and a token, may take.
    pub(crate) dial_timeout: Duration,
    /// Pings while a call is open, and how long one may stay unanswered.
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
}

/// The token of whoever asks, if he has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// What calls go through.
type Way = InterceptedService<Channel, Token>;

/// A connection to one member.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    channel: Channel,
    token: Token,
}

impl Remote {
    /// Keys.
    pub(crate) fn kv(&self) -> KvClient<Way> {
        let client = KvClient::with_interceptor(self.channel.clone(), self.token.clone());
        client.max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Watches.
    pub(crate) fn watch(&self) -> WatchClient<Way> {
        let client = WatchClient::with_interceptor(self.channel.clone(), self.token.clone());
        client.max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Leases.
    pub(crate) fn lease(&self) -> LeaseClient<Way> {
        LeaseClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Status, alarms, copies.
    pub(crate) fn maintenance(&self) -> MaintenanceClient<Way> {
        MaintenanceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }
}

impl Reach {
    /// Whether the files of certificates can be used.
    ///
    /// # Errors
    ///
    /// Which one cannot, and why.
    pub(crate) fn check(&self) -> Result<()> {
        self.tls().map(drop)
    }

    /// Connects to the member at `url`, and shows who asks.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or the user is not let in.
    pub(crate) async fn connect(&self, url: &str) -> Result<Remote> {
        let channel = self.dial(url, self.tls()?).await?;
        let token = self.token(channel.clone()).await?;
        Ok(Remote { channel, token })
    }

    /// Connects to the first member that can be reached.
    ///
    /// # Errors
    ///
    /// Why none can be.
    pub(crate) async fn connect_any(&self) -> Result<Remote> {
        let mut failures = Vec::new();
        for url in &self.endpoints {
            match self.connect(url).await {
                Ok(remote) => return Ok(remote),
                Err(error) => failures.push(format!("{url}: {error:#}")),
            }
        }
        bail!("{}", failures.join("; "))
    }

    /// Makes `count` connections, dealt out among the endpoints.
    ///
    /// # Errors
    ///
    /// If one cannot be made, or the user is not let in.
    pub(crate) async fn connect_many(&self, count: usize) -> Result<Vec<Remote>> {
        let tls = self.tls()?;
        let mut channels = Vec::with_capacity(count);
        for at in 0..count {
            let url = &self.endpoints[at % self.endpoints.len()];
            let made = self.dial(url, tls.clone()).await;
            channels.push(made.with_context(|| format!("cannot reach {url}"))?);
        }
        let token = self.token(channels[0].clone()).await?;
        let remote = |channel| Remote { channel, token: token.clone() };
        Ok(channels.into_iter().map(remote).collect())
    }

    /// Whether TLS is spoken there. Where a URL does not say, what else there is does: a password
    /// is not sent in the clear to somebody whose certificate was to be verified.
    pub(crate) fn is_secure(&self, url: &str) -> bool {
        let asks = self.cacert.is_some() || self.cert.is_some() || self.is_unverified;
        url.starts_with("https://") || (asks && !url.contains("://"))
    }

    /// What is shown and believed there; `None` if no endpoint wants it.
    ///
    /// # Errors
    ///
    /// If a file cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<Arc<ClientTls>>> {
        if !self.endpoints.iter().any(|url| self.is_secure(url)) {
            return Ok(None);
        }
        let options = TlsOptions {
            cert_file: self.cert.clone(),
            key_file: self.key.clone(),
            trusted_ca_file: self.cacert.clone().or_else(system_authorities),
            self_signed: self.is_unverified,
            ..TlsOptions::default()
        };
        let tls = ClientTls::for_clients(options).map_err(|error| anyhow!(error))?;
        Ok(Some(Arc::new(tls)))
    }

    async fn dial(&self, url: &str, tls: Option<Arc<ClientTls>>) -> Result<Channel> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        if !matches!(scheme, "http" | "https") {
            bail!("{scheme}:// is not spoken here; http:// and https:// are");
        }
        let address = rest.trim_end_matches('/').to_owned();
        let tls = tls.filter(|_| self.is_secure(url));
        // What the library is told is what it writes into requests; TLS is done below.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(self.dial_timeout)
            .http2_keep_alive_interval(self.ping_interval.max(PING_INTERVAL_MIN))
            .keep_alive_timeout(self.ping_timeout)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let connector = tower::service_fn(move |_: http::Uri| {
            let (address, tls) = (address.clone(), tls.clone());
            async move { shake_hands(&address, tls.as_deref()).await.map(TokioIo::new) }
        });
        let dialled = timeout(self.dial_timeout, endpoint.connect_with_connector(connector)).await;
        let dialled = dialled.map_err(|_| anyhow!("no answer within {:?}", self.dial_timeout))?;
        dialled.map_err(|error| deepest(&error))
    }

    async fn token(&self, channel: Channel) -> Result<Token> {
        let Some(user) = &self.user else { return Ok(Token::default()) };
        let (name, password) = match &self.password {
            Some(password) => (&user[..], &password[..]),
            None => match user.split_once(':') {
                Some(both) => both,
                None => bail!("the user {user} has no password"),
            },
        };
        let (name, password) = (name.to_owned(), password.to_owned());
        let mut auth = AuthClient::new(channel);
        let given = auth.authenticate(pb::AuthenticateRequest { name, password });
        match timeout(self.dial_timeout, given).await.context("it gives no token in time")? {
            Ok(given) => Ok(Token(Some(given.into_inner().token.parse()?))),
            // Whoever sets a user for all clusters has some that know of none.
            Err(status) if status.message().contains("authentication is not enabled") => {
                Ok(Token::default())
            }
            Err(status) => bail!("{}", status.message()),
        }
    }
}

/// The authorities that the system trusts, if it has any.
pub(crate) fn system_authorities() -> Option<PathBuf> {
    let authorities = PathBuf::from(SYSTEM_AUTHORITIES);
    authorities.is_file().then_some(authorities)
}

/// A connection to `address`, under TLS if that is given.
///
/// # Errors
///
/// If nobody is there, or it is somebody else.
pub(crate) async fn shake_hands(address: &str, tls: Option<&ClientTls>) -> io::Result<Stream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let stream = Stream::Tcp(socket);
    let Some(tls) = tls else { return Ok(stream) };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    tls.connect(host.trim_start_matches('[').trim_end_matches(']'), stream).await
}

/// The library's own words say nothing; what they are about does.
fn deepest(error: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    anyhow!("{deepest}")
}
