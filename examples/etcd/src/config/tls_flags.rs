//! The flags about certificates: one family for clients, one for members, some for both.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::flags::parse_bool;
use super::url::split_list;
use crate::tls::{self, TlsOptions, Version};

/// The flags about certificates.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Certificates")]
pub(crate) struct TlsFlags {
    /// Certificate that clients are shown
    #[arg(long, default_value = "", hide_default_value = true)]
    cert_file: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true)]
    key_file: String,
    /// Checked with --client-key-file and otherwise unused: this server connects to no clients
    #[arg(long, default_value = "", hide_default_value = true)]
    client_cert_file: String,
    /// The key of --client-cert-file
    #[arg(long, default_value = "", hide_default_value = true)]
    client_key_file: String,
    /// Clients must show a certificate; its common name is the user, if there are users
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    client_cert_auth: bool,
    /// Certificates of clients that are revoked: a CRL in DER or PEM
    #[arg(long, default_value = "", hide_default_value = true)]
    client_crl_file: String,
    /// Hosts that a client's certificate may be for, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    client_cert_allowed_hostname: String,
    /// Common names that a client's certificate may have; for configuration files
    #[arg(long, default_value = "", hide = true)]
    client_cert_allowed_cn: String,
    /// Authorities that sign the certificates of clients, which must show one
    #[arg(long, default_value = "", hide_default_value = true)]
    trusted_ca_file: String,
    /// Make a certificate for clients where none is given
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    auto_tls: bool,
    /// Certificate that members are shown
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_cert_file: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_key_file: String,
    /// Certificate that members are shown when they are dialled [default: --peer-cert-file]
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_client_cert_file: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_client_key_file: String,
    /// Members must show a certificate
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    peer_client_cert_auth: bool,
    /// Authorities that sign the certificates of members, which must show one
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_trusted_ca_file: String,
    /// Certificates of members that are revoked: a CRL in DER or PEM
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_crl_file: String,
    /// Common names that a member's certificate may have, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_cert_allowed_cn: String,
    /// Hosts that a member's certificate may be for, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    peer_cert_allowed_hostname: String,
    /// A member may come from elsewhere than its certificate says
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    peer_skip_client_san_verification: bool,
    /// Make a certificate for members where none is given
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    peer_auto_tls: bool,
    /// Years that a certificate lives which the member makes for itself
    #[arg(long, default_value_t = 1)]
    pub(crate) self_signed_cert_validity: u32,
    /// Go's names of the cipher suites for TLS 1.2, separated by commas [default: all that are
    /// sound]
    #[arg(long, default_value = "", hide_default_value = true)]
    cipher_suites: String,
    /// TLS1.2 or TLS1.3
    #[arg(long, default_value = "TLS1.2")]
    tls_min_version: String,
    /// TLS1.2 or TLS1.3 [default: TLS1.3]
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_max_version: String,
}

impl TlsFlags {
    /// What they say of clients, and of members.
    ///
    /// # Errors
    ///
    /// If they contradict each other, in etcd's words.
    pub(super) fn options(&self) -> Result<(TlsOptions, TlsOptions), String> {
        let min = tls::version(&self.tls_min_version)?;
        let max = tls::version(&self.tls_max_version)?;
        if min.is_some() && max.is_some() && min > max {
            let (min, max) = (&self.tls_min_version, &self.tls_max_version);
            return Err(format!("min version ({min}) is greater than max version ({max})"));
        }
        let cipher_suites = split_list(&self.cipher_suites);
        if min == Some(Version::Tls13) && !cipher_suites.is_empty() {
            let reason = "cipher suites cannot be configured when only TLS1.3 is enabled";
            return Err(reason.to_owned());
        }
        tls::suites(&cipher_suites)?;
        let both = TlsOptions { versions: (min, max), cipher_suites, ..TlsOptions::default() };
        let clients = TlsOptions {
            cert_file: file(&self.cert_file),
            key_file: file(&self.key_file),
            client_cert_file: file(&self.client_cert_file),
            client_key_file: file(&self.client_key_file),
            trusted_ca_file: file(&self.trusted_ca_file),
            crl_file: file(&self.client_crl_file),
            client_cert_auth: self.client_cert_auth,
            allowed_cns: split_list(&self.client_cert_allowed_cn),
            allowed_hostnames: split_list(&self.client_cert_allowed_hostname),
            any_origin: true,
            auto: self.auto_tls,
            ..both.clone()
        };
        let members = TlsOptions {
            cert_file: file(&self.peer_cert_file),
            key_file: file(&self.peer_key_file),
            client_cert_file: file(&self.peer_client_cert_file),
            client_key_file: file(&self.peer_client_key_file),
            trusted_ca_file: file(&self.peer_trusted_ca_file),
            crl_file: file(&self.peer_crl_file),
            client_cert_auth: self.peer_client_cert_auth,
            allowed_cns: split_list(&self.peer_cert_allowed_cn),
            allowed_hostnames: split_list(&self.peer_cert_allowed_hostname),
            any_origin: self.peer_skip_client_san_verification,
            auto: self.peer_auto_tls,
            ..both
        };
        Ok((clients, members))
    }
}

fn file(name: &str) -> Option<PathBuf> {
    (!name.is_empty()).then(|| PathBuf::from(name))
}
