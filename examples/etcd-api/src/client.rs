//! A connection to an etcd member, with settings that suit small requests.
//!
//! # Problem
//! The defaults of HTTP/2 are made for browsers: a flow-control window of 64 KiB stalls a watcher
//! after a few hundred events, and a peer that vanished without a word is noticed after minutes.
//!
//! # Idea
//! One [`Config`], one [`connect`], one [`Client`] that hands out the generated stubs over the same
//! connection. A `Channel` is safe to share between tasks: cloning it is cheap, and calls from all
//! clones run side by side as streams of one connection.
//!
//! # Promises
//! Small messages leave at once (`TCP_NODELAY`). A dead peer is noticed within
//! `keepalive_interval + keepalive_timeout`. [`connect`] fails if nobody answers, while
//! [`connect_lazy`] waits for the first call. The channel reconnects by itself.
//!
//! # Omissions
//! No TLS, tokens, retries or choice among endpoints: callers differ in what they want there.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint, Error};

use crate::etcdserverpb::{
    auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};

/// How a connection behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to wait for TCP to connect.
    pub connect_timeout: Duration,
    /// A ping after this long without traffic while a call is open. etcd closes a connection that
    /// pings more often than every 5 s.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// Bytes that may be under way to one call (a unary answer or a watch stream).
    pub stream_window_bytes: u32,
    /// Bytes that may be under way on the whole connection.
    pub connection_window_bytes: u32,
    /// Largest answer to accept, in bytes. Ranges have no limit of their own, so neither has this.
    pub answer_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connect_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            answer_bytes_max: i32::MAX as usize,
        }
    }
}

/// Opens a connection to `endpoint`: `http://host:port`, or `host:port` for short.
///
/// # Errors
/// If the endpoint is no URL, or nobody accepts the connection in time.
pub async fn connect(endpoint: &str, config: &Config) -> Result<Client, Error> {
    let channel = http2(endpoint, config)?.connect().await?;
    Ok(Client { channel, answer_bytes_max: config.answer_bytes_max })
}

/// As [`connect`], but the connection is opened by the first call. Needs a tokio runtime around it.
///
/// # Errors
/// If the endpoint is no URL.
pub fn connect_lazy(endpoint: &str, config: &Config) -> Result<Client, Error> {
    let channel = http2(endpoint, config)?.connect_lazy();
    Ok(Client { channel, answer_bytes_max: config.answer_bytes_max })
}

/// One connection, and the calls that can be made over it.
///
/// Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    answer_bytes_max: usize,
}

impl Client {
    /// The connection itself, for stubs not named here (locks, elections, health).
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Keys: range, put, delete, transaction, compaction.
    #[must_use]
    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    /// Watches.
    #[must_use]
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    /// Leases.
    #[must_use]
    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    /// Members.
    #[must_use]
    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    /// Status, alarms, snapshots.
    #[must_use]
    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel()).max_decoding_message_size(self.answer_bytes_max)
    }
}

fn http2(endpoint: &str, config: &Config) -> Result<Endpoint, Error> {
    let url = if endpoint.contains("://") { endpoint.into() } else { format!("http://{endpoint}") };
    Ok(Endpoint::from_shared(url)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(config.stream_window_bytes)
        .initial_connection_window_size(config.connection_window_bytes))
}
