//! Where people come in: the addresses of the flags, bound, each with the right door.
//!
//! ```text
//!   --listen-client-urls ────────► clients    gRPC and HTTP; gRPC alone if there are
//!   --listen-client-http-urls ───► browsers   HTTP alone
//!   --listen-metrics-urls ───────► monitors   /metrics and probes
//!
//!   http://a:1 + https://a:1 ────► one socket, with a door that opens either way
//! ```

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};

use crate::config::{Config, ListenAddress, ListenUrl};
use crate::data_dir::DataDir;
use crate::listener::{Door, Listener};
use crate::tls::{self, Endpoint, ServerTls, TlsOptions};

/// All addresses for clients and monitoring, bound.
pub(crate) struct Entrances {
    pub(crate) clients: Vec<Listener>,
    pub(crate) browsers: Vec<Listener>,
    pub(crate) monitors: Vec<Listener>,
}

/// What is shown to clients that come under TLS; `None` if nobody can. Everything that is wrong
/// with the certificates is said now.
///
/// # Errors
///
/// If they cannot be used, or there are none where a URL wants them.
pub(crate) fn certificates(config: &Config) -> Result<Option<Arc<ServerTls>>> {
    let options = &config.client_tls;
    for ListenUrl { secure, text, .. } in config.listen_client.iter().chain(&config.listen_http) {
        if *secure && options.is_empty() {
            bail!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {text} \
                 with HTTPS scheme"
            );
        }
        if !secure {
            warn_of_plain(options, text);
        }
    }
    if config.listen_metrics.iter().any(|url| url.secure) && options.is_empty() {
        bail!(
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
        );
    }
    let all = [&config.listen_client, &config.listen_http, &config.listen_metrics];
    if !all.into_iter().flatten().any(|url| url.secure) {
        return Ok(None);
    }
    let tls = ServerTls::new(options.clone(), Endpoint::Client);
    tls.map(Some).map_err(|error| anyhow!("listener failed: {error}"))
}

/// Binds them. To be called on the runtime that is to accept.
///
/// # Errors
///
/// If an address cannot be had.
pub(crate) fn bind(config: &Config, tls: Option<&Arc<ServerTls>>) -> Result<Entrances> {
    let bind = |urls: &[ListenUrl]| bind_all(urls, tls, config.reuse_port);
    Ok(Entrances {
        clients: bind(&config.listen_client)?,
        browsers: bind(&config.listen_http)?,
        monitors: bind(&config.listen_metrics)?,
    })
}

fn warn_of_plain(options: &TlsOptions, client_url: &str) {
    if !options.is_empty() {
        let what = "scheme is http or unix while key and cert files are present; ignoring key and \
             cert files";
        tracing::warn!(client_url, "{what}");
    }
    if options.client_cert_auth {
        let what = "scheme is http or unix while --client-cert-auth is enabled; ignoring client \
             cert auth for this URL";
        tracing::warn!(client_url, "{what}");
    }
}

/// The same for any URLs, each bound once.
///
/// # Errors
///
/// If an address cannot be had.
pub(crate) fn bind_all(
    urls: &[ListenUrl],
    tls: Option<&Arc<ServerTls>>,
    reuse_port: bool,
) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for (at, ListenUrl { address, .. }) in urls.iter().enumerate() {
        // Two URLs with port 0 are two ports.
        let is_open = matches!(address, ListenAddress::Tcp(address) if address.port() == 0);
        let same = |url: &&ListenUrl| !is_open && url.address == *address;
        if urls[..at].iter().any(|url| same(&url)) {
            continue;
        }
        let ways: Vec<bool> = match is_open {
            true => vec![urls[at].secure],
            false => urls.iter().filter(same).map(|url| url.secure).collect(),
        };
        let secured = tls.filter(|_| ways.contains(&true)).cloned();
        let door = Door::new(ways.contains(&false), secured);
        let listener = Listener::bind(address, door, reuse_port);
        listeners.push(listener.with_context(|| match address {
            ListenAddress::Tcp(address) => format!("listen tcp {address}"),
            ListenAddress::Unix(path) => format!("listen unix {}", path.display()),
        })?);
    }
    Ok(listeners)
}

/// Makes the certificates that the member is to make for itself.
///
/// # Errors
///
/// If they cannot be written.
pub(crate) fn make_certificates(config: &mut Config, data_dir: &DataDir) -> Result<()> {
    let years = config.self_signed_years;
    let clients = config.listen_client.iter().chain(&config.listen_http);
    let (clients, peers) = (hosts(clients), hosts(&config.listen_peer));
    let both = [(&mut config.client_tls, "client", clients), (&mut config.peer_tls, "peer", peers)];
    for (options, whose, hosts) in both {
        if !options.auto {
            continue;
        }
        if !options.is_empty() {
            tracing::warn!("ignoring {whose} auto TLS since certs given");
            continue;
        }
        data_dir.make()?;
        let dir = data_dir.path().join("fixtures").join(whose);
        let made = tls::make_self_signed(&dir, &hosts, years);
        let (cert, key) =
            made.with_context(|| format!("cannot generate certificates in {}", dir.display()))?;
        // What else was said of certificates is about others than these.
        *options = TlsOptions {
            cert_file: Some(cert.clone()),
            key_file: Some(key.clone()),
            client_cert_file: Some(cert),
            client_key_file: Some(key),
            self_signed: true,
            versions: options.versions,
            cipher_suites: std::mem::take(&mut options.cipher_suites),
            any_origin: true,
            ..TlsOptions::default()
        };
    }
    Ok(())
}

/// The hosts of URLs, each once.
fn hosts<'a>(urls: impl IntoIterator<Item = &'a ListenUrl>) -> Vec<String> {
    let mut hosts = Vec::new();
    for url in urls {
        let host = url.host().to_owned();
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}
