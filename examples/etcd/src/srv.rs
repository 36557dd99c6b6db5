//! Where a cluster is, as the domain name system knows it: SRV records (RFC 2782).
//!
//! ```text
//!   _etcd-server-ssl._tcp.DOMAIN ┐                    ┌ 0 0 2380 m1.DOMAIN.
//!   _etcd-server._tcp.DOMAIN     ┘ members, to found  │ 0 0 2380 m2.DOMAIN.
//!                                                     │ │ │ └ port, and where that is
//!   _etcd-client-ssl._tcp.DOMAIN ┐                    │ └ weight, among those of one priority
//!   _etcd-client._tcp.DOMAIN     ┘ for clients        └ priority: the lowest counts
//! ```
//!
//! Whoever sets up a cluster writes records in place of lists on every command line. Services may
//! have a suffix (`_etcd-server-NAME`), so that several clusters share a domain.
//!
//! Two questions are asked of them: who founds a cluster ([`Search::founders`]), and where clients
//! find one ([`client_endpoints`]).
//!
//! **What is asked how.** Records are asked for by the library `domain`, of the servers and with
//! the search list in `/etc/resolv.conf`; where an answer does not fit a datagram, once more over
//! TCP. The addresses of targets come from the system's resolver, as everywhere else, and so from
//! `/etc/hosts` too.
//!
//! **Left out.** Answers are not kept: nobody asks twice. Signatures (DNSSEC) are for the server in
//! `resolv.conf` to check.

mod endpoints;
mod founders;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::{FromStrError, Name};
use domain::base::{ParsedName, Question};
use domain::rdata::Srv;
use domain::resolv::StubResolver;

pub(crate) use endpoints::{ClientSearch, Endpoint as ClientEndpoint, client_endpoints};

/// One SRV record. The order is that in which they are to be tried, and else any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    /// The lowest is to be tried first.
    pub(crate) priority: u16,
    /// A host, without the dot at its end.
    pub(crate) target: String,
    pub(crate) port: u16,
    /// How often it is to be taken, compared with others of its priority.
    pub(crate) weight: u16,
}

/// Which records: `--discovery-srv`, `--discovery-srv-name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// The domain that has them.
    pub(crate) domain: String,
    /// What follows the names of services; empty is nothing.
    pub(crate) name: String,
}

/// Why there are no records.
#[derive(Debug)]
pub(crate) struct LookupError {
    /// What was looked for.
    name: String,
    /// Who was asked, if there is only one.
    server: Option<SocketAddr>,
    reason: String,
}

