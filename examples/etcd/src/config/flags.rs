//! Every flag, under etcd's name, with etcd's default.
//!
//! A flag falls in one of three classes, and `--help` says which. [`Flags`] are those that do
//! something. [`IDLE`] are accepted so that a command line written for etcd starts, and have no
//! effect; the help text says why that is harmless. [`REFUSED`] ask for something that this server
//! cannot do and whose silent absence would hurt: they stop the start.
//!
//! Names that etcd has given up are put right before ([`super::old_names`]).

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use super::comparison_flags::ComparisonFlags;
use super::discovery_flags::DiscoveryFlags;
use super::space_flags::SpaceFlags;
use super::tls_flags::TlsFlags;
use crate::store::EngineKind;

const BOOLS: &str = "1 t T TRUE true True 0 f F FALSE false False";

/// The flags that have an effect.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "drystone-etcd",
    disable_version_flag = true,
    args_override_self = true,
    about = "One etcd v3 member, assembled from drystone crates.",
    after_help = "Flags follow Go's rules: -x v, -x=v, --x v, --x=v; booleans --x or --x=false.\n\
        Every flag can be given as ETCD_<NAME> in the environment; the command line wins."
)]
pub(crate) struct Flags {
    /// Print the version and exit
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    #[arg(hide_default_value = true)]
    pub(crate) version: bool,
    /// Human-readable name of this member
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Directory for the data [default: NAME.etcd]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) data_dir: String,
    /// Directory for the journal alone, best on a disk of its own [default: in the data directory]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) wal_dir: String,
    /// Start on data that etcd itself has written, which converts them and keeps etcd's files;
    /// otherwise they are refused
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "true", default_missing_value = "true", require_equals = true)]
    pub(crate) convert_etcd_data: bool,
    /// What holds the records: memory, btree or lsm [default: what the data directory was made
    /// with, lsm for a new one]
    #[arg(long, value_parser = engine_parser(), hide_possible_values = true)]
    pub(crate) storage_engine: Option<EngineKind>,
    /// Memory that btree and lsm take for what was read and written last [default: 128 MiB for
    /// lsm, up to 1 GiB for btree]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub(crate) storage_memory_bytes: Option<u64>,
    /// A file that stands in the place of all other flags and variables, in YAML or JSON
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) config_file: String,
    /// URLs to accept clients on: http://IP:PORT, https://IP:PORT, unix://PATH or unixs://PATH
    #[arg(long)]
    pub(crate) listen_client_urls: Option<String>,
    /// Client URLs told to others; required when --listen-client-urls is given
    #[arg(long)]
    pub(crate) advertise_client_urls: Option<String>,
    /// URLs to accept clients on that speak HTTP; those of --listen-client-urls then serve gRPC
    /// alone
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) listen_client_http_urls: String,
    /// URLs to accept other members on: http://IP:PORT or https://IP:PORT
    #[arg(long, default_value = "http://localhost:2380")]
    pub(crate) listen_peer_urls: String,
    /// Peer URLs of this member; with the token they make its number
    #[arg(long, default_value = "http://localhost:2380")]
    pub(crate) initial_advertise_peer_urls: String,
    /// Members of the cluster that is founded or joined, NAME=URL,... [default: this one alone]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) initial_cluster: String,
    /// new founds the cluster, existing joins it; a member that has data goes on with that
    #[arg(long, default_value = "new")]
    pub(crate) initial_cluster_state: String,
    /// Tells clusters with equal URLs apart
    #[arg(long, default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// Further URLs that answer /metrics, /health, /livez and /readyz alone
    #[arg(long, default_value = "")]
    pub(crate) listen_metrics_urls: String,
    /// Bytes at which writes stop with an alarm; 0 is 2 GiB, negative is none
    #[arg(long, default_value_t = 0)]
    pub(crate) quota_backend_bytes: i64,
    /// Operations allowed in a transaction
    #[arg(long, default_value_t = 128)]
    pub(crate) max_txn_ops: u32,
    /// Bytes allowed in a request
    #[arg(long, default_value_t = 1_572_864)]
    pub(crate) max_request_bytes: u32,
    /// Calls at once on one connection
    #[arg(long, default_value_t = u32::MAX)]
    pub(crate) max_concurrent_streams: u32,
    /// Go on alone with the data that this member has; all others are removed
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) force_new_cluster: bool,
    /// Refuse changes of members that could cost the quorum
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "true", default_missing_value = "true", require_equals = true)]
    pub(crate) strict_reconfig_check: bool,
    /// Learners allowed at once
    #[arg(long, default_value_t = 1)]
    pub(crate) max_learners: u64,
    /// Commands that stay in the log for members that are a little behind
    #[arg(long, default_value_t = 5000)]
    pub(crate) snapshot_catchup_entries: u64,
    /// Milliseconds between the signs of life of a leader
    #[arg(long, default_value_t = 100)]
    pub(crate) heartbeat_interval: u64,
    /// Milliseconds that a leader may be silent; leases live at least 1.5 times as long, requests
    /// time out after 5 s and twice this
    #[arg(long, default_value_t = 1000)]
    pub(crate) election_timeout: u64,
    /// periodic or revision
    #[arg(long, default_value = "periodic")]
    pub(crate) auto_compaction_mode: String,
    /// What to keep: hours or a duration (periodic), or a count (revision); 0 is off
    #[arg(long, default_value = "0")]
    pub(crate) auto_compaction_retention: String,
    /// How often idle watchers that asked for it are told the revision
    #[arg(long, default_value = "10m")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) watch_progress_notify_interval: std::time::Duration,
    /// How often to ping an idle connection; 0 is never
    #[arg(long, default_value = "2h", value_parser = super::duration::parse)]
    pub(crate) grpc_keepalive_interval: std::time::Duration,
    /// How long a ping may stay unanswered
    #[arg(long, default_value = "20s", value_parser = super::duration::parse)]
    pub(crate) grpc_keepalive_timeout: std::time::Duration,
    /// How often clients may ping that have a call open; the third ping too soon ends the
    /// connection. 0 is 5m
    #[arg(long, default_value = "5s", value_parser = super::duration::parse)]
    pub(crate) grpc_keepalive_min_time: std::time::Duration,
    /// basic, or extensive: times of gRPC calls as well
    #[arg(long, default_value = "basic", value_parser = ["basic", "extensive"])]
    pub(crate) metrics: String,
    /// Log and count commands that take longer to apply
    #[arg(long, default_value = "100ms")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) warning_apply_duration: std::time::Duration,
    /// Log unary calls that take longer
    #[arg(long, default_value = "300ms")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) warning_unary_request_duration: std::time::Duration,
    /// Origins of pages that may read answers; * is all
    #[arg(long, default_value = "*")]
    pub(crate) cors: String,
    /// Names of this server that HTTP requests may be for, unless under TLS; * is all
    #[arg(long, default_value = "*")]
    pub(crate) host_whitelist: String,
    /// Bind to ports that others have bound in the same way
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) socket_reuse_port: bool,
    /// Serve JSON below /v3/
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "true", default_missing_value = "true", require_equals = true)]
    pub(crate) enable_grpc_gateway: bool,
    /// Gates of features, NAME=true or NAME=false, separated by commas; they are checked, and none
    /// changes what a member does here
    #[arg(long, default_value = "", value_parser = super::feature_gates::check)]
    #[arg(hide_default_value = true)]
    pub(crate) feature_gates: String,
    #[command(flatten)]
    pub(crate) space: SpaceFlags,
    #[command(flatten)]
    pub(crate) comparison: ComparisonFlags,
    #[command(flatten)]
    pub(crate) tls: TlsFlags,
    #[command(flatten)]
    pub(crate) discovery: DiscoveryFlags,
    /// Tokens that users are given: simple, or
    /// jwt,pub-key=FILE,priv-key=FILE,sign-method=METHOD,ttl=5m
    #[arg(long, default_value = "simple")]
    pub(crate) auth_token: String,
    /// Seconds that a simple token lives unless it is used
    #[arg(long, default_value_t = 300)]
    pub(crate) auth_token_ttl: u64,
    /// How slow passwords are hashed: 4 to 31, each step twice as slow
    #[arg(long, default_value_t = 10)]
    pub(crate) bcrypt_cost: u32,
    /// How much of this member each user may have: NAME=requests:N/bytes:N/in-flight:N,... with
    /// numbers a second, and at once; * is every other user, ? whoever has no name, by address
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) user_limits: String,
    /// zap is the only one: one JSON object a line
    #[arg(long, default_value = "zap", value_parser = ["zap"])]
    pub(crate) logger: String,
    /// debug, info, warn, error, panic or fatal
    #[arg(long, default_value = "info")]
    #[arg(value_parser = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"])]
    pub(crate) log_level: String,
    /// json or console
    #[arg(long, default_value = "json", value_parser = ["json", "console"])]
    pub(crate) log_format: String,
    /// default, stderr, stdout or files, separated by commas
    #[arg(long, default_value = "default")]
    pub(crate) log_outputs: String,
    /// Put the log file of --log-outputs aside when it has grown
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) enable_log_rotation: bool,
    /// When: {"maxsize": MB, "maxage": days, "maxbackups": count}; 0 is no limit, but 100 MB
    #[arg(long, default_value = "{}", hide_default_value = true)]
    pub(crate) log_rotation_config_json: String,
}

