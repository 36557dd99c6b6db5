//! What a stop in good order leaves: nothing for the next start to replay.
//!
//! How long a stop may take for that is tested where it is waited for (`src/patience.rs`).

use drystone_kv::EngineKind;

use crate::inspect::look::told;
use crate::metrics::page::Page;
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;

crate::support::on_every_engine! {
    a_stop_in_good_order_leaves_nothing_to_replay
}

const PUTS: usize = 300;

fn put_all(server: &Server, life: &str) {
    in_a_runtime(async {
        let client = client_of(server).await;
        for number in 0..PUTS {
            calls::put(&client, &format!("{life}/{number}"), "v", 0).await;
        }
    });
}

/// Bytes of puts that were applied since the server started, replayed ones among them.
fn bytes_applied(server: &Server) -> f64 {
    let page = Page::fetch(&server.client_address());
    page.total("etcd_debugging_mvcc_total_put_size_in_bytes")
}

/// Members are stopped to be upgraded, one after the other: each should be back at once.
fn a_stop_in_good_order_leaves_nothing_to_replay(kind: EngineKind) {
    let mut server = Server::start(&programs::ours(), programs::flags_of(kind));
    put_all(&server, "first");
    server.terminate();
    let summary = told(&server.data_dir(), &["log", "engine"]).summary;
    let (log, engine) = (&summary["log"], &summary["engine"]);
    assert_eq!(engine["applied"], log["last"], "{engine} {}", server.log());
    assert_eq!(engine["keys"], PUTS);
    server.start_again();
    assert!(bytes_applied(&server) < 1.0, "nothing is replayed");
    in_a_runtime(async {
        let reply = calls::get(&client_of(&server).await, "first/299").await;
        assert_eq!(reply.count, 1, "it is there all the same");
    });
    // One that is killed does replay: or else there was nothing to be saved.
    put_all(&server, "second");
    server.crash();
    assert!(
        bytes_applied(&server) > (PUTS * "second/0".len()) as f64,
        "all is replayed that was not saved"
    );
    // And one that has nothing new to save is not the worse for it.
    for _ in 0..2 {
        server.restart();
        assert!(bytes_applied(&server) < 1.0, "nothing is replayed");
    }
}
