//! Every flag, under etcd's name, with etcd's default.
//!
//! A flag falls in one of three classes, and `--help` says which. [`Flags`] are those that do
//! something. [`IDLE`] are accepted so that a command line written for etcd starts, and have no
//! effect; the help text says why that is harmless. [`REFUSED`] ask for something that this server
//! cannot do yet and whose silent absence would hurt, such as TLS: they stop the start.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

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
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) version: bool,
    /// Human-readable name of this member
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Directory for the data [default: NAME.etcd]
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) data_dir: String,
    /// What holds the records: memory, btree or lsm [default: what the data directory was made
    /// with, lsm for a new one]
    #[arg(long, value_parser = engine_parser(), hide_possible_values = true)]
    pub(crate) storage_engine: Option<EngineKind>,
    /// Memory that btree and lsm take for what was read and written last [default: 128 MiB for
    /// lsm, up to 1 GiB for btree]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub(crate) storage_memory_bytes: Option<u64>,
    /// URLs to accept clients on: http://IP:PORT or unix://PATH
    #[arg(long)]
    pub(crate) listen_client_urls: Option<String>,
    /// Client URLs told to others; required when --listen-client-urls is given
    #[arg(long)]
    pub(crate) advertise_client_urls: Option<String>,
    /// URLs to accept other members on: http://IP:PORT
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
    #[arg(long, alias = "experimental-max-learners", default_value_t = 1)]
    pub(crate) max_learners: u64,
    /// Commands that stay in the log for members that are a little behind
    #[arg(long, alias = "experimental-snapshot-catchup-entries", default_value_t = 5000)]
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
    #[arg(long, alias = "experimental-watch-progress-notify-interval", default_value = "10m")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) watch_progress_notify_interval: std::time::Duration,
    /// How often to ping an idle connection; 0 is never
    #[arg(long, default_value = "2h", value_parser = super::duration::parse)]
    pub(crate) grpc_keepalive_interval: std::time::Duration,
    /// How long a ping may stay unanswered
    #[arg(long, default_value = "20s", value_parser = super::duration::parse)]
    pub(crate) grpc_keepalive_timeout: std::time::Duration,
    /// basic, or extensive: times of gRPC calls as well
    #[arg(long, default_value = "basic", value_parser = ["basic", "extensive"])]
    pub(crate) metrics: String,
    /// Log and count commands that take longer to apply
    #[arg(long, alias = "experimental-warning-apply-duration", default_value = "100ms")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) warning_apply_duration: std::time::Duration,
    /// Log unary calls that take longer
    #[arg(long, alias = "experimental-warning-unary-request-duration", default_value = "300ms")]
    #[arg(value_parser = super::duration::parse)]
    pub(crate) warning_unary_request_duration: std::time::Duration,
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
}

/// A flag outside [`Flags`]: its name, whether it is a boolean, and what to say about it.
pub(crate) struct Extra {
    /// Without dashes.
    pub(crate) name: &'static str,
    is_bool: bool,
    help: &'static str,
}

const fn value(name: &'static str, help: &'static str) -> Extra {
    Extra { name, is_bool: false, help }
}

const fn boolean(name: &'static str, help: &'static str) -> Extra {
    Extra { name, is_bool: true, help }
}

const UNWATCHED: &str = "members are not compared with each other yet";
const OWN_STORE: &str = "tunes etcd's storage, which this server does not have";

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
    boolean("experimental-memory-mlock", OWN_STORE),
    boolean("memory-mlock", OWN_STORE),
    value("compaction-batch-limit", OWN_STORE),
    value("experimental-compaction-batch-limit", OWN_STORE),
    value("compaction-sleep-interval", OWN_STORE),
    value("experimental-compaction-sleep-interval", OWN_STORE),
    value("bootstrap-defrag-threshold-megabytes", OWN_STORE),
    value("experimental-bootstrap-defrag-threshold-megabytes", OWN_STORE),
    boolean("initial-corrupt-check", "checksums are verified at every start"),
    boolean("experimental-initial-corrupt-check", "checksums are verified at every start"),
    value("corrupt-check-time", UNWATCHED),
    value("experimental-corrupt-check-time", UNWATCHED),
    boolean("compact-hash-check-enabled", UNWATCHED),
    boolean("experimental-compact-hash-check-enabled", UNWATCHED),
    value("compact-hash-check-time", UNWATCHED),
    value("experimental-compact-hash-check-time", UNWATCHED),
    value("downgrade-check-time", UNWATCHED),
    value("experimental-downgrade-check-time", UNWATCHED),
    value("feature-gates", "no gate changes what one member does here"),
    value("v2-deprecation", "there is no v2 store"),
    value("grpc-keepalive-min-time", "clients may ping as often as they like"),
    boolean("socket-reuse-port", "one listener hands connections to all cores"),
    boolean("socket-reuse-address", "always on"),
    value("cors", "no cross-origin headers are sent"),
    value("host-whitelist", "the Host header is not looked at"),
    boolean("enable-pprof", "there is no Go runtime to profile"),
    value("auth-token", "authentication is not implemented yet"),
    value("auth-token-ttl", "authentication is not implemented yet"),
    value("bcrypt-cost", "authentication is not implemented yet"),
    boolean("enable-log-rotation", "log files are not rotated"),
    value("log-rotation-config-json", "log files are not rotated"),
    boolean("enable-distributed-tracing", "no traces are sent"),
    boolean("experimental-enable-distributed-tracing", "no traces are sent"),
    boolean("experimental-enable-lease-checkpoint", "leases keep their remaining time anyway"),
    boolean(
        "experimental-enable-lease-checkpoint-persist",
        "leases keep their remaining time anyway",
    ),
    boolean("unsafe-no-fsync", "every write is synced all the same"),
];

