//! What the operator asked for, checked.
//!
//! ```text
//!   words + environment --go_flags--> one form --flags (clap)--> Flags --Config::new--> Config
//!        Go's syntax                     ▲        names, types            rules between flags
//!   --config-file ────────file───────────┘
//! ```
//!
//! A configuration file stands in the place of everything else: where one is given, no other flag
//! and no variable counts, as in etcd.
//!
//! The first two steps fail with exit status 2, as Go's flag package does; broken rules with 1.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::Access;
use crate::auth::TokenKind;
use crate::auth::jwt::Jwt;
use crate::compactor::Retention;
use crate::comparison;
use crate::discovery::Discovery;
use crate::logging::Rotation;
use crate::srv::Search;
use crate::store::EngineKind;
use crate::tls::TlsOptions;
use crate::user_limits::Rules;

mod comparison_flags;
mod discovery_flags;
pub(crate) mod duration;
mod feature_gates;
mod file;
pub(crate) mod flags;
pub(crate) mod go_flags;
mod old_names;
mod space_flags;
mod tls_flags;
pub(crate) mod url;

pub(crate) use duration::{go_text, parse as duration_of};
pub(crate) use flags::parse_bool;
pub(crate) use url::{ListenAddress, ListenUrl};

use flags::Flags;

/// etcd's default quota.
const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
/// A larger election timeout is a typing error.
const ELECTION_MILLIS_MAX: u64 = 50_000;
/// A shorter one would be a busy loop.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

const SEE_HELP: &str = "See 'drystone-etcd --help'.";

