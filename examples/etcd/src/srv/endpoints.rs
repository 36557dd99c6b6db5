//! Where clients find a cluster, by the records of a domain.
//!
//! Whoever may write records of a domain decides where clients go. So what is found counts only if
//! it shows, under TLS, a certificate for the *domain*: the record leads somewhere, the certificate
//! says that this is right. [`ClientSearch::insecure`] takes whatever is found.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Record, Search, host_port};
use crate::connection::Stream;
use crate::remote::system_authorities;
use crate::tls::{ClientTls, TlsOptions};

/// The services, with what is spoken there.
const SERVICES: [(&str, &str); 2] = [("https", "etcd-client-ssl"), ("http", "etcd-client")];
/// How long somebody may take to show his certificate.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What to look for, and what to believe.
#[derive(Clone, Debug)]
pub(crate) struct ClientSearch {
    pub(crate) search: Search,
    /// What is found counts without a certificate.
    pub(crate) insecure: bool,
    /// Authorities that certificates may be of; without them, those of the system.
    pub(crate) trusted_ca_file: Option<PathBuf>,
}

/// Where clients find a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// TLS is spoken there.
    pub(crate) secure: bool,
    pub(crate) record: Record,
}

impl Endpoint {
    /// Its URL, in which the target of a record has its dot no more.
    pub(crate) fn url(&self) -> String {
        let secure = if self.secure { "s" } else { "" };
        format!("http{secure}://{}", self.address())
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        host_port(&self.record.target, self.record.port)
    }
}

/// The members that clients are to go to, by the records `_etcd-client-ssl._tcp` and
/// `_etcd-client._tcp` of a domain: those that count, so perhaps none.
///
/// # Errors
///
/// If there are no records, in the words of etcd, or the authorities cannot be read.
pub(crate) async fn client_endpoints(wanted: &ClientSearch) -> Result<Vec<Endpoint>> {
    let (mut endpoints, mut failures) = (Vec::new(), Vec::new());
    for (scheme, base) in SERVICES {
        match wanted.search.records(&wanted.search.service(base)).await {
            Ok(records) => endpoints.extend(
                records.into_iter().map(|record| Endpoint { secure: scheme == "https", record }),
            ),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if endpoints.is_empty() {
        bail!("dns lookup errors: {}", failures.join(" and "));
    }
    let domain = wanted.search.domain.as_str();
    let told =
        |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::url).collect::<Vec<_>>().join(",");
    let all = told(&endpoints);
    tracing::info!("srv-server" = domain, endpoints = all, "discovered cluster from SRV");
    if wanted.insecure {
        return Ok(endpoints);
    }
    let what = "validating discovered SRV endpoints";
    tracing::info!("srv-server" = domain, endpoints = all, "{what}");
    let (valid, error) = validate(wanted, endpoints).await?;
    let endpoints = told(&valid);
    match error {
        Some(error) => {
            let what = "failed to validate discovered endpoints";
            tracing::warn!("srv-server" = domain, endpoints, error, "{what}");
        }
        None => {
            let what = "using validated discovered SRV endpoints";
            tracing::info!("srv-server" = domain, endpoints, "{what}");
        }
    }
    Ok(valid)
}

/// Those that prove to be of the domain, and what is wrong with the others.
async fn validate(
    wanted: &ClientSearch,
    endpoints: Vec<Endpoint>,
) -> Result<(Vec<Endpoint>, Option<String>)> {
    let options = TlsOptions {
        trusted_ca_file: wanted.trusted_ca_file.clone().or_else(system_authorities),
        ..TlsOptions::default()
    };
    let tls = Arc::new(ClientTls::for_clients(options).map_err(|error| anyhow!(error))?);
    let domain = wanted.search.domain.trim_end_matches('.');
    let (mut valid, mut wrong) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let url = endpoint.url();
        if !endpoint.secure {
            wrong.push(format!("{url:?} is insecure"));
            continue;
        }
        let shaken = timeout(HANDSHAKE_TIMEOUT, shake_hands(&endpoint, &tls, domain)).await;
        match shaken.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut))) {
            Ok(()) => valid.push(endpoint),
            Err(error) => wrong.push(format!("{url}: {error}")),
        }
    }
    Ok((valid, (!wrong.is_empty()).then(|| wrong.join(","))))
}

async fn shake_hands(endpoint: &Endpoint, tls: &ClientTls, domain: &str) -> std::io::Result<()> {
    let socket = TcpStream::connect(endpoint.address()).await?;
    tls.connect(domain, Stream::Tcp(socket)).await.map(drop)
}
