//! The flags of `etcd grpc-proxy start`, and what they say together.
//!
//! What cannot be honoured stops the start ([`Words::refuse`]); what has no effect is said in one
//! warning each ([`Words::warnings`]), and in the README.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _, Parser};

use super::cluster::{Advertised, Register};
use super::message::Sizes;
use super::upstream::DIAL_TIMEOUT;
use crate::config::duration;
use crate::config::flags::parse_bool;
use crate::config::go_flags::{FlagError, normalise};
use crate::config::url::split_list;
use crate::connection::Manners;
use crate::remote::Reach;
use crate::srv::{ClientSearch, Search};
use crate::tls::{self, TlsOptions, Version};

/// What gRPC in Go takes of a client.
const RECEIVED_BYTES_MAX: usize = 4 << 20;
/// How often the members are pinged while calls are open, if the operator does not say.
/// Clients in Go ping no more often, and members end connections that do.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What `grpc-proxy start` is told.
#[derive(Debug, Parser)]
#[command(
    name = "drystone-etcd grpc-proxy start",
    about = "A proxy in front of members: shares their watches, leases and reads among its clients",
    after_help = "The flags are those of etcd grpc-proxy start; README.md, \"A proxy in front\", \
        says what each does here."
)]
pub(crate) struct Words {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:23790", value_name = "HOST:PORT")]
    pub(crate) listen_addr: String,
    /// An additional URL for the pages of monitoring alone
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub(crate) metrics_addr: String,
    /// Client URLs of members, with commas between them; the first that is there is used
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "URL,...")]
    #[arg(value_delimiter = ',', action = ArgAction::Append)]
    endpoints: Vec<String>,
    /// Take the members from the records that this domain has for clients
    #[arg(long, default_value = "", hide_default_value = true, value_name = "DOMAIN")]
    discovery_srv: String,
    /// What follows the names of the services in those records
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    discovery_srv_name: String,
    /// Where clients reach this proxy; MemberList tells them. Empty: it tells of the members
    #[arg(long, default_value = "127.0.0.1:23790", value_name = "HOST:PORT")]
    advertise_client_url: String,
    /// Below which key the proxies are listed; the same for all of them
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    resolver_prefix: String,
    /// Seconds that this proxy stays listed after its end
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    resolver_ttl: i64,
    /// Stands in front of all keys at the members
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    pub(crate) namespace: String,
    /// Where certificates of --auto-tls are kept; nothing else is
    #[arg(long, default_value = "default.proxy", value_name = "DIR")]
    data_dir: PathBuf,
    /// Bytes of a message to a member
    #[arg(long, default_value_t = 1536 << 10, value_name = "BYTES")]
    max_send_bytes: i64,
    /// Bytes of a message from a member
    #[arg(long, default_value_t = i32::MAX.into(), value_name = "BYTES")]
    max_recv_bytes: i64,
    /// Calls at once on one connection of a client
    #[arg(long, default_value_t = u32::MAX, value_name = "CALLS")]
    max_concurrent_streams: u32,
    /// Pings to members while calls are open; 0 is every 10s
    #[arg(long, default_value = "0s", value_parser = duration::parse, value_name = "TIME")]
    dial_keepalive_time: Duration,
    /// How long a member may leave a ping unanswered
    #[arg(long, default_value = "20s", value_parser = duration::parse, value_name = "TIME")]
    dial_keepalive_timeout: Duration,
    /// Ping members while no call is open, too
    #[command(flatten)]
    switches: Switches,
    /// How often clients may ping while calls are open; who does more often is sent away
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "TIME")]
    grpc_keepalive_min_time: Duration,
    /// Pings to clients on idle connections; 0 is never
    #[arg(long, default_value = "2h", value_parser = duration::parse, value_name = "TIME")]
    grpc_keepalive_interval: Duration,
    /// How long a client may leave a ping unanswered
    #[arg(long, default_value = "20s", value_parser = duration::parse, value_name = "TIME")]
    grpc_keepalive_timeout: Duration,
    /// A certificate that members are shown; it must have no common name
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    cert: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    key: String,
    /// Authorities that members' certificates may be of
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    cacert: String,
    /// Certificate that clients are shown
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    cert_file: String,
    /// Its key
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    key_file: String,
    /// Authorities that sign the certificates of clients, which must show one
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    trusted_ca_file: String,
    /// Certificates of clients that are revoked: a CRL in DER or PEM
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FILE")]
    client_crl_file: String,
    /// Years that a certificate of --auto-tls lives
    #[arg(long, default_value_t = 1, value_name = "YEARS")]
    self_signed_cert_validity: u32,
    /// Go's names of the cipher suites for TLS 1.2 towards clients
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME,...")]
    listen_cipher_suites: String,
    /// TLS1.2 or TLS1.3
    #[arg(long, default_value = "TLS1.2", value_name = "VERSION")]
    tls_min_version: String,
    /// TLS1.2 or TLS1.3 [default: TLS1.3]
    #[arg(long, default_value = "", hide_default_value = true, value_name = "VERSION")]
    tls_max_version: String,
    #[command(flatten)]
    refused: RefusedFlags,
}