/// All that the member needs to know to start.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The member's name, for people.
    pub(crate) name: String,
    /// Where the data is.
    pub(crate) data_dir: PathBuf,
    /// Where the journal is, if it is not there.
    pub(crate) wal_dir: Option<PathBuf>,
    /// Whether a directory of etcd's is made ours, or refused.
    pub(crate) converts_etcd_data: bool,
    /// What holds the records; `None` is what the data directory was made with.
    pub(crate) storage_engine: Option<EngineKind>,
    pub(crate) storage_memory_bytes: Option<u64>,
    /// Whether a new member joins a cluster that is there.
    pub(crate) existing: bool,
    /// Whether the member goes on alone, whoever else there was.
    pub(crate) force_new_cluster: bool,
    /// Where clients connect.
    pub(crate) listen_client: Vec<ListenUrl>,
    /// Where clients that speak HTTP connect; if anywhere, the others serve gRPC alone.
    pub(crate) listen_http: Vec<ListenUrl>,
    /// Where the plain HTTP routes are served alone.
    pub(crate) listen_metrics: Vec<ListenUrl>,
    /// What clients are told to connect to.
    pub(crate) client_urls: Vec<String>,
    /// Members and clients are told the ports that were bound, whatever the URLs say: who embeds
    /// a member may leave the choice of a port to the system.
    pub(crate) advertise_bound: bool,
    /// Where other members connect.
    pub(crate) listen_peer: Vec<ListenUrl>,
    /// What other members are told to connect to.
    pub(crate) peer_urls: Vec<String>,
    /// The members of the cluster that a new member founds or joins, this one among them.
    pub(crate) founders: Vec<Founder>,
    /// Where a new member finds them instead.
    pub(crate) discovery: Option<Discovery>,
    /// Or whose records name them.
    pub(crate) srv: Option<Search>,
    /// Tells clusters with equal URLs apart.
    pub(crate) token: String,
    /// Whether changes of members that could cost the quorum are refused.
    pub(crate) strict_reconfig: bool,
    /// Most learners.
    pub(crate) learners_max: u64,
    /// Commands that stay in the log for members that are a little behind.
    pub(crate) kept_entries: u64,
    /// Bytes at which writes stop; `None` is never.
    pub(crate) quota_bytes: Option<u64>,
    /// Percentage of the quota at which its alarm is disarmed again; `None` is never.
    pub(crate) disarm_percent: Option<u64>,
    /// Bytes kept back for a full disk; `None` is by the disk's size.
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// Learners are promoted once they are in sync.
    pub(crate) learner_auto_promote: bool,
    /// Operations allowed in a transaction.
    pub(crate) max_txn_ops: usize,
    /// Bytes allowed in a request.
    pub(crate) max_request_bytes: usize,
    /// Calls at once on one connection.
    pub(crate) max_concurrent_streams: u32,
    /// How often a leader says that it is there.
    pub(crate) heartbeat: Duration,
    /// How long a leader may be silent. Bounds leases from below and requests from above.
    pub(crate) election_timeout: Duration,
    /// What automatic compaction keeps; `None` is everything.
    pub(crate) retention: Option<Retention>,
    /// How often idle watchers hear the revision.
    pub(crate) watch_progress_interval: Duration,
    /// Pings on idle connections; `None` is never.
    pub(crate) keepalive_interval: Option<Duration>,
    /// How long a ping may stay unanswered.
    pub(crate) keepalive_timeout: Duration,
    /// How often clients may ping; zero is gRPC's own choice.
    pub(crate) keepalive_min_time: Duration,
    /// Whether /metrics shows the times of gRPC calls.
    pub(crate) extensive_metrics: bool,
    /// What takes longer to apply is logged and counted.
    pub(crate) slow_apply: Duration,
    /// Unary calls that take longer are logged.
    pub(crate) slow_call: Duration,
    /// Certificates for clients, and for members.
    pub(crate) client_tls: TlsOptions,
    pub(crate) peer_tls: TlsOptions,
    /// How long certificates live that the member makes for itself.
    pub(crate) self_signed_years: u32,
    /// Browsers' pages and names of this server that HTTP requests may come from and go to.
    pub(crate) access: Access,
    /// Ports may be bound that others have bound in the same way.
    pub(crate) reuse_port: bool,
    /// JSON is served.
    pub(crate) serves_json: bool,
    /// The file that all this is from, if it is from one.
    pub(crate) file: Option<PathBuf>,
    /// What kind of tokens users are given.
    pub(crate) tokens: TokenKind,
    /// How long a token lives that is not used.
    pub(crate) token_ttl: Duration,
    /// How slow a password is hashed: each step doubles it.
    pub(crate) bcrypt_cost: u32,
    /// How much each user may have.
    pub(crate) user_limits: Rules,
    /// How members are compared with each other, and the disk with its checksums.
    pub(crate) comparison: comparison::Options,
    /// What is logged, how and where.
    pub(crate) log: LogConfig,
}

/// A member of the cluster that is founded or joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founder {
    /// For people.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) peer_urls: Vec<String>,
}

/// What is logged, how and where.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    /// zap's name of the lowest level shown.
    pub(crate) level: String,
    /// JSON objects; otherwise columns.
    pub(crate) json: bool,
    /// default, stderr, stdout or paths.
    pub(crate) outputs: Vec<String>,
    /// When a file is put aside; `None` is never.
    pub(crate) rotation: Option<Rotation>,
}

impl LogConfig {
    /// JSON on standard error, from this level on.
    pub(crate) fn on_stderr(level: &str) -> LogConfig {
        let outputs = vec!["stderr".to_owned()];
        LogConfig { level: level.to_owned(), json: true, outputs, rotation: None }
    }

    /// Whether log lines appear on standard error.
    pub(crate) fn is_on_stderr(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output.as_str(), "default" | "stderr"))
    }
}

/// What to do after reading the command line.
#[derive(Debug)]
pub(crate) enum Start {
    /// Serve. The warnings are logged once a log exists.
    Serve(Box<Config>, Vec<String>),
    /// Print to standard output, and exit with success.
    Print(String),
    /// Print to standard error, and exit with this status.
    Refuse(String, u8),
}

