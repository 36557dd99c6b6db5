//! What the operator asked for, checked.
//!
//! ```text
//!   words + environment --go_flags--> one form --flags (clap)--> Flags --Config::new--> Config
//!        Go's syntax                              names, types            rules between flags
//! ```
//!
//! The first two steps fail with exit status 2, as Go's flag package does; broken rules with 1.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::compactor::Retention;
use crate::store::EngineKind;

mod duration;
pub(crate) mod flags;
mod go_flags;
pub(crate) mod url;

pub(crate) use url::ListenAddress;

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
    /// What holds the records; `None` is what the data directory was made with.
    pub(crate) storage_engine: Option<EngineKind>,
    pub(crate) storage_memory_bytes: Option<u64>,
    /// Whether a new member joins a cluster that is there.
    pub(crate) existing: bool,
    /// Whether the member goes on alone, whoever else there was.
    pub(crate) force_new_cluster: bool,
    /// Where clients connect.
    pub(crate) listen_client: Vec<ListenAddress>,
    /// Where the plain HTTP routes are served alone.
    pub(crate) listen_metrics: Vec<ListenAddress>,
    /// What clients are told to connect to.
    pub(crate) client_urls: Vec<String>,
    /// Members and clients are told the ports that were bound, whatever the URLs say: who embeds
    /// a member may leave the choice of a port to the system.
    pub(crate) advertise_bound: bool,
    /// Where other members connect.
    pub(crate) listen_peer: Vec<ListenAddress>,
    /// What other members are told to connect to.
    pub(crate) peer_urls: Vec<String>,
    /// The members of the cluster that a new member founds or joins, this one among them.
    pub(crate) founders: Vec<Founder>,
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
    /// Whether /metrics shows the times of gRPC calls.
    pub(crate) extensive_metrics: bool,
    /// What takes longer to apply is logged and counted.
    pub(crate) slow_apply: Duration,
    /// Unary calls that take longer are logged.
    pub(crate) slow_call: Duration,
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
}

impl LogConfig {
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
    let normalised = match go_flags::normalise(&command, args, env) {
        Ok(normalised) => normalised,
        Err(error @ go_flags::FlagError::Stray(_)) => return refuse(&error.to_string()),
        Err(error) => return Start::Refuse(format!("{error}\n{SEE_HELP}"), 2),
    };
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
    match Config::new(&flags) {
        Ok(config) => Start::Serve(Box::new(config), warnings),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &str) -> Start {
    Start::Refuse(format!("error verifying flags, {error}. {SEE_HELP}"), 1)
}

impl Config {
    fn new(flags: &Flags) -> Result<Config, String> {
        if flags.listen_client_urls.is_some() && flags.advertise_client_urls.is_none() {
            return Err("--advertise-client-urls is required when --listen-client-urls is set \
                explicitly"
                .to_owned());
        }
        let client_default = "http://localhost:2379";
        let listen_client = flags.listen_client_urls.as_deref().unwrap_or(client_default);
        let advertised = flags.advertise_client_urls.as_deref().unwrap_or(client_default);
        let peer_urls = advertised_urls(&flags.initial_advertise_peer_urls)?;
        check_times(flags)?;
        let founders = founders(flags, &peer_urls)?;
        let election_timeout = Duration::from_millis(flags.election_timeout);
        let data_dir = match flags.data_dir.as_str() {
            "" => format!("{}.etcd", flags.name),
            given => given.to_owned(),
        };
        Ok(Config {
            name: flags.name.clone(),
            data_dir: data_dir.into(),
            storage_engine: flags.storage_engine,
            storage_memory_bytes: flags.storage_memory_bytes,
            existing: flags.initial_cluster_state == "existing",
            listen_client: nonempty(listen_urls(listen_client)?, "--listen-client-urls")?,
            listen_metrics: listen_urls(&flags.listen_metrics_urls)?,
            client_urls: nonempty(advertised_urls(advertised)?, "--advertise-client-urls")?,
            advertise_bound: false,
            force_new_cluster: flags.force_new_cluster,
            listen_peer: listen_urls(&flags.listen_peer_urls)?,
            founders,
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
            max_txn_ops: flags.max_txn_ops as usize,
            max_request_bytes: flags.max_request_bytes as usize,
            max_concurrent_streams: flags.max_concurrent_streams,
            election_timeout,
            retention: retention(flags)?,
            watch_progress_interval: flags.watch_progress_notify_interval,
            keepalive_interval: Some(flags.grpc_keepalive_interval).filter(|t| !t.is_zero()),
            keepalive_timeout: flags.grpc_keepalive_timeout,
            extensive_metrics: flags.metrics == "extensive",
            slow_apply: flags.warning_apply_duration,
            slow_call: flags.warning_unary_request_duration,
            log: LogConfig {
                level: flags.log_level.clone(),
                json: flags.log_format == "json",
                outputs: url::split_list(&flags.log_outputs),
            },
        })
    }

