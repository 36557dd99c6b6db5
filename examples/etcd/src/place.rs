//! The member's place in its cluster: taken at its start, made known to the others, kept, lost.
//!
//! ```text
//!   take     identity, ports, store, lines to the others
//!   publish  "this is my name, and here clients reach me", until a leader has taken it
//!   follow   wherever the members go, the lines follow
//!   removal  a member that was removed finds out, if it has to ask
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drystone_kv::command::Command;
use drystone_kv::members::Member;
use drystone_raft::runtime::tcp::{Limits as TcpLimits, Tcp, TcpConfig};
use drystone_raft::{NodeId, Role};
use drystone_vfs::{Clock, OsClock};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::config::{Config, ListenUrl};
use crate::data_dir::DataDir;
use crate::disk::{Timed, Times};
use crate::entrance;
use crate::error_text;
use crate::formation::{self, Formation};
use crate::identity::Identity;
use crate::log_dir;
use crate::member::Shared;
use crate::metrics::Applies;
use crate::peers::{Desk, Dialler, Heard, Known, Office, Port, Roll, members_at};
use crate::space::{self, Reserves, Roomy};
use crate::store::{Limits, Options, Replica, ReplicaOptions};
use crate::tls::{ClientTls, Endpoint, ServerTls};

/// How often it is looked whether the members have changed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a member that cannot make itself known tries again.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);
/// How often a member without a leader asks whether it still is one.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(2);

/// The member's place in its cluster.
#[derive(Clone)]
pub(crate) struct Place {
    /// The store.
    pub(crate) replica: Replica,
    /// The way to the others.
    pub(crate) office: Arc<Office>,
    /// Where the members were when it last heard.
    roll: Arc<Mutex<Roll>>,
    /// Who this is.
    pub(crate) identity: Identity,
    /// Whether it has no vote.
    pub(crate) is_learner: Arc<AtomicBool>,
    /// How long the disk takes.
    pub(crate) disk: Arc<Times>,
    /// How long it takes to apply what was agreed on.
    pub(crate) applies: Arc<Applies>,
    /// Room that is kept back for a full disk.
    pub(crate) reserves: Reserves,
}

/// Takes it. To be called on the runtime that is to carry the consensus.
///
/// # Errors
///
/// If the data cannot be opened, a port cannot be had, or the others do not know this member.
pub(crate) async fn take(config: &mut Config, mut data_dir: DataDir) -> Result<Place> {
    let mut roll = Roll::open(data_dir.path())
        .with_context(|| format!("cannot read {}", Roll::file(data_dir.path()).display()))?;
    let (ports, dialler) = (bind_all(config)?, dialler(config)?);
    config.learn_peer_addresses(ports.iter().map(Port::url));
    let config = &*config;
    let formation = formation::form(config, data_dir.identity(), roll.known(), &dialler).await?;
    let Formation { identity, founders, known } = formation;
    data_dir.make()?;
    let id = identity.member.0;
    let mut limits = TcpLimits::default();
    limits.patience = config.election_timeout;
    limits.frame_bytes_max = limits.frame_bytes_max.max(2 * config.max_request_bytes);
    let network = TcpConfig::new(identity.cluster.0, id).limits(limits);
    let network = network.dial(Arc::new(dialler.clone()));
    let (tcp, inbound) = Tcp::behind(ports[0].address(), network);
    let door = ports.iter().find_map(Port::door);
    let (office, desk) = (Office::new(id, tcp.clone(), dialler, door), Arc::<Desk>::default());
    let mut options = replica_options(config, identity, founders);
    options.returns = data_dir.identity().is_some();
    let (disk, applies) = (Arc::new(Times::new()), Arc::new(Applies::new(config.slow_apply)));
    options.observer = applies.clone();
    options.alone = config.force_new_cluster.then(|| own_member(config, identity));
    let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
    let wanted = config.disk_reserve_bytes;
    let reserves = Reserves::open(data_dir.path(), options.log_dir.as_deref(), wanted);
    options.disk = reserves.disk();
    let roomy = Roomy::new(reserves.clone(), options.log_dir.clone());
    let (vfs, link) = (Arc::new(Timed::new(roomy, disk.clone())), tcp.link(inbound));
    let opened = Replica::open(vfs, clock, &data_dir.store(), link, office.clone(), options).await;
    let replica = opened.map_err(|error| log_dir::cannot_open(&error))?;
    reserves.look_first(replica.status().engine.growth_bytes);
    // The store is locked, and so is the directory.
    roll.keep(known.clone()).context("cannot write the list of members")?;
    data_dir.keep_identity(identity)?;
    office.learn(&known);
    desk.open(replica.clone());
    for port in ports {
        let url = port.url();
        let address = url.split_once("://").map_or(&*url, |(_, address)| address);
        tracing::info!(address, "serving peer traffic");
        tokio::spawn(port.serve(tcp.clone(), desk.clone()));
    }
    let (is_learner, roll) = (Arc::default(), Arc::new(Mutex::new(roll)));
    let place = Place { replica, office, roll, identity, is_learner, disk, applies, reserves };
    tokio::spawn(follow(place.clone()));
    Ok(place)
}

