//! A certificate that is its own authority: what `openssl req -x509` makes, and what small
//! installations use as both files at once.
//!
//! It says of itself that it is an authority, and RFC 5280 (section 4.2.1.9) has another kind for
//! hosts and people, so webpki refuses it. etcd does not: a certificate that stands among the
//! trusted ones is trusted, if it is in date and for this use. Whoever shows it has its key, which
//! is that of the authority, and could have signed any other.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// By whoever connects.
    Client,
    /// By whoever is connected to.
    Server,
}

/// What there is to say of a certificate that webpki has refused with `error`: nothing, if it is
/// refused for being an authority alone, and is one that is trusted.
///
/// # Errors
///
/// The same, or what else is wrong with it.
pub(super) fn judge(
    error: Error,
    shown: &CertificateDer<'_>,
    trusted: &RootCertStore,
    now: UnixTime,
    purpose: Use,
) -> Result<(), Error> {
    if !is_for_being_one(&error) {
        return Err(error);
    }
    let mut own = RootCertStore::empty();
    let is_trusted = own.add(shown.clone().into_owned()).is_ok()
        && own.roots.iter().all(|anchor| trusted.roots.contains(anchor));
    let Ok((_, parsed)) = X509Certificate::from_der(shown) else { return Err(error) };
    if !is_trusted {
        return Err(CertificateError::UnknownIssuer.into());
    }
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let dates = parsed.validity();
    if seconds < dates.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if seconds > dates.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let purposes = parsed.extended_key_usage();
    let purposes = purposes.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let is_for = purposes.is_none_or(|listed| {
        let named = match purpose {
            Use::Client => listed.value.client_auth,
            Use::Server => listed.value.server_auth,
        };
        named || listed.value.any
    });
    if is_for { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
}

/// Whether that is all that webpki has against it.
fn is_for_being_one(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) = error else {
        return false;
    };
    let reason: &Arc<dyn std::error::Error + Send + Sync> = reason;
    reason.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}
