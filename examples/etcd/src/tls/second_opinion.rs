//! Certificates that webpki refuses for their form, judged as Go's library judges them.
//!
//! There are two kinds, both in the hands of operators whose etcd takes them:
//!
//! * those of version 1: what `openssl x509 -req` makes of a request, unless it is told of
//!   extensions (until OpenSSL 3.4);
//! * those that are an authority themselves: what `openssl req -x509` makes. RFC 5280 (section
//!   4.2.1.9) has another kind for hosts and people. Small installations use one as both files.
//!
//! ```text
//!   certificate ──► is one of the trusted ─────────────────────────────► taken
//!        │
//!        └─ signed by ─► links of the chain, each an authority ─► a trusted one ─► taken
//! ```
//!
//! Nobody gets in by this door who could not by the other: whoever has the key of an authority can
//! sign a certificate of the usual form, and one of version 1 differs in what it lacks alone.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Version;

use super::signature::{content, has_signed};

/// Links between a certificate and a trusted authority.
const LINKS_MAX: u32 = 6;
/// Signatures that are looked at for one certificate: a chain is a stranger's to make up.
const SIGNATURES_MAX: u32 = 100;

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// By whoever connects.
    Client,
    /// By whoever is connected to.
    Server,
}

/// What a judgement stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds<'a> {
    trusted: &'a RootCertStore,
    algorithms: &'a WebPkiSupportedAlgorithms,
    now: UnixTime,
    purpose: Use,
}

impl<'a> Grounds<'a> {
    /// Whom to trust, what `provider` can verify, and what a certificate is shown for `now`.
    pub(super) fn new(
        trusted: &'a RootCertStore,
        provider: &'a CryptoProvider,
        now: UnixTime,
        purpose: Use,
    ) -> Grounds<'a> {
        let algorithms = &provider.signature_verification_algorithms;
        Grounds { trusted, algorithms, now, purpose }
    }

    /// What there is to say of a certificate that webpki has refused with `error`: nothing, if it
    /// is refused for its form alone.
    ///
    /// # Errors
    ///
    /// The same, or what else is wrong with it.
    pub(super) fn judge(
        &self,
        error: Error,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !is_of_version_one(&error, shown) && !is_authority(&error) {
            return Err(error);
        }
        let Some(parsed) = parse(shown) else { return Err(error) };
        self.is_sound(&parsed)?;
        if self.trusts(shown) {
            return Ok(());
        }
        let links = chain.iter().filter_map(|link| Some((link, parse(link)?)));
        let mut search = Search { grounds: self, links: links.collect(), left: SIGNATURES_MAX };
        match search.climbs(shown, &parsed, 0) {
            true => Ok(()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    /// Whether a certificate is one of the trusted.
    fn trusts(&self, shown: &CertificateDer<'_>) -> bool {
        let mut own = RootCertStore::empty();
        own.add(shown.clone().into_owned()).is_ok()
            && own.roots.iter().all(|anchor| self.trusted.roots.contains(anchor))
    }

    /// Whether a certificate is in date, for this use, and has nothing in it that must be
    /// understood and is not.
    fn is_sound(&self, parsed: &X509Certificate<'_>) -> Result<(), Error> {
        let seconds = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        let dates = parsed.validity();
        if seconds < dates.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if seconds > dates.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        let version = parsed.version();
        if version != X509Version::V3 && !parsed.extensions().is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        let is_strange = |extension: &x509_parser::extensions::X509Extension<'_>| {
            extension.critical
                && !matches!(
                    extension.parsed_extension(),
                    ParsedExtension::BasicConstraints(_)
                        | ParsedExtension::KeyUsage(_)
                        | ParsedExtension::ExtendedKeyUsage(_)
                        | ParsedExtension::SubjectAlternativeName(_)
                )
        };
        if parsed.extensions().iter().any(is_strange) {
            return Err(CertificateError::UnhandledCriticalExtension.into());
        }
        let purposes = parsed.extended_key_usage();
        let purposes = purposes.map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let is_for = purposes.is_none_or(|listed| {
            let named = match self.purpose {
                Use::Client => listed.value.client_auth,
                Use::Server => listed.value.server_auth,
            };
            named || listed.value.any
        });
        if is_for { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, parsed) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(parsed)
}

/// The way from a certificate to a trusted authority.
struct Search<'a> {
    grounds: &'a Grounds<'a>,
    links: Vec<(&'a CertificateDer<'a>, X509Certificate<'a>)>,
    /// Signatures that may still be looked at.
    left: u32,
}

impl Search<'_> {
    /// Whether there is a way up, `below` links above the certificate that was shown.
    fn climbs(&mut self, der: &[u8], parsed: &X509Certificate<'_>, below: u32) -> bool {
        let Grounds { trusted, algorithms, .. } = *self.grounds;
        let Some((issuer, _)) = content(parsed.issuer().as_raw()) else { return false };
        // What webpki has read of a trusted one: names and keys without their outermost heads.
        let named = trusted.roots.iter().filter(|anchor| {
            anchor.subject.as_ref() == issuer && anchor.name_constraints.is_none()
        });
        for anchor in named {
            if self.spend() && has_signed(&anchor.subject_public_key_info, der, algorithms) {
                return true;
            }
        }
        below < LINKS_MAX && (0..self.links.len()).any(|at| self.climbs_by(at, der, parsed, below))
    }

    /// Whether there is one that begins with this link of the chain.
    fn climbs_by(
        &mut self,
        at: usize,
        der: &[u8],
        parsed: &X509Certificate<'_>,
        below: u32,
    ) -> bool {
        let (link_der, link) = self.links[at].clone();
        let Some((info, _)) = content(link.public_key().raw) else { return false };
        link.subject().as_raw() == parsed.issuer().as_raw()
            && may_sign(&link, below)
            && self.grounds.is_sound(&link).is_ok()
            && self.spend()
            && has_signed(info, der, self.grounds.algorithms)
            && self.climbs(link_der, &link, below + 1)
    }

    fn spend(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

/// Whether a link is an authority, with so many links below it. One that is one for some names
/// alone is left to webpki.
fn may_sign(link: &X509Certificate<'_>, below: u32) -> bool {
    let (Ok(constraints), Ok(usage), Ok(names)) =
        (link.basic_constraints(), link.key_usage(), link.name_constraints())
    else {
        return false;
    };
    let is_authority = constraints.is_some_and(|it| {
        it.value.ca && it.value.path_len_constraint.is_none_or(|most| below <= most)
    });
    link.version() == X509Version::V3
        && is_authority
        && names.is_none()
        && usage.is_none_or(|it| it.value.key_cert_sign())
}

/// Whether webpki has nothing against a certificate but that it is an authority. rustls has no word
/// of its own for that.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) = error else {
        return false;
    };
    let reason: &Arc<dyn std::error::Error + Send + Sync> = reason;
    reason.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Whether webpki has nothing against a certificate but its version, whose number it looks for
/// where there is none.
pub(super) fn is_of_version_one(error: &Error, shown: &CertificateDer<'_>) -> bool {
    *error == Error::from(CertificateError::BadEncoding)
        && parse(shown).is_some_and(|parsed| parsed.version() == X509Version::V1)
}
