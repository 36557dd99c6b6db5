//! `mason server`: a server, until it is told to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use mason_core::keys::Keys;
use tokio::net::TcpListener;

use crate::api::{self, Api, Token};
use crate::gossip::{self, Role};
use crate::secrets::Keyring;
use crate::server::Server;
use crate::store::Store;

use super::exit::Exit;
use super::gossip::GossipArgs;
use super::signals::Signals;

/// How long it takes to give the office up, at most.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Run a server
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    gossip: GossipArgs,
    /// Where it answers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7800")]
    listen: SocketAddr,
    /// A key that secrets are sealed with (64 hex digits); the first seals, all unseal
    #[arg(long, value_name = "FILE", env = "MASON_SECRET_KEY", value_delimiter = ',')]
    secret_key: Vec<PathBuf>,
    /// What it tells the others of itself: where it can be reached
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Where the store is.
#[derive(Clone, Debug, Args)]
pub(super) struct StoreArgs {
    /// Members of the etcd cluster that holds everything
    #[arg(long, env = "MASON_STORE", value_name = "URL[,URL…]", value_delimiter = ',')]
    #[arg(required = true)]
    store: Vec<String>,
    /// What all its keys begin with
    #[arg(long, value_name = "PREFIX", default_value = "/mason/")]
    prefix: String,
}

impl StoreArgs {
    pub(super) async fn connect(&self) -> Result<Store> {
        let is_clean = self.prefix.starts_with('/') && self.prefix.ends_with('/');
        ensure!(is_clean, "--prefix {}: it must begin and end with /", self.prefix);
        let store = Store::connect(&self.store, Keys::new(&self.prefix)).await;
        store.with_context(|| format!("the store at {}", self.store.join(", ")))
    }
}

/// Listens, unless everybody could ask who should not.
pub(super) async fn listen(address: SocketAddr, token: Option<&Token>) -> Result<TcpListener> {
    if !address.ip().is_loopback() && token.is_none() {
        bail!(
            "--listen {address} is open to others: give a token by --token-file, \
             or listen on 127.0.0.1"
        );
    }
    TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))
}

/// Runs until it is told to end.
pub(super) async fn run(args: ServerArgs, token: Option<Token>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let keyring = match &args.secret_key[..] {
        [] => None,
        files => Some(Keyring::open(files).context("--secret-key")?),
    };
    let asked = args.listen;
    let listener = listen(asked, token.as_ref()).await?;
    let address = listener.local_addr().context("the address that was bound")?;
    let name = args.name.clone().unwrap_or_else(|| format!("http://{address}"));
    let store = tokio::select! {
        store = args.store.connect() => store?,
        signal = signals.next() => {
            tracing::info!(signal, "ends");
            return Ok(Exit::DONE);
        }
    };
    let (server, desk) = Server::start(store.clone(), &name);
    tracing::info!(%address, name, version = env!("CARGO_PKG_VERSION"), "serves");
    let api = Api::new(store, &server, keyring);
    let gossip = args.gossip.start(Role::Server(name), (asked, None), token.as_ref()).await?;
    let gossips = async {
        match gossip {
            Some((gossip, suspicions)) => gossip::inform(&server, &gossip, suspicions).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = desk => {
            ended.context("the server broke")??;
            bail!("the server has ended by itself")
        }
        () = gossips => bail!("gossip has ended by itself"),
        ended = api::serve(listener, api, token) => {
            ended.context("what it answers with")?;
            bail!("it answers no more")
        }
        signal = signals.next() => tracing::info!(signal, "ends"),
    }
    // If the store does not answer, the lease runs out by itself.
    let _ = tokio::time::timeout(LEAVE_MAX, server.stop()).await;
    Ok(Exit::DONE)
}
