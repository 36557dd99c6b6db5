//! Where to go, and as whom: the flags of `etcdctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Reach;
use crate::config::duration;

const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to go, and as whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoteFlags {
    /// Client URLs of members, with commas between them
    #[arg(long, value_delimiter = ',', env = "ETCDCTL_ENDPOINTS", value_name = "URL,...")]
    pub(crate) endpoints: Vec<String>,
    /// Authorities that members' certificates may be of [default: those of the system]
    #[arg(long, env = "ETCDCTL_CACERT", value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// A certificate to show
    #[arg(long, env = "ETCDCTL_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "ETCDCTL_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Do not verify the members' certificates
    #[arg(long, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY")]
    insecure_skip_tls_verify: bool,
    /// NAME:PASSWORD, or NAME with --password
    #[arg(long, env = "ETCDCTL_USER", hide_env_values = true, value_name = "NAME[:PASSWORD]")]
    user: Option<String>,
    /// The user's password
    #[arg(long, env = "ETCDCTL_PASSWORD", hide_env_values = true, requires = "user")]
    password: Option<String>,
    /// How long a connection may take to be made
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", default_value = "5s", value_parser = duration::parse)]
    dial_timeout: Duration,
}

impl RemoteFlags {
    /// Where they lead.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            endpoints: self.endpoints.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            is_unverified: self.insecure_skip_tls_verify,
            user: self.user.clone(),
            password: self.password.clone(),
            dial_timeout: self.dial_timeout,
            ping_interval: PING_INTERVAL,
            ping_timeout: PING_TIMEOUT,
        }
    }

    /// Talks to the member that is usually there, if none is named.
    pub(crate) fn or_local(&mut self) {
        if self.endpoints.is_empty() {
            self.endpoints.push("http://127.0.0.1:2379".to_owned());
        }
    }
}