/// A flag outside [`Flags`]: its name, what it takes, and what to say about it.
pub(crate) struct Extra {
    /// Without dashes.
    pub(crate) name: &'static str,
    kind: Kind,
    pub(crate) help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Bool,
    /// Of old: it takes anything or nothing, as long as that is in one word.
    Old,
}

const fn value(name: &'static str, help: &'static str) -> Extra {
    Extra { name, kind: Kind::Value, help }
}

const fn boolean(name: &'static str, help: &'static str) -> Extra {
    Extra { name, kind: Kind::Bool, help }
}

const fn old(name: &'static str) -> Extra {
    Extra { name, kind: Kind::Old, help: "no longer supported by etcd either, which ignores it" }
}

const NO_DOWNGRADE: &str = "there is no downgrade to watch";
const OWN_STORE: &str = "tunes etcd's storage, which this server does not have";
const NO_TRACES: &str = "no traces are sent";
const NO_GATE: &str = "a feature gate of old: see --feature-gates";

/// Accepted without effect, and why that does no harm.
pub(crate) const IDLE: &[Extra] = &[
    value("snapshot-count", "the log is shortened by its size, not by a count of entries"),
    value("max-snapshots", OWN_STORE),
    value("max-wals", OWN_STORE),
    boolean("pre-vote", "always on"),
    boolean("initial-election-tick-advance", "elections wait no longer than they must"),
    value("backend-batch-limit", OWN_STORE),
    value("backend-batch-interval", OWN_STORE),
    value("backend-bbolt-freelist-type", OWN_STORE),
    boolean("memory-mlock", OWN_STORE),
    value("compaction-batch-limit", OWN_STORE),
    value("compaction-sleep-interval", OWN_STORE),
    value("bootstrap-defrag-threshold-megabytes", OWN_STORE),
    value("raft-read-timeout", "a silent connection between members is ended after 10 s"),
    value("raft-write-timeout", "a silent connection between members is ended after 10 s"),
    value("downgrade-check-time", NO_DOWNGRADE),
    value("v2-deprecation", "there is no v2 store"),
    boolean("socket-reuse-address", "always on"),
    boolean("enable-pprof", "there is no Go runtime to profile"),
    boolean("enable-distributed-tracing", NO_TRACES),
    value("distributed-tracing-address", NO_TRACES),
    value("distributed-tracing-service-name", NO_TRACES),
    value("distributed-tracing-instance-id", NO_TRACES),
    value("distributed-tracing-sampling-rate", NO_TRACES),
    boolean("experimental-enable-lease-checkpoint", NO_GATE),
    boolean("experimental-enable-lease-checkpoint-persist", NO_GATE),
    boolean("experimental-txn-mode-write-with-shared-buffer", NO_GATE),
    boolean("experimental-stop-grpc-service-on-defrag", NO_GATE),
    boolean("unsafe-no-fsync", "every write is synced all the same"),
    value("discovery-fallback", DISCOVERY),
    value("discovery-proxy", DISCOVERY),
    old("cluster-active-size"),
    old("cluster-remove-delay"),
    old("cluster-sync-interval"),
    old("config"),
    old("force"),
    old("max-result-buffer"),
    old("max-retry-attempts"),
    old("peer-heartbeat-interval"),
    old("peer-election-timeout"),
    old("retry-interval"),
    old("snapshot"),
    old("v"),
    old("vv"),
];