/// Reads the command line (without the program's name) and the environment.
pub(crate) fn read(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Start {
    let mut command = flags::command();
    command.build();
    let mut normalised = match go_flags::normalise(&command, args, env) {
        Ok(normalised) => normalised,
        Err(error @ go_flags::FlagError::Stray(_)) => return refuse(&error.to_string()),
        Err(error) => return Start::Refuse(format!("{error}\n{SEE_HELP}"), 2),
    };
    let file = match normalised.asks_for_text() {
        true => None,
        false => normalised.value_of("config-file").filter(|file| !file.is_empty()),
    };
    if let Some(file) = &file {
        match file::words(&command, Path::new(file)) {
            Ok(read) => normalised = read,
            Err(error) => return refuse(&error),
        }
    }
    let matches = match command.try_get_matches_from(normalised.words) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            return Start::Refuse(error.to_string().trim_end().to_owned(), 2);
        }
        Err(help) => return Start::Print(help.to_string()),
    };
    let flags = match flags::from_matches(&matches) {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    if flags.version {
        return Start::Print(crate::version::banner());
    }
    let mut warnings = normalised.warnings;
    let idle = flags::idle_in(&matches);
    warnings.extend(idle.iter().map(|name| format!("flag --{name} is accepted without effect")));
    match Config::new(&flags, file.map(PathBuf::from)) {
        Ok(config) => Start::Serve(Box::new(config), warnings),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &str) -> Start {
    Start::Refuse(format!("error verifying flags, {error}. {SEE_HELP}"), 1)
}

impl Config {
    fn new(flags: &Flags, file: Option<PathBuf>) -> Result<Config, String> {
        // In a file, what is advertised stays as it is by default: etcd tells no difference there.
        let explicit = file.is_none() && flags.listen_client_urls.is_some();
        if explicit && flags.advertise_client_urls.is_none() {
            return Err("--advertise-client-urls is required when --listen-client-urls is set \
                explicitly"
                .to_owned());
        }
        let client_default = "http://localhost:2379";
        let listen_client = flags.listen_client_urls.as_deref().unwrap_or(client_default);
        let advertised = flags.advertise_client_urls.as_deref().unwrap_or(client_default);
        let peer_urls = advertised_urls(&flags.initial_advertise_peer_urls)?;
        check_times(flags)?;
        let (client_tls, peer_tls) = flags.tls.options()?;
        flags.discovery.check(&flags.initial_cluster)?;
        let founders = founders(flags, &peer_urls)?;
        let discovery = flags.discovery.discovery()?;
        let election_timeout = Duration::from_millis(flags.election_timeout);
        let data_dir = match flags.data_dir.as_str() {
            "" => format!("{}.etcd", flags.name),
            given => given.to_owned(),
        };
        Ok(Config {
            name: flags.name.clone(),
            data_dir: data_dir.into(),
            converts_etcd_data: flags.convert_etcd_data,
            wal_dir: Some(&flags.wal_dir).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            storage_engine: flags.storage_engine,
            storage_memory_bytes: flags.storage_memory_bytes,
            existing: flags.initial_cluster_state == "existing",
            listen_client: nonempty(listen_urls(listen_client)?, "--listen-client-urls")?,
            listen_http: listen_urls(&flags.listen_client_http_urls)?,
            listen_metrics: listen_urls(&flags.listen_metrics_urls)?,
            client_urls: nonempty(advertised_urls(advertised)?, "--advertise-client-urls")?,
            advertise_bound: false,
            force_new_cluster: flags.force_new_cluster,
            listen_peer: listen_urls(&flags.listen_peer_urls)?,
            founders,
            discovery,
            srv: flags.discovery.search(),
            token: flags.initial_cluster_token.clone(),
            strict_reconfig: flags.strict_reconfig_check,
            learners_max: flags.max_learners,
            kept_entries: flags.snapshot_catchup_entries,
            heartbeat: Duration::from_millis(flags.heartbeat_interval),
            peer_urls: nonempty(peer_urls, "--initial-advertise-peer-urls")?,
            quota_bytes: match flags.quota_backend_bytes {
                0 => Some(QUOTA_BYTES_DEFAULT),
                // A negative quota is none.
                bytes => u64::try_from(bytes).ok(),
            },
            disarm_percent: flags.space.disarm_percent(),
            disk_reserve_bytes: flags.space.disk_reserve_bytes,
            learner_auto_promote: flags.space.learner_auto_promote,
            max_txn_ops: flags.max_txn_ops as usize,
            max_request_bytes: flags.max_request_bytes as usize,
            max_concurrent_streams: flags.max_concurrent_streams,
            election_timeout,
            retention: retention(flags)?,
            watch_progress_interval: flags.watch_progress_notify_interval,
            keepalive_interval: Some(flags.grpc_keepalive_interval).filter(|t| !t.is_zero()),
            keepalive_timeout: flags.grpc_keepalive_timeout,
            keepalive_min_time: flags.grpc_keepalive_min_time,
            extensive_metrics: flags.metrics == "extensive",
            slow_apply: flags.warning_apply_duration,
            slow_call: flags.warning_unary_request_duration,
            client_tls,
            peer_tls,
            self_signed_years: flags.tls.self_signed_cert_validity,
            access: Access::new(
                url::split_list(&flags.cors),
                url::split_list(&flags.host_whitelist),
            ),
            reuse_port: flags.socket_reuse_port,
            serves_json: flags.enable_grpc_gateway,
            file,
            tokens: tokens(&flags.auth_token)?,
            token_ttl: Duration::from_secs(flags.auth_token_ttl),
            bcrypt_cost: flags.bcrypt_cost,
            user_limits: Rules::parse(&flags.user_limits)?,
            comparison: flags.comparison.options(&flags.feature_gates)?,
            log: log(flags)?,
        })
    }

    /// Takes note of where clients reach this member.
    pub(crate) fn learn_client_urls(&mut self, bound: &[String]) {
        if self.advertise_bound {
            self.client_urls = bound.to_vec();
        }
    }

    /// Takes note of where other members reach this one.
    pub(crate) fn learn_peer_addresses(&mut self, bound: impl Iterator<Item = String>) {
        if self.advertise_bound {
            self.peer_urls = bound.collect();
            let own = self.founders.iter_mut().filter(|founder| founder.name == self.name);
            own.for_each(|founder| founder.peer_urls.clone_from(&self.peer_urls));
        }
    }

    /// The shortest life of a lease, whole seconds: one that an election cannot outlast.
    pub(crate) fn lease_ttl_min(&self) -> i64 {
        let millis = self.election_timeout.as_millis() * 3 / 2;
        i64::try_from(millis.div_ceil(1000)).expect("the election timeout is at most 50 s")
    }

    /// How long a request may take: five seconds, and two elections.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }
}

fn log(flags: &Flags) -> Result<LogConfig, String> {
    let outputs = url::split_list(&flags.log_outputs);
    let rotation = flags.enable_log_rotation.then(|| {
        let json = &flags.log_rotation_config_json;
        Rotation::new(json, &outputs)
    });
    Ok(LogConfig {
        level: flags.log_level.clone(),
        json: flags.log_format == "json",
        rotation: rotation.transpose()?,
        outputs,
    })
}

fn check_times(flags: &Flags) -> Result<(), String> {
    let (heartbeat, election) = (flags.heartbeat_interval, flags.election_timeout);
    if heartbeat == 0 || election == 0 {
        return Err(format!(
            "--heartbeat-interval and --election-timeout must be >0 \
             (set to {heartbeat}ms and {election}ms)"
        ));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_MILLIS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set \
             less than {ELECTION_MILLIS_MAX}ms"
        ));
    }
    if flags.watch_progress_notify_interval < PROGRESS_INTERVAL_MIN {
        return Err("--watch-progress-notify-interval must be at least 100ms".to_owned());
    }
    Ok(())
}

