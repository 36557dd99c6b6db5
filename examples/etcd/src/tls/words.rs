//! Go's words for what TLS knows: cipher suites, versions, and what goes wrong.
//!
//! Flags name suites and versions as Go does. What goes wrong is logged in Go's words, because that
//! is what operators and tools look for in etcd's log.

use std::io;

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible,
    SupportedCipherSuite,
};

use super::Version;

/// Suites that Go knows and that are spoken here. Those of TLS 1.3 are always on.
const SPOKEN: [(&str, SupportedCipherSuite); 11] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Suites that Go knows and that are spoken here no more: without forward secrecy, or in a mode
/// that was broken.
const RETIRED: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// The suites of these names that are spoken here, and the names of those that are not any more.
///
/// # Errors
///
/// If a name is none that Go knows, or none of them is left.
pub(crate) fn suites(names: &[String]) -> Result<(Vec<SupportedCipherSuite>, Vec<String>), String> {
    let (mut spoken, mut retired) = (Vec::new(), Vec::new());
    for name in names {
        match SPOKEN.iter().find(|(known, _)| known == name) {
            Some((_, suite)) => spoken.push(*suite),
            None if RETIRED.contains(&name.as_str()) => retired.push(name.clone()),
            None => return Err(format!("unexpected TLS cipher suite {name:?}")),
        }
    }
    match spoken.is_empty() && !names.is_empty() {
        true => Err(format!("--cipher-suites: none of {} is spoken here", names.join(","))),
        false => Ok((spoken, retired)),
    }
}

/// A version as the flags name it.
pub(crate) fn version(name: &str) -> Result<Option<Version>, String> {
    match name {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(Version::Tls12)),
        "TLS1.3" => Ok(Some(Version::Tls13)),
        _ => Err(format!("unexpected TLS version {name:?}")),
    }
}

/// An error of a connection under TLS, in Go's words.
pub(crate) fn io_error(error: io::Error) -> io::Error {
    let found = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match found.map(text) {
        Some(text) => io::Error::new(error.kind(), text),
        None if error.kind() == io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "EOF"),
        None => error,
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        Error::InvalidCertificate(reason) => certificate_text(reason),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "tls: first record does not look like a TLS handshake".to_owned(),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "tls: client offered only unsupported versions".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "tls: no cipher suite supported by both client and server".to_owned()
        }
        other => format!("tls: {other}"),
    }
}

fn certificate_text(reason: &CertificateError) -> String {
    let x509 = match reason {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        // It is what `verify.rs` says of somebody who is not on the list.
        CertificateError::NotValidForName => {
            return "client certificate authentication failed".to_owned();
        }
        CertificateError::Revoked => {
            return "transport: certificate revoked by the CRL".to_owned();
        }
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {x509}")
}

fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CloseNotify => "close notify",
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record MAC",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "error decoding message",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::InsufficientSecurity => "insufficient security level",
        AlertDescription::InternalError => "internal error",
        AlertDescription::UserCanceled => "user canceled",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        AlertDescription::CertificateRequired => "certificate required",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    // A misspelt suite must stop the start, in etcd's words; one that Go knows must not.
    #[test]
    fn suites_are_found_by_gos_names() {
        let (spoken, retired) = suites(&names(&[
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_RSA_WITH_AES_128_CBC_SHA",
        ]))
        .unwrap();
        assert_eq!(spoken, [cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
        assert_eq!(retired, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
        assert_eq!(suites(&names(&["FOO"])).unwrap_err(), "unexpected TLS cipher suite \"FOO\"");
        let old = suites(&names(&["TLS_RSA_WITH_RC4_128_SHA"])).unwrap_err();
        assert!(old.contains("none of"), "{old}");
        assert_eq!(suites(&[]), Ok((Vec::new(), Vec::new())));
    }

    // Tools look for the words of an alert.
    #[test]
    fn alerts_are_told_in_gos_words() {
        let alert = Error::AlertReceived(AlertDescription::BadCertificate);
        let told = io_error(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert_eq!(told.to_string(), "remote error: tls: bad certificate");
    }
}
