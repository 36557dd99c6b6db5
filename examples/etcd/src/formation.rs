//! Who this member is, and who else there is, when it starts.
//!
//! ```text
//!   data directory has an identity ──► that one, and the members it last knew; flags are ignored
//!   --initial-cluster-state=new ─────► a founder: all founders work out the same numbers
//!   --discovery-endpoints ───────────► a founder, who finds the others through another etcd
//!   --discovery-srv ─────────────────► either, with the others that the records of a domain name
//!   --initial-cluster-state=existing ► a newcomer: it asks the others which number it was given
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use drystone_kv::members::Member;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use crate::config::{Config, Founder};
use crate::identity::{ClusterId, Identity, MemberId};
use crate::peers::{Dialler, Heard, Known, members_at};

/// How long one of the others may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a newcomer waits for an answer that a quorum confirms.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds of asking.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Who this member is, and who else there is.
#[derive(Debug)]
pub(crate) struct Formation {
    /// Who this is.
    pub(crate) identity: Identity,
    /// Whom the cluster begins with; nobody for a newcomer, who is told.
    pub(crate) founders: Vec<Member>,
    /// Where they all are.
    pub(crate) known: Known,
}

/// Finds out, for a member that has the data of `identity`, or is new.
///
/// # Errors
///
/// If none of the others answers, or they know of no such member.
pub(crate) async fn form(
    config: &Config,
    identity: Option<Identity>,
    known: &Known,
    dialler: &Dialler,
) -> Result<Formation> {
    if let Some(identity) = identity {
        return Ok(comes_back(config, identity, known));
    }
    if let Some(search) = &config.srv {
        let own = Founder { name: config.name.clone(), peer_urls: config.peer_urls.clone() };
        let founders = search.founders(&own).await?;
        // Others know this member by its record, so that is where it says that it is.
        let own = founders.iter().find(|founder| founder.name == config.name);
        let peer_urls = own.map_or_else(Vec::new, |own| own.peer_urls.clone());
        let config = Config { founders, peer_urls, ..config.clone() };
        return match config.existing {
            true => join(&config, dialler).await,
            false => Ok(found(&config)),
        };
    }
    check_advertised(config)?;
    if config.existing {
        return join(config, dialler).await;
    }
    if let Some(discovery) = &config.discovery {
        let own = Founder { name: config.name.clone(), peer_urls: config.peer_urls.clone() };
        let founders = discovery.founders(&own).await?;
        let config = Config { founders, token: discovery.token.clone(), ..config.clone() };
        check_advertised(&config)?;
        return Ok(found(&config));
    }
    Ok(found(config))
}

/// The two flags that say where this member is must agree. Not of a member that comes back: it may
/// have moved, and the flags still say where it began.
pub(crate) fn check_advertised(config: &Config) -> Result<()> {
    let own = config.founders.iter().find(|founder| founder.name == config.name);
    let own = own.map_or(&[][..], |own| &own.peer_urls);
    if !same(own, &config.peer_urls) {
        bail!(
            "--initial-cluster has {}={} but --initial-advertise-peer-urls has {}",
            config.name,
            own.join(","),
            config.peer_urls.join(",")
        );
    }
    Ok(())
}

/// The place of a founder.
pub(crate) fn found(config: &Config) -> Formation {
    let id = |founder: &Founder| MemberId::of_founder(&founder.peer_urls, &config.token);
    let member = |founder: &Founder| member(id(founder), founder);
    let founders: Vec<Member> = config.founders.iter().map(member).collect();
    let cluster = ClusterId::of_founders(founders.iter().map(|member| MemberId(member.id)));
    let own = config.founders.iter().find(|founder| founder.name == config.name);
    let own = id(own.expect("the flags were checked for it"));
    let known = Known::among(&founders);
    Formation { identity: Identity { cluster, member: own }, founders, known }
}

