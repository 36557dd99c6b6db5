//! `gateway start`: one address on every machine, behind which the members are.
//!
//! **The problem.** Programs have to be told where the members are, and told again when members
//! move. Not every program can hold a list.
//!
//! **The idea.** A small forwarder beside the program: it takes TCP connections and hands each to a
//! member. It looks at no byte, so whatever is spoken goes through, TLS as well.
//!
//! ```text
//!   program ──► 127.0.0.1:23790 ──► a member that is active: in turn, or by priority and weight
//!                                     │ cannot be reached
//!                                     ▼
//!                                   inactive, until one attempt every --retry-delay succeeds
//! ```
//!
//! This is etcd's TCP gateway, with its flags, lines and statuses. (The gateway that speaks JSON is
//! [`crate::gateway`].)
//!
//! **Promises.** A connection ends when both sides have ended it: who has said all may still hear
//! the answer. Who does not read slows the other side down, and costs two buffers. While no
//! endpoint is active, connections are closed at once.
//!
//! **Otherwise than etcd's:** that one waits for the system's patience with an endpoint that does
//! not answer, this one for [`pump::DIAL_TIMEOUT`]; that one ends both directions with the first,
//! and the process when it cannot accept. Weights are exact, and nobody is taken by turns whose
//! priority is not the best.

mod balance;
mod options;
mod pump;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, lookup_host};

use crate::config::{LogConfig, go_text};
use crate::listener::bind_tcp;
use crate::logging;
use crate::notify;
use crate::srv::{ClientSearch, Record, Search, client_endpoints};

use balance::Balance;
use options::{Asked, Options, split_host_port};

/// Why it does not start. Scripts that know etcd look where etcd writes it.
enum Refusal {
    /// On standard output.
    Said(String),
    /// On standard error.
    Failed(String),
}

/// How often inactive endpoints are tried where the flag says 0.
const RETRY_DELAY_OF_ZERO: Duration = Duration::from_secs(300);

/// Does what the words from `gateway` on say. Returns when it cannot start.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let options = match options::read(words) {
        Asked::Start(options) => options,
        Asked::Help(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Asked::Wrong(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = logging::start(&log()) {
        eprintln!("cannot open the log: {error}");
        return ExitCode::FAILURE;
    }
    let args: Vec<String> = std::env::args().collect();
    tracing::info!(args = args.join(" "), "Running: ");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start(&options)) {
        Err(Refusal::Said(text)) => println!("{text}"),
        Err(Refusal::Failed(text)) => eprintln!("{text}"),
        Ok(never) => match never {},
    }
    ExitCode::FAILURE
}

fn log() -> LogConfig {
    let outputs = vec!["default".to_owned()];
    LogConfig { level: "info".to_owned(), json: true, outputs, rotation: None }
}

async fn start(options: &Options) -> Result<std::convert::Infallible, Refusal> {
    let records = records(options).await?;
    let listener = listen(options, &records).await?;
    let places: Vec<String> = records.iter().map(pump::address).collect();
    tracing::info!(endpoints = places.join(","), "ready to proxy client requests");
    notify::ready();
    let delay = match options.retry_delay.is_zero() {
        true => RETRY_DELAY_OF_ZERO,
        false => options.retry_delay,
    };
    let balance = Arc::new(Mutex::new(Balance::new(records)));
    tokio::spawn(pump::revive(balance.clone(), delay));
    Ok(pump::serve(listener, balance, go_text(delay)).await)
}

/// Where connections go: what a domain says, or else what the flag says.
async fn records(options: &Options) -> Result<Vec<Record>, Refusal> {
    if !options.discovery_srv.is_empty() {
        let wanted = ClientSearch {
            search: Search {
                domain: options.discovery_srv.clone(),
                name: options.discovery_srv_name.clone(),
            },
            insecure: options.insecure_discovery,
            trusted_ca_file: options.trusted_ca_file.clone(),
        };
        let found = client_endpoints(&wanted).await;
        let found = found.map_err(|error| Refusal::Failed(format!("{error:#}")))?;
        if !found.is_empty() {
            return Ok(found.into_iter().map(|endpoint| endpoint.record).collect());
        }
    }
    let records = options.endpoints().map(|endpoint| match split_host_port(&endpoint) {
        Some((host, port)) => Ok(Record { priority: 0, target: host.to_owned(), port, weight: 0 }),
        None => Err(Refusal::Said(format!("error parsing endpoint {endpoint:?}"))),
    });
    records.collect()
}

/// Binds, unless an endpoint leads back here: every connection would come round for ever.
async fn listen(options: &Options, records: &[Record]) -> Result<TcpListener, Refusal> {
    let listen = options.listen_addr.as_str();
    let Some((host, port)) = split_host_port(listen) else {
        return Err(Refusal::Said(format!("failed to validate listen address: {listen}")));
    };
    let own: Vec<_> = match lookup_host((host, port)).await {
        Ok(found) if !host.is_empty() => found.collect(),
        _ => return Err(Refusal::Said(format!("failed to resolve listen host: {host}"))),
    };
    for Record { target, port: to, .. } in records {
        let Ok(mut found) = lookup_host((target.as_str(), *to)).await else {
            return Err(Refusal::Said(format!("failed to resolve endpoint host: {target}")));
        };
        if let Some(address) = found.find(|address| own.contains(address)) {
            let ip = address.ip();
            return Err(Refusal::Said(format!(
                "SRV or endpoint ({target}:{to}->{ip}:{to}) should not resolve to the gateway \
                 listen addr ({listen})"
            )));
        }
    }
    if records.is_empty() {
        return Err(Refusal::Said("no endpoints found".to_owned()));
    }
    let bound = own.iter().map(|address| bind_tcp(*address, false));
    let mut failure = String::new();
    for bound in bound {
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                failure = "bind: address already in use".to_owned();
            }
            Err(error) => failure = format!("bind: {error}"),
        }
    }
    Err(Refusal::Failed(format!("listen tcp {listen}: {failure}")))
}
