//! What each of the processes does until it is killed: a node, and a door for clients.
//!
//! ```text
//!     w KEY VALUE   done │ no │ perhaps          r KEY   is VALUE │ is none │ no
//!     leads         yes │ no
//! ```

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use drystone_raft::runtime::tcp::{Tcp, TcpConfig};
use drystone_raft::runtime::{Group, Node, NodeConfig};
use drystone_raft::{Config, Configuration, NodeId, ReadMode, Refused, Role};
use drystone_vfs::OsVfs;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::IDS;
use crate::node_support::{Map, tick};

/// What a process says when it is ready, and behind it the port of its door.
pub(super) const OPEN: &str = "open at port ";

const CLUSTER: u64 = 0x9111;

/// Who it is to be.
pub(super) struct Orders {
    pub(super) id: NodeId,
    pub(super) folder: PathBuf,
    pub(super) ports: [u16; 3],
}

impl Orders {
    pub(super) fn encode(&self) -> String {
        let [one, two, three] = self.ports;
        let folder = self.folder.to_str().expect("a temporary path is text");
        format!("{} {one} {two} {three} {folder}", self.id)
    }

    pub(super) fn decode(text: &str) -> Orders {
        let mut parts = text.splitn(5, ' ');
        let mut part = || parts.next().expect("there are five parts");
        let id = part().parse().expect("a name");
        let ports = [(); 3].map(|()| part().parse().expect("a port"));
        Orders { id, ports, folder: part().into() }
    }
}

pub(super) fn live(orders: &Orders) {
    std::thread::spawn(|| {
        // Nobody writes here: it ends when whoever started us does.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("threads can be had").block_on(serve(orders));
}

async fn serve(orders: &Orders) {
    let place = |id: NodeId| format!("127.0.0.1:{}", orders.ports[(id - 1) as usize]);
    let (tcp, inbound) = loop {
        // The system may not have noticed yet that the one before is dead.
        match Tcp::bind(place(orders.id), TcpConfig::new(CLUSTER, orders.id)).await {
            Ok(bound) => break bound,
            Err(_) => tick().await,
        }
    };
    for id in IDS.into_iter().filter(|id| *id != orders.id) {
        tcp.peer(id, Some(place(id)));
    }
    let mut config = NodeConfig::new(orders.id, Configuration::voters(IDS));
    config.raft = Config::new(200);
    (config.snapshot_entries, config.kept_entries, config.kept_entries_max) = (100, 10, 200);
    let (disk, map) = (Arc::new(OsVfs::new()), Map::default());
    let link = tcp.link(inbound);
    let node = Node::spawn(config, disk, &orders.folder, link, map.clone()).await;
    let node = node.expect("a node comes back from whatever a kill left");
    let door = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
    // A line of its own, whatever the test harness has written before.
    println!("\n{OPEN}{}", door.local_addr().expect("it is bound").port());
    loop {
        let (socket, _) = door.accept().await.expect("clients can come");
        tokio::spawn(talk(socket, node.group().clone(), map.clone()));
    }
}

async fn talk(mut socket: TcpStream, group: Group<Map>, map: Map) {
    let (read, mut write) = socket.split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.split(' ');
        let answer = match (words.next(), words.next(), words.next()) {
            (Some("w"), Some(key), Some(value)) => {
                match group.propose(format!("{key}={value}")).await {
                    Ok(_) => "done".to_owned(),
                    Err(Refused::Unknown) => "perhaps".to_owned(),
                    Err(_) => "no".to_owned(),
                }
            }
            (Some("r"), Some(key), None) => match group.read(ReadMode::Index).await {
                Ok(_) => {
                    let value = map.state.lock().map.get(key).cloned();
                    format!("is {}", value.as_deref().unwrap_or("none"))
                }
                Err(_) => "no".to_owned(),
            },
            _ => {
                let leads = group.status().await.is_ok_and(|status| status.role == Role::Leader);
                if leads { "yes".to_owned() } else { "no".to_owned() }
            }
        };
        if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
