//! What `bench` is told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::remote::RemoteFlags;

/// Requests of each kind, if nobody says otherwise.
const TOTAL: u64 = 10_000;
/// What a key has at least: a mark, and its number in full.
const KEY_BYTES_MIN: usize = 9;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Writes one key
    Put,
    /// Reads one key, linearizably
    Get,
    /// Reads one key of what the asked member has
    GetSerializable,
    /// Reads a hundred keys, linearizably
    Range,
    /// Four gets, one put
    Mixed,
    /// Writes one key if it is as this client left it
    Txn,
    /// One writes, all clients watch: how long an event takes from its put to each of them
    Watch,
    /// Grants a lease
    LeaseGrant,
    /// Keeps a lease alive
    LeaseKeepAlive,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::GetSerializable => "get-serializable",
            Kind::Range => "range",
            Kind::Mixed => "mixed",
            Kind::Txn => "txn",
            Kind::Watch => "watch",
            Kind::LeaseGrant => "lease-grant",
            Kind::LeaseKeepAlive => "lease-keep-alive",
        }
    }
}

/// What `bench` is told.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "drystone-etcd bench",
    about = "What this machine, or any etcd at --endpoints, can do",
    after_help = "Without endpoints a member is started in a directory of its own, and removed in \
        the end.\nKeys begin with --prefix; they stay where they were put.\n\
        Status: 0 all was answered, 1 some requests failed, 2 bad usage or nobody is there."
)]
pub(super) struct Options {
    /// Kinds of load [default: all of them]
    #[arg(value_enum)]
    kind: Vec<Kind>,
    #[command(flatten)]
    pub(super) remote: RemoteFlags,
    /// Clients, each with one request under way at a time; for watch, those who watch
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Connections that they share
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    conns: u32,
    /// Requests of each kind; for watch, puts [default: 10000, without end with --time]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    total: Option<u64>,
    /// Begin no request after so long
    #[arg(long, value_parser = crate::config::duration_of)]
    pub(super) time: Option<Duration>,
    /// Requests a second; 0 is as many as there can be
    #[arg(long, default_value_t = 0)]
    pub(super) rate: u64,
    /// Bytes of a key, its prefix included
    #[arg(long, default_value_t = 32)]
    pub(super) key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    pub(super) value_size: usize,
    /// Different keys [default: as many as requests, a million at most]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,
    /// What keys begin with
    #[arg(long, default_value = "bench/")]
    pub(super) prefix: String,
    /// Members to start, where no endpoints are given
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub(super) members: u16,
    /// Where those have their data: on the disk that is asked about
    #[arg(long, default_value = ".")]
    pub(super) dir: PathBuf,
    /// A JSON document a kind
    #[arg(long)]
    pub(super) json: bool,
}

impl Options {
    /// Reads the words of the command line, `bench` included.
    pub(super) fn read(words: &[OsString]) -> Result<Options, clap::Error> {
        let options = Options::try_parse_from(words)?;
        if options.key_size < options.prefix.len() + KEY_BYTES_MIN {
            let least = options.prefix.len() + KEY_BYTES_MIN;
            let text = format!("--key-size must be at least {least} with this prefix\n");
            return Err(Options::command().error(ErrorKind::ValueValidation, text));
        }
        Ok(options)
    }

    /// What to run, in order.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        match self.kind.is_empty() {
            true => Kind::value_variants().to_vec(),
            false => self.kind.clone(),
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total.unwrap_or(if self.time.is_some() { u64::MAX } else { TOTAL })
    }

    pub(super) fn keys(&self) -> u64 {
        self.keys.unwrap_or(self.total().min(1_000_000))
    }

    pub(super) fn clients(&self) -> usize {
        self.clients as usize
    }

    pub(super) fn connections(&self) -> usize {
        self.conns.min(self.clients) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, clap::Error> {
        let words: Vec<OsString> = ["bench"].iter().chain(words).map(OsString::from).collect();
        Options::read(&words)
    }

    // Who says how long does not say how many, and the other way round.
    #[test]
    fn time_or_total_bounds_a_run() {
        let default = read(&[]).unwrap();
        assert_eq!((default.total(), default.time, default.keys()), (TOTAL, None, TOTAL));
        assert_eq!(default.kinds().len(), 9);
        let timed = read(&["put", "--time", "3s"]).unwrap();
        assert_eq!((timed.total(), timed.time), (u64::MAX, Some(Duration::from_secs(3))));
        assert_eq!((timed.kinds(), timed.keys()), (vec![Kind::Put], 1_000_000));
        assert_eq!(read(&["--total", "7"]).unwrap().keys(), 7);
    }

    // More connections than clients would stand idle; a key must have room for its number.
    #[test]
    fn sizes_are_bounded() {
        assert_eq!(read(&["--clients", "3", "--conns", "9"]).unwrap().connections(), 3);
        assert!(read(&["--key-size", "14"]).is_err());
        assert!(read(&["--key-size", "15"]).is_ok());
        assert!(read(&["--clients", "0"]).is_err());
        assert!(read(&["no-such-kind"]).is_err());
    }
}
