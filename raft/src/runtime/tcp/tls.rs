//! Connections that nobody can listen to or forge, between nodes that prove who they are.
//!
//! Both sides show a certificate. A node's is valid for the name `node-<id>`, signed by an
//! authority that the cluster trusts: whoever dials node 3 wants `node-3`, and a connection that
//! says it comes from node 2 must have shown `node-2`.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, CommonState, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use webpki::EndEntityCert;

use crate::runtime::tcp::pipe::Pipe;
use crate::types::NodeId;

/// The certificates of one node, ready for use.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// From texts in PEM: the authorities that sign nodes' certificates, this node's certificate
    /// and what links it to them, and its private key.
    ///
    /// # Errors
    /// If one of them cannot be read or used.
    pub fn from_pem(authorities: &[u8], chain: &[u8], key: &[u8]) -> io::Result<Tls> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(invalid)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(invalid)?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            roots.add(authority.map_err(invalid)?).map_err(invalid)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(invalid)?;
        let only = [&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&only)
            .map_err(invalid)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(invalid)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&only)
            .map_err(invalid)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(invalid)?;
        let (connector, acceptor) = (Arc::new(client).into(), Arc::new(server).into());
        Ok(Tls { connector, acceptor })
    }

    pub(super) async fn connect(&self, to: NodeId, socket: TcpStream) -> io::Result<Box<dyn Pipe>> {
        Ok(Box::new(self.connector.connect(name(to), socket).await?))
    }

    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<Box<dyn Pipe>> {
        Ok(Box::new(self.acceptor.accept(socket).await?))
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn name(node: NodeId) -> ServerName<'static> {
    ServerName::try_from(format!("node-{node}")).expect("letters, a dash and digits are a name")
}

/// Whether the certificate that was shown, and verified, is this node's.
fn shown(connection: &CommonState, node: NodeId) -> bool {
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    certificate.and_then(|certificate| EndEntityCert::try_from(certificate).ok()).is_some_and(
        |certificate| certificate.verify_is_valid_for_subject_name(&name(node)).is_ok(),
    )
}

impl Pipe for client::TlsStream<TcpStream> {
    fn vouches_for(&self, node: NodeId) -> bool {
        shown(self.get_ref().1, node)
    }
}

impl Pipe for server::TlsStream<TcpStream> {
    fn vouches_for(&self, node: NodeId) -> bool {
        shown(self.get_ref().1, node)
    }
}
