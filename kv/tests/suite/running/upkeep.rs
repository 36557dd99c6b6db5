//! Upkeep that an operator asks for: space comes back, and nothing else changes.

use drystone_kv::command::Put;
use drystone_kv::{Command, EngineKind};
use rand::Rng as _;

use crate::common::{compact, delete, read as request};
use crate::requests::Requests;
use crate::running::{Machine, ok, on_every_engine, read, sweep};

on_every_engine! {
    a_defragmentation_gives_space_back_and_changes_no_answer
}

/// What lies on the disk below the engine's folder.
fn engine_bytes(machine: &Machine) -> u64 {
    let engine = std::path::Path::new(super::DIR).join("engine");
    let files = machine.disk.files().into_iter().filter(|(path, _)| path.starts_with(&engine));
    files.map(|(_, bytes)| bytes.len() as u64).sum()
}

// An operator whose disk is filling compacts, then defragments, and looks at the disk.
fn a_defragmentation_gives_space_back_and_changes_no_answer(kind: EngineKind) {
    let machine = Machine::of(kind, 1);
    let kv = machine.open();
    let mut requests = Requests::new(1);
    for n in 0..400 {
        // Nothing that compression makes small.
        let mut value = vec![0; 2000];
        requests.random.fill_bytes(&mut value);
        ok(&kv, Command::Put(Put::new(format!("k{n:03}"), value)));
    }
    kv.persist().expect("the disk is in order");
    let full = engine_bytes(&machine);
    assert!(full > 300_000, "{full} bytes for 800,000 written");
    ok(&kv, delete("k", "k390"));
    ok(&kv, compact(kv.revision()));
    sweep(&kv);
    let (all, hash) = (read(&kv, &request("k", "l")), kv.hash(None).expect("readable"));
    kv.defragment().expect("the disk is in order");
    let left = engine_bytes(&machine);
    assert!(left < full / 2, "{left} bytes are left of {full}");
    let stats = kv.status().engine;
    assert!(stats.bytes_in_use <= stats.bytes, "{stats:?}");
    let machine = machine.with(machine.disk.crash());
    drop(kv);
    let kv = machine.open();
    assert_eq!(read(&kv, &request("k", "l")), all);
    assert_eq!(kv.hash(None).expect("readable"), hash);
}
