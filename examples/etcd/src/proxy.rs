//! `drystone-etcd grpc-proxy start`: a proxy in front of members, ours or etcd's.
//!
//! ```text
//!   etcdctl, clientv3 ──► Front ──┬── Watch ────────► many of clients are few at a member
//!                                 ├── keep-alives ──► one stream for all
//!                                 ├── ranges ───────► kept for a while, if they may be old
//!                                 └── the rest ─────► as it is
//!                                                        │
//!                          Upstream ◄────────────────────┘  one member; the next when it is gone
//! ```
//!
//! **The problem.** A thousand clients cost a cluster a thousand connections and as many watches,
//! although most of them want to hear the same. And somebody who is to have a part of the keys
//! should not have to know which part.
//!
//! **The idea.** The proxy speaks to its clients as a member would, and to the members as one
//! client. It keeps nothing on disk and knows nothing that cannot be asked again. What it need not
//! understand it passes on as it is: tokens, deadlines, the codes and texts of errors; so whatever
//! a member refuses is refused in the member's words, and rights are judged by members alone.
//!
//! Start reading at `front`; `watch` is the largest room.

mod asker;
mod cache;
mod change;
mod cluster;
mod entrance;
mod flags;
mod front;
mod kv;
mod lease;
mod leasing;
mod message;
mod namespace;
mod order;
mod pages;
mod streaming;
mod sync;
mod upstream;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use http::uri::PathAndQuery;
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::config::LogConfig;
use crate::connection::Server;
use crate::grpc_method::Methods;
use crate::listener::Door;
use crate::metrics::ProxyCounts;
use crate::remote::Reach;
use crate::shutdown::{self, Shutdown};
use crate::tls::{self, Endpoint, ServerTls, TlsOptions};
use crate::{logging, notify, signalled, srv};

use asker::Asker;
use cache::Cache;
use cluster::{Advertised, Listed};
use entrance::{accept, bind, bind_url};
use flags::{Stop, Words};
use front::{Front, Scope};
use leasing::Leasing;
use message::{Framed, Sizes};
use namespace::{Leave, Namespace};
use order::Newest;
use upstream::Upstream;

/// File descriptors kept back for connections to members and the odd file. Of the others half may
/// be connections of clients, as each may be under way to a page of a member.
const FDS_RESERVED: usize = 150;

const USAGE: &str = "Usage:
  drystone-etcd grpc-proxy [command]

Available Commands:
  start       start the grpc proxy
";

/// A proxy.
pub(crate) struct Proxy {
    upstream: Upstream,
    namespace: Namespace,
    cache: Cache,
    watches: watch::Hub,
    leases: lease::Lines,
    /// The keys that it answers for, if it is to have any.
    leasing: Option<Leasing>,
    advertised: Advertised,
    listed: Listed,
    methods: Methods,
    sizes: Sizes,
    newest: Newest,
    /// Serializable ranges never go back.
    keeps_order: bool,
    logs_calls: bool,
    /// When it began, seconds since 1970.
    start_seconds: f64,
    shutdown: Shutdown,
}

/// A proxy that many share.
type Shared = Arc<Proxy>;

/// What of a request concerns more than its message.
pub(crate) struct Head {
    path: PathAndQuery,
    headers: HeaderMap,
    asker: Asker,
}

impl Proxy {
    /// Asks the members.
    async fn ask(
        &self,
        head: &Head,
        framed: Framed,
        repeatable: bool,
    ) -> Result<Response<Incoming>, Status> {
        framed.check(self.sizes)?;
        self.upstream.call(&head.path, &head.headers, framed.0, repeatable).await
    }

    /// The one message of a member's answer.
    async fn collect(&self, response: Response<Incoming>) -> Result<Framed, Status> {
        let by = response.extensions().get().cloned();
        let collected = message::collect(response, self.sizes.answer_max).await;
        collected.inspect_err(|status| self.upstream.heed(by, status))
    }

    /// The same, as a client in its namespace is to see it.
    async fn answer_of<A: Message + Default + Leave>(
        &self,
        response: Response<Incoming>,
    ) -> Result<Framed, Status> {
        let answer = self.collect(response).await?;
        self.left::<A>(answer)
    }

    /// A member's answer as a client in its namespace is to see it.
    fn left<A: Message + Default + Leave>(&self, answer: Framed) -> Result<Framed, Status> {
        if self.namespace.is_none() {
            return Ok(answer);
        }
        let mut answer: A = answer.decode()?;
        answer.leave(&self.namespace);
        Ok(Framed::of(&answer))
    }

    fn counts(&self) -> ProxyCounts {
        let cache = self.cache.counts();
        let leased = self.leasing.as_ref().map(Leasing::counts).unwrap_or_default();
        ProxyCounts {
            watchers_coalesced: self.watches.coalesced(),
            events_coalesced: self.watches.messages_spared(),
            cache_keys: cache.entries,
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            leased_keys: leased.held,
            leased_reads: leased.reads,
            start_seconds: self.start_seconds,
            endpoint: self.upstream.current_url(),
        }
    }
}

