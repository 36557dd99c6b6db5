//! Who is let in: beyond what a signature proves, whether they are on the list.
//!
//! ```text
//!   certificate ──► signed by an authority, in date, for this use (webpki, or a second opinion)
//!               ──► not revoked ──► its common name, or a host of it, is allowed
//! ```
//!
//! The same holds in both directions between members: whoever is dialled must be on the list too.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ProtocolVersion,
    RootCertStore, SignatureScheme,
};

use super::second_opinion::{Grounds, Use};
use super::{TlsOptions, certificate, files, signature};

/// What a certificate has to fulfil beyond its signature.
#[derive(Debug)]
struct Judge {
    common_names: Vec<String>,
    hosts: Vec<String>,
    revoked: HashSet<Vec<u8>>,
}

impl Judge {
    fn new(options: &TlsOptions) -> Result<Judge, String> {
        let list = options.crl_file.as_deref().map(files::read).transpose()?;
        let revoked = list.map(|list| certificate::revoked(&list)).transpose()?;
        Ok(Judge {
            common_names: options.allowed_cns.clone(),
            hosts: options.allowed_hostnames.clone(),
            revoked: revoked.unwrap_or_default(),
        })
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let names = certificate::names(end_entity);
        let mut serials = chain.iter().map(|link| certificate::names(link).serial);
        if self.revoked.contains(&names.serial)
            || (!self.revoked.is_empty() && serials.any(|serial| self.revoked.contains(&serial)))
        {
            return Err(CertificateError::Revoked.into());
        }
        let is_named = self.common_names.is_empty() || self.common_names.contains(&names.common);
        let is_hosted = self.hosts.is_empty()
            || self.hosts.iter().any(|host| certificate::is_for(&names, host));
        match is_named && is_hosted {
            true => Ok(()),
            // The other side hears "bad certificate", which is what tools wait for.
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
}

/// Judges whoever connects.
#[derive(Debug)]
pub(super) struct Guard {
    /// `None` where no authority is given: then nobody's signature is known.
    signed: Option<Arc<dyn ClientCertVerifier>>,
    roots: Arc<RootCertStore>,
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl Guard {
    pub(super) fn new(
        options: &TlsOptions,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Guard, String> {
        let (judge, roots) = (Judge::new(options)?, Arc::new(roots));
        let signed = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                    .build()
                    .map_err(|error| error.to_string())?,
            ),
        };
        Ok(Guard { signed, roots, judge, provider })
    }
}

impl ClientCertVerifier for Guard {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.as_ref().map_or(&[], |signed| signed.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let unknown = || Error::from(CertificateError::UnknownIssuer);
        let signed = self.signed.as_ref().ok_or_else(unknown)?;
        if let Err(error) = signed.verify_client_cert(end_entity, chain, now) {
            let error = plainly(error);
            let grounds = Grounds::new(&self.roots, &self.provider, now, Use::Client);
            grounds.judge(error, end_entity, chain)?;
        }
        self.judge.judge(end_entity, chain)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        signature::of_handshake(ProtocolVersion::TLSv1_2, message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        signature::of_handshake(ProtocolVersion::TLSv1_3, message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// An authority of the same name and with another key is unknown, like any other.
fn plainly(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        error => error,
    }
}

/// Judges the members that are dialled.
#[derive(Debug)]
pub(super) struct Scout {
    trust: Trust,
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trust {
    /// In those whom an authority has signed.
    Signed(Arc<WebPkiServerVerifier>, Arc<RootCertStore>),
    /// In nobody, for want of an authority.
    Nobody,
    /// In everybody: certificates that members make for themselves keep listeners out, not liars.
    Everybody,
}

impl Scout {
    pub(super) fn new(
        options: &TlsOptions,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Scout, String> {
        let judge = Judge::new(options)?;
        let trust = if options.self_signed {
            Trust::Everybody
        } else if roots.is_empty() {
            Trust::Nobody
        } else {
            let roots = Arc::new(roots);
            let builder =
                WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
            Trust::Signed(builder.build().map_err(|error| error.to_string())?, roots)
        };
        Ok(Scout { trust, judge, provider })
    }
}

impl ServerCertVerifier for Scout {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Everybody => return Ok(ServerCertVerified::assertion()),
            Trust::Nobody => return Err(CertificateError::UnknownIssuer.into()),
            Trust::Signed(signed, roots) => {
                let verified = signed.verify_server_cert(end_entity, chain, name, ocsp, now);
                if let Err(error) = verified {
                    let error = plainly(error);
                    let grounds = Grounds::new(roots, &self.provider, now, Use::Server);
                    grounds.judge(error, end_entity, chain)?;
                    let names = certificate::names(end_entity);
                    if !certificate::is_for(&names, &name.to_str()) {
                        return Err(CertificateError::NotValidForName.into());
                    }
                }
            }
        }
        self.judge.judge(end_entity, chain)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        signature::of_handshake(ProtocolVersion::TLSv1_2, message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        signature::of_handshake(ProtocolVersion::TLSv1_3, message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
