//! Fetches images from a registry, as the OCI distribution specification says.
//!
//! ```text
//!   reference ─► mirror? ─► GET /v2/<repository>/manifests/<tag or digest>  (401: token, again)
//!                             index ─► the manifest for this platform
//!                           GET /v2/<repository>/blobs/<digest>, a few at once
//!                             hashed as it comes; a broken line goes on with Range where it broke
//!                           commit: unpack, then name
//! ```
//!
//! Whatever has a digest is checked against it, so a registry, a mirror or a proxy can refuse but
//! not lie; only what a tag means is the registry's own word. Every answer has a limit in bytes and
//! every wait one in time. Passing failures (no connection, 429, 5xx) are tried again a bounded
//! number of times, each wait twice as long.
//!
//! http without TLS is for loopback, or for registries that are listed as `insecure`.
//! Where a registry may send us, by redirect or for a token, is in `address`.
//!
//! Left out: proxies of the environment, kept connections, and a least speed: a server that sends a
//! few bytes within each timeout holds its slot until the blob is whole.

mod address;
mod auth;
mod http;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{CONTENT_RANGE, WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use self::http::{Ask, Failure, Home, Http, refused};
use super::digest::Digest;
use super::error::Error;
use super::manifest::{self, DOCUMENT_BYTES_MAX, Descriptor, Document, Manifest, Platform};
use super::reference::Reference;
use super::store::{Image, Session, Staging, Store};
use address::Zone;
use auth::Challenge;
pub use auth::Credentials;

/// Most indexes within indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// So many bytes of a blob are progress: the count of tries begins anew.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullConfig {
    /// Where to ask instead: `docker.io` to `http://127.0.0.1:5000`.
    pub mirrors: BTreeMap<String, String>,
    /// Registries that may be asked without TLS; loopback always may.
    pub insecure: BTreeSet<String>,
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates to trust besides the public ones, in DER.
    pub roots: Vec<Vec<u8>>,
    /// What an image must run on.
    pub platform: Platform,
    /// Blobs in flight at once, over all pulls.
    pub blobs_at_once: usize,
    /// Tries of one request without progress.
    pub tries: u32,
    /// First wait between two tries.
    pub backoff: Duration,
    /// Longest wait for an answer, or for its next bytes.
    pub timeout: Duration,
    /// Largest layer, packed.
    pub blob_bytes_max: u64,
}

impl Default for PullConfig {
    fn default() -> PullConfig {
        PullConfig {
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            credentials: Credentials::default(),
            roots: Vec::new(),
            platform: Platform::here(),
            blobs_at_once: 4,
            tries: 5,
            backoff: Duration::from_millis(250),
            timeout: Duration::from_secs(30),
            blob_bytes_max: 16 << 30,
        }
    }
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The blob that moved.
    pub blob: Digest,
    /// Its bytes so far.
    pub bytes: u64,
    /// Its bytes in all.
    pub total: u64,
}

/// Hears of progress, from several tasks.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Pulls into one store.
#[derive(Clone)]
pub struct Puller {
    store: Store,
    config: Arc<PullConfig>,
    http: Http,
    slots: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<String, Flight>>>,
}

/// What several callers may want at once, and how often it was brought.
type Flight = Arc<tokio::sync::Mutex<u64>>;

/// One registry during one pull.
struct Remote {
    puller: Puller,
    /// `http://host:port` or `https://…`.
    base: String,
    registry: String,
    repository: String,
    authorization: tokio::sync::Mutex<Option<String>>,
    zone: Mutex<Option<Zone>>,
    on_progress: OnProgress,
}