/// A member that has been here before. Should the cluster never have come to be, it is founded by
/// those that were meant to.
fn comes_back(config: &Config, identity: Identity, known: &Known) -> Formation {
    let names: BTreeMap<MemberId, &Founder> = config
        .founders
        .iter()
        .map(|founder| (MemberId::of_founder(&founder.peer_urls, &config.token), founder))
        .collect();
    let founders = known.members.iter().map(|(id, urls)| {
        let name = names.get(&MemberId(*id)).map_or("", |founder| founder.name.as_str());
        member(MemberId(*id), &Founder { name: name.to_owned(), peer_urls: urls.clone() })
    });
    let founders: Vec<Member> = founders.collect();
    let is_one = founders.iter().any(|founder| founder.id == identity.member.0);
    // A newcomer's list, or one that is lost, names no founders.
    let founders = if is_one && known.founding { founders } else { Vec::new() };
    Formation { identity, founders, known: known.clone() }
}

/// Asks the others which number this member was given. One of them may have been away when it was,
/// and know the cluster as it used to be, even another member at the same addresses: what no quorum
/// confirms is believed only if nothing better comes for a while.
async fn join(config: &Config, dialler: &Dialler) -> Result<Formation> {
    let started = Instant::now();
    loop {
        let heard = ask_others(config, dialler).await?;
        let place = newcomer(config, &heard.cluster, heard.as_of);
        if heard.confirmed || started.elapsed() > JOIN_PATIENCE {
            return place;
        }
        let found = place.map_or_else(|error| error.to_string(), |_| "a place".to_owned());
        tracing::info!(found, "asking again: no quorum confirms who is in the cluster");
        sleep(ASK_INTERVAL).await;
    }
}

/// Asks all others at once who is in the cluster, and takes the first confirmed answer, or else the
/// newest.
async fn ask_others(config: &Config, dialler: &Dialler) -> Result<Heard> {
    let others = config.founders.iter().filter(|founder| founder.name != config.name);
    let ask = async |url: &String| {
        let answer = timeout(ASK_TIMEOUT, members_at(dialler, url, true)).await;
        (url.clone(), answer)
    };
    let urls = others.flat_map(|founder| &founder.peer_urls);
    let mut asked: FuturesUnordered<_> = urls.map(&ask).collect();
    let (mut newest, mut failures) = (None::<Heard>, Vec::new());
    while let Some((url, answer)) = asked.next().await {
        match answer {
            Ok(Ok(heard)) if heard.confirmed => return Ok(heard),
            Ok(Ok(heard)) if newest.as_ref().is_none_or(|newest| newest.as_of < heard.as_of) => {
                newest = Some(heard);
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failures.push(format!("{url}: {error:#}")),
            Err(_) => failures.push(format!("{url}: no answer")),
        }
    }
    newest.ok_or_else(|| {
        anyhow!(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information \
             from the given URLs ({})",
            failures.join("; ")
        )
    })
}

/// The place of this member among those that the others know.
fn newcomer(
    config: &Config,
    cluster: &drystone_kv::members::Cluster,
    as_of: u64,
) -> Result<Formation> {
    if cluster.members.len() != config.founders.len() {
        bail!(
            "error validating peerURLs: member count is unequal: the cluster has {} members, \
             --initial-cluster names {}",
            cluster.members.len(),
            config.founders.len()
        );
    }
    for founder in &config.founders {
        if !cluster.members.iter().any(|member| same(&member.peer_urls, &founder.peer_urls)) {
            bail!(
                "error validating peerURLs: unmatched member while checking PeerURLs: no member of \
                 the cluster has {}={}",
                founder.name,
                founder.peer_urls.join(",")
            );
        }
    }
    let own = cluster.members.iter().find(|member| same(&member.peer_urls, &config.peer_urls));
    let (Some(own), Some(id)) = (own, cluster.id) else {
        bail!("the cluster knows no member with {}", config.peer_urls.join(","));
    };
    let identity = Identity { cluster: ClusterId(id), member: MemberId(own.id) };
    Ok(Formation { identity, founders: Vec::new(), known: Known::of(cluster, as_of) })
}

fn same(one: &[String], two: &[String]) -> bool {
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort_unstable();
        urls
    };
    sorted(one) == sorted(two)
}

fn member(id: MemberId, founder: &Founder) -> Member {
    Member {
        id: id.0,
        name: founder.name.clone(),
        peer_urls: founder.peer_urls.clone(),
        client_urls: Vec::new(),
        is_learner: false,
    }
}
