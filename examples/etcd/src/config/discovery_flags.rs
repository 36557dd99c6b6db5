//! The flags about finding the other founders: through another etcd, or through DNS.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::duration;
use super::flags::parse_bool;
use super::url::split_list;
use crate::discovery::Discovery;
use crate::remote::Reach;
use crate::srv::Search;

/// Where the founders of a cluster meet, and how that etcd is reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Discovery")]
pub(crate) struct DiscoveryFlags {
    /// Name of the cluster in the etcd where its founders meet; stands in the place of
    /// --initial-cluster-token
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_token: String,
    /// Client URLs of that etcd, separated by commas
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_endpoints: String,
    /// How long it may take to connect to it
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    discovery_dial_timeout: Duration,
    /// How long it may take to answer
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    discovery_request_timeout: Duration,
    /// Pings to it while it is waited for; no closer than every 10 s, as with etcd
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    discovery_keepalive_time: Duration,
    /// How long a ping may stay unanswered
    #[arg(long, default_value = "6s", value_parser = duration::parse)]
    discovery_keepalive_timeout: Duration,
    /// Endpoints without http:// or https:// are reached without TLS
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "true", default_missing_value = "true", require_equals = true)]
    discovery_insecure_transport: bool,
    /// Its certificate is not verified
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    discovery_insecure_skip_tls_verify: bool,
    /// Certificate to show to it
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_cert: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_key: String,
    /// Authorities that its certificate may be of [default: those of the system]
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_cacert: String,
    /// NAME[:PASSWORD] of a user there
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_user: String,
    /// The password, if --discovery-user does not have it
    #[arg(long, default_value = "", hide_default_value = true)]
    discovery_password: String,
    /// Domain whose SRV records name the founders: _etcd-server-ssl._tcp and _etcd-server._tcp
    #[arg(long, default_value = "", hide_default_value = true, value_name = "DOMAIN")]
    discovery_srv: String,
    /// What follows the names of those services: _etcd-server-NAME._tcp
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    discovery_srv_name: String,
}

impl DiscoveryFlags {
    /// Whether there is one way to find the founders, at most.
    ///
    /// # Errors
    ///
    /// If there are several.
    pub(super) fn check(&self, initial_cluster: &str) -> Result<(), String> {
        let ways = [initial_cluster, &self.discovery_srv, &self.discovery_endpoints];
        match ways.iter().filter(|way| !way.is_empty()).count() {
            0 | 1 => Ok(()),
            _ => Err("multiple discovery or bootstrap flags are set. Choose one of \
                \"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\""
                .to_owned()),
        }
    }

    /// Whose records are to be asked, if any.
    pub(super) fn search(&self) -> Option<Search> {
        let (domain, name) = (self.discovery_srv.clone(), self.discovery_srv_name.clone());
        (!domain.is_empty()).then_some(Search { domain, name })
    }

    /// The etcd to be asked, if any.
    ///
    /// # Errors
    ///
    /// If only half of it is said.
    pub(super) fn discovery(&self) -> Result<Option<Discovery>, String> {
        let endpoints = split_list(&self.discovery_endpoints);
        match (self.discovery_token.is_empty(), endpoints.is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => {}
            _ => {
                return Err("both --discovery-token and --discovery-endpoints must be set".into());
            }
        }
        if self.discovery_cert.is_empty() != self.discovery_key.is_empty() {
            return Err("--discovery-cert and --discovery-key belong together".to_owned());
        }
        let scheme = if self.discovery_insecure_transport { "http" } else { "https" };
        let whole = |url: String| match url.contains("://") {
            true => url,
            false => format!("{scheme}://{url}"),
        };
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let file = |path: &str| given(path).map(PathBuf::from);
        let reach = Reach {
            endpoints: endpoints.into_iter().map(whole).collect(),
            cacert: file(&self.discovery_cacert),
            cert: file(&self.discovery_cert),
            key: file(&self.discovery_key),
            is_unverified: self.discovery_insecure_skip_tls_verify,
            user: given(&self.discovery_user),
            password: given(&self.discovery_password),
            dial_timeout: self.discovery_dial_timeout,
            ping_interval: self.discovery_keepalive_time,
            ping_timeout: self.discovery_keepalive_timeout,
        };
        let (token, request_timeout) =
            (self.discovery_token.clone(), self.discovery_request_timeout);
        Ok(Some(Discovery { token, reach, request_timeout }))
    }
}