const DISCOVERY: &str = "only --discovery-endpoints and --discovery-srv are implemented";

/// Known to etcd, and refused here when set.
pub(crate) const REFUSED: &[Extra] = &[value("discovery", DISCOVERY)];

/// The whole command line, for clap.
pub(crate) fn command() -> Command {
    let extra = |flag: &Extra, heading: &'static str| {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help).help_heading(heading);
        let optional =
            |arg: Arg| arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        match flag.kind {
            Kind::Bool => optional(arg).value_parser(parse_bool),
            Kind::Old => optional(arg),
            Kind::Value => arg.allow_hyphen_values(true),
        }
    };
    Flags::command()
        .args(IDLE.iter().map(|flag| extra(flag, "Accepted without effect, because")))
        .args(REFUSED.iter().map(|flag| extra(flag, "Refused when set, because")))
}

/// The flags in `matches`, unless one of [`REFUSED`] is set.
pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Flags, String> {
    for flag in REFUSED {
        if matches.get_one::<String>(flag.name).is_some_and(|value| !value.is_empty()) {
            return Err(format!("--{}: {}", flag.name, flag.help));
        }
    }
    Flags::from_arg_matches(matches).map_err(|error| error.to_string())
}

/// The idle flags that `matches` holds: the operator is told once that they do nothing.
pub(crate) fn idle_in(matches: &ArgMatches) -> Vec<&'static str> {
    let given = |flag: &&Extra| matches.contains_id(flag.name);
    IDLE.iter().filter(given).map(|flag| flag.name).collect()
}

