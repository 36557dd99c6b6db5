//! A network that can be broken.
//!
//! ```text
//!   client ──► proxy ──► server
//!              open: both ways    deaf: requests arrive, answers are lost    cut: no connection
//! ```

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything.
    Open,
    /// What the client says; what the server answers is thrown away.
    Deaf,
    /// Nothing: connections break, and new ones are closed.
    Cut,
}

/// What gets through, and how often all connections were broken.
#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    cuts: u64,
}

/// A way to a server.
pub(crate) struct Proxy {
    url: String,
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// An open one. The server is named by its URL.
    pub(crate) async fn to(server: &str) -> Proxy {
        Proxy::at("127.0.0.1", server).await
    }

    /// An open one at this address.
    pub(crate) async fn at(address: &str, server: &str) -> Proxy {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(watch::Sender::new(State { way: Way::Open, cuts: 0 }));
        let states = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, state) = (server.clone(), states.subscribe());
                if state.borrow().way != Way::Cut {
                    tokio::spawn(carry(client, server, state));
                }
            }
        });
        Proxy { url, state, task }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn set(&self, way: Way) {
        self.state.send_modify(|state| {
            *state = State { way, cuts: state.cuts + u64::from(way == Way::Cut) };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Way::Cut);
    }
}

async fn carry(client: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let began = *state.borrow();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let hearing = state.clone();
    tokio::select! {
        () = copy(client_in, server_out, || true) => {}
        () = copy(server_in, client_out, || hearing.borrow().way == Way::Open) => {}
        _ = state.wait_for(|state| state.cuts > began.cuts) => {}
    }
}

async fn copy(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    passes: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if passes() && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