/// How the other members are reached.
fn dialler(config: &Config) -> Result<Dialler> {
    let tls = match config.peer_tls.is_empty() {
        true => None,
        false => Some(ClientTls::new(config.peer_tls.clone()).map_err(anyhow::Error::msg)?),
    };
    Ok(Dialler::new(tls))
}

fn bind_all(config: &Config) -> Result<Vec<Port>> {
    if config.listen_peer.is_empty() {
        bail!("--listen-peer-urls is empty");
    }
    for ListenUrl { secure, text, .. } in &config.listen_peer {
        if *secure && config.peer_tls.is_empty() {
            bail!("cannot listen on TLS for {text}: KeyFile and CertFile are not presented");
        }
        if !secure && !config.peer_tls.is_empty() {
            let what = "scheme is HTTP while key and cert files are present; ignoring key and \
                cert files";
            tracing::warn!(peer_url = text, "{what}");
        }
    }
    let tls = match config.listen_peer.iter().any(|url| url.secure) {
        true => {
            let tls = ServerTls::new(config.peer_tls.clone(), Endpoint::Peer);
            Some(tls.map_err(anyhow::Error::msg)?)
        }
        false => None,
    };
    let listeners = entrance::bind_all(&config.listen_peer, tls.as_ref(), config.reuse_port)?;
    Ok(listeners.into_iter().map(Port::new).collect())
}

fn replica_options(config: &Config, identity: Identity, founders: Vec<Member>) -> ReplicaOptions {
    let mut options = ReplicaOptions::new(identity.member.0, identity.cluster.0, founders);
    let log_dir = config.wal_dir.as_deref();
    let log_bytes = space::log_bytes(log_dir.into_iter().chain([&*config.data_dir]));
    let limits =
        Limits { txn_ops_max: config.max_txn_ops, command_bytes_max: config.max_request_bytes };
    options.store = Options {
        engine: config.storage_engine,
        engine_memory_bytes: config
            .storage_memory_bytes
            .or_else(|| space::engine_memory_bytes(&config.data_dir)),
        limits,
        quota_bytes: config.quota_bytes,
        // It bounds what a restart replays.
        persist_bytes_min: log_bytes,
        segment_bytes: log_bytes,
        ..Options::default()
    };
    options.kept_bytes_max = log_bytes;
    // The queue must fit the largest command.
    let queue = &mut options.store.proposals_bytes_max;
    *queue = (*queue).max(config.max_request_bytes);
    (options.heartbeat, options.election) = (config.heartbeat, config.election_timeout);
    options.request_timeout = config.request_timeout();
    options.kept_entries = config.kept_entries;
    options.token_ttl = config.token_ttl;
    options.log_dir = log_dir.map(Path::to_path_buf);
    options
}

fn own_member(config: &Config, identity: Identity) -> Member {
    Member {
        id: identity.member.0,
        name: config.name.clone(),
        peer_urls: config.peer_urls.clone(),
        client_urls: config.client_urls.clone(),
        is_learner: false,
    }
}