/// Does what the words behind `grpc-proxy` say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    match words.first().and_then(|word| word.to_str()) {
        Some("start") => {}
        None | Some("-h" | "--help" | "help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("Error: unknown command {other:?} for \"drystone-etcd grpc-proxy\"");
            return ExitCode::FAILURE;
        }
    }
    let words = match Words::read(&words[1..]) {
        Ok(words) => words,
        Err(Stop::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Stop::Misread(error)) => {
            eprintln!("Error: {error}\nSee 'drystone-etcd grpc-proxy start --help'.");
            return ExitCode::FAILURE;
        }
    };
    match start(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends it.
fn start(words: &Words) -> Result<()> {
    words.refuse().map_err(|error| anyhow!(error))?;
    let log = LogConfig::on_stderr(words.log_level());
    logging::start(&log).context("cannot open the log")?;
    for warning in words.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(cert) = words.shown_certificate() {
        nameless(&cert)?;
    }
    let tls = client_tls(words)?;
    let fds = usize::try_from(signalled::raise_fds()).unwrap_or(usize::MAX);
    let room = (fds.saturating_sub(FDS_RESERVED).max(2) / 2).min(Semaphore::MAX_PERMITS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let upstream = Upstream::new(reach(words).await?, words.pings_idle())?;
        serve(words, tls, upstream, Arc::new(Semaphore::new(room))).await
    })
}

/// The way to the members: those that a domain names, or else those of the flag.
async fn reach(words: &Words) -> Result<Reach> {
    let mut reach = words.reach();
    if let Some(wanted) = words.search() {
        let found = srv::client_endpoints(&wanted).await?;
        if !found.is_empty() {
            reach.endpoints = found.iter().map(srv::ClientEndpoint::url).collect();
        }
    }
    Ok(reach)
}

/// Members take the common name of a certificate for a user: all clients of the proxy would be
/// that one.
fn nameless(cert: &Path) -> Result<()> {
    let name = tls::common_name(cert).map_err(|error| anyhow!(error))?;
    if !name.is_empty() {
        bail!("cert has non empty Common Name ({name}): {}", cert.display());
    }
    Ok(())
}

/// What clients are shown, made if it is to be.
fn client_tls(words: &Words) -> Result<Option<Arc<ServerTls>>> {
    let options = words.client_tls().map_err(|error| anyhow!(error))?;
    let Some(mut options) = options else { return Ok(None) };
    if options.auto && options.is_empty() {
        let (dir, years) = words.fixtures();
        let host = words.listen_addr.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let made = tls::make_self_signed(&dir, &[host], years);
        let (cert, key) =
            made.with_context(|| format!("cannot generate certificates in {}", dir.display()))?;
        let TlsOptions { versions, cipher_suites, .. } = options;
        options = TlsOptions {
            cert_file: Some(cert),
            key_file: Some(key),
            self_signed: true,
            any_origin: true,
            versions,
            cipher_suites,
            ..TlsOptions::default()
        };
    }
    let tls = ServerTls::new(options, Endpoint::Client);
    tls.map(Some).map_err(|error| anyhow!("failed to create TLS listener: {error}"))
}

async fn serve(
    words: &Words,
    tls: Option<Arc<ServerTls>>,
    upstream: Upstream,
    room: Arc<Semaphore>,
) -> Result<()> {
    let door = || Door::new(tls.is_none(), tls.clone());
    let listener = bind(&words.listen_addr, door())?;
    let monitor = match &words.metrics_addr[..] {
        "" => None,
        url => Some(bind_url(url, tls.as_ref())?),
    };
    let (trigger, stop) = shutdown::channel();
    let (leasing, given_up) = words.leasing_prefix().map(Leasing::new).unzip();
    let proxy = Arc::new(Proxy {
        upstream,
        namespace: Namespace::new(&words.namespace),
        cache: Cache::default(),
        watches: watch::Hub::default(),
        leases: lease::Lines::default(),
        leasing,
        advertised: words.advertised(host_name()),
        listed: Listed::default(),
        methods: Methods::new(),
        sizes: words.sizes(),
        newest: Newest::new(words.keeps_order() || given_up.is_some()),
        keeps_order: words.keeps_order(),
        logs_calls: words.logs_calls(),
        start_seconds: logging::unix_seconds(),
        shutdown: stop.clone(),
    });
    let mut end = std::pin::pin!(signalled::terminated()?);
    if proxy.keeps_order {
        tokio::select! {
            () = proxy.begin_in_order() => {}
            _ = &mut end => return Ok(()),
        }
    }
    let server = Server::with(words.manners());
    let (address, secure) = (&words.listen_addr, listener.is_secure());
    tracing::info!(address, secure, "listening for gRPC proxy client requests");
    let mut floors = vec![tokio::spawn(accept(
        listener,
        server.clone(),
        Front::new(proxy.clone(), Scope::All),
        room.clone(),
        stop.clone(),
    ))];
    if let Some(monitor) = monitor {
        let front = Front::new(proxy.clone(), Scope::Pages);
        floors.push(tokio::spawn(accept(monitor, server, front, room, stop)));
    }
    if let Some(given_up) = given_up {
        floors.push(tokio::spawn(leasing::keep(proxy.clone(), given_up)));
    }
    if let Some(interval) = words.sync_interval() {
        floors.push(tokio::spawn(sync::keep_synced(proxy.clone(), interval)));
    }
    if let Some(register) = proxy.advertised.register.clone() {
        floors.push(tokio::spawn(cluster::keep_listed(proxy.clone(), register)));
    }
    tracing::info!(address, "started gRPC proxy");
    notify::ready();
    end.await;
    tracing::info!("stop listening gRPC proxy client requests");
    trigger.fire();
    for floor in floors {
        // One that has panicked has said so.
        let _ = floor.await;
    }
    Ok(())
}

/// What this machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
