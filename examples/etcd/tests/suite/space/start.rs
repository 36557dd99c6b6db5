//! The first moment of a start on a disk that is low: before anybody has said that it is.
//!
//! ```text
//!   port bound ──► requests wait in it ──► the disk is looked at ──► they are let in, and refused
//! ```

use std::time::Duration;

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb::PutRequest;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::{PATIENCE, try_put};
use crate::support::calls::{client_of, runtime};
use crate::support::programs::{is_ours, ours};
use crate::support::server::Server;

/// Who waits at the door.
const CLIENTS: usize = 64;
/// A reserve that no disk has room for: by it, every disk is low.
const HUGE: &str = "--disk-reserve-bytes=1125899906842624";

/// Connects as soon as the port is bound, and puts at once: the request waits there.
async fn first_put(url: String) -> Result<(), Status> {
    let client = loop {
        match connect(&url, &Config::default()).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    let put = PutRequest { key: "first".into(), value: "v".into(), ..PutRequest::default() };
    client.kv().put(put).await.map(drop)
}

// Whoever waits for a start is there before anything else happens. A look at the disk that comes
// after them is too late: what they put may be what the log has no room for.
#[test]
fn the_first_put_of_a_start_in_need_is_refused() {
    if !is_ours() {
        return;
    }
    let mut server = Server::start(&ours(), &[]);
    let runtime = runtime();
    let client = runtime.block_on(client_of(&server));
    runtime.block_on(try_put(&client, 0, 1)).expect("there is room");
    server.kill();
    server.change_program(&ours(), &[HUGE]);
    server.launch();
    let answers = runtime.block_on(async {
        let mut waiting = JoinSet::new();
        for _ in 0..CLIENTS {
            waiting.spawn(first_put(server.client_url()));
        }
        tokio::time::timeout(PATIENCE, waiting.join_all()).await.expect("everybody is answered")
    });
    // Whoever is quick enough would be let in if nobody had looked by then: seldom, but so it is.
    let log = server.whole_log();
    let (before, _) = log.rsplit_once("ready to serve client requests").expect("it serves");
    assert!(before.contains("the disk is full"), "nobody has looked before\n{log}");
    let let_in = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(let_in, 0, "puts of {CLIENTS} were let in\n{}", server.log());
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    }
}
