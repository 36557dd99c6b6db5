//! What `gateway start` is told: etcd's flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use crate::config::{duration_of, parse_bool};

/// Where clients listen to a member if nobody says otherwise.
const PORT: &str = "2379";

const GATEWAY_HELP: &str = "gateway related command

Usage:
  drystone-etcd gateway [command]

Available Commands:
  start       start the gateway

Use \"drystone-etcd gateway start --help\" for more information.
";

/// The flags of `gateway start`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "drystone-etcd gateway start",
    bin_name = "drystone-etcd gateway start",
    about = "Hands TCP connections on to members.",
    args_override_self = true
)]
pub(super) struct Options {
    /// Where to take connections
    #[arg(long, default_value = "127.0.0.1:23790", value_name = "HOST:PORT")]
    pub(super) listen_addr: String,
    /// Members, as host:port or as URLs, with commas between them
    #[arg(long, default_value = "127.0.0.1:2379", value_delimiter = ',', value_name = "HOST:PORT")]
    #[arg(action = ArgAction::Append)]
    endpoints: Vec<String>,
    /// Domain whose SRV records name the members: _etcd-client-ssl._tcp and _etcd-client._tcp
    #[arg(long, default_value = "", hide_default_value = true, value_name = "DOMAIN")]
    pub(super) discovery_srv: String,
    /// What follows the names of those services: _etcd-client-NAME._tcp
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub(super) discovery_srv_name: String,
    /// Take records for true without a certificate of their domain
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(super) insecure_discovery: bool,
    /// How often to try endpoints that could not be reached; 0 is five minutes
    #[arg(long, default_value = "1m0s", value_parser = duration_of)]
    pub(super) retry_delay: Duration,
    /// Authorities that those certificates may be of [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(super) trusted_ca_file: Option<PathBuf>,
    /// Words that mean nothing, as with etcd
    #[arg(hide = true)]
    _others: Vec<String>,
}

/// What is asked for.
pub(super) enum Asked {
    Start(Box<Options>),
    /// To be printed, with success.
    Help(String),
    /// To be printed as an error.
    Wrong(String),
}

/// Reads the words from `gateway` on. A command that is not known is answered with help, as by
/// etcd.
pub(super) fn read(words: &[OsString]) -> Asked {
    match words.get(1) {
        Some(word) if word == "start" => {}
        _ => return Asked::Help(GATEWAY_HELP.to_owned()),
    }
    let read = Options::command()
        .try_get_matches_from(&words[1..])
        .and_then(|matches| Options::from_arg_matches(&matches));
    match read {
        Ok(options) => Asked::Start(Box::new(options)),
        Err(error) if error.use_stderr() => Asked::Wrong(error.to_string().trim_end().to_owned()),
        Err(help) => Asked::Help(help.to_string()),
    }
}

impl Options {
    /// The members, as `host:port`.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = String> {
        self.endpoints.iter().filter(|endpoint| !endpoint.is_empty()).map(|text| bare(text))
    }
}

/// `host:port` of an endpoint that may be a URL, and may have no port.
fn bare(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.is_empty() { endpoint } else { host };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
}

/// A host, without the brackets of an address, and a port.
pub(super) fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if bracketed.is_none() && host.contains([':', '[', ']']) {
        return None;
    }
    Some((bracketed.unwrap_or(host), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(words: &[&str]) -> Vec<String> {
        let words = ["gateway", "start"].iter().chain(words).map(OsString::from);
        match read(&words.collect::<Vec<_>>()) {
            Asked::Start(options) => options.endpoints().collect(),
            Asked::Help(text) | Asked::Wrong(text) => panic!("{text}"),
        }
    }

    // Lists that were written for `etcdctl` are copied here.
    #[test]
    fn endpoints_may_be_urls() {
        assert_eq!(endpoints(&[]), ["127.0.0.1:2379"]);
        let list = "--endpoints=https://a.b:1/,http://user@c,[::1]:2,[::1],d,e:3";
        let expected = ["a.b:1", "c:2379", "[::1]:2", "[::1]:2379", "d:2379", "e:3"];
        assert_eq!(endpoints(&[list]), expected);
        assert_eq!(endpoints(&["--endpoints", "a:1", "--endpoints", "b:2"]), ["a:1", "b:2"]);
        assert_eq!(endpoints(&["--endpoints="]), [""; 0]);
    }

    // What cannot be dialled must not wait until a client comes.
    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(split_host_port("a:1"), Some(("a", 1)));
        assert_eq!(split_host_port("[::1]:1"), Some(("::1", 1)));
        assert_eq!(split_host_port(":1"), Some(("", 1)));
        for text in ["a", "a:b:2379", "::1", "a:99999", "unix:///x:2379"] {
            assert_eq!(split_host_port(text), None, "{text}");
        }
    }
}
