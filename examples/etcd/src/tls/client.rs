//! Making connections under TLS: of members to each other, and of clients to members.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::files::{self, Stamp};
use super::server::{provider, versions};
use super::verify::Scout;
use super::{TlsOptions, words};
use crate::connection::Stream;

/// Makes connections to members.
#[derive(Debug)]
pub(crate) struct ClientTls {
    options: TlsOptions,
    /// What is spoken, as far as the other side wants to know.
    protocols: &'static [&'static [u8]],
    last: Mutex<Option<(Stamp, Arc<ClientConfig>)>>,
}

impl ClientTls {
    /// As `options` say, whose files must be there.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or used.
    pub(crate) fn new(options: TlsOptions) -> Result<ClientTls, String> {
        ClientTls::speaking(&[], options)
    }

    /// The same for a client: servers in Go hang up on whoever does not say that it is HTTP/2.
    ///
    /// # Errors
    ///
    /// As for [`ClientTls::new`].
    pub(crate) fn for_clients(options: TlsOptions) -> Result<ClientTls, String> {
        ClientTls::speaking(&[b"h2"], options)
    }

    fn speaking(
        protocols: &'static [&'static [u8]],
        options: TlsOptions,
    ) -> Result<ClientTls, String> {
        options.check()?;
        let client = ClientTls { options, protocols, last: Mutex::default() };
        client.config()?;
        Ok(client)
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let options = &self.options;
        let files = [
            &options.cert_file,
            &options.key_file,
            &options.client_cert_file,
            &options.client_key_file,
            &options.trusted_ca_file,
            &options.crl_file,
        ];
        let stamp = Stamp::of(files.map(Option::as_ref));
        let mut last = self.last.lock();
        if let Some((known, config)) = &*last
            && *known == stamp
        {
            return Ok(config.clone());
        }
        let config = Arc::new(build(options, self.protocols)?);
        *last = Some((stamp, config.clone()));
        Ok(config)
    }

    /// Shakes hands with the member that `host` names.
    ///
    /// # Errors
    ///
    /// If it is not that member, or does not want to.
    pub(crate) async fn connect(&self, host: &str, stream: Stream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = self.config().map_err(io::Error::other)?;
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        let secured = shaken.map_err(words::io_error)?;
        Ok(Stream::Tls(Box::new(secured.into())))
    }
}

fn build(options: &TlsOptions, protocols: &[&[u8]]) -> Result<ClientConfig, String> {
    let provider = provider(options)?;
    let roots = files::roots(options.trusted_ca_file.as_ref())?;
    let scout = Scout::new(options, roots, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(options))
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(scout));
    let cert = options.client_cert_file.as_ref().or(options.cert_file.as_ref());
    let key = options.client_key_file.as_ref().or(options.key_file.as_ref());
    let mut config = match (cert, key) {
        (Some(cert), Some(key)) => {
            let certified = files::certified(cert, key, &provider)?;
            builder.with_client_cert_resolver(Arc::new(certified))
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(config)
}
