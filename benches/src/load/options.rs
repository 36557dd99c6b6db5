//! What load to make.

use std::num::{NonZeroU64, NonZeroUsize};

use anyhow::{Result, ensure};

use crate::keys::KeySpace;

/// The numbers of a load, whatever its kind.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Members to talk to, as host:port or http://host:port, with commas between them; the
    /// connections are dealt out among them
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        value_name = "ENDPOINT,...",
        default_value = "127.0.0.1:2379"
    )]
    pub endpoint: Vec<String>,
    /// Clients, each with one request under way at a time
    #[arg(long, global = true, default_value = "1")]
    pub clients: NonZeroUsize,
    /// Connections the clients are spread over
    #[arg(long, global = true, default_value = "1")]
    pub connections: NonZeroUsize,
    /// Bytes of a key
    #[arg(long, global = true, default_value_t = 32)]
    pub key_size: usize,
    /// Different keys
    #[arg(long, global = true, default_value_t = 1_000_000)]
    pub key_space: u64,
    /// Take keys at random, not in order
    #[arg(long, global = true)]
    pub random: bool,
    /// Bytes of a value
    #[arg(long, global = true, default_value_t = 256)]
    pub val_size: usize,
    /// Requests to make (for watch: puts to make)
    #[arg(long, global = true, default_value = "10000")]
    pub total: NonZeroU64,
    /// Begin no request after this many seconds, even if the total is not reached; 0 for no limit
    #[arg(long, global = true, default_value_t = 0.0)]
    pub seconds: f64,
    /// Requests a second; 0 for as many as the clients can make
    #[arg(long, global = true, default_value_t = 0)]
    pub rate: u64,
    /// Threads to run the clients on; 0 for one a core
    #[arg(long, global = true, default_value_t = 0)]
    pub threads: usize,
    /// Seed for random keys and values
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
}

impl Options {
    /// The keys and values these options ask for.
    ///
    /// # Errors
    /// If so many keys do not fit the key size.
    pub fn key_space(&self) -> Result<KeySpace> {
        KeySpace::new(self.key_size, self.key_space, self.val_size, self.seed)
    }

    /// Threads to start: never more than there are connections.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let wanted = if self.threads == 0 { cores } else { self.threads };
        wanted.min(self.connections.get())
    }
}

/// The kind of load.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Workload {
    /// Write one key
    Put,
    /// Read one key or many
    Range {
        /// Take the member's own state, without asking a majority
        #[arg(long)]
        serializable: bool,
        /// Keys to return at most; 0 for all
        #[arg(long, default_value_t = 0)]
        limit: i64,
        /// Return the number of keys alone
        #[arg(long)]
        count_only: bool,
        /// What to read
        #[arg(long, value_enum, default_value = "one")]
        span: Span,
    },
    /// Transactions with a condition, some of them reading and some writing one key
    TxnMixed {
        /// How many of a hundred only read
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100))]
        reads: u64,
    },
    /// Reads and writes of one key, without transactions
    Mixed {
        /// How many of a hundred only read
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100))]
        reads: u64,
    },
    /// Every client watches while others put; counts and times events
    Watch {
        /// What a client watches: all keys, or one: client 0 the first, client 1 the second, ...,
        /// from the first again behind the last
        #[arg(long, value_enum, default_value = "all")]
        span: Span,
        /// Clients that put, each over a connection of its own
        #[arg(long, default_value = "1")]
        writers: NonZeroUsize,
    },
    /// Every client keeps leases of its own alive, one after the other; they are left to end by
    /// themselves
    LeaseKeepalive {
        /// Leases of all clients together, but one a client at least
        #[arg(long, default_value_t = 0)]
        leases: usize,
    },
}

impl Workload {
    /// As on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Workload::Put => "put",
            Workload::Range { .. } => "range",
            Workload::TxnMixed { .. } => "txn-mixed",
            Workload::Mixed { .. } => "mixed",
            Workload::Watch { .. } => "watch",
            Workload::LeaseKeepalive { .. } => "lease-keepalive",
        }
    }

    /// Clients that write while the others watch.
    #[must_use]
    pub fn writers(&self) -> usize {
        match self {
            Workload::Watch { writers, .. } => writers.get(),
            _ => 0,
        }
    }

    /// Refuses combinations that cannot be measured.
    ///
    /// # Errors
    /// If a watched value has no room for the time it was sent, or it cannot be told how many
    /// events a watcher will see.
    pub fn check(&self, options: &Options) -> Result<()> {
        ensure!(
            options.seconds >= 0.0 && options.seconds.is_finite(),
            "--seconds must be 0 or more"
        );
        if let Workload::Watch { span, .. } = *self {
            ensure!(
                options.val_size >= 8,
                "watch puts the time of sending into the value: --val-size must be 8 or more"
            );
            ensure!(span != Span::Rest, "watch knows --span all and --span one");
            ensure!(
                span == Span::All || !options.random,
                "with --random nobody knows how many events a watcher of one key will see"
            );
        }
        Ok(())
    }
}

/// How much one read takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Span {
    /// One key
    One,
    /// From one key to the end of the key space
    Rest,
    /// The whole key space
    All,
}