/// The members that `--initial-cluster` names. This one must be among them, as it is advertised.
fn founders(flags: &Flags, peer_urls: &[String]) -> Result<Vec<Founder>, String> {
    if !matches!(flags.initial_cluster_state.as_str(), "new" | "existing") {
        return Err(format!(
            "invalid value {:?} for --initial-cluster-state: must be new or existing",
            flags.initial_cluster_state
        ));
    }
    let mut founders = founders_in(&flags.initial_cluster)
        .map_err(|error| format!("--initial-cluster: {error}"))?;
    if founders.is_empty() {
        founders.push(Founder { name: flags.name.clone(), peer_urls: peer_urls.to_vec() });
    }
    if !founders.iter().any(|founder| founder.name == flags.name) {
        return Err(format!(
            "couldn't find local name {:?} in the initial cluster configuration",
            flags.name
        ));
    }
    let mut urls: Vec<&String> = founders.iter().flat_map(|founder| &founder.peer_urls).collect();
    urls.sort_unstable();
    match urls.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("--initial-cluster has {} twice", pair[0])),
        None => Ok(founders),
    }
}

/// The members in `NAME=URL,…`. One that has several URLs has its name before each.
///
/// # Errors
///
/// If that is not what it is.
pub(crate) fn founders_in(list: &str) -> Result<Vec<Founder>, String> {
    let mut founders: Vec<Founder> = Vec::new();
    for entry in url::split_list(list) {
        let Some((name, url)) = entry.split_once('=') else {
            return Err(format!("{entry:?} is not NAME=URL"));
        };
        url::check_advertised(url)?;
        let url = url.to_owned();
        match founders.iter_mut().find(|founder| founder.name == name) {
            Some(founder) => founder.peer_urls.push(url),
            None => founders.push(Founder { name: name.to_owned(), peer_urls: vec![url] }),
        }
    }
    Ok(founders)
}

