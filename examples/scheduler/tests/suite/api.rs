//! The server's HTTP API, as people's tools use it and as strangers do.
//!
//! | part | asks |
//! |---|---|
//! | [`apply`] | whether what is written is what was asked for, or nothing |
//! | [`verbs`] | whether each verb does what it says, to what it can be asked of |
//! | [`nodes`] | the same of nodes |
//! | [`explain`] | why a task is where it is, or why it waits |
//! | [`plan`] | whether a plan is what an apply does |
//! | [`events`] | whether what happened is told |
//! | [`proxy`] | whether what lies on a node is asked there |
//! | [`servers`] | whether several servers are as one, and what they say without the store |
//! | [`secrets`] | whether a secret's value is ever seen |
//! | [`hostile`] | what becomes of requests that nobody's tool would send |
//! | [`docs`] | whether the manual's examples are true |

pub(crate) mod apply;
mod docs;
pub(crate) mod events;
pub(crate) mod explain;
mod hostile;
pub(crate) mod nodes;
pub(crate) mod plan;
mod proxy;
pub(crate) mod secrets;
pub(crate) mod servers;
pub(crate) mod verbs;

use std::net::SocketAddr;

use mason::api::client::{Client, ClientError};
use mason::api::wire::{Applied, Apply, Change, Changed, Refusal};
use mason::api::{Api, Token};
use mason::secrets::Keyring;
use mason::server::{Server, Shared};
use mason::store::Store;
use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{AliveRecord, NodeRecord, encode};
use mason_core::spec::Resources;
use mason_core::txn::Txn;
use mason_core::types::JobKey;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Kind, Solo, until};

/// A server that leads, and answers requests; its store.
struct Site {
    store: Store,
    shared: Shared,
    server: Server,
    client: Client,
    address: SocketAddr,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
    _folder: TempDir,
    /// The last to go.
    _solo: Solo,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Site {
    async fn start(kind: Kind) -> Site {
        Site::start_with(kind, None).await
    }

    async fn start_with(kind: Kind, token: Option<&str>) -> Site {
        let solo = Solo::start(kind).await;
        let store = solo.store().await;
        Site::over(solo, store, token).await
    }

    /// By this way to the store.
    async fn over(solo: Solo, store: Store, token: Option<&str>) -> Site {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("key");
        Keyring::create(&file).unwrap();
        let keyring = Keyring::open(&[&file]).unwrap();
        let (server, desk) = Server::start(store.clone(), "http://here:7070");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Api::new(store.clone(), &server, Some(keyring));
        let known = token.map(|token| Token::new(token).unwrap());
        let door = tokio::spawn(mason::api::serve(listener, api, known));
        let client = Client::new(&format!("http://{address}"), token).unwrap();
        let shared = server.shared().clone();
        server.leads().wait_for(|leads| *leads).await.unwrap();
        let tasks = vec![desk, door];
        Site { store, shared, server, client, address, tasks, _folder: folder, _solo: solo }
    }

    /// A node that lives, as its agent would say so.
    async fn node(&self, name: &str, cpu: u32, address: &str) {
        let capacity = Resources { cpu, memory: 8 << 30, disk: 0, pids: 0 };
        let runtimes = vec!["runc".to_owned()];
        let labels = [("zone".to_owned(), "a".to_owned())].into();
        let record = NodeRecord { capacity, runtimes, labels, ..NodeRecord::default() };
        let (address, images, gossip) = (address.to_owned(), Vec::new(), None);
        let alive = AliveRecord { epoch: 1, address, since: 1, images, gossip };
        let path = |key| self.store.keys().path(&key);
        let txn = Txn::new()
            .put(path(Key::Node(name.into())), encode(&record))
            .put(path(Key::Alive(name.into())), encode(&alive));
        self.commit(txn).await;
    }

    /// Puts keys as somebody else would, and waits until the server has seen it.
    async fn commit(&self, txn: Txn) {
        let done = self.store.commit(&txn).await.unwrap();
        assert!(done.succeeded);
        self.shared.at(done.revision).await.unwrap();
    }

    async fn apply(&self, text: &str) -> Result<Applied, ClientError> {
        let (text, namespace) = (text.to_owned(), "default".to_owned());
        self.client.post("/v1/apply", &Apply { text, namespace, lenient: false }).await
    }

    async fn verb(&self, name: &str, verb: &str, change: Change) -> Result<Changed, ClientError> {
        self.client.post(format!("/v1/objects/default/{name}/{verb}"), &change).await
    }

    /// Waits until the copy shows something.
    async fn shows<T>(&self, look: impl Fn(&Mirror) -> Option<T>) -> T {
        until(async || self.shared.read(&look)).await
    }

    /// Sends bytes as they are; what comes back until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // It may have heard enough before all is said.
        let _ = stream.write_all(bytes).await;
        if !String::from_utf8_lossy(bytes).contains("connection: close\r\n") {
            // Nobody else will end this.
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request of this line and body.
    async fn say(&self, line: &str, body: &str) -> String {
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.raw((head + body).as_bytes()).await
    }
}

fn key(name: &str) -> JobKey {
    JobKey::new("default", name)
}

/// The status and what is said of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, Refusal) {
    match result.unwrap_err() {
        ClientError::Refused { status, refusal } => (status.as_u16(), refusal),
        other => panic!("{other}"),
    }
}

/// A refusal with this status, that says this.
fn check_refused<T: std::fmt::Debug>(result: Result<T, ClientError>, status: u16, text: &str) {
    let (found, refusal) = refused(result);
    let all = format!("{} {}", refusal.error, refusal.problems.join(" | "));
    assert!(found == status && all.contains(text), "{found}: {all}");
}