/// The flags that are on or off, by name.
const SWITCHES: [(&str, &str); 7] = [
    ("insecure-discovery", "Take what records say without a certificate for the domain"),
    ("permit-without-stream", "Ping members while no call is open, too"),
    ("insecure-skip-tls-verify", "Do not verify the members' certificates"),
    ("auto-tls", "Make a certificate for clients where none is given"),
    ("debug", "Log more"),
    ("experimental-enable-grpc-logging", "Log every call"),
    ("enable-pprof", "Has no effect: there is no Go runtime to profile"),
];

/// Which of [`SWITCHES`] are on. Go's way: a switch never takes the next word.
#[derive(Debug, Default)]
struct Switches([bool; SWITCHES.len()]);

impl Switches {
    fn is_on(&self, name: &str) -> bool {
        let place = SWITCHES.iter().position(|(known, _)| *known == name);
        self.0[place.expect("it is one of them")]
    }
}

impl clap::Args for Switches {
    fn augment_args(command: Command) -> Command {
        command.args(SWITCHES.map(|(name, help)| switch(name, help)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Switches::augment_args(command)
    }
}

impl clap::FromArgMatches for Switches {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Switches, clap::Error> {
        let is_on = |(name, _): (&str, _)| matches.get_one::<bool>(name).is_some_and(|on| *on);
        Ok(Switches(SWITCHES.map(is_on)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Switches::from_arg_matches(matches)?;
        Ok(())
    }
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .value_parser(parse_bool)
        .num_args(0..=1)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
        .require_equals(true)
}

/// The flags that are refused when they are set, and why.
const REFUSED: [(&str, &str); 3] = [
    ("endpoints-auto-sync-interval", "the endpoints are those of --endpoints until the end"),
    ("experimental-leasing-prefix", "reads are not leased here"),
    (
        "experimental-serializable-ordering",
        "not needed for one member, and after its death a serializable read may be older",
    ),
];

/// What was said of [`REFUSED`].
#[derive(Debug, Default)]
struct RefusedFlags([String; REFUSED.len()]);

impl clap::Args for RefusedFlags {
    fn augment_args(command: Command) -> Command {
        command.args(REFUSED.map(|(name, why)| {
            let help = format!("Refused: {why}");
            match name.ends_with("ordering") {
                true => switch(name, "").help(help),
                false => Arg::new(name).long(name).help(help).value_name("VALUE"),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        RefusedFlags::augment_args(command)
    }
}

impl clap::FromArgMatches for RefusedFlags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<RefusedFlags, clap::Error> {
        let said = |(name, _): (&str, _)| match matches.try_get_one::<bool>(name) {
            Ok(on) => on.filter(|on| **on).map(|_| "true".to_owned()).unwrap_or_default(),
            Err(_) => matches.get_one::<String>(name).cloned().unwrap_or_default(),
        };
        Ok(RefusedFlags(REFUSED.map(said)))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = RefusedFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Why there is nothing to start.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The help.
    Print(String),
    /// What is wrong with the words.
    Misread(String),
}

impl Words {
    /// Reads the words behind `start`, in Go's syntax.
    pub(crate) fn read(words: &[OsString]) -> Result<Words, Stop> {
        let command = Words::command();
        let normal = normalise(&command, words.iter().cloned(), []).map_err(|error| {
            Stop::Misread(match error {
                FlagError::Unknown(name) => format!("unknown flag: --{name}"),
                FlagError::NeedsValue(name) => format!("flag needs an argument: --{name}"),
                other => other.to_string(),
            })
        })?;
        let matches = command.try_get_matches_from(last_of_each(&normal.words));
        let matches = matches.map_err(|error| {
            let text = error.to_string();
            if !error.use_stderr() {
                return Stop::Print(text);
            }
            let first = text.lines().next().unwrap_or_default();
            Stop::Misread(first.trim_start_matches("error: ").to_owned())
        })?;
        Words::from_arg_matches(&matches).map_err(|error| Stop::Misread(error.to_string()))
    }

    /// What of it cannot be honoured.
    ///
    /// # Errors
    ///
    /// The first, in etcd's words where it has some.
    pub(crate) fn refuse(&self) -> Result<(), String> {
        let set = REFUSED.iter().zip(&self.refused.0).find(|(_, said)| is_set(said));
        if let Some(((name, why), _)) = set {
            return Err(format!("--{name} is not supported: {why}"));
        }
        let (prefix, ttl) = (&self.resolver_prefix, self.resolver_ttl);
        if !prefix.is_empty() && ttl < 1 {
            return Err(format!("invalid resolver-ttl {ttl}"));
        }
        if prefix.is_empty() && ttl > 0 {
            return Err(format!("invalid resolver-prefix {prefix:?}"));
        }
        if !prefix.is_empty() && self.advertise_client_url.is_empty() {
            return Err(format!("invalid advertise-client-url {:?}", self.advertise_client_url));
        }
        if self.switches.is_on("auto-tls") && self.self_signed_cert_validity == 0 {
            let reason = "selfSignedCertValidity is invalid,it should be greater than 0";
            return Err(reason.to_owned());
        }
        Ok(())
    }

    /// What has no effect, if it was set.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.switches.is_on("enable-pprof") {
            warnings.push("--enable-pprof has no effect: there is no Go runtime to profile");
        }
        if self.switches.is_on("insecure-skip-tls-verify") {
            warnings.push(
                "--insecure-skip-tls-verify was given: anybody may be the members that this proxy \
                 talks to",
            );
        }
        warnings
    }

    /// The way to the members.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            endpoints: self.endpoints.iter().flat_map(|list| split_list(list)).collect(),
            cacert: file(&self.cacert),
            cert: file(&self.cert),
            key: file(&self.key),
            is_unverified: self.switches.is_on("insecure-skip-tls-verify"),
            user: None,
            password: None,
            dial_timeout: DIAL_TIMEOUT,
            ping_interval: self.dial_keepalive_time.max(PING_INTERVAL),
            ping_timeout: self.dial_keepalive_timeout,
        }
    }

    /// Which records name the members, if any do.
    pub(crate) fn search(&self) -> Option<ClientSearch> {
        let search =
            Search { domain: self.discovery_srv.clone(), name: self.discovery_srv_name.clone() };
        let insecure = self.switches.is_on("insecure-discovery");
        let wanted = ClientSearch { search, insecure, trusted_ca_file: file(&self.cacert) };
        is_set(&self.discovery_srv).then_some(wanted)
    }

    /// The certificate that members are shown, if there is one.
    pub(crate) fn shown_certificate(&self) -> Option<PathBuf> {
        file(&self.cert)
    }

    /// Whether members are pinged while no call is open.
    pub(crate) fn pings_idle(&self) -> bool {
        self.switches.is_on("permit-without-stream")
    }

    /// What clients are shown and asked for; nothing, if they come in the clear.
    ///
    /// # Errors
    ///
    /// If the flags contradict each other.
    pub(crate) fn client_tls(&self) -> Result<Option<TlsOptions>, String> {
        let wrong = |flag, error| format!("{flag} is invalid: {error}");
        let min = tls::version(&self.tls_min_version);
        let min = min.map_err(|error| wrong("tls-min-version", error))?;
        let max = tls::version(&self.tls_max_version);
        let max = max.map_err(|error| wrong("tls-max-version", error))?;
        if min.is_some() && max.is_some() && min > max {
            let (min, max) = (&self.tls_min_version, &self.tls_max_version);
            return Err(format!("min version ({min}) is greater than max version ({max})"));
        }
        let cipher_suites = split_list(&self.listen_cipher_suites);
        if min == Some(Version::Tls13) && !cipher_suites.is_empty() {
            let reason = "cipher suites cannot be configured when only TLS1.3 is enabled";
            return Err(reason.to_owned());
        }
        tls::suites(&cipher_suites)?;
        let options = TlsOptions {
            cert_file: file(&self.cert_file),
            key_file: file(&self.key_file),
            trusted_ca_file: file(&self.trusted_ca_file),
            crl_file: file(&self.client_crl_file),
            any_origin: true,
            auto: self.switches.is_on("auto-tls"),
            versions: (min, max),
            cipher_suites,
            ..TlsOptions::default()
        };
        let is_asked = !options.is_empty() || options.trusted_ca_file.is_some() || options.auto;
        Ok(Some(options).filter(|_| is_asked))
    }

    /// Where a certificate is to be made, and for how many years.
    pub(crate) fn fixtures(&self) -> (PathBuf, u32) {
        let dir = self.data_dir.join("fixtures").join("proxy");
        (dir, self.self_signed_cert_validity)
    }

    /// How large messages may be.
    pub(crate) fn sizes(&self) -> Sizes {
        let or_else = |bytes: i64, otherwise: usize| match usize::try_from(bytes) {
            Ok(bytes) if bytes > 0 => bytes,
            // As in etcd, nothing and less are what they would be without the flag.
            _ => otherwise,
        };
        let whole = i32::MAX as usize;
        Sizes {
            received_max: RECEIVED_BYTES_MAX,
            sent_max: or_else(self.max_send_bytes, 2 << 20),
            answer_max: or_else(self.max_recv_bytes, whole),
        }
    }

    /// How clients' connections are served.
    pub(crate) fn manners(&self) -> Manners {
        let pings = Some(self.grpc_keepalive_interval).filter(|interval| !interval.is_zero());
        Manners {
            ping_interval: pings,
            ping_timeout: self.grpc_keepalive_timeout,
            ping_pace: self.grpc_keepalive_min_time,
            streams_max: self.max_concurrent_streams,
        }
    }

    /// What clients are told of the proxies.
    pub(crate) fn advertised(&self, name: String) -> Advertised {
        let register =
            Register { prefix: self.resolver_prefix.clone(), ttl_seconds: self.resolver_ttl };
        Advertised {
            url: self.advertise_client_url.clone(),
            name,
            register: Some(register).filter(|register| !register.prefix.is_empty()),
        }
    }

    /// The least level of what is logged.
    pub(crate) fn log_level(&self) -> &'static str {
        if self.switches.is_on("debug") { "debug" } else { "info" }
    }

    /// Whether each call is logged.
    pub(crate) fn logs_calls(&self) -> bool {
        self.switches.is_on("experimental-enable-grpc-logging")
    }
}

/// Of a flag that is given twice the last counts, as in Go; endpoints add up.
fn last_of_each(words: &[OsString]) -> Vec<OsString> {
    let comes_again = |at: usize| match flag_name(&words[at]) {
        None | Some("endpoints") => false,
        name => words[at + 1..].iter().any(|later| flag_name(later) == name),
    };
    let kept = (0..words.len()).filter(|at| !comes_again(*at));
    kept.map(|at| words[at].clone()).collect()
}

fn flag_name(word: &OsString) -> Option<&str> {
    let flag = word.to_str()?.strip_prefix("--")?;
    flag.split('=').next()
}

/// A flag in its default, written out, asks for nothing.
fn is_set(said: &str) -> bool {
    !matches!(said, "" | "0" | "0s" | "false")
}

fn file(name: &str) -> Option<PathBuf> {
    (!name.is_empty()).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Words, Stop> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Words::read(&words)
    }

    fn refusal(words: &[&str]) -> String {
        read(words).expect("they can be read").refuse().expect_err("they are refused")
    }

    // clap checks its own consistency only when asked.
    #[test]
    fn command_is_consistent() {
        Words::command().debug_assert();
    }

    // Manifests made for etcd use each of these forms.
    #[test]
    fn flags_are_read_as_etcd_takes_them() {
        let words = read(&[
            "--endpoints=http://a:1,b:2",
            "--endpoints",
            "c:3",
            "-namespace=app/",
            "--auto-tls",
            "--debug",
            "--debug=false",
            "--max-send-bytes=1",
            "--max-send-bytes=100",
        ]);
        let words = words.unwrap();
        assert_eq!(words.reach().endpoints, ["http://a:1", "b:2", "c:3"]);
        assert_eq!(words.namespace, "app/");
        assert_eq!((words.log_level(), words.sizes().sent_max), ("info", 100));
        assert!(words.client_tls().unwrap().unwrap().auto);
        let plain = read(&[]).unwrap();
        assert_eq!(plain.reach().endpoints, ["127.0.0.1:2379"]);
        assert_eq!(plain.client_tls(), Ok(None));
        assert_eq!(plain.sizes().sent_max, 1_572_864);
        assert!(plain.refuse().is_ok() && plain.warnings().is_empty());
        let Err(Stop::Misread(text)) = read(&["--nonsense"]) else { panic!("it is read") };
        assert_eq!(text, "unknown flag: --nonsense");
        let Err(Stop::Print(text)) = read(&["--help"]) else { panic!("it is no question") };
        assert!(text.contains("--endpoints"), "{text}");
    }

    // A flag that is taken and not honoured is found out on the day it is needed.
    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (name, _) in REFUSED {
            let flag = match name.ends_with("ordering") {
                true => format!("--{name}"),
                false => format!("--{name}=1s"),
            };
            assert!(refusal(&[&flag]).starts_with(&format!("--{name} is not supported")), "{name}");
        }
        assert!(read(&["--endpoints-auto-sync-interval=0"]).unwrap().refuse().is_ok());
        assert_eq!(refusal(&["--resolver-ttl=3"]), "invalid resolver-prefix \"\"");
        assert_eq!(refusal(&["--resolver-prefix=a"]), "invalid resolver-ttl 0");
        let nowhere = ["--resolver-prefix=a", "--resolver-ttl=1", "--advertise-client-url="];
        assert_eq!(refusal(&nowhere), "invalid advertise-client-url \"\"");
        let crossed = read(&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"]).unwrap();
        assert!(crossed.client_tls().unwrap_err().contains("is greater than max version"));
    }
}