const TLS: &str = "TLS is not implemented yet";
const DISCOVERY: &str = "discovery is not implemented yet";

/// Known to etcd, and refused here when set.
pub(crate) const REFUSED: &[Extra] = &[
    value("config-file", "configuration files are not implemented yet"),
    value("wal-dir", "a separate directory for the journal is not implemented yet"),
    value("listen-client-http-urls", "splitting HTTP from gRPC is not implemented yet"),
    value("cert-file", TLS),
    value("key-file", TLS),
    value("trusted-ca-file", TLS),
    boolean("client-cert-auth", TLS),
    value("client-crl-file", TLS),
    value("client-cert-allowed-hostname", TLS),
    boolean("auto-tls", TLS),
    value("peer-cert-file", TLS),
    value("peer-key-file", TLS),
    value("peer-trusted-ca-file", TLS),
    boolean("peer-client-cert-auth", TLS),
    value("peer-client-cert-file", TLS),
    value("peer-client-key-file", TLS),
    value("peer-crl-file", TLS),
    value("peer-cert-allowed-cn", TLS),
    value("peer-cert-allowed-hostname", TLS),
    boolean("peer-auto-tls", TLS),
    value("cipher-suites", TLS),
    value("tls-min-version", TLS),
    value("tls-max-version", TLS),
    value("discovery", DISCOVERY),
    value("discovery-srv", DISCOVERY),
    value("discovery-token", DISCOVERY),
    value("discovery-endpoints", DISCOVERY),
];

/// The whole command line, for clap.
pub(crate) fn command() -> Command {
    let extra = |flag: &Extra, heading: &'static str| {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help).help_heading(heading);
        match flag.is_bool {
            true => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(parse_bool),
            false => arg.allow_hyphen_values(true),
        }
    };
    Flags::command()
        .args(IDLE.iter().map(|flag| extra(flag, "Accepted without effect, because")))
        .args(REFUSED.iter().map(|flag| extra(flag, "Refused when set, because")))
}

/// The flags in `matches`, unless one of [`REFUSED`] is set.
pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Flags, String> {
    for flag in REFUSED {
        let set = match flag.is_bool {
            true => matches.get_one::<bool>(flag.name) == Some(&true),
            false => matches.get_one::<String>(flag.name).is_some_and(|value| !value.is_empty()),
        };
        if set {
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

fn parse_bool(text: &str) -> Result<bool, String> {
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

    // A member that silently served plain text where TLS was asked for would leak everything.
    #[test]
    fn tls_is_refused_rather_than_ignored() {
        let refused = |words: &[&str]| {
            let matches = command().try_get_matches_from(words).unwrap();
            from_matches(&matches).err()
        };
        assert!(refused(&["e", "--cert-file=a.pem"]).unwrap().contains("TLS"));
        assert!(refused(&["e", "--client-cert-auth"]).is_some());
        assert_eq!(refused(&["e", "--client-cert-auth=false", "--cert-file="]), None);
    }

    // An idle flag must be told, else its user believes in it.
    #[test]
    fn idle_flags_are_reported() {
        let matches = command().try_get_matches_from(["e", "--snapshot-count=9"]).unwrap();
        assert_eq!(idle_in(&matches), ["snapshot-count"]);
        assert!(from_matches(&matches).is_ok());
    }
}