fn engine_parser() -> impl TypedValueParser<Value = EngineKind> {
    let names = PossibleValuesParser::new(EngineKind::ALL.map(EngineKind::name));
    names.map(|name| name.parse().expect("only names of engines get through"))
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    let place = BOOLS.split(' ').position(|word| word == text);
    place.map(|place| place < 6).ok_or_else(|| "parse error".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // clap checks its own consistency only when asked: doubled names, bad defaults.
    #[test]
    fn command_is_consistent() {
        command().debug_assert();
    }

    // Go reads twelve words as a boolean, and etcd's users write all of them.
    #[test]
    fn go_booleans_are_read() {
        for text in ["1", "t", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Ok(true));
        }
        for text in ["0", "f", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Ok(false));
        }
        assert!(parse_bool("yes").is_err());
    }

    // A member that silently founded a cluster of its own would split what it was to join.
    #[test]
    fn discovery_is_refused_rather_than_ignored() {
        let refused = |words: &[&str]| {
            let matches = command().try_get_matches_from(words).unwrap();
            from_matches(&matches).err()
        };
        assert!(refused(&["e", "--discovery=http://a.local"]).unwrap().contains("discovery"));
        assert_eq!(refused(&["e", "--discovery="]), None);
    }

    // An idle flag must be told, else its user believes in it.
    #[test]
    fn idle_flags_are_reported() {
        let matches = command().try_get_matches_from(["e", "--snapshot-count=9"]).unwrap();
        assert_eq!(idle_in(&matches), ["snapshot-count"]);
        assert!(from_matches(&matches).is_ok());
    }
}