impl Puller {
    /// Pulls into `store`.
    ///
    /// # Errors
    /// [`Error::Refused`] if a certificate of `roots` is none.
    pub fn new(store: Store, config: PullConfig) -> Result<Puller, Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in &config.roots {
            let added = roots.add(root.clone().into());
            added.map_err(|error| refused("a root certificate", &error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = Http { tls: Arc::new(tls), timeout: config.timeout };
        let slots = Arc::new(Semaphore::new(config.blobs_at_once.max(1)));
        Ok(Puller { store, config: Arc::new(config), http, slots, flights: Arc::default() })
    }

    /// Pulls an image and gives it its name. If somebody pulls that name already, waits for them
    /// and takes what they got.
    ///
    /// # Errors
    /// Each kind of [`Error`] that is not about the disk says what to do: see there.
    pub async fn pull(&self, name: &Reference, on_progress: OnProgress) -> Result<Image, Error> {
        let flight = self.flight(name.to_string());
        let result = match flight.try_lock() {
            Ok(mut count) => self.pull_alone(name, on_progress).await.inspect(|_| *count += 1),
            Err(_) => {
                let mut count = flight.lock().await;
                // Somebody has pulled while we waited, or has failed at it.
                match self.store.image(name)? {
                    Some(image) if *count > 0 => Ok(image),
                    _ => self.pull_alone(name, on_progress).await.inspect(|_| *count += 1),
                }
            }
        };
        drop(flight);
        self.land();
        result
    }

    async fn pull_alone(&self, name: &Reference, on_progress: OnProgress) -> Result<Image, Error> {
        let remote = Arc::new(self.remote(name, on_progress)?);
        let session = Arc::new(self.store.session());
        let version = name.version();
        let (digest, manifest) = remote.manifest(&session, &version).await?;
        let mut work = tokio::task::JoinSet::new();
        let mut seen = BTreeSet::new();
        for blob in manifest.layers.into_iter().chain([manifest.config]) {
            if seen.insert(blob.digest) {
                let (remote, session) = (Arc::clone(&remote), Arc::clone(&session));
                work.spawn(async move { remote.blob(&session, &blob).await });
            }
        }
        // The first failure ends the others: they are dropped with the set.
        while let Some(done) = work.join_next().await {
            done.expect("fetching a blob does not panic")?;
        }
        let (store, name) = (self.store.clone(), name.clone());
        let platform = self.config.platform.clone();
        let unpack = move || store.commit(&session, &[name], digest, Some(&platform));
        tokio::task::spawn_blocking(unpack).await.expect("unpacking does not panic")
    }

    /// Where to ask for a name.
    fn remote(&self, name: &Reference, on_progress: OnProgress) -> Result<Remote, Error> {
        let registry = name.registry.clone();
        let base = match self.config.mirrors.get(&registry) {
            Some(mirror) => mirror.trim_end_matches('/').to_owned(),
            None if registry == "docker.io" => "https://registry-1.docker.io".to_owned(),
            None if self.config.insecure.contains(&registry) || is_loopback(&registry) => {
                format!("http://{registry}")
            }
            None => format!("https://{registry}"),
        };
        let host = base.strip_prefix("http://");
        if host.is_some_and(|host| !is_loopback(host) && !self.config.insecure.contains(host)) {
            let why = "http without TLS, and it is neither on loopback nor listed as insecure";
            return Err(refused(&base, why));
        }
        if host.is_none() && !base.starts_with("https://") {
            return Err(refused(&base, "a mirror must begin with http:// or https://"));
        }
        Ok(Remote {
            puller: self.clone(),
            base,
            registry,
            repository: name.repository.clone(),
            authorization: tokio::sync::Mutex::default(),
            zone: Mutex::default(),
            on_progress,
        })
    }

    fn flight(&self, what: String) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(flights.entry(what).or_default())
    }

    /// Forgets flights that nobody is on.
    fn land(&self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
    }
}

impl Remote {
    /// The manifest for our platform, kept as a blob, through indexes.
    async fn manifest(
        &self,
        session: &Session,
        version: &str,
    ) -> Result<(Digest, Manifest), Error> {
        let mut version = version.to_owned();
        for _ in 0..=INDEX_DEPTH_MAX {
            let what = format!("manifest {}/{}:{version}", self.registry, self.repository);
            let url = format!("{}/v2/{}/manifests/{version}", self.base, self.repository);
            let ask = Ask { accept: Some(manifest::ACCEPT.join(", ")), ..Ask::default() };
            let mut tries = Tries::new(&self.puller.config);
            let bytes = loop {
                let attempt = async {
                    let response = self.ask(&what, &url, &ask).await?;
                    let body = response.into_body();
                    self.puller.http.body(&what, body, DOCUMENT_BYTES_MAX).await
                };
                match attempt.await {
                    Ok(bytes) => break bytes,
                    Err(failure) => tries.again(&what, failure).await?,
                }
            };
            let found = Digest::of(&bytes);
            if let Ok(expected) = version.parse::<Digest>()
                && expected != found
            {
                return Err(Error::WrongDigest { what, expected, found });
            }
            match Document::parse(&what, &bytes)? {
                Document::Manifest(manifest) => {
                    return Ok((session.keep_bytes(&bytes)?, manifest));
                }
                Document::Index(index) => {
                    version = index.choose(&what, &self.puller.config.platform)?.digest.to_string();
                }
            }
        }
        let reason = format!("indexes lie deeper in each other than {INDEX_DEPTH_MAX}");
        Err(Error::bad(format!("index of {}/{}", self.registry, self.repository), reason))
    }

