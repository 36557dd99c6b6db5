//! Taking connections under TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::{SupportedProtocolVersion, version};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificate::{self, Names};
use super::files::{self, Stamp};
use super::room::Room;
use super::verify::Guard;
use super::{TlsOptions, Version, origin, words};
use crate::connection::{PeerName, Stream};

/// How long somebody may take to shake hands.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once.
const HANDSHAKES_MAX: usize = 512;

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Clients, and monitoring.
    Client,
    /// Other members.
    Peer,
}

/// A connection after its handshake.
pub(crate) struct Secured {
    pub(crate) stream: Stream,
    /// Whom its certificate is for, if it was asked for one.
    pub(crate) name: Option<PeerName>,
}

/// Takes connections of one kind.
#[derive(Debug)]
pub(crate) struct ServerTls {
    options: TlsOptions,
    endpoint: Endpoint,
    last: Mutex<Option<(Stamp, Arc<ServerConfig>)>>,
    room: Room,
    /// Hosts of the members that are known.
    members: Mutex<Vec<String>>,
}

impl ServerTls {
    /// As `options` say, whose files must be there.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or used.
    pub(crate) fn new(options: TlsOptions, endpoint: Endpoint) -> Result<Arc<ServerTls>, String> {
        options.check()?;
        let room = Room::new(HANDSHAKES_MAX);
        let server = ServerTls {
            options,
            endpoint,
            last: Mutex::default(),
            room,
            members: Mutex::default(),
        };
        server.config()?;
        Ok(Arc::new(server))
    }

    /// Learns at which hosts the members are.
    pub(crate) fn learn(&self, hosts: Vec<String>) {
        *self.members.lock() = hosts;
    }

    /// The configuration for the next handshake.
    fn config(&self) -> Result<Arc<ServerConfig>, String> {
        let TlsOptions { cert_file, key_file, trusted_ca_file, crl_file, .. } = &self.options;
        let files = [cert_file, key_file, trusted_ca_file, crl_file];
        // Looked at before the files are read: what changes in between shows the next time.
        let stamp = Stamp::of(files.map(Option::as_ref));
        let mut last = self.last.lock();
        if let Some((known, config)) = &*last
            && *known == stamp
        {
            return Ok(config.clone());
        }
        let config = Arc::new(build(&self.options)?);
        *last = Some((stamp, config.clone()));
        Ok(config)
    }

    /// Shakes hands. `None` if that fails, which is in the log.
    pub(crate) async fn accept(&self, stream: Stream) -> Option<Secured> {
        let from = stream.remote();
        let guest = self.room.enter();
        let shaking = timeout(HANDSHAKE_TIMEOUT, self.shake(stream, from));
        let done = tokio::select! {
            done = shaking => done.unwrap_or_else(|_| Err("i/o timeout".into())),
            () = guest.kick.notified() => Err("too many handshakes at once".into()),
        };
        done.map_err(|failure| self.tell(from, &failure)).ok()
    }

    async fn shake(&self, stream: Stream, from: Option<SocketAddr>) -> Result<Secured, Failure> {
        let config = self.config().map_err(|error| format!("tls: {error}"))?;
        let shaken = TlsAcceptor::from(config).accept(stream).await;
        let mut secured = shaken.map_err(|error| words::io_error(error).to_string())?;
        let (_, session) = secured.get_ref();
        let server_name = session.server_name().unwrap_or_default().to_owned();
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let names = shown.map(certificate::names);
        if let (Endpoint::Peer, false, Some(found), Some(from)) =
            (self.endpoint, self.options.any_origin, &names, from)
        {
            let members = self.members.lock().clone();
            if let Err(reason) = origin::check(found, from.ip(), &members).await {
                let _ = secured.shutdown().await;
                return Err(Failure { reason, server_name, names: names.map(Box::new) });
            }
        }
        let name = names.filter(|_| self.options.client_cert_auth).map(|names| names.common);
        let name = name.filter(|name| !name.is_empty()).map(|name| PeerName(name.into()));
        Ok(Secured { stream: Stream::Tls(Box::new(secured.into())), name })
    }

    /// In etcd's words: operators and tools look for them.
    fn tell(&self, from: Option<SocketAddr>, failure: &Failure) {
        let remote_addr = from.map_or_else(|| "@".to_owned(), |from| from.to_string());
        let Failure { reason, server_name, names } = failure;
        let (hosts, addresses) = names.as_ref().map_or_else(Default::default, |names| {
            let addresses: Vec<String> = names.addresses.iter().map(ToString::to_string).collect();
            (names.hosts.join(","), addresses.join(","))
        });
        let message = match self.endpoint {
            Endpoint::Client => "rejected connection on client endpoint",
            Endpoint::Peer => "rejected connection on peer endpoint",
        };
        tracing::warn!(
            remote_addr,
            server_name,
            ip_addresses = addresses,
            dns_names = hosts,
            error = reason,
            "{message}"
        );
    }
}

/// Why a handshake came to nothing.
struct Failure {
    reason: String,
    server_name: String,
    names: Option<Box<Names>>,
}

impl<T: Into<String>> From<T> for Failure {
    fn from(reason: T) -> Failure {
        Failure { reason: reason.into(), server_name: String::new(), names: None }
    }
}

fn build(options: &TlsOptions) -> Result<ServerConfig, String> {
    let (Some(cert), Some(key)) = (&options.cert_file, &options.key_file) else {
        return Err("KeyFile and CertFile are not presented".to_owned());
    };
    let provider = provider(options)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(options))
        .map_err(|error| error.to_string())?;
    let builder = match options.asks_for_certificates() {
        true => {
            let roots = files::roots(options.trusted_ca_file.as_ref())?;
            let guard = Guard::new(options, roots, provider.clone())?;
            builder.with_client_cert_verifier(Arc::new(guard))
        }
        false => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(files::certified(cert, key, &provider)?));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Nobody comes in by a ticket of yesterday: the files may say otherwise today.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The one crypto library, with the suites that may be used.
pub(super) fn provider(options: &TlsOptions) -> Result<Arc<CryptoProvider>, String> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let (chosen, _) = words::suites(&options.cipher_suites)?;
    if !chosen.is_empty() {
        // As in Go: those of TLS 1.3 are not a matter of choice.
        let is_old = |suite: &rustls::SupportedCipherSuite| {
            suite.version().version == rustls::ProtocolVersion::TLSv1_2
        };
        provider.cipher_suites.retain(|suite| !is_old(suite));
        provider.cipher_suites.extend(chosen.into_iter().filter(is_old));
    }
    Ok(Arc::new(provider))
}

/// The versions of the protocol that may be used.
pub(super) fn versions(options: &TlsOptions) -> Vec<&'static SupportedProtocolVersion> {
    let (min, max) = options.versions;
    let (min, max) = (min.unwrap_or(Version::Tls12), max.unwrap_or(Version::Tls13));
    let all = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)];
    all.into_iter().filter(|(one, _)| min <= *one && *one <= max).map(|(_, it)| it).collect()
}