impl fmt::Display for LookupError {
    /// In Go's words, which operators of etcd know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lookup {}", self.name)?;
        if let Some(server) = self.server {
            write!(f, " on {server}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for LookupError {}

impl Search {
    /// The service's name in this search: `etcd-server-ssl`, `etcd-server-ssl-NAME`.
    fn service(&self, base: &str) -> String {
        match self.name.as_str() {
            "" => base.to_owned(),
            name => format!("{base}-{name}"),
        }
    }

    /// The records of a service, those first that are to be tried first.
    async fn records(&self, service: &str) -> Result<Vec<Record>, LookupError> {
        let name = format!("_{service}._tcp.{}", self.domain);
        let resolver = StubResolver::new();
        let server = sole_server();
        let error = |reason: String| LookupError { name: name.clone(), server, reason };
        let mut reason = "no such host".to_owned();
        for candidate in candidates(&name, &resolver).map_err(|bad| error(bad.to_string()))? {
            match ask(&resolver, candidate).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                // Another suffix may still be known; if none is, this is what is told.
                Err(failed) => reason = failed,
            }
        }
        Err(error(reason))
    }
}

/// The full names that a name may stand for, in the order in which they are tried: by the search
/// list, unless it ends with a dot.
fn candidates(name: &str, resolver: &StubResolver) -> Result<Vec<Name<Vec<u8>>>, FromStrError> {
    let options = resolver.options();
    let whole = Name::vec_from_str(name)?;
    if name.ends_with('.') {
        return Ok(vec![whole]);
    }
    let suffixes = options.search.as_slice().iter().filter(|suffix| !suffix.is_root());
    // A suffix that makes it too long cannot be meant.
    let suffixed =
        suffixes.filter_map(|suffix| Name::vec_from_str(&format!("{name}.{suffix}")).ok());
    let mut all: Vec<_> = suffixed.collect();
    let is_whole = name.matches('.').count() >= options.ndots;
    all.insert(if is_whole { 0 } else { all.len() }, whole);
    Ok(all)
}

/// The server that is asked, if it is the only one.
fn sole_server() -> Option<SocketAddr> {
    match &domain::resolv::stub::conf::ResolvConf::default().servers[..] {
        [server] => Some(server.addr),
        _ => None,
    }
}

/// The records of one full name; none if it is not there, or has others only.
async fn ask(resolver: &StubResolver, name: Name<Vec<u8>>) -> Result<Vec<Record>, String> {
    let question = Question::new(name, Rtype::SRV, Class::IN);
    let answer = resolver.query(question).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    })?;
    match answer.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Ok(Vec::new()),
        _ => return Err("server misbehaving".to_owned()),
    }
    let malformed = "cannot unmarshal DNS message";
    let found = answer.answer().map_err(|error| format!("{malformed}: {error}"))?;
    let mut records = Vec::new();
    for record in found.limit_to_in::<Srv<ParsedName<_>>>() {
        let record = record.map_err(|error| format!("{malformed}: {error}"))?;
        let record = record.data();
        // "The service is decidedly not available at this domain", says RFC 2782 of the root.
        let target = record.target().to_string();
        if target.is_empty() || target == "." {
            continue;
        }
        let (priority, weight, port) = (record.priority(), record.weight(), record.port());
        records.push(Record { priority, target, port, weight });
    }
    records.sort();
    Ok(records)
}

/// The addresses of `host:port`.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
    let error = |reason: String| LookupError { name: host.to_owned(), server: None, reason };
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.dedup();
            match found.is_empty() {
                true => Err(error("no such host".to_owned())),
                false => Ok(found),
            }
        }
        Err(failed) => Err(error(match failed.raw_os_error() {
            Some(_) => failed.to_string(),
            // What the resolver says, which has no number.
            None => "no such host".to_owned(),
        })),
    }
}

/// A host and a port as they stand in a URL.
fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::resolv::stub::conf::ResolvConf;

    fn names(name: &str, conf: &str) -> Vec<String> {
        let mut read = ResolvConf::new();
        read.parse(&mut conf.as_bytes()).unwrap();
        read.finalize();
        let names = candidates(name, &StubResolver::from_conf(read)).unwrap();
        names.iter().map(ToString::to_string).collect()
    }

    // Inside kubernetes every name is tried with suffixes first; elsewhere hardly any is.
    #[test]
    fn search_list_decides_what_a_name_may_stand_for() {
        let name = "_etcd-server._tcp.a.b";
        assert_eq!(names(name, "nameserver 10.0.0.1"), [name]);
        assert_eq!(
            names(name, "search x.y z"),
            [name, &format!("{name}.x.y"), &format!("{name}.z")]
        );
        let many = "search x.y z\noptions ndots:5";
        assert_eq!(names(name, many), [&format!("{name}.x.y"), &format!("{name}.z"), name]);
        assert_eq!(names(&format!("{name}."), many), [name]);
    }

    // Two clusters of one domain have different services, and etcd puts the suffix last.
    #[test]
    fn service_has_the_suffix_at_its_end() {
        let search = |name: &str| Search { domain: "a.b".to_owned(), name: name.to_owned() };
        assert_eq!(search("").service("etcd-server-ssl"), "etcd-server-ssl");
        assert_eq!(search("x").service("etcd-server-ssl"), "etcd-server-ssl-x");
    }
}