    /// Takes note of where clients reach this member.
    pub(crate) fn learn_client_urls(&mut self, bound: &[String]) {
        if self.advertise_bound {
            self.client_urls = bound.to_vec();
        }
    }

    /// Takes note of where other members reach this one.
    pub(crate) fn learn_peer_addresses(&mut self, bound: impl Iterator<Item = SocketAddr>) {
        if self.advertise_bound {
            self.peer_urls = bound.map(|address| format!("http://{address}")).collect();
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
    let mut founders: Vec<Founder> = Vec::new();
    for entry in url::split_list(&flags.initial_cluster) {
        let Some((name, url)) = entry.split_once('=') else {
            return Err(format!("--initial-cluster: {entry:?} is not NAME=URL"));
        };
        url::check_advertised(url)?;
        let url = url.to_owned();
        match founders.iter_mut().find(|founder| founder.name == name) {
            Some(founder) => founder.peer_urls.push(url),
            None => founders.push(Founder { name: name.to_owned(), peer_urls: vec![url] }),
        }
    }
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

fn listen_urls(list: &str) -> Result<Vec<ListenAddress>, String> {
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
mod tests {
    use super::*;

    fn start(line: &str) -> Start {
        read(line.split_whitespace().map(OsString::from), [])
    }

    fn serve(line: &str) -> Config {
        match start(line) {
            Start::Serve(config, _) => *config,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refuse(line: &str) -> (String, u8) {
        match start(line) {
            Start::Refuse(text, status) => (text, status),
            other => panic!("{line}: {other:?}"),
        }
    }

    // No flags at all is how most people meet a database.
    #[test]
    fn defaults_are_etcds() {
        let config = serve("");
        assert_eq!(config.name, "default");
        assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(config.client_urls, ["http://localhost:2379"]);
        assert_eq!(config.quota_bytes, Some(2 << 30));
        assert_eq!((config.max_txn_ops, config.max_request_bytes), (128, 1_572_864));
        assert_eq!(config.lease_ttl_min(), 2);
        assert_eq!(config.request_timeout(), Duration::from_secs(7));
        let default = "http://localhost:2380".to_owned();
        let own = Founder { name: "default".to_owned(), peer_urls: vec![default] };
        assert_eq!(config.founders, [own]);
        assert_eq!((config.strict_reconfig, config.learners_max), (true, 1));
    }

    // The command line of the kubernetes integration tests, single dash included.
    #[test]
    fn kubernetes_test_flags_start() {
        let config = serve(
            "--data-dir /x --listen-client-urls unix:///x/etcd.sock --advertise-client-urls \
             http://127.0.0.111:0 --listen-peer-urls http://127.0.0.1:0 -log-level warn \
             --quota-backend-bytes 8589934592",
        );
        assert_eq!(config.listen_client, [ListenAddress::Unix("/x/etcd.sock".into())]);
        assert_eq!(config.quota_bytes, Some(8 << 30));
        assert_eq!(config.log.level, "warn");
    }

    // A typing error must not choose an engine; an empty variable is how a unit file says "none".
    #[test]
    fn storage_engine_is_one_of_three_or_left_open() {
        assert_eq!(serve("").storage_engine, None);
        for kind in EngineKind::ALL {
            assert_eq!(serve(&format!("--storage-engine {kind}")).storage_engine, Some(kind));
            let env = [("ETCD_STORAGE_ENGINE".into(), kind.name().into())];
            let Start::Serve(config, _) = read([], env) else {
                panic!("{kind} from the environment")
            };
            assert_eq!(config.storage_engine, Some(kind));
        }
        let Start::Serve(config, _) = read([], [("ETCD_STORAGE_ENGINE".into(), "".into())]) else {
            panic!("an empty variable is none")
        };
        assert_eq!(config.storage_engine, None);
        let (text, status) = refuse("--storage-engine=rocksdb");
        assert_eq!(status, 2, "{text}");
        assert!(text.contains("memory, btree, lsm"), "{text}");
    }

    // Tools that test a configuration look at the status and the text.
    #[test]
    fn broken_rules_exit_with_one() {
        let check = |line: &str, part: &str| {
            let (text, status) = refuse(line);
            assert_eq!(status, 1, "{line}: {text}");
            assert!(text.contains(part), "{line}: {text}");
        };
        check("--listen-client-urls http://127.0.0.1:1", "is required when");
        check("--heartbeat-interval 500", "at least as 5 times");
        check("--election-timeout 60000", "too long");
        let twice = "a=http://localhost:2380,default=http://localhost:2380";
        check(&format!("--initial-cluster {twice}"), "twice");
        check("--initial-cluster-state old", "must be new or existing");
        check("--initial-cluster a=http://x:1", "couldn't find local name");
        check("--listen-metrics-urls ftp://x", "URL scheme");
        check("--auto-compaction-retention x", "retention");
        check("--auto-compaction-mode x", "undefined");
        check("stray", "'stray' is not a valid flag");
    }

    // A member may have several URLs, each under its name.
    #[test]
    fn initial_cluster_names_every_member() {
        let config = serve(
            "--name a --initial-advertise-peer-urls http://a:1,http://a:2 \
             --initial-cluster a=http://a:2,b=http://b:1,a=http://a:1",
        );
        let names: Vec<_> = config.founders.iter().map(|f| (&*f.name, f.peer_urls.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1)]);
    }

    // Go's flag package exits with 2.
    #[test]
    fn unreadable_flags_exit_with_two() {
        assert_eq!(refuse("--enable-v2").1, 2);
        assert_eq!(refuse("--max-txn-ops many").1, 2);
        assert_eq!(refuse("--name").1, 2);
        assert_eq!(refuse("--log-level loud").1, 2);
    }

    // Both are asked before anything else is looked at.
    #[test]
    fn help_and_version_print() {
        for line in ["--help", "-h", "-help"] {
            assert!(matches!(start(line), Start::Print(text) if text.contains("--data-dir")));
        }
        for line in ["--version", "-version"] {
            assert!(matches!(start(line), Start::Print(text) if text.starts_with("etcd Version")));
        }
    }

    // Two modes share one flag, and a bare number means hours in one of them.
    #[test]
    fn retention_depends_on_the_mode() {
        let check = |line: &str, retention| assert_eq!(serve(line).retention, retention, "{line}");
        check("--auto-compaction-retention 0", None);
        let hours = |n: u64| Some(Retention::Period(Duration::from_secs(3600 * n)));
        check("--auto-compaction-retention 2", hours(2));
        check("--auto-compaction-retention 120m", hours(2));
        check("--auto-compaction-mode revision --auto-compaction-retention 0", None);
        let mode = "--auto-compaction-mode=revision --auto-compaction-retention=1000";
        check(mode, Some(Retention::Revisions(1000)));
    }
}
