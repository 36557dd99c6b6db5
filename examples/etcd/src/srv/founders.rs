//! Who founds a cluster, by the records of a domain (`--discovery-srv`).
//!
//! Every member asks the same question, and has to come to the same list. It knows itself by where
//! it is: the record whose target has the address that `--initial-advertise-peer-urls` has.
//!
//! ```text
//!   --initial-advertise-peer-urls=http://10.0.0.2:2380    --name=m2
//!                                        │
//!   m1.DOMAIN:2380 = 10.0.0.1:2380       │   0  = http://m1.DOMAIN:2380
//!   m2.DOMAIN:2380 = 10.0.0.2:2380 ──────┴─► m2 = http://m2.DOMAIN:2380
//!   m3.DOMAIN:2380 = 10.0.0.3:2380           1  = http://m3.DOMAIN:2380
//! ```
//!
//! Names are for people, and each member makes its own known later. What counts, the numbers of
//! members and cluster, follows from the URLs, and those are of the records: the same for all.
//!
//! Records of both services count, those for TLS first. Should both name one address, it is one
//! under TLS.

use anyhow::{Result, bail};

use super::{Record, Search, host_port, resolve};
use crate::config::Founder;
use std::net::SocketAddr;

/// The services, with what is spoken there.
const SERVICES: [(&str, &str); 2] = [("https", "etcd-server-ssl"), ("http", "etcd-server")];

/// A place that is known: its scheme, its `host:port` as it is written, and where that is.
#[derive(Clone, Debug)]
struct Spot {
    scheme: String,
    place: String,
    addresses: Vec<SocketAddr>,
}

impl Spot {
    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.place)
    }

    fn is_at(&self, other: &Spot) -> bool {
        self.addresses.iter().any(|address| other.addresses.contains(address))
    }
}

impl Search {
    /// The members that found the cluster; `own` is the one that asks, and is among them, with the
    /// URLs of the records.
    ///
    /// # Errors
    ///
    /// In etcd's words: if there are no records, or none of them is `own`.
    pub(crate) async fn founders(&self, own: &Founder) -> Result<Vec<Founder>> {
        let wrong = "error setting up initial cluster";
        let mut advertised = Vec::new();
        for url in &own.peer_urls {
            match spot_of(url).await {
                Ok(spot) => advertised.push(spot),
                Err(error) => bail!("{wrong}: {error}"),
            }
        }
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (scheme, base) in SERVICES {
            let service = self.service(base);
            match self.records(&service).await {
                Ok(records) => found.extend(spots(scheme, &records, &mut problems).await),
                Err(error) => {
                    problems.push(format!("error querying DNS SRV records for _{service} {error}"));
                }
            }
            tracing::info!(
                "service-scheme" = scheme,
                "service-name" = service,
                "server-name" = own.name,
                "discovery-srv" = self.domain,
                "advertise-peer-urls" = own.peer_urls.join(","),
                "found-cluster" = urls(&found).join(","),
                "get cluster for {base} SRV"
            );
        }
        let founders = enlist(own, &advertised, found, &mut problems);
        if founders.is_empty() {
            bail!("{wrong}: {}", problems.join("; "));
        }
        for founder in &founders {
            let node = format!("{}={}", founder.name, founder.peer_urls.join(","));
            tracing::info!(node, "got bootstrap from DNS for etcd-server");
        }
        let Some(listed) = founders.iter().find(|founder| founder.name == own.name) else {
            // What was wrong may be why; that one kind of record is missing is not.
            let why = problems.iter().filter(|it| !it.starts_with("error querying"));
            let why: String = why.map(|it| format!("; {it}")).collect();
            bail!("{wrong}: cannot find local etcd member {:?} in SRV records{why}", own.name);
        };
        if listed.peer_urls.len() != own.peer_urls.len() {
            bail!(
                "--initial-advertise-peer-urls has {} but SRV records have {}",
                own.peer_urls.join(","),
                listed.peer_urls.join(",")
            );
        }
        Ok(founders)
    }
}

/// Where a peer URL leads.
async fn spot_of(url: &str) -> Result<Spot> {
    let (scheme, place) = url.split_once("://").unwrap_or(("http", url));
    let place = place.trim_end_matches('/');
    let Some((host, Ok(port))) =
        place.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()))
    else {
        bail!("{url} has no port");
    };
    let addresses = resolve(host.trim_start_matches('[').trim_end_matches(']'), port).await?;
    Ok(Spot { scheme: scheme.to_owned(), place: place.to_owned(), addresses })
}