    /// Sees to a blob: asks for it unless it is here.
    async fn blob(&self, session: &Session, blob: &Descriptor) -> Result<(), Error> {
        let what = format!("blob {} of {}/{}", blob.digest, self.registry, self.repository);
        let puller = &self.puller;
        if blob.size > puller.config.blob_bytes_max {
            let (limit_name, limit) = ("blob_bytes_max", puller.config.blob_bytes_max);
            return Err(Error::TooLarge { what, limit_name, limit });
        }
        session.pin(blob.digest);
        let flight = puller.flight(blob.digest.to_string());
        let _alone = flight.lock().await;
        if puller.store.has(blob.digest) {
            return Ok(());
        }
        let _slot = puller.slots.acquire().await.expect("the semaphore is never closed");
        let mut staging = puller.store.stage()?;
        let mut tries = Tries::new(&puller.config);
        let mut marked = 0;
        while staging.size() < blob.size || blob.size == 0 {
            match self.stream(&what, blob, &mut staging).await {
                Ok(()) => break,
                Err(failure) => {
                    if staging.size() >= marked + PROGRESS_BYTES {
                        marked = staging.size();
                        tries = Tries::new(&puller.config);
                    }
                    tries.again(&what, failure).await?;
                }
            }
        }
        let staged = staging.finish()?;
        if staged.digest != blob.digest {
            let (expected, found) = (blob.digest, staged.digest);
            return Err(Error::WrongDigest { what, expected, found });
        }
        session.keep(staged).map(drop)
    }

