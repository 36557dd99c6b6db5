//! The flags of `etcd grpc-proxy start`, and what they say together.
//!
//! What cannot be honoured stops the start ([`Words::refuse`]); what has no effect is said in one
//! warning each ([`Words::warnings`]), and in the README.

mod meaning;
mod switches;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser};

use crate::config::duration;
use crate::config::go_flags::{FlagError, normalise};

use switches::Switches;

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
    /// How often the members are asked who they are; 0 is never
    #[arg(long, default_value = "0s", value_parser = duration::parse, value_name = "TIME")]
    endpoints_auto_sync_interval: Duration,
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
    /// Below which key proxies say which keys they answer for; reads of those are answered here
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    experimental_leasing_prefix: String,
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
        assert_eq!((plain.sync_interval(), plain.keeps_order()), (None, false));
        assert!(plain.refuse().is_ok() && plain.warnings().is_empty());
        let Err(Stop::Misread(text)) = read(&["--nonsense"]) else { panic!("it is read") };
        assert_eq!(text, "unknown flag: --nonsense");
        let Err(Stop::Print(text)) = read(&["--help"]) else { panic!("it is no question") };
        assert!(text.contains("--endpoints"), "{text}");
    }

    // A flag that is taken and not honoured is found out on the day it is needed.
    #[test]
    fn what_cannot_be_honoured_is_refused() {
        assert_eq!(refusal(&["--resolver-ttl=3"]), "invalid resolver-prefix \"\"");
        assert_eq!(refusal(&["--resolver-prefix=a"]), "invalid resolver-ttl 0");
        let nowhere = ["--resolver-prefix=a", "--resolver-ttl=1", "--advertise-client-url="];
        assert_eq!(refusal(&nowhere), "invalid advertise-client-url \"\"");
        let crossed = read(&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"]).unwrap();
        assert!(crossed.client_tls().unwrap_err().contains("is greater than max version"));
    }
}