fn tokens(words: &str) -> Result<TokenKind, String> {
    match words.split_once(',').unwrap_or((words, "")) {
        ("simple", _) => Ok(TokenKind::Simple),
        ("jwt", options) => Ok(TokenKind::Jwt(Jwt::new(options)?.into())),
        (other, _) => Err(format!("--auth-token {other:?}: auth: invalid auth options")),
    }
}

fn retention(flags: &Flags) -> Result<Option<Retention>, String> {
    let text = flags.auto_compaction_retention.as_str();
    let bad = |reason: String| format!("--auto-compaction-retention {text:?}: {reason}");
    match flags.auto_compaction_mode.as_str() {
        "revision" => {
            let count: u64 = text.parse().map_err(|_| bad("not a count of revisions".into()))?;
            Ok((count > 0).then_some(Retention::Revisions(count)))
        }
        "periodic" => {
            // A bare number is hours, for historical reasons.
            let period = match text.parse::<u32>() {
                Ok(hours) => Duration::from_secs(3600) * hours,
                Err(_) => duration::parse(text).map_err(bad)?,
            };
            Ok((!period.is_zero()).then_some(Retention::Period(period)))
        }
        other => Err(format!("undefined auto-compaction-mode ({other})")),
    }
}

fn listen_urls(list: &str) -> Result<Vec<ListenUrl>, String> {
    url::split_list(list).iter().map(|url| url::parse_listen(url)).collect()
}

fn advertised_urls(list: &str) -> Result<Vec<String>, String> {
    let urls = url::split_list(list);
    urls.iter().try_for_each(|url| url::check_advertised(url))?;
    Ok(urls)
}

fn nonempty<T>(list: Vec<T>, flag: &str) -> Result<Vec<T>, String> {
    match list.is_empty() {
        true => Err(format!("{flag} is empty")),
        false => Ok(list),
    }
}

#[cfg(test)]
mod tests;
