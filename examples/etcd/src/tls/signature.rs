//! Whether a key has signed something, where webpki will not look at the certificate that it is in.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, ProtocolVersion};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::second_opinion::is_of_version_one;

/// The content of the DER element that `bytes` begin with, and what follows it.
pub(super) fn content(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, element) = Any::from_der(bytes).ok()?;
    Some((element.data, rest))
}

/// The content of a string of whole bytes.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    let (unused, bytes) = bits.split_first()?;
    (*unused == 0).then_some(bytes)
}

/// A public key in the form of X.509, without its outermost head: how it is to be used, and itself.
fn key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (algorithm, rest) = content(info)?;
    let (bits, _) = content(rest)?;
    Some((algorithm, whole_bytes(bits)?))
}

/// Whether a certificate was signed by the key in `info`, in a way that counts for all others.
pub(super) fn has_signed(
    info: &[u8],
    certificate: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let found = || {
        // RFC 5280, section 4.1: what is signed, how, and the signature.
        let (parts, _) = content(certificate)?;
        let (_, rest) = content(parts)?;
        let signed = &parts[..parts.len() - rest.len()];
        let (way, rest) = content(rest)?;
        let (bits, _) = content(rest)?;
        let (kind, key) = key(info)?;
        let signature = whole_bytes(bits)?;
        let mut fitting = algorithms.all.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == way
                && algorithm.public_key_alg_id().as_ref() == kind
        });
        Some(fitting.any(|algorithm| algorithm.verify_signature(key, signed, signature).is_ok()))
    };
    found().unwrap_or(false)
}

/// Whether whoever shakes hands has the key of the certificate that was shown.
///
/// # Errors
///
/// If not.
pub(super) fn of_handshake(
    version: ProtocolVersion,
    message: &[u8],
    shown: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let is_newest = version == ProtocolVersion::TLSv1_3;
    let verified = match is_newest {
        true => verify_tls13_signature(message, shown, signature, algorithms),
        false => verify_tls12_signature(message, shown, signature, algorithms),
    };
    let Err(error) = verified else { return verified };
    if !is_of_version_one(&error, shown) {
        return Err(error);
    }
    let Ok((_, parsed)) = X509Certificate::from_der(shown) else { return Err(error) };
    let info = parsed.public_key().raw;
    if is_newest {
        let info = SubjectPublicKeyInfoDer::from(info);
        return verify_tls13_signature_with_raw_key(message, &info, signature, algorithms);
    }
    let bad = || Error::from(CertificateError::BadSignature);
    let (kind, key) = content(info).and_then(|(info, _)| key(info)).ok_or_else(bad)?;
    let of_scheme = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
    let mut fitting = of_scheme
        .flat_map(|(_, algorithms)| *algorithms)
        .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == kind);
    let is_signed =
        fitting.any(|it| it.verify_signature(key, message, signature.signature()).is_ok());
    if is_signed { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad()) }
}
