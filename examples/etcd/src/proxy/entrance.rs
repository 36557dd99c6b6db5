//! Where clients come in: what is listened on, and their connections.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::Semaphore;

use super::front::Front;
use crate::config::ListenAddress;
use crate::config::url::parse_listen;
use crate::connection::{Plain, Server, Stream};
use crate::listener::{Door, Listener, rest_after};
use crate::shutdown::Shutdown;
use crate::tls::{Secured, ServerTls};

/// Takes connections until the proxy stops, and waits for those that are open then. So many are
/// open at once as there is room for; further ones wait in the kernel's backlog.
pub(super) async fn accept(
    listener: Listener,
    server: Server,
    front: Front,
    room: Arc<Semaphore>,
    mut stop: Shutdown,
) {
    // Every connection holds a sender; when all are gone, so are the connections.
    let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await;
            (permit.expect("the semaphore is never closed"), listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.fired() => break,
        };
        let stream = match accepted.and_then(Plain::adopt) {
            Ok(stream) => stream,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        let entered = enter(server.clone(), stream, listener.door(), front.clone(), stop.clone());
        let alive = alive.clone();
        tokio::spawn(async move {
            entered.await;
            drop((alive, permit));
        });
    }
    drop((alive, listener));
    all_gone.recv().await;
}

/// Serves a connection, once it has come through the door.
async fn enter(server: Server, stream: Stream, door: Door, front: Front, mut stop: Shutdown) {
    let entered = tokio::select! {
        entered = door.pass(stream) => entered,
        () = stop.fired() => return,
    };
    if let Some(Secured { stream, .. }) = entered {
        server.serve(stream, front, true, stop).await;
    }
}

/// Binds to `HOST:PORT`.
pub(super) fn bind(address: &str, door: Door) -> Result<Listener> {
    let failed = || format!("listen tcp {address}: failed to listen");
    let (host, port) = address.rsplit_once(':').with_context(failed)?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let ip = host.parse().with_context(|| format!("listen tcp {address}: no IP address"))?;
    let port = port.parse().with_context(|| format!("listen tcp {address}: no port"))?;
    let address = ListenAddress::Tcp(SocketAddr::new(ip, port));
    Listener::bind(&address, door, false).with_context(failed)
}

/// Binds to a URL, which says whether one comes in the clear.
pub(super) fn bind_url(url: &str, tls: Option<&Arc<ServerTls>>) -> Result<Listener> {
    let parsed = parse_listen(url).map_err(|error| anyhow!("cannot parse {url:?}: {error}"))?;
    let secured = tls.filter(|_| parsed.secure).cloned();
    if parsed.secure && secured.is_none() {
        bail!("--metrics-addr {url}: https needs --cert-file and --key-file");
    }
    let door = Door::new(!parsed.secure, secured);
    Listener::bind(&parsed.address, door, false).with_context(|| format!("listen {url}"))
}
