//! Connections that nobody can listen to, with peers that prove who they are.
//!
//! **The problem.** Certificates expire every few months and are renewed by somebody else, while
//! the member runs. Who may connect is said by flags whose meaning is etcd's, and tools read in the
//! log why somebody was turned away.
//!
//! **The idea.** What the flags say ([`TlsOptions`]) stays as it is; what the files say is looked
//! at again with every handshake, and read again when one of them has changed:
//!
//! ```text
//!   handshake ──► same files as last time? ──── yes ──► the rustls configuration of last time
//!                            │ no
//!                            ▼
//!                read, parse, build ── fails ──► this handshake fails, and the log says why
//! ```
//!
//! Two sides: [`ServerTls`] takes connections (clients, monitoring, other members), [`ClientTls`]
//! makes them (to other members). Who may come in is decided while hands are shaken
//! (`verify.rs`), so that the other side is told; where it comes from, afterwards (`origin.rs`).
//!
//! **Bounds.** A handshake has [`HANDSHAKE_TIMEOUT`](server::HANDSHAKE_TIMEOUT), and so many may be
//! under way at once; beyond that the oldest has to go, so a flood of half-open connections pushes
//! out its own.
//!
//! **Left out.** Sessions are not resumed: whoever was revoked in between would come in again.

use std::path::PathBuf;

mod auto;
mod certificate;
mod client;
mod files;
mod origin;
mod room;
mod second_opinion;
mod server;
mod signature;
mod verify;
mod words;

pub(crate) use auto::make as make_self_signed;
pub(crate) use certificate::common_name;
pub(crate) use client::ClientTls;
pub(crate) use files::read as read_file;
pub(crate) use server::{Endpoint, Secured, ServerTls};
pub(crate) use words::{io_error, suites, version};

/// A version of the protocol that flags can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// What the flags say of one kind of endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsOptions {
    /// What is shown to whoever connects.
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// What is shown to members that are dialled, if not the same.
    pub(crate) client_cert_file: Option<PathBuf>,
    pub(crate) client_key_file: Option<PathBuf>,
    /// Who signs the certificates of the others.
    pub(crate) trusted_ca_file: Option<PathBuf>,
    /// Which certificates are not worth anything any more.
    pub(crate) crl_file: Option<PathBuf>,
    /// Whoever connects has to show a certificate.
    pub(crate) client_cert_auth: bool,
    /// Common names that are let in; none is all.
    pub(crate) allowed_cns: Vec<String>,
    /// Host names that are let in; none is all.
    pub(crate) allowed_hostnames: Vec<String>,
    /// Where somebody comes from need not stand in the certificate.
    pub(crate) any_origin: bool,
    /// Make a certificate if none is given.
    pub(crate) auto: bool,
    /// The certificate was made here: nobody can verify it.
    pub(crate) self_signed: bool,
    /// The lowest and the highest version; `None` is what the library has.
    pub(crate) versions: (Option<Version>, Option<Version>),
    /// Go's names of the cipher suites for TLS 1.2; none is what the library has.
    pub(crate) cipher_suites: Vec<String>,
}

impl TlsOptions {
    /// Whether there is no certificate.
    pub(crate) fn is_empty(&self) -> bool {
        self.cert_file.is_none() && self.key_file.is_none()
    }

    /// Whether whoever connects has to show a certificate: an authority is asked for it as well.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.client_cert_auth || self.trusted_ca_file.is_some()
    }

    /// What is wrong with them, whatever the files hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        let show = |file: &Option<PathBuf>| {
            file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
        };
        let (cert, key) = (show(&self.cert_file), show(&self.key_file));
        if cert.is_empty() || key.is_empty() {
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
            ));
        }
        if self.client_cert_file.is_none() != self.client_key_file.is_none() {
            let (cert, key) = (show(&self.client_cert_file), show(&self.client_key_file));
            return Err(format!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: \
                 key: {key}, cert: {cert}]"
            ));
        }
        if let (Some(_), Some(_)) = (self.allowed_cns.first(), self.allowed_hostnames.first()) {
            return Err(format!(
                "AllowedCN and AllowedHostname are mutually exclusive (cns={:?}, hostnames={:?})",
                self.allowed_cns, self.allowed_hostnames
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