/// Where records lead; a target that is nowhere is a problem, and left out.
async fn spots(scheme: &str, records: &[Record], problems: &mut Vec<String>) -> Vec<Spot> {
    let mut spots = Vec::new();
    for Record { target, port, .. } in records {
        let (scheme, place) = (scheme.to_owned(), host_port(target, *port));
        match resolve(target, *port).await {
            Ok(addresses) => spots.push(Spot { scheme, place, addresses }),
            Err(error) => {
                tracing::warn!(%error, "failed to resolve during SRV discovery");
                problems.push(error.to_string());
            }
        }
    }
    spots
}

fn urls(spots: &[Spot]) -> Vec<String> {
    spots.iter().map(Spot::url).collect()
}

/// Gives every place that was found a name: its own to what `own` advertises, a number to the
/// others.
fn enlist(
    own: &Founder,
    advertised: &[Spot],
    found: Vec<Spot>,
    problems: &mut Vec<String>,
) -> Vec<Founder> {
    let mut founders: Vec<Founder> = Vec::new();
    let mut known: Vec<Spot> = Vec::new();
    let mut numbers = (0..).map(|number: u32| number.to_string()).filter(|name| *name != own.name);
    for spot in found {
        if known.iter().any(|known| known.is_at(&spot)) {
            continue;
        }
        let url = spot.url();
        match advertised.iter().find(|own| own.is_at(&spot)) {
            Some(here) if here.scheme != spot.scheme => {
                problems.push(format!(
                    "bootstrap at {url} from DNS has scheme mismatch with expected peer {}",
                    here.url()
                ));
                // It may be in the other service as what it is.
                continue;
            }
            Some(_) => match founders.iter_mut().find(|founder| founder.name == own.name) {
                Some(founder) => founder.peer_urls.push(url),
                None => founders.push(Founder { name: own.name.clone(), peer_urls: vec![url] }),
            },
            None => {
                let name = numbers.next().expect("numbers do not end");
                founders.push(Founder { name, peer_urls: vec![url] });
            }
        }
        known.push(spot);
    }
    founders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(url: &str, address: &str) -> Spot {
        let (scheme, place) = url.split_once("://").unwrap();
        let addresses = vec![address.parse().unwrap()];
        Spot { scheme: scheme.to_owned(), place: place.to_owned(), addresses }
    }

    fn check(own: (&str, &[Spot]), found: &[Spot], expected: &[(&str, &str)], problem: &str) {
        let (name, advertised) = own;
        let own = Founder { name: name.to_owned(), peer_urls: urls(advertised) };
        let mut problems = Vec::new();
        let founders = enlist(&own, advertised, found.to_vec(), &mut problems);
        let lines: Vec<(&str, String)> =
            founders.iter().map(|it| (&*it.name, it.peer_urls.join(","))).collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, urls)| (*name, &**urls)).collect();
        assert_eq!(lines, expected);
        assert!(problems.concat().contains(problem), "{problems:?}");
        assert_eq!(problems.is_empty(), problem.is_empty(), "{problems:?}");
    }

    // Whoever took another's place would answer under its number.
    #[test]
    fn own_member_is_known_by_its_address() {
        let all = [
            spot("http://m1.x:1", "10.0.0.1:1"),
            spot("http://m2.x:1", "10.0.0.2:1"),
            spot("http://m3.x:1", "10.0.0.3:1"),
        ];
        let own = [spot("http://10.0.0.2:1", "10.0.0.2:1")];
        let expected = [("0", "http://m1.x:1"), ("m2", "http://m2.x:1"), ("1", "http://m3.x:1")];
        check(("m2", &own), &all, &expected, "");
        // A member that is called like a number does not share it.
        let expected = [("1", "http://m1.x:1"), ("0", "http://m2.x:1"), ("2", "http://m3.x:1")];
        check(("0", &own), &all, &expected, "");
    }

    // A port with two schemes is a mistake that founds two clusters if nobody decides.
    #[test]
    fn one_address_is_one_member_under_tls() {
        let both = [spot("https://m1.x:1", "10.0.0.1:1"), spot("http://m1.x:1", "10.0.0.1:1")];
        let other = [spot("https://m9.x:1", "10.0.0.9:1")];
        check(("m9", &other), &both, &[("0", "https://m1.x:1")], "");
        let plain = [spot("http://10.0.0.1:1", "10.0.0.1:1")];
        let expected = [("m1", "http://m1.x:1")];
        check(("m1", &plain), &both, &expected, "scheme mismatch with expected peer http://10.0");
    }

    // Records are of members, and one member may have several addresses only if it says so.
    #[test]
    fn several_urls_of_ones_own_are_one_member() {
        let found = [spot("http://a.x:1", "10.0.0.1:1"), spot("http://b.x:2", "10.0.0.1:2")];
        let own =
            [spot("http://10.0.0.1:1", "10.0.0.1:1"), spot("http://10.0.0.1:2", "10.0.0.1:2")];
        check(("m", &own), &found, &[("m", "http://a.x:1,http://b.x:2")], "");
    }
}
