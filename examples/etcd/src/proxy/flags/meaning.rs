//! What the flags come to, each for the part that it concerns.

use std::path::PathBuf;
use std::time::Duration;

use super::Words;
use crate::config::url::split_list;
use crate::connection::Manners;
use crate::proxy::cluster::{Advertised, Register};
use crate::proxy::message::Sizes;
use crate::proxy::upstream::DIAL_TIMEOUT;
use crate::remote::Reach;
use crate::srv::{ClientSearch, Search};
use crate::tls::{self, TlsOptions, Version};

/// What gRPC in Go takes of a client.
const RECEIVED_BYTES_MAX: usize = 4 << 20;
/// How often the members are pinged while calls are open, if the operator does not say.
/// Clients in Go ping no more often, and members end connections that do.
const PING_INTERVAL: Duration = Duration::from_secs(10);

impl Words {
    /// The way to the members.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            endpoints: self.endpoints.iter().flat_map(|list| split_list(list)).collect(),
            cacert: file(&self.cacert),
            cert: file(&self.cert),
            key: file(&self.key),
            is_unverified: self.switches.is_on("insecure-skip-tls-verify"),
            user: None,
            password: None,
            dial_timeout: DIAL_TIMEOUT,
            ping_interval: self.dial_keepalive_time.max(PING_INTERVAL),
            ping_timeout: self.dial_keepalive_timeout,
        }
    }

    /// How often the members are asked who they are, if they are.
    pub(crate) fn sync_interval(&self) -> Option<Duration> {
        Some(self.endpoints_auto_sync_interval).filter(|interval| !interval.is_zero())
    }

    /// Whether serializable reads never go back.
    pub(crate) fn keeps_order(&self) -> bool {
        self.switches.is_on("experimental-serializable-ordering")
    }

    /// What lease keys begin with, if reads are leased.
    pub(crate) fn leasing_prefix(&self) -> Option<&str> {
        Some(&self.experimental_leasing_prefix[..]).filter(|prefix| !prefix.is_empty())
    }

    /// Which records name the members, if any do.
    pub(crate) fn search(&self) -> Option<ClientSearch> {
        let search =
            Search { domain: self.discovery_srv.clone(), name: self.discovery_srv_name.clone() };
        let insecure = self.switches.is_on("insecure-discovery");
        let wanted = ClientSearch { search, insecure, trusted_ca_file: file(&self.cacert) };
        (!self.discovery_srv.is_empty()).then_some(wanted)
    }

    /// The certificate that members are shown, if there is one.
    pub(crate) fn shown_certificate(&self) -> Option<PathBuf> {
        file(&self.cert)
    }

    /// Whether members are pinged while no call is open.
    pub(crate) fn pings_idle(&self) -> bool {
        self.switches.is_on("permit-without-stream")
    }

    /// What clients are shown and asked for; nothing, if they come in the clear.
    ///
    /// # Errors
    ///
    /// If the flags contradict each other.
    pub(crate) fn client_tls(&self) -> Result<Option<TlsOptions>, String> {
        let wrong = |flag, error| format!("{flag} is invalid: {error}");
        let min = tls::version(&self.tls_min_version);
        let min = min.map_err(|error| wrong("tls-min-version", error))?;
        let max = tls::version(&self.tls_max_version);
        let max = max.map_err(|error| wrong("tls-max-version", error))?;
        if min.is_some() && max.is_some() && min > max {
            let (min, max) = (&self.tls_min_version, &self.tls_max_version);
            return Err(format!("min version ({min}) is greater than max version ({max})"));
        }
        let cipher_suites = split_list(&self.listen_cipher_suites);
        if min == Some(Version::Tls13) && !cipher_suites.is_empty() {
            let reason = "cipher suites cannot be configured when only TLS1.3 is enabled";
            return Err(reason.to_owned());
        }
        tls::suites(&cipher_suites)?;
        let options = TlsOptions {
            cert_file: file(&self.cert_file),
            key_file: file(&self.key_file),
            trusted_ca_file: file(&self.trusted_ca_file),
            crl_file: file(&self.client_crl_file),
            any_origin: true,
            auto: self.switches.is_on("auto-tls"),
            versions: (min, max),
            cipher_suites,
            ..TlsOptions::default()
        };
        let is_asked = !options.is_empty() || options.trusted_ca_file.is_some() || options.auto;
        Ok(Some(options).filter(|_| is_asked))
    }

    /// Where a certificate is to be made, and for how many years.
    pub(crate) fn fixtures(&self) -> (PathBuf, u32) {
        let dir = self.data_dir.join("fixtures").join("proxy");
        (dir, self.self_signed_cert_validity)
    }

    /// How large messages may be.
    pub(crate) fn sizes(&self) -> Sizes {
        let or_else = |bytes: i64, otherwise: usize| match usize::try_from(bytes) {
            Ok(bytes) if bytes > 0 => bytes,
            // As in etcd, nothing and less are what they would be without the flag.
            _ => otherwise,
        };
        let whole = i32::MAX as usize;
        Sizes {
            received_max: RECEIVED_BYTES_MAX,
            sent_max: or_else(self.max_send_bytes, 2 << 20),
            answer_max: or_else(self.max_recv_bytes, whole),
        }
    }

    /// How clients' connections are served.
    pub(crate) fn manners(&self) -> Manners {
        let pings = Some(self.grpc_keepalive_interval).filter(|interval| !interval.is_zero());
        Manners {
            ping_interval: pings,
            ping_timeout: self.grpc_keepalive_timeout,
            ping_pace: self.grpc_keepalive_min_time,
            streams_max: self.max_concurrent_streams,
        }
    }

    /// What clients are told of the proxies.
    pub(crate) fn advertised(&self, name: String) -> Advertised {
        let register =
            Register { prefix: self.resolver_prefix.clone(), ttl_seconds: self.resolver_ttl };
        Advertised {
            url: self.advertise_client_url.clone(),
            name,
            register: Some(register).filter(|register| !register.prefix.is_empty()),
        }
    }

    /// The least level of what is logged.
    pub(crate) fn log_level(&self) -> &'static str {
        if self.switches.is_on("debug") { "debug" } else { "info" }
    }

    /// Whether each call is logged.
    pub(crate) fn logs_calls(&self) -> bool {
        self.switches.is_on("experimental-enable-grpc-logging")
    }
}

fn file(name: &str) -> Option<PathBuf> {
    (!name.is_empty()).then(|| PathBuf::from(name))
}