    /// Takes in the rest of a blob, from where the last try broke.
    async fn stream(
        &self,
        what: &str,
        blob: &Descriptor,
        staging: &mut Staging,
    ) -> Result<(), Failure> {
        let url = format!("{}/v2/{}/blobs/{}", self.base, self.repository, blob.digest);
        let ask = Ask { from: staging.size(), ..Ask::default() };
        let response = self.ask(what, &url, &ask).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            // It sends all from the start, whatever we asked.
            staging.restart()?;
        } else {
            let range = response.headers().get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
            let from = range.and_then(|text| text.strip_prefix("bytes ")?.split('-').next());
            if from.and_then(|from| from.parse().ok()) != Some(staging.size()) {
                staging.restart()?;
                return Err(Failure::Passing("it sent another part than was asked for".to_owned()));
            }
        }
        let mut body: Incoming = response.into_body();
        loop {
            let frame = tokio::time::timeout(self.puller.config.timeout, body.frame()).await;
            let frame = frame.map_err(|_| Failure::Passing("no bytes for too long".to_owned()))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Failure::Passing(error.to_string()))?;
            let Some(bytes) = frame.data_ref() else { continue };
            if staging.size() + bytes.len() as u64 > blob.size {
                let (what, limit) = (what.to_owned(), blob.size);
                let limit_name = "the size that its manifest says";
                return Err(Error::TooLarge { what, limit_name, limit }.into());
            }
            staging.write(bytes)?;
            let (bytes, total) = (staging.size(), blob.size);
            (self.on_progress)(Progress { blob: blob.digest, bytes, total });
        }
        if staging.size() < blob.size {
            return Err(Failure::Passing(format!("it ended after {} bytes", staging.size())));
        }
        Ok(())
    }

    /// Asks once, twice if a token was wanted; sorts what can go wrong.
    async fn ask(
        &self,
        what: &str,
        url: &str,
        ask: &Ask,
    ) -> Result<::http::Response<Incoming>, Failure> {
        let mut ask = ask.clone();
        ask.authorization = self.authorization.lock().await.clone();
        let response = self.get(url, &ask).await?;
        let response = if response.status() == StatusCode::UNAUTHORIZED {
            let header = response.headers().get(WWW_AUTHENTICATE);
            let header = header.and_then(|text| text.to_str().ok()).unwrap_or_default().to_owned();
            let authorization = self.authorize(what, &header).await?;
            *self.authorization.lock().await = Some(authorization.clone());
            ask.authorization = Some(authorization);
            self.get(url, &ask).await?
        } else {
            response
        };
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND => Err(Error::NotFound { what: what.to_owned() }.into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(unauthorized(what, &format!("it answered {status}")).into())
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(Failure::Passing(format!("it answered {status}")))
            }
            _ if status.is_server_error() => Err(Failure::Passing(format!("it answered {status}"))),
            _ => Err(refused(what, &format!("it answered {status}")).into()),
        }
    }

    async fn get(&self, url: &str, ask: &Ask) -> Result<::http::Response<Incoming>, Failure> {
        // Our own registry may be anywhere. Where it is says where it may send us.
        let (response, zone) = self.puller.http.get(url, ask, Home(None)).await?;
        *self.zone.lock().unwrap_or_else(PoisonError::into_inner) = Some(zone);
        Ok(response)
    }

    /// The header that a challenge asks for.
    async fn authorize(&self, what: &str, header: &str) -> Result<String, Failure> {
        let basic = self.puller.config.credentials.basic(&self.registry);
        let (realm, service, scope) = match Challenge::parse(header) {
            Some(Challenge::Bearer { realm, service, scope }) => (realm, service, scope),
            Some(Challenge::Basic) => {
                let missing = || unauthorized(what, "it wants a name and password");
                return Ok(basic.ok_or_else(missing)?);
            }
            None => return Err(unauthorized(what, "it wants what we do not know").into()),
        };
        if self.base.starts_with("https://") && !realm.starts_with("https://") {
            return Err(refused(&realm, "a token server without TLS").into());
        }
        if !realm.starts_with("https://") && !realm.starts_with("http://") {
            return Err(refused(&realm, "a token server that is neither http nor https").into());
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut url = format!("{realm}{}", if realm.contains('?') { "&" } else { "?" });
        if let Some(service) = service {
            url.push_str(&format!("service={}&", auth::escaped(&service)));
        }
        url.push_str(&format!("scope={}", auth::escaped(&scope)));
        let ask = Ask { authorization: basic, ..Ask::default() };
        let zone = *self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        let (response, _) = self.puller.http.get(&url, &ask, Home(zone)).await?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Passing(format!("the token server answered {status}")));
        }
        if status != StatusCode::OK {
            return Err(unauthorized(what, &format!("the token server answered {status}")).into());
        }
        let body = response.into_body();
        let bytes = self.puller.http.body("the token server's answer", body, 1 << 20).await?;
        Ok(format!("Bearer {}", auth::token(&bytes)?))
    }
}

/// Counts the tries of one request.
struct Tries {
    left: u32,
    wait: Duration,
}

impl Tries {
    fn new(config: &PullConfig) -> Tries {
        Tries { left: config.tries, wait: config.backoff }
    }

    /// Waits for the next try, if there is one.
    async fn again(&mut self, what: &str, failure: Failure) -> Result<(), Error> {
        let reason = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(reason) => reason,
        };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(Error::Unreachable { what: what.to_owned(), reason });
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(BACKOFF_MAX);
        Ok(())
    }
}

fn unauthorized(what: &str, reason: &str) -> Error {
    Error::Unauthorized { what: what.to_owned(), reason: reason.to_owned() }
}

/// Whether a host, with or without a port, is this machine by its very name.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split(':').next().unwrap_or(host),
    };
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| Zone::of(address) == Zone::Loopback)
}