impl Place {
    /// Whether this member knows where another is.
    fn knows(&self, id: NodeId) -> bool {
        self.roll.lock().known().members.contains_key(&id)
    }

    /// Hears where the members are; whether that was not older than what is known.
    fn hear(&self, known: Known) -> bool {
        let mut roll = self.roll.lock();
        if !roll.is_news(&known) {
            return false;
        }
        self.office.learn(&known);
        if let Err(error) = roll.keep(known) {
            tracing::error!(%error, "cannot write down where the members are");
        }
        true
    }
}

/// Follows the members wherever they go. A member that starts shows an old state at first, in which
/// they may be where they are no more: it counts for nothing until it has caught up with what this
/// member once knew.
async fn follow(place: Place) {
    let Place { replica, identity, is_learner, .. } = &place;
    let mut last = None;
    while replica.rank().role != Role::Stopped {
        // In this order: what is said of the members is not older than it claims.
        let (as_of, cluster) = (replica.applied(), replica.cluster());
        let is_new = last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &cluster));
        if is_new && cluster.id.is_some() && place.hear(Known::of(&cluster, as_of)) {
            let own = cluster.member(identity.member.0);
            is_learner.store(own.is_some_and(|member| member.is_learner), Ordering::Relaxed);
            last = Some(cluster);
        }
        sleep(FOLLOW_INTERVAL).await;
    }
}

/// Makes this member known: its name, and where clients reach it. Returns when that is done.
pub(crate) async fn publish(member: &Shared) {
    let (id, config) = (member.identity.member.0, &member.config);
    loop {
        let (name, client_urls) = (config.name.clone(), config.client_urls.clone());
        let published =
            member.kv.change_members(Command::MemberPublish { id, name, client_urls }).await;
        match published {
            Ok(_) => break,
            Err(error) => {
                let error = error_text::chain(&error);
                tracing::warn!(error, "failed to publish local member to cluster through raft");
            }
        }
        sleep(PUBLISH_RETRY).await;
    }
    // It is about to serve, and a learner must not take a single write.
    let cluster = member.kv.cluster();
    let learns = cluster.member(id).is_some_and(|own| own.is_learner);
    member.is_learner.store(learns, Ordering::Relaxed);
    tracing::info!(
        name = config.name,
        member_id = %member.identity.member,
        cluster_id = %member.identity.cluster,
        advertise_client_urls = config.client_urls.join(","),
        revision = member.kv.revision(),
        "published local member to cluster through raft"
    );
}

/// Resolves when this member has been removed from its cluster. It may not be told: from when it is
/// removed, nobody sends it anything. So one that hears of no leader asks, and so does one whose
/// leader came while it was away: it has never heard where that is, and cannot answer it. Whoever
/// leads stays until the group has let it go, or nobody could.
pub(crate) async fn removal(member: &Shared, place: &Place) {
    let (own, cluster_id) = (member.identity.member.0, member.identity.cluster.0);
    let mut stays = false;
    loop {
        sleep(REMOVAL_INTERVAL).await;
        let leader = member.kv.rank().leader;
        if member.kv.cluster().is_removed(own) {
            if leader != Some(own) {
                return;
            }
            if !std::mem::replace(&mut stays, true) {
                tracing::warn!("removed from the cluster; stays until another has its vote");
            }
            continue;
        }
        if leader.is_some_and(|leader| leader == own || place.knows(leader)) {
            continue;
        }
        // One that was restarted may know of no members before a leader has told it.
        for url in member.office.urls() {
            let asked = tokio::time::timeout(
                REMOVAL_INTERVAL,
                members_at(member.office.dialler(), &url, false),
            )
            .await;
            let Ok(Ok(Heard { cluster, as_of, .. })) = asked else { continue };
            if cluster.is_removed(own) {
                return;
            }
            if cluster.id == Some(cluster_id) && cluster.member(own).is_some() {
                place.hear(Known::of(&cluster, as_of));
            }
        }
    }
}
