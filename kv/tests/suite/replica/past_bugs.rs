//! Bugs that etcd has had, asked of replicas: what takes a power cut at an exact call to the disk,
//! or a whole state that is sent.
//!
//! Each test names the issue of etcd's tracker that it is about; `docs/etcd-past-bugs.md` lists
//! them all, with those that are asked of the server's process (`examples/etcd/tests/suite`).
//!
//! ```text
//!   replica on a SimVfs ── power cut after N calls ──► crash ──► replica on what is left
//!                            every N, until the life is lived to its end
//! ```

mod crashes;
mod sent;

use drystone_vfs::SimVfs;

use super::*;

/// Options of a member that does nothing by itself, one for each engine.
const ALONE: [fn(&mut ReplicaOptions); 3] = [
    |options| alone_on(EngineKind::Memory, options),
    |options| alone_on(EngineKind::Btree, options),
    |options| alone_on(EngineKind::Lsm, options),
];

fn alone_on(kind: EngineKind, options: &mut ReplicaOptions) {
    options.store.engine = Some(kind);
    options.store.background = false;
    options.store.segment_bytes = 64 << 10;
    options.returns = false;
}

/// The only member of its group, on this disk.
async fn alone(disk: &SimVfs, tune: fn(&mut ReplicaOptions)) -> Party {
    let mut party = Party::new(0, tune).await;
    party.founders = vec![member(1)];
    party.disks.insert(1, Arc::new(disk.clone()));
    party.start(1).await.linearize().await.expect("it leads");
    party
}
